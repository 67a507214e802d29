/*
 * The store: a small tree of named values that every process of the host can
 * read, write and watch.  One contract, two implementations:
 *
 *   "xenstore:"   libxenstore, the real xenstored of a Xen host
 *   "dir:PATH"    a directory tree, for machines without Xen
 *
 * Paths are absolute, "/local/domain/1/name".  A component has at most 255
 * letters, digits and "-_@:+." and does not begin with a dot; xenstored
 * refuses ":", "+" and "." (LIBSPAWN_ERR_INVALID), so names that must work on
 * both do without.  A path has at most 1,024 characters (xenstore.txt in the
 * Xen tree gives xenstored's own limit as 3,072).  Values are bytes, always
 * followed by a NUL that the size does not count.  A path, a NUL and the value
 * take at most 4,096 bytes, because one message to xenstored carries them.
 *
 * The root always exists.  Writing a node makes its missing parents.  A node
 * can have a value and children.  Removing a node removes all below it.
 *
 * Errors: LIBSPAWN_ERR_NOT_FOUND, a missing path; LIBSPAWN_ERR_CONFLICT, run
 * the transaction again; LIBSPAWN_ERR_GONE, the server is lost, and this
 * store answers nothing else from now on.
 *
 * A blocking call waits for the server's answer.  A store belongs to the
 * process that opened it: a forked child opens its own.  Trust nothing that a
 * guest can write: only dom0-owned paths.
 */
#ifndef LIBSPAWN_STORE_STORE_H
#define LIBSPAWN_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "loop/loop.h"

enum {
    LIBSPAWN__STORE_NAME_MAX = 255,
    LIBSPAWN__STORE_PATH_MAX = 1024,
    LIBSPAWN__STORE_VALUE_MAX = 4096, /* with its path and a NUL */
    LIBSPAWN__STORE_PERMS_MAX = 128
};

struct libspawn__store;
struct libspawn__store_txn; /* a transaction; NULL stands for none */

/* Who may do what with a node; as in xenstore the first entry of a list names
 * the owner, and its rights are those of everybody who is not listed.  A new
 * node gets those of its parent.  The directory store keeps them but holds
 * nobody to them: there the state directory's mode decides. */
struct libspawn__store_perm {
    unsigned int domid;
    bool can_read;
    bool can_write;
};

/* Opens the store at 'address'.  LIBSPAWN_ERR_UNSUPPORTED when this program
 * was built without that kind.  The last directory of a "dir:" address is made
 * when it is missing. */
int libspawn__store_open(const char *address, struct libspawn__store **store_r,
                         struct libspawn_err *err);

/* Ends open transactions without effect and removes watches; NULL is fine. */
void libspawn__store_close(struct libspawn__store *store);

/* One that opens the same store from any working directory. */
const char *libspawn__store_address(const struct libspawn__store *store);

/* 'size_r' may be NULL. */
int libspawn__store_read(struct libspawn__store *store,
                         struct libspawn__store_txn *txn, const char *path,
                         char **value_r, size_t *size_r,
                         struct libspawn_err *err);

/* One of several nodes that are read. */
struct libspawn__store_item {
    const char *path;
    char *value; /* NULL, or new; a NUL follows it */
    size_t size;
    int rc; /* of libspawn__store_read; not 0: there is no value */
};

/* Reads each as libspawn__store_read does, but asks only once, for all of
 * them, what has to be asked of the store.  Not one moment is seen: for that,
 * a transaction.  'value' must be NULL before. */
void libspawn__store_read_each(struct libspawn__store *store,
                               struct libspawn__store_item *items, size_t n);

/* Frees the values. */
void libspawn__store_items_dispose(struct libspawn__store_item *items,
                                   size_t n);

int libspawn__store_write(struct libspawn__store *store,
                          struct libspawn__store_txn *txn, const char *path,
                          const void *value, size_t size,
                          struct libspawn_err *err);

/* A string, and a formatted string. */
int libspawn__store_puts(struct libspawn__store *store,
                         struct libspawn__store_txn *txn, const char *path,
                         const char *value, struct libspawn_err *err);
int libspawn__store_printf(struct libspawn__store *store,
                           struct libspawn__store_txn *txn, const char *path,
                           struct libspawn_err *err, const char *format, ...)
    LIBSPAWN__PRINTF(5, 6);

/* Makes the node with an empty value; an existing one stays as it is. */
int libspawn__store_mkdir(struct libspawn__store *store,
                          struct libspawn__store_txn *txn, const char *path,
                          struct libspawn_err *err);

/* A missing node is LIBSPAWN_ERR_NOT_FOUND, the root LIBSPAWN_ERR_INVALID. */
int libspawn__store_remove(struct libspawn__store *store,
                           struct libspawn__store_txn *txn, const char *path,
                           struct libspawn_err *err);

/* As remove, but a missing node is fine, and nobody looks for it first. */
int libspawn__store_discard(struct libspawn__store *store,
                            struct libspawn__store_txn *txn, const char *path,
                            struct libspawn_err *err);

/* The names of the children, sorted; an existing node without any gives an
 * empty list.  'names' must be empty before. */
int libspawn__store_list(struct libspawn__store *store,
                         struct libspawn__store_txn *txn, const char *path,
                         struct libspawn__strv *names,
                         struct libspawn_err *err);

int libspawn__store_get_perms(struct libspawn__store *store,
                              struct libspawn__store_txn *txn,
                              const char *path,
                              struct libspawn__store_perm **perms_r,
                              size_t *n_perms_r, struct libspawn_err *err);
int libspawn__store_set_perms(struct libspawn__store *store,
                              struct libspawn__store_txn *txn,
                              const char *path,
                              const struct libspawn__store_perm *perms,
                              size_t n_perms, struct libspawn_err *err);

/* Reads inside see one unchanging tree and the transaction's own writes;
 * others see all of its writes at once, at the commit, or none.  A read that
 * can no longer be answered so is LIBSPAWN_ERR_CONFLICT; only the directory
 * store notices that before the commit. */
int libspawn__store_txn_begin(struct libspawn__store *store,
                              struct libspawn__store_txn **txn_r,
                              struct libspawn_err *err);

/* Ends the transaction in every case.  LIBSPAWN_ERR_CONFLICT when somebody
 * changed what it had looked at: nothing was written, run it again. */
int libspawn__store_txn_commit(struct libspawn__store *store,
                               struct libspawn__store_txn *txn,
                               struct libspawn_err *err);

/* Without effect; NULL is fine. */
void libspawn__store_txn_abort(struct libspawn__store *store,
                               struct libspawn__store_txn *txn);

/* Removes the nodes above 'path', which need not exist, that have no child:
 * those that writing it made.  One at the top stays. */
int libspawn__store_prune(struct libspawn__store *store, const char *path,
                          struct libspawn_err *err);

/* ---- Guests as clients -------------------------------------------------
 *
 * A guest on Xen speaks to the store itself, through a page of its memory
 * (the number 'frame') and an event channel.  LIBSPAWN_ERR_UNSUPPORTED where
 * guests are not clients.
 */
int libspawn__store_introduce(struct libspawn__store *store,
                              unsigned int domid, unsigned long frame,
                              unsigned int port, struct libspawn_err *err);

/* Ends that; the store does it by itself when the domain ends. */
int libspawn__store_release(struct libspawn__store *store, unsigned int domid,
                            struct libspawn_err *err);

/* ---- Watches -----------------------------------------------------------
 *
 * A watch fires, from the loop's dispatch, once after it was added and then
 * after every change of the node or of anything below it.  Changes in quick
 * succession may be reported once, and now and then a watch fires without a
 * change; look at the store for what is true now.  'path' is the watch's own,
 * or NULL when the server is lost; that comes once, and last.
 *
 * All watches of a store use one loop.  xenstore's "@introduceDomain" and
 * "@releaseDomain" can be watched too (LIBSPAWN_ERR_UNSUPPORTED elsewhere).
 *
 * libxenstore starts a thread for the first watch, so only the programs of
 * the project use watches, never a caller's process.
 */
struct libspawn__store_watch;
typedef void libspawn__store_watch_fn(struct libspawn__store_watch *watch,
                                      const char *path);

struct libspawn__store_watch {
    struct libspawn__list link;
    libspawn__store_watch_fn *fn;
    char *path;
    struct libspawn__store *store; /* NULL while inactive */
    void *impl;                    /* private to the implementation */
};

int libspawn__store_watch_add(struct libspawn__store *store,
                              struct libspawn__loop *loop,
                              struct libspawn__store_watch *watch,
                              const char *path, libspawn__store_watch_fn *fn,
                              struct libspawn_err *err);

/* Does nothing when inactive.  No callback comes afterwards. */
void libspawn__store_watch_remove(struct libspawn__store_watch *watch);

#endif
