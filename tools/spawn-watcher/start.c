/*
 * The start, in the order in which things happen: plan, held child, record,
 * release, exec, conditions of readiness.
 */
#include "tools/spawn-watcher/watcher.h"

#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"

/* ---- Conditions -------------------------------------------------------- */

static void
become_ready(struct watcher *w)
{
    struct libspawn__watcher_message message;
    struct libspawn_err err;
    int rc = 0;

    libspawn__watcher_message_init(&message);
    libspawn__store_watch_remove(&w->ready_watch);
    watcher_shut_mailbox(w);
    w->state = WATCHER_READY;
    if (w->store) {
        w->record.state = LIBSPAWN__RECORD_RUNNING;
        rc = libspawn__record_write(w->store, w->plan.record_path, &w->record,
                                    &err);
    }
    if (rc) {
        libspawn__err_prefix(&err, "recording that it runs");
        watcher_fail(w, &err);
    } else {
        watcher_send(w, &message, LIBSPAWN__WATCHER_READY, -1);
    }
}

void
watcher_condition_holds(struct watcher *w, enum libspawn_ready condition)
{
    w->pending &= ~(uint64_t)condition;
    if (w->state == WATCHER_WAITING && !w->pending) {
        become_ready(w);
    }
}

static void
on_ready_node(struct libspawn__store_watch *watch, const char *path)
{
    struct watcher *w = CONTAINER_OF(watch, struct watcher, ready_watch);
    AUTO_FREE char *value = NULL;
    struct libspawn_err err;
    int rc;

    rc = path ? libspawn__store_read(w->store, NULL, w->plan.ready_path,
                                     &value, NULL, &err)
              : libspawn__fail(&err, LIBSPAWN_ERR_GONE,
                               "the store was lost while waiting for '%s'",
                               w->plan.ready_path);
    if (!rc && !strcmp(value, w->plan.ready_value)) {
        watcher_condition_holds(w, LIBSPAWN_READY_STORE);
    } else if (rc && rc != LIBSPAWN_ERR_NOT_FOUND) {
        watcher_fail(w, &err);
    }
}

static void
on_notify(struct libspawn__io *io, uint32_t events)
{
    struct watcher *w = CONTAINER_OF(io, struct watcher, notify_io);
    char bytes[256];
    ssize_t n = read(w->notify_fd, bytes, sizeof bytes);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n > 0 && !memchr(bytes, '\n', (size_t)n)) {
        return;
    }
    /* Closing it without the newline is not readiness; then only the
     * deadline, or the child's end, can come. */
    libspawn__io_remove(&w->notify_io);
    libspawn__auto_close(&w->notify_fd);
    w->notify_fd = -1;
    if (n > 0) {
        watcher_condition_holds(w, LIBSPAWN_READY_NOTIFY);
    }
}

/* ---- Exec -------------------------------------------------------------- */

/* Reported once the child is reaped. */
static void
keep_failed_step(struct watcher *w, const struct libspawn__exec_result *result)
{
    const char *object = libspawn__exec_result_object(&w->plan, result);

    w->has_failed = true;
    w->is_no_exec = true;
    w->failed_step = libspawn__exec_step_name(result->step);
    libspawn__fail(&w->failure,
                   libspawn__code_from_errno(result->sys_errno), "%s", object);
    w->failure.sys_errno = result->sys_errno;
}

static void
on_exec_result(struct libspawn__io *io, uint32_t events)
{
    struct watcher *w = CONTAINER_OF(io, struct watcher, result_io);
    struct libspawn__watcher_message message;
    struct libspawn__exec_result result;
    struct libspawn_err err;

    (void)events;
    libspawn__watcher_message_init(&message);
    libspawn__io_remove(&w->result_io);
    if (libspawn__exec_read_result(&w->exec, &result)) {
        keep_failed_step(w, &result);
        return;
    }
    if (w->state == WATCHER_STARTING) {
        w->executed_at_ms = libspawn__loop_now(w->loop);
        w->state = WATCHER_WAITING;
        watcher_send(w, &message, LIBSPAWN__WATCHER_STARTED, -1);
        if (watcher_read_mailbox(w, &err)) {
            watcher_fail(w, &err);
            return;
        }
        watcher_condition_holds(w, LIBSPAWN_READY_EXEC);
        /* Nobody waits for us now. */
        watcher_oom_begin(w);
    }
}

/* ---- Preparation ------------------------------------------------------- */

static int
open_pipe(int *read_r, int *write_r, struct libspawn_err *err)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return libspawn__fail_errno(err, errno, "making a pipe");
    }
    *read_r = fds[0];
    *write_r = fds[1];
    return libspawn__fd_set_nonblocking(fds[0], true, err);
}

void
watcher_on_output(struct libspawn__io *io, uint32_t events)
{
    (void)events;
    watcher_read_output(CONTAINER_OF(io, struct watcher, output_io));
}

static int
open_store(struct watcher *w, struct libspawn_err *err)
{
    int rc = 0;

    if (w->plan.store_address) {
        rc = libspawn__store_open(w->plan.store_address, &w->store, err);
    }
    if (!rc && w->plan.ready & LIBSPAWN_READY_STORE) {
        rc = libspawn__store_watch_add(w->store, w->loop, &w->ready_watch,
                                       w->plan.ready_path, on_ready_node, err);
    }
    return rc;
}

/* The child's ends are returned; they are closed after the fork. */
static int
prepare(struct watcher *w, int *output_r, int *notify_r,
        struct libspawn_err *err)
{
    int rc;

    w->pending = w->plan.ready;
    rc = libspawn__log_open(&w->log, w->plan.log_path, w->plan.log_max_size,
                            (unsigned int)w->plan.n_old_logs, err);
    w->log.is_stamped = w->plan.options & LIBSPAWN__PLAN_LOG_STAMPS;
    if (!rc) {
        rc = open_store(w, err);
    }
    if (!rc) {
        rc = watcher_listen(w, err);
    }
    if (!rc) {
        rc = watcher_open_mailbox(w, err);
    }
    if (!rc) {
        rc = open_pipe(&w->output_fd, output_r, err);
    }
    if (!rc) {
        rc = libspawn__io_add(w->loop, &w->output_io, w->output_fd, EPOLLIN,
                              watcher_on_output, err);
    }
    if (!rc && w->plan.ready & LIBSPAWN_READY_NOTIFY) {
        rc = open_pipe(&w->notify_fd, notify_r, err);
        if (!rc) {
            rc = libspawn__io_add(w->loop, &w->notify_io, w->notify_fd,
                                  EPOLLIN, on_notify, err);
        }
    }
    return rc;
}

/* ---- Held child and record --------------------------------------------- */

static int
fork_held_child(struct watcher *w, struct libspawn_err *err)
{
    pid_t pid;
    size_t i;
    int rc = libspawn__exec_fork(&w->exec, &pid, err);

    if (rc) {
        return rc;
    }
    for (i = 0; i < w->plan.n_fds; i++) {
        /* A socket that we kept open would never show its end. */
        close(w->plan.fds[i].fd);
        w->plan.fds[i].fd = -1;
    }
    /* Our unreaped child: the number cannot have been recycled. */
    return libspawn__pidref_from_pid(pid, &w->child, err);
}

/* The one step of the child that is ours. */
static int
place_child(struct watcher *w, struct libspawn_err *err)
{
    struct libspawn__exec_result result = { .step = LIBSPAWN__EXEC_CGROUP };

    result.sys_errno = libspawn__exec_place(&w->exec, w->child.id.pid);
    if (!result.sys_errno) {
        return 0;
    }
    keep_failed_step(w, &result);
    *err = w->failure;
    return err->code;
}

/* The strings stay the plan's. */
void
watcher_describe_child(struct watcher *w)
{
    w->record.stop_ms = (int64_t)MIN(w->plan.stop_ms, UINT32_MAX);
    w->text.label = w->plan.label;
    w->text.guest = w->plan.guest;
    w->text.program = w->plan.program;
    w->text.log_path = w->plan.log_path;
    w->text.pid_nodes = w->plan.pid_nodes;
    w->record.text = &w->text;
}

static int
write_records(struct watcher *w, struct libspawn_err *err)
{
    int rc = 0;
    size_t i;

    w->record.state = LIBSPAWN__RECORD_STARTING;
    w->record.child = w->child.id;
    w->record.started_at_ms = libspawn__clock_realtime_ms();
    watcher_describe_child(w);
    if (w->store) {
        w->is_recorded = true;
        rc = libspawn__record_write(w->store, w->plan.record_path, &w->record,
                                    err);
    }
    for (i = 0; !rc && i < w->plan.pid_nodes.n_items; i++) {
        rc = libspawn__store_printf(w->store, NULL, w->plan.pid_nodes.items[i],
                                    err, "%d", (int)w->child.id.pid);
    }
    return rc;
}

static void
tell_held(struct watcher *w)
{
    struct libspawn__watcher_message message;

    libspawn__watcher_message_init(&message);
    message.u.held.pid = w->child.id.pid;
    message.u.held.start_time = w->child.id.start_time;
    watcher_send(w, &message, LIBSPAWN__WATCHER_HELD,
                 w->child.is_by_number ? -1 : w->child.fd);
}

int
watcher_start(struct watcher *w, struct libspawn_err *err)
{
    AUTO_FD int output_fd = -1;
    AUTO_FD int notify_fd = -1;
    struct libspawn_err late;
    int rc;

    rc = prepare(w, &output_fd, &notify_fd, err);
    if (!rc) {
        rc = libspawn__exec_prepare(&w->exec, &w->plan, output_fd, notify_fd,
                                    err);
    }
    if (!rc) {
        rc = fork_held_child(w, err);
    }
    if (rc) {
        /* A child that was forked is held still, and exits with the pipe. */
        libspawn__exec_dispose(&w->exec);
        return rc;
    }

    /* From here on a failure has a child to end, so it is told later. */
    tell_held(w);
    rc = write_records(w, &late);
    if (!rc) {
        rc = place_child(w, &late);
    }
    if (!rc) {
        rc = libspawn__io_add(w->loop, &w->result_io, w->exec.result_fds[0],
                              EPOLLIN, on_exec_result, &late);
    }
    if (!rc) {
        rc = libspawn__exec_release(&w->exec, &late);
    }
    if (rc) {
        /* As process 1 of a pid namespace it would take no SIGTERM. */
        libspawn__exec_cancel(&w->exec);
        watcher_fail(w, &late);
    }
    return 0;
}
