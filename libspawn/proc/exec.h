/*
 * From fork to exec: the only code that runs in between, in the child of
 * spawn-watcher, with async-signal-safe calls alone.  Everything it needs is
 * prepared before the fork.
 *
 *     parent                              child
 *     libspawn__exec_prepare
 *     libspawn__exec_fork                 libspawn__exec_child:
 *       record the pid                      its steps, in order
 *     libspawn__exec_place
 *     libspawn__exec_release  ---------->   (held until now)
 *                                           exec
 *     libspawn__exec_read_result <--------   end of file, or the reason
 *
 * When the parent dies first, the held child reads the end of the file and
 * exits without having run anything.
 *
 *   exec.c           order, hold and release, result
 *   exec_fds.c       descriptors
 *   exec_place.c     fork; namespaces, cgroup, directories
 *   exec_limits.c    limits and priorities
 *   exec_rights.c    user, groups, capabilities
 *   exec_landlock.c  paths
 *   exec_spawn.c     the same in place of posix_spawn(3)
 *
 * The child calls the kernel directly where glibc would first look after its
 * threads: a fork by clone3(2) leaves it with a wrong idea of them.
 */
#ifndef LIBSPAWN_PROC_EXEC_H
#define LIBSPAWN_PROC_EXEC_H

#include "base/err.h"
#include "proc/plan.h"

/* What the child does, in this order; each has a name for the report. */
enum libspawn__exec_step {
    LIBSPAWN__EXEC_SESSION,
    LIBSPAWN__EXEC_SIGNALS,
    LIBSPAWN__EXEC_NAMESPACES,
    LIBSPAWN__EXEC_MOUNTS,
    LIBSPAWN__EXEC_DESCRIPTORS, /* needs /dev/null of the host */
    LIBSPAWN__EXEC_OOM_SCORE_ADJ, /* needs /proc of the host */
    LIBSPAWN__EXEC_LIMITS, /* after those who open, before those they allow */
    LIBSPAWN__EXEC_NICE,
    LIBSPAWN__EXEC_SCHEDULER,
    LIBSPAWN__EXEC_IO_PRIORITY,
    LIBSPAWN__EXEC_UMASK,
    LIBSPAWN__EXEC_BOUNDING_SET,
    LIBSPAWN__EXEC_SECUREBITS,
    LIBSPAWN__EXEC_CHROOT,
    LIBSPAWN__EXEC_GROUPS,
    LIBSPAWN__EXEC_GROUP,
    LIBSPAWN__EXEC_USER,
    LIBSPAWN__EXEC_CAPABILITIES, /* from here on without other rights */
    LIBSPAWN__EXEC_DIRECTORY,
    LIBSPAWN__EXEC_NO_NEW_PRIVS,
    LIBSPAWN__EXEC_LANDLOCK,
    LIBSPAWN__EXEC_CGROUP, /* the parent does it meanwhile */
    LIBSPAWN__EXEC_HOLD,
    LIBSPAWN__EXEC_PROGRAM
};

const char *libspawn__exec_step_name(unsigned int step);

struct libspawn__exec {
    const struct libspawn_plan *plan;
    int output_fd; /* becomes 1 and 2 unless the plan says otherwise */
    int notify_fd; /* becomes the plan's notify_fd; -1: none */

    int hold_fds[2];   /* the child waits for a byte from here */
    int result_fds[2]; /* it reports here; closed by a successful exec */

    int cgroup_fd;            /* its directory; -1: none, or not opened */
    int cgroup_errno;         /* why not */
    bool is_in_cgroup;        /* born there */
    unsigned long namespaces; /* CLONE_NEW..., still to be unshared */
    int pid_namespace_errno;  /* why it was not born in a new one */
    char oom_score_adj[12];   /* decimal */

    uint32_t item; /* in the child: which of a list the step is at */
};

/* What a child that could not exec reports. */
struct libspawn__exec_result {
    uint32_t step; /* enum libspawn__exec_step */
    int32_t sys_errno;
    uint32_t item; /* of the limits or the paths for Landlock */
};

/* What the step was about: a path, the name of a limit; "" when the name of
 * the step says it all. */
const char *
libspawn__exec_result_object(const struct libspawn_plan *plan,
                             const struct libspawn__exec_result *result);

/* Opens the two pipes and the cgroup.  'plan', 'output_fd' and 'notify_fd'
 * are borrowed. */
int libspawn__exec_prepare(struct libspawn__exec *exec,
                           const struct libspawn_plan *plan, int output_fd,
                           int notify_fd, struct libspawn_err *err);
void libspawn__exec_dispose(struct libspawn__exec *exec);

/* Forks the child, where the kernel can in its namespaces and cgroup from
 * birth, and closes its ends in the parent. */
int libspawn__exec_fork(struct libspawn__exec *exec, pid_t *pid_r,
                        struct libspawn_err *err);

/* In the parent, while the child is held: moves it into its cgroup unless it
 * was born there.  Returns 0 or an errno, that of LIBSPAWN__EXEC_CGROUP. */
int libspawn__exec_place(struct libspawn__exec *exec, pid_t pid);

/* In the child; does not return. */
__attribute__((noreturn)) void
libspawn__exec_child(struct libspawn__exec *exec);

/* Every signal at its default and none blocked: handlers do not survive exec,
 * but a signal that is ignored stays ignored, and so does the mask. */
int libspawn__exec_reset_signals(void);

/* In the parent, after the fork: closes the child's ends. */
void libspawn__exec_in_parent(struct libspawn__exec *exec);

/* Lets the held child end without having run anything. */
void libspawn__exec_cancel(struct libspawn__exec *exec);

/* Lets the child go on. */
int libspawn__exec_release(struct libspawn__exec *exec,
                           struct libspawn_err *err);

/* As posix_spawn(3) of a program with descriptor 'fd' as its 3, /dev/null as 0
 * to 2, no others, no environment, and a session of its own; by fork(2), for
 * where clone3(2) is refused.  Returns 0 or an errno. */
int libspawn__exec_spawn(const char *path, char *const argv[], int fd,
                         pid_t *pid_r);

/* Once result_fds[0] is readable: 1 and the result when the child could not
 * exec; 0 at the end of file, which means that it did, or that it died. */
int libspawn__exec_read_result(struct libspawn__exec *exec,
                               struct libspawn__exec_result *result_r);

#endif
