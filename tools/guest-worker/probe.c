/*
 * What is not ours and may hang: images, and locks that others hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "proc/lock.h"
#include "tools/guest-worker/worker.h"

/* ---- Images ------------------------------------------------------------ */

static int
describe_image(int fd, struct libspawn__worker_image *image_r)
{
    struct stat st;
    uint64_t size;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    size = (uint64_t)st.st_size;
    if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &size) < 0) {
        return -errno;
    }
    *image_r = (struct libspawn__worker_image){
        .size = size,
        .device = st.st_dev,
        .inode = st.st_ino,
        .raw_device = st.st_rdev,
        .mode = st.st_mode,
    };
    return 0;
}

static int
open_image(struct job *job, struct libspawn_err *err)
{
    const struct libspawn__worker_open_image *open_image =
        (const struct libspawn__worker_open_image *)(void *)job->request.data;
    bool is_writable = open_image->flags & LIBSPAWN__WORKER_IMAGE_WRITE;
    bool is_direct = open_image->flags & LIBSPAWN__WORKER_IMAGE_DIRECT;
    struct libspawn__worker_image image;
    size_t at = sizeof *open_image;
    const char *path = job_next_string(job, &at);
    AUTO_FD int fd = -1;
    int r;

    if (!path) {
        return job_fail_payload(job, err);
    }
    fd = open(path, (is_writable ? O_RDWR : O_RDONLY) |
                        (is_direct ? O_DIRECT : 0) | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    r = describe_image(fd, &image);
    if (r) {
        return libspawn__fail_errno(err, -r, "looking at '%s'", path);
    }
    return job_reply_if_asked(job, &image, sizeof image, &fd, 1);
}

/* ---- Locks ------------------------------------------------------------- */

/* Whoever waits too long for us ends us: there is nothing to tidy up. */
static int
wait_for_lock(struct job *job, struct libspawn_err *err)
{
    int r = libspawn__lock_wait_fd(job->request.fds[0]);

    if (r) {
        return libspawn__fail_errno(err, -r, "waiting for a lock");
    }
    /* Before the reply: who then closes theirs gives up the lock. */
    close(TAKE_FD(job->request.fds[0]));
    return job_reply_if_asked(job, NULL, 0, NULL, 0);
}

const struct job_type worker_probe_types[] = {
    { LIBSPAWN__WORKER_OPEN_IMAGE, "open-image", "probe",
      sizeof(struct libspawn__worker_open_image), 0, open_image },
    { LIBSPAWN__WORKER_LOCK, "lock", "probe", 0, 1, wait_for_lock },
    { 0, NULL, NULL, 0, 0, NULL },
};
