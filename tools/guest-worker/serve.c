/*
 * Requests, answers, and the rule between them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "proc/exec.h"
#include "tools/guest-worker/worker.h"

/* ---- Waiting ----------------------------------------------------------- */

static void
do_nothing(int signal)
{
    (void)signal;
}

/* SIGCHLD is blocked but for here, so none comes between a look and the wait
 * for the next. */
bool
worker_wait(int fd, int64_t deadline_ms)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    struct timespec left = { 0 };
    sigset_t none;

    sigemptyset(&none);
    if (deadline_ms != LIBSPAWN__NEVER) {
        int64_t left_ms = MAX(deadline_ms - libspawn__clock_now_ms(), 0);

        left.tv_sec = left_ms / 1000;
        left.tv_nsec = left_ms % 1000 * 1000000;
    }
    return ppoll(&pollfd, 1, deadline_ms == LIBSPAWN__NEVER ? NULL : &left,
                 &none) > 0;
}

/* Orphans of scripts come to us. */
static void
wait_for_request(int socket)
{
    do {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    } while (!worker_wait(socket, LIBSPAWN__NEVER));
}

/* A caller's spawn hook may leave us anything. */
static void
tidy_up(int socket)
{
    const struct sigaction action = { .sa_handler = do_nothing };
    sigset_t sigchld;

    libspawn__fd_close_from(LIBSPAWN__WORKER_FD + 1);
    fcntl(socket, F_SETFD, FD_CLOEXEC);
    libspawn__exec_reset_signals();
    signal(SIGPIPE, SIG_IGN);
    /* Only to end a wait. */
    sigaction(SIGCHLD, &action, NULL);
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &sigchld, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* ---- Answers ----------------------------------------------------------- */

static bool
is_asked(const struct job *job)
{
    return job->request.header.kind == LIBSPAWN__WORKER_REQUEST;
}

/* A main process that is gone misses it; what it asked for is done all the
 * same. */
static void
answer(const struct job *job, enum libspawn__worker_kind kind,
       const struct libspawn_err *err)
{
    struct libspawn__worker_header header = job->request.header;

    header.kind = (uint16_t)kind;
    header.n_fds = 0;
    header.code = err->code;
    header.sys_errno = err->sys_errno;
    header.size = err->code ? (uint32_t)strlen(err->text) : 0;
    libspawn__worker_send(job->socket, &header, err->text, NULL);
}

int
job_reply(struct job *job, const void *data, size_t size, const int *fds,
          size_t n_fds)
{
    struct libspawn__worker_header header = job->request.header;

    if (!is_asked(job)) {
        job->is_unasked = true;
        return LIBSPAWN_ERR_INVALID;
    }
    if (job->has_replied || size > LIBSPAWN__WORKER_SIZE_MAX ||
        n_fds > LIBSPAWN__WORKER_FDS_MAX) {
        return LIBSPAWN_ERR_INVALID;
    }
    header.kind = LIBSPAWN__WORKER_REPLY;
    header.n_fds = (uint16_t)n_fds;
    header.size = (uint32_t)size;
    header.code = 0;
    header.sys_errno = 0;
    job->has_replied = true;
    libspawn__worker_send(job->socket, &header, data, fds);
    return 0;
}

int
job_reply_if_asked(struct job *job, const void *data, size_t size,
                   const int *fds, size_t n_fds)
{
    return is_asked(job) ? job_reply(job, data, size, fds, n_fds) : 0;
}

/* ---- Requests ---------------------------------------------------------- */

const char *
job_next_string(const struct job *job, size_t *at)
{
    const char *text = job->request.data + *at;
    const char *end;

    if (*at >= job->request.header.size) {
        return NULL;
    }
    end = (const char *)memchr(text, '\0', job->request.header.size - *at);
    if (!end) {
        return NULL;
    }
    *at += (size_t)(end - text) + 1;
    return text;
}

int
job_fail_payload(const struct job *job, struct libspawn_err *err)
{
    return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                          "a request of type %u with %u bytes and %u "
                          "descriptors makes no sense",
                          job->request.header.type, job->request.header.size,
                          job->request.header.n_fds);
}

static const struct job_type *
find_type(const struct job_type *const tables[], uint32_t type)
{
    const struct job_type *candidate;

    for (; *tables; tables++) {
        for (candidate = *tables; candidate->name; candidate++) {
            if (candidate->type == type) {
                return candidate;
            }
        }
    }
    return NULL;
}

static int
run(struct job *job, const struct job_type *type, const char *class,
    struct libspawn_err *err)
{
    const struct libspawn__worker_header *header = &job->request.header;

    if (!type || strcmp(type->class, class) != 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "a worker '%s' does no requests of type %u",
                              class, header->type);
    }
    if (header->size < type->size ||
        (type->n_fds != JOB_ANY_FDS && header->n_fds != type->n_fds)) {
        return job_fail_payload(job, err);
    }
    return type->run(job, err);
}

/* The rule: a reply if and only if it is due. */
static void
conclude(const struct job *job, const struct job_type *type, int rc,
         struct libspawn_err *err)
{
    if (!rc) {
        err->code = 0;
        err->sys_errno = 0;
    }
    if (job->is_unasked) {
        libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                       "the handler of '%s' replied though nobody asked",
                       type->name);
    } else if (!rc && is_asked(job) && !job->has_replied) {
        libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                       "the handler of '%s' owes a reply", type->name);
    }
    if (!job->has_replied) {
        answer(job,
               is_asked(job) ? LIBSPAWN__WORKER_REPLY : LIBSPAWN__WORKER_DONE,
               err);
    }
}

static void
do_job(struct job *job, const char *class,
       const struct job_type *const tables[])
{
    const struct job_type *type =
        find_type(tables, job->request.header.type);
    struct libspawn_err err = { 0 };
    int rc = run(job, type, class, &err);

    conclude(job, type, rc, &err);
}

/* Only a main process asks, and each time with a higher number. */
static int
check_order(const struct libspawn__worker_header *header, uint64_t last,
            struct libspawn_err *err)
{
    if ((header->kind != LIBSPAWN__WORKER_REQUEST &&
         header->kind != LIBSPAWN__WORKER_ORDER) ||
        header->sequence <= last) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "a message of kind %u with number %llu makes no "
                              "sense after number %llu",
                              header->kind,
                              (unsigned long long)header->sequence,
                              (unsigned long long)last);
    }
    return 0;
}

static int
complain(int socket, const struct libspawn_err *err)
{
    struct job job = {
        .socket = socket,
        .request.header = { .magic = LIBSPAWN__WORKER_MAGIC },
    };

    answer(&job, LIBSPAWN__WORKER_COMPLAINT, err);
    return err->code;
}

static void
job_dispose(struct job *job)
{
    libspawn__worker_message_dispose(&job->request);
}

int
worker_serve(int socket, const char *class,
             const struct job_type *const tables[])
{
    struct libspawn__worker_reader reader = { .size = 0 };
    uint64_t last = 0;

    tidy_up(socket);
    for (;;) {
        AUTO(job_dispose) struct job job = { .socket = socket };
        struct libspawn_err err = { 0 };
        int rc;

        wait_for_request(socket);
        rc = libspawn__worker_reader_read(&reader, socket, &job.request, &err);
        if (rc == LIBSPAWN_ERR_GONE && !reader.size) {
            return 0;
        }
        if (rc == 1) {
            rc = check_order(&job.request.header, last, &err);
        }
        if (rc) {
            libspawn__worker_reader_dispose(&reader);
            return complain(socket, &err);
        }
        last = job.request.header.sequence;
        do_job(&job, class, tables);
    }
}
