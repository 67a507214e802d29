/*
 * System calls that glibc has a function for and musl 1.2.3, with which
 * spawn-watcher is built where it is installed (mk/flags.mk), has not.  Under
 * names of our own, because a later musl may have theirs.
 */
#ifndef LIBSPAWN_BASE_COMPAT_H
#define LIBSPAWN_BASE_COMPAT_H

#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's numbers; its header, linux/fs.h, does not go together with
 * sys/mount.h. */
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1U << 0)
#define RENAME_EXCHANGE (1U << 1)
#endif

static inline int
libspawn__renameat2(int from_fd, const char *from, int to_fd, const char *to,
                    unsigned int flags)
{
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

static inline int
libspawn__execveat(int dir_fd, const char *path, char *const argv[],
                   char *const envp[], int flags)
{
    return (int)syscall(SYS_execveat, dir_fd, path, argv, envp, flags);
}

#endif
