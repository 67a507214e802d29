#include "dm/serial.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "dm/dm.h"
#include "wire/stream.h"

#define TCP "tcp:"
#define UNIX "unix:"

static bool
is_of_qemu(const char *serial)
{
    bool is_known = libspawn__str_has_prefix(serial, TCP) ||
                    libspawn__str_has_prefix(serial, UNIX);

    return (is_known && strchr(serial, ',')) ||
           libspawn__str_has_prefix(serial, TCP ":");
}

enum libspawn__serial_kind
libspawn__serial_kind(const char *serial)
{
    if (!strcmp(serial, "pty") || !strcmp(serial, "unix")) {
        return LIBSPAWN__SERIAL_SOCKET;
    }
    switch (libspawn__stream_kind(serial)) {
    case LIBSPAWN__STREAM_PASSIVE:
        return LIBSPAWN__SERIAL_LISTENS;
    case LIBSPAWN__STREAM_ACTIVE:
        return is_of_qemu(serial) ? LIBSPAWN__SERIAL_OTHER
                                  : LIBSPAWN__SERIAL_CONNECTS;
    case LIBSPAWN__STREAM_NONE:
        break;
    }
    return LIBSPAWN__SERIAL_OTHER;
}

int
libspawn__serial_check(const char *serial, struct libspawn_err *err)
{
    enum libspawn__serial_kind kind = libspawn__serial_kind(serial);

    return kind == LIBSPAWN__SERIAL_LISTENS ||
                   kind == LIBSPAWN__SERIAL_CONNECTS
               ? libspawn__stream_check_foreign(serial, err)
               : 0;
}

/* What listens is a socket of the network that it was made in. */
bool
libspawn__serial_needs_network(const char *serial)
{
    static const char *const local[] = { "none", "null", "vc" };
    size_t i;

    switch (libspawn__serial_kind(serial)) {
    case LIBSPAWN__SERIAL_SOCKET:
    case LIBSPAWN__SERIAL_LISTENS:
        return false;
    case LIBSPAWN__SERIAL_CONNECTS:
        return libspawn__str_has_prefix(serial, TCP);
    case LIBSPAWN__SERIAL_OTHER:
        break;
    }
    for (i = 0; i < ARRAY_SIZE(local); i++) {
        if (!strcmp(serial, local[i])) {
            return false;
        }
    }
    return true;
}

/* ---- Arguments --------------------------------------------------------- */

/* A second after the connection ended, or was refused.  QEMU 9.2 has another
 * word for it, and the first one is not there for ever. */
static const char *
reconnect(const struct libspawn__args *args)
{
    const char *version = args->version ? args->version : "";
    char *end;
    unsigned long major = strtoul(version, &end, 10);
    unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;

    return major > 9 || (major == 9 && minor >= 2) ? "reconnect-ms=1000"
                                                   : "reconnect=1";
}

/* The last colon is in front of the port; QEMU wants an address of IPv6
 * without its brackets. */
static void
add_tcp(struct libspawn__args *args, size_t i, const char *where)
{
    const char *colon = strrchr(where, ':');
    size_t len = (size_t)(colon - where);
    bool has_brackets = where[0] == '[' && colon[-1] == ']';

    libspawn__args_option(args, "-chardev",
                          "socket,id=serial%zu,host=%.*s,port=%s,%s", i,
                          (int)(has_brackets ? len - 2 : len),
                          where + has_brackets, colon + 1, reconnect(args));
}

static void
add_listener(struct libspawn__args *args, size_t i)
{
    libspawn__args_option(args, "-chardev",
                          "socket,id=serial%zu,fd=%d,server=on,wait=off", i,
                          LIBSPAWN__DM_SERIAL_FD + (int)i);
}

static void
add_connection(struct libspawn__args *args, size_t i, const char *serial)
{
    if (libspawn__str_has_prefix(serial, TCP)) {
        add_tcp(args, i, serial + strlen(TCP));
    } else {
        libspawn__args_option(args, "-chardev",
                              "socket,id=serial%zu,path=%s,%s", i,
                              serial + strlen(UNIX), reconnect(args));
    }
}

void
libspawn__serial_add_args(struct libspawn__args *args, size_t i,
                          bool has_sockets)
{
    const char *serial = args->config->serials[i];
    enum libspawn__serial_kind kind = libspawn__serial_kind(serial);

    if (kind == LIBSPAWN__SERIAL_OTHER ||
        (kind == LIBSPAWN__SERIAL_SOCKET && !has_sockets)) {
        libspawn__args_option(args, "-serial", "%s", serial);
        return;
    }
    if (kind == LIBSPAWN__SERIAL_CONNECTS) {
        add_connection(args, i, serial);
    } else {
        add_listener(args, i);
    }
    libspawn__args_option(args, "-serial", "chardev:serial%zu", i);
}
