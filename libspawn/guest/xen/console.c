#include "guest/xen/console.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>

#include "base/auto.h"
#include "base/str.h"
#include "store/paths.h"

static bool
is_hvm(struct libspawn__xen *xen, uint32_t domid)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_LIBXL_TYPE, domid);
    AUTO_FREE char *type = NULL;

    if (path) {
        (void)libspawn__store_read(xen->store, NULL, path, &type, NULL, NULL);
    }
    return libspawn__str_equal(type, "hvm");
}

/* The terminal's name; "" when there is none (yet). */
static int
read_terminal(struct libspawn__xen *xen, uint32_t domid, bool is_serial,
              unsigned int number, char **terminal_r, struct libspawn_err *err)
{
    AUTO_FREE char *path =
        is_serial ? libspawn__path_serial_tty(domid, number)
                  : libspawn__path_new(LIBSPAWN__PATH_CONSOLE_TTY, domid);
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_read(xen->store, NULL, path, terminal_r, NULL, err);
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        *terminal_r = strdup("");
        return *terminal_r ? 0 : libspawn__fail_nomem(err);
    }
    return rc;
}

static int
open_terminal(const char *path, int *fd_r, struct libspawn_err *err)
{
    AUTO_FD int fd = -1;
    struct termios mode;

    if (!libspawn__str_has_prefix(path, "/dev/pts/")) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "'%s' is not a terminal of this host", path);
    }
    fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening console '%s'", path);
    }
    /* Else what the guest prints would come back to it as input. */
    if (tcgetattr(fd, &mode) == 0) {
        cfmakeraw(&mode);
        (void)tcsetattr(fd, TCSANOW, &mode);
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

bool
libspawn__xen_console_is_serial(struct libspawn__xen *xen, uint32_t domid,
                                const char *kind)
{
    return kind ? strcmp(kind, "serial") == 0 : is_hvm(xen, domid);
}

int
libspawn__xen_console_open(struct libspawn__xen *xen, uint32_t domid,
                           const char *kind, unsigned int number, int *fd_r,
                           struct libspawn_err *err)
{
    bool is_serial = libspawn__xen_console_is_serial(xen, domid, kind);
    AUTO_FREE char *terminal = NULL;
    int rc;

    if (kind && !is_serial && strcmp(kind, "pv") != 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "unknown kind of console '%s'", kind);
    }
    if (!is_serial && number != 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "a guest has one pv console only");
    }
    rc = read_terminal(xen, domid, is_serial, number, &terminal, err);
    if (rc) {
        return rc;
    }
    if (!terminal[0]) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              is_serial
                                  ? "the guest has no serial console %u; its "
                                    "configuration needs serial = \"pty\""
                                  : "the guest has no pv console %u: does "
                                    "xenconsoled run?",
                              number);
    }
    return open_terminal(terminal, fd_r, err);
}
