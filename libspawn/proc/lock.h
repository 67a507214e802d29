/*
 * Lock files: long-lived, never unlinked, and their content says nothing.
 * The lock belongs to the open descriptor (F_OFD_SETLKW, fcntl(2)), so closing
 * another descriptor of the file, or forking, does not lose it, and it ends
 * with the process.  It excludes the classic F_SETLK locks of scripts too.
 */
#ifndef LIBSPAWN_PROC_LOCK_H
#define LIBSPAWN_PROC_LOCK_H

#include "base/auto.h"
#include "base/err.h"

/* Waits in the kernel until it has the lock.  *fd_r holds it until closed. */
int libspawn__lock_take(const char *path, int *fd_r, struct libspawn_err *err);

/* LIBSPAWN_ERR_BUSY instead of waiting. */
int libspawn__lock_try(const char *path, int *fd_r, struct libspawn_err *err);

/* The same for a file that is open for writing; it is locked until all copies
 * of 'fd' are closed. */
int libspawn__lock_try_fd(int fd, struct libspawn_err *err);

#endif
