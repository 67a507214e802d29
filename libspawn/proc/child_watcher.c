/*
 * Messages between the caller and the watcher of a child, on the caller's
 * side: proc/protocol.h.
 */
#include "proc/child.h"

#include <string.h>

#include "base/clock.h"
#include "base/util.h"

/* ---- Messages to the watcher ------------------------------------------- */

int
libspawn__child_send(const struct libspawn_child *child,
                     struct libspawn__watcher_message *message,
                     enum libspawn__watcher_type type, const int *fds,
                     size_t n_fds)
{
    return libspawn__watcher_send(child->watcher_fd, message, type, fds,
                                  n_fds);
}

void
libspawn__child_close_watcher(struct libspawn_child *child)
{
    libspawn__io_remove(&child->watcher_io);
    libspawn__auto_close(&child->watcher_fd);
    child->watcher_fd = -1;
}

/* ---- The last message -------------------------------------------------- */

/* NULL: the stage says it already. */
static const char *
pending_stage(const struct libspawn_child *child, uint64_t pending)
{
    if (pending & LIBSPAWN_READY_STORE) {
        return "waiting for its node in the store";
    } else if (pending & (LIBSPAWN_READY_NOTIFY | LIBSPAWN_READY_SOCKET) &&
               !child->has_said_status) {
        return "waiting for its notification";
    }
    return NULL;
}

static void
handle_ended(struct libspawn_child *child,
             const struct libspawn__watcher_message *message)
{
    const char *stage = pending_stage(child, message->u.ended.pending);
    const struct libspawn__record end = {
        .is_known = message->u.ended.is_known,
        .wait_status = message->u.ended.wait_status,
        .lived_ms = message->u.ended.lived_ms,
        .oom = (enum libspawn__oom)message->u.ended.oom,
        .has_usage = message->u.ended.has_usage,
        .user_us = message->u.ended.user_us,
        .system_us = message->u.ended.system_us,
        .max_rss_kib = message->u.ended.max_rss_kib,
    };

    if (stage && child->state == LIBSPAWN__CHILD_WAITING) {
        libspawn__report_set(&child->report, &child->report.stage, stage);
    }
    libspawn__child_finish_with(child, &end);
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
    report->pub.end = LIBSPAWN_END_REFUSED;
    report->pub.sys_errno = message->u.failed.sys_errno;
    libspawn__report_set(report, &report->detail, text);
    if (message->u.failed.no_exec) {
        report->pub.end = LIBSPAWN_END_NO_EXEC;
        libspawn__report_set(report, &report->step, step);
    }
    libspawn__child_finish(child);
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
    if (child->state == LIBSPAWN__CHILD_STARTING) {
        child->state = LIBSPAWN__CHILD_WAITING;
        libspawn__report_set(&child->report, &child->report.stage,
                             "waiting for it to become ready");
        libspawn__child_post(child, LIBSPAWN_EVENT_STARTED);
    }
}

static void
handle_ready(struct libspawn_child *child,
             const struct libspawn__watcher_message *message)
{
    (void)message;
    if (child->state == LIBSPAWN__CHILD_WAITING && !child->is_end_asked) {
        child->state = LIBSPAWN__CHILD_READY;
        libspawn__timer_cancel(&child->deadline);
        libspawn__report_set(&child->report, &child->report.stage, "running");
        libspawn__child_post(child, LIBSPAWN_EVENT_READY);
    }
}

static void
handle_released(struct libspawn_child *child,
                const struct libspawn__watcher_message *message)
{
    (void)message;
    if (child->state == LIBSPAWN__CHILD_READY) {
        child->state = LIBSPAWN__CHILD_RELEASED;
        if (child->is_detached) {
            libspawn__child_watch_orphan(child);
        }
    }
}

static void
handle_upgraded(struct libspawn_child *child,
                const struct libspawn__watcher_message *message)
{
    child->is_upgrading = false;
    child->upgrade_errno = message->u.upgraded.sys_errno;
}

/* More time, never less. */
static void
extend_deadline(struct libspawn_child *child, uint32_t ms)
{
    struct libspawn__timer *deadline = &child->deadline;
    int64_t old_ms = deadline->at_ms;
    int64_t at_ms = MIN(libspawn__clock_now_ms() + (int64_t)ms,
                        child->deadline_max_ms);

    if (old_ms != LIBSPAWN__NEVER && at_ms > old_ms) {
        child->report.pub.deadline_ms += at_ms - old_ms;
        libspawn__timer_set(deadline, at_ms);
    }
}

static void
handle_notified(struct libspawn_child *child,
                const struct libspawn__watcher_message *message)
{
    char status[sizeof message->u.notified.status];

    if (child->state != LIBSPAWN__CHILD_WAITING || child->is_end_asked) {
        return;
    }
    if (message->u.notified.has_extension) {
        extend_deadline(child, message->u.notified.extend_ms);
    }
    if (message->u.notified.has_status) {
        memcpy(status, message->u.notified.status, sizeof status);
        status[sizeof status - 1] = '\0';
        child->has_said_status = true;
        libspawn__report_set(&child->report, &child->report.stage, status);
    }
}

/* The watcher could not clean up; before the child's owner hears of its end
 * nobody else writes there. */
static void
handle_remains(struct libspawn_child *child,
               const struct libspawn__watcher_message *message)
{
    (void)message;
    if (child->state != LIBSPAWN__CHILD_RELEASED) {
        libspawn__child_remove_nodes(child);
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
    { LIBSPAWN__WATCHER_UPGRADED, handle_upgraded },
    { LIBSPAWN__WATCHER_NOTIFIED, handle_notified },
    { LIBSPAWN__WATCHER_REMAINS, handle_remains },
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

bool
libspawn__child_receive(struct libspawn_child *child)
{
    struct libspawn__watcher_message message = { 0 };
    int fd = -1;
    size_t n_fds = 1;
    int r;

    if (child->watcher_fd < 0) {
        return false;
    }
    r = libspawn__watcher_recv(child->watcher_fd, &message, &fd, &n_fds);
    if (r == -EAGAIN) {
        return false;
    } else if (r <= 0) {
        libspawn__child_lose_watcher(child);
        return false;
    }
    if (n_fds) {
        /* Only HELD carries one: the pidfd of the child. */
        libspawn__pidref_dispose(&child->ref);
        child->ref.fd = fd;
    }
    handle_message(child, &message);
    return true;
}

static void
on_watcher(struct libspawn__io *io, uint32_t events)
{
    (void)events;
    libspawn__child_receive(
        CONTAINER_OF(io, struct libspawn_child, watcher_io));
}

int
libspawn__child_watch(struct libspawn_child *child, int watcher_fd,
                      struct libspawn_err *err)
{
    child->watcher_fd = watcher_fd;
    return libspawn__io_add(child->ctx->loop, &child->watcher_io, watcher_fd,
                            EPOLLIN, on_watcher, err);
}
