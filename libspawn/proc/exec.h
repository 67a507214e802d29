/*
 * From fork to exec: the only code that runs in between, in the child of
 * spawn-watcher, with async-signal-safe calls alone.  Everything it needs is
 * prepared before the fork.
 *
 *     parent                              child
 *     libspawn__exec_prepare
 *     fork                                libspawn__exec_child:
 *       record the pid                      session, signals, directory,
 *                                           descriptors
 *     libspawn__exec_release  ---------->   (held until now)
 *                                           exec
 *     libspawn__exec_result   <----------   end of file, or (step, errno)
 *
 * When the parent dies first, the held child reads the end of the file and
 * exits without having run anything.
 */
#ifndef LIBSPAWN_PROC_EXEC_H
#define LIBSPAWN_PROC_EXEC_H

#include "base/err.h"
#include "proc/plan.h"

/* What the child does, in this order; each has a name for the report. */
enum libspawn__exec_step {
    LIBSPAWN__EXEC_SESSION,
    LIBSPAWN__EXEC_SIGNALS,
    LIBSPAWN__EXEC_DIRECTORY,
    LIBSPAWN__EXEC_DESCRIPTORS,
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
};

/* What a child that could not exec reports. */
struct libspawn__exec_result {
    uint32_t step; /* enum libspawn__exec_step */
    int32_t sys_errno;
};

/* Opens the two pipes.  'plan', 'output_fd' and 'notify_fd' are borrowed. */
int libspawn__exec_prepare(struct libspawn__exec *exec,
                           const struct libspawn_plan *plan, int output_fd,
                           int notify_fd, struct libspawn_err *err);
void libspawn__exec_dispose(struct libspawn__exec *exec);

/* In the child; does not return. */
__attribute__((noreturn)) void
libspawn__exec_child(struct libspawn__exec *exec);

/* Every signal at its default and none blocked: handlers do not survive exec,
 * but a signal that is ignored stays ignored, and so does the mask. */
int libspawn__exec_reset_signals(void);

/* In the parent, after the fork: closes the child's ends. */
void libspawn__exec_in_parent(struct libspawn__exec *exec);

/* Lets the child go on. */
int libspawn__exec_release(struct libspawn__exec *exec,
                           struct libspawn_err *err);

/* Once result_fds[0] is readable: 1 and the result when the child could not
 * exec; 0 at the end of file, which means that it did, or that it died. */
int libspawn__exec_read_result(struct libspawn__exec *exec,
                               struct libspawn__exec_result *result_r);

#endif
