#include "tests/flow/recycle.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/harness.h"

enum { WAIT_MS = 5000 };

struct choice {
    pid_t pid; /* the number that is wanted */
    long r;
    int error;
};

/* Whether it was had, or cannot be had at all. */
static bool
is_decided(void *user)
{
    struct choice *choice = user;
    struct clone_args args = { .exit_signal = SIGCHLD,
                               .set_tid = (uintptr_t)&choice->pid,
                               .set_tid_size = 1 };

    choice->r = syscall(SYS_clone3, &args, sizeof args);
    if (!choice->r) {
        for (;;) {
            pause();
        }
    }
    choice->error = errno;
    return choice->r > 0 || choice->error != EEXIST;
}

pid_t
fork_with_pid(pid_t pid)
{
    struct choice choice = { .pid = pid };

    harness_wait_until(is_decided, &choice, WAIT_MS);
    errno = choice.error;
    return choice.r > 0 ? (pid_t)choice.r : -1;
}
