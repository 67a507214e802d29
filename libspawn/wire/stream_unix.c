/*
 * Unix sockets.
 *
 * Why listening goes through a temporary name: a socket is bound first and
 * listens later, and in between it looks exactly like one whose owner died.
 * So ours gets its mode and listens under a temporary name and only then, in
 * one step, its real one.  Nobody can connect with the wrong mode, and what
 * refuses a connection under the real name is dead.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/compat.h"
#include "base/random.h"
#include "base/str.h"
#include "wire/stream.h"
#include "wire/stream_class.h"

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

static int
fail_empty(struct libspawn_err *err)
{
    return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                          "the path of a socket is empty");
}

/* '*address' is to be disposed of in every case. */
static int
address_init(struct address *address, const char *path,
             struct libspawn_err *err)
{
    size_t size = strlen(path) + 1;

    *address = (struct address){ .un.sun_family = AF_UNIX, .dir_fd = -1 };
    if (size == 1) {
        return fail_empty(err);
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
    temporary_path =
        libspawn__str_format("%s" LIBSPAWN__STREAM_NEW "%08x", path, suffix);
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

bool
libspawn__stream_is_bound_to(int fd, const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNSPEC };
    socklen_t size = sizeof un;

    return !getsockname(fd, (struct sockaddr *)&un, &size) &&
           un.sun_family == AF_UNIX && strlen(path) < sizeof un.sun_path &&
           !strncmp(un.sun_path, path, sizeof un.sun_path);
}

void
libspawn__stream_remove_dead(const char *path)
{
    AUTO_ADDRESS struct address address;

    if (!address_init(&address, path, NULL) && is_dead_listener(&address)) {
        unlink(path);
    }
}

/* The directory may still be made. */
static int
check_unix(const char *path, struct libspawn_err *err)
{
    return *path ? 0 : fail_empty(err);
}

const struct libspawn__stream_class libspawn__stream_unix = {
    .prefix = "unix:", .check = check_unix, .connect = connect_unix
};
const struct libspawn__stream_class libspawn__stream_punix = {
    .prefix = "punix:", .check = check_unix, .listen = listen_unix
};

/* ---- Without a file ---------------------------------------------------- */

/* Names of this kind begin with a NUL and have no other at their end. */
enum {
    HIDDEN_NAME_AT = offsetof(struct sockaddr_un, sun_path) + 1
};

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
