#include "proc/lock_wait.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "proc/ctx.h"
#include "proc/protocol.h"
#include "wire/stream.h"

enum {
    PATIENCE_MS = 1000, /* before somebody is told */
    TICK_MS = 50        /* between two calls of who wants to hear something,
                           and between two tries without a process */
};

struct libspawn__lock_wait {
    struct libspawn_ctx *ctx;
    struct libspawn__loop *loop;
    struct libspawn__lock_request request;
    struct libspawn__lock_patience patience;
    libspawn__lock_wait_fn *fn;
    void *user;
    struct libspawn__lock *lock;
    char *path; /* of the request, as is */
    char *name;
    bool is_blocking; /* nobody else uses the loop */

    int fd; /* the open lock file; -1: done */
    int64_t began_ms;
    bool has_said;
    bool *is_freed; /* while the caller is told something; else NULL */
    struct libspawn__timer timer;

    /* The process that waits. */
    int socket; /* -1: there is none */
    pid_t pid;
    struct libspawn__io io;
};

/* ---- The process that waits -------------------------------------------- */

static void
end_process(struct libspawn__lock_wait *wait)
{
    if (wait->socket >= 0) {
        libspawn__io_remove(&wait->io);
        close(TAKE_FD(wait->socket));
        libspawn__ctx_end_watcher(wait->ctx, wait->pid);
    }
}

static int
send_descriptor(const struct libspawn__lock_wait *wait, int socket,
                struct libspawn_err *err)
{
    struct libspawn__watcher_message message = {
        .version = LIBSPAWN__WATCHER_VERSION,
        .type = LIBSPAWN__WATCHER_AWAIT_LOCK,
    };
    ssize_t n = libspawn__stream_send(
        socket, &message, offsetof(struct libspawn__watcher_message, tail),
        &wait->fd, 1);

    return n < 0 ? libspawn__fail_errno(err, (int)-n, "passing on a lock") : 0;
}

static void on_process(struct libspawn__io *io, uint32_t events);

static int
start_process(struct libspawn__lock_wait *wait, struct libspawn_err *err)
{
    AUTO_FD int ours = -1;
    AUTO_FD int theirs = -1;
    int fds[2];
    int rc = libspawn__stream_pair(false, fds, err);

    if (rc) {
        return rc;
    }
    ours = fds[0];
    theirs = fds[1];
    rc = libspawn__ctx_start_watcher(wait->ctx, NULL, wait->path, theirs,
                                     &wait->pid, err);
    if (rc) {
        return rc;
    }
    wait->socket = TAKE_FD(ours);
    rc = send_descriptor(wait, wait->socket, err);
    if (!rc) {
        rc = libspawn__io_add(wait->loop, &wait->io, wait->socket, EPOLLIN,
                              on_process, err);
    }
    if (rc) {
        end_process(wait);
    }
    return rc;
}

/* ---- The wait ---------------------------------------------------------- */

static int
open_file(struct libspawn__lock_wait *wait, struct libspawn_err *err)
{
    libspawn__auto_close(&wait->fd);
    wait->fd = -1;
    return libspawn__lock_open(wait->path, &wait->fd, err);
}

static void
finish(struct libspawn__lock_wait *wait, const struct libspawn_err *err)
{
    end_process(wait);
    libspawn__timer_cancel(&wait->timer);
    libspawn__auto_close(&wait->fd);
    wait->fd = -1;
    wait->fn(wait->user, err);
}

/* BUSY: goes on waiting. */
static int
try_again(struct libspawn__lock_wait *wait, struct libspawn_err *err)
{
    int rc;

    do {
        rc = libspawn__lock_claim(&wait->request, &wait->fd, wait->lock, err);
        if (rc == LIBSPAWN__LOCK_STALE && open_file(wait, err)) {
            return err->code;
        }
    } while (rc == LIBSPAWN__LOCK_STALE);
    return rc;
}

static int64_t
next_look_ms(const struct libspawn__lock_wait *wait, int64_t now)
{
    int64_t at = LIBSPAWN__NEVER;

    if (wait->socket < 0 || (wait->is_blocking && wait->patience.waiting)) {
        at = now + TICK_MS;
    }
    if (!wait->has_said && wait->patience.waiting) {
        at = MIN(at, wait->began_ms + PATIENCE_MS);
    }
    if (wait->patience.timeout_ms >= 0) {
        at = MIN(at, wait->began_ms + wait->patience.timeout_ms);
    }
    return at;
}

static void
go_on(struct libspawn__lock_wait *wait)
{
    libspawn__timer_set(&wait->timer,
                        next_look_ms(wait, libspawn__clock_now_ms()));
}

static void
finish_or_go_on(struct libspawn__lock_wait *wait)
{
    struct libspawn_err err = { 0 };
    int rc = try_again(wait, &err);

    if (rc == LIBSPAWN_ERR_BUSY) {
        go_on(wait);
    } else {
        finish(wait, rc ? &err : NULL);
    }
}

/* Its end, with the lock or without; it says nothing. */
static void
on_process(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__lock_wait *wait =
        CONTAINER_OF(io, struct libspawn__lock_wait, io);

    (void)events;
    end_process(wait);
    finish_or_go_on(wait);
}

enum { WAS_GIVEN_UP = 1, WAS_FREED };

static int
tell_caller(struct libspawn__lock_wait *wait, int64_t waited_ms)
{
    char holder[LIBSPAWN__LOCK_TEXT_SIZE];
    AUTO_FREE char *sentence = NULL;
    bool is_freed = false;
    int r;

    if (!wait->patience.waiting) {
        return 0;
    }
    if (!wait->has_said && waited_ms >= PATIENCE_MS) {
        wait->has_said = true;
        libspawn__lock_describe_holder(wait->fd, holder);
        sentence = libspawn__str_format("waiting for %s, %s",
                                        wait->request.name, holder);
    } else if (!wait->is_blocking) {
        return 0;
    }
    wait->is_freed = &is_freed;
    r = wait->patience.waiting(wait->patience.waiting_user, waited_ms,
                               sentence);
    if (is_freed) {
        return WAS_FREED;
    }
    wait->is_freed = NULL;
    return r ? WAS_GIVEN_UP : 0;
}

static void
fail_timeout(const struct libspawn__lock_wait *wait, struct libspawn_err *err)
{
    char holder[LIBSPAWN__LOCK_TEXT_SIZE];

    libspawn__lock_describe_holder(wait->fd, holder);
    libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                   "%s was not free within %d ms: it is %s",
                   wait->request.name, wait->patience.timeout_ms, holder);
}

static void
on_timer(struct libspawn__timer *timer)
{
    struct libspawn__lock_wait *wait =
        CONTAINER_OF(timer, struct libspawn__lock_wait, timer);
    int64_t waited_ms = libspawn__clock_now_ms() - wait->began_ms;
    struct libspawn_err err = { 0 };
    int r = tell_caller(wait, waited_ms);

    if (r == WAS_FREED) {
        return;
    }
    if (r) {
        libspawn__fail(&err, LIBSPAWN_ERR_ABORTED,
                       "waiting for %s was given up", wait->request.name);
    } else if (wait->patience.timeout_ms >= 0 &&
               waited_ms >= wait->patience.timeout_ms) {
        fail_timeout(wait, &err);
    }
    if (err.code) {
        finish(wait, &err);
    } else if (wait->socket >= 0) {
        go_on(wait);
    } else {
        /* A process that ended without the lock is followed by another. */
        (void)start_process(wait, NULL);
        finish_or_go_on(wait);
    }
}

/* ---- Start and end ----------------------------------------------------- */

static int
new_wait(struct libspawn_ctx *ctx,
         const struct libspawn__lock_request *request,
         const struct libspawn__lock_patience *patience,
         struct libspawn__lock_wait **wait_r, struct libspawn_err *err)
{
    struct libspawn__lock_wait *wait = calloc(1, sizeof *wait);

    if (!wait) {
        return libspawn__fail_nomem(err);
    }
    wait->ctx = ctx;
    wait->request = *request;
    wait->request.holding = NULL; /* was looked at */
    wait->request.path = wait->path = strdup(request->path);
    wait->request.name = wait->name = strdup(request->name);
    wait->patience = *patience;
    wait->fd = wait->socket = -1;
    wait->began_ms = libspawn__clock_now_ms();
    if (!wait->path || !wait->name) {
        libspawn__lock_wait_free(wait);
        return libspawn__fail_nomem(err);
    }
    *wait_r = wait;
    return 0;
}

/* Behind a try that found it busy. */
static int
start(struct libspawn__lock_wait *wait, struct libspawn__loop *loop,
      libspawn__lock_wait_fn *fn, void *user, struct libspawn__lock *lock,
      struct libspawn_err *err)
{
    int rc = open_file(wait, err);

    wait->loop = loop;
    wait->fn = fn;
    wait->user = user;
    wait->lock = lock;
    libspawn__timer_init(loop, &wait->timer, on_timer);
    if (!rc && wait->is_blocking) {
        rc = libspawn__lock_check_block(&wait->request, wait->fd, err);
    }
    if (!rc) {
        (void)start_process(wait, NULL);
        go_on(wait);
    }
    return rc;
}

int
libspawn__lock_wait_start(struct libspawn_ctx *ctx,
                          const struct libspawn__lock_request *request,
                          const struct libspawn__lock_patience *patience,
                          libspawn__lock_wait_fn *fn, void *user,
                          struct libspawn__lock *lock_r,
                          struct libspawn__lock_wait **wait_r,
                          struct libspawn_err *err)
{
    struct libspawn__lock_wait *wait = NULL;
    int rc = libspawn__lock_check_order(request, err);

    if (!rc) {
        rc = libspawn__lock_try(request, lock_r, err);
    }
    if (rc == LIBSPAWN_ERR_BUSY) {
        rc = new_wait(ctx, request, patience, &wait, err);
        if (!rc) {
            rc = start(wait, ctx->loop, fn, user, lock_r, err);
        }
    }
    if (rc) {
        libspawn__lock_wait_free(wait);
        return rc;
    }
    *wait_r = wait;
    return 0;
}

void
libspawn__lock_wait_free(struct libspawn__lock_wait *wait)
{
    if (!wait) {
        return;
    }
    if (wait->is_freed) {
        *wait->is_freed = true;
    }
    end_process(wait);
    if (wait->loop) {
        libspawn__timer_cancel(&wait->timer);
    }
    libspawn__auto_close(&wait->fd);
    free(wait->path);
    free(wait->name);
    free(wait);
}

/* ---- For who may block ------------------------------------------------- */

struct verdict {
    bool is_there;
    struct libspawn_err err; /* code 0: taken */
};

static void
on_verdict(void *user, const struct libspawn_err *err)
{
    struct verdict *verdict = user;

    verdict->is_there = true;
    if (err) {
        verdict->err = *err;
    }
}

/* A loop of its own: nothing else of the context may happen inside. */
static int
block(struct libspawn__lock_wait *wait, struct libspawn__lock *lock,
      struct libspawn_err *err)
{
    struct verdict verdict = { .is_there = false };
    struct libspawn__loop *loop;
    int rc = libspawn__loop_new(&loop, err);

    if (rc) {
        return rc;
    }
    rc = start(wait, loop, on_verdict, &verdict, lock, err);
    while (!rc && !verdict.is_there) {
        rc = libspawn__loop_wait(loop, -1, err);
    }
    if (!rc && verdict.err.code) {
        rc = verdict.err.code;
        if (err) {
            *err = verdict.err;
        }
    }
    libspawn__lock_wait_free(wait);
    libspawn__loop_free(loop);
    return rc;
}

int
libspawn__lock_await(struct libspawn_ctx *ctx,
                     const struct libspawn__lock_request *request,
                     const struct libspawn__lock_patience *patience,
                     struct libspawn__lock *lock_r, struct libspawn_err *err)
{
    struct libspawn__lock_wait *wait;
    int rc = libspawn__lock_check_order(request, err);

    if (!rc) {
        rc = libspawn__lock_try(request, lock_r, err);
    }
    if (rc != LIBSPAWN_ERR_BUSY) {
        return rc;
    }
    rc = new_wait(ctx, request, patience, &wait, err);
    if (!rc) {
        wait->is_blocking = true;
        rc = block(wait, lock_r, err);
    }
    return rc;
}
