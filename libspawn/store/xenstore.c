/*
 * The store of a Xen host: libxenstore, which this file alone includes.  Not
 * in libspawn.a; programs for Xen hosts link it and register its class.
 *
 * libxenstore does not tell anybody that its connection ended: its reader
 * thread closes the socket, and xs_fileno stays silent.  So with the first
 * watch a second connection is opened on which nothing is ever sent; that it
 * hangs up is the event.  libxenstore keeps SIGPIPE away by itself.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <xenstore.h>

#include "base/auto.h"
#include "store/provider.h"

struct xenstore {
    struct libspawn__store store;
    struct xs_handle *xs;
    struct libspawn__loop *loop; /* NULL: nothing was watched yet */
    struct libspawn__io events_io;
    struct libspawn__io hangup_io;
    int hangup_fd; /* -1: none */
};

struct txn {
    struct libspawn__store_txn base;
    xs_transaction_t id;
};

static struct xenstore *
xenstore_of(struct libspawn__store *store)
{
    return CONTAINER_OF(store, struct xenstore, store);
}

static xs_transaction_t
id_of(struct libspawn__store_txn *txn)
{
    return txn ? CONTAINER_OF(txn, struct txn, base)->id : XBT_NULL;
}

/* ---- Errors ------------------------------------------------------------ */

/* Where the errno means something else than everywhere. */
static const struct {
    int sys_errno;
    int code;
    const char *text;
} reasons[] = {
    { ENOENT, LIBSPAWN_ERR_NOT_FOUND, "it does not exist" },
    { EAGAIN, LIBSPAWN_ERR_CONFLICT,
      "the store was changed by somebody else during the transaction" },
    { ENOSPC, LIBSPAWN_ERR_LIMIT, "a quota of xenstored is used up" },
    { EBADF, LIBSPAWN_ERR_GONE, "the connection to xenstored is lost" },
    { EPIPE, LIBSPAWN_ERR_GONE, "the connection to xenstored is lost" },
    { ECONNRESET, LIBSPAWN_ERR_GONE, "the connection to xenstored is lost" },
};

/* A reply that never comes is EINVAL, as a name that xenstored does not like;
 * but then libxenstore has no socket any more. */
static int
real_errno(struct xs_handle *xs, int sys_errno)
{
    if (sys_errno == EINVAL) {
        errno = 0;
        free(xs_read(xs, XBT_NULL, "/", NULL));
        return errno == EBADF ? EBADF : EINVAL;
    }
    return sys_errno;
}

/* After a failed call, which set errno. */
static int
fail(struct libspawn__store *store, const char *what, const char *path,
     struct libspawn_err *err)
{
    int sys_errno = real_errno(xenstore_of(store)->xs, errno);
    size_t i;

    for (i = 0; i < ARRAY_SIZE(reasons); i++) {
        if (reasons[i].sys_errno == sys_errno) {
            libspawn__fail(err, reasons[i].code, "%s '%.200s' in xenstore: %s",
                           what, path, reasons[i].text);
            if (err) {
                err->sys_errno = sys_errno;
            }
            return reasons[i].code;
        }
    }
    return libspawn__fail_errno(err, sys_errno, "%s '%.200s' in xenstore",
                                what, path);
}

/* ---- Open and close ---------------------------------------------------- */

static int
xenstore_open(const char *argument, struct libspawn__store **store_r,
              struct libspawn_err *err)
{
    struct xenstore *xenstore;

    if (argument[0]) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "nothing may follow the store address "
                              "'xenstore:'");
    }
    xenstore = calloc(1, sizeof *xenstore);
    if (!xenstore) {
        return libspawn__fail_nomem(err);
    }
    xenstore->hangup_fd = -1;
    xenstore->xs = xs_open(0);
    if (!xenstore->xs) {
        int sys_errno = errno;

        free(xenstore);
        return libspawn__fail_errno(
            err, sys_errno, "connecting to xenstored (is this a Xen host?)");
    }
    *store_r = &xenstore->store;
    return 0;
}

static void
xenstore_close(struct libspawn__store *store)
{
    struct xenstore *xenstore = xenstore_of(store);

    libspawn__io_remove(&xenstore->events_io);
    libspawn__io_remove(&xenstore->hangup_io);
    libspawn__auto_close(&xenstore->hangup_fd);
    xs_close(xenstore->xs);
    free(xenstore);
}

/* ---- Nodes ------------------------------------------------------------- */

static int
xenstore_read(struct libspawn__store *store, struct libspawn__store_txn *txn,
              const char *path, char **value_r, size_t *size_r,
              struct libspawn_err *err)
{
    unsigned int size;
    char *value = xs_read(xenstore_of(store)->xs, id_of(txn), path, &size);

    if (!value) {
        return fail(store, "reading", path, err);
    }
    *value_r = value;
    *size_r = size;
    return 0;
}

static int
xenstore_write(struct libspawn__store *store, struct libspawn__store_txn *txn,
               const char *path, const void *value, size_t size,
               struct libspawn_err *err)
{
    if (!xs_write(xenstore_of(store)->xs, id_of(txn), path, value,
                  (unsigned int)size)) {
        return fail(store, "writing", path, err);
    }
    return 0;
}

static int
xenstore_mkdir(struct libspawn__store *store, struct libspawn__store_txn *txn,
               const char *path, struct libspawn_err *err)
{
    if (!xs_mkdir(xenstore_of(store)->xs, id_of(txn), path)) {
        return fail(store, "making", path, err);
    }
    return 0;
}

/* xenstored is content when the node is missing but its parent is not. */
static int
xenstore_remove(struct libspawn__store *store, struct libspawn__store_txn *txn,
                const char *path, struct libspawn_err *err)
{
    struct xs_handle *xs = xenstore_of(store)->xs;
    AUTO_FREE char *value = xs_read(xs, id_of(txn), path, NULL);

    if (!value || !xs_rm(xs, id_of(txn), path)) {
        return fail(store, "removing", path, err);
    }
    return 0;
}

static int
xenstore_discard(struct libspawn__store *store,
                 struct libspawn__store_txn *txn, const char *path,
                 struct libspawn_err *err)
{
    bool is_gone = xs_rm(xenstore_of(store)->xs, id_of(txn), path) ||
                   errno == ENOENT;

    return is_gone ? 0 : fail(store, "removing", path, err);
}

static int
xenstore_list(struct libspawn__store *store, struct libspawn__store_txn *txn,
              const char *path, struct libspawn__strv *names,
              struct libspawn_err *err)
{
    unsigned int n_children;
    AUTO_FREE char **children =
        xs_directory(xenstore_of(store)->xs, id_of(txn), path, &n_children);
    unsigned int i;
    int rc = 0;

    if (!children) {
        return fail(store, "listing", path, err);
    }
    for (i = 0; !rc && i < n_children; i++) {
        rc = libspawn__strv_add(names, children[i], err);
    }
    return rc;
}

static int
xenstore_get_perms(struct libspawn__store *store,
                   struct libspawn__store_txn *txn, const char *path,
                   struct libspawn__store_perm **perms_r, size_t *n_perms_r,
                   struct libspawn_err *err)
{
    unsigned int n_theirs;
    AUTO_FREE struct xs_permissions *theirs = xs_get_permissions(
        xenstore_of(store)->xs, id_of(txn), path, &n_theirs);
    struct libspawn__store_perm *perms;
    unsigned int i;

    if (!theirs) {
        return fail(store, "reading the permissions of", path, err);
    }
    perms = calloc(MAX(n_theirs, 1), sizeof *perms);
    if (!perms) {
        return libspawn__fail_nomem(err);
    }
    for (i = 0; i < n_theirs; i++) {
        perms[i].domid = theirs[i].id;
        perms[i].can_read = theirs[i].perms & XS_PERM_READ;
        perms[i].can_write = theirs[i].perms & XS_PERM_WRITE;
    }
    *perms_r = perms;
    *n_perms_r = n_theirs;
    return 0;
}

static int
xenstore_set_perms(struct libspawn__store *store,
                   struct libspawn__store_txn *txn, const char *path,
                   const struct libspawn__store_perm *perms, size_t n_perms,
                   struct libspawn_err *err)
{
    struct xs_permissions theirs[LIBSPAWN__STORE_PERMS_MAX];
    size_t i;

    for (i = 0; i < n_perms; i++) {
        theirs[i].id = perms[i].domid;
        theirs[i].perms = (perms[i].can_read ? XS_PERM_READ : 0) |
                          (perms[i].can_write ? XS_PERM_WRITE : 0);
    }
    if (!xs_set_permissions(xenstore_of(store)->xs, id_of(txn), path, theirs,
                            (unsigned int)n_perms)) {
        return fail(store, "setting the permissions of", path, err);
    }
    return 0;
}

/* ---- Transactions ------------------------------------------------------ */

static int
xenstore_txn_begin(struct libspawn__store *store,
                   struct libspawn__store_txn **txn_r,
                   struct libspawn_err *err)
{
    struct txn *txn = calloc(1, sizeof *txn);

    if (!txn) {
        return libspawn__fail_nomem(err);
    }
    txn->id = xs_transaction_start(xenstore_of(store)->xs);
    if (txn->id == XBT_NULL) {
        int rc = fail(store, "beginning a transaction for", "/", err);

        free(txn);
        return rc;
    }
    *txn_r = &txn->base;
    return 0;
}

static int
xenstore_txn_end(struct libspawn__store *store,
                 struct libspawn__store_txn *txn, bool commit,
                 struct libspawn_err *err)
{
    bool ok = xs_transaction_end(xenstore_of(store)->xs, id_of(txn), !commit);
    int rc = ok ? 0 : fail(store, "ending a transaction for", "/", err);

    free(CONTAINER_OF(txn, struct txn, base));
    return rc;
}

/* ---- Guests as clients ------------------------------------------------- */

static int
fail_client(struct libspawn__store *store, const char *what,
            unsigned int domid, struct libspawn_err *err)
{
    char name[sizeof "domain 4294967295"];
    int sys_errno = errno;

    snprintf(name, sizeof name, "domain %u", domid);
    errno = sys_errno;
    return fail(store, what, name, err);
}

static int
xenstore_introduce(struct libspawn__store *store, unsigned int domid,
                   unsigned long frame, unsigned int port,
                   struct libspawn_err *err)
{
    if (!xs_introduce_domain(xenstore_of(store)->xs, domid, frame, port)) {
        return fail_client(store, "introducing", domid, err);
    }
    return 0;
}

static int
xenstore_release(struct libspawn__store *store, unsigned int domid,
                 struct libspawn_err *err)
{
    if (!xs_release_domain(xenstore_of(store)->xs, domid)) {
        return fail_client(store, "releasing", domid, err);
    }
    return 0;
}

/* ---- Watches ----------------------------------------------------------- */

static void
format_token(const struct libspawn__store_watch *watch, char *token,
             size_t size)
{
    const struct libspawn__store_alarm *alarm = watch->impl;

    snprintf(token, size, "%llu", (unsigned long long)alarm->id);
}

enum { TOKEN_SIZE = sizeof "18446744073709551615" };

/* None when the watch was removed meanwhile. */
static void
fire(struct xenstore *xenstore, const char *token)
{
    struct libspawn__list *link;

    LIST_FOR_EACH (link, &xenstore->store.watches) {
        struct libspawn__store_watch *watch =
            CONTAINER_OF(link, struct libspawn__store_watch, link);
        char own_token[TOKEN_SIZE];

        format_token(watch, own_token, sizeof own_token);
        if (!strcmp(own_token, token)) {
            libspawn__store_watch_fire(watch);
        }
    }
}

/* Until there is none left: the descriptor need not be readable as long as
 * there are some. */
static void
read_events(struct libspawn__io *io, uint32_t events)
{
    enum { PATH, TOKEN };
    struct xenstore *xenstore = CONTAINER_OF(io, struct xenstore, events_io);

    (void)events;
    for (;;) {
        AUTO_FREE char **event = xs_check_watch(xenstore->xs);

        if (!event) {
            break;
        }
        fire(xenstore, event[TOKEN]);
    }
    if (errno != EAGAIN) {
        libspawn__io_remove(io);
        libspawn__store_lose(&xenstore->store);
    }
}

static void
hang_up(struct libspawn__io *io, uint32_t events)
{
    struct xenstore *xenstore = CONTAINER_OF(io, struct xenstore, hangup_io);

    (void)events;
    libspawn__io_remove(io);
    libspawn__store_lose(&xenstore->store);
}

/* -1 when xenstored has no socket here, because it runs in another domain. */
static int
connect_to_xenstored(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s",
             xs_daemon_socket());
    if (fd < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        return -1;
    }
    return TAKE_FD(fd);
}

static int
start_watching(struct xenstore *xenstore, struct libspawn__loop *loop,
               struct libspawn_err *err)
{
    int fd = xs_fileno(xenstore->xs);
    int rc;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno,
                                    "asking for xenstore's events");
    }
    rc = libspawn__io_add(loop, &xenstore->events_io, fd, EPOLLIN, read_events,
                          err);
    if (rc) {
        return rc;
    }
    xenstore->hangup_fd = connect_to_xenstored();
    if (xenstore->hangup_fd >= 0) {
        rc = libspawn__io_add(loop, &xenstore->hangup_io, xenstore->hangup_fd,
                              EPOLLIN, hang_up, err);
    }
    if (rc) {
        libspawn__io_remove(&xenstore->events_io);
        libspawn__auto_close(&xenstore->hangup_fd);
        xenstore->hangup_fd = -1;
        return rc;
    }
    xenstore->loop = loop;
    return 0;
}

static int
xenstore_watch_add(struct libspawn__store *store, struct libspawn__loop *loop,
                   struct libspawn__store_watch *watch,
                   struct libspawn_err *err)
{
    struct xenstore *xenstore = xenstore_of(store);
    char token[TOKEN_SIZE];
    int rc = 0;

    if (!xenstore->loop) {
        rc = start_watching(xenstore, loop, err);
    } else if (xenstore->loop != loop) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "watching '%s': the store is watched from another "
                            "loop",
                            watch->path);
    }
    if (rc) {
        return rc;
    }
    /* xenstored sends the first event by itself. */
    format_token(watch, token, sizeof token);
    if (!xs_watch(xenstore->xs, watch->path, token)) {
        return fail(store, "watching", watch->path, err);
    }
    return 0;
}

static void
xenstore_watch_remove(struct libspawn__store *store,
                      struct libspawn__store_watch *watch)
{
    char token[TOKEN_SIZE];

    format_token(watch, token, sizeof token);
    xs_unwatch(xenstore_of(store)->xs, watch->path, token);
}

const struct libspawn__store_class libspawn__store_xenstore_class = {
    .scheme = "xenstore",
    .open = xenstore_open,
    .close = xenstore_close,
    .read = xenstore_read,
    .write = xenstore_write,
    .mkdir = xenstore_mkdir,
    .remove = xenstore_remove,
    .discard = xenstore_discard,
    .list = xenstore_list,
    .get_perms = xenstore_get_perms,
    .set_perms = xenstore_set_perms,
    .txn_begin = xenstore_txn_begin,
    .txn_end = xenstore_txn_end,
    .watch_add = xenstore_watch_add,
    .watch_remove = xenstore_watch_remove,
    .introduce = xenstore_introduce,
    .release = xenstore_release,
};
