/*
 * The front of every store: addresses, checks of what callers pass, and the
 * bookkeeping of transactions and watches that all implementations share.
 * What a path means is theirs (provider.h).
 */
#include "store/store.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/auto.h"
#include "store/provider.h"

/* ---- Addresses --------------------------------------------------------- */

enum { CLASSES_MAX = 4 };

static const struct libspawn__store_class *classes[CLASSES_MAX] = {
    &libspawn__store_dir_class,
};
static size_t n_classes = 1;

void
libspawn__store_register(const struct libspawn__store_class *class)
{
    size_t i;

    for (i = 0; i < n_classes; i++) {
        if (classes[i] == class) {
            return;
        }
    }
    assert(n_classes < CLASSES_MAX);
    classes[n_classes++] = class;
}

/* Which class 'address' belongs to; NULL: none. */
static const struct libspawn__store_class *
find_class(const char *address)
{
    size_t len = strcspn(address, ":");
    size_t i;

    for (i = 0; i < n_classes; i++) {
        if (strlen(classes[i]->scheme) == len &&
            !memcmp(address, classes[i]->scheme, len)) {
            return classes[i];
        }
    }
    return NULL;
}

int
libspawn__store_open(const char *address, struct libspawn__store **store_r,
                     struct libspawn_err *err)
{
    const struct libspawn__store_class *class;
    const char *colon = address ? strchr(address, ':') : NULL;
    struct libspawn__store *store;
    int rc;

    if (!colon) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%s' is not the address of a store, such as "
                              "'dir:/run/xl/store'",
                              address ? address : "");
    }
    class = find_class(address);
    if (!class) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "opening the store '%s': this program has no "
                              "support for that kind of store",
                              address);
    }
    rc = class->open(colon + 1, &store, err);
    if (rc) {
        return rc;
    }
    store->class = class;
    libspawn__list_init(&store->watches);
    libspawn__list_init(&store->txns);
    if (!store->address) {
        store->address = strdup(address);
    }
    if (!store->address) {
        libspawn__store_close(store);
        return libspawn__fail_nomem(err);
    }
    *store_r = store;
    return 0;
}

void
libspawn__store_close(struct libspawn__store *store)
{
    if (!store) {
        return;
    }
    while (!libspawn__list_is_empty(&store->watches)) {
        libspawn__store_watch_remove(CONTAINER_OF(
            store->watches.next, struct libspawn__store_watch, link));
    }
    while (!libspawn__list_is_empty(&store->txns)) {
        libspawn__store_txn_abort(
            store,
            CONTAINER_OF(store->txns.next, struct libspawn__store_txn, link));
    }
    free(store->address);
    store->class->close(store);
}

const char *
libspawn__store_address(const struct libspawn__store *store)
{
    return store->address;
}

/* ---- Checks ------------------------------------------------------------ */

static bool
is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || (c && strchr("-_@:+.", c));
}

/* Of the component at the start of 'text'; 0 when it is not a valid one. */
static size_t
name_len(const char *text)
{
    size_t len = 0;

    while (is_name_char(text[len])) {
        len++;
    }
    if ((text[len] && text[len] != '/') || text[0] == '.' ||
        len > LIBSPAWN__STORE_NAME_MAX) {
        return 0;
    }
    return len;
}

static bool
is_path(const char *path)
{
    if (!path || path[0] != '/') {
        return false;
    }
    if (!path[1]) {
        return true;
    }
    while (*path == '/') {
        size_t len = name_len(path + 1);

        if (!len) {
            return false;
        }
        path += len + 1;
    }
    return true;
}

static int
check_path(const char *path, struct libspawn_err *err)
{
    if (!is_path(path)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%.200s' is not a valid path in a store",
                              path ? path : "");
    }
    if (strlen(path) > LIBSPAWN__STORE_PATH_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "store path '%.200s...' is longer than %d "
                              "characters",
                              path, LIBSPAWN__STORE_PATH_MAX);
    }
    return 0;
}

static int
check_value(const char *path, size_t size, struct libspawn_err *err)
{
    size_t max = LIBSPAWN__STORE_VALUE_MAX - strlen(path) - 1;

    if (size > max) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "the value for '%.200s' has %zu bytes, and the "
                              "store takes at most %zu there",
                              path, size, max);
    }
    return 0;
}

static int
check_perms(const char *path, const struct libspawn__store_perm *perms,
            size_t n_perms, struct libspawn_err *err)
{
    enum { DOMID_MAX = 0xffff };
    size_t i;

    if (!n_perms || n_perms > LIBSPAWN__STORE_PERMS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "a list of %zu permissions for '%.200s': it "
                              "must have 1 to %d",
                              n_perms, path, LIBSPAWN__STORE_PERMS_MAX);
    }
    for (i = 0; i < n_perms; i++) {
        if (perms[i].domid > DOMID_MAX) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "%u in the permissions for '%.200s' is not "
                                  "the number of a domain",
                                  perms[i].domid, path);
        }
    }
    return 0;
}

static int
check_store(const struct libspawn__store *store,
            const struct libspawn__store_txn *txn, struct libspawn_err *err)
{
    if (store->is_gone) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE, "the store '%s' is lost",
                              store->address);
    }
    if (txn && txn->store != store) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the transaction is not one of the store '%s'",
                              store->address);
    }
    return 0;
}

static int
check(const struct libspawn__store *store,
      const struct libspawn__store_txn *txn, const char *path,
      struct libspawn_err *err)
{
    int rc = check_store(store, txn, err);

    return rc ? rc : check_path(path, err);
}

/* What an implementation returned, which may be that it is lost. */
static int
settle(struct libspawn__store *store, int rc)
{
    if (rc == LIBSPAWN_ERR_GONE) {
        libspawn__store_lose(store);
    }
    return rc;
}

bool
libspawn__store_path_is_within(const char *path, const char *top)
{
    size_t len = strlen(top);

    return !top[1] ||
           (!strncmp(path, top, len) && (!path[len] || path[len] == '/'));
}

/* ---- Nodes ------------------------------------------------------------- */

int
libspawn__store_read(struct libspawn__store *store,
                     struct libspawn__store_txn *txn, const char *path,
                     char **value_r, size_t *size_r, struct libspawn_err *err)
{
    size_t size;
    int rc = check(store, txn, path, err);

    if (!rc) {
        rc = settle(store,
                    store->class->read(store, txn, path, value_r, &size, err));
    }
    if (!rc && size_r) {
        *size_r = size;
    }
    return rc;
}

/* Whether all of them may be read together. */
static bool
can_read_each(const struct libspawn__store *store,
              const struct libspawn__store_item *items, size_t n)
{
    bool can = store->class->read_each && !store->is_gone;
    size_t i;

    for (i = 0; can && i < n; i++) {
        can = !check_path(items[i].path, NULL);
    }
    return can;
}

void
libspawn__store_read_each(struct libspawn__store *store,
                          struct libspawn__store_item *items, size_t n)
{
    bool is_together = can_read_each(store, items, n);
    size_t i;

    if (is_together) {
        store->class->read_each(store, items, n);
    }
    for (i = 0; i < n; i++) {
        struct libspawn__store_item *item = &items[i];

        item->rc = is_together
                       ? settle(store, item->rc)
                       : libspawn__store_read(store, NULL, item->path,
                                              &item->value, &item->size, NULL);
    }
}

void
libspawn__store_items_dispose(struct libspawn__store_item *items, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        free(items[i].value);
        items[i].value = NULL;
    }
}

int
libspawn__store_write(struct libspawn__store *store,
                      struct libspawn__store_txn *txn, const char *path,
                      const void *value, size_t size, struct libspawn_err *err)
{
    int rc = check(store, txn, path, err);

    if (!rc) {
        rc = check_value(path, size, err);
    }
    if (!rc) {
        rc = settle(store,
                    store->class->write(store, txn, path, value, size, err));
    }
    return rc;
}

int
libspawn__store_puts(struct libspawn__store *store,
                     struct libspawn__store_txn *txn, const char *path,
                     const char *value, struct libspawn_err *err)
{
    return libspawn__store_write(store, txn, path, value, strlen(value), err);
}

int
libspawn__store_printf(struct libspawn__store *store,
                       struct libspawn__store_txn *txn, const char *path,
                       struct libspawn_err *err, const char *format, ...)
{
    AUTO_FREE char *value = NULL;
    va_list args;
    int len;

    va_start(args, format);
    len = vasprintf(&value, format, args);
    va_end(args);
    if (len < 0) {
        value = NULL;
        return libspawn__fail_nomem(err);
    }
    return libspawn__store_write(store, txn, path, value, (size_t)len, err);
}

int
libspawn__store_mkdir(struct libspawn__store *store,
                      struct libspawn__store_txn *txn, const char *path,
                      struct libspawn_err *err)
{
    int rc = check(store, txn, path, err);

    return rc ? rc : settle(store, store->class->mkdir(store, txn, path, err));
}

static int
check_removal(struct libspawn__store *store, struct libspawn__store_txn *txn,
              const char *path, struct libspawn_err *err)
{
    int rc = check(store, txn, path, err);

    if (!rc && !path[1]) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "the root of a store cannot be removed");
    }
    return rc;
}

int
libspawn__store_remove(struct libspawn__store *store,
                       struct libspawn__store_txn *txn, const char *path,
                       struct libspawn_err *err)
{
    int rc = check_removal(store, txn, path, err);

    return rc ? rc
              : settle(store, store->class->remove(store, txn, path, err));
}

int
libspawn__store_discard(struct libspawn__store *store,
                        struct libspawn__store_txn *txn, const char *path,
                        struct libspawn_err *err)
{
    struct libspawn_err late;
    int rc = check_removal(store, txn, path, err);

    if (rc) {
        return rc;
    }
    if (store->class->discard) {
        return settle(store, store->class->discard(store, txn, path, err));
    }
    rc = settle(store, store->class->remove(store, txn, path, &late));
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return 0;
    }
    if (rc && err) {
        *err = late;
    }
    return rc;
}

int
libspawn__store_list(struct libspawn__store *store,
                     struct libspawn__store_txn *txn, const char *path,
                     struct libspawn__strv *names, struct libspawn_err *err)
{
    int rc = check(store, txn, path, err);

    if (!rc) {
        rc = settle(store, store->class->list(store, txn, path, names, err));
    }
    if (rc) {
        libspawn__strv_dispose(names);
    } else {
        libspawn__strv_sort(names);
    }
    return rc;
}

int
libspawn__store_get_perms(struct libspawn__store *store,
                          struct libspawn__store_txn *txn, const char *path,
                          struct libspawn__store_perm **perms_r,
                          size_t *n_perms_r, struct libspawn_err *err)
{
    int rc = check(store, txn, path, err);

    if (!rc) {
        rc = settle(store, store->class->get_perms(store, txn, path, perms_r,
                                                   n_perms_r, err));
    }
    return rc;
}

int
libspawn__store_set_perms(struct libspawn__store *store,
                          struct libspawn__store_txn *txn, const char *path,
                          const struct libspawn__store_perm *perms,
                          size_t n_perms, struct libspawn_err *err)
{
    int rc = check(store, txn, path, err);

    if (!rc) {
        rc = check_perms(path, perms, n_perms, err);
    }
    if (!rc) {
        rc = settle(store, store->class->set_perms(store, txn, path, perms,
                                                   n_perms, err));
    }
    return rc;
}

/* ---- Transactions ------------------------------------------------------ */

int
libspawn__store_txn_begin(struct libspawn__store *store,
                          struct libspawn__store_txn **txn_r,
                          struct libspawn_err *err)
{
    struct libspawn__store_txn *txn;
    int rc = check_store(store, NULL, err);

    if (!rc) {
        rc = settle(store, store->class->txn_begin(store, &txn, err));
    }
    if (rc) {
        return rc;
    }
    txn->store = store;
    libspawn__list_append(&store->txns, &txn->link);
    *txn_r = txn;
    return 0;
}

static int
end_txn(struct libspawn__store *store, struct libspawn__store_txn *txn,
        bool commit, struct libspawn_err *err)
{
    libspawn__list_remove(&txn->link);
    return settle(store, store->class->txn_end(store, txn, commit, err));
}

int
libspawn__store_txn_commit(struct libspawn__store *store,
                           struct libspawn__store_txn *txn,
                           struct libspawn_err *err)
{
    int rc = check_store(store, txn, err);

    if (rc) {
        end_txn(txn->store, txn, false, NULL);
        return rc;
    }
    return end_txn(store, txn, true, err);
}

void
libspawn__store_txn_abort(struct libspawn__store *store,
                          struct libspawn__store_txn *txn)
{
    (void)store;
    if (txn) {
        end_txn(txn->store, txn, false, NULL);
    }
}

/* Those of one path, in a transaction: somebody may write a child. */
static int
prune_once(struct libspawn__store *store, struct libspawn__store_txn *txn,
           char *path, struct libspawn_err *err)
{
    char *slash;
    int rc = 0;

    while (!rc && (slash = strrchr(path, '/')) &&
           memchr(path + 1, '/', (size_t)(slash - path - 1))) {
        AUTO_STRV struct libspawn__strv names = { 0 };

        *slash = '\0';
        rc = libspawn__store_list(store, txn, path, &names, err);
        if (names.n_items) {
            break;
        }
        if (!rc) {
            rc = libspawn__store_discard(store, txn, path, err);
        } else if (rc == LIBSPAWN_ERR_NOT_FOUND) {
            rc = 0;
        }
    }
    return rc;
}

int
libspawn__store_prune(struct libspawn__store *store, const char *path,
                      struct libspawn_err *err)
{
    int rc;

    do {
        AUTO_FREE char *left = strdup(path);
        struct libspawn__store_txn *txn;

        rc = left ? libspawn__store_txn_begin(store, &txn, err)
                  : libspawn__fail_nomem(err);
        if (rc) {
            return rc;
        }
        rc = prune_once(store, txn, left, err);
        if (rc) {
            libspawn__store_txn_abort(store, txn);
        } else {
            rc = libspawn__store_txn_commit(store, txn, err);
        }
    } while (rc == LIBSPAWN_ERR_CONFLICT);
    return rc;
}

/* ---- Guests as clients ------------------------------------------------- */

static int
fail_no_clients(const struct libspawn__store *store, struct libspawn_err *err)
{
    return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                          "guests are not clients of the store '%s'",
                          store->address);
}

int
libspawn__store_introduce(struct libspawn__store *store, unsigned int domid,
                          unsigned long frame, unsigned int port,
                          struct libspawn_err *err)
{
    int rc = check_store(store, NULL, err);

    if (rc) {
        return rc;
    }
    if (!store->class->introduce) {
        return fail_no_clients(store, err);
    }
    return settle(store,
                  store->class->introduce(store, domid, frame, port, err));
}

int
libspawn__store_release(struct libspawn__store *store, unsigned int domid,
                        struct libspawn_err *err)
{
    int rc = check_store(store, NULL, err);

    if (rc) {
        return rc;
    }
    if (!store->class->release) {
        return fail_no_clients(store, err);
    }
    return settle(store, store->class->release(store, domid, err));
}

/* ---- Watches -----------------------------------------------------------
 *
 * Each watch has a task, so that its callback, which may remove this watch or
 * any other, runs at the top of the loop and not inside an implementation.
 */

static void
sound(struct libspawn__task *task)
{
    struct libspawn__store_alarm *alarm =
        CONTAINER_OF(task, struct libspawn__store_alarm, task);
    struct libspawn__store_watch *watch = alarm->watch;

    if (alarm->is_silent) {
        return;
    }
    alarm->is_silent = watch->store->is_gone;
    watch->fn(watch, watch->store->is_gone ? NULL : watch->path);
}

void
libspawn__store_watch_fire(struct libspawn__store_watch *watch)
{
    struct libspawn__store_alarm *alarm = watch->impl;

    libspawn__task_post(&alarm->task);
}

void
libspawn__store_lose(struct libspawn__store *store)
{
    struct libspawn__list *link;

    store->is_gone = true;
    LIST_FOR_EACH (link, &store->watches) {
        libspawn__store_watch_fire(
            CONTAINER_OF(link, struct libspawn__store_watch, link));
    }
}

static bool
is_special_path(const char *path)
{
    return path && path[0] == '@' && name_len(path) == strlen(path);
}

/* Frees what libspawn__store_watch_add made. */
static void
dispose_watch(struct libspawn__store_watch *watch)
{
    struct libspawn__store_alarm *alarm = watch->impl;

    libspawn__list_remove(&watch->link);
    if (alarm) {
        libspawn__task_cancel(&alarm->task);
    }
    free(alarm);
    free(watch->path);
    watch->impl = NULL;
    watch->path = NULL;
    watch->store = NULL;
}

int
libspawn__store_watch_add(struct libspawn__store *store,
                          struct libspawn__loop *loop,
                          struct libspawn__store_watch *watch,
                          const char *path, libspawn__store_watch_fn *fn,
                          struct libspawn_err *err)
{
    struct libspawn__store_alarm *alarm;
    int rc = check_store(store, NULL, err);

    if (!rc && !is_special_path(path)) {
        rc = check_path(path, err);
    }
    if (rc) {
        return rc;
    }
    alarm = calloc(1, sizeof *alarm);
    *watch = (struct libspawn__store_watch){
        .fn = fn, .path = strdup(path), .store = store, .impl = alarm
    };
    libspawn__list_init(&watch->link);
    if (alarm && watch->path) {
        alarm->watch = watch;
        alarm->id = ++store->last_watch_id;
        libspawn__task_init(loop, &alarm->task, sound);
        libspawn__list_append(&store->watches, &watch->link);
        rc = settle(store, store->class->watch_add(store, loop, watch, err));
    } else {
        rc = libspawn__fail_nomem(err);
    }
    if (rc) {
        dispose_watch(watch);
    }
    return rc;
}

void
libspawn__store_watch_remove(struct libspawn__store_watch *watch)
{
    if (!watch->store) {
        return;
    }
    libspawn__list_remove(&watch->link);
    watch->store->class->watch_remove(watch->store, watch);
    dispose_watch(watch);
}
