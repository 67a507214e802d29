/*
 * The steps of a child, by the file that they are in.  For exec.c, which runs
 * them in order; each returns 0, or -1 and errno.
 */
#ifndef LIBSPAWN_PROC_EXEC_STEPS_H
#define LIBSPAWN_PROC_EXEC_STEPS_H

#include "proc/exec.h"

/* exec_fds.c */
int libspawn__exec_move_fds(struct libspawn__exec *exec);

/* exec_place.c */
void libspawn__exec_prepare_place(struct libspawn__exec *exec);
int libspawn__exec_enter_namespaces(struct libspawn__exec *exec);
int libspawn__exec_detach_mounts(struct libspawn__exec *exec);
int libspawn__exec_change_root(struct libspawn__exec *exec);
int libspawn__exec_change_directory(struct libspawn__exec *exec);

/* exec_limits.c */
void libspawn__exec_prepare_limits(struct libspawn__exec *exec);
const char *libspawn__exec_limit_name(uint32_t resource); /* or NULL */
int libspawn__exec_set_limits(struct libspawn__exec *exec);
int libspawn__exec_set_oom_score_adj(struct libspawn__exec *exec);
int libspawn__exec_set_nice(struct libspawn__exec *exec);
int libspawn__exec_set_scheduler(struct libspawn__exec *exec);
int libspawn__exec_set_io_priority(struct libspawn__exec *exec);
int libspawn__exec_set_umask(struct libspawn__exec *exec);

/* exec_rights.c */
int libspawn__exec_reduce_bounding_set(struct libspawn__exec *exec);
int libspawn__exec_set_securebits(struct libspawn__exec *exec);
int libspawn__exec_set_groups(struct libspawn__exec *exec);
int libspawn__exec_set_group(struct libspawn__exec *exec);
int libspawn__exec_set_user(struct libspawn__exec *exec);
int libspawn__exec_set_capabilities(struct libspawn__exec *exec);
int libspawn__exec_set_no_new_privs(struct libspawn__exec *exec);

/* exec_landlock.c */
int libspawn__exec_confine(struct libspawn__exec *exec);

#endif
