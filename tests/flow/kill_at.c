#include "tests/flow/kill_at.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/harness.h"

/* A process that makes no system call for so long waits for an event. */
enum { IDLE_MS = 1500 };

void
kill_at_wait(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
}

struct stop {
    pid_t pid;
    bool is_ended;
    int status;
};

/* Looks without reaping, since who reaps it is a question of the test. */
static bool
has_stopped(struct stop *stop)
{
    siginfo_t info = { .si_pid = 0 };

    if (waitid(P_PID, (id_t)stop->pid, &info,
               WEXITED | WSTOPPED | WNOHANG | WNOWAIT) < 0) {
        stop->is_ended = true; /* somebody reaped it */
        return true;
    }
    if (!info.si_pid) {
        return false;
    }
    stop->is_ended = info.si_code == CLD_EXITED ||
                     info.si_code == CLD_KILLED ||
                     info.si_code == CLD_DUMPED;
    if (!stop->is_ended) {
        ck_assert_int_eq(waitpid(stop->pid, &stop->status, 0), stop->pid);
    }
    return true;
}

/* SIGCHLD, which is blocked, comes at each stop.  False when none came. */
static bool
await_stop(struct stop *stop, int idle_ms)
{
    const struct timespec idle = { idle_ms / 1000,
                                   idle_ms % 1000 * 1000000 };
    sigset_t sigchld;

    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    while (!has_stopped(stop)) {
        if (sigtimedwait(&sigchld, NULL, &idle) < 0 && errno == EAGAIN) {
            return false;
        }
    }
    return true;
}

/* The signal that is to be passed on when it goes on; 0: none. */
static int
pending_signal(int status)
{
    int number = WSTOPSIG(status);

    /* 0x80 marks a system call; SIGTRAP is that of an exec. */
    return number & 0x80 || number == SIGTRAP || number == SIGSTOP ? 0
                                                                   : number;
}

static bool
resume(pid_t pid, enum __ptrace_request request, int number)
{
    return !ptrace(request, pid, NULL, (void *)(intptr_t)number);
}

/* It can be left only when it stands. */
static void
leave(struct stop *stop)
{
    kill(stop->pid, SIGSTOP);
    await_stop(stop, IDLE_MS);
    resume(stop->pid, PTRACE_DETACH, 0);
    kill(stop->pid, SIGCONT);
}

static bool
lead(pid_t pid, unsigned int n, int last)
{
    struct stop stop = { .pid = pid };
    unsigned int n_stops = 0;
    int number = 0;

    ck_assert(await_stop(&stop, 5 * IDLE_MS));
    ck_assert_msg(!stop.is_ended, "it ended before it could be led");
    ptrace(PTRACE_SETOPTIONS, pid, NULL,
           (void *)(intptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
    /* Each call stops it at its entry and at its exit. */
    while (n_stops <= 2 * n) {
        if (!resume(pid, PTRACE_SYSCALL, number) && errno == ESRCH) {
            return false;
        }
        if (!await_stop(&stop, IDLE_MS)) {
            leave(&stop);
            return false;
        }
        if (stop.is_ended) {
            return false;
        }
        number = pending_signal(stop.status);
        n_stops += WSTOPSIG(stop.status) == (SIGTRAP | 0x80);
    }
    if (last == SIGKILL) {
        kill(pid, SIGKILL);
        return true;
    }
    resume(pid, PTRACE_DETACH, last);
    return true;
}

bool
signal_at(pid_t pid, unsigned int n, int number)
{
    sigset_t sigchld;
    sigset_t before;
    bool was_killed;

    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &sigchld, &before);
    was_killed = lead(pid, n, number);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return was_killed;
}

bool
kill_at(pid_t pid, unsigned int n)
{
    return signal_at(pid, n, SIGKILL);
}

pid_t
spawn_led(const char *const argv[], const char *output_path)
{
    pid_t pid = fork();

    if (!pid) {
        int fd = open(output_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
            dup2(fd, STDERR_FILENO) < 0) {
            _exit(127);
        }
        close(fd);
        /* Which cannot be done in a process that is traced. */
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
        kill_at_wait();
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}
