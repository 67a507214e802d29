#include "proc/exec.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"

/* linux/close_range.h; glibc 2.36 has it, older headers do not. */
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

enum {
    EXIT_NOT_EXECUTED = 126
};

static const char *const step_names[] = {
    [LIBSPAWN__EXEC_SESSION] = "session",
    [LIBSPAWN__EXEC_SIGNALS] = "signals",
    [LIBSPAWN__EXEC_DIRECTORY] = "directory",
    [LIBSPAWN__EXEC_DESCRIPTORS] = "descriptors",
    [LIBSPAWN__EXEC_HOLD] = "hold",
    [LIBSPAWN__EXEC_PROGRAM] = "exec",
};

const char *
libspawn__exec_step_name(unsigned int step)
{
    return step < ARRAY_SIZE(step_names) ? step_names[step] : "unknown";
}

int
libspawn__exec_prepare(struct libspawn__exec *exec,
                       const struct libspawn_plan *plan, int output_fd,
                       int notify_fd, struct libspawn_err *err)
{
    *exec = (struct libspawn__exec){
        .plan = plan,
        .output_fd = output_fd,
        .notify_fd = notify_fd,
        .hold_fds = { -1, -1 },
        .result_fds = { -1, -1 },
    };
    if (pipe2(exec->hold_fds, O_CLOEXEC) < 0 ||
        pipe2(exec->result_fds, O_CLOEXEC) < 0) {
        int rc = libspawn__fail_errno(err, errno, "making a pipe");

        libspawn__exec_dispose(exec);
        return rc;
    }
    return 0;
}

static void
close_fd(int *fd)
{
    libspawn__auto_close(fd);
    *fd = -1;
}

void
libspawn__exec_dispose(struct libspawn__exec *exec)
{
    close_fd(&exec->hold_fds[0]);
    close_fd(&exec->hold_fds[1]);
    close_fd(&exec->result_fds[0]);
    close_fd(&exec->result_fds[1]);
}

/* ---- Signals ----------------------------------------------------------- */

/* By the system call itself: glibc's sigaction(3) refuses the two signals that
 * it uses inside, and its posix_spawn(3) leaves just these ignored. */
int
libspawn__exec_reset_signals(void)
{
    /* The kernel's own structure, of at most this size: all zero is SIG_DFL
     * without flags. */
    static const unsigned char as_default[64];
    sigset_t none;
    int signal;

    for (signal = 1; signal < NSIG; signal++) {
        /* Fails for those that cannot be changed, which are at default. */
        syscall(SYS_rt_sigaction, signal, as_default, NULL, (NSIG - 1) / 8);
    }
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- In the child ------------------------------------------------------ */

/* One move of a descriptor: 'from' is above all targets by then. */
struct move {
    int from;
    int to;
};

/* Lists what the program shall have: /dev/null as 0, the output as 1 and 2,
 * where the plan does not say otherwise. */
static size_t
list_moves(const struct libspawn__exec *exec, int null_fd, struct move *moves)
{
    const struct libspawn_plan *plan = exec->plan;
    const int standard[] = { null_fd, exec->output_fd, exec->output_fd };
    bool is_given[ARRAY_SIZE(standard)] = { false };
    size_t n = 0;
    size_t i;

    for (i = 0; i < plan->n_fds; i++) {
        moves[n++] = (struct move){ plan->fds[i].fd, plan->fds[i].child_fd };
    }
    if (exec->notify_fd >= 0) {
        moves[n++] = (struct move){ exec->notify_fd, (int)plan->notify_fd };
    }
    for (i = 0; i < n; i++) {
        if (moves[i].to < (int)ARRAY_SIZE(standard)) {
            is_given[moves[i].to] = true;
        }
    }
    for (i = 0; i < ARRAY_SIZE(standard); i++) {
        if (!is_given[i]) {
            moves[n++] = (struct move){ standard[i], (int)i };
        }
    }
    return n;
}

/* A failure leaves it where it was: the reason has to go through one. */
static int
move_up(int *fd, int base)
{
    int copy = fcntl(*fd, F_DUPFD_CLOEXEC, base);

    if (copy >= 0) {
        *fd = copy;
    }
    return copy;
}

/* First every source goes above all targets, so that no move overwrites the
 * source of a later one; whatever is not a target gets close-on-exec. */
static int
move_descriptors(struct libspawn__exec *exec)
{
    struct move moves[LIBSPAWN__PLAN_FDS_MAX + 4];
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int base = 3;
    size_t n_moves;
    size_t i;

    if (null_fd < 0) {
        return -1;
    }
    n_moves = list_moves(exec, null_fd, moves);
    for (i = 0; i < n_moves; i++) {
        base = MAX(base, moves[i].to + 1);
    }
    for (i = 0; i < n_moves; i++) {
        if (move_up(&moves[i].from, base) < 0) {
            return -1;
        }
    }
    if (move_up(&exec->hold_fds[0], base) < 0 ||
        move_up(&exec->result_fds[1], base) < 0) {
        return -1;
    }
    if (syscall(SYS_close_range, 0, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0) {
        return -1;
    }
    for (i = 0; i < n_moves; i++) {
        if (dup2(moves[i].from, moves[i].to) < 0) { /* not close-on-exec */
            return -1;
        }
    }
    return 0;
}

static int
wait_for_release(const struct libspawn__exec *exec)
{
    char byte;
    ssize_t n = libspawn__fd_read_full(exec->hold_fds[0], &byte, 1);

    if (n == 1) {
        return 0;
    }
    /* The watcher is gone, and with it everybody who knows of this child. */
    errno = n < 0 ? (int)-n : EPIPE;
    return -1;
}

static int
run_step(struct libspawn__exec *exec, enum libspawn__exec_step step)
{
    const struct libspawn_plan *plan = exec->plan;

    switch (step) {
    case LIBSPAWN__EXEC_SESSION:
        return setsid() < 0 ? -1 : 0;
    case LIBSPAWN__EXEC_SIGNALS:
        return libspawn__exec_reset_signals();
    case LIBSPAWN__EXEC_DIRECTORY:
        return chdir(plan->directory ? plan->directory : "/");
    case LIBSPAWN__EXEC_DESCRIPTORS:
        return move_descriptors(exec);
    case LIBSPAWN__EXEC_HOLD:
        return wait_for_release(exec);
    case LIBSPAWN__EXEC_PROGRAM:
        break;
    }
    return execve(plan->program, plan->argv.items,
                  plan->env.n_items ? plan->env.items : (char *[]){ NULL });
}

void
libspawn__exec_child(struct libspawn__exec *exec)
{
    struct libspawn__exec_result result = { 0 };
    unsigned int step;

    close(exec->hold_fds[1]);
    for (step = 0; step <= LIBSPAWN__EXEC_PROGRAM; step++) {
        if (run_step(exec, step) < 0) {
            break;
        }
    }
    result.step = step;
    result.sys_errno = errno;
    libspawn__fd_write_full(exec->result_fds[1], &result, sizeof result);
    _exit(EXIT_NOT_EXECUTED);
}

/* ---- In the parent ----------------------------------------------------- */

void
libspawn__exec_in_parent(struct libspawn__exec *exec)
{
    close_fd(&exec->hold_fds[0]);
    close_fd(&exec->result_fds[1]);
}

int
libspawn__exec_release(struct libspawn__exec *exec, struct libspawn_err *err)
{
    /* The watcher ignores SIGPIPE, so a dead child shows as EPIPE here and
     * properly by its wait status. */
    int r = libspawn__fd_write_full(exec->hold_fds[1], "", 1);

    close_fd(&exec->hold_fds[1]);
    if (r && r != -EPIPE) {
        return libspawn__fail_errno(err, -r, "releasing the child");
    }
    return 0;
}

int
libspawn__exec_read_result(struct libspawn__exec *exec,
                           struct libspawn__exec_result *result_r)
{
    struct libspawn__exec_result result;
    ssize_t n =
        libspawn__fd_read_full(exec->result_fds[0], &result, sizeof result);

    close_fd(&exec->result_fds[0]);
    if (n != (ssize_t)sizeof result) {
        return 0;
    }
    *result_r = result;
    return 1;
}
