/*
 * The caller's side of a start: speaks with the watcher, keeps the deadline,
 * takes over when the watcher dies, and tells the caller by events.
 *
 * Chain of one start, in the order of this file:
 *
 *   libspawn_child_start -> on_watcher (HELD, STARTED, READY) -> deliver
 *   on_deadline, end_child -> on_watcher (ENDED, FAILED) -> finish -> deliver
 *   lose_watcher -> on_orphan_end -> finish -> deliver
 */
#include "proc/child.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "proc/ctx.h"
#include "proc/plan.h"
#include "proc/protocol.h"
#include "proc/record.h"
#include "proc/report.h"
#include "wire/stream.h"

enum {
    ABORT_GRACE_MS = 1000,   /* for a child that is not ready yet */
    WATCHER_SLACK_MS = 3000, /* what the watcher may need beyond the grace */
    RELEASE_TIMEOUT_MS = 5000
};

enum child_state {
    CHILD_STARTING,
    CHILD_WAITING,
    CHILD_READY,
    CHILD_RELEASED,
    CHILD_ENDED
};

struct libspawn_child {
    struct libspawn__list link; /* in the context's list */
    struct libspawn_ctx *ctx;   /* NULL: orphaned */
    libspawn_event_fn *fn;
    void *user;

    enum child_state state;
    bool is_detached;  /* released without a watcher */
    bool is_end_asked; /* we asked for its end; 'asked' says why */
    enum libspawn_end asked;
    uint32_t stop_ms;

    unsigned int events; /* set of 1 << enum libspawn_event to deliver */
    struct libspawn__task deliver_task;
    bool *is_freed; /* set by libspawn_child_free during a callback */

    int watcher_fd; /* the socket; -1: closed */
    pid_t watcher_pid;
    struct libspawn__io watcher_io;
    struct libspawn__pidref ref; /* the child's */
    struct libspawn__io orphan_io;

    struct libspawn__timer deadline;
    struct libspawn__timer backstop; /* nobody else sends SIGKILL in time */

    char *store_address;
    struct libspawn__strv nodes; /* the record, and where its pid stands */
    struct libspawn__report report;
};

/* ---- Events ------------------------------------------------------------ */

static void
post_event(struct libspawn_child *child, enum libspawn_event event)
{
    child->events |= 1U << event;
    if (child->ctx) {
        libspawn__task_post(&child->deliver_task);
    }
}

static void
deliver(struct libspawn__task *task)
{
    struct libspawn_child *child =
        CONTAINER_OF(task, struct libspawn_child, deliver_task);
    bool is_freed = false;
    unsigned int event;

    child->is_freed = &is_freed;
    for (event = 0; event <= LIBSPAWN_EVENT_EXITED; event++) {
        if (child->events & 1U << event) {
            child->events &= ~(1U << event);
            if (child->fn) {
                child->fn(child, (enum libspawn_event)event, child->user);
            }
            if (is_freed) {
                return;
            }
        }
    }
    child->is_freed = NULL;
}

/* ---- Messages to the watcher ------------------------------------------- */

static int
send_message(const struct libspawn_child *child,
             struct libspawn__watcher_message *message,
             enum libspawn__watcher_type type, const int *fds, size_t n_fds)
{
    size_t size = offsetof(struct libspawn__watcher_message, tail);
    ssize_t n;

    message->version = LIBSPAWN__WATCHER_VERSION;
    message->type = type;
    n = libspawn__stream_send(child->watcher_fd, message, size, fds, n_fds);
    if (n < 0) {
        /* The watcher would wait for what was lost: the end of the stream
         * tells it, and us, that the other is gone. */
        shutdown(child->watcher_fd, SHUT_RDWR);
        return (int)n;
    }
    return 0;
}

static void
close_watcher(struct libspawn_child *child)
{
    libspawn__io_remove(&child->watcher_io);
    libspawn__auto_close(&child->watcher_fd);
    child->watcher_fd = -1;
}

/* ---- The end ----------------------------------------------------------- */

static void
finish(struct libspawn_child *child)
{
    bool was_ready = child->state == CHILD_READY ||
                     child->state == CHILD_RELEASED;

    child->state = CHILD_ENDED;
    libspawn__timer_cancel(&child->deadline);
    libspawn__timer_cancel(&child->backstop);
    libspawn__io_remove(&child->orphan_io);
    close_watcher(child);
    post_event(child,
               was_ready ? LIBSPAWN_EVENT_EXITED : LIBSPAWN_EVENT_FAILED);
}

/* Asks for the end; 'why' is what the report will say, the first time. */
static void
end_child(struct libspawn_child *child, enum libspawn_end why,
          uint32_t grace_ms)
{
    struct libspawn__watcher_message message = { 0 };

    if (child->state == CHILD_ENDED) {
        return;
    }
    if (!child->is_end_asked) {
        child->is_end_asked = true;
        child->asked = why;
    }
    libspawn__timer_cancel(&child->deadline);
    if (child->watcher_fd >= 0) {
        /* When the watcher is gone the end of the stream says so next. */
        message.u.stop.grace_ms = grace_ms;
        send_message(child, &message, LIBSPAWN__WATCHER_STOP, NULL, 0);
        grace_ms += WATCHER_SLACK_MS;
    } else {
        libspawn__pidref_signal(&child->ref, SIGTERM, NULL);
        /* A stopped process takes SIGTERM only when it goes on. */
        libspawn__pidref_signal(&child->ref, SIGCONT, NULL);
    }
    libspawn__timer_set(&child->backstop, libspawn__clock_now_ms() + grace_ms);
}

static const char *
pending_stage(uint64_t pending)
{
    if (pending & LIBSPAWN_READY_STORE) {
        return "waiting for its node in the store";
    } else if (pending & LIBSPAWN_READY_NOTIFY) {
        return "waiting for its notification";
    }
    return NULL;
}

static void
handle_ended(struct libspawn_child *child,
             const struct libspawn__watcher_message *message)
{
    struct libspawn_report *pub = &child->report.pub;
    int status = message->u.ended.wait_status;
    const char *stage = pending_stage(message->u.ended.pending);

    if (stage && child->state == CHILD_WAITING) {
        libspawn__report_set(&child->report, &child->report.stage, stage);
    }
    pub->lived_ms = message->u.ended.lived_ms;
    if (child->is_end_asked) {
        pub->end = child->asked;
    } else if (!message->u.ended.is_known) {
        pub->end = LIBSPAWN_END_UNKNOWN;
    } else if (WIFSIGNALED(status)) {
        pub->end = LIBSPAWN_END_SIGNALED;
        pub->signal = WTERMSIG(status);
        pub->core_dumped = WCOREDUMP(status);
    } else {
        pub->end = LIBSPAWN_END_EXITED;
        pub->exit_code = WEXITSTATUS(status);
    }
    finish(child);
}

/* The watcher could not start it, or could not keep its promises. */
static void
handle_failed(struct libspawn_child *child,
              const struct libspawn__watcher_message *message)
{
    struct libspawn__report *report = &child->report;
    char text[sizeof message->u.failed.text];
    char step[sizeof message->u.failed.step];

    memcpy(text, message->u.failed.text, sizeof text);
    text[sizeof text - 1] = '\0';
    memcpy(step, message->u.failed.step, sizeof step);
    step[sizeof step - 1] = '\0';
    if (message->u.failed.no_exec) {
        report->pub.end = LIBSPAWN_END_NO_EXEC;
        report->pub.sys_errno = message->u.failed.sys_errno;
        libspawn__report_set(report, &report->step, step);
        libspawn__report_set(report, &report->detail, text);
    } else {
        report->pub.end = LIBSPAWN_END_REFUSED;
        report->pub.sys_errno = message->u.failed.sys_errno;
        libspawn__report_set(report, &report->detail, text);
    }
    finish(child);
}

/* ---- The watcher is gone: the caller takes over ------------------------ */

/* Nobody else knows of the record now. */
static void
remove_nodes(const struct libspawn_child *child)
{
    struct libspawn__store *store;
    size_t i;

    if (child->store_address &&
        !libspawn__store_open(child->store_address, &store, NULL)) {
        for (i = 0; i < child->nodes.n_items; i++) {
            libspawn__store_remove(store, NULL, child->nodes.items[i], NULL);
        }
        libspawn__store_close(store);
    }
}

static void
finish_orphan(struct libspawn_child *child)
{
    child->report.pub.end = child->is_end_asked &&
                                    child->asked != LIBSPAWN_END_STOPPED
                                ? child->asked
                                : LIBSPAWN_END_UNKNOWN;
    libspawn__report_set(&child->report, &child->report.detail,
                         child->is_detached ? "nobody watched it"
                                            : "its watcher died");
    if (child->state != CHILD_RELEASED) {
        remove_nodes(child);
    }
    finish(child);
}

static void
on_orphan_end(struct libspawn__io *io, uint32_t events)
{
    struct libspawn_child *child =
        CONTAINER_OF(io, struct libspawn_child, orphan_io);

    (void)events;
    if (libspawn__pidref_has_ended(&child->ref)) {
        finish_orphan(child);
    }
}

static void
watch_orphan(struct libspawn_child *child)
{
    close_watcher(child);
    if (child->ref.fd < 0 ||
        libspawn__io_add(child->ctx->loop, &child->orphan_io, child->ref.fd,
                         EPOLLIN, on_orphan_end, NULL)) {
        finish_orphan(child);
    }
}

/* A held child ends by itself when the watcher does; any other is killed,
 * unless it was released and has a right to live. */
static void
lose_watcher(struct libspawn_child *child)
{
    if (child->state != CHILD_RELEASED || child->is_end_asked) {
        libspawn__pidref_signal(&child->ref, SIGKILL, NULL);
    }
    watch_orphan(child);
}

static void
on_backstop(struct libspawn__timer *timer)
{
    struct libspawn_child *child =
        CONTAINER_OF(timer, struct libspawn_child, backstop);

    if (child->orphan_io.loop) {
        libspawn__pidref_signal(&child->ref, SIGKILL, NULL);
    } else {
        /* The watcher did not answer within its time; act in its place. */
        libspawn__ctx_kill_watcher(child->ctx, child->watcher_pid);
        lose_watcher(child);
    }
}

/* ---- Messages from the watcher ----------------------------------------- */

static void
handle_held(struct libspawn_child *child,
            const struct libspawn__watcher_message *message)
{
    struct libspawn__identity id;

    child->ref.id.pid = message->u.held.pid;
    child->ref.id.start_time = message->u.held.start_time;
    /* No pidfd came: the watcher has none, or we had no room for one. */
    if (child->ref.fd < 0 && !libspawn__identity_self(&id, NULL)) {
        id.pid = message->u.held.pid;
        id.start_time = message->u.held.start_time;
        libspawn__pidref_open(&id, &child->ref, NULL);
    }
    child->report.pub.pid = message->u.held.pid;
}

static void
handle_started(struct libspawn_child *child,
               const struct libspawn__watcher_message *message)
{
    (void)message;
    if (child->state == CHILD_STARTING) {
        child->state = CHILD_WAITING;
        libspawn__report_set(&child->report, &child->report.stage,
                             "waiting for it to become ready");
        post_event(child, LIBSPAWN_EVENT_STARTED);
    }
}

static void
handle_ready(struct libspawn_child *child,
             const struct libspawn__watcher_message *message)
{
    (void)message;
    if (child->state == CHILD_WAITING && !child->is_end_asked) {
        child->state = CHILD_READY;
        libspawn__timer_cancel(&child->deadline);
        libspawn__report_set(&child->report, &child->report.stage, "running");
        post_event(child, LIBSPAWN_EVENT_READY);
    }
}

static void
handle_released(struct libspawn_child *child,
                const struct libspawn__watcher_message *message)
{
    (void)message;
    if (child->state == CHILD_READY) {
        child->state = CHILD_RELEASED;
        if (child->is_detached) {
            watch_orphan(child);
        }
    }
}

static const struct {
    enum libspawn__watcher_type type;
    void (*handle)(struct libspawn_child *child,
                   const struct libspawn__watcher_message *message);
} handlers[] = {
    { LIBSPAWN__WATCHER_HELD, handle_held },
    { LIBSPAWN__WATCHER_STARTED, handle_started },
    { LIBSPAWN__WATCHER_READY, handle_ready },
    { LIBSPAWN__WATCHER_RELEASED, handle_released },
    { LIBSPAWN__WATCHER_ENDED, handle_ended },
    { LIBSPAWN__WATCHER_FAILED, handle_failed },
};

static void
take_tail(struct libspawn_child *child,
          struct libspawn__watcher_message *message)
{
    if (message->tail_size && message->tail_size < sizeof message->tail) {
        message->tail[message->tail_size] = '\0';
        libspawn__report_set(&child->report, &child->report.tail,
                             message->tail);
    }
}

static void
handle_message(struct libspawn_child *child,
               struct libspawn__watcher_message *message)
{
    size_t i;

    take_tail(child, message);
    for (i = 0; i < ARRAY_SIZE(handlers); i++) {
        if (handlers[i].type == message->type) {
            handlers[i].handle(child, message);
            return;
        }
    }
}

/* Reads one message; false when there is none, or no watcher any more. */
static bool
receive_message(struct libspawn_child *child)
{
    struct libspawn__watcher_message message = { 0 };
    int fd = -1;
    size_t n_fds = 1;
    ssize_t n;

    if (child->watcher_fd < 0) {
        return false;
    }
    n = libspawn__stream_recv(child->watcher_fd, &message, sizeof message, &fd,
                              &n_fds);
    if (n == -EAGAIN) {
        return false;
    }
    if (n_fds == 1) {
        /* Only HELD carries one: the pidfd of the child. */
        libspawn__pidref_dispose(&child->ref);
        child->ref.fd = fd;
    }
    if (n < (ssize_t)offsetof(struct libspawn__watcher_message, tail) ||
        message.version != LIBSPAWN__WATCHER_VERSION) {
        lose_watcher(child);
        return false;
    }
    handle_message(child, &message);
    return true;
}

static void
on_watcher(struct libspawn__io *io, uint32_t events)
{
    (void)events;
    receive_message(CONTAINER_OF(io, struct libspawn_child, watcher_io));
}

/* ---- Start ------------------------------------------------------------- */

static void
on_deadline(struct libspawn__timer *timer)
{
    struct libspawn_child *child =
        CONTAINER_OF(timer, struct libspawn_child, deadline);

    end_child(child, LIBSPAWN_END_DEADLINE, ABORT_GRACE_MS);
}

static int
send_plan(const struct libspawn_child *child, const struct libspawn_plan *plan,
          struct libspawn_err *err)
{
    struct libspawn__watcher_message message = { 0 };
    int fds[1 + LIBSPAWN__PLAN_FDS_MAX];
    AUTO_FD int memfd = -1;
    size_t i;
    int rc;
    int r;

    rc = libspawn__plan_pack(plan, &memfd, err);
    if (rc) {
        return rc;
    }
    fds[0] = memfd;
    for (i = 0; i < plan->n_fds; i++) {
        fds[1 + i] = plan->fds[i].fd;
    }
    r = send_message(child, &message, LIBSPAWN__WATCHER_PLAN, fds,
                     1 + plan->n_fds);
    return r ? libspawn__fail_errno(err, -r, "sending the plan") : 0;
}

/* Gives the plan to a watcher that waits for one; false when there is none, or
 * it is no more. */
static bool
use_spare_watcher(struct libspawn_child *child,
                  const struct libspawn_plan *plan)
{
    child->watcher_fd = libspawn__ctx_take_spare(
        child->ctx, plan->store_address, &child->watcher_pid);
    if (child->watcher_fd >= 0 && !send_plan(child, plan, NULL)) {
        return true;
    }
    libspawn__auto_close(&child->watcher_fd);
    child->watcher_fd = -1;
    return false;
}

/* The plan is in the socket before the watcher runs, so that it never waits;
 * it reads in blocking mode and then goes on without. */
static int
use_new_watcher(struct libspawn_child *child, const struct libspawn_plan *plan,
                struct libspawn_err *err)
{
    int fds[2];
    AUTO_FD int theirs = -1;
    const char *title = plan->guest ? plan->guest : plan->program;
    int rc;

    rc = libspawn__stream_pair(false, fds, err);
    if (rc) {
        return rc;
    }
    child->watcher_fd = fds[0];
    theirs = fds[1];
    rc = send_plan(child, plan, err);
    return rc ? rc
              : libspawn__ctx_start_watcher(child->ctx, plan->store_address,
                                            title, theirs,
                                            &child->watcher_pid, err);
}

static int
start_watcher(struct libspawn_child *child, const struct libspawn_plan *plan,
              struct libspawn_err *err)
{
    int rc = use_spare_watcher(child, plan)
                 ? 0
                 : use_new_watcher(child, plan, err);

    if (!rc) {
        rc = libspawn__fd_set_nonblocking(child->watcher_fd, true, err);
    }
    if (!rc) {
        rc = libspawn__io_add(child->ctx->loop, &child->watcher_io,
                              child->watcher_fd, EPOLLIN, on_watcher, err);
    }
    return rc;
}

static int
remember_nodes(struct libspawn_child *child, const struct libspawn_plan *plan,
               struct libspawn_err *err)
{
    size_t i;
    int rc =
        libspawn__str_assign(&child->store_address, plan->store_address, err);

    if (!rc && plan->record_path) {
        rc = libspawn__strv_add(&child->nodes, plan->record_path, err);
    }
    for (i = 0; !rc && i < plan->pid_nodes.n_items; i++) {
        rc = libspawn__strv_add(&child->nodes, plan->pid_nodes.items[i], err);
    }
    return rc;
}

static struct libspawn_child *
new_child(struct libspawn_ctx *ctx, const struct libspawn_plan *plan,
          struct libspawn_err *err)
{
    struct libspawn_child *child = calloc(1, sizeof *child);

    if (!child) {
        libspawn__fail_nomem(err);
        return NULL;
    }
    child->ctx = ctx;
    child->watcher_fd = child->ref.fd = -1;
    child->stop_ms = (uint32_t)plan->stop_ms;
    libspawn__list_append(&ctx->children, &child->link);
    libspawn__task_init(ctx->loop, &child->deliver_task, deliver);
    libspawn__timer_init(ctx->loop, &child->deadline, on_deadline);
    libspawn__timer_init(ctx->loop, &child->backstop, on_backstop);
    if (libspawn__report_init(&child->report, plan, err) ||
        remember_nodes(child, plan, err)) {
        libspawn_child_free(child);
        return NULL;
    }
    return child;
}

int
libspawn_child_start(struct libspawn_ctx *ctx,
                     const struct libspawn_plan *plan, libspawn_event_fn *fn,
                     void *user, struct libspawn_child **child_r,
                     struct libspawn_err *err)
{
    struct libspawn_child *child;
    int rc = libspawn__plan_check(plan, err);

    if (rc) {
        return rc;
    }
    child = new_child(ctx, plan, err);
    if (!child) {
        return LIBSPAWN_ERR_NO_MEMORY;
    }
    rc = start_watcher(child, plan, err);
    if (rc) {
        libspawn_child_free(child);
        return rc;
    }
    child->fn = fn;
    child->user = user;
    libspawn_child_set_deadline(child, (uint32_t)plan->start_ms);
    *child_r = child;
    return 0;
}

/* ---- What the caller may do -------------------------------------------- */

void
libspawn_child_set_deadline(struct libspawn_child *child, uint32_t ms)
{
    bool is_starting = child->state == CHILD_STARTING ||
                       child->state == CHILD_WAITING;

    if (!is_starting || child->is_end_asked) {
        return;
    }
    child->report.pub.deadline_ms = ms;
    libspawn__timer_cancel(&child->deadline);
    if (ms) {
        libspawn__timer_set(&child->deadline,
                            libspawn__clock_now_ms() + (int64_t)ms);
    }
}

int
libspawn_child_check(const struct libspawn_child *child,
                     struct libspawn_err *err)
{
    AUTO_FREE char *sentence = NULL;

    if (child->state != CHILD_ENDED) {
        return 0;
    }
    sentence = libspawn_report_sentence(&child->report.pub);
    return libspawn__fail(err, LIBSPAWN_ERR_CHILD, "%s",
                          sentence ? sentence
                                   : "it has ended, and there is no memory "
                                     "to say how");
}

const struct libspawn_report *
libspawn_child_report(const struct libspawn_child *child)
{
    return &child->report.pub;
}

pid_t
libspawn_child_pid(const struct libspawn_child *child)
{
    return child->state == CHILD_STARTING ? 0 : child->report.pub.pid;
}

void
libspawn_child_confirm(struct libspawn_child *child)
{
    struct libspawn__watcher_message message = { 0 };

    if (child->watcher_fd >= 0) {
        send_message(child, &message, LIBSPAWN__WATCHER_CONFIRM, NULL, 0);
    }
}

void
libspawn_child_refuse(struct libspawn_child *child, const char *sentence)
{
    libspawn__report_set(&child->report, &child->report.detail, sentence);
    end_child(child, LIBSPAWN_END_REFUSED, ABORT_GRACE_MS);
}

void
libspawn_child_set_stage(struct libspawn_child *child, const char *stage)
{
    libspawn__report_set(&child->report, &child->report.stage, stage);
}

void
libspawn_child_stop(struct libspawn_child *child)
{
    bool is_ready = child->state == CHILD_READY ||
                    child->state == CHILD_RELEASED;

    end_child(child, is_ready ? LIBSPAWN_END_STOPPED : LIBSPAWN_END_ABORTED,
              is_ready ? child->stop_ms : ABORT_GRACE_MS);
}

int
libspawn_child_wait_ready(struct libspawn_child *child, int timeout_ms,
                          int (*check)(void *user), void *user,
                          struct libspawn_err *err)
{
    int64_t until_ms = timeout_ms < 0 ? LIBSPAWN__NEVER
                                      : libspawn__clock_now_ms() + timeout_ms;

    for (;;) {
        int64_t left_ms = until_ms == LIBSPAWN__NEVER
                              ? -1
                              : until_ms - libspawn__clock_now_ms();
        int rc = check ? check(user) : 0;

        if (rc) {
            return rc;
        }
        if (child->state == CHILD_READY || child->state == CHILD_RELEASED) {
            return 0;
        }
        if (child->state == CHILD_ENDED) {
            return libspawn_child_check(child, err);
        }
        if (timeout_ms >= 0 && left_ms <= 0) {
            return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                                  "%s '%s' is not ready after %d ms (%s)",
                                  child->report.label, child->report.program,
                                  timeout_ms, child->report.stage);
        }
        rc = libspawn_ctx_wait(child->ctx, (int)left_ms, err);
        if (rc) {
            return rc;
        }
    }
}

/* Reads the watcher's messages until it has answered, or is lost. */
static void
await_release(struct libspawn_child *child)
{
    int64_t until_ms = libspawn__clock_now_ms() + RELEASE_TIMEOUT_MS;
    struct pollfd pollfd = { .fd = child->watcher_fd, .events = POLLIN };

    while (child->state == CHILD_READY && child->watcher_fd >= 0) {
        int64_t left_ms = until_ms - libspawn__clock_now_ms();

        if (left_ms <= 0 ||
            (poll(&pollfd, 1, (int)left_ms) < 0 && errno != EINTR)) {
            return;
        }
        receive_message(child);
    }
}

static int
fail_release(const struct libspawn_child *child, int code, const char *why,
             struct libspawn_err *err)
{
    return libspawn__fail(err, code, "%s '%s' cannot be released: %s",
                          child->report.label, child->report.program, why);
}

int
libspawn_child_release(struct libspawn_child *child, enum libspawn_release how,
                       struct libspawn_err *err)
{
    struct libspawn__watcher_message message = { 0 };
    bool can_be = child->state == CHILD_READY && !child->is_end_asked;

    if (can_be && child->watcher_fd >= 0) {
        child->is_detached = how == LIBSPAWN_RELEASE_DETACHED;
        message.u.release.detach = child->is_detached;
        send_message(child, &message, LIBSPAWN__WATCHER_RELEASE, NULL, 0);
        await_release(child);
    }
    if (child->state == CHILD_RELEASED) {
        return 0;
    }
    child->is_detached = false;
    if (child->state == CHILD_ENDED) {
        return libspawn_child_check(child, err);
    } else if (!can_be) {
        return fail_release(child, LIBSPAWN_ERR_INVALID, "it is not ready",
                            err);
    } else if (child->watcher_fd < 0) {
        return fail_release(child, LIBSPAWN_ERR_GONE, "its watcher died", err);
    }
    return fail_release(child, LIBSPAWN_ERR_TIMEOUT,
                        "its watcher does not answer", err);
}

void
libspawn__children_orphan(struct libspawn__list *children)
{
    while (!libspawn__list_is_empty(children)) {
        struct libspawn_child *child =
            CONTAINER_OF(children->next, struct libspawn_child, link);

        libspawn__list_remove(&child->link);
        libspawn__task_cancel(&child->deliver_task);
        libspawn__timer_cancel(&child->deadline);
        libspawn__timer_cancel(&child->backstop);
        libspawn__io_remove(&child->orphan_io);
        close_watcher(child);
        child->ctx = NULL;
    }
}

void
libspawn_child_free(struct libspawn_child *child)
{
    if (!child) {
        return;
    }
    if (child->is_freed) {
        *child->is_freed = true;
    }
    if (child->ctx) {
        libspawn__list_remove(&child->link);
        libspawn__task_cancel(&child->deliver_task);
        libspawn__timer_cancel(&child->deadline);
        libspawn__timer_cancel(&child->backstop);
        libspawn__io_remove(&child->orphan_io);
    }
    /* For the watcher of a child that was not released, the end of the
     * stream is the order to end it. */
    close_watcher(child);
    libspawn__pidref_dispose(&child->ref);
    free(child->store_address);
    libspawn__strv_dispose(&child->nodes);
    libspawn__report_dispose(&child->report);
    free(child);
}
