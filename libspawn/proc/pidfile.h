/*
 * A pid file that is also a lock: whoever has it locked is the one daemon of
 * that name, for as long as it lives.
 *
 * It appears in one step, locked and complete, so nobody ever reads an empty
 * or an unlocked one.  Its content tells people the pid; only the lock
 * decides.  One whose owner died is replaced by who locks it next; its owner
 * removes it, while it is still locked.
 */
#ifndef LIBSPAWN_PROC_PIDFILE_H
#define LIBSPAWN_PROC_PIDFILE_H

#include <sys/types.h>

#include "base/err.h"

struct libspawn__pidfile {
    char *path; /* NULL: we have none */
    int fd;
};

#define LIBSPAWN__PIDFILE_INIT                                                \
    {                                                                         \
        .fd = -1                                                              \
    }

/* LIBSPAWN_ERR_BUSY, with the pid in the sentence, when another process has
 * it; *owner_r (may be NULL) becomes that pid, 0 when it is not known. */
int libspawn__pidfile_take(struct libspawn__pidfile *pidfile, const char *path,
                           pid_t *owner_r, struct libspawn_err *err);

/* Removes it, and gives it up. */
void libspawn__pidfile_remove(struct libspawn__pidfile *pidfile);

/* The pid of whoever has it locked now; LIBSPAWN_ERR_NOT_FOUND when nobody
 * has. */
int libspawn__pidfile_owner(const char *path, pid_t *pid_r,
                            struct libspawn_err *err);

#endif
