/*
 * Unix sockets: names to sockets, and messages that carry descriptors.
 *
 * Why listening goes through a temporary name: a socket is bound first and
 * listens later, and in between it looks exactly like one whose owner died.
 * So ours gets its mode and listens under a temporary name and only then, in
 * one step, its real one.  Nobody can connect with the wrong mode, and what
 * refuses a connection under the real name is dead.
 */
#include "wire/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/auto.h"
#include "base/compat.h"
#include "base/fd.h"
#include "base/random.h"
#include "base/str.h"
#include "base/util.h"

/* ---- Addresses --------------------------------------------------------- */

struct address {
    struct sockaddr_un un;
    int dir_fd; /* what a /proc/self/fd path goes through; -1: not needed */
};

static void
address_dispose(struct address *address)
{
    libspawn__auto_close(&address->dir_fd);
    address->dir_fd = -1;
}
#define AUTO_ADDRESS AUTO(address_dispose)

static int
address_through_directory(const char *path, struct address *address,
                          struct libspawn_err *err)
{
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *dir = slash ? strndup(path, (size_t)(slash - path) + 1)
                                : strdup(".");
    const char *base = slash ? slash + 1 : path;
    int len;

    if (!dir) {
        return libspawn__fail_nomem(err);
    }
    address->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (address->dir_fd < 0) {
        return libspawn__fail_errno(err, errno, "opening directory '%s'", dir);
    }
    len = snprintf(address->un.sun_path, sizeof address->un.sun_path,
                   "/proc/self/fd/%d/%s", address->dir_fd, base);
    if (len >= (int)sizeof address->un.sun_path) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "socket name '%s' is too long", base);
    }
    return 0;
}

/* '*address' is to be disposed of in every case. */
static int
address_init(struct address *address, const char *path,
             struct libspawn_err *err)
{
    size_t size = strlen(path) + 1;

    *address = (struct address){ .un.sun_family = AF_UNIX, .dir_fd = -1 };
    if (size == 1) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the path of a socket is empty");
    }
    if (size > sizeof address->un.sun_path) {
        return address_through_directory(path, address, err);
    }
    memcpy(address->un.sun_path, path, size);
    return 0;
}

static int
address_connect(const struct address *address, int fd)
{
    return connect(fd, (const struct sockaddr *)&address->un,
                   sizeof address->un) < 0
               ? -errno
               : 0;
}

static int
new_socket(struct libspawn_err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? libspawn__fail_errno(err, errno, "making a socket") : fd;
}

/* ---- unix:PATH --------------------------------------------------------- */

static int
connect_unix(const char *path, int *fd_r, struct libspawn_err *err)
{
    AUTO_ADDRESS struct address address;
    AUTO_FD int fd = -1;
    int rc = address_init(&address, path, err);
    int r;

    if (rc) {
        return rc;
    }
    fd = new_socket(err);
    if (fd < 0) {
        return fd;
    }
    r = address_connect(&address, fd);
    if (r) {
        return libspawn__fail_errno(err, -r, "connecting to '%s'", path);
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

/* ---- punix:PATH -------------------------------------------------------- */

/* A socket nobody listens on.  The file type is looked at first because the
 * kernel refuses a connection to anything that is not a socket as well. */
static bool
is_dead_listener(const struct address *address)
{
    AUTO_FD int fd = new_socket(NULL);
    struct stat st;

    return fd >= 0 && !lstat(address->un.sun_path, &st) &&
           S_ISSOCK(st.st_mode) &&
           address_connect(address, fd) == -ECONNREFUSED;
}

static int
exchange(const struct address *a, const struct address *b)
{
    return libspawn__renameat2(AT_FDCWD, a->un.sun_path, AT_FDCWD,
                               b->un.sun_path, RENAME_EXCHANGE) < 0
               ? -errno
               : 0;
}

/* Gives the listening socket at 'temporary' the name 'final': 0, or -EEXIST
 * when that belongs to somebody, or another -errno.  What is left at
 * 'temporary' afterwards is to be removed. */
static int
publish(const struct address *temporary, const struct address *final)
{
    int r;

    if (!libspawn__renameat2(AT_FDCWD, temporary->un.sun_path, AT_FDCWD,
                             final->un.sun_path, RENAME_NOREPLACE)) {
        return 0;
    }
    if (errno != EEXIST) {
        return -errno;
    }
    if (!is_dead_listener(final)) {
        return -EEXIST;
    }
    r = exchange(temporary, final);
    if (!r && !is_dead_listener(temporary)) {
        /* Somebody else replaced the dead one a moment before us. */
        exchange(temporary, final);
        r = -EEXIST;
    }
    return r;
}

static int
listen_at(int fd, const struct address *address, mode_t mode)
{
    if (bind(fd, (const struct sockaddr *)&address->un, sizeof address->un) <
            0 ||
        /* The umask took its share of the mode when bind made the file. */
        fchmodat(AT_FDCWD, address->un.sun_path, mode, AT_SYMLINK_NOFOLLOW) <
            0 ||
        listen(fd, SOMAXCONN) < 0) {
        return -errno;
    }
    return 0;
}

static int
listen_unix(const char *path, mode_t mode, int *fd_r, struct libspawn_err *err)
{
    AUTO_FREE char *temporary_path = NULL;
    AUTO_ADDRESS struct address final;
    AUTO_ADDRESS struct address temporary = { .dir_fd = -1 };
    AUTO_FD int fd = -1;
    uint32_t suffix;
    int rc = address_init(&final, path, err);
    int r;

    if (!rc) {
        rc = libspawn__random_fill(&suffix, sizeof suffix, err);
    }
    if (rc) {
        return rc;
    }
    temporary_path = libspawn__str_format("%s.tmp-%08x", path, suffix);
    if (!temporary_path) {
        return libspawn__fail_nomem(err);
    }
    rc = address_init(&temporary, temporary_path, err);
    if (rc) {
        return rc;
    }
    fd = new_socket(err);
    if (fd < 0) {
        return fd;
    }
    r = listen_at(fd, &temporary, mode);
    if (!r) {
        r = publish(&temporary, &final);
    }
    unlink(temporary.un.sun_path);
    if (r == -EEXIST) {
        return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                              "listening on '%s': somebody else listens "
                              "there, or it is not a socket",
                              path);
    }
    if (r) {
        return libspawn__fail_errno(err, -r, "listening on '%s'", path);
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

/* ---- fd:NUMBER, pfd:NUMBER --------------------------------------------- */

static int
get_option(int fd, int option, const char *what, int *value_r,
           struct libspawn_err *err)
{
    socklen_t size = sizeof *value_r;

    if (getsockopt(fd, SOL_SOCKET, option, value_r, &size) < 0) {
        return libspawn__fail_errno(
            err, errno, "asking for the %s of descriptor %d", what, fd);
    }
    return 0;
}

static int
check_socket(int fd, bool passive, struct libspawn_err *err)
{
    struct stat st;
    int type = 0;
    int listens = 0;
    int rc;

    if (fstat(fd, &st) < 0) {
        return libspawn__fail_errno(err, errno, "descriptor %d", fd);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "descriptor %d is not a socket", fd);
    }
    rc = get_option(fd, SO_TYPE, "type", &type, err);
    if (!rc) {
        rc = get_option(fd, SO_ACCEPTCONN, "state", &listens, err);
    }
    if (rc) {
        return rc;
    }
    if (type != SOCK_STREAM) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "descriptor %d is not a stream socket", fd);
    }
    if (passive && !listens) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "descriptor %d is a socket that does not listen",
                              fd);
    }
    if (!passive && listens) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "descriptor %d is a socket that listens", fd);
    }
    return 0;
}

static int
adopt(const char *number, bool passive, int *fd_r, struct libspawn_err *err)
{
    uint64_t value;
    int fd;
    int rc = libspawn__str_to_u64(number, 0, INT_MAX, &value, err);

    if (rc) {
        return rc;
    }
    fd = (int)value;
    rc = check_socket(fd, passive, err);
    if (!rc) {
        rc = libspawn__fd_set_nonblocking(fd, true, err);
    }
    if (rc) {
        return rc;
    }
    /* It was inherited, so it is the one that is not close-on-exec yet. */
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        return libspawn__fail_errno(err, errno,
                                    "making descriptor %d close-on-exec", fd);
    }
    *fd_r = fd;
    return 0;
}

static int
connect_fd(const char *number, int *fd_r, struct libspawn_err *err)
{
    return adopt(number, false, fd_r, err);
}

static int
listen_fd(const char *number, mode_t mode, int *fd_r, struct libspawn_err *err)
{
    (void)mode; /* whoever bound it chose */
    return adopt(number, true, fd_r, err);
}

/* ---- Names ------------------------------------------------------------- */

static const struct {
    const char *prefix;
    int (*connect)(const char *argument, int *fd_r, struct libspawn_err *err);
    int (*listen)(const char *argument, mode_t mode, int *fd_r,
                  struct libspawn_err *err);
} stream_types[] = {
    { .prefix = "unix:", .connect = connect_unix },
    { .prefix = "fd:", .connect = connect_fd },
    { .prefix = "punix:", .listen = listen_unix },
    { .prefix = "pfd:", .listen = listen_fd },
};

int
libspawn__stream_connect(const char *name, int *fd_r, struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(stream_types); i++) {
        const char *prefix = stream_types[i].prefix;

        if (stream_types[i].connect &&
            libspawn__str_has_prefix(name, prefix)) {
            return stream_types[i].connect(name + strlen(prefix), fd_r, err);
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                          "'%s' is not unix:PATH or fd:NUMBER", name);
}

int
libspawn__stream_listen(const char *name, mode_t mode, int *fd_r,
                        struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(stream_types); i++) {
        const char *prefix = stream_types[i].prefix;

        if (stream_types[i].listen && libspawn__str_has_prefix(name, prefix)) {
            return stream_types[i].listen(name + strlen(prefix), mode, fd_r,
                                          err);
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                          "'%s' is not punix:PATH or pfd:NUMBER", name);
}

/* ---- Without a file ---------------------------------------------------- */

/* Names of this kind begin with a NUL and have no other at their end. */
enum { HIDDEN_NAME_AT = offsetof(struct sockaddr_un, sun_path) + 1 };

static int
new_hidden_socket(int type, struct libspawn_err *err)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? libspawn__fail_errno(err, errno, "making a socket") : fd;
}

/* Gives it a name that nobody has. */
static int
name_hidden_socket(int fd, char **name_r, struct libspawn_err *err)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    socklen_t size = sizeof un;
    char *name;

    /* An address without a name asks the kernel for one. */
    if (bind(fd, (const struct sockaddr *)&un, sizeof un.sun_family) < 0 ||
        getsockname(fd, (struct sockaddr *)&un, &size) < 0) {
        return libspawn__fail_errno(err, errno, "naming a socket");
    }
    if (size <= HIDDEN_NAME_AT) {
        return libspawn__fail(err, LIBSPAWN_ERR_SYSTEM,
                              "the kernel gave a socket no name");
    }
    name = strndup(un.sun_path + 1, size - HIDDEN_NAME_AT);
    if (!name) {
        return libspawn__fail_nomem(err);
    }
    *name_r = name;
    return 0;
}

int
libspawn__stream_listen_hidden(char **name_r, int *fd_r,
                               struct libspawn_err *err)
{
    AUTO_FREE char *name = NULL;
    AUTO_FD int fd = new_hidden_socket(SOCK_SEQPACKET, err);
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = name_hidden_socket(fd, &name, err);
    if (rc) {
        return rc;
    }
    if (listen(fd, SOMAXCONN) < 0) {
        return libspawn__fail_errno(err, errno, "listening");
    }
    *name_r = TAKE_PTR(name);
    *fd_r = TAKE_FD(fd);
    return 0;
}

int
libspawn__stream_open_mailbox(char **name_r, int *fd_r,
                              struct libspawn_err *err)
{
    static const int on = 1;
    AUTO_FREE char *name = NULL;
    AUTO_FD int fd = new_hidden_socket(SOCK_DGRAM, err);
    int rc;

    if (fd < 0) {
        return fd;
    }
    /* Before anybody knows its name, so that no letter is without. */
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) {
        return libspawn__fail_errno(err, errno, "asking for senders");
    }
    rc = name_hidden_socket(fd, &name, err);
    if (rc) {
        return rc;
    }
    *name_r = TAKE_PTR(name);
    *fd_r = TAKE_FD(fd);
    return 0;
}

int
libspawn__stream_connect_hidden(const char *name, int *fd_r,
                                struct libspawn_err *err)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t size = strlen(name);
    AUTO_FD int fd = -1;

    if (!size || size >= sizeof un.sun_path) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%s' is no name of a socket", name);
    }
    fd = new_hidden_socket(SOCK_SEQPACKET, err);
    if (fd < 0) {
        return fd;
    }
    memcpy(un.sun_path + 1, name, size);
    if (connect(fd, (const struct sockaddr *)&un,
                (socklen_t)(HIDDEN_NAME_AT + size)) < 0) {
        return libspawn__fail_errno(err, errno, "connecting to '%s'", name);
    }
    *fd_r = TAKE_FD(fd);
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

int
libspawn__stream_pair(bool nonblocking, int fds_r[2], struct libspawn_err *err)
{
    int type = SOCK_SEQPACKET | SOCK_CLOEXEC;

    if (nonblocking) {
        type |= SOCK_NONBLOCK;
    }
    if (socketpair(AF_UNIX, type, 0, fds_r) < 0) {
        return libspawn__fail_errno(err, errno, "making a pair of sockets");
    }
    return 0;
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

/* ---- Messages ---------------------------------------------------------- */

enum {
    KERNEL_FDS_MAX = 253, /* SCM_MAX_FD, which no public header has */
    SEND_CONTROL_SIZE = CMSG_SPACE(LIBSPAWN__STREAM_FDS_MAX * sizeof(int)),
    /* So large that whatever the kernel hands over fits: truncation would
     * then only mean that our descriptor table is full. */
    RECV_CONTROL_SIZE = CMSG_SPACE(KERNEL_FDS_MAX * sizeof(int)) +
                        CMSG_SPACE(sizeof(struct ucred))
};

ssize_t
libspawn__stream_send(int fd, const void *bytes, size_t size, const int *fds,
                      size_t n_fds)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[SEND_CONTROL_SIZE];
    } control = { .bytes = { 0 } };
    /* The cast takes away a const that iovec has no way to say. */
    struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes,
                         .iov_len = size };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    /* An empty message would look like the end to the receiver. */
    if (!size || n_fds > LIBSPAWN__STREAM_FDS_MAX) {
        return -EINVAL;
    }
    if (n_fds) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(n_fds * sizeof *fds);
        memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof *fds);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof *fds);
    }
    do {
        n = sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* The descriptors of 'message', which may be more than the sender meant us to
 * have: all have to be found, so that all can be closed. */
static size_t
collect_fds(struct msghdr *message, int fds[KERNEL_FDS_MAX])
{
    size_t n_fds = 0;
    struct cmsghdr *header;

    for (header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        size_t size = header->cmsg_len - CMSG_LEN(0);

        if (header->cmsg_level == SOL_SOCKET &&
            header->cmsg_type == SCM_RIGHTS) {
            memcpy(fds + n_fds, CMSG_DATA(header), size);
            n_fds += size / sizeof *fds;
        }
    }
    return n_fds;
}

static void
close_all(const int *fds, size_t n_fds)
{
    size_t i;

    for (i = 0; i < n_fds; i++) {
        close(fds[i]);
    }
}

ssize_t
libspawn__stream_recv(int fd, void *bytes, size_t size, int *fds,
                      size_t *n_fds_r)
{
    union {
        struct cmsghdr header;
        char bytes[RECV_CONTROL_SIZE];
    } control;
    struct iovec iov = { .iov_base = bytes, .iov_len = size };
    struct msghdr message;
    int received[KERNEL_FDS_MAX];
    size_t n_received;
    int error = 0;
    ssize_t n;

    /* ECONNRESET is how the kernel says, once, that the peer closed without
     * reading all of ours.  What it sent before is still to be read. */
    do {
        message = (struct msghdr){ .msg_iov = &iov,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof control };
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0) {
        return -errno;
    }
    n_received = collect_fds(&message, received);
    if (message.msg_flags & MSG_TRUNC || n_received > *n_fds_r) {
        error = -EPROTO;
    } else if (message.msg_flags & MSG_CTRUNC) {
        error = -EMFILE;
    }
    if (error) {
        close_all(received, n_received);
        return error;
    }
    if (n_received) {
        memcpy(fds, received, n_received * sizeof *fds);
    }
    *n_fds_r = n_received;
    return n;
}

/* 0: nobody that can be seen from here. */
static pid_t
find_sender(struct msghdr *message)
{
    struct cmsghdr *header;
    struct ucred sender = { 0 };

    for (header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET &&
            header->cmsg_type == SCM_CREDENTIALS &&
            header->cmsg_len == CMSG_LEN(sizeof sender)) {
            memcpy(&sender, CMSG_DATA(header), sizeof sender);
        }
    }
    return sender.pid;
}

ssize_t
libspawn__stream_recv_letter(int fd, void *bytes, size_t size, pid_t *sender_r)
{
    union {
        struct cmsghdr header;
        char bytes[RECV_CONTROL_SIZE];
    } control;
    struct iovec iov = { .iov_base = bytes, .iov_len = size };
    struct msghdr message;
    int received[KERNEL_FDS_MAX];
    ssize_t n;

    do {
        message = (struct msghdr){ .msg_iov = &iov,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof control };
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    close_all(received, collect_fds(&message, received));
    if (message.msg_flags & MSG_TRUNC) {
        return -EPROTO;
    }
    *sender_r = find_sender(&message);
    return n;
}
