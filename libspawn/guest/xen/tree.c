#include "guest/xen/tree.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"
#include "base/util.h"

enum {
    N_TRIES = 64
};

int
libspawn__tree_run(struct libspawn__store *store, uint32_t domid,
                   libspawn__tree_fn *fn, const void *user,
                   struct libspawn_err *err)
{
    int rc = LIBSPAWN_ERR_CONFLICT;
    int i;

    for (i = 0; i < N_TRIES && rc == LIBSPAWN_ERR_CONFLICT; i++) {
        struct libspawn__tree tree = { .store = store,
                                       .domid = domid,
                                       .err = err };

        rc = libspawn__store_txn_begin(store, &tree.txn, err);
        if (rc) {
            return rc;
        }
        fn(&tree, user);
        rc = tree.rc;
        if (rc) {
            libspawn__store_txn_abort(store, tree.txn);
        } else {
            rc = libspawn__store_txn_commit(store, tree.txn, err);
        }
    }
    return rc;
}

/* DIR/NAME in 'buffer', or DIR itself; NULL (and a failed tree) when it is
 * too long. */
static const char *
join(struct libspawn__tree *tree, const char *dir, const char *name,
     char buffer[static LIBSPAWN__STORE_PATH_MAX + 1])
{
    int len;

    if (tree->rc || !name) {
        return tree->rc ? NULL : dir;
    }
    len = snprintf(buffer, LIBSPAWN__STORE_PATH_MAX + 1, "%s/%s", dir, name);
    if (len < 0 || len > LIBSPAWN__STORE_PATH_MAX) {
        tree->rc = libspawn__fail(tree->err, LIBSPAWN_ERR_INVALID,
                                  "a path in the store is too long: '%s/%s'",
                                  dir, name);
        return NULL;
    }
    return buffer;
}

void
libspawn__tree_make(struct libspawn__tree *tree, const char *dir,
                    const char *name, enum libspawn__tree_right right)
{
    char buffer[LIBSPAWN__STORE_PATH_MAX + 1];
    const char *path = join(tree, dir, name, buffer);
    const struct libspawn__store_perm lists[][2] = {
        [LIBSPAWN__TREE_PRIVATE] = { { .domid = 0 } },
        [LIBSPAWN__TREE_READABLE] = { { .domid = tree->backend_domid },
                                      { .domid = tree->domid,
                                        .can_read = true } },
        [LIBSPAWN__TREE_GUEST] = { { .domid = tree->domid } },
        [LIBSPAWN__TREE_FRONTEND] = { { .domid = tree->domid },
                                      { .domid = tree->backend_domid,
                                        .can_read = true } },
    };
    bool is_single = right == LIBSPAWN__TREE_PRIVATE ||
                     right == LIBSPAWN__TREE_GUEST;

    if (!path) {
        return;
    }
    tree->rc = libspawn__store_mkdir(tree->store, tree->txn, path, tree->err);
    if (!tree->rc) {
        tree->rc = libspawn__store_set_perms(tree->store, tree->txn, path,
                                             lists[right], is_single ? 1 : 2,
                                             tree->err);
    }
}

void
libspawn__tree_put(struct libspawn__tree *tree, const char *dir,
                   const char *name, const char *value)
{
    char buffer[LIBSPAWN__STORE_PATH_MAX + 1];
    const char *path = join(tree, dir, name, buffer);

    if (path) {
        tree->rc = libspawn__store_puts(tree->store, tree->txn, path, value,
                                        tree->err);
    }
}

void
libspawn__tree_printf(struct libspawn__tree *tree, const char *dir,
                      const char *name, const char *format, ...)
{
    AUTO_BUF struct libspawn__buf value = { 0 };
    va_list args;

    va_start(args, format);
    libspawn__buf_vprintf(&value, format, args);
    va_end(args);
    if (value.failed && !tree->rc) {
        tree->rc = libspawn__fail_nomem(tree->err);
    }
    libspawn__tree_put(tree, dir, name, value.data ? value.data : "");
}

void
libspawn__tree_discard(struct libspawn__tree *tree, const char *dir,
                       const char *name)
{
    char buffer[LIBSPAWN__STORE_PATH_MAX + 1];
    const char *path = join(tree, dir, name, buffer);

    if (path) {
        tree->rc = libspawn__store_discard(tree->store, tree->txn, path,
                                           tree->err);
    }
}
