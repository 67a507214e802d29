/*
 * Our own programs, such as watchers: where they are, and starting one.
 */
#ifndef LIBSPAWN_PROC_PROGRAM_H
#define LIBSPAWN_PROC_PROGRAM_H

#include <stdbool.h>

#include "base/err.h"

/* The path of the program 'name': beside the running one, so that a build
 * uses its own, else where it is installed.  LIBSPAWN_ERR_NOT_FOUND. */
int libspawn__program_find(const char *name, char **path_r,
                           struct libspawn_err *err);

/* Starts it by posix_spawn(3), in a session of its own, so that Ctrl-C at a
 * terminal does not end it; every signal at its default and none blocked.  Its
 * descriptors are 'fd' as 3; 0 to 2 are /dev/null or, with 'keep_output', 1
 * and 2 are the caller's; and no other, also none that the caller forgot to
 * mark close-on-exec.  Returns 0 and the pid, or an errno. */
int libspawn__program_spawn(const char *path, char *const argv[],
                            char *const envp[], int fd, bool keep_output,
                            pid_t *pid_r);

/* The error for what the above, or a hook in its place, returned. */
int libspawn__program_fail(struct libspawn_err *err, int sys_errno,
                           const char *path);

#endif
