/*
 * Sources: drivers/xen/xenbus and the backends there in the Linux tree; the
 * stock hotplug scripts.
 *
 * The state of a backend is looked at again and again in growing pauses: a
 * watch would make libxenstore start a thread in the caller's process
 * (store.h).
 */
#include "guest/xen/devices.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/util.h"
#include "guest/hypervisor.h"
#include "guest/xen/nic.h"
#include "store/paths.h"

#define BACKENDS "/local/domain/0/backend"

enum {
    BACKEND_TIMEOUT_MS = 5000,
    PAUSE_MAX_MS = 50
};

/* ---- Waiting for a backend --------------------------------------------- */

/* Value of DIR/NAME, or NULL. */
static char *
read_node(struct libspawn__xen *xen, const char *dir, const char *name)
{
    AUTO_FREE char *path = libspawn__str_format("%s/%s", dir, name);
    char *value = NULL;

    if (path) {
        (void)libspawn__store_read(xen->store, NULL, path, &value, NULL, NULL);
    }
    return value;
}

/* UNKNOWN when the backend is gone. */
static enum libspawn__xen_device_state
read_state(struct libspawn__xen *xen, const char *backend)
{
    AUTO_FREE char *text = read_node(xen, backend, "state");
    uint64_t state;

    if (!text || libspawn__str_to_u64(text, 0, 8, &state, NULL)) {
        return LIBSPAWN__XEN_DEVICE_UNKNOWN;
    }
    return (enum libspawn__xen_device_state)state;
}

/* Waits until the backend is in that state, or gone. */
static int
wait_for_state(struct libspawn__xen *xen, const char *backend,
               enum libspawn__xen_device_state wanted, int64_t deadline,
               struct libspawn_err *err)
{
    int pause_ms = 1;

    for (;;) {
        enum libspawn__xen_device_state state = read_state(xen, backend);

        if (state == wanted || state == LIBSPAWN__XEN_DEVICE_UNKNOWN) {
            return 0;
        }
        if (libspawn__clock_now_ms() >= deadline) {
            return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                                  "the backend '%s' stays in state %d in "
                                  "place of %d",
                                  backend, (int)state, (int)wanted);
        }
        poll(NULL, 0, pause_ms);
        pause_ms = MIN(pause_ms * 2, PAUSE_MAX_MS);
    }
}

/* ---- A device and its scripts ------------------------------------------ */

/* What a script has to be told; the strings are owned here. */
struct job {
    char *backend; /* KIND/D/ID */
    char *kind;
    char *path; /* of the script; NULL: none */
    /* Names of interfaces; "" when there is none. */
    char vif[LIBSPAWN__XEN_INTERFACE_SIZE];
    char emulated[LIBSPAWN__XEN_INTERFACE_SIZE];
};

struct jobs {
    struct job *items;
    size_t n;
};

static void
jobs_dispose(struct jobs *jobs)
{
    size_t i;

    for (i = 0; i < jobs->n; i++) {
        free(jobs->items[i].backend);
        free(jobs->items[i].kind);
        free(jobs->items[i].path);
    }
    free(jobs->items);
}

static struct job *
add_job(struct jobs *jobs)
{
    struct job *items =
        reallocarray(jobs->items, jobs->n + 1, sizeof *jobs->items);

    if (!items) {
        return NULL;
    }
    jobs->items = items;
    items[jobs->n] = (struct job){ 0 };
    return &items[jobs->n++];
}

static void
name_interfaces(struct job *job, uint32_t domid, uint32_t index,
                bool is_emulated)
{
    libspawn__xen_nic_interface(domid, index, false, job->vif);
    if (is_emulated) {
        libspawn__xen_nic_interface(domid, index, true, job->emulated);
    }
}

/* A card of two interfaces has its script run for each, in two rounds. */
struct round {
    const char *action; /* NULL: behind the last one */
    const char *argument;
    bool is_emulated;
};

/* One script for every job that has any; returns how many. */
static size_t
list_scripts(const struct jobs *jobs, const struct round *round,
             struct libspawn__xen_script *scripts)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < jobs->n; i++) {
        const struct job *job = &jobs->items[i];

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

/* All at once. */
static int
run_round(struct libspawn__xen *xen, const struct jobs *jobs,
          const struct round *round, struct libspawn_err *err)
{
    AUTO_FREE struct libspawn__xen_script *scripts =
        calloc(MAX(jobs->n, 1), sizeof *scripts);

    if (!scripts) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__xen_scripts_run(xen->store, scripts,
                                     list_scripts(jobs, round, scripts),
                                     LIBSPAWN__XEN_SCRIPT_TIMEOUT_MS, err);
}

/* ---- Scripts run by a worker ------------------------------------------- */

/* Rounds, one after the other. */
struct connecting {
    struct libspawn__xen *xen;
    struct libspawn__worker *worker;
    struct jobs jobs;
    const struct round *round; /* the next one */
    struct libspawn__xen_script *scripts;
    libspawn__xen_scripts_fn *fn;
    void *user;
};

static void
connecting_free(struct connecting *connecting)
{
    jobs_dispose(&connecting->jobs);
    free(connecting->scripts);
    free(connecting);
}

static int start_round(struct connecting *connecting,
                       struct libspawn_err *err);

static void
on_round(void *user, const struct libspawn_err *err)
{
    struct connecting *connecting = user;
    libspawn__xen_scripts_fn *fn = connecting->fn;
    void *its_user = connecting->user;
    struct libspawn_err next_err;
    int rc = err ? err->code : start_round(connecting, &next_err);

    if (rc <= 0) {
        connecting_free(connecting);
        fn(its_user, rc ? (err ? err : &next_err) : NULL);
    }
}

/* The next one that has any script: LIBSPAWN__STEP_PENDING; 0: none has. */
static int
start_round(struct connecting *connecting, struct libspawn_err *err)
{
    int rc = 0;

    while (!rc && connecting->round->action) {
        size_t n = list_scripts(&connecting->jobs, connecting->round++,
                                connecting->scripts);

        if (n) {
            rc = libspawn__xen_scripts_start(
                connecting->worker, connecting->xen->store,
                connecting->scripts, n, LIBSPAWN__XEN_SCRIPT_TIMEOUT_MS,
                on_round, connecting, err);
            rc = rc ? rc : LIBSPAWN__STEP_PENDING;
        }
    }
    return rc;
}

/* Takes the jobs. */
static int
start_rounds(struct libspawn__xen *xen, struct jobs *jobs,
             const struct round *rounds,
             const struct libspawn__xen_connector *by,
             struct libspawn_err *err)
{
    struct connecting *connecting = calloc(1, sizeof *connecting);
    int rc;

    if (!connecting) {
        return libspawn__fail_nomem(err);
    }
    *connecting = (struct connecting){ .xen = xen,
                                       .worker = by->worker,
                                       .jobs = *jobs,
                                       .round = rounds,
                                       .fn = by->fn,
                                       .user = by->user };
    *jobs = (struct jobs){ .items = NULL };
    connecting->scripts =
        calloc(MAX(connecting->jobs.n, 1), sizeof *connecting->scripts);
    rc = connecting->scripts ? start_round(connecting, err)
                             : libspawn__fail_nomem(err);
    if (rc <= 0) {
        connecting_free(connecting);
    }
    return rc;
}

static int
run_rounds(struct libspawn__xen *xen, struct jobs *jobs,
           const struct round *rounds,
           const struct libspawn__xen_connector *by, struct libspawn_err *err)
{
    int rc = 0;

    if (by) {
        return start_rounds(xen, jobs, rounds, by, err);
    }
    for (; !rc && rounds->action; rounds++) {
        rc = run_round(xen, jobs, rounds, err);
    }
    return rc;
}

/* ---- Connecting -------------------------------------------------------- */

static int
add_connect_job(struct libspawn__xen *xen, struct jobs *jobs, const char *kind,
                uint32_t domid, uint32_t devid, struct job **job_r,
                struct libspawn_err *err)
{
    AUTO_FREE char *dir = NULL;
    struct job *job = add_job(jobs);

    if (job) {
        job->kind = strdup(kind);
        job->backend = libspawn__str_format("%s/%" PRIu32 "/%" PRIu32, kind,
                                            domid, devid);
        dir = libspawn__path_backend(0, kind, domid, devid);
    }
    if (!job || !job->kind || !job->backend || !dir) {
        return libspawn__fail_nomem(err);
    }
    job->path = read_node(xen, dir, "script");
    *job_r = job;
    /* A script that comes before the kernel's backend gives up. */
    return wait_for_state(xen, dir, LIBSPAWN__XEN_DEVICE_WAITING,
                          libspawn__clock_now_ms() + BACKEND_TIMEOUT_MS, err);
}

int
libspawn__xen_devices_connect_disks(struct libspawn__xen *xen,
                                    const struct libspawn__xen_guest *guest,
                                    const struct libspawn__xen_connector *by,
                                    struct libspawn_err *err)
{
    static const struct round rounds[] = { { "add", NULL, false },
                                           { NULL, NULL, false } };
    AUTO(jobs_dispose) struct jobs jobs = { 0 };
    struct job *job;
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < guest->config->n_disks; i++) {
        if (guest->disks[i].needs_script) {
            rc = add_connect_job(xen, &jobs, "vbd", guest->domid,
                                 guest->disks[i].vdev.xen_id, &job, err);
        }
    }
    return rc ? rc : run_rounds(xen, &jobs, rounds, by, err);
}

int
libspawn__xen_devices_connect_nics(struct libspawn__xen *xen,
                                   const struct libspawn__xen_guest *guest,
                                   const struct libspawn__xen_connector *by,
                                   struct libspawn_err *err)
{
    static const struct round rounds[] = { { "online", "type_if=vif", false },
                                           { "add", "type_if=tap", true },
                                           { NULL, NULL, false } };
    AUTO(jobs_dispose) struct jobs jobs = { 0 };
    bool is_hvm = guest->type == LIBSPAWN_GUEST_TYPE_HVM;
    struct job *job;
    uint32_t i;
    int rc = 0;

    for (i = 0; !rc && i < guest->config->n_nics; i++) {
        const struct libspawn_nic *nic = &guest->config->nics[i];

        if (libspawn__xen_nic_has_backend(nic)) {
            rc =
                add_connect_job(xen, &jobs, "vif", guest->domid, i, &job, err);
        }
        if (!rc && libspawn__xen_nic_has_backend(nic)) {
            name_interfaces(job, guest->domid, i,
                            libspawn__xen_nic_is_emulated(nic, is_hvm));
        }
    }
    return rc ? rc : run_rounds(xen, &jobs, rounds, by, err);
}

/* ---- Closing ----------------------------------------------------------- */

/* Whose backend is dom0's kernel, and what its scripts are called with. */
static const struct kernel_kind {
    const char *kind;
    struct round round;
} kernel_kinds[] = {
    { "vbd", { "remove", NULL, false } },
    { "vif", { "offline", "type_if=vif", false } },
};

/* The stock script does nothing for a block device as it is. */
static bool
is_script_needed(struct libspawn__xen *xen, const char *own,
                 const char *script)
{
    AUTO_FREE char *target = read_node(xen, own, "params");
    struct stat st;

    return strcmp(script, LIBSPAWN__XEN_SCRIPT_DIR "/block") != 0 || !target ||
           stat(target, &st) < 0 || !S_ISBLK(st.st_mode);
}

/* Adds device ID of a kernel's kind, if the toolstack's own directory, which
 * alone is trusted, says that it is one. */
static int
add_close_job(struct libspawn__xen *xen, struct jobs *jobs, uint32_t domid,
              const char *kind, const char *id, struct libspawn_err *err)
{
    AUTO_FREE char *own = libspawn__str_format(
        "/libxl/%" PRIu32 "/device/%s/%s", domid, kind, id);
    AUTO_FREE char *wanted =
        libspawn__str_format(BACKENDS "/%s/%" PRIu32 "/%s", kind, domid, id);
    AUTO_FREE char *backend = own ? read_node(xen, own, "backend") : NULL;
    AUTO_FREE char *type = own ? read_node(xen, own, "type") : NULL;
    struct job *job;
    uint64_t number;

    if (!own || !wanted) {
        return libspawn__fail_nomem(err);
    }
    if (!libspawn__str_equal(backend, wanted) ||
        libspawn__str_to_u64(id, 0, UINT32_MAX, &number, NULL)) {
        return 0; /* the device model's, or nonsense */
    }
    job = add_job(jobs);
    if (job) {
        job->kind = strdup(kind);
        job->backend = strdup(wanted + strlen(BACKENDS "/"));
    }
    if (!job || !job->kind || !job->backend) {
        return libspawn__fail_nomem(err);
    }
    job->path = read_node(xen, own, "script");
    if (strcmp(kind, "vif") == 0) {
        name_interfaces(job, domid, (uint32_t)number,
                        libspawn__str_equal(type, "vif_ioemu"));
    } else if (job->path && !is_script_needed(xen, own, job->path)) {
        free(TAKE_PTR(job->path));
    }
    return 0;
}

static int
find_jobs(struct libspawn__xen *xen, uint32_t domid, const char *kind,
          struct jobs *jobs, struct libspawn_err *err)
{
    AUTO_FREE char *dir =
        libspawn__str_format("/libxl/%" PRIu32 "/device/%s", domid, kind);
    AUTO_STRV struct libspawn__strv ids = { 0 };
    size_t i;
    int rc;

    if (!dir) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_list(xen->store, NULL, dir, &ids, err);
    if (rc) {
        return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
    }
    for (i = 0; !rc && i < ids.n_items; i++) {
        rc = add_close_job(xen, jobs, domid, kind, ids.items[i], err);
    }
    return rc;
}

/* A backend whose frontend is gone closes when it is told to. */
static void
ask_to_close(struct libspawn__tree *tree, const void *user)
{
    const struct jobs *jobs = user;
    size_t i;

    for (i = 0; i < jobs->n; i++) {
        const char *name = jobs->items[i].backend;
        AUTO_FREE char *back = libspawn__str_format(BACKENDS "/%s", name);
        AUTO_FREE char *state = back ? libspawn__str_format("%s/state", back)
                                     : NULL;
        AUTO_FREE char *front = libspawn__str_format(
            "/local/domain/%" PRIu32 "/device/%s/%s", tree->domid,
            jobs->items[i].kind, strrchr(name, '/') + 1);
        AUTO_FREE char *now = NULL;

        if (!front || !state) {
            tree->rc = libspawn__fail_nomem(tree->err);
            return;
        }
        libspawn__tree_discard(tree, front, NULL);
        if (!libspawn__store_read(tree->store, tree->txn, state, &now, NULL,
                                  NULL)) {
            libspawn__tree_put(tree, back, "online", "0");
            if (strcmp(now, "6") != 0) {
                libspawn__tree_put(tree, back, "state", "5");
            }
        }
    }
}

static int
wait_until_closed(struct libspawn__xen *xen, const struct jobs *jobs,
                  struct libspawn_err *err)
{
    int64_t deadline = libspawn__clock_now_ms() + BACKEND_TIMEOUT_MS;
    int rc = 0;
    size_t i;

    for (i = 0; i < jobs->n; i++) {
        AUTO_FREE char *back =
            libspawn__str_format(BACKENDS "/%s", jobs->items[i].backend);
        int one = back ? wait_for_state(xen, back, LIBSPAWN__XEN_DEVICE_CLOSED,
                                        deadline, rc ? NULL : err)
                       : libspawn__fail_nomem(rc ? NULL : err);

        rc = rc ? rc : one;
    }
    return rc;
}

static int
close_kind(struct libspawn__xen *xen, uint32_t domid,
           const struct kernel_kind *kind, struct libspawn_err *err)
{
    AUTO(jobs_dispose) struct jobs jobs = { 0 };
    int rc = find_jobs(xen, domid, kind->kind, &jobs, err);
    int one;

    if (jobs.n == 0) {
        return rc;
    }
    one = libspawn__tree_run(xen->store, domid, ask_to_close, &jobs,
                             rc ? NULL : err);
    rc = rc ? rc : one;
    one = wait_until_closed(xen, &jobs, rc ? NULL : err);
    rc = rc ? rc : one;
    one = run_round(xen, &jobs, &kind->round, rc ? NULL : err);
    return rc ? rc : one;
}

int
libspawn__xen_devices_close(struct libspawn__xen *xen, uint32_t domid,
                            struct libspawn_err *err)
{
    AUTO_FREE char *dir =
        libspawn__path_new(LIBSPAWN__PATH_LIBXL_DEVICE, domid);
    AUTO_STRV struct libspawn__strv kinds = { 0 };
    size_t i;
    int rc;

    if (!dir) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_list(xen->store, NULL, dir, &kinds, err);
    if (rc) {
        return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
    }
    for (i = 0; i < ARRAY_SIZE(kernel_kinds); i++) {
        int one = 0;

        if (libspawn__strv_has(&kinds, kernel_kinds[i].kind)) {
            one = close_kind(xen, domid, &kernel_kinds[i], rc ? NULL : err);
        }
        rc = rc ? rc : one;
    }
    return rc;
}
