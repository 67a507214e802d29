/*
 * TCP, by numeric addresses.  Who listens does so on the loopback address
 * unless told otherwise: there is no file mode that keeps strangers out.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/auto.h"
#include "base/str.h"
#include "wire/stream.h"
#include "wire/stream_class.h"

/* ---- Addresses --------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
};

static socklen_t
address_size(const union address *address)
{
    return address->any.sa_family == AF_INET ? sizeof address->in4
                                             : sizeof address->in6;
}

static int
parse_port(const char *text, uint16_t min, in_port_t *port_r,
           struct libspawn_err *err)
{
    uint64_t port = 0;
    int rc = libspawn__str_to_u64(text, min, UINT16_MAX, &port, err);

    if (rc) {
        libspawn__err_prefix(err, "a port");
    }
    *port_r = htons((uint16_t)port);
    return rc;
}

static int
address_init(union address *address, const char *host, const char *port,
             uint16_t min_port, struct libspawn_err *err)
{
    in_port_t number = 0;
    int rc = parse_port(port, min_port, &number, err);

    if (rc) {
        return rc;
    }
    *address = (union address){ .in6 = { .sin6_family = AF_INET6,
                                         .sin6_port = number } };
    if (inet_pton(AF_INET6, host, &address->in6.sin6_addr) == 1) {
        return 0;
    }
    *address = (union address){ .in4 = { .sin_family = AF_INET,
                                         .sin_port = number } };
    if (inet_pton(AF_INET, host, &address->in4.sin_addr) == 1) {
        return 0;
    }
    return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                          "'%s' is not an IP address", host);
}

/* Without the brackets that keep the colons of IPv6 apart from ours. */
static char *
copy_host(const char *host, size_t len)
{
    bool has_brackets = len >= 2 && host[0] == '[' && host[len - 1] == ']';

    return has_brackets ? strndup(host + 1, len - 2) : strndup(host, len);
}

int
libspawn__stream_split(const char *argument, char **host_r, char **port_r,
                       struct libspawn_err *err)
{
    const char *colon = strrchr(argument, ':');
    AUTO_FREE char *host = NULL;
    char *port;

    if (!colon || colon == argument) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%s' is not HOST:PORT", argument);
    }
    host = copy_host(argument, (size_t)(colon - argument));
    port = host ? strdup(colon + 1) : NULL;
    if (!port) {
        return libspawn__fail_nomem(err);
    }
    *host_r = TAKE_PTR(host);
    *port_r = port;
    return 0;
}

/* The socket, or a code. */
static int
new_socket(int family, struct libspawn_err *err)
{
    AUTO_FD int fd =
        socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "making a socket");
    }
    rc = libspawn__stream_add_probes(fd, err);
    return rc ? rc : TAKE_FD(fd);
}

/* ---- tcp:HOST:PORT ----------------------------------------------------- */

int
libspawn__stream_start(const struct sockaddr *address, socklen_t size,
                       int *fd_r, struct libspawn_err *err)
{
    AUTO_FD int fd = new_socket(address->sa_family, err);

    if (fd < 0) {
        return fd;
    }
    if (connect(fd, address, size) < 0 && errno != EINPROGRESS &&
        errno != EINTR) {
        return libspawn__fail_errno(err, errno, "connecting");
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

static int
connect_tcp(const char *argument, int *fd_r, struct libspawn_err *err)
{
    AUTO_FREE char *host = NULL;
    AUTO_FREE char *port = NULL;
    union address address;
    int rc = libspawn__stream_split(argument, &host, &port, err);

    if (!rc) {
        rc = address_init(&address, host, port, 1, err);
    }
    if (!rc) {
        rc = libspawn__stream_start(&address.any, address_size(&address), fd_r,
                                    err);
    }
    if (rc) {
        libspawn__err_prefix(err, "'%s'", argument);
    }
    return rc;
}

static int
check_tcp(const char *argument, struct libspawn_err *err)
{
    AUTO_FREE char *host = NULL;
    AUTO_FREE char *port = NULL;
    in_port_t number;
    int rc = libspawn__stream_split(argument, &host, &port, err);

    if (!rc) {
        rc = parse_port(port, 1, &number, err);
    }
    return rc;
}

/* ---- ptcp:PORT[:ADDRESS] ----------------------------------------------- */

static int
parse_passive(const char *argument, union address *address,
              struct libspawn_err *err)
{
    const char *colon = strchrnul(argument, ':');
    const char *where = *colon ? colon + 1 : "127.0.0.1";
    AUTO_FREE char *port = strndup(argument, (size_t)(colon - argument));
    AUTO_FREE char *host = copy_host(where, strlen(where));

    return port && host ? address_init(address, host, port, 0, err)
                        : libspawn__fail_nomem(err);
}

static int
check_ptcp(const char *argument, struct libspawn_err *err)
{
    union address address;

    return parse_passive(argument, &address, err);
}

static int
listen_at(int fd, const union address *address)
{
    const int on = 1;

    /* Connections of an earlier listener that are still winding up do not
     * matter; a living listener there does. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, &address->any, address_size(address)) < 0 ||
        listen(fd, SOMAXCONN) < 0) {
        return -errno;
    }
    return 0;
}

static int
listen_tcp(const char *argument, mode_t mode, int *fd_r,
           struct libspawn_err *err)
{
    union address address;
    AUTO_FD int fd = -1;
    int rc = parse_passive(argument, &address, err);

    (void)mode;
    if (rc) {
        return rc;
    }
    fd = new_socket(address.any.sa_family, err);
    if (fd < 0) {
        return fd;
    }
    rc = listen_at(fd, &address);
    if (rc) {
        return libspawn__fail_errno(err, -rc, "listening on 'ptcp:%s'",
                                    argument);
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

int
libspawn__stream_bound_name(int fd, char **name_r, struct libspawn_err *err)
{
    union address address;
    socklen_t size = sizeof address;
    char host[INET6_ADDRSTRLEN];
    char *name = NULL;

    if (getsockname(fd, &address.any, &size) < 0) {
        return libspawn__fail_errno(err, errno, "asking for an address");
    }
    if (address.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address.in4.sin_addr, host, sizeof host);
        name = libspawn__str_format("tcp:%s:%u", host,
                                    ntohs(address.in4.sin_port));
    } else if (address.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address.in6.sin6_addr, host, sizeof host);
        name = libspawn__str_format("tcp:[%s]:%u", host,
                                    ntohs(address.in6.sin6_port));
    } else {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "the socket has no IP address");
    }
    if (!name) {
        return libspawn__fail_nomem(err);
    }
    *name_r = name;
    return 0;
}

bool
libspawn__stream_is_local(int fd)
{
    union address address;
    socklen_t size = sizeof address;

    if (getsockname(fd, &address.any, &size) < 0) {
        return false;
    }
    if (address.any.sa_family == AF_INET) {
        return ntohl(address.in4.sin_addr.s_addr) >> IN_CLASSA_NSHIFT ==
               IN_LOOPBACKNET;
    }
    return address.any.sa_family == AF_INET6
               ? IN6_IS_ADDR_LOOPBACK(&address.in6.sin6_addr)
               : address.any.sa_family == AF_UNIX;
}

const struct libspawn__stream_class libspawn__stream_tcp = {
    .prefix = "tcp:", .check = check_tcp, .connect = connect_tcp
};
const struct libspawn__stream_class libspawn__stream_ptcp = {
    .prefix = "ptcp:",
    .from_network = true,
    .check = check_ptcp,
    .listen = listen_tcp
};
