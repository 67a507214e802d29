/*
 * A program started by the steps of a child instead of posix_spawn(3).
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "base/auto.h"
#include "proc/exec.h"
#include "proc/protocol.h"

static int
make_plan(struct libspawn_plan *plan, const char *path, char *const argv[],
          int fd)
{
    int rc = libspawn__str_assign(&plan->program, path, NULL);

    if (!rc) {
        rc = libspawn__str_assign(&plan->directory, ".", NULL);
    }
    for (; !rc && *argv; argv++) {
        rc = libspawn__strv_add(&plan->argv, *argv, NULL);
    }
    plan->fds[0].fd = fd;
    plan->fds[0].child_fd = LIBSPAWN__WATCHER_FD;
    plan->n_fds = 1;
    return rc ? ENOMEM : 0;
}

static void
reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* 0 once it runs the program, otherwise why not. */
static int
run(struct libspawn__exec *exec, pid_t *pid_r)
{
    /* Whoever calls the library may not ignore SIGPIPE, which a child that
     * fails before it is released would cause. */
    AUTO_FD int reader = fcntl(exec->hold_fds[0], F_DUPFD_CLOEXEC, 0);
    struct libspawn__exec_result result = { 0 };
    struct libspawn_err err;
    pid_t pid;

    if (reader < 0) {
        return errno;
    }
    if (libspawn__exec_fork(exec, &pid, &err)) {
        return err.sys_errno;
    }
    if (libspawn__exec_release(exec, &err)) {
        result.sys_errno = err.sys_errno;
    } else if (!libspawn__exec_read_result(exec, &result)) {
        *pid_r = pid;
        return 0;
    }
    reap(pid); /* it ends by itself */
    return result.sys_errno;
}

static int
spawn_plan(const struct libspawn_plan *plan, pid_t *pid_r)
{
    AUTO_FD int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct libspawn__exec exec;
    struct libspawn_err err;
    int r;

    if (null_fd < 0) {
        return errno;
    }
    if (libspawn__exec_prepare(&exec, plan, null_fd, -1, &err)) {
        return err.sys_errno;
    }
    r = run(&exec, pid_r);
    libspawn__exec_dispose(&exec);
    return r;
}

int
libspawn__exec_spawn(const char *path, char *const argv[], int fd,
                     pid_t *pid_r)
{
    struct libspawn_plan plan;
    int r;

    libspawn__plan_init(&plan);
    r = make_plan(&plan, path, argv, fd);
    if (!r) {
        r = spawn_plan(&plan, pid_r);
    }
    plan.fds[0].fd = -1; /* borrowed */
    libspawn__plan_dispose(&plan);
    return r;
}
