/*
 * The queue of requests, until their callbacks.
 *
 * A request is one block of bytes, kept until it is answered: it may have to
 * go to another process.  Sending is tried at once, since what lies in the
 * socket is done even when this process dies.
 */
#include "proc/worker_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "wire/stream.h"

/* Between two tries to send, when the kernel lacks memory. */
enum { RETRY_MS = 100 };

struct request {
    struct libspawn__list link; /* in 'queue', then perhaps in 'done' */
    libspawn__worker_reply_fn *fn;
    void *user;
    uint32_t limit_ms;
    int64_t deadline_ms; /* 0: it is not the first yet */
    size_t n_sent;       /* of 'size' */
    struct libspawn__worker_message answer;
    int fds[LIBSPAWN__WORKER_FDS_MAX];
    struct libspawn__worker_header header;
    size_t size;  /* of what follows */
    char bytes[]; /* the header once more, and the payload */
};

static struct request *
request_of(struct libspawn__list *link)
{
    return CONTAINER_OF(link, struct request, link);
}

/* The first that is not done, or NULL. */
static struct request *
first_of(const struct libspawn__worker *worker)
{
    return libspawn__list_is_empty(&worker->queue)
               ? NULL
               : request_of(worker->queue.next);
}

uint64_t
libspawn__worker_first(const struct libspawn__worker *worker)
{
    const struct request *request = first_of(worker);

    return request ? request->header.sequence : 0;
}

static void
close_fds(struct request *request)
{
    size_t i;

    for (i = 0; i < request->header.n_fds; i++) {
        libspawn__auto_close(&request->fds[i]);
    }
    request->header.n_fds = 0;
}

static void
request_free(struct request *request)
{
    if (request) {
        close_fds(request);
        libspawn__worker_message_dispose(&request->answer);
        free(request);
    }
}

static void
auto_request_free(struct request **request)
{
    request_free(*request);
}

/* ---- The end of a request ---------------------------------------------- */

static void
deliver(struct libspawn__worker *worker, struct request *request)
{
    struct libspawn__worker_message *answer = &request->answer;
    struct libspawn_err err = { .code = answer->header.code,
                                .sys_errno = answer->header.sys_errno };
    struct libspawn__worker_reply reply = { .code = answer->header.code,
                                            .data = answer->data,
                                            .size = answer->header.size,
                                            .fds = answer->fds,
                                            .n_fds = answer->header.n_fds };

    if (reply.code) {
        libspawn__fail(&err, reply.code, "%s",
                       answer->data ? answer->data : "out of memory");
        err.sys_errno = answer->header.sys_errno;
        reply.err = &err;
    }
    request->fn(worker, &reply, request->user);
}

/* One per turn: a callback may free the worker. */
static void
on_deliver(struct libspawn__task *task)
{
    struct libspawn__worker *worker =
        CONTAINER_OF(task, struct libspawn__worker, deliver_task);
    struct request *request = request_of(worker->done.next);

    libspawn__list_remove(&request->link);
    if (!libspawn__list_is_empty(&worker->done)) {
        libspawn__task_post(task);
    }
    deliver(worker, request);
    request_free(request);
}

/* Whoever asked hears it anyway.  A handler that broke the rule of replies is
 * told by its worker with _PROTOCOL. */
static void
tell_about(struct libspawn__worker *worker, const struct request *request)
{
    const struct libspawn__worker_message *answer = &request->answer;
    struct libspawn_err err;

    if (!answer->header.code) {
        return;
    }
    libspawn__fail(&err, answer->header.code, "%s",
                   answer->data ? answer->data : "out of memory");
    err.sys_errno = answer->header.sys_errno;
    if (err.code == LIBSPAWN_ERR_PROTOCOL && answer->header.magic) {
        libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_FAULTY, &err);
    } else if (!request->fn) {
        libspawn__worker_emit(worker, LIBSPAWN__WORKER_EVENT_UNHEARD, &err);
    }
}

/* With what is in its answer. */
static void
finish(struct libspawn__worker *worker, struct request *request)
{
    if (worker->unsent == &request->link) {
        worker->unsent = request->link.next;
    }
    libspawn__list_remove(&request->link);
    worker->queue_size -= request->size + sizeof *request;
    worker->n_queue_fds -= request->header.n_fds;
    close_fds(request);
    if (request->fn) {
        libspawn__list_append(&worker->done, &request->link);
        libspawn__task_post(&worker->deliver_task);
    }
    tell_about(worker, request);
    if (!request->fn) {
        request_free(request);
    }
}

static void
fail(struct libspawn__worker *worker, struct request *request,
     const struct libspawn_err *err)
{
    struct libspawn__worker_message *answer = &request->answer;

    answer->header.code = err->code;
    answer->header.sys_errno = err->sys_errno;
    answer->data = strdup(err->text); /* without it, a shorter sentence */
    answer->header.size = answer->data ? (uint32_t)strlen(answer->data) : 0;
    finish(worker, request);
}

void
libspawn__worker_fail_first(struct libspawn__worker *worker,
                            const struct libspawn_err *err)
{
    struct request *request = first_of(worker);

    if (request && request->n_sent) {
        fail(worker, request, err);
    }
}

void
libspawn__worker_fail_sent(struct libspawn__worker *worker,
                           const struct libspawn_err *err)
{
    struct request *request;

    while ((request = first_of(worker)) && request->n_sent) {
        fail(worker, request, err);
    }
}

void
libspawn__worker_fail_all(struct libspawn__worker *worker,
                          const struct libspawn_err *err)
{
    struct request *request;

    while ((request = first_of(worker))) {
        fail(worker, request, err);
    }
}

int
libspawn__worker_take_answer(struct libspawn__worker *worker,
                             struct libspawn__worker_message *answer,
                             struct libspawn_err *err)
{
    struct request *request = first_of(worker);
    const struct libspawn__worker_header *header = &answer->header;

    if (!request || request->n_sent != request->size ||
        header->sequence != request->header.sequence ||
        header->type != request->header.type || header->code > 0 ||
        header->kind != (request->fn ? LIBSPAWN__WORKER_REPLY
                                     : LIBSPAWN__WORKER_DONE)) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the worker '%s' answers what was not asked",
                              worker->class);
    }
    request->answer = *answer;
    *answer = (struct libspawn__worker_message){ .data = NULL };
    finish(worker, request);
    libspawn__worker_flush(worker);
    return 0;
}

/* ---- Sending ----------------------------------------------------------- */

static void
on_limit(struct libspawn__timer *timer)
{
    struct libspawn__worker *worker =
        CONTAINER_OF(timer, struct libspawn__worker, limit_timer);
    const struct request *request = first_of(worker);
    struct libspawn_err err;

    if (request) {
        libspawn__fail_errno(&err, ETIMEDOUT,
                             "the worker '%s' was still busy after %u ms",
                             worker->class, request->limit_ms);
        libspawn__worker_kill_late(worker, &err);
    }
}

/* The time of a request begins when those before it are done. */
static void
watch_limit(struct libspawn__worker *worker)
{
    struct request *request = first_of(worker);
    int64_t deadline_ms = LIBSPAWN__NEVER;

    if (worker->state == LIBSPAWN__WORKER_RUNNING && request &&
        request->n_sent && request->limit_ms) {
        if (!request->deadline_ms) {
            request->deadline_ms =
                libspawn__clock_now_ms() + request->limit_ms;
        }
        deadline_ms = request->deadline_ms;
    }
    libspawn__timer_set(&worker->limit_timer, deadline_ms);
}

/* 0 or -errno. */
static int
send_some(struct libspawn__worker *worker, struct request *request)
{
    ssize_t n = libspawn__stream_send(
        worker->fd, request->bytes + request->n_sent,
        request->size - request->n_sent, request->fds,
        request->n_sent ? 0 : request->header.n_fds);

    if (n < 0) {
        return (int)n;
    }
    request->n_sent += (size_t)n;
    if (request->n_sent == request->size) {
        worker->unsent = request->link.next;
    }
    return 0;
}

/* 0 or -errno: what cannot be sent now. */
static int
send_all(struct libspawn__worker *worker)
{
    while (worker->unsent != &worker->queue) {
        int r = send_some(worker, request_of(worker->unsent));

        if (r) {
            return r;
        }
    }
    if (worker->is_stopping) {
        shutdown(worker->fd, SHUT_WR);
    }
    return 0;
}

void
libspawn__worker_flush(struct libspawn__worker *worker)
{
    int r;

    if (worker->state != LIBSPAWN__WORKER_RUNNING) {
        return;
    }
    r = send_all(worker);
    libspawn__io_modify(&worker->io,
                        r == -EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
    /* That nobody reads any more is seen by reading. */
    if (r && r != -EAGAIN && r != -EPIPE && r != -ECONNRESET) {
        libspawn__timer_set(&worker->send_timer,
                            libspawn__clock_now_ms() + RETRY_MS);
    }
    watch_limit(worker);
}

/* What cannot be sent for another reason than want of memory, such as a
 * descriptor of a kind that does not travel, ends here. */
static void
on_send(struct libspawn__timer *timer)
{
    struct libspawn__worker *worker =
        CONTAINER_OF(timer, struct libspawn__worker, send_timer);
    struct request *request;
    struct libspawn_err err;
    int r;

    if (worker->state != LIBSPAWN__WORKER_RUNNING ||
        worker->unsent == &worker->queue) {
        return;
    }
    request = request_of(worker->unsent);
    r = send_some(worker, request);
    if (r && r != -EAGAIN && r != -ENOMEM && r != -ENOBUFS &&
        r != -ETOOMANYREFS && r != -EPIPE && !request->n_sent) {
        libspawn__fail_errno(&err, -r, "sending a request to the worker '%s'",
                             worker->class);
        fail(worker, request, &err);
    }
    libspawn__worker_flush(worker);
}

void
libspawn__worker_send_again(struct libspawn__worker *worker)
{
    struct libspawn__list *link;

    LIST_FOR_EACH (link, &worker->queue) {
        request_of(link)->n_sent = 0;
        request_of(link)->deadline_ms = 0;
    }
    worker->unsent = worker->queue.next;
}

/* ---- In and out -------------------------------------------------------- */

static int
copy_fds(struct request *request, const int *fds, size_t n_fds,
         struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < n_fds; i++) {
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

        if (fd < 0) {
            return libspawn__fail_errno(err, errno, "copying descriptor %d",
                                        fds[i]);
        }
        request->fds[i] = fd;
        request->header.n_fds++;
    }
    return 0;
}

static void
fill(struct request *request, const struct libspawn__worker_request *from,
     uint64_t sequence, size_t size)
{
    char *at = request->bytes + sizeof request->header;
    size_t i;

    request->fn = from->fn;
    request->user = from->user;
    request->limit_ms = from->limit_ms;
    request->header.magic = LIBSPAWN__WORKER_MAGIC;
    request->header.kind =
        from->fn ? LIBSPAWN__WORKER_REQUEST : LIBSPAWN__WORKER_ORDER;
    request->header.type = from->type;
    request->header.size = (uint32_t)size;
    request->header.sequence = sequence;
    request->size = sizeof request->header + size;
    memcpy(request->bytes, &request->header, sizeof request->header);
    for (i = 0; i < from->n_iov; i++) {
        if (from->iov[i].iov_len) {
            memcpy(at, from->iov[i].iov_base, from->iov[i].iov_len);
            at += from->iov[i].iov_len;
        }
    }
}

int
libspawn__worker_enqueue(struct libspawn__worker *worker,
                         const struct libspawn__worker_request *request,
                         size_t size, struct libspawn_err *err)
{
    AUTO(auto_request_free) struct request *copy =
        calloc(1, sizeof *copy + sizeof copy->header + size);
    int rc;

    if (!copy) {
        return libspawn__fail_nomem(err);
    }
    rc = copy_fds(copy, request->fds, request->n_fds, err);
    if (rc) {
        return rc;
    }
    worker->sequence++;
    fill(copy, request, worker->sequence, size);
    libspawn__list_append(&worker->queue, &copy->link);
    if (worker->unsent == &worker->queue) {
        worker->unsent = &copy->link;
    }
    worker->queue_size += copy->size + sizeof *copy;
    worker->n_queue_fds += copy->header.n_fds;
    copy = NULL;
    return 0;
}

void
libspawn__worker_queue_init(struct libspawn__worker *worker)
{
    struct libspawn__loop *loop = worker->ctx->loop;

    libspawn__list_init(&worker->done);
    libspawn__list_init(&worker->queue);
    worker->unsent = &worker->queue;
    libspawn__task_init(loop, &worker->deliver_task, on_deliver);
    libspawn__timer_init(loop, &worker->limit_timer, on_limit);
    libspawn__timer_init(loop, &worker->send_timer, on_send);
}

static void
free_requests(struct libspawn__list *list)
{
    struct libspawn__list *link;
    struct libspawn__list *next;

    LIST_FOR_EACH_SAFE (link, next, list) {
        libspawn__list_remove(link);
        request_free(request_of(link));
    }
}

void
libspawn__worker_queue_dispose(struct libspawn__worker *worker)
{
    libspawn__task_cancel(&worker->deliver_task);
    libspawn__timer_cancel(&worker->limit_timer);
    libspawn__timer_cancel(&worker->send_timer);
    free_requests(&worker->done);
    free_requests(&worker->queue);
}
