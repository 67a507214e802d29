/*
 * What is not ours and may hang: images, and locks that others hold.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/auto.h"
#include "proc/image.h"
#include "proc/lock.h"
#include "tools/guest-worker/worker.h"

/* ---- Images ------------------------------------------------------------ */

/* A main process that is killed meanwhile has no more use for it, and the disk
 * may hang for ever. */
static int
open_image(struct job *job, struct libspawn_err *err)
{
    const struct libspawn__worker_open_image *open_image =
        (const struct libspawn__worker_open_image *)(void *)job->request.data;
    struct libspawn__worker_image image;
    size_t at = sizeof *open_image;
    const char *path = job_next_string(job, &at);
    AUTO_FD int fd = -1;
    int rc;

    if (!path) {
        return job_fail_payload(job, err);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    rc = libspawn__image_open(path, open_image->flags, &image, &fd, err);
    prctl(PR_SET_PDEATHSIG, 0);
    return rc ? rc : job_reply_if_asked(job, &image, sizeof image, &fd, 1);
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
