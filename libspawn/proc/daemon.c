/*
 * A packet of the channel is one byte, its type, and a text without NUL.
 */
#include "proc/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "base/str.h"
#include "proc/program.h"
#include "proc/status.h"
#include "wire/stream.h"

enum packet_type {
    PACKET_STAGE = 's',
    PACKET_TEXT = 't',
    PACKET_READY = 'r',
    PACKET_FAILED = 'f'
};

/* -errno or 0.  The buffer of the socket takes a few packets; a peer that
 * reads none for that long hangs, which its deadline tells. */
static int
send_packet(int fd, enum packet_type type, const char *text, int passed_fd)
{
    char type_byte = (char)type;
    AUTO_FREE char *packet =
        libspawn__str_format("%c%s", type_byte, text ? text : "");
    ssize_t n;

    if (!packet) {
        return -ENOMEM;
    }
    if (strlen(packet) > LIBSPAWN__DAEMON_TEXT_MAX) {
        packet[LIBSPAWN__DAEMON_TEXT_MAX] = '\0';
    }
    n = libspawn__stream_send(fd, packet, strlen(packet), &passed_fd,
                              passed_fd >= 0 ? 1 : 0);
    return n < 0 ? (int)n : 0;
}

/* The type and, in *text_r, the text, which is to be freed; 0 at the end,
 * -errno else.  *fd_r becomes a descriptor that came along, or -1. */
static int
receive_packet(int fd, char **text_r, int *fd_r)
{
    enum {
        SIZE = LIBSPAWN__DAEMON_TEXT_MAX + 1
    };
    AUTO_FREE char *packet = malloc(SIZE + 1);
    size_t n_fds = 1;
    ssize_t n;

    *fd_r = -1;
    if (!packet) {
        return -ENOMEM;
    }
    n = libspawn__stream_recv(fd, packet, SIZE, fd_r, &n_fds);
    if (n <= 0) {
        return (int)n;
    }
    packet[n] = '\0';
    *text_r = strdup(packet + 1);
    return *text_r ? (unsigned char)packet[0] : -ENOMEM;
}

/* ======================================================================== */
/* The starter                                                              */

struct libspawn__starter {
    struct libspawn__starter_callbacks callbacks;
    char *label;
    char *stage; /* NULL: none was named yet */
    char *text;  /* of the verdict */
    uint32_t deadline_ms;
    uint32_t leave_ms;

    int fd; /* -1: it said its last */
    struct libspawn__io io;
    struct libspawn__pidref ref;
    struct libspawn__io ref_io;
    struct libspawn__timer timer; /* the deadline, then the kill */
    struct libspawn__task done_task;

    bool is_ready;
    bool is_late;    /* the deadline passed */
    bool is_aborted; /* it was asked to leave */
    bool is_done;
    int wait_status;
    bool has_ended;
};

/* ---- The verdict ------------------------------------------------------- */

static void
describe_failure(const struct libspawn__starter *starter,
                 struct libspawn__daemon_verdict *verdict)
{
    const char *stage = starter->stage ? starter->stage : "starting";
    int status = starter->wait_status;
    char how[LIBSPAWN__STATUS_TEXT_SIZE];

    libspawn__status_describe(true, status, how);
    verdict->exit_status = status ? libspawn__status_exit_code(status) : 1;
    libspawn__fail(&verdict->err, LIBSPAWN_ERR_CHILD,
                   "the %s %s before it was ready, while %s", starter->label,
                   how, stage);
    if (starter->is_late) {
        verdict->exit_status = LIBSPAWN__DAEMON_EXIT_DEADLINE;
        libspawn__fail(&verdict->err, LIBSPAWN_ERR_TIMEOUT,
                       "the %s was not ready within %.3g s, while %s",
                       starter->label, starter->deadline_ms / 1000.0, stage);
    }
}

static void
deliver(struct libspawn__task *task)
{
    struct libspawn__starter *starter =
        CONTAINER_OF(task, struct libspawn__starter, done_task);
    struct libspawn__daemon_verdict verdict = {
        .is_ready = starter->is_ready,
        .pid = starter->ref.id.pid,
        .text = starter->text,
    };

    if (!starter->is_ready) {
        describe_failure(starter, &verdict);
    }
    starter->callbacks.done(starter->callbacks.user, &verdict);
}

static void
finish(struct libspawn__starter *starter)
{
    if (!starter->is_done) {
        starter->is_done = true;
        libspawn__timer_cancel(&starter->timer);
        libspawn__task_post(&starter->done_task);
    }
}

/* ---- Events ------------------------------------------------------------ */

static void
hang_up(struct libspawn__starter *starter)
{
    libspawn__io_remove(&starter->io);
    libspawn__auto_close(&starter->fd);
    starter->fd = -1;
    if (starter->is_ready || starter->has_ended) {
        finish(starter);
    }
}

static void
take_packet(struct libspawn__starter *starter, int type, char *text, int fd)
{
    AUTO_FREE char *owned = text;

    switch (type) {
    case PACKET_STAGE:
        free(starter->stage);
        starter->stage = TAKE_PTR(owned);
        if (starter->callbacks.stage) {
            starter->callbacks.stage(starter->callbacks.user, starter->stage);
        }
        break;
    case PACKET_TEXT:
        if (starter->callbacks.said) {
            starter->callbacks.said(starter->callbacks.user, owned, fd);
        }
        break;
    case PACKET_READY:
    case PACKET_FAILED:
        free(starter->text);
        starter->text = TAKE_PTR(owned);
        starter->is_ready = type == PACKET_READY;
        break;
    default:
        break; /* of a later version */
    }
}

static void
on_channel(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__starter *starter =
        CONTAINER_OF(io, struct libspawn__starter, io);
    AUTO_FD int fd = -1;
    char *text = NULL;
    int type = receive_packet(starter->fd, &text, &fd);

    (void)events;
    if (type > 0) {
        take_packet(starter, type, text, fd);
    }
    if (starter->is_ready || (type <= 0 && type != -EAGAIN)) {
        hang_up(starter);
    }
}

/* What it said before its end lies in the channel and is read first. */
static void
on_end(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__starter *starter =
        CONTAINER_OF(io, struct libspawn__starter, ref_io);
    int status;

    (void)events;
    if (!libspawn__pidref_has_ended(&starter->ref)) {
        return;
    }
    libspawn__io_remove(io);
    starter->has_ended = true;
    if (waitpid(starter->ref.id.pid, &status, WNOHANG) > 0) {
        starter->wait_status = status;
    }
    while (starter->fd >= 0) {
        on_channel(&starter->io, 0);
    }
    finish(starter);
}

static void
ask_to_leave(struct libspawn__starter *starter)
{
    if (!starter->is_aborted && starter->fd >= 0) {
        /* Its answer, which may be that it is ready, is still read. */
        shutdown(starter->fd, SHUT_WR);
    }
    starter->is_aborted = true;
    libspawn__timer_set(&starter->timer,
                        libspawn__clock_now_ms() + starter->leave_ms);
}

static void
on_timer(struct libspawn__timer *timer)
{
    struct libspawn__starter *starter =
        CONTAINER_OF(timer, struct libspawn__starter, timer);

    if (starter->is_aborted) {
        libspawn__pidref_signal(&starter->ref, SIGKILL, NULL);
    } else {
        starter->is_late = true;
        ask_to_leave(starter);
    }
}

/* ---- Start and end ----------------------------------------------------- */

static int
spawn(struct libspawn__starter *starter,
      const struct libspawn__daemon_plan *plan, struct libspawn_err *err)
{
    AUTO_FD int theirs = -1;
    int fds[2];
    pid_t pid;
    int rc = libspawn__stream_pair(true, fds, err);
    int r;

    if (rc) {
        return rc;
    }
    starter->fd = fds[0];
    theirs = fds[1];
    r = libspawn__program_spawn(plan->path, plan->argv, plan->envp, theirs,
                                true, &pid);
    if (r) {
        return libspawn__program_fail(err, r, plan->path);
    }
    return libspawn__pidref_of_child(pid, &starter->ref, err);
}

static int
watch(struct libspawn__starter *starter, struct libspawn__loop *loop,
      struct libspawn_err *err)
{
    int rc = libspawn__io_add(loop, &starter->io, starter->fd, EPOLLIN,
                              on_channel, err);

    return rc ? rc
              : libspawn__io_add(loop, &starter->ref_io, starter->ref.fd,
                                 EPOLLIN, on_end, err);
}

int
libspawn__daemon_start(struct libspawn__loop *loop,
                       const struct libspawn__daemon_plan *plan,
                       const struct libspawn__starter_callbacks *callbacks,
                       struct libspawn__starter **starter_r,
                       struct libspawn_err *err)
{
    struct libspawn__starter *starter = calloc(1, sizeof *starter);
    int rc;

    if (!starter) {
        return libspawn__fail_nomem(err);
    }
    starter->callbacks = *callbacks;
    starter->deadline_ms = plan->deadline_ms;
    starter->leave_ms =
        plan->leave_ms ? plan->leave_ms : (uint32_t)LIBSPAWN__DAEMON_LEAVE_MS;
    starter->fd = -1;
    starter->ref.fd = -1;
    libspawn__timer_init(loop, &starter->timer, on_timer);
    libspawn__task_init(loop, &starter->done_task, deliver);
    rc = libspawn__str_assign(&starter->label, plan->label, err);
    if (!rc) {
        rc = spawn(starter, plan, err);
    }
    if (!rc) {
        rc = watch(starter, loop, err);
    }
    if (rc) {
        libspawn__starter_free(starter);
        return rc;
    }
    if (plan->deadline_ms) {
        libspawn__timer_set(&starter->timer,
                            libspawn__clock_now_ms() + plan->deadline_ms);
    }
    *starter_r = starter;
    return 0;
}

int
libspawn__daemon_tell(struct libspawn__starter *starter, const char *text,
                      int fd, struct libspawn_err *err)
{
    int r = starter->fd < 0 ? -EPIPE
                            : send_packet(starter->fd, PACKET_TEXT, text, fd);

    return r ? libspawn__fail_errno(err, -r, "telling the %s", starter->label)
             : 0;
}

void
libspawn__daemon_abort(struct libspawn__starter *starter)
{
    if (!starter->is_done && !starter->is_aborted) {
        ask_to_leave(starter);
    }
}

/* A daemon that is ready stays our child, without anybody to reap it: who
 * starts one ends soon, or reaps by itself. */
static void
end_daemon(struct libspawn__starter *starter)
{
    if (starter->ref.fd >= 0 && !starter->has_ended && !starter->is_ready) {
        libspawn__pidref_signal(&starter->ref, SIGKILL, NULL);
        libspawn__pidref_wait(&starter->ref, -1, NULL);
        libspawn__pidref_reap(&starter->ref);
    }
}

void
libspawn__starter_free(struct libspawn__starter *starter)
{
    if (!starter) {
        return;
    }
    end_daemon(starter);
    libspawn__io_remove(&starter->io);
    libspawn__io_remove(&starter->ref_io);
    libspawn__timer_cancel(&starter->timer);
    libspawn__task_cancel(&starter->done_task);
    libspawn__auto_close(&starter->fd);
    libspawn__pidref_dispose(&starter->ref);
    free(starter->label);
    free(starter->stage);
    free(starter->text);
    free(starter);
}

/* ======================================================================== */
/* The daemon                                                               */

void
libspawn__daemon_dispose(struct libspawn__daemon *daemon)
{
    libspawn__io_remove(&daemon->io);
    libspawn__auto_close(&daemon->fd);
    daemon->fd = -1;
}

static void
on_starter(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__daemon *daemon =
        CONTAINER_OF(io, struct libspawn__daemon, io);
    AUTO_FREE char *text = NULL;
    int fd = -1;
    int type = receive_packet(daemon->fd, &text, &fd);

    (void)events;
    if (type == PACKET_TEXT) {
        daemon->told(daemon, text, fd);
        return;
    }
    libspawn__auto_close(&fd);
    if (type <= 0 && type != -EAGAIN) {
        libspawn__io_remove(io);
        daemon->is_left = true;
        daemon->told(daemon, NULL, -1);
    }
}

int
libspawn__daemon_enter(struct libspawn__daemon *daemon,
                       struct libspawn__loop *loop,
                       void (*told)(struct libspawn__daemon *daemon,
                                    const char *text, int fd),
                       struct libspawn_err *err)
{
    int type;
    socklen_t size = sizeof type;

    memset(daemon, 0, sizeof *daemon);
    daemon->told = told;
    daemon->fd = -1;
    if (getsockopt(LIBSPAWN__DAEMON_FD, SOL_SOCKET, SO_TYPE, &type, &size) <
            0 ||
        type != SOCK_SEQPACKET) {
        return 0; /* started by hand, or by an init system */
    }
    if (fcntl(LIBSPAWN__DAEMON_FD, F_SETFD, FD_CLOEXEC) < 0) {
        return libspawn__fail_errno(err, errno, "keeping the channel");
    }
    daemon->fd = LIBSPAWN__DAEMON_FD;
    return libspawn__io_add(loop, &daemon->io, daemon->fd, EPOLLIN, on_starter,
                            err);
}

void
libspawn__daemon_set_stage(struct libspawn__daemon *daemon, const char *stage)
{
    if (daemon->fd >= 0) {
        send_packet(daemon->fd, PACKET_STAGE, stage, -1);
    }
}

void
libspawn__daemon_say(struct libspawn__daemon *daemon, const char *text, int fd)
{
    if (daemon->fd >= 0) {
        send_packet(daemon->fd, PACKET_TEXT, text, fd);
    }
}

static int
leave_terminal(void)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int i;

    for (i = 0; null_fd >= 0 && i < LIBSPAWN__DAEMON_FD; i++) {
        dup2(null_fd, i);
    }
    libspawn__auto_close(&null_fd);
    return chdir("/") < 0 ? -errno : 0;
}

int
libspawn__daemon_complete(struct libspawn__daemon *daemon, const char *text,
                          struct libspawn_err *err)
{
    int r = daemon->is_left ? -EPIPE : 0;

    if (daemon->fd < 0) {
        return 0; /* nobody wants to know */
    }
    if (!r) {
        /* Before it is heard that all is done. */
        r = leave_terminal();
    }
    if (!r) {
        r = send_packet(daemon->fd, PACKET_READY, text, -1);
    }
    if (r) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "whoever started this program has gone");
    }
    libspawn__daemon_dispose(daemon);
    return 0;
}

void
libspawn__daemon_fail(struct libspawn__daemon *daemon, const char *text)
{
    if (daemon->fd >= 0) {
        send_packet(daemon->fd, PACKET_FAILED, text, -1);
        libspawn__daemon_dispose(daemon);
    }
}
