#include "guest/serials.h"

#include <string.h>
#include <sys/stat.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "dm/serial.h"
#include "store/paths.h"
#include "wire/stream.h"

#define UNIX "unix:"
#define PUNIX "p" UNIX /* what it listens at is reached without the p */

enum {
    CONNECT_MS = 2000
};

/* ---- Listening --------------------------------------------------------- */

/* The name to listen at; NULL in '*name_r' when it is not ours to do. */
static int
find_name(const struct libspawn_create *create,
          libspawn__serials_place_fn *place, unsigned int i, char **name_r,
          struct libspawn_err *err)
{
    const char *serial = create->config->serials[i];
    enum libspawn__serial_kind kind = libspawn__serial_kind(serial);
    AUTO_FREE char *path = NULL;

    *name_r = NULL;
    if (kind == LIBSPAWN__SERIAL_LISTENS) {
        return libspawn__str_assign(name_r, serial, err);
    }
    if (kind != LIBSPAWN__SERIAL_SOCKET || !place) {
        return 0;
    }
    path = place(create->host, create->domid, i);
    *name_r = path ? libspawn__str_format(PUNIX "%s", path) : NULL;
    return *name_r ? 0 : libspawn__fail_nomem(err);
}

static int
note_address(const struct libspawn_create *create, unsigned int i,
             const char *address, struct libspawn_err *err)
{
    AUTO_FREE char *node = libspawn__path_serial_address(create->domid, i);

    return node ? libspawn__store_puts(create->host->store, NULL, node,
                                       address, err)
                : libspawn__fail_nomem(err);
}

static void
warn_of_strangers(const struct libspawn_create *create, unsigned int i)
{
    AUTO_FREE char *sentence = libspawn__str_format(
        "serial port %u listens at '%s', which is not this host's alone: "
        "whoever reaches it has the guest's console",
        i, create->config->serials[i]);

    if (create->options.warning && sentence) {
        create->options.warning(create->options.user, sentence);
    }
}

/* What is held is good as long as its path, if it has one, leads somewhere. */
static int
copy_held(const struct libspawn_create *create, unsigned int i,
          const char *name)
{
    struct stat st;

    if (!create->held ||
        (libspawn__str_has_prefix(name, PUNIX) &&
         (lstat(name + strlen(PUNIX), &st) < 0 || !S_ISSOCK(st.st_mode)))) {
        return -1;
    }
    return libspawn__held_copy_serial(create->held, i,
                                      create->config->serials[i]);
}

/* Who holds nothing leaves the path to the watcher; else it is removed with
 * the guest. */
static int
listen_anew(struct libspawn_create *create, struct libspawn_plan *plan,
            unsigned int i, const char *name, int *fd_r,
            struct libspawn_err *err)
{
    AUTO_FD int fd = -1;
    int rc = libspawn__serial_check(create->config->serials[i], err);

    if (!rc) {
        rc = libspawn__stream_listen_anywhere(name, 0600, &fd, err);
    }
    if (rc) {
        return rc;
    }
    if (!libspawn__stream_is_local(fd)) {
        warn_of_strangers(create, i);
    }
    if (create->held) {
        libspawn__held_keep_serial(create->held, i, fd,
                                   create->config->serials[i]);
    } else if (libspawn__str_has_prefix(name, PUNIX)) {
        libspawn_plan_remove_at_end(plan, name + strlen(PUNIX));
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

/* What a start before left: the configuration may be another one now. */
static void
forget_others(struct libspawn_create *create)
{
    const struct libspawn_guest_config *config = create->config;
    struct libspawn__store *store = create->host->store;
    unsigned int i;

    for (i = 0; create->held && i < LIBSPAWN__DM_SERIALS_MAX; i++) {
        libspawn__held_confirm_serial(
            create->held, i, i < config->n_serials ? config->serials[i] : "");
    }
    if (!create->is_again) {
        return;
    }
    libspawn__serials_remove(store, create->domid);
    for (i = 0; i < LIBSPAWN__DM_SERIALS_MAX; i++) {
        AUTO_FREE char *node = libspawn__path_serial_address(create->domid, i);

        if (node) {
            libspawn__store_discard(store, NULL, node, NULL);
        }
    }
}

static int
listen_at(struct libspawn_create *create, struct libspawn_plan *plan,
          unsigned int i, const char *name, int *fd_r,
          struct libspawn_err *err)
{
    int fd = copy_held(create, i, name);
    int rc = fd < 0 ? listen_anew(create, plan, i, name, &fd, err) : 0;

    if (rc) {
        libspawn__err_prefix(err, "serial port %u", i);
        return rc;
    }
    *fd_r = fd;
    libspawn_plan_add_fd(plan, fd, LIBSPAWN__DM_SERIAL_FD + (int)i);
    return 0;
}

/* A path is noted before it is there, so that whoever cleans up behind us
 * knows of it. */
static int
listen_for(struct libspawn_create *create, struct libspawn_plan *plan,
           unsigned int i, const char *name, int *fd_r,
           struct libspawn_err *err)
{
    bool is_path = libspawn__str_has_prefix(name, PUNIX);
    AUTO_FREE char *bound = NULL;
    int rc = is_path ? note_address(create, i, name + 1, err) : 0;

    if (!rc) {
        rc = listen_at(create, plan, i, name, fd_r, err);
    }
    if (rc || is_path) {
        return rc;
    }
    rc = libspawn__stream_bound_name(*fd_r, &bound, err);
    return rc ? rc : note_address(create, i, bound, err);
}

int
libspawn__serials_listen(struct libspawn_create *create,
                         struct libspawn_plan *plan,
                         libspawn__serials_place_fn *place,
                         int fds[LIBSPAWN__DM_SERIALS_MAX],
                         struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    unsigned int i;
    int rc = 0;

    forget_others(create);
    for (i = 0; !rc && i < config->n_serials; i++) {
        AUTO_FREE char *name = NULL;

        rc = find_name(create, place, i, &name, err);
        if (!rc && name && i >= LIBSPAWN__DM_SERIALS_MAX) {
            rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                "serial port %u: only the first %d can "
                                "listen",
                                i, LIBSPAWN__DM_SERIALS_MAX);
        } else if (!rc && name) {
            rc = listen_for(create, plan, i, name, &fds[i], err);
        }
    }
    return rc;
}

/* ---- The end of it ----------------------------------------------------- */

void
libspawn__serials_remove(struct libspawn__store *store, uint32_t domid)
{
    unsigned int i;

    for (i = 0; i < LIBSPAWN__DM_SERIALS_MAX; i++) {
        AUTO_FREE char *address = NULL;

        if (!libspawn__serials_find(store, domid, i, &address, NULL) &&
            libspawn__str_has_prefix(address, UNIX)) {
            libspawn__stream_remove_dead(address + strlen(UNIX));
        }
    }
}

/* A guest that stays keeps what it had. */
void
libspawn__serials_undo(struct libspawn_create *create)
{
    if (create->is_again) {
        return;
    }
    if (create->held) {
        libspawn__held_drop_serials(create->held);
    }
    libspawn__serials_remove(create->host->store, create->domid);
}

/* ---- Connecting -------------------------------------------------------- */

int
libspawn__serials_find(struct libspawn__store *store, uint32_t domid,
                       unsigned int number, char **address_r,
                       struct libspawn_err *err)
{
    AUTO_FREE char *node = libspawn__path_serial_address(domid, number);

    return node ? libspawn__store_read(store, NULL, node, address_r, NULL, err)
                : libspawn__fail_nomem(err);
}

/* Why a port that does not listen cannot be connected to. */
static int
fail_silent(struct libspawn_host *host, uint32_t domid, unsigned int number,
            struct libspawn_err *err)
{
    struct libspawn_guest_config config;
    const char *serial;
    int rc;

    libspawn_guest_config_init(&config);
    serial = !libspawn_guest_get_config(host, domid, &config, NULL) &&
                     number < config.n_serials
                 ? config.serials[number]
                 : NULL;
    rc = serial && libspawn__serial_kind(serial) == LIBSPAWN__SERIAL_CONNECTS
             ? libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "serial port %u of the guest connects to '%s' "
                              "by itself",
                              number, serial)
             : libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "the guest has no serial console %u; its "
                              "configuration needs serial = \"pty\"",
                              number);
    libspawn_guest_config_dispose(&config);
    return rc;
}

int
libspawn__serials_open(struct libspawn_host *host, uint32_t domid,
                       unsigned int number, int *fd_r,
                       struct libspawn_err *err)
{
    AUTO_FREE char *address = NULL;
    int rc = libspawn__serials_find(host->store, domid, number, &address, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return fail_silent(host, domid, number, err);
    }
    if (rc) {
        return rc;
    }
    rc = libspawn__stream_open(address, CONNECT_MS, fd_r, err);
    return rc == LIBSPAWN_ERR_NOT_FOUND || rc == LIBSPAWN_ERR_GONE
               ? libspawn__fail(err, rc,
                                "nobody serves serial console %u of the guest "
                                "at '%s': its device model has ended",
                                number, address)
               : rc;
}
