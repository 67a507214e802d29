/*
 * Inside the directory store; docs/PROTOCOLS.md describes the files.
 *
 *   dir.c          the store's class: open, the lock, plain calls
 *   dir_node.c     nodes as files and directories
 *   dir_perms.c    permissions
 *   dir_journal.c  several changes as one, whoever dies in between
 *   dir_txn.c      transactions
 *   dir_watch.c    watches
 *
 * Whoever changes something, lists or looks at permissions holds the lock.
 * Reading a value takes none: each value is put in its place by one rename.
 */
#ifndef LIBSPAWN_STORE_DIR_H
#define LIBSPAWN_STORE_DIR_H

#include <stdint.h>
#include <sys/types.h>

#include "store/provider.h"

struct libspawn__dir_watched; /* private to dir_watch.c */

struct libspawn__dir_watches {
    struct libspawn__loop *loop; /* NULL: no watch */
    int fd;                      /* inotify; -1: none, or polling */
    struct libspawn__io io;
    int parent_wd; /* the directory that the store's directory is in */
    struct libspawn__dir_watched *items;
    size_t n_items;
    size_t n_allocated;
    struct libspawn__timer timer; /* polling */
    uint64_t generation;          /* the last one seen when polling */
};

struct libspawn__dir {
    struct libspawn__store store;
    char *path; /* of the root: absolute, no symbolic links */
    dev_t device;
    ino_t inode;
    int root_fd;
    int work_fd; /* ".store" in the root: what is not a node */
    int lock_fd; /* ".store/lock" */
    struct libspawn__dir_watches watches;
};

/* Fills 'err': "<what> '<path>' in the store '<root>': <reason>". */
int libspawn__dir_fail(const struct libspawn__dir *dir, int sys_errno,
                       const char *what, const char *path,
                       struct libspawn_err *err);

/* ---- The lock (dir.c) -------------------------------------------------- */

/* LIBSPAWN_ERR_GONE when the root is not where it was when it was opened. */
int libspawn__dir_check(const struct libspawn__dir *dir,
                        struct libspawn_err *err);

/* Waits for the lock, and completes the changes of a process that died in the
 * middle.  Not to be nested. */
int libspawn__dir_lock(const struct libspawn__dir *dir,
                       struct libspawn_err *err);
void libspawn__dir_unlock(const struct libspawn__dir *dir);

/* The generation changes before each change of a node. */
uint64_t libspawn__dir_get_generation(const struct libspawn__dir *dir);
int libspawn__dir_advance_generation(const struct libspawn__dir *dir,
                                     struct libspawn_err *err);

/* ---- Nodes (dir_node.c); under the lock, but for read ------------------ */

/* Opens what stands for the node; -1 and errno.  Follows no links. */
int libspawn__dir_node_open(const struct libspawn__dir *dir, const char *path,
                            int flags);

int libspawn__dir_node_read(const struct libspawn__dir *dir, const char *path,
                            char **value_r, size_t *size_r,
                            struct libspawn_err *err);
int libspawn__dir_node_write(const struct libspawn__dir *dir, const char *path,
                             const void *value, size_t size,
                             struct libspawn_err *err);
int libspawn__dir_node_mkdir(const struct libspawn__dir *dir, const char *path,
                             struct libspawn_err *err);
int libspawn__dir_node_remove(const struct libspawn__dir *dir,
                              const char *path, struct libspawn_err *err);

/* The names in no order. */
int libspawn__dir_node_list(const struct libspawn__dir *dir, const char *path,
                            struct libspawn__strv *names,
                            struct libspawn_err *err);

/* Writes the file 'name' of an existing node, which becomes a directory. */
int libspawn__dir_node_put_file(const struct libspawn__dir *dir,
                                const char *path, const char *name,
                                const void *bytes, size_t size,
                                struct libspawn_err *err);

/* Writes the file "new" of the work directory; 0 or -errno. */
int libspawn__dir_stage(const struct libspawn__dir *dir, const void *bytes,
                        size_t size);

/* ---- Permissions (dir_perms.c); under the lock -------------------------
 *
 * As text they look as in xenstore: "n0 r5", one word per entry.
 */
void libspawn__dir_perms_pack(const struct libspawn__store_perm *perms,
                              size_t n_perms, struct libspawn__buf *buf);
int libspawn__dir_perms_unpack(const char *text,
                               struct libspawn__store_perm **perms_r,
                               size_t *n_perms_r, struct libspawn_err *err);

/* Appends them to 'text'. */
int libspawn__dir_perms_get(const struct libspawn__dir *dir, const char *path,
                            struct libspawn__buf *text,
                            struct libspawn_err *err);
int libspawn__dir_perms_set(const struct libspawn__dir *dir, const char *path,
                            const char *text, size_t size,
                            struct libspawn_err *err);

/* ---- Journal (dir_journal.c) ------------------------------------------- */

enum libspawn__dir_op_kind {
    LIBSPAWN__DIR_OP_WRITE = 'w',
    LIBSPAWN__DIR_OP_MKDIR = 'm',
    LIBSPAWN__DIR_OP_REMOVE = 'r',
    LIBSPAWN__DIR_OP_PERMS = 'p'
};

/* One change. */
struct libspawn__dir_op {
    enum libspawn__dir_op_kind kind;
    const char *path;
    const char *bytes; /* a value, or permissions as text */
    size_t size;
    char *storage; /* in a list: of path and bytes, which a NUL follows */
};

struct libspawn__dir_ops {
    struct libspawn__dir_op *items;
    size_t n_items;
    size_t n_allocated;
};

void libspawn__dir_ops_dispose(struct libspawn__dir_ops *ops);

/* Adds a copy. */
int libspawn__dir_ops_add(struct libspawn__dir_ops *ops,
                          const struct libspawn__dir_op *op,
                          struct libspawn_err *err);

/* Makes the change.  Under the lock. */
int libspawn__dir_op_apply(const struct libspawn__dir *dir,
                           const struct libspawn__dir_op *op,
                           struct libspawn_err *err);

/* Makes all changes, or none.  Under the lock. */
int libspawn__dir_journal_commit(const struct libspawn__dir *dir,
                                 const struct libspawn__dir_ops *ops,
                                 struct libspawn_err *err);

/* Whether a commit is under way, or its process died. */
bool libspawn__dir_journal_is_pending(const struct libspawn__dir *dir);

/* Completes it.  Under the lock. */
int libspawn__dir_journal_recover(const struct libspawn__dir *dir,
                                  struct libspawn_err *err);

/* ---- Transactions (dir_txn.c) and watches (dir_watch.c) ----------------
 *
 * As in struct libspawn__store_class; a transaction is given here.
 */
int libspawn__dir_txn_begin(struct libspawn__store *store,
                            struct libspawn__store_txn **txn_r,
                            struct libspawn_err *err);
int libspawn__dir_txn_end(struct libspawn__store *store,
                          struct libspawn__store_txn *txn, bool commit,
                          struct libspawn_err *err);
int libspawn__dir_txn_read(struct libspawn__store_txn *txn, const char *path,
                           char **value_r, size_t *size_r,
                           struct libspawn_err *err);
int libspawn__dir_txn_list(struct libspawn__store_txn *txn, const char *path,
                           struct libspawn__strv *names,
                           struct libspawn_err *err);

/* Appends them to 'text'. */
int libspawn__dir_txn_get_perms(struct libspawn__store_txn *txn,
                                const char *path, struct libspawn__buf *text,
                                struct libspawn_err *err);

/* Remembers a change, which must be possible. */
int libspawn__dir_txn_change(struct libspawn__store_txn *txn,
                             const struct libspawn__dir_op *op,
                             struct libspawn_err *err);

int libspawn__dir_watch_add(struct libspawn__store *store,
                            struct libspawn__loop *loop,
                            struct libspawn__store_watch *watch,
                            struct libspawn_err *err);
void libspawn__dir_watch_remove(struct libspawn__store *store,
                                struct libspawn__store_watch *watch);

#endif
