/*
 * Transactions of the directory store: optimistic, as xenstored's are.
 *
 * A transaction keeps its changes in memory, and remembers each look that it
 * took at the tree.  A read is answered from both.  Before each new look, and
 * at the commit, it verifies under the lock that all earlier looks would show
 * the same again, unless the generation says that nobody changed anything; so
 * what it saw was true at one time, and that time moves on with it.  When they
 * would not, the transaction has lost.
 */
#include "store/dir.h"

#include <string.h>

#include "base/auto.h"

enum look_kind {
    LOOK_VALUE,
    LOOK_NAMES,
    LOOK_PERMS
};

/* What was seen of a node. */
struct look {
    enum look_kind kind;
    char *path;
    bool exists;
    struct libspawn__buf seen; /* value, names with a '/' each, permissions */
};

struct txn {
    struct libspawn__store_txn base;
    struct libspawn__dir *dir;
    struct libspawn__dir_ops ops; /* own changes, oldest first */
    struct look *looks;
    size_t n_looks;
    size_t n_allocated;
    uint64_t generation; /* as of which all looks are true */
    bool is_lost;
};

static struct txn *
txn_of(struct libspawn__store_txn *base)
{
    return CONTAINER_OF(base, struct txn, base);
}

/* ---- Looks ------------------------------------------------------------- */

static void
look_dispose(struct look *look)
{
    free(look->path);
    libspawn__buf_dispose(&look->seen);
}

#define AUTO_LOOK AUTO(look_dispose)

static int
look_at_value(const struct libspawn__dir *dir, struct look *look,
              struct libspawn_err *err)
{
    AUTO_FREE char *value = NULL;
    size_t size;
    int rc = libspawn__dir_node_read(dir, look->path, &value, &size, err);

    if (!rc) {
        libspawn__buf_append(&look->seen, value, size);
    }
    return rc;
}

static int
look_at_names(const struct libspawn__dir *dir, struct look *look,
              struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv names = { 0 };
    size_t i;
    int rc = libspawn__dir_node_list(dir, look->path, &names, err);

    libspawn__strv_sort(&names);
    for (i = 0; i < names.n_items; i++) {
        libspawn__buf_puts(&look->seen, names.items[i]);
        libspawn__buf_puts(&look->seen, "/");
    }
    return rc;
}

static int
look_at_perms(const struct libspawn__dir *dir, struct look *look,
              struct libspawn_err *err)
{
    return libspawn__dir_perms_get(dir, look->path, &look->seen, err);
}

/* Fills the look, whose kind and path are set.  Under the lock. */
static int
take_look(const struct libspawn__dir *dir, struct look *look,
          struct libspawn_err *err)
{
    static int (*const look_at[])(const struct libspawn__dir *, struct look *,
                                  struct libspawn_err *) = {
        [LOOK_VALUE] = look_at_value,
        [LOOK_NAMES] = look_at_names,
        [LOOK_PERMS] = look_at_perms,
    };
    struct libspawn_err why;
    int rc = look_at[look->kind](dir, look, &why);

    look->exists = !rc;
    if (rc && rc != LIBSPAWN_ERR_NOT_FOUND) {
        if (err) {
            *err = why;
        }
        return rc;
    }
    return look->seen.failed ? libspawn__fail_nomem(err) : 0;
}

static bool
is_same(const struct look *a, const struct look *b)
{
    return a->exists == b->exists && a->seen.size == b->seen.size &&
           (!a->seen.size ||
            !memcmp(a->seen.data, b->seen.data, a->seen.size));
}

/* Moves the transaction to the present, or finds that it has lost.  Under the
 * lock. */
static int
refresh(struct txn *txn, struct libspawn_err *err)
{
    uint64_t generation = libspawn__dir_get_generation(txn->dir);
    size_t i;

    for (i = 0; txn->generation != generation && i < txn->n_looks; i++) {
        AUTO_LOOK struct look now = { .kind = txn->looks[i].kind };
        int rc = libspawn__str_assign(&now.path, txn->looks[i].path, err);

        if (!rc) {
            rc = take_look(txn->dir, &now, err);
        }
        if (rc) {
            return rc;
        }
        txn->is_lost = txn->is_lost || !is_same(&now, &txn->looks[i]);
    }
    if (txn->is_lost) {
        return libspawn__fail(err, LIBSPAWN_ERR_CONFLICT,
                              "the store '%s' was changed by somebody else "
                              "during the transaction",
                              txn->dir->path);
    }
    txn->generation = generation;
    return 0;
}

/* Lists the look, which the transaction owns from then on. */
static int
keep_look_take(struct txn *txn, struct look *look, struct libspawn_err *err)
{
    if (txn->n_looks == txn->n_allocated) {
        size_t n_wanted = MAX(8, 2 * txn->n_allocated);
        struct look *looks = reallocarray(txn->looks, n_wanted, sizeof *looks);

        if (!looks) {
            return libspawn__fail_nomem(err);
        }
        txn->looks = looks;
        txn->n_allocated = n_wanted;
    }
    txn->looks[txn->n_looks++] = *look;
    memset(look, 0, sizeof *look);
    return 0;
}

/* The tree without the transaction's own changes.  '*look_r' is good until
 * the next look. */
static int
look_below(struct txn *txn, enum look_kind kind, const char *path,
           const struct look **look_r, struct libspawn_err *err)
{
    AUTO_LOOK struct look look = { .kind = kind };
    size_t i;
    int rc;

    for (i = 0; i < txn->n_looks; i++) {
        if (txn->looks[i].kind == kind && !strcmp(txn->looks[i].path, path)) {
            *look_r = &txn->looks[i];
            return 0;
        }
    }
    rc = libspawn__str_assign(&look.path, path, err);
    if (!rc) {
        rc = libspawn__dir_lock(txn->dir, err);
    }
    if (rc) {
        return rc;
    }
    rc = refresh(txn, err);
    if (!rc) {
        rc = take_look(txn->dir, &look, err);
    }
    libspawn__dir_unlock(txn->dir);
    if (!rc) {
        rc = keep_look_take(txn, &look, err);
    }
    if (!rc) {
        *look_r = &txn->looks[txn->n_looks - 1];
    }
    return rc;
}

/* ---- The tree with the transaction's own changes ----------------------- */

static bool
makes(const struct libspawn__dir_op *op, const char *path)
{
    return op->kind != LIBSPAWN__DIR_OP_REMOVE &&
           libspawn__store_path_is_within(op->path, path);
}

static bool
removes(const struct libspawn__dir_op *op, const char *path)
{
    return op->kind == LIBSPAWN__DIR_OP_REMOVE &&
           libspawn__store_path_is_within(path, op->path);
}

/* The number of the first own change after the node was removed for the last
 * time; 0 when it was not. */
static size_t
first_after_removal(const struct txn *txn, const char *path)
{
    size_t i;

    for (i = txn->ops.n_items; i > 0; i--) {
        if (removes(&txn->ops.items[i - 1], path)) {
            break;
        }
    }
    return i;
}

static int
fail_missing(const struct txn *txn, const char *what, const char *path,
             struct libspawn_err *err)
{
    return libspawn__dir_fail(txn->dir, ENOENT, what, path, err);
}

/* Points to the value; LIBSPAWN_ERR_NOT_FOUND without the node. */
static int
find_value(struct txn *txn, const char *path, const char **value_r,
           size_t *size_r, struct libspawn_err *err)
{
    size_t first = first_after_removal(txn, path);
    const struct look *look;
    bool is_made = false;
    size_t i;
    int rc;

    *value_r = "";
    *size_r = 0;
    for (i = txn->ops.n_items; i > first; i--) {
        const struct libspawn__dir_op *op = &txn->ops.items[i - 1];

        if (op->kind == LIBSPAWN__DIR_OP_WRITE && !strcmp(op->path, path)) {
            *value_r = op->bytes;
            *size_r = op->size;
            return 0;
        }
        is_made = is_made || makes(op, path);
    }
    if (!first) {
        rc = look_below(txn, LOOK_VALUE, path, &look, err);
        if (rc) {
            return rc;
        }
        if (look->seen.size) {
            *value_r = look->seen.data;
            *size_r = look->seen.size;
        }
        is_made = is_made || look->exists;
    }
    return is_made ? 0 : fail_missing(txn, "reading", path, err);
}

int
libspawn__dir_txn_read(struct libspawn__store_txn *base, const char *path,
                       char **value_r, size_t *size_r,
                       struct libspawn_err *err)
{
    const char *value;
    size_t size;
    char *copy;
    int rc = find_value(txn_of(base), path, &value, &size, err);

    if (rc) {
        return rc;
    }
    copy = malloc(size + 1);
    if (!copy) {
        return libspawn__fail_nomem(err);
    }
    memcpy(copy, value, size);
    copy[size] = '\0';
    *value_r = copy;
    *size_r = size;
    return 0;
}

/* Adds the names that stood there before the transaction. */
static int
add_names_below(struct txn *txn, const char *path,
                struct libspawn__strv *names, struct libspawn_err *err)
{
    const struct look *look;
    const char *name;
    int rc = look_below(txn, LOOK_NAMES, path, &look, err);

    if (rc) {
        return rc;
    }
    for (name = look->seen.data; !rc && name && *name;
         name = strchr(name, '/') + 1) {
        rc = libspawn__strv_addf(names, err, "%.*s",
                                 (int)(strchr(name, '/') - name), name);
    }
    return rc;
}

static void
drop_name(struct libspawn__strv *names, const char *name)
{
    size_t i;

    for (i = 0; i < names->n_items; i++) {
        if (!strcmp(names->items[i], name)) {
            free(names->items[i]);
            names->items[i] = names->items[--names->n_items];
            names->items[names->n_items] = NULL;
            return;
        }
    }
}

/* Applies one own change to the names of the children of 'path'. */
static int
update_names(struct libspawn__strv *names, const char *path,
             const struct libspawn__dir_op *op, struct libspawn_err *err)
{
    const char *below = op->path + strlen(path) + (path[1] != '\0');
    AUTO_FREE char *name = NULL;

    if (!libspawn__store_path_is_within(op->path, path) ||
        !strcmp(op->path, path)) {
        return 0;
    }
    name = strndup(below, strcspn(below, "/"));
    if (!name) {
        return libspawn__fail_nomem(err);
    }
    if (op->kind == LIBSPAWN__DIR_OP_REMOVE) {
        if (!strcmp(below, name)) {
            drop_name(names, name);
        }
        return 0;
    }
    return libspawn__strv_has(names, name)
               ? 0
               : libspawn__strv_add(names, name, err);
}

int
libspawn__dir_txn_list(struct libspawn__store_txn *base, const char *path,
                       struct libspawn__strv *names, struct libspawn_err *err)
{
    struct txn *txn = txn_of(base);
    size_t i = first_after_removal(txn, path);
    const char *value;
    size_t size;
    int rc = find_value(txn, path, &value, &size, err);

    if (!rc && !i) {
        rc = add_names_below(txn, path, names, err);
    }
    for (; !rc && i < txn->ops.n_items; i++) {
        rc = update_names(names, path, &txn->ops.items[i], err);
    }
    return rc;
}

/* As of the first 'n_ops' own changes.  A node that one of them made got those
 * that its parent, which the same change may have made, had then. */
static int
get_perms(struct txn *txn, const char *path, size_t n_ops,
          struct libspawn__buf *text, struct libspawn_err *err)
{
    AUTO_FREE char *parent = NULL;
    const struct look *look;
    size_t n_until_made = 0;
    size_t i;
    int rc;

    for (i = n_ops; i > 0 && !removes(&txn->ops.items[i - 1], path); i--) {
        const struct libspawn__dir_op *op = &txn->ops.items[i - 1];

        if (op->kind == LIBSPAWN__DIR_OP_PERMS && !strcmp(op->path, path)) {
            libspawn__buf_append(text, op->bytes, op->size);
            return 0;
        }
        n_until_made = makes(op, path) ? i : n_until_made;
    }
    if (!i) {
        rc = look_below(txn, LOOK_PERMS, path, &look, err);
        if (rc) {
            return rc;
        }
        if (look->exists) {
            libspawn__buf_append(text, look->seen.data, look->seen.size);
            return 0;
        }
    }
    if (!n_until_made) {
        return fail_missing(txn, "reading the permissions of", path, err);
    }
    parent = strndup(path, (size_t)MAX(strrchr(path, '/') - path, 1));
    return parent ? get_perms(txn, parent, n_until_made, text, err)
                  : libspawn__fail_nomem(err);
}

int
libspawn__dir_txn_get_perms(struct libspawn__store_txn *base, const char *path,
                            struct libspawn__buf *text,
                            struct libspawn_err *err)
{
    struct txn *txn = txn_of(base);
    int rc = get_perms(txn, path, txn->ops.n_items, text, err);

    return !rc && text->failed ? libspawn__fail_nomem(err) : rc;
}

int
libspawn__dir_txn_change(struct libspawn__store_txn *base,
                         const struct libspawn__dir_op *op,
                         struct libspawn_err *err)
{
    struct txn *txn = txn_of(base);
    const char *value;
    size_t size;
    int rc = 0;

    if (op->kind == LIBSPAWN__DIR_OP_REMOVE ||
        op->kind == LIBSPAWN__DIR_OP_PERMS) {
        rc = find_value(txn, op->path, &value, &size, err);
    }
    return rc ? rc : libspawn__dir_ops_add(&txn->ops, op, err);
}

/* ---- Begin and end ----------------------------------------------------- */

int
libspawn__dir_txn_begin(struct libspawn__store *store,
                        struct libspawn__store_txn **txn_r,
                        struct libspawn_err *err)
{
    struct libspawn__dir *dir =
        CONTAINER_OF(store, struct libspawn__dir, store);
    struct txn *txn = calloc(1, sizeof *txn);
    int rc = txn ? libspawn__dir_lock(dir, err) : libspawn__fail_nomem(err);

    if (rc) {
        free(txn);
        return rc;
    }
    txn->dir = dir;
    txn->generation = libspawn__dir_get_generation(dir);
    libspawn__dir_unlock(dir);
    *txn_r = &txn->base;
    return 0;
}

static int
commit_txn(struct txn *txn, struct libspawn_err *err)
{
    int rc = libspawn__dir_lock(txn->dir, err);

    if (rc) {
        return rc;
    }
    rc = refresh(txn, err);
    if (!rc && txn->ops.n_items) {
        rc = libspawn__dir_journal_commit(txn->dir, &txn->ops, err);
    }
    libspawn__dir_unlock(txn->dir);
    return rc;
}

int
libspawn__dir_txn_end(struct libspawn__store *store,
                      struct libspawn__store_txn *base, bool commit,
                      struct libspawn_err *err)
{
    struct txn *txn = txn_of(base);
    size_t i;
    int rc = commit ? commit_txn(txn, err) : 0;

    (void)store;
    for (i = 0; i < txn->n_looks; i++) {
        look_dispose(&txn->looks[i]);
    }
    free(txn->looks);
    libspawn__dir_ops_dispose(&txn->ops);
    free(txn);
    return rc;
}
