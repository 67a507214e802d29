/*
 * File descriptors and small files.  Every descriptor made here is
 * close-on-exec from birth.
 */
#ifndef LIBSPAWN_BASE_FD_H
#define LIBSPAWN_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Reads until 'size' bytes, the end, or an error; EINTR is retried.  Returns
 * the number of bytes, or -errno. */
ssize_t libspawn__fd_read_full(int fd, void *buffer, size_t size);

/* Writes all of it; 0 or -errno. */
int libspawn__fd_write_full(int fd, const void *bytes, size_t size);

int libspawn__fd_set_nonblocking(int fd, bool nonblocking,
                                 struct libspawn_err *err);

/* Nobody can change the memory file (memfd_create(2)) any more; 0 or
 * -errno. */
int libspawn__fd_seal(int memfd);

/* Closes every descriptor from 'first' on, or marks them close-on-exec: by
 * close_range(2), or without it one after the other.  Async-signal-safe; 0 or
 * -1 and errno. */
int libspawn__fd_close_from(int first);
int libspawn__fd_cloexec_from(int first);

/* The content of a regular file of at most 'max_size' bytes as a new string
 * (NUL added, not counted in *size_r, which may be NULL).  A larger file is
 * LIBSPAWN_ERR_LIMIT, a directory LIBSPAWN_ERR_INVALID. */
int libspawn__file_read(const char *path, size_t max_size, char **text_r,
                        size_t *size_r, struct libspawn_err *err);

/* Replaces 'path' in one step: readers see the old content or the new, never
 * a part.  The temporary file is gone in every case. */
int libspawn__file_replace(const char *path, const void *bytes, size_t size,
                           mode_t mode, struct libspawn_err *err);

/* Makes the directory and its missing parents; existing ones are fine. */
int libspawn__dir_make(const char *path, mode_t mode,
                       struct libspawn_err *err);

/* Removes a tree without following symbolic links; a missing one is fine. */
int libspawn__dir_remove_tree(const char *path, struct libspawn_err *err);

#endif
