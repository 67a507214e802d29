#include "service/supervisor.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/events.h"
#include "guest/names.h"
#include "guest/supervised.h"
#include "proc/ctx.h"

/* ---- Creating ---------------------------------------------------------- */

static void
on_step(void *user, const char *step)
{
    struct libspawn__supervisor *s = user;

    if (s->callbacks.step && !s->is_again) {
        s->callbacks.step(s->callbacks.user, step);
    }
}

static void
on_warning(void *user, const char *sentence)
{
    struct libspawn__supervisor *s = user;

    if (s->callbacks.warned && !s->is_again) {
        s->callbacks.warned(s->callbacks.user, sentence);
    }
}

static int
before_unpause(void *user, uint32_t domid, struct libspawn_err *err)
{
    struct libspawn__supervisor *s = user;
    int rc;

    s->domid = domid;
    rc = libspawn__supervisor_remember(s, err);
    return !rc && s->callbacks.created && !s->is_again
               ? s->callbacks.created(s->callbacks.user, domid, err)
               : rc;
}

static void
forget_create(struct libspawn__supervisor *s)
{
    struct libspawn_create *create = s->create;

    s->create = NULL;
    libspawn_create_free(create);
    libspawn__supervisor_rest_workers(s);
}

static void
take_guest(struct libspawn__supervisor *s, uint32_t domid)
{
    struct libspawn__dm *dm = libspawn__create_take_dm(s->create);

    s->domid = domid;
    s->is_pause_known = true;
    memcpy(s->uuid, s->create->uuid, sizeof s->uuid);
    s->end = LIBSPAWN__END_NONE;
    if (s->memory.stage) {
        libspawn__supervisor_remember_end(s, LIBSPAWN__SUPERVISION_LIVE);
    }
    if (dm) {
        libspawn__supervisor_take_dm(s, dm);
    }
    if (!s->admission.is_connected) {
        libspawn__admission_connect(&s->admission, libspawn__clock_now_ms());
    }
    libspawn__supervisor_move(s, LIBSPAWN__ON_CONNECTED);
    libspawn__task_post(&s->task); /* also if it was that before */
}

/* That of a guest that is being created, or started again, before it has said
 * anything. */
static void
on_connected(void *user)
{
    struct libspawn__supervisor *s = user;

    libspawn__admission_connect(&s->admission, libspawn__clock_now_ms());
    libspawn__supervisor_move(s, LIBSPAWN__ON_CONNECTED);
}

static void
adorn_create(struct libspawn__supervisor *s)
{
    s->create->held = &s->held;
    s->create->connected = on_connected;
}

static void
fail_again(struct libspawn__supervisor *s,
           const struct libspawn_report *report,
           const struct libspawn_err *err)
{
    s->end = LIBSPAWN__END_MODEL;
    if (s->memory.is_given_up) {
        return; /* which is why */
    }
    if (report) {
        libspawn__supervisor_describe_end(s, report);
    } else {
        s->end_word = libspawn_code_name(err->code);
        s->end_status = -1;
        libspawn__str_assign(&s->end_text, err->text, NULL);
    }
}

/* The first start is the caller's business, a later one ours. */
static void
on_created(void *user, uint32_t domid, const struct libspawn_report *report,
           const struct libspawn_err *err)
{
    struct libspawn__supervisor *s = user;

    if (!err) {
        take_guest(s, domid);
        forget_create(s);
    } else if (s->is_again) {
        fail_again(s, report, err);
        forget_create(s);
        libspawn__supervisor_move(s, LIBSPAWN__ON_DIED);
    } else {
        libspawn__supervisor_move(s, LIBSPAWN__ON_LEAVE);
        s->callbacks.failed(s->callbacks.user, report, err);
        return;
    }
    if (s->state == LIBSPAWN__STATE_TERMINATED) {
        libspawn__task_post(&s->task); /* which waited for this */
    }
}

static const struct libspawn_create_options *
get_options(struct libspawn__supervisor *s,
            struct libspawn_create_options *options)
{
    *options = (struct libspawn_create_options){
        .paused = s->memory.is_paused,
        .before_unpause = before_unpause,
        .progress = on_step,
        .user = s,
        .warning = on_warning,
    };
    return options;
}

int
libspawn__supervisor_create(struct libspawn__supervisor *s, bool is_paused,
                            bool is_monitored, struct libspawn_err *err)
{
    struct libspawn_create_options options;
    int rc;

    s->memory.is_paused = is_paused;
    s->memory.is_monitored = is_monitored;
    rc = libspawn_guest_create(s->host, s->config, get_options(s, &options),
                               on_created, s, &s->create, err);
    if (!rc) {
        adorn_create(s);
        libspawn__supervisor_move(s, LIBSPAWN__ON_START);
    }
    return rc;
}

void
libspawn__supervisor_abort(struct libspawn__supervisor *s)
{
    if (s->create) {
        s->is_aborted = true;
        libspawn_create_abort(s->create);
    }
}

/* ---- Events for others ------------------------------------------------- */

void
libspawn__supervisor_note(struct libspawn__supervisor *s,
                          enum libspawn_guest_event_kind kind,
                          const char *reason, const char *text)
{
    const struct libspawn__event event = {
        .guest = s->config->name,
        .domid = s->domid,
        .uuid = s->uuid[0] ? s->uuid : NULL,
        .kind = kind,
        .reason = reason,
        .text = text,
    };

    libspawn__event_append(s->host, &event, NULL);
}

/* ---- Holding ----------------------------------------------------------- */

static void
set_hold_timer(struct libspawn__supervisor *s)
{
    libspawn__timer_set(
        &s->hold_timer,
        MIN(libspawn__clock_now_ms() + s->admission.times.still_holding,
            libspawn__admission_gives_up_at(&s->admission)));
}

static void
on_hold_timer(struct libspawn__timer *timer)
{
    struct libspawn__supervisor *s =
        CONTAINER_OF(timer, struct libspawn__supervisor, hold_timer);
    int64_t now = libspawn__clock_now_ms();
    AUTO_FREE char *text = NULL;

    if (now >= libspawn__admission_gives_up_at(&s->admission)) {
        libspawn__supervisor_give_up(s);
        return;
    }
    text = libspawn__str_format(
        "not admitted for %.3g s",
        (double)libspawn__admission_failing_for(&s->admission, now) / 1000);
    libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_HOLDING, "still", text);
    set_hold_timer(s);
}

void
libspawn__supervisor_hold(struct libspawn__supervisor *s, const char *reason,
                          const char *text)
{
    if (!s->memory.is_holding) {
        s->memory.is_holding = true;
        libspawn__supervisor_remember(s, NULL);
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_HOLDING, reason,
                                  text);
        set_hold_timer(s);
    }
}

void
libspawn__supervisor_hold_on(struct libspawn__supervisor *s)
{
    if (s->memory.is_holding) {
        set_hold_timer(s);
    }
}

void
libspawn__supervisor_forget_end(struct libspawn__supervisor *s)
{
    s->memory.is_given_up = false;
    s->end = LIBSPAWN__END_NONE;
    s->end_word = NULL;
    s->end_status = -1;
    free(TAKE_PTR(s->end_text));
    libspawn__supervisor_remember_end(s, LIBSPAWN__SUPERVISION_LIVE);
}

static void
end_holding(struct libspawn__supervisor *s)
{
    libspawn__timer_cancel(&s->hold_timer);
    s->memory.is_holding = false;
}

/* ---- What is done in each state ---------------------------------------- */

static void
set_timer(struct libspawn__supervisor *s, int64_t ms)
{
    libspawn__timer_set(&s->timer, libspawn__clock_now_ms() + ms);
}

/* What was stored for its next start, if it can be read. */
static void
take_next_config(struct libspawn__supervisor *s)
{
    struct libspawn_guest_config next;

    libspawn_guest_config_init(&next);
    if (!libspawn_guest_get_next_config(s->host, s->domid, &next, NULL) &&
        libspawn__str_equal(next.name, s->config->name)) {
        libspawn_guest_config_dispose(&s->updated);
        s->updated = next;
        s->config = &s->updated;
    } else {
        libspawn_guest_config_dispose(&next);
    }
}

bool
libspawn__supervisor_has_dm(const struct libspawn__supervisor *s)
{
    bool is_off = s->host->hypervisor->find_end && s->end &&
                  s->end != LIBSPAWN__END_MODEL;

    return s->dm && !s->is_dm_ended && !is_off;
}

static void
forget_pause(struct libspawn__supervisor *s)
{
    /* The status of QEMU tells of a pause where QEMU is the guest.  Otherwise
     * what is known was for the first start. */
    if (s->end != LIBSPAWN__END_MODEL || !s->host->hypervisor->steps_again) {
        s->memory.is_paused = false;
    }
}

/* The guest is there: its device model is connected to, if it lives, or
 * started again. */
static void
enter_starting(struct libspawn__supervisor *s)
{
    struct libspawn_create_options options;
    struct libspawn_err err;

    if (!s->is_again) {
        return;
    }
    if (libspawn__supervisor_has_dm(s)) {
        libspawn__supervisor_connect(s);
        return;
    }
    libspawn__dm_free(s->dm);
    s->dm = NULL;
    if (!s->host->hypervisor->steps_again) {
        libspawn__held_dispose(&s->held); /* another guest has others */
    }
    forget_pause(s);
    take_next_config(s);
    if (libspawn__guest_start_again(s->host, s->domid, s->uuid, s->config,
                                    get_options(s, &options), on_created, s,
                                    &s->create, &err)) {
        fail_again(s, NULL, &err);
        libspawn__supervisor_move(s, LIBSPAWN__ON_DIED);
    } else {
        adorn_create(s);
    }
}

/* While it is being started, whoever does so asks it, and has a deadline. */
static void
enter_connected(struct libspawn__supervisor *s)
{
    if (s->create) {
        return;
    }
    s->is_again = true;
    libspawn__supervisor_probe(s);
    if (s->state == LIBSPAWN__STATE_CONNECTED) {
        set_timer(s, s->admission.times.probe_every);
    }
}

/* Once per admission, before commands of anybody else.  A device model that
 * was started got what it needs, its VNC password and "cont", by the steps of
 * its start, and one that was there all the time has it still; so nothing is
 * sent to it that would change nothing. */
static void
reconcile(struct libspawn__supervisor *s)
{
    s->n_admitted++;
    s->is_reconciled = true;
}

static void
enter_admitted(struct libspawn__supervisor *s)
{
    bool was_holding = s->memory.is_holding;

    reconcile(s);
    if (s->memory.is_given_up ||
        s->memory.stage == LIBSPAWN__SUPERVISION_KEPT) {
        libspawn__supervisor_forget_end(s);
    }
    end_holding(s);
    if (was_holding) {
        libspawn__supervisor_remember(s, NULL);
    }
    libspawn__supervisor_note(s,
                              was_holding ? LIBSPAWN_GUEST_EVENT_RELEASED
                                          : LIBSPAWN_GUEST_EVENT_ADMITTED,
                              NULL, NULL);
    if (!s->was_admitted) {
        s->was_admitted = true;
        s->callbacks.admitted(s->callbacks.user, s->domid);
        libspawn__supervisor_watch_monitor(s);
    }
}

static void
enter_backoff(struct libspawn__supervisor *s)
{
    set_timer(s, s->pause);
}

/* One that was given up may come to its senses, such as one that somebody had
 * stopped; to hear of that costs one try a minute. */
static void
look_again(struct libspawn__supervisor *s)
{
    if (!s->memory.is_given_up || !libspawn__supervisor_has_dm(s)) {
        return;
    }
    if (!libspawn__dm_qmp(s->dm)) {
        libspawn__supervisor_connect(s);
    }
    libspawn__supervisor_probe(s);
    set_timer(s, s->admission.times.still_holding);
}

static void
enter_failed(struct libspawn__supervisor *s)
{
    end_holding(s);
    if (!libspawn__supervisor_has_dm(s)) {
        /* Nobody is to wait at a console of which nothing may come. */
        libspawn__held_drop_serials(&s->held);
    }
    if (s->memory.stage != LIBSPAWN__SUPERVISION_KEPT) {
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_PRESERVED, NULL,
                                  s->end_text);
        libspawn__supervisor_remember_end(s, LIBSPAWN__SUPERVISION_KEPT);
    }
    look_again(s);
}

static void
enter_stopping(struct libspawn__supervisor *s)
{
    end_holding(s);
    libspawn__supervisor_remove(s);
}

static void
enter_terminated(struct libspawn__supervisor *s)
{
    end_holding(s);
    libspawn__supervisor_stop_removal(s);
    if (s->callbacks.left && !s->create &&
        !libspawn__supervisor_is_removing(s)) {
        s->callbacks.left(s->callbacks.user);
    }
}

static void (*const entries[LIBSPAWN__N_STATES])(
    struct libspawn__supervisor *s) = {
    [LIBSPAWN__STATE_STARTING] = enter_starting,
    [LIBSPAWN__STATE_CONNECTED] = enter_connected,
    [LIBSPAWN__STATE_ADMITTED] = enter_admitted,
    [LIBSPAWN__STATE_HOLDING] = libspawn__supervisor_decide,
    [LIBSPAWN__STATE_BACKOFF] = enter_backoff,
    [LIBSPAWN__STATE_RECOVERING] = libspawn__supervisor_recover,
    [LIBSPAWN__STATE_FAILED] = enter_failed,
    [LIBSPAWN__STATE_STOPPING] = enter_stopping,
    [LIBSPAWN__STATE_TERMINATED] = enter_terminated,
};

static void
enter(struct libspawn__task *task)
{
    struct libspawn__supervisor *s =
        CONTAINER_OF(task, struct libspawn__supervisor, task);

    libspawn__supervisor_tell_settled(s);
    if (entries[s->state]) {
        entries[s->state](s);
    }
}

void
libspawn__supervisor_move(struct libspawn__supervisor *s,
                          enum libspawn__state_event event)
{
    enum libspawn__state next = libspawn__state_next(s->state, event);

    if (next != s->state) {
        s->state = next;
        s->state_since = libspawn__clock_now_ms();
        libspawn__timer_cancel(&s->timer);
        libspawn__task_post(&s->task);
    }
}

static void
on_timer(struct libspawn__timer *timer)
{
    struct libspawn__supervisor *s =
        CONTAINER_OF(timer, struct libspawn__supervisor, timer);

    if (s->state == LIBSPAWN__STATE_FAILED) {
        look_again(s);
    } else if (s->memory.is_given_up) {
        libspawn__supervisor_give_up(s); /* it could not, at that moment */
    } else if (s->state == LIBSPAWN__STATE_CONNECTED) {
        if (s->was_admitted) {
            libspawn__supervisor_hold(s, "not-admitted",
                                      "its device model accepts connections, "
                                      "but does not say that it runs");
        }
        enter_connected(s);
    } else if (s->state == LIBSPAWN__STATE_BACKOFF) {
        libspawn__supervisor_move(s, LIBSPAWN__ON_START);
    }
}

void
libspawn__supervisor_discard(struct libspawn__supervisor *s)
{
    libspawn__supervisor_move(s, LIBSPAWN__ON_REMOVE);
}

/* What is being started again is ended first. */
void
libspawn__supervisor_leave(struct libspawn__supervisor *s)
{
    if (s->create) {
        libspawn_create_abort(s->create);
    }
    libspawn__supervisor_forget(s);
    libspawn__supervisor_move(s, LIBSPAWN__ON_LEAVE);
}

/* ---- Life -------------------------------------------------------------- */

/* A moment for whoever has the pid file while there is no guest of the name,
 * and none is being made: it leaves, or finds out that the guest which it
 * wants to adopt is gone, or reserves the name next. */
enum {
    OWNER_TRIES = 100,
    OWNER_MS = 20
};

static int
take_pidfile(struct libspawn__supervisor *s, const char *path,
             struct libspawn_err *err)
{
    const char *name = s->config->name;
    pid_t owner = 0;
    int tries;

    for (tries = 0; tries < OWNER_TRIES; tries++) {
        AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
        int rc = libspawn__pidfile_take(&s->pidfile, path, &owner, err);

        if (rc != LIBSPAWN_ERR_BUSY) {
            return rc;
        }
        rc = libspawn__name_check_free(s->host, name, err);
        if (rc) {
            return rc;
        }
        if (!libspawn__pidref_from_pid(owner, &ref, NULL)) {
            libspawn__pidref_wait(&ref, OWNER_MS, NULL);
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                          "guest '%s' is being created by process %d", name,
                          (int)owner);
}

static int
take_identity(struct libspawn__supervisor *s,
              const struct libspawn__handover *handover,
              struct libspawn_err *err)
{
    AUTO_FREE char *dir = libspawn__supervised_dir(s->host);
    AUTO_FREE char *path =
        libspawn__supervised_pid_path(s->host, s->config->name);
    int rc;

    if (!dir || !path) {
        return libspawn__fail_nomem(err);
    }
    if (handover) {
        return libspawn__pidfile_resume(&s->pidfile, path, handover->pid_fd,
                                        err);
    }
    rc = libspawn__dir_make(dir, 0700, err);
    return rc ? rc : take_pidfile(s, path, err);
}

int
libspawn__supervisor_new(
    struct libspawn_host *host, const struct libspawn_guest_config *config,
    const struct libspawn__supervisor_options *options,
    struct libspawn__supervisor **supervisor_r, struct libspawn_err *err)
{
    struct libspawn__supervisor *s = calloc(1, sizeof *s);
    int rc;

    if (!s) {
        return libspawn__fail_nomem(err);
    }
    s->host = host;
    s->config = config;
    s->callbacks = *options->callbacks;
    s->pidfile.fd = -1;
    s->end_status = -1;
    s->monitor = (struct libspawn__pidref)LIBSPAWN__PIDREF_INIT;
    libspawn_guest_config_init(&s->updated);
    libspawn__list_init(&s->settling);
    libspawn__list_init(&s->stopping);
    libspawn__list_init(&s->subscribers);
    libspawn__held_init(&s->held);
    libspawn__admission_init(&s->admission, options->times,
                             libspawn__clock_now_ms());
    libspawn__task_init(host->ctx->loop, &s->task, enter);
    libspawn__timer_init(host->ctx->loop, &s->timer, on_timer);
    libspawn__timer_init(host->ctx->loop, &s->hold_timer, on_hold_timer);
    libspawn__timer_init(host->ctx->loop, &s->settle_timer,
                         libspawn__supervisor_on_settled);
    libspawn__timer_init(host->ctx->loop, &s->monitor_timer,
                         libspawn__supervisor_on_monitor_timer);
    rc = take_identity(s, options->handover, err);
    if (!rc) {
        rc = libspawn__supervisor_make_workers(s, err);
    }
    if (!rc) {
        rc = libspawn__supervisor_listen(s, options, err);
    }
    if (!rc) {
        rc = libspawn__supervisor_watch_domain(s, err);
    }
    if (rc) {
        libspawn__supervisor_free(s);
        return rc;
    }
    *supervisor_r = s;
    return 0;
}

/* Who waits for the end of a guest that we leave. */
static void
end_stopping(struct libspawn__supervisor *s)
{
    struct libspawn_err err;

    libspawn__fail(&err, LIBSPAWN_ERR_ABORTED,
                   "the supervisor of guest '%s' leaves", s->config->name);
    libspawn__supervisor_tell_stopped(s, &err);
}

void
libspawn__supervisor_free(struct libspawn__supervisor *s)
{
    if (!s) {
        return;
    }
    libspawn_create_free(s->create);
    libspawn__supervisor_stop_removal(s);
    while (s->removal && !libspawn_ctx_wait(s->host->ctx, -1, NULL)) {
    }
    libspawn__supervisor_free_workers(s);
    libspawn__dm_free(s->dm);
    libspawn__held_dispose(&s->held);
    libspawn__task_cancel(&s->task);
    libspawn__timer_cancel(&s->timer);
    libspawn__timer_cancel(&s->hold_timer);
    libspawn__timer_cancel(&s->settle_timer);
    libspawn__supervisor_forget_monitor(s);
    libspawn__store_watch_remove(&s->release);
    libspawn__supervisor_drop_settling(s);
    end_stopping(s);
    libspawn__supervisor_end_events(s);
    libspawn__supervisor_close_doors(s);
    libspawn__pidfile_remove(&s->pidfile);
    libspawn_guest_config_dispose(&s->updated);
    free(s->end_text);
    free(s->end_log);
    free(s);
}
