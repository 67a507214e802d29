#include "proc/exec.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"
#include "proc/exec_steps.h"

enum {
    EXIT_NOT_EXECUTED = 126
};

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
        .cgroup_fd = -1,
    };
    if (pipe2(exec->hold_fds, O_CLOEXEC) < 0 ||
        pipe2(exec->result_fds, O_CLOEXEC) < 0) {
        int rc = libspawn__fail_errno(err, errno, "making a pipe");

        libspawn__exec_dispose(exec);
        return rc;
    }
    libspawn__exec_prepare_place(exec);
    libspawn__exec_prepare_limits(exec);
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
    close_fd(&exec->cgroup_fd);
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

static int
begin_session(struct libspawn__exec *exec)
{
    (void)exec;
    return setsid() < 0 ? -1 : 0;
}

static int
reset_signals(struct libspawn__exec *exec)
{
    (void)exec;
    return libspawn__exec_reset_signals();
}

static int
wait_for_release(struct libspawn__exec *exec)
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
execute(struct libspawn__exec *exec)
{
    const struct libspawn_plan *plan = exec->plan;

    return execve(plan->program, plan->argv.items,
                  plan->env.n_items ? plan->env.items : (char *[]){ NULL });
}

/* A step runs when the plan has one of its options, or when it has none. */
static const struct {
    const char *name; /* at most 19 characters, for the watcher's message */
    uint64_t options;
    int (*run)(struct libspawn__exec *exec);
} steps[] = {
#define STEP(STEP_NAME, NAME, OPTIONS, RUN)                                   \
    [LIBSPAWN__EXEC_##STEP_NAME] = { NAME, OPTIONS, RUN }
    STEP(SESSION, "session", 0, begin_session),
    STEP(SIGNALS, "signals", 0, reset_signals),
    STEP(NAMESPACES, "namespaces", LIBSPAWN__PLAN_NAMESPACES,
         libspawn__exec_enter_namespaces),
    STEP(MOUNTS, "mounts", LIBSPAWN__PLAN_NAMESPACES,
         libspawn__exec_detach_mounts),
    STEP(DESCRIPTORS, "descriptors", 0, libspawn__exec_move_fds),
    STEP(OOM_SCORE_ADJ, "oom_score_adj", LIBSPAWN__PLAN_OOM_SCORE_ADJ,
         libspawn__exec_set_oom_score_adj),
    STEP(LIMITS, "limits", LIBSPAWN__PLAN_LIMITS, libspawn__exec_set_limits),
    STEP(NICE, "nice", LIBSPAWN__PLAN_NICE, libspawn__exec_set_nice),
    STEP(SCHEDULER, "scheduler", LIBSPAWN__PLAN_SCHEDULER,
         libspawn__exec_set_scheduler),
    STEP(IO_PRIORITY, "io-priority", LIBSPAWN__PLAN_IO_PRIORITY,
         libspawn__exec_set_io_priority),
    STEP(UMASK, "umask", LIBSPAWN__PLAN_UMASK, libspawn__exec_set_umask),
    STEP(BOUNDING_SET, "bounding-set", LIBSPAWN__PLAN_CAPABILITIES,
         libspawn__exec_reduce_bounding_set),
    STEP(SECUREBITS, "securebits", LIBSPAWN__PLAN_SECUREBITS,
         libspawn__exec_set_securebits),
    STEP(CHROOT, "chroot", LIBSPAWN__PLAN_CHROOT,
         libspawn__exec_change_root),
    STEP(GROUPS, "groups", LIBSPAWN__PLAN_GROUPS, libspawn__exec_set_groups),
    STEP(GROUP, "group", LIBSPAWN__PLAN_GROUP, libspawn__exec_set_group),
    STEP(USER, "user", LIBSPAWN__PLAN_USER, libspawn__exec_set_user),
    STEP(CAPABILITIES, "capabilities", LIBSPAWN__PLAN_CAPABILITIES,
         libspawn__exec_set_capabilities),
    STEP(DIRECTORY, "directory", 0, libspawn__exec_change_directory),
    STEP(NO_NEW_PRIVS, "no-new-privs",
         LIBSPAWN__PLAN_NO_NEW_PRIVS | LIBSPAWN__PLAN_LANDLOCK,
         libspawn__exec_set_no_new_privs),
    STEP(LANDLOCK, "landlock", LIBSPAWN__PLAN_LANDLOCK,
         libspawn__exec_confine),
    STEP(CGROUP, "cgroup", 0, NULL),
    STEP(HOLD, "hold", 0, wait_for_release),
    STEP(PROGRAM, "exec", 0, execute),
#undef STEP
};

const char *
libspawn__exec_step_name(unsigned int step)
{
    return step < ARRAY_SIZE(steps) ? steps[step].name : "unknown";
}

static const char *
path_for_landlock(const struct libspawn_plan *plan, size_t item)
{
    const struct libspawn__strv *read_paths = &plan->read_paths;
    const struct libspawn__strv *write_paths = &plan->write_paths;

    if (item < read_paths->n_items) {
        return read_paths->items[item];
    }
    item -= read_paths->n_items;
    return item < write_paths->n_items ? write_paths->items[item] : NULL;
}

const char *
libspawn__exec_result_object(const struct libspawn_plan *plan,
                             const struct libspawn__exec_result *result)
{
    const char *object = NULL;

    if (result->step == LIBSPAWN__EXEC_LIMITS) {
        object = libspawn__exec_limit_name(result->item);
    } else if (result->step == LIBSPAWN__EXEC_CHROOT) {
        object = plan->chroot;
    } else if (result->step == LIBSPAWN__EXEC_DIRECTORY) {
        object = plan->directory;
    } else if (result->step == LIBSPAWN__EXEC_LANDLOCK) {
        object = path_for_landlock(plan, result->item);
    } else if (result->step == LIBSPAWN__EXEC_CGROUP) {
        object = plan->cgroup;
    }
    return object ? object : "";
}

static bool
is_wanted(const struct libspawn__exec *exec, unsigned int step)
{
    uint64_t options = steps[step].options;

    return steps[step].run && (!options || options & exec->plan->options);
}

void
libspawn__exec_child(struct libspawn__exec *exec)
{
    struct libspawn__exec_result result = { 0 };
    unsigned int step;

    close(exec->hold_fds[1]);
    for (step = 0; step < LIBSPAWN__EXEC_PROGRAM; step++) {
        if (is_wanted(exec, step) && steps[step].run(exec) < 0) {
            break;
        }
    }
    if (step == LIBSPAWN__EXEC_PROGRAM) {
        steps[step].run(exec); /* comes back only on failure */
    }
    result.step = step;
    result.sys_errno = errno;
    result.item = exec->item;
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

void
libspawn__exec_cancel(struct libspawn__exec *exec)
{
    close_fd(&exec->hold_fds[1]);
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
