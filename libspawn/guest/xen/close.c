/*
 * Sources: drivers/xen/xenbus in the Linux tree; the stock hotplug scripts.
 */
#include "guest/xen/close.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "guest/hypervisor.h"
#include "guest/xen/backend.h"
#include "guest/xen/tree.h"
#include "store/paths.h"

/* Whose backend is dom0's kernel, and what its scripts are called with. */
static const struct libspawn__xen_round disk_rounds[] = {
    { "remove", NULL, false },
    { NULL, NULL, false },
};
static const struct libspawn__xen_round nic_rounds[] = {
    { "offline", "type_if=vif", false },
    { NULL, NULL, false },
};
static const struct kernel_kind {
    const char *kind;
    struct libspawn__xen_procedure procedure;
} kernel_kinds[] = {
    { "vbd", { LIBSPAWN__XEN_DEVICE_CLOSED, true, disk_rounds } },
    { "vif", { LIBSPAWN__XEN_DEVICE_CLOSED, true, nic_rounds } },
};

/* ---- What there is to close -------------------------------------------- */

/* The stock script does nothing for a block device as it is. */
static bool
is_script_needed(struct libspawn__xen *xen, const char *own,
                 const char *script)
{
    AUTO_FREE char *target = libspawn__xen_read_node(xen, own, "params");
    struct stat st;

    return strcmp(script, LIBSPAWN__XEN_SCRIPT_DIR "/block") != 0 || !target ||
           stat(target, &st) < 0 || !S_ISBLK(st.st_mode);
}

/* Adds device ID of a kernel's kind, if the toolstack's own directory, which
 * alone is trusted, says that it is one. */
static int
add_close_job(struct libspawn__xen *xen, struct libspawn__xen_jobs *jobs,
              uint32_t domid, const char *kind, const char *id,
              struct libspawn_err *err)
{
    AUTO_FREE char *own = libspawn__str_format(
        "/libxl/%" PRIu32 "/device/%s/%s", domid, kind, id);
    AUTO_FREE char *wanted = libspawn__str_format(
        LIBSPAWN__XEN_BACKENDS "/%s/%" PRIu32 "/%s", kind, domid, id);
    AUTO_FREE char *backend =
        own ? libspawn__xen_read_node(xen, own, "backend") : NULL;
    AUTO_FREE char *type = own ? libspawn__xen_read_node(xen, own, "type")
                               : NULL;
    struct libspawn__xen_job *job;
    uint64_t number;

    if (!own || !wanted) {
        return libspawn__fail_nomem(err);
    }
    if (!libspawn__str_equal(backend, wanted) ||
        libspawn__str_to_u64(id, 0, UINT32_MAX, &number, NULL)) {
        return 0; /* the device model's, or nonsense */
    }
    job = libspawn__xen_jobs_add(jobs, kind, domid, (uint32_t)number);
    if (!job) {
        return libspawn__fail_nomem(err);
    }
    job->path = libspawn__xen_read_node(xen, own, "script");
    if (strcmp(kind, "vif") == 0) {
        libspawn__xen_job_name_interfaces(
            job, domid, (uint32_t)number,
            libspawn__str_equal(type, "vif_ioemu"));
    } else if (job->path && !is_script_needed(xen, own, job->path)) {
        free(TAKE_PTR(job->path));
    }
    return 0;
}

static int
find_jobs(struct libspawn__xen *xen, uint32_t domid, const char *kind,
          struct libspawn__xen_jobs *jobs, struct libspawn_err *err)
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
    const struct libspawn__xen_jobs *jobs = user;
    size_t i;

    for (i = 0; i < jobs->n; i++) {
        const char *name = jobs->items[i].backend;
        AUTO_FREE char *back =
            libspawn__str_format(LIBSPAWN__XEN_BACKENDS "/%s", name);
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

/* ---- All of it --------------------------------------------------------- */

/* Goes on after a failure.  On the loop each kind is asked, and then served,
 * in a turn of its own. */
struct closing {
    struct libspawn__xen *xen;
    uint32_t domid;
    struct libspawn__strv kinds;    /* that the guest has */
    size_t next;                    /* of the kernel's ones */
    struct libspawn__xen_jobs jobs; /* of that one, which were asked */
    struct libspawn__xen_helper by;
    struct libspawn__task task;
    struct libspawn_err err; /* the first */
};

static void
note_failure(struct closing *closing, int rc, const struct libspawn_err *err)
{
    if (rc < 0 && !closing->err.code) {
        closing->err = *err;
    }
}

/* Those of the next kind; none is fine. */
static void
ask_devices(struct closing *closing)
{
    const char *kind = kernel_kinds[closing->next].kind;
    struct libspawn_err err;
    int rc;

    if (!libspawn__strv_has(&closing->kinds, kind)) {
        return;
    }
    rc = find_jobs(closing->xen, closing->domid, kind, &closing->jobs, &err);
    note_failure(closing, rc, &err);
    if (closing->jobs.n) {
        rc = libspawn__tree_run(closing->xen->store, closing->domid,
                                ask_to_close, &closing->jobs, &err);
        note_failure(closing, rc, &err);
    }
}

/* Then what is left to do for them; with 'by' it may be pending. */
static int
serve_devices(struct closing *closing, const struct libspawn__xen_helper *by)
{
    const struct kernel_kind *kind = &kernel_kinds[closing->next++];
    struct libspawn_err err;
    int rc = libspawn__xen_jobs_run(closing->xen, &closing->jobs,
                                    &kind->procedure, by, &err);

    note_failure(closing, rc, &err);
    libspawn__xen_jobs_dispose(&closing->jobs);
    return rc;
}

static void
closing_free(struct closing *closing)
{
    libspawn__strv_dispose(&closing->kinds);
    libspawn__xen_jobs_dispose(&closing->jobs);
    free(closing);
}

static void
on_kind_closed(void *user, const struct libspawn_err *err)
{
    struct closing *closing = user;

    note_failure(closing, err ? err->code : 0, err);
    libspawn__task_post(&closing->task);
}

static void
finish(struct closing *closing)
{
    const struct libspawn__xen_helper by = closing->by;
    struct libspawn_err err = closing->err;

    closing_free(closing);
    by.fn(by.user, err.code ? &err : NULL);
}

static void
turn(struct libspawn__task *task)
{
    struct closing *closing = CONTAINER_OF(task, struct closing, task);
    const struct libspawn__xen_helper by = { closing->by.loop,
                                             closing->by.worker,
                                             on_kind_closed, closing };

    if (closing->jobs.n) {
        if (serve_devices(closing, &by) == LIBSPAWN__STEP_PENDING) {
            return;
        }
    } else if (closing->next < ARRAY_SIZE(kernel_kinds)) {
        ask_devices(closing);
        closing->next += closing->jobs.n ? 0 : 1;
    } else {
        finish(closing);
        return;
    }
    libspawn__task_post(&closing->task);
}

static int
close_blocking(struct closing *closing)
{
    while (closing->next < ARRAY_SIZE(kernel_kinds)) {
        ask_devices(closing);
        serve_devices(closing, NULL);
    }
    return closing->err.code;
}

static int
list_kinds(struct closing *closing, struct libspawn_err *err)
{
    AUTO_FREE char *dir =
        libspawn__path_new(LIBSPAWN__PATH_LIBXL_DEVICE, closing->domid);

    return dir ? libspawn__store_list(closing->xen->store, NULL, dir,
                                      &closing->kinds, err)
               : libspawn__fail_nomem(err);
}

int
libspawn__xen_devices_close(struct libspawn__xen *xen, uint32_t domid,
                            const struct libspawn__xen_helper *by,
                            struct libspawn_err *err)
{
    struct closing *closing = calloc(1, sizeof *closing);
    int rc;

    if (!closing) {
        return libspawn__fail_nomem(err);
    }
    closing->xen = xen;
    closing->domid = domid;
    rc = list_kinds(closing, err);
    if (!rc && by) {
        closing->by = *by;
        libspawn__task_init(by->loop, &closing->task, turn);
        libspawn__task_post(&closing->task);
        return LIBSPAWN__STEP_PENDING;
    }
    if (!rc) {
        rc = close_blocking(closing);
        if (rc && err) {
            *err = closing->err;
        }
    } else if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        rc = 0;
    }
    closing_free(closing);
    return rc;
}
