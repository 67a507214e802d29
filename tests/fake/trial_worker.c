/*
 * guest-worker, and what only tests ask for: class "trial".  See trial.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "tests/fake/trial.h"
#include "tools/guest-worker/worker.h"

static int
echo(struct job *job, struct libspawn_err *err)
{
    (void)err;
    return job_reply(job, job->request.data, job->request.header.size,
                     job->request.fds, job->request.header.n_fds);
}

/* Until somebody writes to the pipe that comes along, or closes it. */
static int
wait_told(struct job *job, struct libspawn_err *err)
{
    char byte;

    (void)err;
    libspawn__fd_read_full(job->request.fds[0], &byte, 1);
    return job_reply_if_asked(job, NULL, 0, NULL, 0);
}

static int
forget(struct job *job, struct libspawn_err *err)
{
    (void)job;
    (void)err;
    return 0;
}

static int
reply_always(struct job *job, struct libspawn_err *err)
{
    return job_reply(job, "", 0, NULL, 0)
               ? libspawn__fail(err, LIBSPAWN_ERR_INVALID, "nobody asked")
               : 0;
}

static int
fail(struct job *job, struct libspawn_err *err)
{
    (void)job;
    return libspawn__fail_errno(err, ENOSPC, "doing as told");
}

static int
die(struct job *job, struct libspawn_err *err)
{
    (void)job;
    (void)err;
    raise(SIGKILL);
    return 0;
}

/* The payload as it is, in place of a message, with the descriptors. */
static int
say(struct job *job, struct libspawn_err *err)
{
    size_t size = job->request.header.size;
    const char *data = job->request.data;

    (void)err;
    libspawn__fd_write_full(job->socket, data, size);
    wait_told(job, err);
    return 0;
}

/* What is open here, as seen by a program that is started. */
static int
count_fds(struct job *job, struct libspawn_err *err)
{
    uint32_t n = 0;
    int fd;

    (void)err;
    for (fd = 0; fd < 1024; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return job_reply(job, &n, sizeof n, NULL, 0);
}

static int
get_fd_flags(struct job *job, struct libspawn_err *err)
{
    int flags = fcntl(job->request.fds[0], F_GETFD);

    (void)err;
    return job_reply(job, &flags, sizeof flags, NULL, 0);
}

static const struct job_type trial_types[] = {
    { TRIAL_ECHO, "echo", "trial", 0, JOB_ANY_FDS, echo },
    { TRIAL_WAIT, "wait", "trial", 0, 1, wait_told },
    { TRIAL_FORGET, "forget", "trial", 0, 0, forget },
    { TRIAL_REPLY_ALWAYS, "reply-always", "trial", 0, 0, reply_always },
    { TRIAL_FAIL, "fail", "trial", 0, 0, fail },
    { TRIAL_DIE, "die", "trial", 0, 0, die },
    { TRIAL_SAY, "say", "trial", 0, 1, say },
    { TRIAL_COUNT_FDS, "count-fds", "trial", 0, 0, count_fds },
    { TRIAL_FD_FLAGS, "fd-flags", "trial", 0, 1, get_fd_flags },
    { 0, NULL, NULL, 0, 0, NULL },
};

int
main(int argc, char *argv[])
{
    static const struct job_type *const tables[] = {
        worker_io_types, worker_probe_types, worker_script_types, trial_types,
        NULL
    };

    return argc > 1 && !worker_serve(LIBSPAWN__WORKER_FD, argv[1], tables)
               ? EXIT_SUCCESS
               : EXIT_FAILURE;
}
