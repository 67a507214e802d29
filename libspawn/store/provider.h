/*
 * For those who implement a store.  store.c checks paths, values and lists of
 * permissions before it calls these, so an implementation never sees a bad
 * one; contracts are in store.h.  A store that is lost (LIBSPAWN_ERR_GONE) is
 * not called any more but for the ends of transactions, watch_remove and
 * close.
 *
 * An implementation embeds struct libspawn__store, and in its transactions
 * struct libspawn__store_txn, as the first member; store.c fills both.
 */
#ifndef LIBSPAWN_STORE_PROVIDER_H
#define LIBSPAWN_STORE_PROVIDER_H

#include "store/store.h"

struct libspawn__store_class {
    const char *scheme; /* "dir", what stands before the colon */

    int (*open)(const char *argument, struct libspawn__store **store_r,
                struct libspawn_err *err);
    void (*close)(struct libspawn__store *store);
    int (*read)(struct libspawn__store *store, struct libspawn__store_txn *txn,
                const char *path, char **value_r, size_t *size_r,
                struct libspawn_err *err);
    /* Sets 'rc' of each.  NULL: read does it, one after the other. */
    void (*read_each)(struct libspawn__store *store,
                      struct libspawn__store_item *items, size_t n);
    int (*write)(struct libspawn__store *store,
                 struct libspawn__store_txn *txn, const char *path,
                 const void *value, size_t size, struct libspawn_err *err);
    int (*mkdir)(struct libspawn__store *store,
                 struct libspawn__store_txn *txn, const char *path,
                 struct libspawn_err *err);
    int (*remove)(struct libspawn__store *store,
                  struct libspawn__store_txn *txn, const char *path,
                  struct libspawn_err *err);
    /* NULL: remove does it. */
    int (*discard)(struct libspawn__store *store,
                   struct libspawn__store_txn *txn, const char *path,
                   struct libspawn_err *err);
    int (*list)(struct libspawn__store *store, struct libspawn__store_txn *txn,
                const char *path, struct libspawn__strv *names,
                struct libspawn_err *err);
    int (*get_perms)(struct libspawn__store *store,
                     struct libspawn__store_txn *txn, const char *path,
                     struct libspawn__store_perm **perms_r, size_t *n_perms_r,
                     struct libspawn_err *err);
    int (*set_perms)(struct libspawn__store *store,
                     struct libspawn__store_txn *txn, const char *path,
                     const struct libspawn__store_perm *perms, size_t n_perms,
                     struct libspawn_err *err);
    int (*txn_begin)(struct libspawn__store *store,
                     struct libspawn__store_txn **txn_r,
                     struct libspawn_err *err);
    /* Frees the transaction in every case. */
    int (*txn_end)(struct libspawn__store *store,
                   struct libspawn__store_txn *txn, bool commit,
                   struct libspawn_err *err);
    /* The watch is in the store's list already, and has an alarm.  Its first
     * firing is the implementation's business. */
    int (*watch_add)(struct libspawn__store *store,
                     struct libspawn__loop *loop,
                     struct libspawn__store_watch *watch,
                     struct libspawn_err *err);
    /* The watch is out of the list already. */
    void (*watch_remove)(struct libspawn__store *store,
                         struct libspawn__store_watch *watch);
    /* NULL where guests are not clients of the store. */
    int (*introduce)(struct libspawn__store *store, unsigned int domid,
                     unsigned long frame, unsigned int port,
                     struct libspawn_err *err);
    int (*release)(struct libspawn__store *store, unsigned int domid,
                   struct libspawn_err *err);
};

struct libspawn__store {
    const struct libspawn__store_class *class;
    char *address; /* an implementation may set a more exact one */
    struct libspawn__list watches;
    struct libspawn__list txns;
    uint64_t last_watch_id;
    bool is_gone;
};

struct libspawn__store_txn {
    struct libspawn__list link;
    struct libspawn__store *store;
};

/* 'impl' of an active watch. */
struct libspawn__store_alarm {
    struct libspawn__task task;
    struct libspawn__store_watch *watch;
    uint64_t id;    /* of no other watch of this store, ever */
    bool is_silent; /* the last callback was made */
};

/* Makes a kind of store known to libspawn__store_open.  The directory store
 * always is; programs on a Xen host add libspawn__store_xenstore_class.  Not
 * while another thread opens a store. */
void libspawn__store_register(const struct libspawn__store_class *class);

/* The callback of the watch comes from the next dispatch. */
void libspawn__store_watch_fire(struct libspawn__store_watch *watch);

/* The server is lost: fires every watch for the last time.  Called for an
 * implementation whenever it returned LIBSPAWN_ERR_GONE. */
void libspawn__store_lose(struct libspawn__store *store);

/* Whether 'path' is 'top' or below it. */
bool libspawn__store_path_is_within(const char *path, const char *top);

extern const struct libspawn__store_class libspawn__store_dir_class;
extern const struct libspawn__store_class libspawn__store_xenstore_class;

#endif
