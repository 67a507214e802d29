/*
 * Waiting for a lock without blocking the caller's loop.
 *
 * A record lock has no descriptor that a loop could watch.  So, when a try
 * finds it taken, a small process (spawn-watcher, in another role) gets the
 * open file description and waits in the kernel in our place; what it gets is
 * ours, since the description is.  Its end wakes the loop.  It decides
 * nothing: the lock is claimed again then, and if it is not ours after all, or
 * no such process can be started, the lock is tried again from time to time.
 */
#ifndef LIBSPAWN_PROC_LOCK_WAIT_H
#define LIBSPAWN_PROC_LOCK_WAIT_H

#include "include/libspawn.h"
#include "loop/loop.h"
#include "proc/lock.h"

struct libspawn__lock_wait;

/* The lock is taken, or 'err' says why it is not.  Comes once; may free the
 * wait. */
typedef void libspawn__lock_wait_fn(void *user,
                                    const struct libspawn_err *err);

/* Called once after a second, with a sentence: "waiting for the host lock,
 * held by ...".  A value other than 0 ends the wait: LIBSPAWN_ERR_ABORTED. */
typedef int libspawn__lock_waiting_fn(void *user, int64_t waited_ms,
                                      const char *sentence);

struct libspawn__lock_patience {
    int timeout_ms; /* then LIBSPAWN_ERR_TIMEOUT; -1: never */
    libspawn__lock_waiting_fn *waiting; /* may be NULL */
    void *waiting_user;
};

/* Takes the lock at once (*wait_r is NULL then, and 'fn' is not called), or
 * waits for it.  The request and its strings are copied; 'lock_r' must stay
 * where it is.  The rules of libspawn__lock_check_order hold. */
int libspawn__lock_wait_start(struct libspawn_ctx *ctx,
                              const struct libspawn__lock_request *request,
                              const struct libspawn__lock_patience *patience,
                              libspawn__lock_wait_fn *fn, void *user,
                              struct libspawn__lock *lock_r,
                              struct libspawn__lock_wait **wait_r,
                              struct libspawn_err *err);

/* Also before 'fn', which then is not called.  NULL is fine. */
void libspawn__lock_wait_free(struct libspawn__lock_wait *wait);

/* The same for who may block: the context's loop stands still.  Besides,
 * 'waiting' is called every 50 ms, with NULL for a sentence but for that one
 * time, so that the caller can hear its signals in it.  LIBSPAWN_ERR_BUSY
 * where libspawn__lock_take has it. */
int libspawn__lock_await(struct libspawn_ctx *ctx,
                         const struct libspawn__lock_request *request,
                         const struct libspawn__lock_patience *patience,
                         struct libspawn__lock *lock_r,
                         struct libspawn_err *err);

#endif
