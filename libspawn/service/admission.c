#include "service/admission.h"

#include <string.h>

#include "base/util.h"

const struct libspawn__admission_times libspawn__admission_times = {
    .admit_after = 30000,
    .probe_every = 2000,
    .backoff_min = 1000,
    .backoff_max = 8000,
    .hold_limit = 300000,
    .still_holding = 60000,
    .script_limit = 60000,
    .restart_unit = 1000,
    .healthy = 600000,
};

static void
forbid_zero(struct libspawn__admission_times *times)
{
    enum {
        INSTEAD_MS = 1000
    };
    int64_t *const all[] = {
        &times->admit_after,  &times->probe_every,   &times->backoff_min,
        &times->backoff_max,  &times->still_holding, &times->script_limit,
        &times->restart_unit, &times->healthy,
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(all); i++) {
        if (*all[i] <= 0) {
            *all[i] = INSTEAD_MS;
        }
    }
}

void
libspawn__admission_init(struct libspawn__admission *admission,
                         const struct libspawn__admission_times *times,
                         int64_t now)
{
    memset(admission, 0, sizeof *admission);
    admission->times = *times;
    forbid_zero(&admission->times);
    admission->last_admitted = now;
    admission->limit_from = now;
}

void
libspawn__admission_connect(struct libspawn__admission *admission, int64_t now)
{
    admission->is_connected = true;
    admission->is_admitted = false;
    admission->connected_at = now;
}

bool
libspawn__admission_hear(struct libspawn__admission *admission,
                         enum libspawn__message_class class, int64_t now)
{
    bool is_old = now - admission->connected_at >=
                  admission->times.admit_after;

    if (!admission->is_connected || admission->is_admitted ||
        class == LIBSPAWN__MESSAGE_HANDSHAKE ||
        (class != LIBSPAWN__MESSAGE_ADMITTING && !is_old)) {
        return false;
    }
    admission->is_admitted = true;
    return true;
}

int64_t
libspawn__admission_lose(struct libspawn__admission *admission, int64_t now)
{
    const struct libspawn__admission_times *times = &admission->times;
    bool has_lasted = admission->is_connected &&
                      now - admission->connected_at > admission->backoff;

    if (admission->is_admitted) {
        admission->last_admitted = now;
        admission->limit_from = now;
    }
    admission->is_connected = false;
    admission->is_admitted = false;
    admission->backoff = !admission->backoff || has_lasted
                             ? times->backoff_min
                             : MIN(2 * admission->backoff, times->backoff_max);
    return admission->backoff;
}

int64_t
libspawn__admission_failing_for(const struct libspawn__admission *admission,
                                int64_t now)
{
    return admission->is_admitted ? 0 : now - admission->last_admitted;
}

void
libspawn__admission_extend(struct libspawn__admission *admission, int64_t now)
{
    admission->limit_from = now;
}

int64_t
libspawn__admission_gives_up_at(const struct libspawn__admission *admission)
{
    return admission->is_admitted || !admission->times.hold_limit
               ? INT64_MAX
               : admission->limit_from + admission->times.hold_limit;
}

enum libspawn__message_class
libspawn__admission_classify_status(const char *status, bool is_paused)
{
    static const struct {
        const char *status;
        enum libspawn__message_class running;
        enum libspawn__message_class paused;
    } classes[] = {
        { "running", LIBSPAWN__MESSAGE_ADMITTING,
          LIBSPAWN__MESSAGE_ADMITTING },
        { "paused", LIBSPAWN__MESSAGE_ANSWER, LIBSPAWN__MESSAGE_ADMITTING },
        { "prelaunch", LIBSPAWN__MESSAGE_HANDSHAKE,
          LIBSPAWN__MESSAGE_ADMITTING },
        { "inmigrate", LIBSPAWN__MESSAGE_HANDSHAKE,
          LIBSPAWN__MESSAGE_HANDSHAKE },
    };
    size_t i;

    for (i = 0; status && i < ARRAY_SIZE(classes); i++) {
        if (!strcmp(classes[i].status, status)) {
            return is_paused ? classes[i].paused : classes[i].running;
        }
    }
    return LIBSPAWN__MESSAGE_ANSWER;
}
