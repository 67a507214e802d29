/*
 * Sockets that somebody else made and left to us as a descriptor.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"
#include "wire/stream_class.h"

/* The number comes from a person, so each way to be wrong has its sentence. */
static int
check_is_stream(int fd, struct libspawn_err *err)
{
    struct stat st;
    int type = 0;
    int rc;

    if (fstat(fd, &st) < 0) {
        return libspawn__fail_errno(err, errno, "descriptor %d is not open",
                                    fd);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "descriptor %d is not a socket", fd);
    }
    rc = libspawn__stream_get_option(fd, SO_TYPE, "type", &type, err);
    if (!rc && type != SOCK_STREAM) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "descriptor %d is not a stream socket", fd);
    }
    return rc;
}

static int
check_state(int fd, bool passive, struct libspawn_err *err)
{
    int listens = 0;
    int rc =
        libspawn__stream_get_option(fd, SO_ACCEPTCONN, "state", &listens, err);

    if (!rc && passive && !listens) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "descriptor %d is a socket that does not listen",
                            fd);
    }
    if (!rc && !passive && listens) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "descriptor %d is a socket that listens", fd);
    }
    return rc;
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
    rc = check_is_stream(fd, err);
    if (!rc) {
        rc = check_state(fd, passive, err);
    }
    if (!rc) {
        rc = libspawn__stream_add_probes(fd, err);
    }
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

const struct libspawn__stream_class libspawn__stream_fd = {
    .prefix = "fd:", .is_number = true, .connect = connect_fd
};
const struct libspawn__stream_class libspawn__stream_pfd = {
    .prefix = "pfd:", .is_number = true, .listen = listen_fd
};
