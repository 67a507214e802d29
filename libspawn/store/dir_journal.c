/*
 * Several changes of the directory store as one.
 *
 * Under the lock, the list of changes is written to ".store/new" and renamed
 * to ".store/journal": that is the commit.  Then the changes are made, and
 * the journal is removed.  Whoever finds a journal and has the lock knows
 * that its process is dead, and makes all the changes again: made twice, they
 * leave the same nodes.
 *
 * The journal, docs/PROTOCOLS.md, is text but for the values:
 *
 *     libspawn-journal 1
 *     w /local/domain/1/name 4
 *     win7
 *     r /libspawn/create/1 0
 *
 *     end
 */
#include "store/dir.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/auto.h"
#include "base/fd.h"

static const char header[] = "libspawn-journal 1\n";
static const char trailer[] = "end\n";

/* ---- Lists of changes -------------------------------------------------- */

void
libspawn__dir_ops_dispose(struct libspawn__dir_ops *ops)
{
    size_t i;

    for (i = 0; i < ops->n_items; i++) {
        free(ops->items[i].storage);
    }
    free(ops->items);
    memset(ops, 0, sizeof *ops);
}

#define AUTO_OPS AUTO(libspawn__dir_ops_dispose)

int
libspawn__dir_ops_add(struct libspawn__dir_ops *ops,
                      const struct libspawn__dir_op *op,
                      struct libspawn_err *err)
{
    size_t path_size = strlen(op->path) + 1;
    char *storage = malloc(path_size + op->size + 1);

    if (ops->n_items == ops->n_allocated) {
        size_t n_wanted = MAX(8, 2 * ops->n_allocated);
        struct libspawn__dir_op *items =
            reallocarray(ops->items, n_wanted, sizeof *items);

        if (items) {
            ops->items = items;
            ops->n_allocated = n_wanted;
        }
    }
    if (!storage || ops->n_items == ops->n_allocated) {
        free(storage);
        return libspawn__fail_nomem(err);
    }
    memcpy(storage, op->path, path_size);
    if (op->size) {
        memcpy(storage + path_size, op->bytes, op->size);
    }
    storage[path_size + op->size] = '\0';
    ops->items[ops->n_items++] =
        (struct libspawn__dir_op){ .kind = op->kind,
                                   .path = storage,
                                   .bytes = storage + path_size,
                                   .size = op->size,
                                   .storage = storage };
    return 0;
}

int
libspawn__dir_op_apply(const struct libspawn__dir *dir,
                       const struct libspawn__dir_op *op,
                       struct libspawn_err *err)
{
    switch (op->kind) {
    case LIBSPAWN__DIR_OP_WRITE:
        return libspawn__dir_node_write(dir, op->path, op->bytes, op->size,
                                        err);
    case LIBSPAWN__DIR_OP_MKDIR:
        return libspawn__dir_node_mkdir(dir, op->path, err);
    case LIBSPAWN__DIR_OP_REMOVE:
        return libspawn__dir_node_remove(dir, op->path, err);
    case LIBSPAWN__DIR_OP_PERMS:
        return libspawn__dir_perms_set(dir, op->path, op->bytes, op->size,
                                       err);
    }
    return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                          "an unknown kind of change");
}

/* ---- The file ---------------------------------------------------------- */

static void
pack(const struct libspawn__dir_ops *ops, struct libspawn__buf *buf)
{
    size_t i;

    libspawn__buf_puts(buf, header);
    for (i = 0; i < ops->n_items; i++) {
        const struct libspawn__dir_op *op = &ops->items[i];

        libspawn__buf_printf(buf, "%c %s %zu\n", op->kind, op->path, op->size);
        libspawn__buf_append(buf, op->bytes, op->size);
        libspawn__buf_puts(buf, "\n");
    }
    libspawn__buf_puts(buf, trailer);
}

/* Reads one change at '*p', which a NUL follows somewhere before 'end', and
 * moves on; false when it is none. */
static bool
unpack_one(char **p, const char *end, struct libspawn__dir_op *op_r)
{
    char *path = *p + 2;
    char *blank = path < end ? strchr(path, ' ') : NULL;
    char *bytes;

    if (!blank || !strchr("wmrp", **p) || path[0] != '/' ||
        blank - path > LIBSPAWN__STORE_PATH_MAX) {
        return false;
    }
    op_r->kind = (unsigned char)**p;
    op_r->path = path;
    op_r->size = strtoul(blank + 1, &bytes, 10);
    if (*bytes != '\n' || bytes >= end ||
        op_r->size >= (size_t)(end - bytes - 1) ||
        bytes[1 + op_r->size] != '\n') {
        return false;
    }
    *blank = '\0';
    op_r->bytes = bytes + 1;
    *p = bytes + 1 + op_r->size + 1;
    return true;
}

/* An incomplete one, which only a crash of the whole machine can leave, was
 * never committed as far as anybody can tell: it gives no changes. */
static int
unpack(const struct libspawn__dir *dir, char *text, size_t size,
       struct libspawn__dir_ops *ops, struct libspawn_err *err)
{
    char *end = text + size - strlen(trailer);
    char *p = text + strlen(header);
    int rc = 0;

    if (size < strlen(header) + strlen(trailer) || strcmp(end, trailer)) {
        return 0;
    }
    if (memcmp(text, header, strlen(header))) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "'%s/.store/journal' is of another version of "
                              "this program",
                              dir->path);
    }
    while (!rc && p < end) {
        struct libspawn__dir_op op;

        if (!unpack_one(&p, end, &op)) {
            return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                                  "'%s/.store/journal' is damaged: remove it",
                                  dir->path);
        }
        rc = libspawn__dir_ops_add(ops, &op, err);
    }
    return rc;
}

/* Whether the change may succeed at another time. */
static bool
is_passing(int rc)
{
    return rc == LIBSPAWN_ERR_LIMIT || rc == LIBSPAWN_ERR_NO_MEMORY;
}

/* Makes all changes and removes the journal.  A change that fails for want of
 * space or memory leaves it, so that the next process tries again.  One that
 * can never be made, because somebody put a symbolic link or the like in its
 * way by hand, is left out, or nobody could use the store any more. */
static int
apply_all(const struct libspawn__dir *dir, const struct libspawn__dir_ops *ops,
          struct libspawn_err *err)
{
    struct libspawn_err why;
    size_t i;
    int first_rc = 0;
    int rc = libspawn__dir_advance_generation(dir, err);

    if (rc) {
        return rc;
    }
    for (i = 0; i < ops->n_items; i++) {
        rc = libspawn__dir_op_apply(dir, &ops->items[i], &why);
        /* Not found: it was removed before its process died. */
        if (rc && rc != LIBSPAWN_ERR_NOT_FOUND &&
            (!first_rc || is_passing(rc))) {
            first_rc = rc;
            if (err) {
                *err = why;
            }
        }
        if (is_passing(rc)) {
            return rc;
        }
    }
    if (unlinkat(dir->work_fd, "journal", 0) < 0) {
        return libspawn__dir_fail(dir, errno, "removing", "/.store/journal",
                                  err);
    }
    return first_rc;
}

/* The changes must not fail for want of space once they are committed; so
 * there must be room for each node and the directories above it. */
static int
check_room(const struct libspawn__dir *dir,
           const struct libspawn__dir_ops *ops, struct libspawn_err *err)
{
    struct statvfs fs;
    fsblkcnt_t n_blocks = 0;
    fsfilcnt_t n_files = 0;
    size_t i;

    if (fstatvfs(dir->root_fd, &fs) < 0) {
        return libspawn__dir_fail(dir, errno, "looking for space for", "/",
                                  err);
    }
    for (i = 0; i < ops->n_items; i++) {
        const char *p;

        for (p = ops->items[i].path; p; p = strchr(p + 1, '/')) {
            n_files++;
        }
        n_blocks += ops->items[i].size / fs.f_frsize + 1;
    }
    n_blocks += n_files;
    /* File systems without a limit say that they have none in all. */
    if ((fs.f_blocks && fs.f_bavail < n_blocks) ||
        (fs.f_files && fs.f_favail < n_files)) {
        return libspawn__dir_fail(dir, ENOSPC, "changing", "/", err);
    }
    return 0;
}

int
libspawn__dir_journal_commit(const struct libspawn__dir *dir,
                             const struct libspawn__dir_ops *ops,
                             struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    int r;
    int rc = check_room(dir, ops, err);

    if (rc) {
        return rc;
    }
    pack(ops, &buf);
    if (buf.failed) {
        return libspawn__fail_nomem(err);
    }
    r = libspawn__dir_stage(dir, buf.data, buf.size);
    if (!r && renameat(dir->work_fd, "new", dir->work_fd, "journal") < 0) {
        r = -errno;
    }
    if (r) {
        return libspawn__dir_fail(dir, -r, "writing", "/.store/journal", err);
    }
    return apply_all(dir, ops, err);
}

bool
libspawn__dir_journal_is_pending(const struct libspawn__dir *dir)
{
    return faccessat(dir->work_fd, "journal", F_OK, 0) == 0;
}

int
libspawn__dir_journal_recover(const struct libspawn__dir *dir,
                              struct libspawn_err *err)
{
    AUTO_OPS struct libspawn__dir_ops ops = { 0 };
    AUTO_BUF struct libspawn__buf text = { 0 };
    AUTO_FD int fd =
        openat(dir->work_fd, "journal", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    ssize_t n;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return libspawn__dir_fail(dir, errno, "opening", "/.store/journal",
                                  err);
    }
    if (!libspawn__buf_reserve(&text, (size_t)st.st_size)) {
        return libspawn__fail_nomem(err);
    }
    n = libspawn__fd_read_full(fd, text.data, (size_t)st.st_size);
    if (n < 0) {
        return libspawn__dir_fail(dir, (int)-n, "reading", "/.store/journal",
                                  err);
    }
    text.data[n] = '\0';
    rc = unpack(dir, text.data, (size_t)n, &ops, err);
    if (rc) {
        return rc;
    }
    /* Nobody waits to hear of a change that can never be made. */
    rc = apply_all(dir, &ops, err);
    return is_passing(rc) ? rc : 0;
}
