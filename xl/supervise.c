/*
 * xl supervise: sees to it that guests have their supervisors, and that these
 * run the program that is installed now.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "guest/supervised.h"
#include "xl/command.h"

enum {
    ANSWER_MS = 2000,
    BUSY_MS = 40000, /* a pause before a restart ends within that time */
    POLL_MS = 50
};

struct job {
    struct xl *xl;
    bool is_all;
    bool is_reexec;
    int status; /* of the worst */
};

static void
fail(struct job *job, const struct libspawn_err *err)
{
    int status = xl__fail(job->xl, err);

    if (!job->status) {
        job->status = status;
    }
}

/* ---- Replacing the program --------------------------------------------- */

/* How many programs the supervisor was before; LIBSPAWN_ERR_NOT_FOUND: it is
 * none. */
static int
count_programs(struct job *job, const char *name, int64_t *n_r,
               struct libspawn_err *err)
{
    AUTO_JSON struct libspawn__json *status = NULL;
    int rc = libspawn__supervised_call(job->xl->host, name, "status", NULL,
                                       ANSWER_MS, &status, err);

    if (!rc && !libspawn__json_integer(
                   libspawn__json_member(status, "programs"), n_r)) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                            "the supervisor of guest '%s' is of an older "
                            "version, which cannot replace itself",
                            name);
    }
    return rc;
}

/* Waits as long as the process lives, and at most this long. */
static bool
pass_time(const struct libspawn__pidref *ref, int64_t until_ms)
{
    return libspawn__clock_now_ms() < until_ms &&
           libspawn__pidref_wait(ref, POLL_MS, NULL) == LIBSPAWN_ERR_TIMEOUT;
}

/* A program that cannot be executed answers with why; one that was executed
 * hangs up. */
static int
ask(struct job *job, const char *name, const struct libspawn__pidref *ref,
    struct libspawn_err *err)
{
    int64_t until_ms = libspawn__clock_now_ms() + BUSY_MS;
    int rc;

    do {
        rc = libspawn__supervised_call(job->xl->host, name, "reexec", NULL,
                                       ANSWER_MS, NULL, err);
    } while (rc == LIBSPAWN_ERR_BUSY && pass_time(ref, until_ms));
    return rc == LIBSPAWN_ERR_GONE ? 0 : rc;
}

static int
await_next(struct job *job, const char *name, int64_t n_before,
           const struct libspawn__pidref *ref, struct libspawn_err *err)
{
    int64_t until_ms = libspawn__clock_now_ms() + ANSWER_MS;
    int64_t n = n_before;
    int rc;

    do {
        rc = count_programs(job, name, &n, err);
        if (!rc && n != n_before) {
            return 0;
        }
    } while (pass_time(ref, until_ms));
    return libspawn__fail(err, LIBSPAWN_ERR_CHILD,
                          "the supervisor of guest '%s' has not come back as "
                          "another program%s%s",
                          name, rc ? ": " : "", rc ? err->text : "");
}

static int
reexec(struct job *job, const char *name, struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int64_t n;
    int rc = libspawn__supervised_find(job->xl->host, name, &ref, err);

    if (!rc) {
        rc = count_programs(job, name, &n, err);
    }
    if (!rc) {
        rc = ask(job, name, &ref, err);
    }
    if (!rc) {
        rc = await_next(job, name, n, &ref, err);
    }
    if (!rc && job->xl->verbose) {
        printf("guest '%s': its supervisor, process %d, runs the installed "
               "program\n",
               name, (int)ref.id.pid);
    }
    return rc;
}

/* ---- Guests ------------------------------------------------------------ */

/* Of one that was left without on purpose, only who is named gets one. */
static int
supervise(struct job *job, uint32_t domid, const char *name, bool is_named,
          struct libspawn_err *err)
{
    struct libspawn_host *host = job->xl->host;

    if (libspawn__supervised_is(host, name)) {
        return job->is_reexec ? reexec(job, name, err) : 0;
    }
    if (!is_named && !libspawn__supervised_is_domain(host, domid)) {
        return 0;
    }
    return libspawn__supervised_start(host, name, !is_named, err);
}

static void
supervise_all(struct job *job)
{
    struct libspawn_guest_info *list = NULL;
    struct libspawn_err err;
    size_t n = 0;
    size_t i;

    if (libspawn_guest_list(job->xl->host, &list, &n, &err)) {
        fail(job, &err);
        return;
    }
    for (i = 0; i < n; i++) {
        if (list[i].domid && list[i].name && list[i].name[0] &&
            supervise(job, list[i].domid, list[i].name, false, &err)) {
            fail(job, &err);
        }
    }
    libspawn_guest_list_free(list, n);
}

static void
supervise_one(struct job *job, const char *guest)
{
    struct libspawn_host *host = job->xl->host;
    AUTO_FREE char *name = NULL;
    struct libspawn_err err;
    uint32_t domid;
    int rc = libspawn_guest_find(host, guest, &domid, &err);

    if (!rc) {
        rc = libspawn_guest_get_name(host, domid, &name, &err);
    }
    if (!rc) {
        rc = supervise(job, domid, name, true, &err);
    }
    if (rc) {
        fail(job, &err);
    }
}

/* ---- The command ------------------------------------------------------- */

/* -1, or what to exit with. */
static int
parse(struct job *job, int argc, char *argv[])
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "all", no_argument, NULL, 'a' },
        { "reexec", no_argument, NULL, 'r' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    while ((option = xl__next_option(job->xl, argc, argv, ":ha", options)) !=
           -1) {
        switch (option) {
        case 'a':
            job->is_all = true;
            break;
        case 'r':
            job->is_reexec = true;
            break;
        default:
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        }
    }
    if (job->is_all && optind < argc) {
        return xl__usage_error(job->xl, "--all, or guests, not both");
    }
    if (!job->is_all && optind == argc) {
        return xl__usage_error(job->xl, "which guest?");
    }
    return -1;
}

int
xl__supervise_run(struct xl *xl, int argc, char *argv[])
{
    struct job job = { .xl = xl };
    int status = parse(&job, argc, argv);
    int i;

    if (status < 0) {
        status = xl__open_host(xl);
    } else {
        return status;
    }
    if (!status && job.is_all) {
        supervise_all(&job);
    }
    for (i = optind; !status && i < argc; i++) {
        supervise_one(&job, argv[i]);
    }
    return status ? status : job.status;
}
