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

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct libspawn__pidfile {
    char *path; /* NULL: we have none */
    int fd;
    bool was_left; /* the one before died without removing it */
};

#define LIBSPAWN__PIDFILE_INIT                                                \
    {                                                                         \
        .fd = -1                                                              \
    }

/* LIBSPAWN_ERR_BUSY, with the pid in the sentence, when another process has
 * it; *owner_r (may be NULL) becomes that pid, 0 when it is not known. */
int libspawn__pidfile_take(struct libspawn__pidfile *pidfile, const char *path,
                           pid_t *owner_r, struct libspawn_err *err);

/* Goes on with one that was taken before this process executed the program
 * that it is now; 'fd', which is locked still, becomes its own. */
int libspawn__pidfile_resume(struct libspawn__pidfile *pidfile,
                             const char *path, int fd,
                             struct libspawn_err *err);

/* Removes it, and gives it up. */
void libspawn__pidfile_remove(struct libspawn__pidfile *pidfile);

/* Removes one whose owner died, and the socket that it left at 'beside' (NULL:
 * none), on which nobody listens; LIBSPAWN_ERR_BUSY when it lives. */
int libspawn__pidfile_tidy(const char *path, const char *beside,
                           struct libspawn_err *err);

/* The pid of whoever has it locked now, 0 when it is not known ('pid_r' may be
 * NULL); LIBSPAWN_ERR_NOT_FOUND when nobody has. */
int libspawn__pidfile_owner(const char *path, pid_t *pid_r,
                            struct libspawn_err *err);

#endif
