/*
 * The directory store: the tree of nodes as a tree of files, for machines
 * without Xen.  No daemon: every process works on the files itself, in turns
 * under one lock, and whoever comes next completes what a killed process left
 * half done.
 *
 *     $ cat /run/xl/store/local/domain/1/name
 *
 * A node without children is a file, one with children a directory.  What is
 * not a node has a name with a dot in front.  The server that can be lost is
 * the root directory.
 *
 * Trust boundary: whoever may write into the root, which is made with mode
 * 0700.
 */
#include "store/dir.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/auto.h"

static const struct {
    int sys_errno;
    int code;
    const char *text;
} reasons[] = {
    { ENOENT, LIBSPAWN_ERR_NOT_FOUND, "it does not exist" },
    { ENOTDIR, LIBSPAWN_ERR_NOT_FOUND, "it does not exist" },
    { ELOOP, LIBSPAWN_ERR_DENIED, "a symbolic link is in the way" },
    { ENOSPC, LIBSPAWN_ERR_LIMIT, "the file system is full" },
    { EDQUOT, LIBSPAWN_ERR_LIMIT, "the disk quota is used up" },
    { EROFS, LIBSPAWN_ERR_DENIED, "the file system is read-only" },
};

int
libspawn__dir_fail(const struct libspawn__dir *dir, int sys_errno,
                   const char *what, const char *path,
                   struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(reasons); i++) {
        if (reasons[i].sys_errno == sys_errno) {
            libspawn__fail(err, reasons[i].code,
                           "%s '%.200s' in the store '%.100s': %s", what, path,
                           dir->path, reasons[i].text);
            if (err) {
                err->sys_errno = sys_errno;
            }
            return reasons[i].code;
        }
    }
    return libspawn__fail_errno(err, sys_errno,
                                "%s '%.200s' in the store '%.100s'", what,
                                path, dir->path);
}

/* ---- The lock ---------------------------------------------------------- */

int
libspawn__dir_check(const struct libspawn__dir *dir, struct libspawn_err *err)
{
    struct stat st;

    if (lstat(dir->path, &st) < 0) {
        if (errno != ENOENT && errno != ENOTDIR) {
            return libspawn__fail_errno(
                err, errno, "looking for the store directory '%s'", dir->path);
        }
    } else if (st.st_dev == dir->device && st.st_ino == dir->inode) {
        return 0;
    }
    return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                          "the store directory '%s' was removed or replaced",
                          dir->path);
}

int
libspawn__dir_lock(const struct libspawn__dir *dir, struct libspawn_err *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int rc;

    while (fcntl(dir->lock_fd, F_OFD_SETLKW, &lock) < 0) {
        if (errno != EINTR) {
            return libspawn__fail_errno(err, errno, "locking the store '%s'",
                                        dir->path);
        }
    }
    rc = libspawn__dir_check(dir, err);
    if (!rc && libspawn__dir_journal_is_pending(dir)) {
        rc = libspawn__dir_journal_recover(dir, err);
        if (rc && err) {
            libspawn__err_prefix(err, "completing what another process began");
        }
    }
    if (rc) {
        libspawn__dir_unlock(dir);
    }
    return rc;
}

void
libspawn__dir_unlock(const struct libspawn__dir *dir)
{
    struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

    fcntl(dir->lock_fd, F_OFD_SETLK, &lock);
}

uint64_t
libspawn__dir_get_generation(const struct libspawn__dir *dir)
{
    uint64_t generation;

    /* Nothing there yet: the first one. */
    if (pread(dir->lock_fd, &generation, sizeof generation, 0) !=
        sizeof generation) {
        return 0;
    }
    return generation;
}

int
libspawn__dir_advance_generation(const struct libspawn__dir *dir,
                                 struct libspawn_err *err)
{
    uint64_t generation = libspawn__dir_get_generation(dir) + 1;

    if (pwrite(dir->lock_fd, &generation, sizeof generation, 0) < 0) {
        return libspawn__dir_fail(dir, errno, "writing", "/.store/lock", err);
    }
    return 0;
}

/* ---- Open and close ---------------------------------------------------- */

static struct libspawn__dir *
dir_of(struct libspawn__store *store)
{
    return CONTAINER_OF(store, struct libspawn__dir, store);
}

static void
dir_close(struct libspawn__store *store)
{
    struct libspawn__dir *dir = dir_of(store);

    libspawn__auto_close(&dir->root_fd);
    libspawn__auto_close(&dir->work_fd);
    libspawn__auto_close(&dir->lock_fd);
    free(dir->path);
    free(dir);
}

static int
fail_open(const char *path, int sys_errno, struct libspawn_err *err)
{
    if (sys_errno == ENOENT) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "making the store directory '%s': the directory "
                              "to make it in does not exist",
                              path);
    }
    return libspawn__fail_errno(err, sys_errno,
                                "opening the store directory '%s'", path);
}

/* Makes the directory when it is missing. */
static int
open_root(const char *path)
{
    enum { FLAGS = O_PATH | O_DIRECTORY | O_CLOEXEC };
    int fd = open(path, FLAGS);

    if (fd < 0 && errno == ENOENT &&
        (mkdir(path, 0700) == 0 || errno == EEXIST)) {
        fd = open(path, FLAGS);
    }
    return fd;
}

static int
open_files(struct libspawn__dir *dir, const char *path,
           struct libspawn_err *err)
{
    struct stat st;

    dir->root_fd = open_root(path);
    if (dir->root_fd < 0 || fstat(dir->root_fd, &st) < 0) {
        return fail_open(path, errno, err);
    }
    dir->device = st.st_dev;
    dir->inode = st.st_ino;
    dir->path = realpath(path, NULL);
    if (!dir->path) {
        return fail_open(path, errno, err);
    }
    if (mkdirat(dir->root_fd, ".store", 0700) < 0 && errno != EEXIST) {
        return libspawn__dir_fail(dir, errno, "making", "/.store", err);
    }
    dir->work_fd = openat(dir->root_fd, ".store",
                          O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir->work_fd < 0) {
        return libspawn__dir_fail(dir, errno, "opening", "/.store", err);
    }
    dir->lock_fd = openat(dir->work_fd, "lock",
                          O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (dir->lock_fd < 0) {
        return libspawn__dir_fail(dir, errno, "opening", "/.store/lock", err);
    }
    return 0;
}

static int
dir_open(const char *argument, struct libspawn__store **store_r,
         struct libspawn_err *err)
{
    struct libspawn__dir *dir;
    int rc;

    if (!argument[0]) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the store address 'dir:' names no directory");
    }
    dir = calloc(1, sizeof *dir);
    if (!dir) {
        return libspawn__fail_nomem(err);
    }
    dir->root_fd = dir->work_fd = dir->lock_fd = -1;
    dir->watches.fd = -1;

    rc = open_files(dir, argument, err);
    if (!rc) {
        dir->store.address = libspawn__str_format("dir:%s", dir->path);
        rc = dir->store.address ? 0 : libspawn__fail_nomem(err);
    }
    if (rc) {
        dir_close(&dir->store);
        return rc;
    }
    *store_r = &dir->store;
    return 0;
}

/* ---- Plain calls ------------------------------------------------------- */

/* 'err' is of the last that failed. */
static void
read_nodes(const struct libspawn__dir *dir, struct libspawn__store_item *items,
           size_t n, struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < n; i++) {
        items[i].rc = libspawn__dir_node_read(
            dir, items[i].path, &items[i].value, &items[i].size, err);
    }
}

/* Takes no lock.  One look at the journal after the values were read is
 * enough: when no commit is under way then, each value is from before a commit
 * or from after it.  Otherwise it may be a part of one that nobody else sees
 * yet.  An error is of all of them. */
static int
read_items(const struct libspawn__dir *dir, struct libspawn__store_item *items,
           size_t n, struct libspawn_err *err)
{
    int rc = libspawn__dir_check(dir, err);

    if (rc) {
        return rc;
    }
    read_nodes(dir, items, n, err);
    if (!libspawn__dir_journal_is_pending(dir)) {
        return 0;
    }
    libspawn__store_items_dispose(items, n);
    rc = libspawn__dir_lock(dir, err);
    if (!rc) {
        read_nodes(dir, items, n, err);
        libspawn__dir_unlock(dir);
    }
    return rc;
}

static int
dir_read(struct libspawn__store *store, struct libspawn__store_txn *txn,
         const char *path, char **value_r, size_t *size_r,
         struct libspawn_err *err)
{
    struct libspawn__store_item item = { .path = path };
    struct libspawn_err why;
    int rc;

    if (txn) {
        return libspawn__dir_txn_read(txn, path, value_r, size_r, err);
    }
    rc = read_items(dir_of(store), &item, 1, &why);
    if (!rc) {
        rc = item.rc;
    }
    if (rc) {
        if (err) {
            *err = why;
        }
        return rc;
    }
    *value_r = item.value;
    *size_r = item.size;
    return 0;
}

static void
dir_read_each(struct libspawn__store *store,
              struct libspawn__store_item *items, size_t n)
{
    int rc = read_items(dir_of(store), items, n, NULL);
    size_t i;

    for (i = 0; rc && i < n; i++) {
        items[i].rc = rc;
    }
}

/* Does it at once, or remembers it in the transaction. */
static int
change(struct libspawn__store *store, struct libspawn__store_txn *txn,
       const struct libspawn__dir_op *op, struct libspawn_err *err)
{
    struct libspawn__dir *dir = dir_of(store);
    int rc;

    if (txn) {
        return libspawn__dir_txn_change(txn, op, err);
    }
    rc = libspawn__dir_lock(dir, err);
    if (rc) {
        return rc;
    }
    rc = libspawn__dir_advance_generation(dir, err);
    if (!rc) {
        rc = libspawn__dir_op_apply(dir, op, err);
    }
    libspawn__dir_unlock(dir);
    return rc;
}

static int
dir_write(struct libspawn__store *store, struct libspawn__store_txn *txn,
          const char *path, const void *value, size_t size,
          struct libspawn_err *err)
{
    return change(store, txn,
                  &(struct libspawn__dir_op){ .kind = LIBSPAWN__DIR_OP_WRITE,
                                              .path = path,
                                              .bytes = value,
                                              .size = size },
                  err);
}

static int
dir_mkdir(struct libspawn__store *store, struct libspawn__store_txn *txn,
          const char *path, struct libspawn_err *err)
{
    return change(store, txn,
                  &(struct libspawn__dir_op){ .kind = LIBSPAWN__DIR_OP_MKDIR,
                                              .path = path },
                  err);
}

static int
dir_remove(struct libspawn__store *store, struct libspawn__store_txn *txn,
           const char *path, struct libspawn_err *err)
{
    return change(store, txn,
                  &(struct libspawn__dir_op){ .kind = LIBSPAWN__DIR_OP_REMOVE,
                                              .path = path },
                  err);
}

static int
dir_set_perms(struct libspawn__store *store, struct libspawn__store_txn *txn,
              const char *path, const struct libspawn__store_perm *perms,
              size_t n_perms, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf text = { 0 };

    libspawn__dir_perms_pack(perms, n_perms, &text);
    if (text.failed) {
        return libspawn__fail_nomem(err);
    }
    return change(store, txn,
                  &(struct libspawn__dir_op){ .kind = LIBSPAWN__DIR_OP_PERMS,
                                              .path = path,
                                              .bytes = text.data,
                                              .size = text.size },
                  err);
}

static int
dir_list(struct libspawn__store *store, struct libspawn__store_txn *txn,
         const char *path, struct libspawn__strv *names,
         struct libspawn_err *err)
{
    struct libspawn__dir *dir = dir_of(store);
    int rc;

    if (txn) {
        return libspawn__dir_txn_list(txn, path, names, err);
    }
    rc = libspawn__dir_lock(dir, err);
    if (!rc) {
        rc = libspawn__dir_node_list(dir, path, names, err);
        libspawn__dir_unlock(dir);
    }
    return rc;
}

static int
dir_get_perms(struct libspawn__store *store, struct libspawn__store_txn *txn,
              const char *path, struct libspawn__store_perm **perms_r,
              size_t *n_perms_r, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf text = { 0 };
    struct libspawn__dir *dir = dir_of(store);
    int rc;

    if (txn) {
        rc = libspawn__dir_txn_get_perms(txn, path, &text, err);
    } else {
        rc = libspawn__dir_lock(dir, err);
        if (!rc) {
            rc = libspawn__dir_perms_get(dir, path, &text, err);
            libspawn__dir_unlock(dir);
        }
    }
    return rc ? rc
              : libspawn__dir_perms_unpack(text.data, perms_r, n_perms_r, err);
}

const struct libspawn__store_class libspawn__store_dir_class = {
    .scheme = "dir",
    .open = dir_open,
    .close = dir_close,
    .read = dir_read,
    .read_each = dir_read_each,
    .write = dir_write,
    .mkdir = dir_mkdir,
    .remove = dir_remove,
    .list = dir_list,
    .get_perms = dir_get_perms,
    .set_perms = dir_set_perms,
    .txn_begin = libspawn__dir_txn_begin,
    .txn_end = libspawn__dir_txn_end,
    .watch_add = libspawn__dir_watch_add,
    .watch_remove = libspawn__dir_watch_remove,
};
