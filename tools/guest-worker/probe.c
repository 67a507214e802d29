/*
 * What is not ours and may hang: images, and locks that others hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/util.h"
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

/* SIGALRM again and again, since the first may come before the wait; 0: no
 * more. */
static void
set_alarm(uint32_t after_ms)
{
    const struct itimerval timer = {
        .it_value = { .tv_sec = after_ms / 1000,
                      .tv_usec = after_ms % 1000 * 1000 },
        .it_interval = { .tv_usec = after_ms ? 10000 : 0 },
    };

    setitimer(ITIMER_REAL, &timer, NULL);
}

/* 0 or -errno; -ETIMEDOUT at the deadline. */
static int
wait_for_lock(int fd, bool is_shared, uint32_t limit_ms)
{
    struct flock lock = { .l_type = is_shared ? F_RDLCK : F_WRLCK,
                          .l_whence = SEEK_SET };
    int64_t deadline_ms = libspawn__clock_now_ms() + limit_ms;
    int r;

    set_alarm(MAX(limit_ms, 1));
    do {
        r = fcntl(fd, F_OFD_SETLKW, &lock) < 0 ? -errno : 0;
    } while (r == -EINTR && libspawn__clock_now_ms() < deadline_ms);
    set_alarm(0);
    return r == -EINTR ? -ETIMEDOUT : r;
}

static int
take_lock(struct job *job, struct libspawn_err *err)
{
    const struct libspawn__worker_lock *lock =
        (const struct libspawn__worker_lock *)(void *)job->request.data;
    int r = wait_for_lock(job->request.fds[0], lock->is_shared,
                          lock->limit_ms);

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
    { LIBSPAWN__WORKER_LOCK, "lock", "probe",
      sizeof(struct libspawn__worker_lock), 1, take_lock },
    { 0, NULL, NULL, 0, 0, NULL },
};
