/*
 * Locals that own: released when they go out of scope, so that an early
 * return leaks nothing.  Hand over with TAKE_PTR or TAKE_FD.  The cleanups
 * preserve errno.
 *
 *     AUTO_FREE char *path = libspawn__str_format("%s/%s", dir, name);
 *     AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
 */
#ifndef LIBSPAWN_BASE_AUTO_H
#define LIBSPAWN_BASE_AUTO_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void
libspawn__auto_free(void *pointer)
{
    int saved_errno = errno;

    free(*(void **)pointer);
    errno = saved_errno;
}

static inline void
libspawn__auto_close(int *fd)
{
    int saved_errno = errno;

    if (*fd >= 0) {
        close(*fd);
    }
    errno = saved_errno;
}

static inline void
libspawn__auto_closedir(DIR **dir)
{
    int saved_errno = errno;

    if (*dir) {
        closedir(*dir);
    }
    errno = saved_errno;
}

static inline void
libspawn__auto_fclose(FILE **file)
{
    int saved_errno = errno;

    if (*file) {
        fclose(*file);
    }
    errno = saved_errno;
}

#define AUTO(CLEANUP) __attribute__((cleanup(CLEANUP)))
#define AUTO_FREE AUTO(libspawn__auto_free)
#define AUTO_FD AUTO(libspawn__auto_close)
#define AUTO_DIR AUTO(libspawn__auto_closedir)
#define AUTO_FILE AUTO(libspawn__auto_fclose)

/* The value, leaving the owner empty. */
#define TAKE_PTR(POINTER)                                                     \
    ({                                                                        \
        __typeof__(POINTER) taken_ = (POINTER);                               \
        (POINTER) = NULL;                                                     \
        taken_;                                                               \
    })
#define TAKE_FD(FD)                                                           \
    ({                                                                        \
        int taken_ = (FD);                                                    \
        (FD) = -1;                                                            \
        taken_;                                                               \
    })

#endif
