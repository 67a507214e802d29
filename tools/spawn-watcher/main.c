/*
 * Set-up, and what the caller says.
 *
 * The program is started by libspawn (proc/child.c) with a socket as
 * descriptor 3 and with nothing else; it is of no use by hand.
 */
#include "tools/spawn-watcher/watcher.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "wire/stream.h"

enum {
    ABORT_GRACE_MS = 1000,
    EXIT_USAGE = 2
};

bool
watcher_send_to(int socket, struct libspawn__watcher_message *message,
                enum libspawn__watcher_type type, int fd)
{
    int r = libspawn__watcher_send(socket, message, type, &fd, fd >= 0);

    return !r || r == -EPIPE;
}

bool
watcher_send(struct watcher *w, struct libspawn__watcher_message *message,
             enum libspawn__watcher_type type, int fd)
{
    return w->caller_fd < 0 ||
           watcher_send_to(w->caller_fd, message, type, fd);
}

void
watcher_fail(struct watcher *w, const struct libspawn_err *err)
{
    if (!w->has_failed) {
        w->has_failed = true;
        w->failure = *err;
    }
    watcher_end_child(w, ABORT_GRACE_MS);
}

static void
lose_caller(struct watcher *w)
{
    libspawn__io_remove(&w->caller_io);
    libspawn__auto_close(&w->caller_fd);
    w->caller_fd = -1;
    if (!w->is_released) {
        watcher_end_child(w, ABORT_GRACE_MS);
    }
}

void
watcher_confine(struct watcher *w)
{
    w->is_confined = w->is_confined || watcher_confine_calls();
}

static void
release(struct watcher *w, const struct libspawn__watcher_message *message)
{
    struct libspawn__watcher_message answer;

    libspawn__watcher_message_init(&answer);
    if (w->state != WATCHER_READY && w->state != WATCHER_RELEASED) {
        return; /* it ended meanwhile: the caller is about to read that */
    }
    if (!watcher_send(w, &answer, LIBSPAWN__WATCHER_RELEASED, -1)) {
        return;
    }
    w->is_released = true;
    w->state = WATCHER_RELEASED;
    if (message->u.release.detach) {
        w->is_done = true;
    }
    /* Idle from here on: the store is opened again for the last word. */
    libspawn__store_close(w->store);
    w->store = NULL;
    watcher_confine(w);
}

static void
confirm(struct watcher *w, const struct libspawn__watcher_message *message)
{
    (void)message;
    watcher_condition_holds(w, LIBSPAWN_READY_CALLER);
}

static void
stop(struct watcher *w, const struct libspawn__watcher_message *message)
{
    watcher_end_child(w, message->u.stop.grace_ms);
}

static const struct {
    enum libspawn__watcher_type type;
    void (*handle)(struct watcher *w,
                   const struct libspawn__watcher_message *message);
} handlers[] = {
    { LIBSPAWN__WATCHER_CONFIRM, confirm },
    { LIBSPAWN__WATCHER_RELEASE, release },
    { LIBSPAWN__WATCHER_STOP, stop },
};

int
watcher_receive(int socket, struct libspawn__watcher_message *message,
                int *fd_r)
{
    int fd = -1;
    size_t n_fds = 1;
    int r = libspawn__watcher_recv(socket, message, &fd, &n_fds);

    if (r <= 0) {
        return r == -EAGAIN ? 0 : -1;
    }
    *fd_r = fd;
    return 1;
}

void
watcher_obey(struct watcher *w, int socket,
             const struct libspawn__watcher_message *message, int fd)
{
    size_t i;

    if (message->type == LIBSPAWN__WATCHER_UPGRADE) {
        watcher_upgrade(w, fd, socket);
        return;
    }
    for (i = 0; i < ARRAY_SIZE(handlers); i++) {
        if (handlers[i].type == message->type) {
            handlers[i].handle(w, message);
            return;
        }
    }
}

static void
on_caller(struct libspawn__io *io, uint32_t events)
{
    struct watcher *w = CONTAINER_OF(io, struct watcher, caller_io);
    struct libspawn__watcher_message message;
    AUTO_FD int fd = -1;
    int r = watcher_receive(w->caller_fd, &message, &fd);

    (void)events;
    if (r < 0) {
        lose_caller(w);
    } else if (r) {
        watcher_obey(w, w->caller_fd, &message, fd);
    }
}

/* ---- Set-up ------------------------------------------------------------ */

/* A memfd, which is one descriptor more, has what is too large for a tail. */
static int
unpack_plan(struct watcher *w, const struct libspawn__watcher_message *message,
            const int *fds, size_t n_fds, struct libspawn_err *err)
{
    size_t n_memfds = message->tail_size ? 0 : 1;
    size_t i;
    int rc = n_memfds ? libspawn__plan_unpack(fds[0], &w->plan, err)
                      : libspawn__plan_unpack_bytes(message->tail,
                                                    message->tail_size,
                                                    &w->plan, err);

    if (rc) {
        return rc;
    }
    if (n_fds != n_memfds + w->plan.n_fds) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "descriptors of the plan are missing");
    }
    if (n_memfds) {
        close(fds[0]);
    }
    for (i = 0; i < w->plan.n_fds; i++) {
        w->plan.fds[i].fd = fds[n_memfds + i];
    }
    return 0;
}

/* One that was started for a plan finds it here when it begins. */
static bool
is_prepared(const struct watcher *w)
{
    struct pollfd pollfd = { .fd = w->caller_fd, .events = POLLIN };

    return poll(&pollfd, 1, 0) == 0;
}

/* The first message: the plan and the descriptors that belong to it. */
static int
receive_plan(struct watcher *w, struct libspawn_err *err)
{
    struct libspawn__watcher_message message;
    int fds[LIBSPAWN__STREAM_FDS_MAX];
    size_t n_fds = ARRAY_SIZE(fds);
    int r;

    if (is_prepared(w)) {
        watcher_oom_prepare(w);
    }
    r = libspawn__watcher_recv(w->caller_fd, &message, fds, &n_fds);
    if (!r) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "there was nothing to start");
    }
    if (r > 0 && message.type == LIBSPAWN__WATCHER_AWAIT_LOCK &&
        n_fds == 1) {
        watcher_await_lock(w->caller_fd, fds[0]);
    }
    if (r < 0 || message.type != LIBSPAWN__WATCHER_PLAN ||
        (!message.tail_size && !n_fds)) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "spawn-watcher is of another version than the "
                              "library that started it");
    }
    /* After a failure this process ends, and its descriptors with it. */
    return unpack_plan(w, &message, fds, n_fds, err);
}

/* Whose death aborts the start: who made the other end of the socket. */
static int
identify(struct watcher *w, struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref caller = LIBSPAWN__PIDREF_INIT;
    pid_t pid;
    uid_t uid;
    int rc = libspawn__stream_peer(w->caller_fd, &pid, &uid, err);

    if (!rc) {
        rc = libspawn__pidref_from_pid(pid, &caller, err);
    }
    if (!rc) {
        w->record.caller = caller.id;
        rc = libspawn__identity_self(&w->record.watcher, err);
    }
    return rc;
}

/* A caller's spawn hook may leave us anything: descriptors that would stay
 * open for the life of the child, or a SIGCHLD that is ignored. */
static void
tidy_up(void)
{
    sigset_t none;

    libspawn__fd_close_from(LIBSPAWN__WATCHER_FD + 1);
    /* The other signals are the child's matter, which resets all. */
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* What the child leaves behind comes to us and not to init. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int
watcher_watch(struct watcher *w, struct libspawn_err *err)
{
    int rc = watcher_watch_children(w, err);

    if (!rc && w->caller_fd >= 0) {
        rc = libspawn__io_add(w->loop, &w->caller_io, w->caller_fd, EPOLLIN,
                              on_caller, err);
    }
    if (!rc && w->output_fd >= 0) {
        rc = libspawn__io_add(w->loop, &w->output_io, w->output_fd, EPOLLIN,
                              watcher_on_output, err);
    }
    return rc;
}

/* Nothing is open, nothing is known. */
static int
begin(struct watcher *w, struct libspawn_err *err)
{
    w->caller_fd = w->listener_fd = w->mailbox_fd = -1;
    w->sigchld_fd = w->output_fd = w->notify_fd = w->child.fd = w->log.fd = -1;
    libspawn__list_init(&w->clients);
    libspawn__plan_init(&w->plan);
    return libspawn__loop_new(&w->loop, err);
}

static int
set_up(struct watcher *w, struct libspawn_err *err)
{
    int rc;

    tidy_up();
    rc = begin(w, err);
    w->caller_fd = LIBSPAWN__WATCHER_FD;
    if (!rc) {
        rc = receive_plan(w, err);
    }
    if (!rc) {
        rc = identify(w, err);
    }
    if (!rc) {
        rc = libspawn__fd_set_nonblocking(w->caller_fd, true, err);
    }
    return rc ? rc : watcher_watch(w, err);
}

/* Before there is a child a failure is simply told. */
static void
report_failure(struct watcher *w, const struct libspawn_err *err)
{
    struct libspawn__watcher_message message = { 0 };

    message.u.failed.code = err->code;
    message.u.failed.sys_errno = err->sys_errno;
    snprintf(message.u.failed.text, sizeof message.u.failed.text, "%s",
             err->text);
    watcher_send(w, &message, LIBSPAWN__WATCHER_FAILED, -1);
}

static void
tear_down(struct watcher *w)
{
    watcher_drop_clients(w);
    libspawn__store_close(w->store);
    libspawn__log_close(&w->log);
    libspawn__plan_dispose(&w->plan);
    libspawn__loop_free(w->loop);
}

static int
start(struct watcher *w, struct libspawn_err *err)
{
    int rc = set_up(w, err);

    if (!rc) {
        rc = watcher_start(w, err);
    }
    if (rc) {
        report_failure(w, err);
    }
    return rc;
}

/* Whether another program began, and left its state in this descriptor. */
static bool
find_state(int argc, char *const argv[], int *fd_r, bool *is_back_r)
{
    static const char *const options[] = { "--resume=", "--back=" };
    uint64_t fd;
    size_t i;

    for (i = 0; argc == 3 && i < ARRAY_SIZE(options); i++) {
        if (libspawn__str_has_prefix(argv[2], options[i]) &&
            !libspawn__str_to_u64(argv[2] + strlen(options[i]), 3, INT_MAX,
                                  &fd, NULL)) {
            *fd_r = (int)fd;
            *is_back_r = i == 1;
            return true;
        }
    }
    return false;
}

static int
resume(struct watcher *w, int state_fd, bool is_back, struct libspawn_err *err)
{
    int rc = begin(w, err);

    return rc ? rc : watcher_resume(w, state_fd, is_back, err);
}

/* 0 once there is nothing left to watch. */
static int
run(struct watcher *w, int argc, char *const argv[])
{
    struct libspawn_err err = { 0 };
    bool is_back;
    int state_fd;
    int rc = find_state(argc, argv, &state_fd, &is_back)
                 ? resume(w, state_fd, is_back, &err)
                 : start(w, &err);

    while (!rc && !w->is_done) {
        /* When this fails the caller takes over. */
        rc = libspawn__loop_wait(w->loop, -1, &err);
    }
    return rc;
}

static int
print_usage(int argc, char *const argv[])
{
    if (argc > 1 && !strcmp(argv[1], "--version")) {
        printf("spawn-watcher %s, protocol %d\n", LIBSPAWN_VERSION,
               LIBSPAWN__WATCHER_VERSION);
        return 0;
    }
    fputs("usage: spawn-watcher LABEL\n"
          "Started by libspawn, with a socket as descriptor 3, to be the "
          "parent of one\nlong-lived child; see spawn-watcher(8).\n",
          argc > 1 && !strcmp(argv[1], "--help") ? stdout : stderr);
    return argc > 1 && !strcmp(argv[1], "--help") ? 0 : EXIT_USAGE;
}

static bool
was_started_by_libspawn(void)
{
    struct stat st;

    return !fstat(LIBSPAWN__WATCHER_FD, &st) && S_ISSOCK(st.st_mode);
}

int
main(int argc, char *argv[])
{
    struct watcher w = { .state = WATCHER_STARTING };
    int rc;

    if (argc != 3 && !was_started_by_libspawn()) {
        return print_usage(argc, argv);
    }
    rc = run(&w, argc, argv);
    tear_down(&w);
    return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
