#include "proc/lock.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/lock_owner.h"

static const struct flock whole_file = { .l_type = F_WRLCK,
                                         .l_whence = SEEK_SET };

/* ---- What this process holds ------------------------------------------- */

/* The one thing that contexts of several threads share. */
static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct libspawn__list table = { &table, &table };

static void
add_to_table(struct libspawn__lock *lock)
{
    pthread_mutex_lock(&table_mutex);
    libspawn__list_append(&table, &lock->link);
    pthread_mutex_unlock(&table_mutex);
}

static void
remove_from_table(struct libspawn__lock *lock)
{
    pthread_mutex_lock(&table_mutex);
    libspawn__list_remove(&lock->link);
    pthread_mutex_unlock(&table_mutex);
}

typedef bool match_fn(const struct libspawn__lock *lock, const void *user);

/* A forked child has a copy of its parent's table, which is not about it. */
static bool
is_any_held(match_fn *match, const void *user)
{
    struct libspawn__list *link;
    pid_t self = getpid();
    bool found = false;

    pthread_mutex_lock(&table_mutex);
    LIST_FOR_EACH (link, &table) {
        const struct libspawn__lock *lock =
            CONTAINER_OF(link, struct libspawn__lock, link);

        found = found || (lock->pid == self && match(lock, user));
    }
    pthread_mutex_unlock(&table_mutex);
    return found;
}

static bool
is_same_file(const struct libspawn__lock *lock, const void *user)
{
    const struct stat *st = user;

    return lock->device == st->st_dev && lock->inode == st->st_ino;
}

static bool
is_same_file_here(const struct libspawn__lock *lock, const void *user)
{
    return lock->tid == gettid() && is_same_file(lock, user);
}

static bool
is_later_here(const struct libspawn__lock *lock, const void *user)
{
    const uint64_t *rank = user;

    return lock->tid == gettid() && lock->rank > *rank;
}

/* ---- Opening ----------------------------------------------------------- */

/* A link is followed, so that all names of a file are one lock; one that leads
 * nowhere makes the file, in one call that cannot go round in circles. */
int
libspawn__lock_open(const char *path, int *fd_r, struct libspawn_err *err)
{
    AUTO_FD int fd =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return libspawn__fail_errno(err, errno, "opening the lock file '%s'",
                                    path);
    }
    if (!S_ISREG(st.st_mode)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the lock file '%s' is not a regular file",
                              path);
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

/* Whether 'path' still leads to the file with this device and inode. */
static bool
is_current(const char *path, dev_t device, ino_t inode)
{
    struct stat st;

    return !stat(path, &st) && st.st_dev == device && st.st_ino == inode;
}

/* ---- Trying ------------------------------------------------------------ */

static int
fail_deadlock(const struct libspawn__lock_request *request, const char *why,
              struct libspawn_err *err)
{
    int rc = libspawn__fail(err, LIBSPAWN_ERR_BUSY, "%s is %s", request->name,
                            why);

    if (err) {
        err->sys_errno = EDEADLK;
    }
    return rc;
}

static int
fail_own(const struct libspawn__lock_request *request,
         struct libspawn_err *err)
{
    return fail_deadlock(request, "held by this process already", err);
}

void
libspawn__lock_describe_holder(int fd, char text[LIBSPAWN__LOCK_TEXT_SIZE])
{
    struct libspawn__lock_owner owner;

    libspawn__lock_owner_read(fd, &owner);
    libspawn__lock_owner_describe(&owner, text, LIBSPAWN__LOCK_TEXT_SIZE);
}

static int
fail_busy(const struct libspawn__lock_request *request, int fd,
          struct libspawn_err *err)
{
    struct libspawn__lock_owner owner;
    char text[LIBSPAWN__LOCK_TEXT_SIZE];
    struct stat st;
    int rc;

    libspawn__lock_owner_read(fd, &owner);
    if (owner.pid == getpid() ||
        (!fstat(fd, &st) && is_any_held(is_same_file, &st))) {
        return fail_own(request, err);
    }
    libspawn__lock_owner_describe(&owner, text, sizeof text);
    rc = libspawn__fail(err, LIBSPAWN_ERR_BUSY, "%s is %s", request->name,
                        text);
    if (err) {
        err->sys_errno = EAGAIN;
    }
    return rc;
}

/* Fills what is needed later, before the lock is there. */
static int
begin(const struct libspawn__lock_request *request, int fd,
      struct libspawn__lock *lock, struct libspawn_err *err)
{
    struct stat st;

    *lock = (struct libspawn__lock){ .fd = -1,
                                     .rank = request->rank,
                                     .path = strdup(request->path),
                                     .name = strdup(request->name),
                                     .has_content = request->has_content,
                                     .pid = getpid(),
                                     .tid = gettid() };
    if (!lock->path || !lock->name) {
        return libspawn__fail_nomem(err);
    }
    if (fstat(fd, &st) < 0) {
        return libspawn__fail_errno(err, errno, "looking at the lock '%s'",
                                    request->path);
    }
    lock->device = st.st_dev;
    lock->inode = st.st_ino;
    return 0;
}

static void
free_strings(struct libspawn__lock *lock)
{
    free(TAKE_PTR(lock->path));
    free(TAKE_PTR(lock->name));
}

static int
lock_descriptor(const struct libspawn__lock_request *request, int fd,
                const struct libspawn__lock *lock, struct libspawn_err *err)
{
    struct flock whole = whole_file;

    if (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
        return errno == EAGAIN || errno == EACCES
                   ? fail_busy(request, fd, err)
                   : libspawn__fail_errno(err, errno, "locking '%s'",
                                          request->path);
    }
    return is_current(request->path, lock->device, lock->inode)
               ? 0
               : LIBSPAWN__LOCK_STALE;
}

int
libspawn__lock_claim(const struct libspawn__lock_request *request, int *fd,
                     struct libspawn__lock *lock_r, struct libspawn_err *err)
{
    struct libspawn__lock lock;
    int rc = begin(request, *fd, &lock, err);

    if (!rc) {
        rc = lock_descriptor(request, *fd, &lock, err);
    }
    if (rc) {
        free_strings(&lock);
        return rc;
    }
    lock.fd = TAKE_FD(*fd);
    if (!lock.has_content) {
        libspawn__lock_owner_write(lock.fd);
    }
    *lock_r = lock;
    add_to_table(lock_r);
    return 0;
}

int
libspawn__lock_try(const struct libspawn__lock_request *request,
                   struct libspawn__lock *lock_r, struct libspawn_err *err)
{
    int rc;

    do {
        AUTO_FD int fd = -1;

        rc = libspawn__lock_open(request->path, &fd, err);
        if (!rc) {
            rc = libspawn__lock_claim(request, &fd, lock_r, err);
        }
    } while (rc == LIBSPAWN__LOCK_STALE);
    return rc;
}

/* ---- Waiting ----------------------------------------------------------- */

int
libspawn__lock_check_order(const struct libspawn__lock_request *request,
                           struct libspawn_err *err)
{
    const struct libspawn__lock *holding = request->holding;

    if (!request->rank) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "%s has no rank, so it cannot be waited for",
                              request->name);
    }
    if (holding && holding->fd >= 0 && holding->rank >= request->rank) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "%s comes before %s in the order of locks, and "
                              "is not waited for behind it",
                              request->name, holding->name);
    }
    return 0;
}

int
libspawn__lock_check_block(const struct libspawn__lock_request *request,
                           int fd, struct libspawn_err *err)
{
    struct stat st;

    if (!fstat(fd, &st) && is_any_held(is_same_file_here, &st)) {
        return fail_own(request, err);
    }
    if (is_any_held(is_later_here, &request->rank)) {
        return fail_deadlock(request,
                             "taken, and not waited for by who holds a later "
                             "one",
                             err);
    }
    return 0;
}

int
libspawn__lock_wait_fd(int fd)
{
    struct flock whole = whole_file;

    while (fcntl(fd, F_OFD_SETLKW, &whole) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* Claims the lock of an open file, waiting for it. */
static int
wait_and_claim(const struct libspawn__lock_request *request, int *fd,
               struct libspawn__lock *lock_r, struct libspawn_err *err)
{
    int rc = libspawn__lock_claim(request, fd, lock_r, err);
    int r;

    if (rc != LIBSPAWN_ERR_BUSY) {
        return rc;
    }
    rc = libspawn__lock_check_block(request, *fd, err);
    if (rc) {
        return rc;
    }
    r = libspawn__lock_wait_fd(*fd);
    return r ? libspawn__fail_errno(err, -r, "locking '%s'", request->path)
             : libspawn__lock_claim(request, fd, lock_r, err);
}

int
libspawn__lock_take(const struct libspawn__lock_request *request,
                    struct libspawn__lock *lock_r, struct libspawn_err *err)
{
    int rc = libspawn__lock_check_order(request, err);

    if (rc) {
        return rc;
    }
    do {
        AUTO_FD int fd = -1;

        rc = libspawn__lock_open(request->path, &fd, err);
        if (!rc) {
            rc = wait_and_claim(request, &fd, lock_r, err);
        }
    } while (rc == LIBSPAWN__LOCK_STALE);
    return rc;
}

/* ---- Holding, and letting go ------------------------------------------- */

int
libspawn__lock_check(const struct libspawn__lock *lock,
                     struct libspawn_err *err)
{
    if (lock->fd < 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the lock is not taken");
    }
    if (lock->pid != getpid()) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "%s was taken by process %d, of which this one "
                              "is a fork: it does not hold it",
                              lock->name, (int)lock->pid);
    }
    if (!is_current(lock->path, lock->device, lock->inode)) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "the lock file '%s' was removed or replaced "
                              "while it was locked, so others may have done "
                              "the same work meanwhile",
                              lock->path);
    }
    return 0;
}

int
libspawn__lock_release(struct libspawn__lock *lock, struct libspawn_err *err)
{
    struct flock whole = whole_file;
    int rc;

    if (lock->fd < 0) {
        return 0;
    }
    rc = libspawn__lock_check(lock, err);
    remove_from_table(lock);
    if (lock->pid == getpid()) {
        if (!lock->has_content) {
            libspawn__lock_owner_erase(lock->fd);
        }
        /* Not by closing alone: a process that is just being started may
         * still have a copy. */
        whole.l_type = F_UNLCK;
        fcntl(lock->fd, F_OFD_SETLK, &whole);
    }
    close(TAKE_FD(lock->fd));
    free_strings(lock);
    return rc;
}

/* ---- Classic locks ----------------------------------------------------- */

static int
wait_classic(const struct libspawn__lock_request *request, int fd,
             libspawn__lock_interrupted_fn *interrupted, void *user,
             struct libspawn_err *err)
{
    struct flock whole = whole_file;

    while (fcntl(fd, interrupted ? F_SETLKW : F_SETLK, &whole) < 0) {
        int rc = 0;

        if (errno == EDEADLK) {
            return fail_deadlock(request,
                                 "held by a process that waits for this one",
                                 err);
        } else if (errno == EAGAIN || errno == EACCES) {
            return fail_busy(request, fd, err);
        } else if (errno != EINTR) {
            return libspawn__fail_errno(err, errno, "locking '%s'",
                                        request->path);
        }
        rc = interrupted ? interrupted(user, fd, request, err) : 0;
        if (rc) {
            return rc;
        }
    }
    return 0;
}

int
libspawn__lock_take_classic(const struct libspawn__lock_request *request,
                            libspawn__lock_interrupted_fn *interrupted,
                            void *user, int *fd_r, struct libspawn_err *err)
{
    for (;;) {
        AUTO_FD int fd = -1;
        struct stat st;
        int rc = libspawn__lock_open(request->path, &fd, err);

        if (!rc) {
            rc = wait_classic(request, fd, interrupted, user, err);
        }
        if (rc) {
            return rc;
        }
        if (fstat(fd, &st) < 0 || fcntl(fd, F_SETFD, 0) < 0) {
            return libspawn__fail_errno(err, errno, "keeping the lock '%s'",
                                        request->path);
        }
        if (is_current(request->path, st.st_dev, st.st_ino)) {
            libspawn__lock_owner_write(fd);
            *fd_r = TAKE_FD(fd);
            return 0;
        }
    }
}

int
libspawn__lock_try_fd(int fd, struct libspawn_err *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fcntl(fd, F_OFD_SETLK, &lock) < 0
               ? libspawn__fail_errno(err, errno, "locking")
               : 0;
}
