#include "proc/lock.h"

#include <fcntl.h>
#include <unistd.h>

static int
take(const char *path, int command, int *fd_r, struct libspawn_err *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    AUTO_FD int fd =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening the lock '%s'", path);
    }
    do {
        r = fcntl(fd, command, &lock);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        return libspawn__fail_errno(err, errno, "locking '%s'", path);
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

int
libspawn__lock_take(const char *path, int *fd_r, struct libspawn_err *err)
{
    return take(path, F_OFD_SETLKW, fd_r, err);
}

int
libspawn__lock_try(const char *path, int *fd_r, struct libspawn_err *err)
{
    return take(path, F_OFD_SETLK, fd_r, err);
}

int
libspawn__lock_try_fd(int fd, struct libspawn_err *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fcntl(fd, F_OFD_SETLK, &lock) < 0
               ? libspawn__fail_errno(err, errno, "locking")
               : 0;
}
