#include "guest/xen/end.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "dm/end.h"
#include "guest/confine.h"
#include "guest/xen/close.h"
#include "guest/xen/domain.h"
#include "guest/xen/files.h"
#include "guest/xen/nodes.h"
#include "proc/ctx.h"
#include "store/paths.h"

enum {
    ARGUMENTS_MAX = 1024 * 1024
};

/* ---- The device model of others ---------------------------------------- */

/* Whether the arguments of a process contain "-xen-domid" "D". */
static bool
serves_domain(pid_t pid, uint32_t domid)
{
    static const char option[] = "-xen-domid";
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/cmdline", (int)pid);
    AUTO_FREE char *wanted = libspawn__str_format("%" PRIu32, domid);
    AUTO_FREE char *arguments = NULL;
    const char *at;
    const char *end;
    size_t size;

    if (!path || !wanted ||
        libspawn__file_read(path, ARGUMENTS_MAX, &arguments, &size, NULL)) {
        return false;
    }
    end = arguments + size;
    for (at = arguments; at < end; at += strlen(at) + 1) {
        const char *value = at + sizeof option;

        if (strcmp(at, option) == 0 && value < end) {
            return strcmp(value, wanted) == 0;
        }
    }
    return false;
}

/* The reference pins the process before anything is looked at, so that what
 * was looked at is what is signalled.  None when it is gone, or the number is
 * somebody else's now. */
static int
find_stock_device_model(struct libspawn__xen *xen, uint32_t domid,
                        struct libspawn__pidref *ref, struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__path_new(LIBSPAWN__PATH_DM_PID, domid);
    AUTO_FREE char *text = NULL;
    uint64_t pid;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_read(xen->store, NULL, path, &text, NULL, err);
    if (rc) {
        return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
    }
    if (!libspawn__str_to_u64(text, 1, INT32_MAX, &pid, NULL) &&
        !libspawn__pidref_from_pid((pid_t)pid, ref, NULL) &&
        !serves_domain((pid_t)pid, domid)) {
        libspawn__pidref_dispose(ref);
    }
    return 0;
}

static int
end_stock_device_model(struct libspawn__xen *xen, uint32_t domid, int grace_ms,
                       struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int rc = find_stock_device_model(xen, domid, &ref, err);

    return rc || ref.fd < 0 ? rc
                            : libspawn__dm_end_process(&ref, grace_ms, err);
}

int
libspawn__xen_end_device_model(struct libspawn__xen *xen, uint32_t domid,
                               int grace_ms, struct libspawn_err *err)
{
    AUTO_FREE char *record = libspawn__path_new(LIBSPAWN__PATH_RECORD, domid);
    int rc;

    if (!record) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__dm_end(xen->store, record, grace_ms, err);
    return rc ? rc : end_stock_device_model(xen, domid, grace_ms, err);
}

/* ---- The guest --------------------------------------------------------- */

static bool
has_nodes(struct libspawn__xen *xen, uint32_t domid)
{
    static const enum libspawn__path roots[] = { LIBSPAWN__PATH_DOMAIN,
                                                 LIBSPAWN__PATH_LIBXL };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(roots); i++) {
        AUTO_FREE char *path = libspawn__path_new(roots[i], domid);
        AUTO_FREE char *value = NULL;

        if (path && !libspawn__store_read(xen->store, NULL, path, &value, NULL,
                                          NULL)) {
            return true;
        }
    }
    return false;
}

/* A domain that somebody else has destroyed may be there for the pause and
 * gone a moment later. */
static int
destroy_domain(struct libspawn__xen *xen, uint32_t domid,
               struct libspawn_err *err)
{
    int rc = libspawn__xen_domain_destroy(xen, domid, err);

    return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}

/* It stands still.  NOT_FOUND when there is nothing of it; without a domain
 * there may be nodes. */
static int
pause_guest(struct libspawn__xen *xen, uint32_t domid, bool *has_domain_r,
            struct libspawn_err *err)
{
    int rc = libspawn__xen_domain_pause(xen, domid, err);

    *has_domain_r = rc != LIBSPAWN_ERR_NOT_FOUND;
    return !*has_domain_r && has_nodes(xen, domid) ? 0 : rc;
}

int
libspawn__xen_end_guest(struct libspawn__xen *xen, uint32_t domid,
                        int grace_ms, struct libspawn_err *err)
{
    bool has_domain;
    int rc = pause_guest(xen, domid, &has_domain, err);
    int one;

    if (!rc) {
        rc = libspawn__xen_end_device_model(xen, domid, grace_ms, err);
    }
    if (!rc) {
        rc = libspawn__confine_release_domid(xen->store, domid, err);
    }
    if (rc) {
        return rc;
    }
    rc = libspawn__xen_devices_close(xen, domid, NULL, err);
    if (has_domain) {
        one = destroy_domain(xen, domid, rc ? NULL : err);
        rc = rc ? rc : one;
    }
    libspawn__xen_files_remove(domid);
    one = libspawn__xen_nodes_remove(xen, domid, rc ? NULL : err);
    return rc ? rc : one;
}

/* ---- On the loop -------------------------------------------------------
 *
 * One stage per turn, so that the loop serves others in between: a store that
 * is busy takes its time for each node.
 */

struct ending {
    struct libspawn_host *host;
    struct libspawn__xen *xen;
    uint32_t domid;
    int grace_ms;
    bool has_domain;
    struct libspawn__dm_ending model;
    size_t stage; /* the next one */
    struct libspawn__task task;
    libspawn__destroyed_fn *fn;
    void *user;
    struct libspawn_err err; /* the first */
};

static void stage_done(struct ending *ending, const struct libspawn_err *err);

static void
on_stage_done(void *user, const struct libspawn_err *err)
{
    stage_done(user, err);
}

static void
begin_model(struct ending *ending)
{
    libspawn__dm_ending_init(&ending->model, ending->host->ctx->loop,
                             on_stage_done, ending);
}

static int
end_own_model(struct ending *ending, struct libspawn_err *err)
{
    AUTO_FREE char *record =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, ending->domid);
    int rc;

    if (!record) {
        return libspawn__fail_nomem(err);
    }
    begin_model(ending);
    rc = libspawn__dm_ending_start(&ending->model, ending->xen->store, record,
                                   ending->grace_ms, err);
    return rc ? rc : LIBSPAWN__STEP_PENDING;
}

static int
end_stock_model(struct ending *ending, struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref stock = LIBSPAWN__PIDREF_INIT;
    int rc = find_stock_device_model(ending->xen, ending->domid, &stock, err);

    if (rc || stock.fd < 0) {
        return rc;
    }
    begin_model(ending);
    rc = libspawn__dm_ending_start_process(&ending->model, &stock,
                                           ending->grace_ms, err);
    return rc ? rc : LIBSPAWN__STEP_PENDING;
}

static int
release_user(struct ending *ending, struct libspawn_err *err)
{
    return libspawn__confine_release_domid(ending->xen->store, ending->domid,
                                           err);
}

static int
close_devices(struct ending *ending, struct libspawn_err *err)
{
    const struct libspawn__xen_helper by = {
        .loop = ending->host->ctx->loop,
        .worker = ending->host->probe_worker,
        .fn = on_stage_done,
        .user = ending,
    };

    return libspawn__xen_devices_close(ending->xen, ending->domid, &by, err);
}

static int
end_domain(struct ending *ending, struct libspawn_err *err)
{
    return ending->has_domain ? destroy_domain(ending->xen, ending->domid, err)
                              : 0;
}

static int
remove_files(struct ending *ending, struct libspawn_err *err)
{
    (void)err;
    libspawn__xen_files_remove(ending->domid);
    return 0;
}

static int
remove_nodes(struct ending *ending, struct libspawn_err *err)
{
    return libspawn__xen_nodes_remove(ending->xen, ending->domid, err);
}

/* In the order of libspawn__xen_end_guest. */
static const struct {
    int (*run)(struct ending *ending, struct libspawn_err *err);
    bool is_needed; /* else the rest is done in spite of a failure */
} stages[] = {
    { end_own_model, true }, { end_stock_model, true },
    { release_user, true },  { close_devices, false },
    { end_domain, false },   { remove_files, false },
    { remove_nodes, false },
};

static void
finish(struct ending *ending)
{
    libspawn__destroyed_fn *fn = ending->fn;
    void *user = ending->user;
    struct libspawn_err err = ending->err;

    free(ending);
    fn(user, err.code ? &err : NULL);
}

static void
stage_done(struct ending *ending, const struct libspawn_err *err)
{
    if (err && !ending->err.code) {
        ending->err = *err;
    }
    if (err && stages[ending->stage].is_needed) {
        ending->stage = ARRAY_SIZE(stages);
    } else {
        ending->stage++;
    }
    libspawn__task_post(&ending->task);
}

static void
run_stage(struct libspawn__task *task)
{
    struct ending *ending = CONTAINER_OF(task, struct ending, task);
    struct libspawn_err err;
    int rc;

    if (ending->stage == ARRAY_SIZE(stages)) {
        finish(ending);
        return;
    }
    rc = stages[ending->stage].run(ending, &err);
    if (rc != LIBSPAWN__STEP_PENDING) {
        stage_done(ending, rc ? &err : NULL);
    }
}

int
libspawn__xen_start_end_guest(struct libspawn_host *host, uint32_t domid,
                              int grace_ms, libspawn__destroyed_fn *fn,
                              void *user, struct libspawn_err *err)
{
    struct ending *ending = calloc(1, sizeof *ending);
    int rc;

    if (!ending) {
        return libspawn__fail_nomem(err);
    }
    *ending = (struct ending){ .host = host,
                               .xen = host->impl,
                               .domid = domid,
                               .grace_ms = grace_ms,
                               .fn = fn,
                               .user = user };
    rc = pause_guest(ending->xen, domid, &ending->has_domain, err);
    if (rc) {
        free(ending);
        return rc;
    }
    libspawn__task_init(host->ctx->loop, &ending->task, run_stage);
    libspawn__task_post(&ending->task);
    return LIBSPAWN__STEP_PENDING;
}
