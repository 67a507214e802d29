/*
 * A run of writes to the store, in one transaction, with one check at the
 * end: after the first failure the rest does nothing.
 *
 * Rights: a new node gets those of its parent, so only the top of a tree and
 * what differs from it needs to be told.
 */
#ifndef LIBSPAWN_GUEST_XEN_TREE_H
#define LIBSPAWN_GUEST_XEN_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/store.h"

enum libspawn__tree_right {
    LIBSPAWN__TREE_PRIVATE,  /* dom0 only */
    LIBSPAWN__TREE_READABLE, /* dom0's; the guest may read */
    LIBSPAWN__TREE_GUEST,    /* the guest's own; dom0 may all */
    LIBSPAWN__TREE_FRONTEND  /* the guest's; the backend's domain may read */
};

struct libspawn__tree {
    struct libspawn__store *store;
    struct libspawn__store_txn *txn;
    uint32_t domid;         /* of the guest */
    uint32_t backend_domid; /* for FRONTEND, and the owner of READABLE */
    struct libspawn_err *err;
    int rc; /* of the first failure */
};

/* Writes through 'tree'; may be called again, from its beginning. */
typedef void libspawn__tree_fn(struct libspawn__tree *tree, const void *user);

/* Runs 'fn' in a transaction, again when somebody interfered, and commits.
 * Nothing was written when it fails. */
int libspawn__tree_run(struct libspawn__store *store, uint32_t domid,
                       libspawn__tree_fn *fn, const void *user,
                       struct libspawn_err *err);

/* Makes the empty node DIR/NAME (DIR when 'name' is NULL) with that right. */
void libspawn__tree_make(struct libspawn__tree *tree, const char *dir,
                         const char *name, enum libspawn__tree_right right);

void libspawn__tree_put(struct libspawn__tree *tree, const char *dir,
                        const char *name, const char *value);
void libspawn__tree_printf(struct libspawn__tree *tree, const char *dir,
                           const char *name, const char *format, ...)
    LIBSPAWN__PRINTF(4, 5);

/* Removes the node and all below it; a missing one is fine. */
void libspawn__tree_discard(struct libspawn__tree *tree, const char *dir,
                            const char *name);

#endif
