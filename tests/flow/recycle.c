#include "tests/flow/recycle.h"

#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t
fork_with_pid(pid_t pid)
{
    struct clone_args args = { .exit_signal = SIGCHLD,
                               .set_tid = (uintptr_t)&pid,
                               .set_tid_size = 1 };
    long r = syscall(SYS_clone3, &args, sizeof args);

    if (!r) {
        for (;;) {
            pause();
        }
    }
    return r < 0 ? -1 : (pid_t)r;
}
