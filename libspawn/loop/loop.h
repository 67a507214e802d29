/*
 * The event loop inside a context: one epoll descriptor that the caller's own
 * loop watches, level-triggered.
 *
 *  - struct libspawn__io     a descriptor and the events it waits for; also a
 *                            pidfd, which becomes readable at a process's end
 *  - struct libspawn__timer  a point in time
 *  - struct libspawn__task   something to do from the next dispatch, so that
 *                            no callback ever runs inside the call that
 *                            started an operation
 *
 * The structures are embedded in their owner's and must stay where they are
 * while active.  Callbacks run only from libspawn__loop_dispatch; a callback
 * may add, change and remove any source, also its own, and free the structure
 * it sits in.
 *
 * Invariant: work pending means that the descriptor is readable, and not
 * readable means that dispatch has nothing to do.
 *
 * One thread per loop.  A forked child must not touch it: epoll sets are
 * shared by fork.  libspawn__loop_dispatch in another process than the one
 * that made the loop is LIBSPAWN_ERR_INVALID.
 */
#ifndef LIBSPAWN_LOOP_LOOP_H
#define LIBSPAWN_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "base/list.h"

struct libspawn__loop;
struct libspawn__io;
struct libspawn__timer;
struct libspawn__task;

typedef void libspawn__io_fn(struct libspawn__io *io, uint32_t events);
typedef void libspawn__timer_fn(struct libspawn__timer *timer);
typedef void libspawn__task_fn(struct libspawn__task *task);

int libspawn__loop_new(struct libspawn__loop **loop_r,
                       struct libspawn_err *err);

/* Every source must have been removed; NULL is fine. */
void libspawn__loop_free(struct libspawn__loop *loop);

int libspawn__loop_fd(const struct libspawn__loop *loop);

/* Runs what is due; never blocks. */
int libspawn__loop_dispatch(struct libspawn__loop *loop,
                            struct libspawn_err *err);

/* Blocks until something is due, at most 'timeout_ms' (-1: for ever), and
 * dispatches it.  Time running out, or a signal, is not an error. */
int libspawn__loop_wait(struct libspawn__loop *loop, int timeout_ms,
                        struct libspawn_err *err);

/* The monotonic time in ms, read once per dispatch. */
int64_t libspawn__loop_now(const struct libspawn__loop *loop);

/* ---- Descriptors ------------------------------------------------------- */

struct libspawn__io {
    struct libspawn__loop *loop; /* NULL while inactive */
    libspawn__io_fn *fn;
    int fd;          /* borrowed */
    uint32_t events; /* private: what it waits for now */
    uint32_t slot;   /* private: index into the loop's table */
};

/* Starts waiting for 'events' (EPOLLIN, EPOLLOUT; EPOLLERR and EPOLLHUP
 * always) on 'fd', which stays the caller's. */
int libspawn__io_add(struct libspawn__loop *loop, struct libspawn__io *io,
                     int fd, uint32_t events, libspawn__io_fn *fn,
                     struct libspawn_err *err);
void libspawn__io_modify(struct libspawn__io *io, uint32_t events);

/* Before the descriptor is closed.  Does nothing when inactive. */
void libspawn__io_remove(struct libspawn__io *io);

/* ---- Timers ------------------------------------------------------------ */

struct libspawn__timer {
    struct libspawn__list link; /* in the loop's list, earliest first */
    struct libspawn__loop *loop;
    libspawn__timer_fn *fn;
    int64_t at_ms;
};

void libspawn__timer_init(struct libspawn__loop *loop,
                          struct libspawn__timer *timer,
                          libspawn__timer_fn *fn);

/* Runs once at 'at_ms' on the clock of libspawn__clock_now_ms; replaces an
 * earlier setting.  LIBSPAWN__NEVER is the same as cancelling. */
void libspawn__timer_set(struct libspawn__timer *timer, int64_t at_ms);
void libspawn__timer_cancel(struct libspawn__timer *timer);

/* ---- Tasks ------------------------------------------------------------- */

struct libspawn__task {
    struct libspawn__list link;
    struct libspawn__loop *loop;
    libspawn__task_fn *fn;
};

void libspawn__task_init(struct libspawn__loop *loop,
                         struct libspawn__task *task, libspawn__task_fn *fn);

/* Runs once from the next dispatch; posting twice is the same as once. */
void libspawn__task_post(struct libspawn__task *task);
void libspawn__task_cancel(struct libspawn__task *task);

#endif
