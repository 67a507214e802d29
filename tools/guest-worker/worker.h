/*
 * guest-worker: does what may block in the kernel, for a process that must not
 * block.  One request after the other, each to its end.
 *
 *   main.c     what it is started as
 *   serve.c    requests, answers, and the rule between them
 *   io.c       class "io": files of ours
 *   probe.c    class "probe": images, locks
 *   program.c  running a program with a limit
 *   script.c   what runs programs: scripts, qemu-img, gdb
 *
 * A handler replies exactly once if, and only if, the request asks for it; one
 * that fails returns the code instead, and serve.c replies.
 *
 * It has no state but its socket, and removes nothing when it ends.  When the
 * main process dies it does what lies in the socket and exits.
 *
 * Rights: runs as the user of the main process; holds the socket to it, and
 * during a request what came along.
 */
#ifndef TOOLS_GUEST_WORKER_H
#define TOOLS_GUEST_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "proc/log.h"
#include "proc/plan.h"
#include "proc/worker_wire.h"

struct job {
    struct libspawn__worker_message request;
    int socket;
    bool has_replied;
    bool is_unasked; /* it replied though nobody asked */
};

enum { JOB_ANY_FDS = LIBSPAWN__WORKER_FDS_MAX + 1 };

typedef int job_fn(struct job *job, struct libspawn_err *err);

struct job_type {
    uint32_t type;
    const char *name;  /* NULL ends a table */
    const char *class; /* of the workers that do it */
    size_t size;       /* of the structure that its payload begins with */
    size_t n_fds;      /* that come along, or JOB_ANY_FDS */
    job_fn *run;
};

/* What guest-worker can do; of each file one table. */
extern const struct job_type worker_io_types[];
extern const struct job_type worker_probe_types[];
extern const struct job_type worker_script_types[];

/* serve.c: from the first request to the end of the main process.  'tables'
 * ends with NULL.  0, or why it gave up. */
int worker_serve(int socket, const char *class,
                 const struct job_type *const tables[]);

/* The reply, with descriptors that stay the handler's.  0, also when nobody
 * is there to hear it; LIBSPAWN_ERR_INVALID: nobody asked, it was the second,
 * or it is too large. */
int job_reply(struct job *job, const void *data, size_t size, const int *fds,
              size_t n_fds);

/* For handlers that have an answer but not for everybody who asks. */
int job_reply_if_asked(struct job *job, const void *data, size_t size,
                       const int *fds, size_t n_fds);

/* The string of the payload at *at, which then is behind it; NULL: there is
 * none. */
const char *job_next_string(const struct job *job, size_t *at);

/* A payload that makes no sense. */
int job_fail_payload(const struct job *job, struct libspawn_err *err);

/* Waits until 'fd' is readable: true, or false at 'deadline_ms' or when a
 * child may have ended. */
bool worker_wait(int fd, int64_t deadline_ms);

/* ---- program.c --------------------------------------------------------- */

struct program {
    struct libspawn_plan plan; /* what to run */
    uint32_t limit_ms;
    struct libspawn__log *log;   /* takes the output */
    struct libspawn__buf *text;  /* or this, its beginning */
    size_t max_text_size;
    struct libspawn__worker_ended end;
};

/* To be disposed of in every case. */
void program_init(struct program *program);
void program_dispose(struct program *program);
#define AUTO_PROGRAM AUTO(program_dispose)

/* Runs it without a shell until it has ended; at the limit it is killed, with
 * all that it started.  A program that cannot be run is an error, one that
 * fails is not. */
int program_run(struct program *program, struct libspawn_err *err);

#endif
