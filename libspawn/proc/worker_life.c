/*
 * The process of a worker.  It is known by its socket: that ends with it, and
 * who was killed and whose socket stays open has not ended.
 */
#include <errno.h>
#include <sys/socket.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "proc/worker_parts.h"
#include "wire/stream.h"

static void plan_next(struct libspawn__worker *worker);

/* ---- Starting ---------------------------------------------------------- */

static void on_socket(struct libspawn__io *io, uint32_t events);

/* A process and its socket. */
static int
start_process(struct libspawn__worker *worker, struct libspawn_err *err)
{
    char name[] = "guest-worker";
    char *argv[] = { name, worker->class, worker->title, NULL };
    AUTO_FD int ours = -1;
    AUTO_FD int theirs = -1;
    int fds[2];
    int rc = libspawn__stream_pair_of_bytes(fds, err);

    if (rc) {
        return rc;
    }
    ours = fds[0];
    theirs = fds[1];
    rc = libspawn__fd_set_nonblocking(ours, true, err);
    if (!rc) {
        rc = libspawn__io_add(worker->ctx->loop, &worker->io, ours, EPOLLIN,
                              on_socket, err);
    }
    if (rc) {
        return rc;
    }
    rc = libspawn__ctx_start_program(worker->ctx, worker->program, argv,
                                     theirs, &worker->pid, err);
    if (rc) {
        libspawn__io_remove(&worker->io);
        return rc;
    }
    worker->fd = TAKE_FD(ours);
    worker->is_mad = false;
    worker->is_canceled = false;
    worker->late = 0;
    worker->end_err.code = 0;
    worker->state = LIBSPAWN__WORKER_RUNNING;
    return 0;
}

int
libspawn__worker_launch(struct libspawn__worker *worker,
                        struct libspawn_err *err)
{
    return start_process(worker, err);
}

/* In place of one that ended. */
static void
start_next(struct libspawn__worker *worker)
{
    struct libspawn_err err;

    worker->is_degraded = false;
    if (start_process(worker, &err)) {
        worker->state = LIBSPAWN__WORKER_RESTING;
        libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_DIED, &err);
        plan_next(worker);
        return;
    }
    libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_REPLACED, NULL);
    libspawn__worker_flush(worker);
}

/* ---- Those that cannot be killed --------------------------------------- */

/* Reads some of what comes away, and what rides on it; true at the end. */
static bool
discard(int fd)
{
    char bytes[16384];
    ssize_t n;

    do {
        n = recv(fd, bytes, sizeof bytes, 0);
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    return !n;
}

static struct libspawn__worker_abandoned *
free_place(struct libspawn__worker *worker)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(worker->abandoned); i++) {
        if (worker->abandoned[i].fd < 0) {
            return &worker->abandoned[i];
        }
    }
    return NULL;
}

static void
on_abandoned(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__worker_abandoned *abandoned =
        CONTAINER_OF(io, struct libspawn__worker_abandoned, io);
    struct libspawn__worker *worker = abandoned->worker;

    (void)events;
    if (!discard(abandoned->fd)) {
        return;
    }
    libspawn__io_remove(&abandoned->io);
    libspawn__auto_close(&abandoned->fd);
    abandoned->fd = -1;
    if (worker->state == LIBSPAWN__WORKER_REFUSING) {
        worker->state = LIBSPAWN__WORKER_RESTING;
        libspawn__timer_set(&worker->life_timer, libspawn__clock_now_ms());
    }
}

/* Its socket is kept: the end of that is its own. */
static void
abandon(struct libspawn__worker *worker)
{
    struct libspawn__worker_abandoned *place = free_place(worker);
    struct libspawn_err err;

    libspawn__fail(&err, LIBSPAWN_ERR_TIMEOUT,
                   "the worker '%s', process %d, cannot be killed",
                   worker->class, (int)worker->pid);
    libspawn__io_remove(&worker->io);
    if (place) {
        place->fd = TAKE_FD(worker->fd);
        /* When this fails nobody hears of its end, and the place is lost. */
        libspawn__io_add(worker->ctx->loop, &place->io, place->fd, EPOLLIN,
                         on_abandoned, NULL);
    }
    libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_ABANDONED, &err);
}

/* ---- The end ----------------------------------------------------------- */

static void
become_stopped(struct libspawn__worker *worker)
{
    worker->state = LIBSPAWN__WORKER_STOPPED;
    libspawn__timer_cancel(&worker->life_timer);
    libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_STOPPED, NULL);
}

/* Nothing is left that it was to do. */
static bool
is_finished(const struct libspawn__worker *worker)
{
    return worker->is_stopping && libspawn__list_is_empty(&worker->queue);
}

static void
refuse(struct libspawn__worker *worker)
{
    struct libspawn_err err;

    worker->state = LIBSPAWN__WORKER_REFUSING;
    libspawn__fail(&err, LIBSPAWN_ERR_LIMIT,
                   "%d workers '%s' hang and cannot be killed",
                   LIBSPAWN__WORKER_ABANDONED_MAX, worker->class);
    libspawn__worker_fail_all(worker, &err);
    libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_REFUSES, &err);
    if (is_finished(worker)) {
        become_stopped(worker);
    }
}

/* Too many have died: what waits should not wait for so long. */
static void
degrade(struct libspawn__worker *worker, int64_t pause_ms)
{
    struct libspawn_err err;

    worker->is_degraded = true;
    libspawn__fail(&err, LIBSPAWN_ERR_BUSY,
                   "%d workers '%s' have died within %u ms; the next is "
                   "started in %lld ms",
                   LIBSPAWN__WORKER_DEATHS_MAX, worker->class,
                   worker->throttle.window_ms, (long long)pause_ms);
    libspawn__worker_fail_all(worker, &err);
    libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_DEGRADED, &err);
    if (is_finished(worker)) {
        become_stopped(worker);
    }
}

/* One has died by itself. */
static void
plan_next(struct libspawn__worker *worker)
{
    int64_t now_ms = libspawn__clock_now_ms();
    bool is_degraded;
    int64_t at_ms = libspawn__worker_throttle_died(&worker->throttle, now_ms,
                                                   &is_degraded);

    libspawn__timer_set(&worker->life_timer, at_ms);
    if (is_degraded) {
        degrade(worker, at_ms - now_ms);
    }
}

/* The socket is closed, or another's. */
static void
forget_process(struct libspawn__worker *worker)
{
    libspawn__io_remove(&worker->io);
    libspawn__auto_close(&worker->fd);
    worker->fd = -1;
    libspawn__worker_reader_dispose(&worker->reader);
    libspawn__timer_cancel(&worker->limit_timer);
    libspawn__timer_cancel(&worker->send_timer);
    libspawn__timer_cancel(&worker->life_timer);
    worker->state = LIBSPAWN__WORKER_RESTING;
}

/* By itself, or it was stopped and has nothing left to do. */
static void
died(struct libspawn__worker *worker)
{
    struct libspawn_err err = worker->end_err;

    forget_process(worker);
    if (!err.code) {
        libspawn__fail(&err, LIBSPAWN_ERR_GONE, "the worker '%s' has ended",
                       worker->class);
    }
    libspawn__worker_fail_sent(worker, &err);
    libspawn__worker_send_again(worker);
    if (is_finished(worker)) {
        become_stopped(worker);
        return;
    }
    libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_DIED, &err);
    plan_next(worker);
}

/* The first request that was not answered is the one that it had begun; those
 * behind it never were. */
static void
fail_begun(struct libspawn__worker *worker, const struct libspawn_err *late)
{
    struct libspawn_err err = *late;

    if (libspawn__worker_first(worker) != worker->late) {
        libspawn__fail(&err, LIBSPAWN_ERR_GONE,
                       "the worker '%s' was killed for the request before",
                       worker->class);
    }
    libspawn__worker_fail_first(worker, &err);
}

/* It was killed, and has ended or will not. */
static void
was_killed(struct libspawn__worker *worker)
{
    struct libspawn_err err = worker->end_err;

    forget_process(worker);
    if (worker->is_canceled) {
        libspawn__worker_fail_all(worker, &err);
    } else if (worker->is_mad) {
        /* It is not known any more what it has done. */
        libspawn__worker_fail_sent(worker, &err);
    } else {
        fail_begun(worker, &err);
    }
    libspawn__worker_send_again(worker);
    if (is_finished(worker)) {
        become_stopped(worker);
    } else if (!free_place(worker)) {
        refuse(worker);
    } else if (worker->is_canceled) {
        worker->state = LIBSPAWN__WORKER_OFF;
    } else if (worker->is_mad) {
        plan_next(worker);
    } else {
        libspawn__timer_set(&worker->life_timer, libspawn__clock_now_ms());
    }
}

static void
kill_process(struct libspawn__worker *worker, const struct libspawn_err *err)
{
    worker->state = LIBSPAWN__WORKER_KILLED;
    worker->end_err = *err;
    libspawn__ctx_kill_watcher(worker->ctx, worker->pid);
    libspawn__timer_cancel(&worker->limit_timer);
    libspawn__timer_set(&worker->life_timer,
                        libspawn__clock_now_ms() + worker->kill_ms);
    libspawn__io_modify(&worker->io, EPOLLIN);
    libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_KILLED, err);
}

void
libspawn__worker_kill_late(struct libspawn__worker *worker,
                           const struct libspawn_err *err)
{
    worker->late = libspawn__worker_first(worker);
    kill_process(worker, err);
}

void
libspawn__worker_cancel(struct libspawn__worker *worker,
                        const struct libspawn_err *err)
{
    if (!libspawn__worker_first(worker)) {
        return;
    }
    if (worker->state == LIBSPAWN__WORKER_RUNNING) {
        kill_process(worker, err);
    }
    if (worker->state == LIBSPAWN__WORKER_KILLED) {
        worker->is_canceled = true;
        worker->end_err = *err;
    } else {
        libspawn__worker_fail_all(worker, err);
    }
}

void
libspawn__worker_rest(struct libspawn__worker *worker)
{
    if (worker->state == LIBSPAWN__WORKER_RUNNING &&
        !libspawn__worker_first(worker) && !worker->is_stopping) {
        forget_process(worker);
        worker->state = LIBSPAWN__WORKER_OFF;
    }
}

void
libspawn__worker_on_life(struct libspawn__timer *timer)
{
    struct libspawn__worker *worker =
        CONTAINER_OF(timer, struct libspawn__worker, life_timer);

    if (worker->state == LIBSPAWN__WORKER_KILLED) {
        abandon(worker);
        was_killed(worker);
    } else if (is_finished(worker)) {
        become_stopped(worker);
    } else if (worker->state == LIBSPAWN__WORKER_RESTING) {
        start_next(worker);
    }
}

void
libspawn__worker_drop_processes(struct libspawn__worker *worker)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(worker->abandoned); i++) {
        libspawn__io_remove(&worker->abandoned[i].io);
        libspawn__auto_close(&worker->abandoned[i].fd);
    }
    libspawn__io_remove(&worker->io);
    libspawn__auto_close(&worker->fd);
    libspawn__worker_reader_dispose(&worker->reader);
}

/* ---- What it says ------------------------------------------------------ */

/* Its last words, before it leaves by itself. */
static void
keep_complaint(struct libspawn__worker *worker,
               const struct libspawn__worker_message *message)
{
    int code = message->header.code < 0 ? message->header.code
                                        : LIBSPAWN_ERR_PROTOCOL;

    libspawn__fail(&worker->end_err, code, "the worker '%s' gives up: %s",
                   worker->class, message->data);
}

static void
read_message(struct libspawn__worker *worker)
{
    AUTO_WORKER_MESSAGE struct libspawn__worker_message message = {
        .data = NULL
    };
    struct libspawn_err err;
    int rc = libspawn__worker_reader_read(&worker->reader, worker->fd,
                                          &message, &err);

    if (!rc) {
        return;
    }
    if (rc == LIBSPAWN_ERR_GONE) {
        if (worker->state == LIBSPAWN__WORKER_KILLED) {
            was_killed(worker);
        } else {
            died(worker);
        }
        return;
    }
    if (rc == 1 && message.header.kind == LIBSPAWN__WORKER_COMPLAINT) {
        keep_complaint(worker, &message);
        return;
    }
    if (rc == 1) {
        rc = libspawn__worker_take_answer(worker, &message, &err);
    }
    if (rc < 0) {
        worker->is_mad = true;
        kill_process(worker, &err);
    }
}

static void
on_socket(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__worker *worker =
        CONTAINER_OF(io, struct libspawn__worker, io);

    if (events & EPOLLOUT) {
        libspawn__worker_flush(worker);
    }
    if (!(events & ~(uint32_t)EPOLLOUT)) {
        return;
    }
    if (!worker->is_mad) {
        read_message(worker);
    } else if (discard(worker->fd)) {
        was_killed(worker);
    }
}
