#include "dm/dm.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "proc/ctx.h"
#include "proc/plan.h"
#include "wire/stream.h"

struct libspawn__dm {
    struct libspawn_ctx *ctx;
    struct libspawn_child *child;
    char *qmp_path;
    int listener;              /* -1: connected */
    uint32_t start_ms;         /* what the start may take from then on */
    struct libspawn__qmp *qmp; /* NULL: not connected yet */
    bool is_negotiated;
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

    dm->is_negotiated = true;
    libspawn_child_set_stage(dm->child,
                             "waiting for the answer to query-status");
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
        /* Its own words may come before the watcher's. */
        libspawn_child_set_stage(child,
                                 dm->is_negotiated
                                     ? "waiting for the answer to query-status"
                                     : "waiting for its QMP greeting");
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

static int
listen_at(const char *path, int *listener_r, struct libspawn_err *err)
{
    AUTO_FREE char *address = libspawn__str_format("punix:%s", path);

    return address ? libspawn__stream_listen(address, 0600, listener_r, err)
                   : libspawn__fail_nomem(err);
}

static int
start(struct libspawn__dm *dm, struct libspawn_ctx *ctx,
      struct libspawn_plan *plan, const char *qmp_path,
      struct libspawn_err *err)
{
    int rc = libspawn__str_assign(&dm->qmp_path, qmp_path, err);

    if (!rc) {
        rc = listen_at(qmp_path, &dm->listener, err);
    }
    if (rc) {
        return rc;
    }
    libspawn_plan_add_fd(plan, dm->listener, LIBSPAWN__DM_QMP_FD);
    libspawn_plan_remove_at_end(plan, qmp_path);
    libspawn_plan_ready_on_confirm(plan);
    dm->ctx = ctx;
    dm->start_ms = (uint32_t)plan->start_ms;
    rc = libspawn_child_start(ctx, plan, on_child, dm, &dm->child, err);
    if (rc) {
        unlink(qmp_path);
        return rc;
    }
    libspawn_child_set_deadline(dm->child, 0);
    return 0;
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
    dm->listener = -1;
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

/* Only the watcher of a device model that has ended removes its socket: then
 * there is nobody to speak with, and its end, which comes next, says why. */
static int
connect_monitor(struct libspawn__dm *dm, int *fd_r, struct libspawn_err *err)
{
    AUTO_FREE char *address = libspawn__str_format("unix:%s", dm->qmp_path);
    int rc = address ? libspawn__stream_connect(address, fd_r, err)
                     : libspawn__fail_nomem(err);

    libspawn__auto_close(&dm->listener);
    dm->listener = -1;
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        *fd_r = -1;
        rc = 0;
    }
    return rc;
}

int
libspawn__dm_connect(struct libspawn__dm *dm, struct libspawn_err *err)
{
    const struct libspawn__qmp_callbacks callbacks = { .ready = on_qmp_ready,
                                                       .closed = on_qmp_closed,
                                                       .user = dm };
    int fd;
    int rc = connect_monitor(dm, &fd, err);

    if (rc) {
        return rc;
    }
    libspawn_child_set_deadline(dm->child, dm->start_ms);
    if (fd < 0) {
        return 0;
    }
    rc = libspawn__qmp_new(dm->ctx->loop, fd, &callbacks, &dm->qmp, err);
    return rc ? rc
              : libspawn__qmp_command(dm->qmp, "query-status", NULL, -1,
                                      on_status, dm, err);
}

void
libspawn__dm_free(struct libspawn__dm *dm)
{
    if (dm) {
        libspawn__qmp_free(dm->qmp);
        libspawn_child_free(dm->child);
        libspawn__auto_close(&dm->listener);
        free(dm->qmp_path);
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
