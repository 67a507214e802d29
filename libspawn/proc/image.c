#include "proc/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"

enum {
    COPY_CHUNK = 64 * 1024 * 1024
};

static int
look_at(const char *path, int fd, struct libspawn__worker_image *image_r,
        struct libspawn_err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return libspawn__fail_errno(err, errno, "looking at '%s'", path);
    }
    *image_r = (struct libspawn__worker_image){
        .size = (uint64_t)st.st_size,
        .device = st.st_dev,
        .inode = st.st_ino,
        .raw_device = st.st_rdev,
        .mode = st.st_mode,
    };
    return 0;
}

static bool
is_file(const struct libspawn__worker_image *image)
{
    return S_ISREG(image->mode) || S_ISBLK(image->mode);
}

/* What an open file has beside that. */
static int
read_more(const char *path, int fd, uint32_t flags,
          struct libspawn__worker_image *image, struct libspawn_err *err)
{
    ssize_t n;

    if (S_ISBLK(image->mode) && ioctl(fd, BLKGETSIZE64, &image->size) < 0) {
        return libspawn__fail_errno(err, errno, "looking at '%s'", path);
    }
    if (!(flags & LIBSPAWN__WORKER_IMAGE_LOOK) || !is_file(image)) {
        return 0;
    }
    do {
        n = pread(fd, image->head, sizeof image->head, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return libspawn__fail_errno(err, errno, "reading '%s'", path);
    }
    image->head_size = (uint32_t)n;
    return 0;
}

/* A copy in memory may be read by everybody who has it, whoever owns the
 * file. */
static int
copy(const char *path, int fd, int *copy_r, struct libspawn_err *err)
{
    AUTO_FD int memfd =
        memfd_create("libspawn-boot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ssize_t n;
    int r;

    if (memfd < 0) {
        return libspawn__fail_errno(err, errno, "copying '%s'", path);
    }
    do {
        n = sendfile(memfd, fd, NULL, COPY_CHUNK);
    } while (n > 0 || (n < 0 && errno == EINTR));
    r = n < 0 ? -errno : libspawn__fd_seal(memfd);
    if (r) {
        return libspawn__fail_errno(err, -r, "copying '%s'", path);
    }
    *copy_r = TAKE_FD(memfd);
    return 0;
}

static int
open_file(const char *path, uint32_t flags, int *fd_r,
          struct libspawn_err *err)
{
    bool is_writable = flags & LIBSPAWN__WORKER_IMAGE_WRITE;
    bool is_direct = flags & LIBSPAWN__WORKER_IMAGE_DIRECT;
    int fd = open(path, (is_writable ? O_RDWR : O_RDONLY) |
                            (is_direct ? O_DIRECT : 0) | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    *fd_r = fd;
    return 0;
}

/* Without opening it, which may have consequences or wait for somebody. */
static int
name_file(const char *path, struct libspawn__worker_image *image_r, int *fd_r,
          struct libspawn_err *err)
{
    AUTO_FD int fd = open(path, O_PATH | O_CLOEXEC);
    int rc;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    rc = look_at(path, fd, image_r, err);
    if (!rc) {
        *fd_r = TAKE_FD(fd);
    }
    return rc;
}

int
libspawn__image_open(const char *path, uint32_t flags,
                     struct libspawn__worker_image *image_r, int *fd_r,
                     struct libspawn_err *err)
{
    struct libspawn__worker_image image;
    AUTO_FD int named = -1;
    AUTO_FD int fd = -1;
    AUTO_FD int copied = -1;
    bool is_named = flags & LIBSPAWN__WORKER_IMAGE_NAME;
    int rc = 0;

    if (is_named || flags & LIBSPAWN__WORKER_IMAGE_LOOK) {
        rc = name_file(path, &image, &named, err);
        if (rc) {
            return rc;
        }
        if (is_named || !is_file(&image)) {
            *image_r = image;
            *fd_r = TAKE_FD(named);
            return 0;
        }
    }
    rc = open_file(path, flags, &fd, err);
    if (!rc) {
        rc = look_at(path, fd, &image, err);
    }
    if (!rc) {
        rc = read_more(path, fd, flags, &image, err);
    }
    if (!rc && flags & LIBSPAWN__WORKER_IMAGE_COPY) {
        rc = copy(path, fd, &copied, err);
    }
    if (!rc) {
        *image_r = image;
        *fd_r = copied >= 0 ? TAKE_FD(copied) : TAKE_FD(fd);
    }
    return rc;
}
