#include "proc/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "proc/worker_parts.h"

void
libspawn__worker_emit(struct libspawn__worker *worker,
                      enum libspawn__worker_event event,
                      const struct libspawn_err *err)
{
    if (worker->fn) {
        worker->fn(worker, event, err, worker->user);
    }
}

/* ---- Asking ------------------------------------------------------------ */

static size_t
payload_size(const struct libspawn__worker_request *request)
{
    size_t size = 0;
    size_t i;

    for (i = 0; i < request->n_iov; i++) {
        if (request->iov[i].iov_len > LIBSPAWN__WORKER_SIZE_MAX) {
            return request->iov[i].iov_len;
        }
        size += request->iov[i].iov_len;
    }
    return size;
}

/* Whether it takes requests now. */
static int
check_state(const struct libspawn__worker *worker, struct libspawn_err *err)
{
    if (worker->is_stopping) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "the worker '%s' was stopped", worker->class);
    }
    if (worker->state == LIBSPAWN__WORKER_REFUSING) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "%d workers '%s' hang and cannot be killed",
                              LIBSPAWN__WORKER_ABANDONED_MAX, worker->class);
    }
    if (worker->is_degraded) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "too many workers '%s' have died",
                              worker->class);
    }
    return 0;
}

static int
check_size(const struct libspawn__worker *worker,
           const struct libspawn__worker_request *request, size_t size,
           struct libspawn_err *err)
{
    if (request->n_fds > LIBSPAWN__WORKER_FDS_MAX) {
        return libspawn__fail_errno(err, E2BIG, "a request with %zu "
                                    "descriptors", request->n_fds);
    }
    if (size > LIBSPAWN__WORKER_SIZE_MAX) {
        return libspawn__fail_errno(err, E2BIG, "a request of %zu bytes",
                                    size);
    }
    if (worker->queue_size + size > LIBSPAWN__WORKER_QUEUE_SIZE ||
        worker->n_queue_fds + request->n_fds > LIBSPAWN__WORKER_QUEUE_FDS) {
        return libspawn__fail_errno(err, EAGAIN,
                                    "the queue of the worker '%s' is full",
                                    worker->class);
    }
    return 0;
}

int
libspawn__worker_request(struct libspawn__worker *worker,
                         const struct libspawn__worker_request *request,
                         struct libspawn_err *err)
{
    size_t size = payload_size(request);
    int rc = check_state(worker, err);

    if (!rc) {
        rc = check_size(worker, request, size, err);
    }
    if (!rc && worker->state == LIBSPAWN__WORKER_OFF) {
        rc = libspawn__worker_launch(worker, err);
    }
    if (!rc) {
        rc = libspawn__worker_enqueue(worker, request, size, err);
    }
    if (!rc) {
        libspawn__worker_flush(worker);
    }
    return rc;
}

/* ---- The whole --------------------------------------------------------- */

int
libspawn__worker_new(struct libspawn_ctx *ctx,
                     const struct libspawn__worker_options *options,
                     struct libspawn__worker **worker_r,
                     struct libspawn_err *err)
{
    struct libspawn__worker *worker = calloc(1, sizeof *worker);
    size_t i;
    int rc;

    if (!worker) {
        return libspawn__fail_nomem(err);
    }
    worker->ctx = ctx;
    worker->fn = options->fn;
    worker->user = options->user;
    worker->kill_ms =
        options->kill_ms ? options->kill_ms : LIBSPAWN__WORKER_KILL_MS;
    worker->throttle.window_ms =
        options->window_ms ? options->window_ms : LIBSPAWN__WORKER_WINDOW_MS;
    worker->fd = -1;
    for (i = 0; i < ARRAY_SIZE(worker->abandoned); i++) {
        worker->abandoned[i].worker = worker;
        worker->abandoned[i].fd = -1;
    }
    libspawn__worker_queue_init(worker);
    libspawn__timer_init(ctx->loop, &worker->life_timer,
                         libspawn__worker_on_life);
    rc = libspawn__str_assign(&worker->program, options->program, err);
    if (!rc) {
        rc = libspawn__str_assign(&worker->class, options->class, err);
    }
    if (!rc) {
        worker->title = libspawn__str_format("of guest %s (pid %d)",
                                             options->guest, (int)getpid());
        rc = worker->title ? 0 : libspawn__fail_nomem(err);
    }
    if (rc) {
        libspawn__worker_free(worker);
        return rc;
    }
    *worker_r = worker;
    return 0;
}

void
libspawn__worker_free(struct libspawn__worker *worker)
{
    if (!worker) {
        return;
    }
    libspawn__worker_drop_processes(worker);
    libspawn__timer_cancel(&worker->life_timer);
    libspawn__worker_queue_dispose(worker);
    free(worker->program);
    free(worker->class);
    free(worker->title);
    free(worker);
}

int
libspawn__worker_start(struct libspawn__worker *worker,
                       struct libspawn_err *err)
{
    if (worker->state != LIBSPAWN__WORKER_OFF || worker->is_stopping) {
        return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                              "the worker '%s' was started before",
                              worker->class);
    }
    return libspawn__worker_launch(worker, err);
}

bool
libspawn__worker_is_running(const struct libspawn__worker *worker)
{
    return worker->state == LIBSPAWN__WORKER_RUNNING;
}

void
libspawn__worker_stop(struct libspawn__worker *worker)
{
    if (worker->is_stopping) {
        return;
    }
    worker->is_stopping = true;
    libspawn__worker_flush(worker);
    if (worker->fd < 0 && libspawn__list_is_empty(&worker->queue)) {
        libspawn__timer_set(&worker->life_timer, libspawn__clock_now_ms());
    }
}
