/*
 * What the device model says.  Its own end and that of its monitor come in
 * either order; both are awaited, because the last words of the monitor tell
 * why it ended.
 */
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/ctx.h"
#include "proc/report.h"
#include "proc/status.h"
#include "service/supervisor.h"
#include "store/paths.h"

enum {
    LAST_WORDS_MS = 1000, /* its monitor hangs up at once, unless another
                             process holds it */
    ENDING_MS = 100       /* between the end of its monitor and its own */
};

/* ---- Admission --------------------------------------------------------- */

/* What was preserved is to stay that, but for a device model that was given up
 * and lives. */
static void
hear(struct libspawn__supervisor *s, enum libspawn__message_class class)
{
    bool is_kept =
        s->state == LIBSPAWN__STATE_FAILED && !s->memory.is_given_up;

    if (is_kept || (s->dm && !libspawn__supervisor_has_dm(s))) {
        return;
    }
    if (libspawn__admission_hear(&s->admission, class,
                                 libspawn__clock_now_ms())) {
        libspawn__supervisor_move(s, LIBSPAWN__ON_ADMITTED);
    }
}

static void
on_status(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    struct libspawn__supervisor *s = user;
    const char *status =
        libspawn__json_string(libspawn__json_member(result, "status"));
    bool is_paused = status && !strcmp(status, "paused");
    bool is_new = status && !strcmp(status, "prelaunch");

    s->is_probing = false;
    if (err && err->code == LIBSPAWN_ERR_GONE) {
        return;
    }
    if (!is_new &&
        (!s->is_pause_known || s->state == LIBSPAWN__STATE_ADMITTED)) {
        s->memory.is_paused = is_paused;
        s->is_pause_known = true;
    }
    hear(s, libspawn__admission_classify_status(status, s->memory.is_paused));
}

/* A guest without a device model runs as soon as the hypervisor lets it.  One
 * that does not answer is not asked again: it need not pile up. */
void
libspawn__supervisor_probe(struct libspawn__supervisor *s)
{
    struct libspawn__qmp *qmp = s->dm ? libspawn__dm_qmp(s->dm) : NULL;

    if (!s->dm) {
        hear(s, LIBSPAWN__MESSAGE_ADMITTING);
    } else if (qmp && !s->is_probing) {
        s->is_probing = !libspawn__qmp_command(qmp, "query-status", NULL, -1,
                                               on_status, s, NULL);
    }
}

void
libspawn__supervisor_connect(struct libspawn__supervisor *s)
{
    if (libspawn__dm_connect(s->dm, NULL)) {
        libspawn__supervisor_move(s, LIBSPAWN__ON_LOST);
        return;
    }
    s->is_unheard = false;
    s->is_probing = false;
    s->is_pause_known = false;
    libspawn__admission_connect(&s->admission, libspawn__clock_now_ms());
    libspawn__supervisor_move(s, LIBSPAWN__ON_CONNECTED);
}

/* ---- Events of its monitor --------------------------------------------- */

/* "reason" of SHUTDOWN, qapi/run-state.json.  One that a signal ended was
 * ended by somebody on this host, not by its guest. */
static const struct {
    const char *reason;
    enum libspawn__guest_end end;
} shutdown_reasons[] = {
    { "guest-shutdown", LIBSPAWN__END_POWEROFF },
    { "guest-reset", LIBSPAWN__END_REBOOT },
    { "guest-panic", LIBSPAWN__END_CRASH },
    { "host-qmp-quit", LIBSPAWN__END_POWEROFF },
    { "host-qmp-system-reset", LIBSPAWN__END_REBOOT },
    { "host-signal", LIBSPAWN__END_MODEL },
    { "host-error", LIBSPAWN__END_MODEL },
};

/* Where a hypervisor knows of its guest's end, that of its device model is no
 * word about it. */
static void
on_shutdown(struct libspawn__supervisor *s, const struct libspawn__json *data)
{
    const char *reason =
        libspawn__json_string(libspawn__json_member(data, "reason"));
    size_t i;

    if (s->host->hypervisor->find_end) {
        return;
    }
    for (i = 0; reason && i < ARRAY_SIZE(shutdown_reasons); i++) {
        if (!strcmp(shutdown_reasons[i].reason, reason)) {
            s->end = shutdown_reasons[i].end;
            if (s->state != LIBSPAWN__STATE_RECOVERING) {
                libspawn__supervisor_remember_end(s,
                                                  LIBSPAWN__SUPERVISION_SEEN);
            }
        }
    }
}

static void
on_resume(struct libspawn__supervisor *s, const struct libspawn__json *data)
{
    (void)data;
    s->memory.is_paused = false;
    s->is_pause_known = true;
    hear(s, LIBSPAWN__MESSAGE_ADMITTING);
}

/* By somebody's wish, which a later start should keep, or for a reason of its
 * own: its status tells.  If it dies before it has told, it was a wish, which
 * was fulfilled when whoever had it was told so. */
static void
on_stop(struct libspawn__supervisor *s, const struct libspawn__json *data)
{
    (void)data;
    if (s->state == LIBSPAWN__STATE_ADMITTED && s->end == LIBSPAWN__END_NONE) {
        s->memory.is_paused = true;
        libspawn__supervisor_probe(s);
    }
}

static const struct {
    const char *name;
    void (*fn)(struct libspawn__supervisor *s,
               const struct libspawn__json *data);
} events[] = {
    { "SHUTDOWN", on_shutdown },
    { "RESUME", on_resume },
    { "STOP", on_stop },
};

static void
on_told(void *user, const char *name, const struct libspawn__json *data)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(events); i++) {
        if (!strcmp(events[i].name, name)) {
            events[i].fn(user, data);
        }
    }
}

/* ---- Its end ----------------------------------------------------------- */

/* It ended by itself, or nobody knows. */
static void
describe_status(struct libspawn__supervisor *s,
                const struct libspawn_report *report)
{
    bool is_known = report->end != LIBSPAWN_END_UNKNOWN;
    bool is_exited = report->end == LIBSPAWN_END_EXITED;
    int status = is_exited
                     ? W_EXITCODE(report->exit_code, 0)
                     : report->signal | (report->core_dumped ? WCOREFLAG : 0);
    char text[LIBSPAWN__STATUS_TEXT_SIZE];

    libspawn__status_describe(is_known, status, text);
    libspawn__str_assign(&s->end_text, text, NULL);
    s->end_word = !is_known ? "unknown" : is_exited ? "exited" : "killed";
    s->end_status = is_known ? libspawn__status_exit_code(status) : -1;
}

/* It was ended, or did not even begin, during its start. */
static void
describe_failure(struct libspawn__supervisor *s,
                 const struct libspawn_report *report)
{
    AUTO_FREE char *text = libspawn__report_how(report);

    libspawn__str_assign(&s->end_text, text, NULL);
    s->end_word = libspawn__report_end_name(report);
    s->end_status = -1;
}

void
libspawn__supervisor_describe_end(struct libspawn__supervisor *s,
                                  const struct libspawn_report *report)
{
    bool is_exited = report->end == LIBSPAWN_END_EXITED;

    libspawn__str_assign(&s->end_log, report->log_path, NULL);
    if (is_exited || report->end == LIBSPAWN_END_SIGNALED ||
        report->end == LIBSPAWN_END_UNKNOWN) {
        describe_status(s, report);
    } else {
        describe_failure(s, report);
    }
    if (s->end == LIBSPAWN__END_NONE) {
        /* Whoever did not hear its last words goes by its exit status, as
         * the sweep of guests without a supervisor does. */
        s->end = s->is_unheard && is_exited && !report->exit_code
                     ? LIBSPAWN__END_POWEROFF
                     : LIBSPAWN__END_MODEL;
    }
}

static void
die(struct libspawn__supervisor *s)
{
    libspawn__timer_cancel(&s->settle_timer);
    libspawn__supervisor_describe_end(
        s, libspawn_child_report(libspawn__dm_child(s->dm)));
    libspawn__supervisor_summarize_core(s);
    if (s->state == LIBSPAWN__STATE_RECOVERING &&
        s->end == LIBSPAWN__END_MODEL) {
        /* The script that runs decides about this end, too. */
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_DM_DIED, s->end_word,
                                  s->end_text);
    }
    libspawn__supervisor_move(s, LIBSPAWN__ON_DIED);
}

static void
settle(struct libspawn__supervisor *s, int64_t ms)
{
    libspawn__timer_set(&s->settle_timer, libspawn__clock_now_ms() + ms);
}

void
libspawn__supervisor_on_settled(struct libspawn__timer *timer)
{
    struct libspawn__supervisor *s =
        CONTAINER_OF(timer, struct libspawn__supervisor, settle_timer);

    if (s->is_dm_ended) {
        die(s);
    } else {
        libspawn__supervisor_move(s, LIBSPAWN__ON_LOST);
    }
}

static void
on_ended(void *user)
{
    struct libspawn__supervisor *s = user;

    s->is_dm_ended = true;
    if (libspawn__dm_qmp(s->dm)) {
        settle(s, LAST_WORDS_MS);
    } else {
        die(s);
    }
}

/* Mostly because the device model is ending, of which its watcher tells
 * next. */
static void
on_lost(void *user, const struct libspawn_err *err)
{
    struct libspawn__supervisor *s = user;

    (void)err;
    if (s->is_dm_ended) {
        die(s);
    } else {
        settle(s, ENDING_MS);
    }
}

static const struct libspawn__dm_listener listener = {
    .told = on_told,
    .lost = on_lost,
    .ended = on_ended,
};

/* ---- The hypervisor ---------------------------------------------------- */

/* Some domain has shut down, or is gone. */
static void
on_release(struct libspawn__store_watch *watch, const char *path)
{
    struct libspawn__supervisor *s =
        CONTAINER_OF(watch, struct libspawn__supervisor, release);
    enum libspawn__guest_end end = LIBSPAWN__END_NONE;
    int rc;

    if (!path || s->create || libspawn__supervisor_is_removing(s)) {
        return;
    }
    rc = s->host->hypervisor->find_end(s->host, s->domid, &end, NULL);
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        if (s->state != LIBSPAWN__STATE_STOPPING) {
            libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_DESTROYED,
                                      "elsewhere", "by another toolstack");
        }
        libspawn__supervisor_tell_stopped(s, NULL);
        libspawn__supervisor_move(s, LIBSPAWN__ON_GONE);
    } else if (!rc && end != LIBSPAWN__END_NONE &&
               s->end == LIBSPAWN__END_NONE) {
        s->end = end;
        libspawn__supervisor_move(s, LIBSPAWN__ON_DIED);
    }
}

int
libspawn__supervisor_watch_domain(struct libspawn__supervisor *s,
                                  struct libspawn_err *err)
{
    return s->host->hypervisor->find_end
               ? libspawn__store_watch_add(s->host->store, s->host->ctx->loop,
                                           &s->release, "@releaseDomain",
                                           on_release, err)
               : 0;
}

/* ---- Taking it over ---------------------------------------------------- */

/* Where another device model will not take its place, the guest has the
 * interfaces of this one as long as it is there itself. */
static void
share_nics(struct libspawn__supervisor *s)
{
    if (!s->host->hypervisor->steps_again) {
        libspawn__held_share(&s->held,
                             libspawn_child_pid(libspawn__dm_child(s->dm)));
    }
}

void
libspawn__supervisor_take_dm(struct libspawn__supervisor *s,
                             struct libspawn__dm *dm)
{
    struct libspawn__dm_listener ours = listener;

    ours.user = s;
    s->dm = dm;
    s->is_dm_ended = false;
    s->is_probing = false;
    s->is_unheard = false;
    libspawn__dm_listen(dm, &ours);
    share_nics(s);
}

int
libspawn__supervisor_adopt_dm(struct libspawn__supervisor *s,
                              struct libspawn_err *err)
{
    AUTO_FREE char *record =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, s->domid);
    AUTO_FREE char *qmp = s->host->hypervisor->qmp_path(s->host, s->domid);
    struct libspawn__dm_listener ours = listener;
    struct libspawn__dm *dm;
    int rc;

    if (!record || !qmp) {
        return libspawn__fail_nomem(err);
    }
    ours.user = s;
    rc = libspawn__dm_adopt(s->host->ctx,
                            libspawn__store_address(s->host->store), record,
                            qmp, &ours, &dm, err);
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return 0; /* it needs none */
    }
    if (!rc) {
        s->dm = dm;
        libspawn__held_recover(&s->held,
                               libspawn_child_pid(libspawn__dm_child(dm)),
                               s->config);
        share_nics(s);
    }
    return rc;
}
