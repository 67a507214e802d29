#include "base/random.h"

#include <fcntl.h>
#include <sys/random.h>

#include "base/auto.h"
#include "base/fd.h"

int
libspawn__random_fill(void *bytes, size_t size, struct libspawn_err *err)
{
    AUTO_FD int fd = -1;

    if (getrandom(bytes, size, 0) == (ssize_t)size) {
        return 0;
    }
    fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0 ||
        libspawn__fd_read_full(fd, bytes, size) != (ssize_t)size) {
        return libspawn__fail_errno(err, errno, "reading random numbers");
    }
    return 0;
}
