/*
 * The caller's side of a start: keeps the deadline, tells the caller by
 * events, and does what the caller asks.
 *
 * Chain of one start:
 *
 *   libspawn_child_start -> libspawn__child_receive (HELD, STARTED,
 *     NOTIFIED, READY)
 *     -> deliver
 *   on_deadline, libspawn__child_stop -> libspawn__child_receive (ENDED,
 *     FAILED) -> libspawn__child_finish -> deliver
 *   libspawn__child_lose_watcher -> libspawn__child_watch_orphan
 *     -> libspawn__child_finish -> deliver
 */
#include "proc/child.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "wire/stream.h"

/* ---- Events ------------------------------------------------------------ */

void
libspawn__child_post(struct libspawn_child *child, enum libspawn_event event)
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

/* ---- Start ------------------------------------------------------------- */

static bool
is_starting(const struct libspawn_child *child)
{
    return child->state == LIBSPAWN__CHILD_STARTING ||
           child->state == LIBSPAWN__CHILD_WAITING;
}

static void
on_deadline(struct libspawn__timer *timer)
{
    struct libspawn_child *child =
        CONTAINER_OF(timer, struct libspawn_child, deadline);

    /* A caller that was busy may not have heard yet that the child is ready,
     * or wants more time. */
    while (libspawn__child_receive(child)) {
    }
    if (!is_starting(child) ||
        child->deadline.at_ms > libspawn__clock_now_ms()) {
        return;
    }
    libspawn__child_stop(child, LIBSPAWN_END_DEADLINE,
                         LIBSPAWN__ABORT_GRACE_MS);
}

/* How far the child itself can move a deadline: nowhere when neither the plan
 * says so nor there is one by which to say it. */
static int64_t
find_last_deadline(const struct libspawn_plan *plan, int64_t started_ms)
{
    enum { DEFAULT_FACTOR = 10 };

    return started_ms + (int64_t)(plan->max_start_ms
                                      ? plan->max_start_ms
                                      : DEFAULT_FACTOR * plan->start_ms);
}

/* Into the tail, where it fits; else into a memfd. */
static int
put_plan(const struct libspawn_plan *plan,
         struct libspawn__watcher_message *message, int *memfd_r,
         struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    int rc = libspawn__plan_pack_bytes(plan, &buf, err);

    if (rc || buf.size > sizeof message->tail) {
        return rc ? rc : libspawn__plan_pack(plan, memfd_r, err);
    }
    memcpy(message->tail, buf.data, buf.size);
    message->tail_size = (uint32_t)buf.size;
    return 0;
}

static int
send_plan(const struct libspawn_child *child, const struct libspawn_plan *plan,
          struct libspawn_err *err)
{
    struct libspawn__watcher_message message;
    int fds[1 + LIBSPAWN__PLAN_FDS_MAX];
    AUTO_FD int memfd = -1;
    size_t n_fds = 0;
    size_t i;
    int rc;
    int r;

    libspawn__watcher_message_init(&message);
    rc = put_plan(plan, &message, &memfd, err);
    if (rc) {
        return rc;
    }
    if (memfd >= 0) {
        fds[n_fds++] = memfd;
    }
    for (i = 0; i < plan->n_fds; i++) {
        fds[n_fds++] = plan->fds[i].fd;
    }
    r = libspawn__child_send(child, &message, LIBSPAWN__WATCHER_PLAN, fds,
                             n_fds);
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
                                            title, theirs, &child->watcher_pid,
                                            err);
}

static int
start_watcher(struct libspawn_child *child, const struct libspawn_plan *plan,
              struct libspawn_err *err)
{
    int rc =
        use_spare_watcher(child, plan) ? 0 : use_new_watcher(child, plan, err);

    if (!rc) {
        rc = libspawn__fd_set_nonblocking(child->watcher_fd, true, err);
    }
    if (!rc) {
        rc = libspawn__child_watch(child, child->watcher_fd, err);
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

struct libspawn_child *
libspawn__child_new(struct libspawn_ctx *ctx, struct libspawn__report *report,
                    struct libspawn_err *err)
{
    struct libspawn_child *child = calloc(1, sizeof *child);

    if (!child) {
        libspawn__report_dispose(report);
        libspawn__fail_nomem(err);
        return NULL;
    }
    child->ctx = ctx;
    child->watcher_fd = child->ref.fd = child->watcher.fd = -1;
    child->report = *report;
    libspawn__list_append(&ctx->children, &child->link);
    libspawn__task_init(ctx->loop, &child->deliver_task, deliver);
    libspawn__timer_init(ctx->loop, &child->deadline, on_deadline);
    libspawn__timer_init(ctx->loop, &child->backstop,
                         libspawn__child_on_backstop);
    libspawn__timer_init(ctx->loop, &child->learn_timer,
                         libspawn__child_on_learn);
    return child;
}

static struct libspawn_child *
new_child(struct libspawn_ctx *ctx, const struct libspawn_plan *plan,
          struct libspawn_err *err)
{
    struct libspawn__report report;
    struct libspawn_child *child;

    if (libspawn__report_init(&report, plan, err)) {
        return NULL;
    }
    child = libspawn__child_new(ctx, &report, err);
    if (child && remember_nodes(child, plan, err)) {
        libspawn_child_free(child);
        return NULL;
    }
    if (child) {
        child->stop_ms = (uint32_t)plan->stop_ms;
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
    child->deadline_max_ms = find_last_deadline(
        plan, plan->start_ms ? child->deadline.at_ms - (int64_t)plan->start_ms
                             : libspawn__clock_now_ms());
    *child_r = child;
    return 0;
}

/* ---- What the caller may do -------------------------------------------- */

void
libspawn_child_set_deadline(struct libspawn_child *child, uint32_t ms)
{
    if (!is_starting(child) || child->is_end_asked) {
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

    if (child->state != LIBSPAWN__CHILD_ENDED) {
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
    return child->state == LIBSPAWN__CHILD_STARTING ? 0
                                                    : child->report.pub.pid;
}

void
libspawn_child_confirm(struct libspawn_child *child)
{
    struct libspawn__watcher_message message = { 0 };

    if (child->watcher_fd >= 0) {
        libspawn__child_send(child, &message, LIBSPAWN__WATCHER_CONFIRM, NULL,
                             0);
    }
}

void
libspawn_child_refuse(struct libspawn_child *child, const char *sentence)
{
    libspawn__report_set(&child->report, &child->report.detail, sentence);
    libspawn__child_stop(child, LIBSPAWN_END_REFUSED,
                         LIBSPAWN__ABORT_GRACE_MS);
}

void
libspawn_child_set_stage(struct libspawn_child *child, const char *stage)
{
    libspawn__report_set(&child->report, &child->report.stage, stage);
}

void
libspawn_child_stop(struct libspawn_child *child)
{
    bool is_ready = child->state == LIBSPAWN__CHILD_READY ||
                    child->state == LIBSPAWN__CHILD_RELEASED;

    libspawn__child_stop(
        child, is_ready ? LIBSPAWN_END_STOPPED : LIBSPAWN_END_ABORTED,
        is_ready ? child->stop_ms : LIBSPAWN__ABORT_GRACE_MS);
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
        if (child->state == LIBSPAWN__CHILD_READY ||
            child->state == LIBSPAWN__CHILD_RELEASED) {
            return 0;
        }
        if (child->state == LIBSPAWN__CHILD_ENDED) {
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

/* Reads the watcher's messages until it has answered, is lost, or took too
 * long.  0 or an errno. */
static int
await_release(struct libspawn_child *child)
{
    int64_t until_ms = libspawn__clock_now_ms() + LIBSPAWN__WATCHER_ANSWER_MS;
    struct pollfd pollfd = { .fd = child->watcher_fd, .events = POLLIN };

    while (child->state == LIBSPAWN__CHILD_READY && child->watcher_fd >= 0) {
        int64_t left_ms = until_ms - libspawn__clock_now_ms();

        if (left_ms <= 0) {
            return 0;
        }
        if (poll(&pollfd, 1, (int)left_ms) < 0 && errno != EINTR) {
            return errno;
        }
        libspawn__child_receive(child);
    }
    return 0;
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
    bool can_be = child->state == LIBSPAWN__CHILD_READY &&
                  !child->is_end_asked;
    int r = 0;

    if (can_be && child->watcher_fd >= 0) {
        child->is_detached = how == LIBSPAWN_RELEASE_DETACHED;
        child->is_release_asked = true;
        message.u.release.detach = child->is_detached;
        libspawn__child_send(child, &message, LIBSPAWN__WATCHER_RELEASE, NULL,
                             0);
        r = await_release(child);
    }
    if (child->state == LIBSPAWN__CHILD_RELEASED) {
        return 0;
    }
    child->is_detached = false;
    if (child->state == LIBSPAWN__CHILD_ENDED) {
        return libspawn_child_check(child, err);
    } else if (!can_be) {
        return fail_release(child, LIBSPAWN_ERR_INVALID, "it is not ready",
                            err);
    } else if (child->watcher_fd < 0) {
        return fail_release(child, LIBSPAWN_ERR_GONE, "its watcher died", err);
    } else if (r) {
        return libspawn__fail_errno(err, r, "releasing %s '%s'",
                                    child->report.label,
                                    child->report.program);
    }
    return fail_release(child, LIBSPAWN_ERR_TIMEOUT,
                        "its watcher does not answer", err);
}

/* For the watcher of a child that was not released, the end of the stream is
 * the order to end it.  One that has not answered a release yet may release
 * it first, though we told that it is not released. */
static void
leave_watcher(struct libspawn_child *child)
{
    struct libspawn__watcher_message message = { 0 };

    if (child->is_release_asked && child->state == LIBSPAWN__CHILD_READY &&
        child->watcher_fd >= 0) {
        message.u.stop.grace_ms = LIBSPAWN__ABORT_GRACE_MS;
        libspawn__child_send(child, &message, LIBSPAWN__WATCHER_STOP, NULL, 0);
    }
    libspawn__child_close_watcher(child);
}

/* From the context, which has no event for it any more. */
static void
leave_ctx(struct libspawn_child *child)
{
    libspawn__list_remove(&child->link);
    libspawn__task_cancel(&child->deliver_task);
    libspawn__timer_cancel(&child->deadline);
    libspawn__timer_cancel(&child->backstop);
    libspawn__timer_cancel(&child->learn_timer);
    libspawn__child_leave_orphan(child);
    leave_watcher(child);
    child->ctx = NULL;
}

void
libspawn__children_orphan(struct libspawn__list *children)
{
    while (!libspawn__list_is_empty(children)) {
        leave_ctx(CONTAINER_OF(children->next, struct libspawn_child, link));
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
        leave_ctx(child);
    }
    libspawn__pidref_dispose(&child->ref);
    libspawn__pidref_dispose(&child->watcher);
    free(child->store_address);
    libspawn__strv_dispose(&child->nodes);
    libspawn__report_dispose(&child->report);
    free(child);
}
