/*
 * Where the child runs: namespaces, cgroup, root and working directory.
 *
 * clone3(2) puts it into all namespaces and its cgroup at birth.  Whatever
 * that refuses (an older kernel, a seccomp filter, a right that is missing) is
 * done again one by one, so that it works or the step that fails has a name.
 */
#include "proc/exec_steps.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"

static const struct {
    enum libspawn_namespace namespace;
    unsigned long flag;
} namespace_flags[] = {
    { LIBSPAWN_NAMESPACE_MOUNT, CLONE_NEWNS },
    { LIBSPAWN_NAMESPACE_IPC, CLONE_NEWIPC },
    { LIBSPAWN_NAMESPACE_NET, CLONE_NEWNET },
    { LIBSPAWN_NAMESPACE_PID, CLONE_NEWPID },
    { LIBSPAWN_NAMESPACE_UTS, CLONE_NEWUTS },
};

/* ---- In the parent ----------------------------------------------------- */

void
libspawn__exec_prepare_place(struct libspawn__exec *exec)
{
    const struct libspawn_plan *plan = exec->plan;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(namespace_flags); i++) {
        if (plan->namespaces & namespace_flags[i].namespace) {
            exec->namespaces |= namespace_flags[i].flag;
        }
    }
    if (plan->cgroup) {
        exec->cgroup_fd =
            open(plan->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
        exec->cgroup_errno = exec->cgroup_fd < 0 ? errno : 0;
    }
}

/* As fork(2), with more; -1 when it cannot or there is nothing more to do. */
static pid_t
fork_in_place(struct libspawn__exec *exec)
{
    struct clone_args args = {
        .flags = exec->namespaces,
        .exit_signal = SIGCHLD,
    };
    pid_t pid;

    if (exec->cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)exec->cgroup_fd;
    }
    if (!args.flags) {
        return -1;
    }
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid >= 0) {
        exec->namespaces = 0;
        exec->is_in_cgroup = exec->cgroup_fd >= 0;
    }
    return pid;
}

/* A new pid namespace is entered only by what is forked afterwards.  This
 * process itself stays where it is, and forks nothing else. */
static void
unshare_pid_namespace(struct libspawn__exec *exec)
{
    if (unshare(CLONE_NEWPID) < 0) {
        exec->pid_namespace_errno = errno;
    } else {
        exec->namespaces &= ~(unsigned long)CLONE_NEWPID;
    }
}

int
libspawn__exec_fork(struct libspawn__exec *exec, pid_t *pid_r,
                    struct libspawn_err *err)
{
    pid_t pid = fork_in_place(exec);

    if (pid < 0) {
        if (exec->namespaces & CLONE_NEWPID) {
            unshare_pid_namespace(exec);
        }
        pid = fork();
    }
    if (pid < 0) {
        return libspawn__fail_errno(err, errno, "forking");
    }
    if (!pid) {
        libspawn__exec_child(exec);
    }
    libspawn__exec_in_parent(exec);
    *pid_r = pid;
    return 0;
}

static int
write_pid(int cgroup_fd, pid_t pid)
{
    AUTO_FD int fd =
        openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    char text[16];

    if (fd < 0) {
        return errno;
    }
    snprintf(text, sizeof text, "%d", (int)pid);
    return -libspawn__fd_write_full(fd, text, strlen(text));
}

int
libspawn__exec_place(struct libspawn__exec *exec, pid_t pid)
{
    int r = exec->cgroup_errno;

    if (exec->cgroup_fd >= 0) {
        r = exec->is_in_cgroup ? 0 : write_pid(exec->cgroup_fd, pid);
        close(TAKE_FD(exec->cgroup_fd));
    }
    /* A child that is dead already has a reason of its own. */
    return r == ESRCH ? 0 : r;
}

/* ---- In the child ------------------------------------------------------ */

int
libspawn__exec_enter_namespaces(struct libspawn__exec *exec)
{
    if (exec->namespaces & CLONE_NEWPID) {
        errno = exec->pid_namespace_errno;
        return -1;
    }
    return exec->namespaces ? unshare((int)exec->namespaces) : 0;
}

/* The copy of the mounts still passes on what happens in it; from now on only
 * what happens outside comes in, so that it pins nothing. */
int
libspawn__exec_detach_mounts(struct libspawn__exec *exec)
{
    if (!(exec->plan->namespaces & LIBSPAWN_NAMESPACE_MOUNT)) {
        return 0;
    }
    return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}

int
libspawn__exec_change_root(struct libspawn__exec *exec)
{
    return chroot(exec->plan->chroot);
}

int
libspawn__exec_change_directory(struct libspawn__exec *exec)
{
    const char *directory = exec->plan->directory;

    return chdir(directory ? directory : "/");
}
