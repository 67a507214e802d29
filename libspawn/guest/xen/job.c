#include "guest/xen/job.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest/hypervisor.h"
#include "guest/xen/backend.h"

/* ---- A list of them ---------------------------------------------------- */

void
libspawn__xen_jobs_dispose(struct libspawn__xen_jobs *jobs)
{
    size_t i;

    for (i = 0; i < jobs->n; i++) {
        free(jobs->items[i].backend);
        free(jobs->items[i].kind);
        free(jobs->items[i].path);
    }
    free(jobs->items);
    *jobs = (struct libspawn__xen_jobs){ .items = NULL };
}

struct libspawn__xen_job *
libspawn__xen_jobs_add(struct libspawn__xen_jobs *jobs, const char *kind,
                       uint32_t domid, uint32_t devid)
{
    struct libspawn__xen_job *items =
        reallocarray(jobs->items, jobs->n + 1, sizeof *jobs->items);
    struct libspawn__xen_job *job;

    if (!items) {
        return NULL;
    }
    jobs->items = items;
    job = &items[jobs->n++];
    *job = (struct libspawn__xen_job){
        .kind = strdup(kind),
        .backend = libspawn__str_format("%s/%" PRIu32 "/%" PRIu32, kind, domid,
                                        devid),
    };
    return job->kind && job->backend ? job : NULL;
}

void
libspawn__xen_job_name_interfaces(struct libspawn__xen_job *job,
                                  uint32_t domid, uint32_t devid,
                                  bool is_emulated)
{
    libspawn__xen_nic_interface(domid, devid, false, job->vif);
    if (is_emulated) {
        libspawn__xen_nic_interface(domid, devid, true, job->emulated);
    }
}

static int
list_backends(const struct libspawn__xen_jobs *jobs,
              struct libspawn__strv *dirs, struct libspawn_err *err)
{
    int rc = 0;
    size_t i;

    for (i = 0; !rc && i < jobs->n; i++) {
        rc = libspawn__strv_addf(dirs, err, LIBSPAWN__XEN_BACKENDS "/%s",
                                 jobs->items[i].backend);
    }
    return rc;
}

/* One script for every job that has any; returns how many. */
static size_t
list_scripts(const struct libspawn__xen_jobs *jobs,
             const struct libspawn__xen_round *round,
             struct libspawn__xen_script *scripts)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < jobs->n; i++) {
        const struct libspawn__xen_job *job = &jobs->items[i];

        if (job->path && (!round->is_emulated || job->emulated[0])) {
            scripts[n++] = (struct libspawn__xen_script){
                .path = job->path,
                .action = round->action,
                .argument = round->argument,
                .backend = job->backend,
                .kind = job->kind,
                .vif = job->vif[0] ? job->vif : NULL,
                .emulated = job->emulated[0] ? job->emulated : NULL,
            };
        }
    }
    return n;
}

/* ---- Under way --------------------------------------------------------- */

struct running {
    struct libspawn__xen *xen;
    struct libspawn__xen_jobs jobs;
    const struct libspawn__xen_procedure *procedure;
    const struct libspawn__xen_round *round; /* the next one */
    struct libspawn__xen_script *scripts;
    struct libspawn__xen_helper by;
    struct libspawn_err err; /* the first */
};

static void
running_free(struct running *running)
{
    libspawn__xen_jobs_dispose(&running->jobs);
    free(running->scripts);
    free(running);
}

/* Whether that was the end of it. */
static bool
note_failure(struct running *running, const struct libspawn_err *err)
{
    if (err && !running->err.code) {
        running->err = *err;
    }
    return err && !running->procedure->goes_on;
}

/* ---- Waiting ----------------------------------------------------------- */

static int
run_blocking(struct running *running, const struct libspawn__strv *backends)
{
    const struct libspawn__xen_round *round = running->procedure->rounds;
    struct libspawn_err err;
    int rc = libspawn__xen_backends_await(running->xen, backends,
                                          running->procedure->state, &err);
    bool is_over = note_failure(running, rc ? &err : NULL);

    for (; !is_over && round->action; round++) {
        size_t n = list_scripts(&running->jobs, round, running->scripts);

        /* All at once. */
        rc = libspawn__xen_scripts_run(running->xen->store, running->scripts,
                                       n, LIBSPAWN__XEN_SCRIPT_TIMEOUT_MS,
                                       &err);
        is_over = note_failure(running, rc ? &err : NULL);
    }
    return running->err.code;
}

/* ---- On the loop ------------------------------------------------------- */

static void
finish(struct running *running)
{
    const struct libspawn__xen_helper by = running->by;
    struct libspawn_err err = running->err;

    running_free(running);
    by.fn(by.user, err.code ? &err : NULL);
}

static void on_round(void *user, const struct libspawn_err *err);

/* The next round that has any script, or the end. */
static void
run_next(struct running *running)
{
    while (running->round->action) {
        size_t n =
            list_scripts(&running->jobs, running->round++, running->scripts);
        struct libspawn_err err;

        if (!n) {
            continue;
        }
        if (!libspawn__xen_scripts_start(
                running->by.worker, running->xen->store, running->scripts, n,
                LIBSPAWN__XEN_SCRIPT_TIMEOUT_MS, on_round, running, &err)) {
            return;
        }
        if (note_failure(running, &err)) {
            break;
        }
    }
    finish(running);
}

/* The backends, or a round of scripts. */
static void
on_round(void *user, const struct libspawn_err *err)
{
    struct running *running = user;

    if (note_failure(running, err)) {
        finish(running);
    } else {
        run_next(running);
    }
}

/* ---- All of it --------------------------------------------------------- */

static int
run(struct running *running, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv backends = { 0 };
    int rc = running->scripts ? list_backends(&running->jobs, &backends, err)
                              : libspawn__fail_nomem(err);

    if (rc) {
        return rc;
    }
    if (running->by.worker) {
        rc = libspawn__xen_backends_await_start(
            running->xen, running->by.loop, &backends,
            running->procedure->state, on_round, running, err);
        return rc ? rc : LIBSPAWN__STEP_PENDING;
    }
    rc = run_blocking(running, &backends);
    if (rc && err) {
        *err = running->err;
    }
    return rc;
}

int
libspawn__xen_jobs_run(struct libspawn__xen *xen,
                       struct libspawn__xen_jobs *jobs,
                       const struct libspawn__xen_procedure *procedure,
                       const struct libspawn__xen_helper *by,
                       struct libspawn_err *err)
{
    struct running *running;
    int rc;

    if (!jobs->n) {
        return 0;
    }
    running = calloc(1, sizeof *running);
    if (!running) {
        return libspawn__fail_nomem(err);
    }
    *running = (struct running){
        .xen = xen,
        .jobs = *jobs,
        .procedure = procedure,
        .round = procedure->rounds,
        .scripts = calloc(jobs->n, sizeof *running->scripts),
    };
    *jobs = (struct libspawn__xen_jobs){ .items = NULL };
    if (by) {
        running->by = *by;
    }
    rc = run(running, err);
    if (rc != LIBSPAWN__STEP_PENDING) {
        running_free(running);
    }
    return rc;
}
