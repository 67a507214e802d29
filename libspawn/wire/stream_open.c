/*
 * The only way to connect that blocks, apart from the others: it brings the
 * resolver along, which programs of one file cannot carry.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "wire/stream.h"
#include "wire/stream_class.h"

static void
addresses_free(struct addrinfo **addresses)
{
    if (*addresses) {
        freeaddrinfo(*addresses);
    }
}
#define AUTO_ADDRESSES AUTO(addresses_free)

static int
look_up(const char *host, const char *port, struct addrinfo **addresses_r,
        struct libspawn_err *err)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV,
                                    .ai_socktype = SOCK_STREAM };
    uint64_t number;
    int rc = libspawn__str_to_u64(port, 1, UINT16_MAX, &number, err);
    int r;

    if (rc) {
        libspawn__err_prefix(err, "a port");
        return rc;
    }
    r = getaddrinfo(host, port, &hints, addresses_r);
    if (r == EAI_MEMORY) {
        return libspawn__fail_nomem(err);
    }
    if (r == EAI_SYSTEM) {
        return libspawn__fail_errno(err, errno, "looking up '%s'", host);
    }
    return r ? libspawn__fail(err,
                              r == EAI_AGAIN ? LIBSPAWN_ERR_BUSY
                                             : LIBSPAWN_ERR_NOT_FOUND,
                              "looking up '%s': %s", host, gai_strerror(r))
             : 0;
}

static int
wait_connected(int fd, int64_t deadline_ms, struct libspawn_err *err)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLOUT };
    int timeout_ms;
    int rc;

    do {
        timeout_ms = libspawn__clock_left_ms(deadline_ms);
        if (poll(&pollfd, 1, timeout_ms) < 0 && errno != EINTR) {
            return libspawn__fail_errno(err, errno, "waiting for a socket");
        }
        rc = libspawn__stream_finish_connect(fd, err);
    } while (rc == LIBSPAWN_ERR_BUSY && timeout_ms);
    return rc == LIBSPAWN_ERR_BUSY ? libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                                                    "nobody answered in time")
                                   : rc;
}

/* One address after the other, until one answers or time is over. */
static int
open_tcp(const char *argument, int64_t deadline_ms, int *fd_r,
         struct libspawn_err *err)
{
    AUTO_FREE char *host = NULL;
    AUTO_FREE char *port = NULL;
    AUTO_ADDRESSES struct addrinfo *addresses = NULL;
    const struct addrinfo *address;
    int rc = libspawn__stream_split(argument, &host, &port, err);

    if (!rc) {
        rc = look_up(host, port, &addresses, err);
    }
    for (address = addresses; address; address = address->ai_next) {
        AUTO_FD int fd = -1;

        rc = libspawn__stream_start(address->ai_addr, address->ai_addrlen, &fd,
                                    err);
        if (!rc) {
            rc = wait_connected(fd, deadline_ms, err);
        }
        if (!rc) {
            *fd_r = TAKE_FD(fd);
            return 0;
        }
    }
    libspawn__err_prefix(err, "'%s'", argument);
    return rc;
}

int
libspawn__stream_open(const char *name, int timeout_ms, int *fd_r,
                      struct libspawn_err *err)
{
    const char *prefix = libspawn__stream_tcp.prefix;

    return libspawn__str_has_prefix(name, prefix)
               ? open_tcp(name + strlen(prefix),
                          libspawn__clock_deadline(timeout_ms), fd_r, err)
               : libspawn__stream_connect(name, fd_r, err);
}
