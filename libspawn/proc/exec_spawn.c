/*
 * A program started by the steps of a child instead of posix_spawn(3).
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/util.h"
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

/* It is gone by itself: only its status is left. */
static int
read_failure(struct libspawn__exec *exec, pid_t pid)
{
    struct libspawn__exec_result result;

    if (!libspawn__exec_read_result(exec, &result)) {
        return 0;
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return result.sys_errno;
}

static int
spawn_plan(const struct libspawn_plan *plan, pid_t *pid_r)
{
    AUTO_FD int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct libspawn__exec exec;
    struct libspawn_err err;
    pid_t pid;
    int r = 0;

    if (null_fd < 0) {
        return errno;
    }
    if (libspawn__exec_prepare(&exec, plan, null_fd, -1, &err)) {
        return err.sys_errno;
    }
    if (libspawn__exec_fork(&exec, &pid, &err) ||
        libspawn__exec_release(&exec, &err)) {
        r = err.sys_errno;
    } else {
        r = read_failure(&exec, pid);
    }
    libspawn__exec_dispose(&exec);
    if (!r) {
        *pid_r = pid;
    }
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
