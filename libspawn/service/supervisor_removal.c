/*
 * Removing the guest, in state STOPPING.
 *
 *   its lock is waited for -> its watcher has ended -> all of it is removed
 *
 * The last step is done in one go.  Without Xen it is a few small files and
 * nodes; on Xen it also waits for scripts and backends of its devices.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/host.h"
#include "proc/ctx.h"
#include "proc/record.h"
#include "service/supervisor.h"
#include "store/paths.h"

enum {
    WATCHER_TIMEOUT_MS = 5000 /* it also ends what the child left behind */
};

struct libspawn__removal {
    struct libspawn__supervisor *supervisor;
    struct libspawn__lock lock;
    struct libspawn__lock_wait *wait; /* NULL: not waiting for the lock */
    struct libspawn__pidref watcher;
    struct libspawn__io watcher_io;
    struct libspawn__timer timer; /* until it has ended */
};

void
libspawn__supervisor_stop_removal(struct libspawn__supervisor *s)
{
    struct libspawn__removal *removal = s->removal;

    if (!removal) {
        return;
    }
    libspawn__lock_wait_free(removal->wait);
    libspawn__io_remove(&removal->watcher_io);
    libspawn__timer_cancel(&removal->timer);
    libspawn__pidref_dispose(&removal->watcher);
    libspawn__host_unlock(s->host, &removal->lock);
    free(TAKE_PTR(s->removal));
}

/* The removal is over and forgotten. */
static void
finish(struct libspawn__supervisor *s, int rc, const struct libspawn_err *err)
{
    libspawn__supervisor_stop_removal(s);
    if (rc && rc != LIBSPAWN_ERR_NOT_FOUND) {
        libspawn__str_assign(&s->end_text, err->text, NULL);
        libspawn__supervisor_move(s, LIBSPAWN__ON_PRESERVE);
    } else {
        libspawn__supervisor_move(s, LIBSPAWN__ON_GONE);
    }
}

static void
remove_guest(struct libspawn__supervisor *s)
{
    struct libspawn_err err;
    int rc = libspawn__guest_destroy_locked(s->host, s->domid, &err);

    finish(s, rc, &err);
}

/* ---- Its watcher ------------------------------------------------------- */

static void
on_watcher(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__removal *removal =
        CONTAINER_OF(io, struct libspawn__removal, watcher_io);

    (void)events;
    if (libspawn__pidref_has_ended(&removal->watcher)) {
        remove_guest(removal->supervisor);
    }
}

static void
on_late(struct libspawn__timer *timer)
{
    remove_guest(
        CONTAINER_OF(timer, struct libspawn__removal, timer)->supervisor);
}

/* False when there is none that could be waited for. */
static bool
watch_watcher(struct libspawn__supervisor *s)
{
    struct libspawn__removal *removal = s->removal;
    AUTO_FREE char *path = libspawn__path_new(LIBSPAWN__PATH_RECORD, s->domid);
    struct libspawn__record record;

    return s->is_dm_ended && path &&
           !libspawn__record_read(s->host->store, path, &record, NULL) &&
           record.watcher.pid &&
           !libspawn__pidref_open(&record.watcher, &removal->watcher, NULL) &&
           !libspawn__io_add(s->host->ctx->loop, &removal->watcher_io,
                             removal->watcher.fd, EPOLLIN, on_watcher, NULL);
}

static void
await_watcher(struct libspawn__supervisor *s)
{
    if (watch_watcher(s)) {
        libspawn__timer_set(&s->removal->timer,
                            libspawn__clock_now_ms() + WATCHER_TIMEOUT_MS);
    } else {
        remove_guest(s);
    }
}

/* ---- Its lock ---------------------------------------------------------- */

static void
on_lock(void *user, const struct libspawn_err *err)
{
    struct libspawn__supervisor *s = user;

    libspawn__lock_wait_free(TAKE_PTR(s->removal->wait));
    if (err) {
        finish(s, err->code, err);
    } else {
        await_watcher(s);
    }
}

void
libspawn__supervisor_remove(struct libspawn__supervisor *s)
{
    struct libspawn__removal *removal = calloc(1, sizeof *removal);
    struct libspawn_err err;
    int rc;

    s->removal = removal;
    if (!removal) {
        rc = libspawn__fail_nomem(&err);
        finish(s, rc, &err);
        return;
    }
    removal->supervisor = s;
    removal->lock = (struct libspawn__lock)LIBSPAWN__LOCK_INIT;
    removal->watcher = (struct libspawn__pidref)LIBSPAWN__PIDREF_INIT;
    libspawn__timer_init(s->host->ctx->loop, &removal->timer, on_late);
    rc = libspawn__host_lock_guest_start(s->host, s->domid, on_lock, s,
                                         &removal->lock, &removal->wait, &err);
    if (rc) {
        finish(s, rc, &err);
    } else if (!removal->wait) {
        await_watcher(s);
    }
}
