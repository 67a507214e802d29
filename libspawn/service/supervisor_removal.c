/*
 * Removing the guest, in state STOPPING.
 *
 *   its lock is waited for -> all of it is removed
 *
 * How is the hypervisor's business, and may take long: device models that do
 * not heed SIGTERM, backends, scripts.  All of that is waited for on the loop.
 * Once begun it is not stopped: nobody could know what half of it has done.
 * Who is asked to leave meanwhile does so at its end.
 */
#include <stdlib.h>

#include "base/str.h"
#include "base/util.h"
#include "guest/host.h"
#include "proc/ctx.h"
#include "service/supervisor.h"

struct libspawn__removal {
    struct libspawn__lock lock;
    struct libspawn__lock_wait *wait; /* NULL: not waiting for the lock */
    bool is_begun;
};

static void
forget(struct libspawn__supervisor *s)
{
    libspawn__lock_wait_free(s->removal->wait);
    libspawn__host_unlock(s->host, &s->removal->lock);
    free(TAKE_PTR(s->removal));
}

bool
libspawn__supervisor_is_removing(const struct libspawn__supervisor *s)
{
    return s->removal && s->removal->is_begun;
}

void
libspawn__supervisor_stop_removal(struct libspawn__supervisor *s)
{
    if (s->removal && !s->removal->is_begun) {
        forget(s);
    }
}

/* By its name, which goes last. */
static bool
is_there(struct libspawn__supervisor *s)
{
    AUTO_FREE char *name = NULL;

    return libspawn_guest_get_name(s->host, s->domid, &name, NULL) !=
           LIBSPAWN_ERR_NOT_FOUND;
}

/* A script that fails does not keep the guest, but it is told. */
static bool
has_failed(struct libspawn__supervisor *s, const struct libspawn_err *err)
{
    if (!err || err->code == LIBSPAWN_ERR_NOT_FOUND) {
        return false;
    }
    if (is_there(s)) {
        return true;
    }
    libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_DESTROYED, NULL,
                              err->text);
    return false;
}

/* The removal is over and forgotten. */
static void
finish(struct libspawn__supervisor *s, const struct libspawn_err *err)
{
    bool is_failed = has_failed(s, err);

    if (s->removal) {
        forget(s);
    }
    libspawn__supervisor_rest_workers(s);
    libspawn__supervisor_tell_stopped(s, is_failed ? err : NULL);
    if (s->state == LIBSPAWN__STATE_TERMINATED) {
        libspawn__task_post(&s->task); /* which waited for this */
    } else if (is_failed) {
        libspawn__str_assign(&s->end_text, err->text, NULL);
        libspawn__supervisor_move(s, LIBSPAWN__ON_PRESERVE);
    } else {
        libspawn__supervisor_move(s, LIBSPAWN__ON_GONE);
    }
}

static void
on_destroyed(void *user, const struct libspawn_err *err)
{
    finish(user, err);
}

static void
remove_guest(struct libspawn__supervisor *s)
{
    struct libspawn_err err;
    int rc = libspawn__guest_start_destroy_locked(s->host, s->domid,
                                                  on_destroyed, s, &err);

    if (rc == LIBSPAWN__STEP_PENDING) {
        s->removal->is_begun = true;
    } else {
        finish(s, rc ? &err : NULL);
    }
}

/* ---- Its lock ---------------------------------------------------------- */

static void
on_lock(void *user, const struct libspawn_err *err)
{
    struct libspawn__supervisor *s = user;

    libspawn__lock_wait_free(TAKE_PTR(s->removal->wait));
    if (err) {
        finish(s, err);
    } else {
        remove_guest(s);
    }
}

void
libspawn__supervisor_remove(struct libspawn__supervisor *s)
{
    struct libspawn__removal *removal = calloc(1, sizeof *removal);
    struct libspawn_err err;

    s->removal = removal;
    if (!removal) {
        libspawn__fail_nomem(&err);
        finish(s, &err);
        return;
    }
    removal->lock = (struct libspawn__lock)LIBSPAWN__LOCK_INIT;
    libspawn__held_dispose(&s->held);
    if (libspawn__host_lock_guest_start(s->host, s->domid, on_lock, s,
                                        &removal->lock, &removal->wait,
                                        &err)) {
        finish(s, &err);
    } else if (!removal->wait) {
        remove_guest(s);
    }
}
