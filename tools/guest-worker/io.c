/*
 * Files of ours: logs, mostly.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "tools/guest-worker/worker.h"

static int
append(struct job *job, struct libspawn_err *err)
{
    const struct libspawn__worker_append *append =
        (const struct libspawn__worker_append *)(void *)job->request.data;
    size_t size = job->request.header.size - sizeof *append;
    int r = libspawn__fd_write_full(job->request.fds[0], append + 1, size);

    if (r) {
        return libspawn__fail_errno(err, -r, "appending %zu bytes", size);
    }
    if (append->sync && fdatasync(job->request.fds[0]) < 0) {
        return libspawn__fail_errno(err, errno, "putting %zu bytes on disk",
                                    size);
    }
    return job_reply_if_asked(job, NULL, 0, NULL, 0);
}

/* PATH to PATH.1 when 'number' is 0, and so on; what is not there need not be
 * moved. */
static int
move_generation(const char *path, uint32_t number, struct libspawn_err *err)
{
    AUTO_FREE char *from =
        number ? libspawn__str_format("%s.%u", path, number)
               : libspawn__str_format("%s", path);
    AUTO_FREE char *to = libspawn__str_format("%s.%u", path, number + 1);

    if (!from || !to) {
        return libspawn__fail_nomem(err);
    }
    if (rename(from, to) < 0 && errno != ENOENT) {
        return libspawn__fail_errno(err, errno, "renaming '%s'", from);
    }
    return 0;
}

static int
rotate(struct job *job, struct libspawn_err *err)
{
    enum { N_OLD_MAX = 1000 };
    const struct libspawn__worker_rotate *rotate =
        (const struct libspawn__worker_rotate *)(void *)job->request.data;
    size_t at = sizeof *rotate;
    const char *path = job_next_string(job, &at);
    AUTO_FD int fd = -1;
    uint32_t i;
    int rc = 0;

    if (!path || rotate->n_old > N_OLD_MAX) {
        return job_fail_payload(job, err);
    }
    for (i = rotate->n_old; !rc && i > 0; i--) {
        rc = move_generation(path, i - 1, err);
    }
    if (rc) {
        return rc;
    }
    if (!rotate->n_old && unlink(path) < 0 && errno != ENOENT) {
        return libspawn__fail_errno(err, errno, "removing '%s'", path);
    }
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
              rotate->mode & 0777);
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    return job_reply_if_asked(job, NULL, 0, &fd, 1);
}

const struct job_type worker_io_types[] = {
    { LIBSPAWN__WORKER_APPEND, "append", "io",
      sizeof(struct libspawn__worker_append), 1, append },
    { LIBSPAWN__WORKER_ROTATE, "rotate", "io",
      sizeof(struct libspawn__worker_rotate), 0, rotate },
    { 0, NULL, NULL, 0, 0, NULL },
};
