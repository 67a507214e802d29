#include "proc/pidfile.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "base/str.h"
#include "proc/lock.h"
#include "wire/stream.h"

/* Each try ends by our having it, or by another's having done a step. */
enum {
    TRIES = 100
};

/* F_GETLK tells of who holds a lock by descriptor (F_OFD_SETLK) only that
 * there is one, so the number comes from the content.  0: there is none. */
static pid_t
read_pid(int fd)
{
    char text[64];
    ssize_t n = pread(fd, text, sizeof text, 0);
    uint64_t pid = 0;

    if (n > 0 && text[n - 1] == '\n') {
        text[n - 1] = '\0';
        libspawn__str_to_u64(text, 1, INT32_MAX, &pid, NULL);
    }
    return (pid_t)pid;
}

static bool
is_at(int fd, const char *path)
{
    struct stat ours;
    struct stat there;

    return !fstat(fd, &ours) && !stat(path, &there) &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* ---- Taking ------------------------------------------------------------ */

/* A file of another name, locked and complete. */
static int
make_new(const char *new_path, int *fd_r, struct libspawn_err *err)
{
    AUTO_FREE char *text = libspawn__str_format("%d\n", (int)getpid());
    AUTO_FD int fd = -1;
    int rc;
    int r;

    if (!text) {
        return libspawn__fail_nomem(err);
    }
    unlink(new_path); /* of a process that had our pid and died here */
    fd = open(new_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "making '%s'", new_path);
    }
    rc = libspawn__lock_try_fd(fd, err);
    r = rc ? 0 : libspawn__fd_write_full(fd, text, strlen(text));
    if (r) {
        rc = libspawn__fail_errno(err, -r, "writing '%s'", new_path);
    }
    if (rc) {
        unlink(new_path);
        return rc;
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

/* What a dead process left is removed, or replaced: its news, that it was
 * left, is then for whoever has the file, and for nobody else. */
struct stale {
    const char *path;
    const char *new_path; /* takes its place; NULL: nothing does */
    const char *beside;   /* a socket, removed with it; may be NULL */
    bool was_found;
};

/* Of one who died between making it and giving it its name.  Who makes one
 * has the pid file, so nobody does. */
static void
remove_unfinished(const char *socket)
{
    AUTO_FREE char *prefix =
        libspawn__str_format("%s" LIBSPAWN__STREAM_NEW, socket);
    const char *slash = strrchr(socket, '/');
    AUTO_FREE char *dir = slash ? strndup(socket, (size_t)(slash - socket) + 1)
                                : strdup("./");
    DIR *entries = prefix && dir ? opendir(dir) : NULL;
    struct dirent *entry;

    while (entries && (entry = readdir(entries))) {
        AUTO_FREE char *path =
            libspawn__str_format("%s%s", slash ? dir : "", entry->d_name);

        if (path && libspawn__str_has_prefix(path, prefix)) {
            libspawn__stream_remove_dead(path);
        }
    }
    if (entries) {
        closedir(entries);
    }
}

static int
deal_with(struct stale *stale, struct libspawn_err *err)
{
    if (stale->beside) {
        libspawn__stream_remove_dead(stale->beside);
        remove_unfinished(stale->beside);
    }
    if (stale->new_path && rename(stale->new_path, stale->path) < 0) {
        return libspawn__fail_errno(err, errno, "making '%s'", stale->path);
    }
    if (!stale->new_path) {
        unlink(stale->path);
    }
    stale->was_found = true;
    return 0;
}

/* Whoever holds the lock of the file at the path is alone with it.  One who
 * removes it holds it for a moment, with the number of who died in it. */
static int
take_stale(struct stale *stale, pid_t *owner_r, struct libspawn_err *err)
{
    const char *path = stale->path;
    AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    int rc;

    if (fd < 0) {
        return errno == ENOENT
                   ? 0
                   : libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    rc = libspawn__lock_try_fd(fd, err);
    if (rc == LIBSPAWN_ERR_BUSY) {
        AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
        pid_t pid = read_pid(fd);

        if (pid &&
            libspawn__pidref_from_pid(pid, &ref, NULL) == LIBSPAWN_ERR_GONE) {
            return 0; /* it is just ending, and its lock with it */
        }
        if (owner_r) {
            *owner_r = pid;
        }
        return libspawn__fail(err, rc, "it runs already, as process %d",
                              (int)pid);
    }
    return !rc && is_at(fd, path) ? deal_with(stale, err) : rc;
}

/* Once. */
static int
try_to_take(const char *new_path, const char *path, pid_t *owner_r,
            bool *was_left_r, bool *is_taken_r, struct libspawn_err *err)
{
    struct stale stale = { .path = path, .new_path = new_path };
    int rc;

    if (!link(new_path, path)) {
        unlink(new_path);
        *is_taken_r = true;
        return 0;
    }
    if (errno != EEXIST) {
        return libspawn__fail_errno(err, errno, "making '%s'", path);
    }
    rc = take_stale(&stale, owner_r, err);
    *was_left_r = *is_taken_r = stale.was_found;
    return rc;
}

int
libspawn__pidfile_take(struct libspawn__pidfile *pidfile, const char *path,
                       pid_t *owner_r, struct libspawn_err *err)
{
    AUTO_FREE char *new_path =
        libspawn__str_format("%s.new-%d", path, (int)getpid());
    AUTO_FREE char *path_copy = strdup(path);
    AUTO_FD int fd = -1;
    bool is_taken = false;
    int tries;
    int rc;

    if (!new_path || !path_copy) {
        return libspawn__fail_nomem(err);
    }
    rc = make_new(new_path, &fd, err);
    for (tries = 0; !rc && !is_taken && tries < TRIES; tries++) {
        rc = try_to_take(new_path, path, owner_r, &pidfile->was_left,
                         &is_taken, err);
    }
    if (is_taken) {
        pidfile->path = TAKE_PTR(path_copy);
        pidfile->fd = TAKE_FD(fd);
        return 0;
    }
    if (fd >= 0) {
        unlink(new_path);
    }
    return rc ? rc
              : libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                               "'%s' changes all the time", path);
}

void
libspawn__pidfile_remove(struct libspawn__pidfile *pidfile)
{
    if (pidfile->path && is_at(pidfile->fd, pidfile->path)) {
        unlink(pidfile->path);
    }
    free(pidfile->path);
    pidfile->path = NULL;
    libspawn__auto_close(&pidfile->fd);
    pidfile->fd = -1;
}

int
libspawn__pidfile_tidy(const char *path, const char *beside,
                       struct libspawn_err *err)
{
    struct stale stale = { .path = path, .beside = beside };

    return take_stale(&stale, NULL, err);
}

int
libspawn__pidfile_resume(struct libspawn__pidfile *pidfile, const char *path,
                         int fd, struct libspawn_err *err)
{
    pidfile->path = strdup(path);
    pidfile->fd = fd;
    return pidfile->path ? 0 : libspawn__fail_nomem(err);
}

/* ---- Looking ----------------------------------------------------------- */

int
libspawn__pidfile_owner(const char *path, pid_t *pid_r,
                        struct libspawn_err *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) {
        return libspawn__fail_errno(err, errno, "looking at the lock of '%s'",
                                    path);
    }
    if (lock.l_type == F_UNLCK) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "nobody has '%s' locked", path);
    }
    if (pid_r) {
        *pid_r = read_pid(fd);
    }
    return 0;
}
