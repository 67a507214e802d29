#include "tests/sweep/lead.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/harness.h"

enum {
    TURN_MS = 20,
    IDLE_MS = 100, /* no stop for so long after the verdict: it sleeps */
    HANG_MS = 10000
};

#define OPTIONS                                                               \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK |         \
     PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)

void
lead_begin(struct lead *lead, enum lead_role role)
{
    sigset_t sigchld;

    memset(lead, 0, sizeof *lead);
    lead->role = role;
    ck_assert_int_eq(pipe2(lead->hold_fds, O_CLOEXEC), 0);
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &sigchld, NULL);
}

void
lead_end(struct lead *lead)
{
    close(lead->hold_fds[0]);
    close(lead->hold_fds[1]);
}

void
lead_wait(void *user)
{
    const struct lead *lead = user;
    sigset_t none;
    char byte;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    while (read(lead->hold_fds[0], &byte, 1) < 0 && errno == EINTR) {
    }
}

static bool
try_wait(pid_t pid, int *status_r)
{
    return waitpid(pid, status_r, __WALL | WNOHANG) == pid;
}

/* SIGCHLD, which is blocked, comes at each stop. */
static void
pass_time(void)
{
    const struct timespec turn = { 0, TURN_MS * 1000000 };
    sigset_t sigchld;

    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigtimedwait(&sigchld, NULL, &turn);
}

static int
await_stop(pid_t pid)
{
    int64_t until_ms = libspawn__clock_now_ms() + HANG_MS;
    int status = 0;

    while (!try_wait(pid, &status)) {
        ck_assert_msg(libspawn__clock_now_ms() < until_ms,
                      "process %d does not stop", (int)pid);
        pass_time();
    }
    return status;
}

static void
resume(pid_t pid, enum __ptrace_request request, int number)
{
    ptrace(request, pid, NULL, (void *)(intptr_t)number);
}

static void
leave(pid_t pid)
{
    resume(pid, PTRACE_INTERRUPT, 0);
    if (WIFSTOPPED(await_stop(pid))) {
        resume(pid, PTRACE_DETACH, 0);
    }
}

/* False when it will not stop again: the deed is over and it sleeps. */
static bool
await_next_stop(pid_t pid, const struct deed_run *run, int *status_r)
{
    struct pollfd verdict = { .fd = run->fd, .events = POLLIN };
    int64_t began_ms = libspawn__clock_now_ms();
    int slowness = deed_slowness(run->deed);

    while (!try_wait(pid, status_r)) {
        int64_t idle_ms = libspawn__clock_now_ms() - began_ms;

        ck_assert_msg(idle_ms < HANG_MS * slowness, "the deed hangs");
        if (idle_ms >= IDLE_MS * slowness && poll(&verdict, 1, 0) > 0) {
            return false;
        }
        pass_time();
    }
    return true;
}

/* A new process is led instead of this one when it has the role. */
static pid_t
follow_fork(pid_t pid, bool is_wanted)
{
    unsigned long child;

    ck_assert_int_eq(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &child), 0);
    await_stop((pid_t)child);
    if (is_wanted) {
        resume(pid, PTRACE_DETACH, 0);
        return (pid_t)child;
    }
    resume((pid_t)child, PTRACE_DETACH, 0);
    return pid;
}

static bool
is_fork(int event)
{
    return event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
           event == PTRACE_EVENT_CLONE;
}

static void
note_call(struct lead *lead, pid_t pid)
{
    struct __ptrace_syscall_info info = { 0 };

    lead->n_stops++;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info,
               &info) > 0 &&
        info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        lead->call = (long)info.entry.nr;
    }
}

static pid_t
seize(struct lead *lead, const struct deed_run *run)
{
    ck_assert_int_eq(ptrace(PTRACE_SEIZE, run->pid, NULL,
                            (void *)(intptr_t)OPTIONS),
                     0);
    resume(run->pid, PTRACE_INTERRUPT, 0);
    await_stop(run->pid);
    ck_assert_int_eq(write(lead->hold_fds[1], "", 1), 1);
    return run->pid;
}

bool
lead_and_kill(struct lead *lead, struct deed_run *run, unsigned int n)
{
    enum lead_role led = LEAD_CALLER;
    pid_t pid = seize(lead, run);
    int number = 0;
    int status;

    for (;;) {
        /* Those before it matter only until they start it. */
        resume(pid, led == lead->role ? PTRACE_SYSCALL : PTRACE_CONT, number);
        number = 0;
        if (!await_next_stop(pid, run, &status)) {
            leave(pid);
            return false;
        }
        if (!WIFSTOPPED(status)) {
            run->status = status;
            return false;
        }
        if (is_fork(status >> 16)) {
            bool is_wanted = led < lead->role;

            pid = follow_fork(pid, is_wanted);
            led += is_wanted;
        } else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            note_call(lead, pid);
            if (lead->n_stops == n) {
                resume(pid, PTRACE_DETACH, SIGKILL);
                return true;
            }
            if (lead->call == SYS_exit_group) {
                /* Its parent could not reap it while it is traced. */
                resume(pid, PTRACE_DETACH, 0);
                return false;
            }
        } else if (!(status >> 16)) {
            number = WSTOPSIG(status);
        }
    }
}
