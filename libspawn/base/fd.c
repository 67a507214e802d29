#include "base/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/str.h"
#include "base/util.h"

/* linux/close_range.h; glibc 2.36 has it, older headers do not. */
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

ssize_t
libspawn__fd_read_full(int fd, void *buffer, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = read(fd, (char *)buffer + done, size - done);

        if (n > 0) {
            done += (size_t)n;
        } else if (!n) {
            break;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return (ssize_t)done;
}

int
libspawn__fd_write_full(int fd, const void *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);

        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int
libspawn__fd_seal(int memfd)
{
    return fcntl(memfd, F_ADD_SEALS,
                 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0
               ? -errno
               : 0;
}

int
libspawn__fd_set_nonblocking(int fd, bool nonblocking,
                             struct libspawn_err *err)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0) {
        flags = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        flags = fcntl(fd, F_SETFL, flags);
    }
    if (flags < 0) {
        return libspawn__fail_errno(err, errno,
                                    "setting flags of descriptor %d", fd);
    }
    return 0;
}

/* ---- All descriptors --------------------------------------------------- */

/* -1 for what is no number: "." and "..". */
static int
parse_fd(const char *name)
{
    int fd = 0;

    for (; *name; name++) {
        if (*name < '0' || *name > '9') {
            return -1;
        }
        fd = fd * 10 + (*name - '0');
    }
    return fd;
}

static void
apply_to_fd(int fd, bool closes)
{
    if (closes) {
        close(fd);
    } else {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
}

/* As readdir(3) does, which needs memory: that may be locked after a fork. */
static int
apply_to_open_fds(int first, bool closes)
{
    char entries[2048] __attribute__((aligned(__alignof__(struct dirent64))));
    int dir_fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool has_closed = true;
    long n = 0;

    if (dir_fd < 0) {
        return -1;
    }
    /* Once more after each round that closed some: what is closed while the
     * directory is read may hide another. */
    while (has_closed) {
        has_closed = false;
        lseek(dir_fd, 0, SEEK_SET);
        while ((n = syscall(SYS_getdents64, dir_fd, entries,
                            sizeof entries)) > 0) {
            const struct dirent64 *entry;
            long at;

            for (at = 0; at < n; at += entry->d_reclen) {
                int fd;

                entry = (const void *)(entries + at);
                fd = parse_fd(entry->d_name);
                if (fd >= first && fd != dir_fd) {
                    apply_to_fd(fd, closes);
                    has_closed = closes;
                }
            }
        }
    }
    close(dir_fd);
    return n < 0 ? -1 : 0;
}

int
libspawn__fd_close_from(int first)
{
    return syscall(SYS_close_range, first, UINT_MAX, 0) < 0
               ? apply_to_open_fds(first, true)
               : 0;
}

int
libspawn__fd_cloexec_from(int first)
{
    return syscall(SYS_close_range, first, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0
               ? apply_to_open_fds(first, false)
               : 0;
}

int
libspawn__file_read(const char *path, size_t max_size, char **text_r,
                    size_t *size_r, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    /* Not to hang on a FIFO that nobody writes to. */
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t size;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    while (buf.size <= max_size) {
        size_t wanted = MIN(max_size + 1 - buf.size, (size_t)65536);
        ssize_t n;

        if (!libspawn__buf_reserve(&buf, wanted)) {
            return libspawn__fail_nomem(err);
        }
        n = libspawn__fd_read_full(fd, buf.data + buf.size, wanted);
        if (n < 0) {
            return libspawn__fail_errno(err, (int)-n, "reading '%s'", path);
        }
        buf.size += (size_t)n;
        if (n < (ssize_t)wanted) {
            break;
        }
    }
    if (buf.size > max_size) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "'%s' is larger than %zu bytes", path, max_size);
    }
    size = buf.size;
    *text_r = libspawn__buf_take(&buf);
    if (!*text_r) {
        return libspawn__fail_nomem(err);
    }
    if (size_r) {
        *size_r = size;
    }
    return 0;
}

int
libspawn__file_replace(const char *path, const void *bytes, size_t size,
                       mode_t mode, struct libspawn_err *err)
{
    AUTO_FREE char *temporary = libspawn__str_format("%s.tmp-XXXXXX", path);
    AUTO_FD int fd = -1;
    int r;

    if (!temporary) {
        return libspawn__fail_nomem(err);
    }
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "writing '%s'", path);
    }
    r = libspawn__fd_write_full(fd, bytes, size);
    if (!r && fchmod(fd, mode) < 0) {
        r = -errno;
    }
    if (!r && rename(temporary, path) < 0) {
        r = -errno;
    }
    if (r) {
        unlink(temporary);
        return libspawn__fail_errno(err, -r, "writing '%s'", path);
    }
    return 0;
}

int
libspawn__dir_make(const char *path, mode_t mode, struct libspawn_err *err)
{
    AUTO_FREE char *copy = strdup(path);
    char *slash;

    if (!copy) {
        return libspawn__fail_nomem(err);
    }
    for (slash = strchr(copy + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST && errno != EROFS) {
            return libspawn__fail_errno(err, errno, "making directory '%s'",
                                        copy);
        }
        *slash = '/';
    }
    if (mkdir(copy, mode) < 0 && errno != EEXIST) {
        return libspawn__fail_errno(err, errno, "making directory '%s'", path);
    }
    return 0;
}

static int
remove_entry(const char *path, const struct stat *st, int type,
             struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int
libspawn__dir_remove_tree(const char *path, struct libspawn_err *err)
{
    enum {
        MAX_OPEN_DIRECTORIES = 16
    };

    if (nftw(path, remove_entry, MAX_OPEN_DIRECTORIES,
             FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 &&
        errno != ENOENT) {
        return libspawn__fail_errno(err, errno, "removing '%s'", path);
    }
    return 0;
}
