/*
 * Nodes of the directory store as files and directories.
 *
 *     a leaf             a regular file with the value
 *     any other node     a directory; its value is in ".value" (none: empty),
 *                        permissions of its own are in ".perms"
 *
 * A node with permissions of its own is a directory.  Each change becomes
 * visible in one rename: what is new is built in the work directory first,
 *
 *     new      a file that will be a value or permissions
 *     tree     a directory that will be a node, with what is below it
 *     old      a node that is not there any more
 *
 * where the lock makes us the only one.  What a dead process left there is
 * overwritten or removed by the next that needs the name.
 *
 * Helpers return 0 or -errno, so that the calls can name the node.
 */
#include "store/dir.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/auto.h"
#include "base/compat.h"
#include "base/fd.h"

/* Of a node, or of a file in one. */
enum { FILE_PATH_SIZE = LIBSPAWN__STORE_PATH_MAX + sizeof "/.value" };

/* Of the descriptor itself when 'name' is empty. */
static bool
is_link(int fd, const char *name)
{
    struct stat st;

    return !fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) &&
           S_ISLNK(st.st_mode);
}

/* With O_PATH a symbolic link is opened itself, and with O_DIRECTORY it counts
 * as no directory: then it is ELOOP here as with openat2(2). */
static int
open_no_link(int dir_fd, const char *name, int flags)
{
    AUTO_FD int fd = openat(dir_fd, name, flags | O_NOFOLLOW | O_CLOEXEC);
    bool is_no_dir = fd < 0 && errno == ENOTDIR;

    if ((is_no_dir && is_link(dir_fd, name)) ||
        (fd >= 0 && flags & O_PATH && is_link(fd, ""))) {
        errno = ELOOP;
        return -1;
    }
    return TAKE_FD(fd);
}

/* One name after the other.  "." and ".." are no names of nodes. */
static int
open_by_steps(int root_fd, const char *path, int flags)
{
    char copy[FILE_PATH_SIZE];
    AUTO_FD int fd = -1;
    char *name = copy;
    char *slash;

    if (strlen(path) >= sizeof copy) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(copy, path, strlen(path) + 1);
    while ((slash = strchr(name, '/'))) {
        int next;

        *slash = '\0';
        next = open_no_link(fd < 0 ? root_fd : fd, name,
                            O_PATH | O_DIRECTORY);
        if (next < 0) {
            return -1;
        }
        libspawn__auto_close(&fd);
        fd = next;
        name = slash + 1;
    }
    return open_no_link(fd < 0 ? root_fd : fd, name, flags);
}

int
libspawn__dir_node_open(const struct libspawn__dir *dir, const char *path,
                        int flags)
{
    struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
    const char *below = path[1] ? path + 1 : ".";
    int fd = (int)syscall(SYS_openat2, dir->root_fd, below, &how, sizeof how);

    /* Before Linux 5.6, or behind a filter of system calls. */
    return fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL)
               ? open_by_steps(dir->root_fd, below, flags)
               : fd;
}

/* Removes the entry and all below it, as far as it goes: what cannot be
 * removed is in nobody's way. */
static void
clear(int dir_fd, const char *name)
{
    AUTO_DIR DIR *stream = NULL;
    const struct dirent *entry;
    int fd;

    if (unlinkat(dir_fd, name, 0) == 0 || errno != EISDIR) {
        return;
    }
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        libspawn__auto_close(&fd);
        return;
    }
    while ((entry = readdir(stream))) {
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
            clear(fd, entry->d_name);
        }
    }
    unlinkat(dir_fd, name, AT_REMOVEDIR);
}

/* ---- Reading ----------------------------------------------------------- */

/* Whether the open directory still stands for the node. */
static bool
is_in_place(const struct libspawn__dir *dir, const char *path, int dir_fd)
{
    AUTO_FD int fd = libspawn__dir_node_open(dir, path, O_PATH);
    struct stat now, then;

    return fd >= 0 && fstat(fd, &now) == 0 && fstat(dir_fd, &then) == 0 &&
           now.st_dev == then.st_dev && now.st_ino == then.st_ino;
}

/* The number of bytes, or -errno. */
static ssize_t
read_value(const struct libspawn__dir *dir, const char *path, char *value,
           size_t size)
{
    /* Not to hang on a FIFO that somebody put there. */
    AUTO_FD int fd = libspawn__dir_node_open(dir, path, O_RDONLY | O_NONBLOCK);
    AUTO_FD int value_fd = -1;
    ssize_t n = fd < 0 ? -1 : read(fd, value, size);

    if (n >= 0 || errno != EISDIR) {
        return n < 0 ? -errno : n;
    }
    value_fd =
        openat(fd, ".value", O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (value_fd < 0 && errno == ENOENT) {
        /* No value, or the file went while the node was being removed. */
        return is_in_place(dir, path, fd) ? 0 : -ESTALE;
    }
    n = value_fd < 0 ? -1 : read(value_fd, value, size);
    return n < 0 ? -errno : n;
}

int
libspawn__dir_node_read(const struct libspawn__dir *dir, const char *path,
                        char **value_r, size_t *size_r,
                        struct libspawn_err *err)
{
    char buffer[LIBSPAWN__STORE_VALUE_MAX + 1];
    char *value;
    ssize_t n;

    do {
        n = read_value(dir, path, buffer, sizeof buffer);
    } while (n == -ESTALE);
    if (n < 0) {
        return libspawn__dir_fail(dir, (int)-n, "reading", path, err);
    }
    if (n == sizeof buffer) {
        return libspawn__dir_fail(dir, E2BIG, "reading", path, err);
    }
    value = malloc((size_t)n + 1);
    if (!value) {
        return libspawn__fail_nomem(err);
    }
    memcpy(value, buffer, (size_t)n);
    value[n] = '\0';
    *value_r = value;
    *size_r = (size_t)n;
    return 0;
}

int
libspawn__dir_node_list(const struct libspawn__dir *dir, const char *path,
                        struct libspawn__strv *names, struct libspawn_err *err)
{
    int fd = libspawn__dir_node_open(dir, path, O_RDONLY | O_NONBLOCK);
    AUTO_DIR DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    size_t path_len = strlen(path);
    int rc = 0;

    if (!stream) {
        int sys_errno = errno;
        bool is_leaf = fd >= 0 && sys_errno == ENOTDIR;

        libspawn__auto_close(&fd);
        return is_leaf
                   ? 0
                   : libspawn__dir_fail(dir, sys_errno, "listing", path, err);
    }
    while (!rc && (entry = readdir(stream))) {
        /* No path leads to a name that is too long. */
        if (entry->d_name[0] != '.' &&
            strlen(entry->d_name) + path_len < LIBSPAWN__STORE_PATH_MAX) {
            rc = libspawn__strv_add(names, entry->d_name, err);
        }
    }
    return rc;
}

/* ---- Where a node is, or belongs --------------------------------------- */

/* The last directory on the way to a node, and the names behind it. */
struct spot {
    int dir_fd;
    const char *rest;
};

static void
spot_dispose(struct spot *spot)
{
    libspawn__auto_close(&spot->dir_fd);
}

#define AUTO_SPOT AUTO(spot_dispose)

static int
find_spot(const struct libspawn__dir *dir, const char *path,
          struct spot *spot_r)
{
    char buffer[FILE_PATH_SIZE];
    size_t len = strlen(path);

    memcpy(buffer, path, len + 1);
    for (;;) {
        char *slash = memrchr(buffer, '/', len);
        int fd;

        *slash = '\0';
        len = (size_t)(slash - buffer);
        fd = libspawn__dir_node_open(dir, len ? buffer : "/",
                                     O_PATH | O_DIRECTORY);
        if (fd >= 0) {
            *spot_r = (struct spot){ .dir_fd = fd, .rest = path + len + 1 };
            return 0;
        }
        if (!len || (errno != ENOENT && errno != ENOTDIR)) {
            return -errno;
        }
    }
}

/* ---- Writing ----------------------------------------------------------- */

int
libspawn__dir_stage(const struct libspawn__dir *dir, const void *bytes,
                    size_t size)
{
    AUTO_FD int fd =
        openat(dir->work_fd, "new",
               O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r;

    if (fd < 0) {
        return -errno;
    }
    r = libspawn__fd_write_full(fd, bytes, size);
    if (r) {
        unlinkat(dir->work_fd, "new", 0);
    }
    return r;
}

/* The staged file, or an empty directory. */
static int
put_entry(const struct libspawn__dir *dir, int dir_fd, const char *name,
          bool is_file)
{
    int r = is_file ? renameat(dir->work_fd, "new", dir_fd, name)
                    : mkdirat(dir_fd, name, 0700);

    return r < 0 ? -errno : 0;
}

static int
make_directory(int dir_fd, const char *name, int *fd_r)
{
    int r = mkdirat(dir_fd, name, 0700);

    if (r < 0 && errno == EEXIST) {
        clear(dir_fd, name);
        r = mkdirat(dir_fd, name, 0700);
    }
    if (r == 0) {
        r = openat(dir_fd, name,
                   O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        *fd_r = r;
    }
    return r < 0 ? -errno : 0;
}

/* Puts the entry at 'names', "b/c/d", below the directory 'tree_fd', with the
 * directories that lead to it. */
static int
grow(const struct libspawn__dir *dir, int tree_fd, const char *names,
     bool is_file)
{
    AUTO_FD int fd = -1;
    const char *slash;

    for (slash = strchr(names, '/'); slash; slash = strchr(names, '/')) {
        AUTO_FD int parent_fd = TAKE_FD(fd);
        char name[LIBSPAWN__STORE_NAME_MAX + 1];
        int r;

        snprintf(name, sizeof name, "%.*s", (int)(slash - names), names);
        r = make_directory(parent_fd < 0 ? tree_fd : parent_fd, name, &fd);
        if (r) {
            return r;
        }
        names = slash + 1;
    }
    return put_entry(dir, fd < 0 ? tree_fd : fd, names, is_file);
}

/* Puts "tree" in the place of a leaf. */
static int
replace_leaf(const struct libspawn__dir *dir, int dir_fd, const char *name)
{
    int r = libspawn__renameat2(dir->work_fd, "tree", dir_fd, name,
                                RENAME_EXCHANGE);

    if (r == 0) {
        unlinkat(dir->work_fd, "tree", 0);
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -errno;
    }
    /* Not on this file system: for a moment there is no node. */
    if (unlinkat(dir_fd, name, 0) < 0) {
        return -errno;
    }
    return renameat(dir->work_fd, "tree", dir_fd, name) < 0 ? -errno : 0;
}

/* Where the first name of the spot is missing or a leaf: builds it with all
 * that comes below, and puts it in its place. */
static int
graft(const struct libspawn__dir *dir, const struct spot *spot, bool is_file)
{
    const char *slash = strchr(spot->rest, '/');
    char name[LIBSPAWN__STORE_NAME_MAX + 1];
    AUTO_FD int tree_fd = -1;
    bool is_leaf;
    int r;

    snprintf(name, sizeof name, "%.*s", (int)(slash - spot->rest), spot->rest);
    r = make_directory(dir->work_fd, "tree", &tree_fd);
    if (r) {
        return r;
    }
    /* The leaf's file becomes the directory's value. */
    is_leaf = linkat(spot->dir_fd, name, tree_fd, ".value", 0) == 0;
    if (!is_leaf && errno != ENOENT) {
        r = -errno;
    }
    if (!r) {
        r = grow(dir, tree_fd, slash + 1, is_file);
    }
    if (!r && is_leaf) {
        r = replace_leaf(dir, spot->dir_fd, name);
    } else if (!r) {
        r = renameat(dir->work_fd, "tree", spot->dir_fd, name) < 0 ? -errno
                                                                   : 0;
    }
    if (r) {
        clear(dir->work_fd, "tree");
    }
    return r;
}

/* Puts the staged file, or an empty directory, at 'path', in one step with
 * the directories that are missing on the way. */
static int
plant(const struct libspawn__dir *dir, const char *path, bool is_file)
{
    AUTO_SPOT struct spot spot = { .dir_fd = -1 };
    int r = find_spot(dir, path, &spot);

    if (r) {
        return r;
    }
    return strchr(spot.rest, '/')
               ? graft(dir, &spot, is_file)
               : put_entry(dir, spot.dir_fd, spot.rest, is_file);
}

static int
plant_in(const struct libspawn__dir *dir, const char *path, const char *name)
{
    char file_path[FILE_PATH_SIZE];

    snprintf(file_path, sizeof file_path, "%s/%s", path[1] ? path : "", name);
    return plant(dir, file_path, true);
}

int
libspawn__dir_node_put_file(const struct libspawn__dir *dir, const char *path,
                            const char *name, const void *bytes, size_t size,
                            struct libspawn_err *err)
{
    int r = libspawn__dir_stage(dir, bytes, size);

    if (!r) {
        r = plant_in(dir, path, name);
    }
    return r ? libspawn__dir_fail(dir, -r, "writing", path, err) : 0;
}

int
libspawn__dir_node_write(const struct libspawn__dir *dir, const char *path,
                         const void *value, size_t size,
                         struct libspawn_err *err)
{
    int r = libspawn__dir_stage(dir, value, size);

    if (!r) {
        r = path[1] ? plant(dir, path, true) : -EISDIR;
        if (r == -EISDIR) {
            r = plant_in(dir, path, ".value");
        }
    }
    return r ? libspawn__dir_fail(dir, -r, "writing", path, err) : 0;
}

int
libspawn__dir_node_mkdir(const struct libspawn__dir *dir, const char *path,
                         struct libspawn_err *err)
{
    AUTO_FD int fd = libspawn__dir_node_open(dir, path, O_PATH);
    int r = fd < 0 ? -errno : 0;

    if (r == -ENOENT || r == -ENOTDIR) {
        r = plant(dir, path, false);
    }
    return r ? libspawn__dir_fail(dir, -r, "making", path, err) : 0;
}

/* ---- Removing ---------------------------------------------------------- */

static int
remove_directory(const struct libspawn__dir *dir, int dir_fd, const char *name)
{
    clear(dir->work_fd, "old");
    if (renameat(dir_fd, name, dir->work_fd, "old") < 0) {
        return -errno;
    }
    clear(dir->work_fd, "old");
    return 0;
}

int
libspawn__dir_node_remove(const struct libspawn__dir *dir, const char *path,
                          struct libspawn_err *err)
{
    AUTO_SPOT struct spot spot = { .dir_fd = -1 };
    int r = find_spot(dir, path, &spot);

    if (!r && strchr(spot.rest, '/')) {
        r = -ENOENT;
    }
    if (!r && unlinkat(spot.dir_fd, spot.rest, 0) < 0) {
        r = errno == EISDIR ? remove_directory(dir, spot.dir_fd, spot.rest)
                            : -errno;
    }
    return r ? libspawn__dir_fail(dir, -r, "removing", path, err) : 0;
}
