/*
 * Waiting until a guest has powered off, without asking again and again.
 *
 *   WATCHING  device model -----.   its pidfd
 *      |      the store --------|   "@releaseDomain": a domain has ended
 *      |      a clock ----------'   where neither tells; see wait.c
 *      v
 *   SETTLING  the device model has ended, its watcher writes down how
 *      v
 *   DONE      'done' was called, once
 *
 * Each event is only a reason to look at the guest.  It has powered off when
 * it is gone, shut down, crashed or dying, or when its device model has ended.
 *
 * Not for the public: on Xen the watch makes libxenstore start a thread in
 * this process (store/store.h), which is nothing to a command that waits but
 * much to a caller.
 */
#ifndef LIBSPAWN_GUEST_WAIT_H
#define LIBSPAWN_GUEST_WAIT_H

#include "base/pidref.h"
#include "guest/hypervisor.h"

struct libspawn__guest_wait;

/* 'err' is NULL when the guest has powered off. */
typedef void libspawn__guest_wait_fn(struct libspawn__guest_wait *wait,
                                     const struct libspawn_err *err);

enum libspawn__guest_wait_state {
    LIBSPAWN__GUEST_WAIT_IDLE,
    LIBSPAWN__GUEST_WAIT_WATCHING,
    LIBSPAWN__GUEST_WAIT_SETTLING
};

struct libspawn__guest_wait {
    struct libspawn_host *host;
    uint32_t domid;
    libspawn__guest_wait_fn *done;

    /* Private. */
    enum libspawn__guest_wait_state state;
    struct libspawn__pidref model;
    struct libspawn__pidref watcher;
    struct libspawn__io model_io;
    struct libspawn__io watcher_io;
    struct libspawn__store_watch release;
    struct libspawn__timer timer;
    bool is_polled;
};

/* Before anything else. */
void libspawn__guest_wait_init(struct libspawn__guest_wait *wait);

/* Calls 'done', from the dispatch of the host's context, when guest 'domid'
 * has powered off; that may be so already. */
int libspawn__guest_wait_start(struct libspawn__guest_wait *wait,
                               struct libspawn_host *host, uint32_t domid,
                               libspawn__guest_wait_fn *done,
                               struct libspawn_err *err);

/* No callback comes any more.  Does nothing before the start and after the
 * end. */
void libspawn__guest_wait_abort(struct libspawn__guest_wait *wait);

#endif
