/*
 * Permissions in the directory store.
 *
 * A new node gets the permissions of its parent.  So that making one costs
 * nothing, a node without a file ".perms" has those of the nearest node above
 * it that has one; when a node's permissions change, its children are given
 * files with the old ones first.  Nobody is held to them.
 */
#include "store/dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/auto.h"
#include "base/fd.h"

/* As xenstored's root: domain 0, and nobody else. */
static const char default_perms[] = "n0";

/* Index: may read, and twice may write. */
static const char letters[] = { 'n', 'r', 'w', 'b' };

void
libspawn__dir_perms_pack(const struct libspawn__store_perm *perms,
                         size_t n_perms, struct libspawn__buf *buf)
{
    size_t i;

    for (i = 0; i < n_perms; i++) {
        int rights = (perms[i].can_read ? 1 : 0) +
                     (perms[i].can_write ? 2 : 0);

        libspawn__buf_printf(buf, "%s%c%u", i ? " " : "", letters[rights],
                             perms[i].domid);
    }
}

/* Reads one word; NULL when it is none. */
static const char *
unpack_one(const char *text, struct libspawn__store_perm *perm_r)
{
    const char *letter = memchr(letters, text[0], sizeof letters);
    unsigned long domid;
    char *end;

    if (!letter || text[1] < '0' || text[1] > '9') {
        return NULL;
    }
    domid = strtoul(text + 1, &end, 10);
    perm_r->domid = (unsigned int)domid;
    perm_r->can_read = (letter - letters) & 1;
    perm_r->can_write = (letter - letters) & 2;
    return domid <= UINT32_MAX ? end : NULL;
}

int
libspawn__dir_perms_unpack(const char *text,
                           struct libspawn__store_perm **perms_r,
                           size_t *n_perms_r, struct libspawn_err *err)
{
    struct libspawn__store_perm perms[LIBSPAWN__STORE_PERMS_MAX];
    const char *p = text;
    size_t n_perms = 0;

    do {
        p += strspn(p, " \n");
        p = unpack_one(p, &perms[n_perms++]);
    } while (p && p[strspn(p, " \n")] && n_perms < ARRAY_SIZE(perms));
    if (!p || p[strspn(p, " \n")]) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "'%.80s' in the store is not a list of "
                              "permissions",
                              text);
    }
    *perms_r = malloc(n_perms * sizeof *perms);
    if (!*perms_r) {
        return libspawn__fail_nomem(err);
    }
    memcpy(*perms_r, perms, n_perms * sizeof *perms);
    *n_perms_r = n_perms;
    return 0;
}

/* Reads the node's own ones; -ENOENT without any. */
static int
read_own(const struct libspawn__dir *dir, const char *path,
         struct libspawn__buf *text)
{
    enum { TEXT_SIZE_MAX = LIBSPAWN__STORE_PERMS_MAX * sizeof "b65535" };
    char file_path[LIBSPAWN__STORE_PATH_MAX + sizeof "/.perms"];
    char bytes[TEXT_SIZE_MAX];
    AUTO_FD int fd = -1;
    ssize_t n;

    snprintf(file_path, sizeof file_path, "%s/.perms", path[1] ? path : "");
    fd = libspawn__dir_node_open(dir, file_path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOTDIR ? -ENOENT : -errno;
    }
    n = libspawn__fd_read_full(fd, bytes, sizeof bytes);
    if (n < 0) {
        return (int)n;
    }
    libspawn__buf_append(text, bytes, (size_t)n);
    return 0;
}

/* "/a/b", "/a", "/", and then false. */
static bool
go_up(char *path)
{
    char *slash = strrchr(path, '/');
    bool is_root = !path[1];

    slash[slash == path] = '\0';
    return !is_root;
}

int
libspawn__dir_perms_get(const struct libspawn__dir *dir, const char *path,
                        struct libspawn__buf *text, struct libspawn_err *err)
{
    AUTO_FD int fd = libspawn__dir_node_open(dir, path, O_PATH);
    char above[LIBSPAWN__STORE_PATH_MAX + 1];
    int r = fd < 0 ? -errno : 0;

    if (!r) {
        memcpy(above, path, strlen(path) + 1);
        do {
            r = read_own(dir, above, text);
        } while (r == -ENOENT && go_up(above));
        if (r == -ENOENT) {
            libspawn__buf_puts(text, default_perms);
            r = 0;
        }
    }
    if (r) {
        return libspawn__dir_fail(dir, -r, "reading the permissions of", path,
                                  err);
    }
    return text->failed ? libspawn__fail_nomem(err) : 0;
}

/* Gives the child a file with what it has anyway. */
static int
keep(const struct libspawn__dir *dir, const char *path,
     const struct libspawn__buf *perms, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf own = { 0 };
    int r = read_own(dir, path, &own);

    if (r != -ENOENT) {
        return r ? libspawn__dir_fail(dir, -r, "reading the permissions of",
                                      path, err)
                 : 0;
    }
    return libspawn__dir_node_put_file(dir, path, ".perms", perms->data,
                                       perms->size, err);
}

int
libspawn__dir_perms_set(const struct libspawn__dir *dir, const char *path,
                        const char *text, size_t size,
                        struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf old = { 0 };
    AUTO_STRV struct libspawn__strv names = { 0 };
    size_t i;
    int rc = libspawn__dir_perms_get(dir, path, &old, err);

    if (rc || (old.size == size && !memcmp(old.data, text, size))) {
        return rc;
    }
    rc = libspawn__dir_node_list(dir, path, &names, err);
    for (i = 0; !rc && i < names.n_items; i++) {
        AUTO_FREE char *child =
            libspawn__str_format("%s/%s", path[1] ? path : "", names.items[i]);

        rc = child ? keep(dir, child, &old, err) : libspawn__fail_nomem(err);
    }
    return rc ? rc
              : libspawn__dir_node_put_file(dir, path, ".perms", text, size,
                                            err);
}
