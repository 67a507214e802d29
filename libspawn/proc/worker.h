/*
 * A worker: another process that does, in order, what may block in the
 * kernel, so that the loop of this one never does.  A dead disk hangs a
 * worker, and the guest goes on.
 *
 *   worker.c           what others call
 *   worker_queue.c     requests: sending, replies, limits
 *   worker_life.c      its process: start, end, and who comes next
 *   worker_throttle.c  how soon
 *   worker_wire.c      messages
 *   worker_calls.c     what can be asked for
 *
 * The worker is a program, guest-worker, started as watchers are: it has
 * nothing of this process but its end of a socket, so there is nothing that
 * its death could remove or keep open.
 *
 *     OFF --start--> RUNNING --limit, protocol--> KILLED
 *                     |  ^                          |
 *                   (it ends)                (it ends, or never does)
 *                     v  |                          |
 *                    RESTING <----------------------'
 *                     |
 *                     v
 *                    REFUSING, STOPPED
 *
 *   OFF       not started yet, or at rest; the next request starts it
 *   RUNNING   it takes requests
 *   KILLED    SIGKILL was sent, and it has not ended yet
 *   RESTING   the next is started soon; requests wait, or, when too many have
 *             died, are refused
 *   REFUSING  three cannot even be killed: no more, until one of them ends
 *   STOPPED   it has done all and is gone
 *
 * What happens to requests when a worker is replaced:
 *
 *   it died          what it was sent ends with _GONE, in order; what still
 *                    waited goes to the next
 *   beyond a limit   the one that hung ends with _TIMEOUT; all behind it go to
 *                    the next, since it had not begun them
 *   protocol error   what it was sent ends with _PROTOCOL
 *   canceled         all end with the error that was given, and none follows
 *
 * A request is never done twice.
 */
#ifndef LIBSPAWN_PROC_WORKER_H
#define LIBSPAWN_PROC_WORKER_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/list.h"
#include "loop/loop.h"
#include "proc/ctx.h"
#include "proc/worker_throttle.h"
#include "proc/worker_wire.h"

enum {
    LIBSPAWN__WORKER_QUEUE_SIZE = 4 * 1024 * 1024, /* of all requests */
    LIBSPAWN__WORKER_QUEUE_FDS = 256,
    LIBSPAWN__WORKER_ABANDONED_MAX = 3,
    LIBSPAWN__WORKER_KILL_MS = 1000 /* for SIGKILL, which takes one */
};

struct libspawn__worker;

enum libspawn__worker_event {
    LIBSPAWN__WORKER_EVENT_REPLACED,  /* another one runs */
    LIBSPAWN__WORKER_EVENT_DIED,      /* by itself */
    LIBSPAWN__WORKER_EVENT_KILLED,    /* by us: the error says what for */
    LIBSPAWN__WORKER_EVENT_DEGRADED,  /* too many died: none for a while */
    LIBSPAWN__WORKER_EVENT_ABANDONED, /* it cannot be killed */
    LIBSPAWN__WORKER_EVENT_REFUSES,   /* as many as we allow cannot */
    LIBSPAWN__WORKER_EVENT_FAULTY,    /* a handler broke the rule of replies */
    LIBSPAWN__WORKER_EVENT_UNHEARD,   /* what nobody waits for has failed */
    LIBSPAWN__WORKER_EVENT_STOPPED    /* after libspawn__worker_stop */
};

/* Only from dispatch.  May ask for more, but not free the worker.  'err' says
 * more; it is NULL with _REPLACED and _STOPPED. */
typedef void libspawn__worker_event_fn(struct libspawn__worker *worker,
                                       enum libspawn__worker_event event,
                                       const struct libspawn_err *err,
                                       void *user);

/* What a request came to. */
struct libspawn__worker_reply {
    int code;                       /* 0, or why there is nothing else */
    const struct libspawn_err *err; /* the same in words; NULL with 0 */
    const char *data;               /* a NUL follows */
    size_t size;
    int *fds; /* closed afterwards, but for those taken with TAKE_FD */
    size_t n_fds;
};

/* Comes once for each request that has one, only from dispatch, in the order
 * of the requests.  May ask for more, and free the worker. */
typedef void libspawn__worker_reply_fn(struct libspawn__worker *worker,
                                       struct libspawn__worker_reply *reply,
                                       void *user);

struct libspawn__worker_request {
    uint32_t type; /* enum libspawn__worker_type */
    const struct iovec *iov; /* the payload; copied */
    size_t n_iov;
    const int *fds; /* copied: they stay the caller's */
    size_t n_fds;
    uint32_t limit_ms; /* from when it is the first; 0: none */
    libspawn__worker_reply_fn *fn; /* NULL: the worker does not reply */
    void *user;
};

struct libspawn__worker_options {
    const char *program; /* NULL: guest-worker, beside this program or ... */
    const char *class;   /* "io" or "probe": what it can be asked for */
    const char *guest;   /* for process lists */
    libspawn__worker_event_fn *fn; /* or NULL */
    void *user;
    uint32_t kill_ms;   /* until one is abandoned; 0: the default */
    uint32_t window_ms; /* in which deaths are counted; 0: the default */
};

enum libspawn__worker_state {
    LIBSPAWN__WORKER_OFF,
    LIBSPAWN__WORKER_RUNNING,
    LIBSPAWN__WORKER_KILLED,
    LIBSPAWN__WORKER_RESTING,
    LIBSPAWN__WORKER_REFUSING,
    LIBSPAWN__WORKER_STOPPED
};

/* One that was killed and lives on: its end is the end of its socket. */
struct libspawn__worker_abandoned {
    struct libspawn__worker *worker;
    struct libspawn__io io;
    int fd; /* -1: none here */
};

struct libspawn__worker {
    struct libspawn_ctx *ctx;
    char *program;
    char *class;
    char *title;
    libspawn__worker_event_fn *fn;
    void *user;
    uint32_t kill_ms;

    enum libspawn__worker_state state;
    bool is_stopping; /* it ends when all is done */
    bool is_degraded; /* RESTING, and refusing meanwhile */
    bool is_mad;      /* what it says makes no sense any more */
    bool is_canceled; /* KILLED, and nothing is left that was asked */
    pid_t pid;
    int fd; /* the socket; -1: there is no process */
    struct libspawn__io io;
    struct libspawn__worker_reader reader;

    /* Requests in order: done ones that were not delivered yet, and apart
     * from them those that were sent, then those that wait. */
    struct libspawn__list done;
    struct libspawn__list queue;
    struct libspawn__list *unsent; /* in 'queue', or its head: none */
    size_t queue_size;             /* bytes of both lists */
    size_t n_queue_fds;
    uint64_t sequence; /* the last one given */
    struct libspawn__task deliver_task;

    struct libspawn__timer limit_timer; /* of the first of the queue */
    struct libspawn__timer send_timer;  /* tries again */
    struct libspawn__timer life_timer;  /* KILLED, RESTING */
    struct libspawn_err end_err;        /* why it is killed, or complained */
    uint64_t late; /* the sequence of what hung; 0: it is not that */
    struct libspawn__worker_throttle throttle;
    struct libspawn__worker_abandoned
        abandoned[LIBSPAWN__WORKER_ABANDONED_MAX];
};

/* Starts nothing yet. */
int libspawn__worker_new(struct libspawn_ctx *ctx,
                         const struct libspawn__worker_options *options,
                         struct libspawn__worker **worker_r,
                         struct libspawn_err *err);

/* Callbacks that did not come yet never will.  The process does what it was
 * sent, and ends.  NULL is fine. */
void libspawn__worker_free(struct libspawn__worker *worker);

/* LIBSPAWN_ERR_EXISTS: it was started before.  Before the first request, for
 * who wants to know early that it can be started. */
int libspawn__worker_start(struct libspawn__worker *worker,
                           struct libspawn_err *err);

/* There is a process, and nothing bad is known about it. */
bool libspawn__worker_is_running(const struct libspawn__worker *worker);

/* Never blocks, and does not wait for the reply.  LIBSPAWN_ERR_BUSY: the queue
 * is full, or too many workers died; LIBSPAWN_ERR_LIMIT with E2BIG: more data
 * or descriptors than a message holds, and without: it refuses;
 * LIBSPAWN_ERR_GONE: it was stopped. */
int libspawn__worker_request(struct libspawn__worker *worker,
                             const struct libspawn__worker_request *request,
                             struct libspawn_err *err);

/* What is under way, and all that waits, ends with this error, and the process
 * is killed if it is at anything: for work that is worth nothing half-done.
 * The replies come as always, when it has ended or cannot. */
void libspawn__worker_cancel(struct libspawn__worker *worker,
                             const struct libspawn_err *err);

/* Ends a process that has nothing to do; the next request starts another. */
void libspawn__worker_rest(struct libspawn__worker *worker);

/* No more requests; the end of the last one is the end of the process, and
 * _STOPPED follows. */
void libspawn__worker_stop(struct libspawn__worker *worker);

#endif
