#include "tests/sweep/gate.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/lib/harness.h"

enum { VARIANTS = 2 };

/* Calls that can fail though nobody made a mistake, with errnos that the
 * kernel gives.  Missing are those that cannot (close, which always closes),
 * and memory mappings, which sanitizers do not survive. */
static const struct {
    int call;
    const char *name;
    int errnos[VARIANTS];
} calls[] = {
#define CALL(NAME, FIRST, SECOND)                                             \
    {                                                                         \
        SYS_##NAME, #NAME, { FIRST, SECOND }                                  \
    }
    CALL(openat, EMFILE, ENOMEM),
    CALL(openat2, EMFILE, ENOMEM),
    CALL(read, EINTR, EIO),
    CALL(write, EINTR, ENOSPC),
    CALL(poll, EINTR, ENOMEM),
    CALL(epoll_create1, EMFILE, ENOMEM),
    CALL(epoll_ctl, ENOMEM, ENOSPC),
    CALL(epoll_wait, EINTR, EINTR),
    CALL(epoll_pwait, EINTR, EINTR), /* the same, by musl */
    CALL(timerfd_create, EMFILE, ENOMEM),
    CALL(eventfd2, EMFILE, ENOMEM),
    CALL(signalfd4, EMFILE, ENOMEM),
    CALL(inotify_init1, EMFILE, ENOMEM),
    CALL(inotify_add_watch, ENOSPC, ENOMEM),
    CALL(socketpair, EMFILE, ENOMEM),
    CALL(sendmsg, EINTR, ENOBUFS),
    CALL(recvmsg, EINTR, ENOMEM),
    CALL(memfd_create, EMFILE, ENOMEM),
    CALL(ftruncate, ENOSPC, EIO),
    CALL(pipe2, EMFILE, ENFILE),
    CALL(clone, EAGAIN, ENOMEM),
    CALL(clone3, EAGAIN, ENOMEM),
    CALL(vfork, EAGAIN, ENOMEM),
    CALL(execve, ENOMEM, EIO),
    CALL(pidfd_open, EMFILE, ENOMEM),
    CALL(mkdirat, ENOSPC, EIO),
    CALL(mkdir, ENOSPC, EIO),
    CALL(rename, ENOSPC, EIO),
    CALL(renameat, ENOSPC, EIO),
    CALL(renameat2, ENOSPC, EIO),
    CALL(fsync, EIO, ENOSPC),
    CALL(fdatasync, EIO, ENOSPC),
    CALL(flock, EINTR, ENOLCK),
    CALL(getdents64, EIO, ENOMEM),
    CALL(newfstatat, ENOMEM, EIO),
    CALL(statx, ENOMEM, EIO),
    CALL(readlink, ENOMEM, EIO),
    CALL(setsid, EPERM, EPERM),
    CALL(chdir, ENOMEM, EIO),
#undef CALL
};

static int
find_call(int call)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(calls); i++) {
        if (calls[i].call == call) {
            return (int)i;
        }
    }
    return -1;
}

const char *
gate_call_name(int call)
{
    int i = find_call(call);

    return i < 0 ? "no call" : calls[i].name;
}

/* ---- Behind the gate --------------------------------------------------- */

static int
listen_to_calls(void)
{
    struct sock_filter ask[] = {
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
    struct sock_fprog program = { ARRAY_SIZE(ask), ask };

    if (geteuid()) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                        SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

void
gate_install(void *user)
{
    struct gate_state *state = ((struct gate *)user)->state;
    int fd;

    state->pids[GATE_CALLER] = getpid();
    fd = listen_to_calls();
    /* No call can be made before somebody decides about it. */
    __atomic_store_n(&state->listener_fd, fd, __ATOMIC_SEQ_CST);
    close(fd);
    state->is_armed = true;
}

void
gate_disarm(void *user)
{
    ((struct gate *)user)->state->is_armed = false;
}

const char *
gate_obstacle(void)
{
    uint32_t action = SECCOMP_RET_USER_NOTIF;

    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0
               ? "the kernel has no user notification of seccomp"
               : NULL;
}

/* ---- The one who decides ----------------------------------------------- */

static enum gate_role
find_role(struct gate_state *state, pid_t pid)
{
    int role;

    for (role = GATE_CALLER; role < GATE_CHILD; role++) {
        if (!state->pids[role]) {
            state->pids[role] = pid;
        }
        if (state->pids[role] == pid) {
            break;
        }
    }
    return (enum gate_role)role;
}

/* 0, or the errno with which the call fails. */
static int
decide(struct gate_state *state, pid_t pid, const struct seccomp_data *data)
{
    enum gate_role role = find_role(state, pid);
    int i = find_call(data->nr);
    int sys_errno;

    if (!state->is_armed || role != state->role || i < 0) {
        return 0;
    }
    /* Removing from a set of events does not fail. */
    if (data->nr == SYS_epoll_ctl && data->args[1] != 1) {
        return 0;
    }
    state->n_calls++;
    if (!state->n || state->n_calls < state->n ||
        (state->n_calls > state->n && !state->is_for_good)) {
        return 0;
    }
    sys_errno = calls[i].errnos[state->variant];
    if (data->nr == SYS_write && data->args[2] == sizeof(uint64_t)) {
        sys_errno = EINTR; /* of an eventfd, which takes every number */
    }
    if (sys_errno == EINTR && state->is_for_good) {
        return 0; /* nobody is interrupted for ever */
    }
    if (!state->n_failed++) {
        state->call = data->nr;
        state->sys_errno = sys_errno;
    }
    return sys_errno;
}

static void
serve_one(struct gate_state *state, int fd)
{
    struct seccomp_notif notif;
    struct seccomp_notif_resp resp = { 0 };

    memset(&notif, 0, sizeof notif);
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &notif) < 0) {
        return; /* it was killed meanwhile */
    }
    resp.id = notif.id;
    resp.error = -decide(state, (pid_t)notif.pid, &notif.data);
    resp.flags = resp.error ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

static void
be_the_server(struct gate_state *state, pid_t pid)
{
    int pidfd = pidfd_open(pid, 0);
    struct pollfd pollfd = { .fd = -1, .events = POLLIN };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (pollfd.fd < 0) {
        int listener_fd =
            __atomic_load_n(&state->listener_fd, __ATOMIC_SEQ_CST);

        if (listener_fd >= 0) {
            pollfd.fd = pidfd_getfd(pidfd, listener_fd, 0);
        } else {
            poll(NULL, 0, 1);
        }
    }
    for (;;) {
        if (poll(&pollfd, 1, -1) < 0 || pollfd.revents & POLLIN) {
            serve_one(state, pollfd.fd);
        } else if (pollfd.revents) {
            _exit(0); /* nobody is behind the gate any more */
        }
    }
}

void
gate_open(struct gate *gate, enum gate_role role, unsigned int n,
          unsigned int variant, bool is_for_good)
{
    struct gate_state *state =
        mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(state, MAP_FAILED);
    *state = (struct gate_state){ .listener_fd = -1,
                                  .role = role,
                                  .n = n,
                                  .variant = variant,
                                  .is_for_good = is_for_good };
    *gate = (struct gate){ .state = state };
}

void
gate_serve(struct gate *gate, pid_t pid)
{
    gate->server = fork();
    if (!gate->server) {
        be_the_server(gate->state, pid);
    }
    ck_assert_int_gt(gate->server, 0);
}

bool
gate_close(struct gate *gate)
{
    while (waitpid(gate->server, NULL, 0) < 0 && errno == EINTR) {
    }
    return gate->state->n_failed > 0;
}

void
gate_dispose(struct gate *gate)
{
    munmap(gate->state, sizeof *gate->state);
}
