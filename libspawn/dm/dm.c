#include "dm/dm.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "proc/ctx.h"
#include "wire/stream.h"

struct libspawn__dm {
    struct libspawn_child *child;
    struct libspawn__qmp *qmp;
    libspawn__dm_fn *fn;
    void *user;
};

/* ---- Readiness, in the order of events --------------------------------- */

static void
on_status(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    struct libspawn__dm *dm = user;

    /* The end of the stream is explained by the child's own end, which comes
     * next; only an answer that says no is a reason of its own. */
    if (!err &&
        libspawn__json_string(libspawn__json_member(result, "status"))) {
        libspawn_child_set_stage(dm->child, "monitor answers");
        libspawn_child_confirm(dm->child);
    } else if (!err || err->code != LIBSPAWN_ERR_GONE) {
        libspawn_child_refuse(dm->child,
                              err ? err->text
                                  : "its answer to query-status has no "
                                    "status");
    }
}

static void
on_qmp_ready(void *user)
{
    struct libspawn__dm *dm = user;
    struct libspawn_err err;

    libspawn_child_set_stage(dm->child,
                             "waiting for the answer to query-status");
    if (libspawn__qmp_command(dm->qmp, "query-status", NULL, -1, on_status, dm,
                              &err)) {
        libspawn_child_refuse(dm->child, err.text);
    }
}

static void
on_qmp_closed(void *user, const struct libspawn_err *err)
{
    struct libspawn__dm *dm = user;

    if (err->code != LIBSPAWN_ERR_GONE) {
        libspawn_child_refuse(dm->child, err->text);
    }
}

static void
on_child(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    struct libspawn__dm *dm = user;

    switch (event) {
    case LIBSPAWN_EVENT_STARTED:
        libspawn_child_set_stage(child, "waiting for its QMP greeting");
        break;
    case LIBSPAWN_EVENT_READY:
        dm->fn(dm->user, LIBSPAWN__DM_READY);
        break;
    case LIBSPAWN_EVENT_FAILED:
    case LIBSPAWN_EVENT_EXITED:
        dm->fn(dm->user, LIBSPAWN__DM_ENDED);
        break;
    }
}

/* ---- Start ------------------------------------------------------------- */

/* A listener at 'path', and our connection in its queue. */
static int
open_monitor(const char *path, int *listener_r, int *fd_r,
             struct libspawn_err *err)
{
    AUTO_FREE char *passive = libspawn__str_format("punix:%s", path);
    AUTO_FREE char *active = libspawn__str_format("unix:%s", path);
    AUTO_FD int listener = -1;
    int rc;

    if (!passive || !active) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__stream_listen(passive, 0600, &listener, err);
    if (!rc) {
        rc = libspawn__stream_connect(active, fd_r, err);
        if (rc) {
            unlink(path);
        }
    }
    if (!rc) {
        *listener_r = TAKE_FD(listener);
    }
    return rc;
}

static int
start(struct libspawn__dm *dm, struct libspawn_ctx *ctx,
      struct libspawn_plan *plan, const char *qmp_path,
      struct libspawn_err *err)
{
    const struct libspawn__qmp_callbacks callbacks = { .ready = on_qmp_ready,
                                                       .closed = on_qmp_closed,
                                                       .user = dm };
    AUTO_FD int listener = -1;
    int fd = -1;
    int rc;

    rc = open_monitor(qmp_path, &listener, &fd, err);
    if (rc) {
        return rc;
    }
    libspawn_plan_add_fd(plan, listener, LIBSPAWN__DM_QMP_FD);
    libspawn_plan_remove_at_end(plan, qmp_path);
    libspawn_plan_ready_on_confirm(plan);
    rc = libspawn__qmp_new(ctx->loop, fd, &callbacks, &dm->qmp, err);
    if (!rc) {
        rc = libspawn_child_start(ctx, plan, on_child, dm, &dm->child, err);
    }
    if (rc) {
        unlink(qmp_path);
    }
    return rc;
}

int
libspawn__dm_start(struct libspawn_ctx *ctx, struct libspawn_plan *plan,
                   const char *qmp_path, libspawn__dm_fn *fn, void *user,
                   struct libspawn__dm **dm_r, struct libspawn_err *err)
{
    struct libspawn__dm *dm = calloc(1, sizeof *dm);
    int rc;

    if (!dm) {
        return libspawn__fail_nomem(err);
    }
    dm->fn = fn;
    dm->user = user;
    rc = start(dm, ctx, plan, qmp_path, err);
    if (rc) {
        libspawn__dm_free(dm);
        return rc;
    }
    *dm_r = dm;
    return 0;
}

void
libspawn__dm_free(struct libspawn__dm *dm)
{
    if (dm) {
        libspawn__qmp_free(dm->qmp);
        libspawn_child_free(dm->child);
        free(dm);
    }
}

struct libspawn__qmp *
libspawn__dm_qmp(const struct libspawn__dm *dm)
{
    return dm->qmp;
}

struct libspawn_child *
libspawn__dm_child(const struct libspawn__dm *dm)
{
    return dm->child;
}
