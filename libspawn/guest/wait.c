/*
 * In the order in which they come: libspawn__guest_wait_start, then any of
 * on_release, on_timer and on_model_end, behind the last on_watcher_end, and
 * finish.
 */
#include "guest/wait.h"

#include <string.h>

#include "base/clock.h"
#include "guest/look.h"
#include "proc/ctx.h"
#include "proc/record.h"
#include "store/paths.h"

enum {
    POLL_MS = 1000,
    SETTLE_MS = 5000 /* the watcher also ends what the child left behind */
};

void
libspawn__guest_wait_init(struct libspawn__guest_wait *wait)
{
    memset(wait, 0, sizeof *wait);
    wait->model.fd = -1;
    wait->watcher.fd = -1;
}

void
libspawn__guest_wait_abort(struct libspawn__guest_wait *wait)
{
    if (wait->state == LIBSPAWN__GUEST_WAIT_IDLE) {
        return;
    }
    wait->state = LIBSPAWN__GUEST_WAIT_IDLE;
    libspawn__timer_cancel(&wait->timer);
    libspawn__io_remove(&wait->model_io);
    libspawn__io_remove(&wait->watcher_io);
    libspawn__store_watch_remove(&wait->release);
    libspawn__pidref_dispose(&wait->model);
    libspawn__pidref_dispose(&wait->watcher);
}

static void
finish(struct libspawn__guest_wait *wait, const struct libspawn_err *err)
{
    libspawn__guest_wait_abort(wait);
    wait->done(wait, err);
}

/* ---- Looking ----------------------------------------------------------- */

static void
set_timer(struct libspawn__guest_wait *wait, int64_t ms)
{
    libspawn__timer_set(&wait->timer, libspawn__clock_now_ms() + ms);
}

static void
look(struct libspawn__guest_wait *wait)
{
    static const unsigned int off =
        LIBSPAWN_GUEST_SHUTDOWN | LIBSPAWN_GUEST_CRASHED |
        LIBSPAWN_GUEST_DYING | LIBSPAWN_GUEST_DM_DEAD;
    AUTO_GUEST_INFO struct libspawn_guest_info info = { 0 };
    struct libspawn_err err;
    int rc = libspawn__guest_look(wait->host, wait->domid, &info, &err);

    /* Its supervisor may have given it another device model meanwhile. */
    if (rc == LIBSPAWN_ERR_NOT_FOUND || (!rc && (info.state & off)) ||
        (!rc && wait->state == LIBSPAWN__GUEST_WAIT_SETTLING)) {
        finish(wait, NULL);
    } else if (rc) {
        finish(wait, &err);
    } else if (wait->is_polled) {
        set_timer(wait, POLL_MS);
    }
}

/* ---- Events ------------------------------------------------------------ */

static void
on_watcher_end(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__guest_wait *wait =
        CONTAINER_OF(io, struct libspawn__guest_wait, watcher_io);

    (void)events;
    if (libspawn__pidref_has_ended(&wait->watcher)) {
        libspawn__io_remove(io);
        look(wait);
    }
}

/* Its watcher has not had the last word: what it writes down makes the next
 * command remove the guest.  One that hangs is not waited for for ever. */
static void
settle(struct libspawn__guest_wait *wait)
{
    bool is_watched =
        wait->watcher.fd >= 0 &&
        !libspawn__io_add(wait->host->ctx->loop, &wait->watcher_io,
                          wait->watcher.fd, EPOLLIN, on_watcher_end, NULL);

    wait->state = LIBSPAWN__GUEST_WAIT_SETTLING;
    wait->is_polled = false;
    set_timer(wait, is_watched ? SETTLE_MS : 0);
}

static void
on_model_end(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__guest_wait *wait =
        CONTAINER_OF(io, struct libspawn__guest_wait, model_io);

    (void)events;
    if (libspawn__pidref_has_ended(&wait->model)) {
        libspawn__io_remove(io);
        settle(wait);
    }
}

static void
on_release(struct libspawn__store_watch *watch, const char *path)
{
    struct libspawn__guest_wait *wait =
        CONTAINER_OF(watch, struct libspawn__guest_wait, release);
    struct libspawn_err err;

    if (path) {
        look(wait);
        return;
    }
    libspawn__fail(&err, LIBSPAWN_ERR_GONE,
                   "the store was lost while waiting for domain %u",
                   (unsigned int)wait->domid);
    finish(wait, &err);
}

static void
on_timer(struct libspawn__timer *timer)
{
    look(CONTAINER_OF(timer, struct libspawn__guest_wait, timer));
}

/* ---- Start ------------------------------------------------------------- */

/* A record that is missing or makes no sense is no reason to fail: not every
 * guest has a device model, or one of ours. */
static int
watch_model(struct libspawn__guest_wait *wait, struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, wait->domid);
    struct libspawn__record record;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    if (libspawn__record_read(wait->host->store, path, &record, NULL)) {
        return 0;
    }
    wait->model.id = record.child;
    libspawn__pidref_open(&record.watcher, &wait->watcher, NULL);
    if (libspawn__pidref_open(&record.child, &wait->model, NULL)) {
        settle(wait);
        return 0;
    }
    return libspawn__io_add(wait->host->ctx->loop, &wait->model_io,
                            wait->model.fd, EPOLLIN, on_model_end, err);
}

/* xenstored tells of each domain that has shut down or is gone; where there is
 * none, LIBSPAWN_ERR_UNSUPPORTED. */
static int
watch_release(struct libspawn__guest_wait *wait, struct libspawn_err *err)
{
    return libspawn__store_watch_add(wait->host->store, wait->host->ctx->loop,
                                     &wait->release, "@releaseDomain",
                                     on_release, err);
}

/* Without Xen, a guest that is kept when it is off keeps its device model too,
 * and only that knows.  It would tell a client that stays connected, but
 * serves one at a time, and others shall reach it while we wait. */
static bool
is_kept(struct libspawn__guest_wait *wait)
{
    struct libspawn_guest_config config;
    bool is_kept;

    libspawn_guest_config_init(&config);
    is_kept = libspawn_guest_get_config(wait->host, wait->domid, &config,
                                        NULL) ||
              config.on_poweroff == LIBSPAWN_ACTION_PRESERVE;
    libspawn_guest_config_dispose(&config);
    return is_kept;
}

int
libspawn__guest_wait_start(struct libspawn__guest_wait *wait,
                           struct libspawn_host *host, uint32_t domid,
                           libspawn__guest_wait_fn *done,
                           struct libspawn_err *err)
{
    int rc;

    wait->host = host;
    wait->domid = domid;
    wait->done = done;
    wait->state = LIBSPAWN__GUEST_WAIT_WATCHING;
    libspawn__timer_init(host->ctx->loop, &wait->timer, on_timer);
    rc = watch_model(wait, err);
    if (!rc) {
        rc = watch_release(wait, err);
        if (rc == LIBSPAWN_ERR_UNSUPPORTED) {
            wait->is_polled =
                wait->state == LIBSPAWN__GUEST_WAIT_WATCHING &&
                (wait->model.fd < 0 || is_kept(wait));
            rc = 0;
        }
    }
    if (rc) {
        libspawn__guest_wait_abort(wait);
        return rc;
    }
    if (wait->state == LIBSPAWN__GUEST_WAIT_WATCHING) {
        /* The first look, now that nothing can be missed any more. */
        set_timer(wait, 0);
    }
    return 0;
}
