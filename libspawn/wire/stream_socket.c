/*
 * What is the same for sockets of all kinds.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/util.h"
#include "wire/stream.h"
#include "wire/stream_class.h"

int
libspawn__stream_get_option(int fd, int option, const char *what, int *value_r,
                            struct libspawn_err *err)
{
    socklen_t size = sizeof *value_r;

    if (getsockopt(fd, SOL_SOCKET, option, value_r, &size) < 0) {
        return libspawn__fail_errno(
            err, errno, "asking for the %s of descriptor %d", what, fd);
    }
    return 0;
}

int
libspawn__stream_accept(int listener, int *fd_r, struct libspawn_err *err)
{
    int fd;

    do {
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "accepting a connection");
    }
    *fd_r = fd;
    return 0;
}

static int
make_pair(int type, int fds_r[2], struct libspawn_err *err)
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds_r) < 0) {
        return libspawn__fail_errno(err, errno, "making a pair of sockets");
    }
    return 0;
}

int
libspawn__stream_pair(bool nonblocking, int fds_r[2], struct libspawn_err *err)
{
    return make_pair(SOCK_SEQPACKET | (nonblocking ? SOCK_NONBLOCK : 0), fds_r,
                     err);
}

int
libspawn__stream_pair_of_bytes(int fds_r[2], struct libspawn_err *err)
{
    return make_pair(SOCK_STREAM, fds_r, err);
}

int
libspawn__stream_peer(int fd, pid_t *pid_r, uid_t *uid_r,
                      struct libspawn_err *err)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        return libspawn__fail_errno(err, errno, "asking who is the peer");
    }
    /* Not a unix socket, or a process that this pid namespace cannot see. */
    if (!peer.pid) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "the peer is not a process of this host");
    }
    *pid_r = peer.pid;
    *uid_r = peer.uid;
    return 0;
}

/* What connected keeps its error only until somebody asks. */
int
libspawn__stream_finish_connect(int fd, struct libspawn_err *err)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int error = 0;
    int rc = libspawn__stream_get_option(fd, SO_ERROR, "error", &error, err);

    if (rc) {
        return rc;
    }
    if (error) {
        return libspawn__fail_errno(err, error, "connecting");
    }
    if (getpeername(fd, (struct sockaddr *)&address, &size) < 0) {
        return errno == ENOTCONN
                   ? libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                                    "the connection is not made yet")
                   : libspawn__fail_errno(err, errno, "connecting");
    }
    return 0;
}

/* ---- Probes ------------------------------------------------------------ */

bool
libspawn__stream_needs_probes(int fd)
{
    int domain = AF_UNSPEC;

    libspawn__stream_get_option(fd, SO_DOMAIN, "domain", &domain, NULL);
    return domain == AF_INET || domain == AF_INET6;
}

/* A peer that is silent for 15 s is asked three times, 5 s apart; one that
 * acknowledges nothing is given as long. */
static const struct {
    int level;
    int name;
    int value;
} probe_options[] = {
    { SOL_SOCKET, SO_KEEPALIVE, 1 },
    { IPPROTO_TCP, TCP_KEEPIDLE, 15 },
    { IPPROTO_TCP, TCP_KEEPINTVL, 5 },
    { IPPROTO_TCP, TCP_KEEPCNT, 3 },
    { IPPROTO_TCP, TCP_USER_TIMEOUT, 30 * 1000 },
    { IPPROTO_TCP, TCP_NODELAY, 1 },
};

int
libspawn__stream_add_probes(int fd, struct libspawn_err *err)
{
    size_t i;

    if (!libspawn__stream_needs_probes(fd)) {
        return 0;
    }
    for (i = 0; i < ARRAY_SIZE(probe_options); i++) {
        if (setsockopt(fd, probe_options[i].level, probe_options[i].name,
                       &probe_options[i].value,
                       sizeof probe_options[i].value) < 0) {
            return libspawn__fail_errno(err, errno,
                                        "setting options of a socket");
        }
    }
    return 0;
}
