#include "guest/supervision.h"

#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "proc/record.h"
#include "store/paths.h"
#include "wire/json.h"

static const char *const stages[] = {
    [LIBSPAWN__SUPERVISION_LIVE] = "live",
    [LIBSPAWN__SUPERVISION_SEEN] = "seen",
    [LIBSPAWN__SUPERVISION_TOLD] = "told",
    [LIBSPAWN__SUPERVISION_RECOVERING] = "recovering",
    [LIBSPAWN__SUPERVISION_CONDEMNED] = "condemned",
    [LIBSPAWN__SUPERVISION_FOLLOWED] = "followed",
    [LIBSPAWN__SUPERVISION_KEPT] = "kept",
};

static const char *const ends[] = {
    [LIBSPAWN__END_NONE] = "none",
    [LIBSPAWN__END_POWEROFF] = "poweroff",
    [LIBSPAWN__END_REBOOT] = "reboot",
    [LIBSPAWN__END_CRASH] = "crash",
    [LIBSPAWN__END_WATCHDOG] = "watchdog",
    [LIBSPAWN__END_MODEL] = "model",
};

/* The index of a member's word in a list; 0 when it is not there. */
static unsigned int
read_word(const struct libspawn__json *object, const char *key,
          const char *const words[], size_t n_words)
{
    const char *word =
        libspawn__json_string(libspawn__json_member(object, key));
    unsigned int i;

    for (i = 0; word && i < n_words; i++) {
        if (!strcmp(words[i], word)) {
            return i;
        }
    }
    return 0;
}

static int64_t
read_number(const struct libspawn__json *object, const char *key)
{
    int64_t number = 0;

    libspawn__json_integer(libspawn__json_member(object, key), &number);
    return number;
}

/* One that does not fit is none. */
static void
read_control(const struct libspawn__json *object,
             struct libspawn__supervision *supervision)
{
    const char *control =
        libspawn__json_string(libspawn__json_member(object, "control"));

    if (control && strlen(control) < sizeof supervision->control) {
        memcpy(supervision->control, control, strlen(control) + 1);
    }
}

static void
parse(const char *text, struct libspawn__supervision *supervision)
{
    AUTO_JSON struct libspawn__json *json = NULL;

    memset(supervision, 0, sizeof *supervision);
    if (libspawn__json_parse(text, strlen(text), LIBSPAWN__STORE_VALUE_MAX,
                             &json, NULL)) {
        return;
    }
    supervision->is_paused =
        libspawn__json_bool(libspawn__json_member(json, "paused"), false);
    supervision->is_holding =
        libspawn__json_bool(libspawn__json_member(json, "holding"), false);
    supervision->is_given_up =
        libspawn__json_bool(libspawn__json_member(json, "given_up"), false);
    supervision->is_monitored =
        libspawn__json_bool(libspawn__json_member(json, "monitored"), false);
    supervision->n_restarts = (unsigned int)read_number(json, "restarts");
    supervision->last_restart = read_number(json, "last_restart_ms");
    supervision->stage = read_word(json, "stage", stages, ARRAY_SIZE(stages));
    supervision->end = read_word(json, "end", ends, ARRAY_SIZE(ends));
    supervision->pid = read_number(json, "pid");
    supervision->start_time = read_number(json, "start_time");
    read_control(json, supervision);
}

static char *
write_text(const struct libspawn__supervision *supervision)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_bool(w, "paused", supervision->is_paused);
    libspawn__json_put_bool(w, "holding", supervision->is_holding);
    libspawn__json_put_bool(w, "given_up", supervision->is_given_up);
    libspawn__json_put_bool(w, "monitored", supervision->is_monitored);
    libspawn__json_put_integer(w, "restarts", supervision->n_restarts);
    libspawn__json_put_integer(w, "last_restart_ms",
                               supervision->last_restart);
    libspawn__json_put_string(w, "stage", stages[supervision->stage]);
    libspawn__json_put_string(w, "end", ends[supervision->end]);
    libspawn__json_put_integer(w, "pid", supervision->pid);
    libspawn__json_put_integer(w, "start_time", supervision->start_time);
    if (supervision->control[0]) {
        libspawn__json_put_string(w, "control", supervision->control);
    }
    libspawn__json_end_object(w);
    return libspawn__json_writer_take(w);
}

int
libspawn__supervision_read(struct libspawn_host *host, uint32_t domid,
                           struct libspawn__supervision *supervision_r,
                           struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_SUPERVISED, domid);
    AUTO_FREE char *text = NULL;
    int rc =
        path ? libspawn__store_read(host->store, NULL, path, &text, NULL, err)
             : libspawn__fail_nomem(err);

    if (!rc) {
        parse(text, supervision_r);
    }
    return rc;
}

int
libspawn__supervision_write(struct libspawn_host *host, uint32_t domid,
                            const struct libspawn__supervision *supervision,
                            struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_SUPERVISED, domid);
    AUTO_FREE char *text = write_text(supervision);

    return path && text
               ? libspawn__store_puts(host->store, NULL, path, text, err)
               : libspawn__fail_nomem(err);
}

int
libspawn__supervision_remove(struct libspawn_host *host, uint32_t domid,
                             struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_SUPERVISED, domid);

    return path ? libspawn__store_discard(host->store, NULL, path, err)
                : libspawn__fail_nomem(err);
}

/* ---- Of which device model --------------------------------------------- */

void
libspawn__supervision_set_model(struct libspawn_host *host, uint32_t domid,
                                struct libspawn__supervision *supervision)
{
    AUTO_FREE char *path = libspawn__path_new(LIBSPAWN__PATH_RECORD, domid);
    struct libspawn__record record;

    supervision->pid = 0;
    supervision->start_time = 0;
    if (path && !libspawn__record_read(host->store, path, &record, NULL)) {
        supervision->pid = record.child.pid;
        supervision->start_time = (int64_t)record.child.start_time;
    }
}

bool
libspawn__supervision_is_of_now(
    struct libspawn_host *host, uint32_t domid,
    const struct libspawn__supervision *supervision)
{
    struct libspawn__supervision now = { .pid = 0 };

    libspawn__supervision_set_model(host, domid, &now);
    return now.pid == supervision->pid &&
           now.start_time == supervision->start_time;
}
