#include "guest/xen/announce.h"

#include <inttypes.h>
#include <string.h>

#include "guest/xen/tree.h"
#include "store/paths.h"

enum {
    N_SERIALS_MAX = 16
};

/* Number of the port that a label, "serial0", is of; false for others. */
static bool
parse_label(const char *label, uint64_t *number_r)
{
    static const char prefix[] = "serial";

    return label && libspawn__str_has_prefix(label, prefix) &&
           libspawn__str_to_u64(label + strlen(prefix), 0, N_SERIALS_MAX - 1,
                                number_r, NULL) == 0;
}

/* "/dev/pts/N" in "pty:/dev/pts/N", else NULL. */
static const char *
find_terminal(const char *filename)
{
    static const char scheme[] = "pty:";
    static const char dir[] = "/dev/pts/";
    const char *path = filename ? filename + strlen(scheme) : NULL;
    uint64_t number;

    if (!path || !libspawn__str_has_prefix(filename, scheme) ||
        !libspawn__str_has_prefix(path, dir) ||
        libspawn__str_to_u64(path + strlen(dir), 0, UINT32_MAX, &number,
                             NULL)) {
        return NULL;
    }
    return path;
}

static void
write_serials(struct libspawn__tree *tree, const void *user)
{
    const struct libspawn__json *chardevs = user;
    size_t i;

    for (i = 0; i < libspawn__json_n_items(chardevs); i++) {
        const struct libspawn__json *one = libspawn__json_item(chardevs, i);
        const char *terminal = find_terminal(
            libspawn__json_string(libspawn__json_member(one, "filename")));
        const char *label =
            libspawn__json_string(libspawn__json_member(one, "label"));
        AUTO_FREE char *path = NULL;
        uint64_t number;

        if (!terminal || !parse_label(label, &number)) {
            continue;
        }
        path = libspawn__path_serial_tty(tree->domid, (unsigned int)number);
        if (!path) {
            tree->rc = libspawn__fail_nomem(tree->err);
            return;
        }
        libspawn__tree_put(tree, path, NULL, terminal);
    }
}

int
libspawn__xen_announce_serials(struct libspawn__xen *xen, uint32_t domid,
                               const struct libspawn__json *chardevs,
                               struct libspawn_err *err)
{
    return libspawn__tree_run(xen->store, domid, write_serials, chardevs, err);
}

struct vnc {
    const char *address;
    uint64_t port;
    const char *password;
};

static void
write_vnc(struct libspawn__tree *tree, const void *user)
{
    const struct vnc *vnc = user;
    AUTO_FREE char *dir =
        libspawn__path_new(LIBSPAWN__PATH_CONSOLE, tree->domid);

    if (!dir) {
        tree->rc = libspawn__fail_nomem(tree->err);
        return;
    }
    libspawn__tree_put(tree, dir, "vnc-listen", vnc->address);
    libspawn__tree_printf(tree, dir, "vnc-port", "%" PRIu64, vnc->port);
    if (vnc->password) {
        /* A guest reads its console directory. */
        libspawn__tree_make(tree, dir, "vnc-pass", LIBSPAWN__TREE_PRIVATE);
        libspawn__tree_put(tree, dir, "vnc-pass", vnc->password);
    }
}

int
libspawn__xen_announce_vnc(struct libspawn__xen *xen, uint32_t domid,
                           const struct libspawn__json *vnc,
                           const char *password, struct libspawn_err *err)
{
    const char *port =
        libspawn__json_string(libspawn__json_member(vnc, "service"));
    struct vnc known = {
        .address = libspawn__json_string(libspawn__json_member(vnc, "host")),
        .password = password,
    };

    if (!libspawn__json_bool(libspawn__json_member(vnc, "enabled"), false)) {
        return 0;
    }
    if (!known.address || !port ||
        libspawn__str_to_u64(port, 1, UINT16_MAX, &known.port, NULL)) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the device model names no port of its VNC "
                              "server");
    }
    return libspawn__tree_run(xen->store, domid, write_vnc, &known, err);
}
