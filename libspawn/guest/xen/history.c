/*
 * The lock is the stock tools': flock(2) on a file beside, which whoever
 * leaves unlinks first.  So a holder has it only if the file at that path
 * still is the one that was locked.
 */
#include "guest/xen/history.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

enum {
    REUSE_SECONDS = 60,
    FILE_MAX = 1024 * 1024
};

struct lock {
    char *path;
    int fd;
};

static void
leave(struct lock *lock)
{
    if (lock->fd >= 0) {
        unlink(lock->path); /* before the close: see above */
        close(lock->fd);
    }
    free(lock->path);
}

static bool
is_same_file(int fd, const char *path)
{
    struct stat mine;
    struct stat there;

    return fstat(fd, &mine) == 0 && stat(path, &there) == 0 &&
           mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

static int
enter(const char *dir, struct lock *lock, struct libspawn_err *err)
{
    lock->path = libspawn__str_format("%s/domid-history.lock", dir);
    if (!lock->path) {
        return libspawn__fail_nomem(err);
    }
    for (;;) {
        AUTO_FD int fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

        if (fd < 0) {
            return libspawn__fail_errno(err, errno, "opening '%s'",
                                        lock->path);
        }
        while (flock(fd, LOCK_EX) < 0) {
            if (errno != EINTR) {
                return libspawn__fail_errno(err, errno, "locking '%s'",
                                            lock->path);
            }
        }
        if (is_same_file(fd, lock->path)) {
            lock->fd = TAKE_FD(fd);
            return 0;
        }
    }
}

static int
read_history(const char *path, char **text_r, struct libspawn_err *err)
{
    int rc = libspawn__file_read(path, FILE_MAX, text_r, NULL, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        *text_r = strdup("");
        return *text_r ? 0 : libspawn__fail_nomem(err);
    }
    return rc;
}

/* Takes the next entry that still counts; false at the end. */
static bool
next_recent(const char **text, int64_t now, int64_t *seconds_r,
            uint32_t *domid_r)
{
    while (**text) {
        const char *line = *text;
        size_t len = strcspn(line, "\n");

        *text += len + (line[len] ? 1 : 0);
        if (sscanf(line, "%" SCNd64 " %" SCNu32, seconds_r, domid_r) == 2 &&
            now - *seconds_r <= REUSE_SECONDS) {
            return true;
        }
    }
    return false;
}

int
libspawn__xen_history_has(const char *dir, uint32_t domid, bool *has_r,
                          struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__str_format("%s/domid-history", dir);
    AUTO_FREE char *text = NULL;
    int64_t now = libspawn__clock_now_ms() / 1000;
    const char *at;
    int64_t seconds;
    uint32_t one;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = read_history(path, &text, err);
    if (rc) {
        return rc;
    }
    *has_r = false;
    for (at = text; next_recent(&at, now, &seconds, &one);) {
        if (one == domid) {
            *has_r = true;
        }
    }
    return 0;
}

int
libspawn__xen_history_add(const char *dir, uint32_t domid,
                          struct libspawn_err *err)
{
    AUTO(leave) struct lock lock = { .fd = -1 };
    AUTO_FREE char *path = libspawn__str_format("%s/domid-history", dir);
    AUTO_FREE char *text = NULL;
    AUTO_BUF struct libspawn__buf buf = { 0 };
    int64_t now = libspawn__clock_now_ms() / 1000;
    const char *at;
    int64_t seconds;
    uint32_t one;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = enter(dir, &lock, err);
    if (!rc) {
        rc = read_history(path, &text, err);
    }
    if (rc) {
        return rc;
    }
    for (at = text; next_recent(&at, now, &seconds, &one);) {
        libspawn__buf_printf(&buf, "%" PRId64 " %" PRIu32 "\n", seconds, one);
    }
    libspawn__buf_printf(&buf, "%" PRId64 " %" PRIu32 "\n", now, domid);
    if (buf.failed) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__file_replace(path, buf.data, buf.size, 0644, err);
}
