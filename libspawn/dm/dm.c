#include "dm/dm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/child.h"
#include "proc/ctx.h"
#include "proc/plan.h"
#include "wire/stream.h"

struct libspawn__dm {
    struct libspawn_ctx *ctx;
    struct libspawn_child *child;
    char *own_path;
    int fds[2];                /* listening for it; -1: not any more */
    uint32_t start_ms;         /* what the start may take from then on */
    struct libspawn__qmp *qmp; /* NULL: not connected */
    bool is_negotiated;
    bool was_ready; /* or is adopted: no start depends on its monitor */
    struct libspawn__dm_listener listener;
};

static void
tell_ready(struct libspawn__dm *dm)
{
    dm->was_ready = true;
    if (dm->listener.ready) {
        dm->listener.ready(dm->listener.user);
    }
}

/* ---- Readiness, in the order of events --------------------------------- */

static void
on_status(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    struct libspawn__dm *dm = user;
    bool has_status =
        !err && libspawn__json_string(libspawn__json_member(result, "status"));

    /* The end of the stream is explained by the child's own end, which comes
     * next; only an answer that says no is a reason of its own. */
    if (dm->was_ready) {
        if (has_status) {
            tell_ready(dm);
        }
    } else if (has_status) {
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
on_qmp_event(void *user, const char *name, const struct libspawn__json *data)
{
    struct libspawn__dm *dm = user;

    if (dm->listener.told) {
        dm->listener.told(dm->listener.user, name, data);
    }
}

static void
on_qmp_closed(void *user, const struct libspawn_err *err)
{
    struct libspawn__dm *dm = user;

    if (!dm->was_ready) {
        if (err->code != LIBSPAWN_ERR_GONE) {
            libspawn_child_refuse(dm->child, err->text);
        }
        return;
    }
    libspawn__qmp_free(dm->qmp);
    dm->qmp = NULL;
    dm->is_negotiated = false;
    if (dm->listener.lost) {
        dm->listener.lost(dm->listener.user, err);
    }
}

/* ---- Its last words ---------------------------------------------------- */

static bool
is_notice(const char *line, size_t size)
{
    static const char words[] = ": info: QEMU waiting for connection on: ";

    return memmem(line, size, words, sizeof words - 1);
}

void
libspawn__dm_drop_notices(char *tail)
{
    const char *from = tail;
    char *to = tail;

    while (*from) {
        size_t size = strcspn(from, "\n");

        size += from[size] == '\n';
        if (!is_notice(from, size)) {
            memmove(to, from, size);
            to += size;
        }
        from += size;
    }
    *to = '\0';
}

static void
tidy_report(struct libspawn_child *child)
{
    struct libspawn__report *report = &child->report;

    if (report->tail) {
        libspawn__dm_drop_notices(report->tail);
    }
}

/* ---- Its life ---------------------------------------------------------- */

static void
on_child(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    struct libspawn__dm *dm = user;

    switch (event) {
    case LIBSPAWN_EVENT_STARTED:
        /* Its own words may come before the watcher's. */
        libspawn_child_set_stage(
            child, dm->is_negotiated ? "waiting for the answer to query-status"
                                     : "waiting for its QMP greeting");
        break;
    case LIBSPAWN_EVENT_READY:
        tell_ready(dm);
        break;
    case LIBSPAWN_EVENT_FAILED:
    case LIBSPAWN_EVENT_EXITED:
        tidy_report(child);
        if (dm->listener.ended) {
            dm->listener.ended(dm->listener.user);
        }
        break;
    }
}

/* ---- Start ------------------------------------------------------------- */

char *
libspawn__dm_own_path(const char *qmp_path)
{
    return libspawn__str_format("%s-own", qmp_path);
}

static int
listen_at(const char *path, struct libspawn_plan *plan, int child_fd,
          int *fd_r, struct libspawn_err *err)
{
    AUTO_FREE char *address = libspawn__str_format("punix:%s", path);
    int rc = address ? libspawn__stream_listen(address, 0600, fd_r, err)
                     : libspawn__fail_nomem(err);

    if (!rc) {
        libspawn_plan_add_fd(plan, *fd_r, child_fd);
        libspawn_plan_remove_at_end(plan, path);
    }
    return rc;
}

static int
start(struct libspawn__dm *dm, struct libspawn_plan *plan,
      struct libspawn_err *err)
{
    int rc;

    libspawn_plan_ready_on_confirm(plan);
    dm->start_ms = (uint32_t)plan->start_ms;
    rc = libspawn_child_start(dm->ctx, plan, on_child, dm, &dm->child, err);
    if (!rc) {
        libspawn_child_set_deadline(dm->child, 0);
    }
    return rc;
}

static int
listen_and_start(struct libspawn__dm *dm, struct libspawn_plan *plan,
                 const char *qmp_path, struct libspawn_err *err)
{
    int rc = listen_at(qmp_path, plan, LIBSPAWN__DM_QMP_FD, &dm->fds[0], err);

    if (rc) {
        return rc;
    }
    rc = listen_at(dm->own_path, plan, LIBSPAWN__DM_OWN_FD, &dm->fds[1], err);
    if (!rc) {
        rc = start(dm, plan, err);
        if (rc) {
            unlink(dm->own_path);
        }
    }
    if (rc) {
        unlink(qmp_path);
    }
    return rc;
}

static struct libspawn__dm *
new_dm(struct libspawn_ctx *ctx, const char *qmp_path,
       const struct libspawn__dm_listener *listener)
{
    struct libspawn__dm *dm = calloc(1, sizeof *dm);

    if (!dm) {
        return NULL;
    }
    dm->ctx = ctx;
    dm->fds[0] = -1;
    dm->fds[1] = -1;
    dm->listener = *listener;
    dm->own_path = libspawn__dm_own_path(qmp_path);
    if (!dm->own_path) {
        libspawn__dm_free(dm);
        return NULL;
    }
    return dm;
}

int
libspawn__dm_start(struct libspawn_ctx *ctx, struct libspawn_plan *plan,
                   const char *qmp_path,
                   const struct libspawn__dm_listener *listener,
                   struct libspawn__dm **dm_r, struct libspawn_err *err)
{
    struct libspawn__dm *dm = new_dm(ctx, qmp_path, listener);
    int rc = dm ? listen_and_start(dm, plan, qmp_path, err)
                : libspawn__fail_nomem(err);

    if (rc) {
        libspawn__dm_free(dm);
        return rc;
    }
    *dm_r = dm;
    return 0;
}

int
libspawn__dm_adopt(struct libspawn_ctx *ctx, const char *store_address,
                   const char *record_path, const char *qmp_path,
                   const struct libspawn__dm_listener *listener,
                   struct libspawn__dm **dm_r, struct libspawn_err *err)
{
    struct libspawn__dm *dm = new_dm(ctx, qmp_path, listener);
    int rc = dm ? libspawn_child_adopt(ctx, store_address, record_path,
                                       on_child, dm, &dm->child, err)
                : libspawn__fail_nomem(err);

    if (rc) {
        libspawn__dm_free(dm);
        return rc;
    }
    dm->was_ready = true;
    *dm_r = dm;
    return 0;
}

void
libspawn__dm_listen(struct libspawn__dm *dm,
                    const struct libspawn__dm_listener *listener)
{
    dm->listener = *listener;
}

/* ---- Its monitor ------------------------------------------------------- */

static void
stop_listening(struct libspawn__dm *dm)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(dm->fds); i++) {
        libspawn__auto_close(&dm->fds[i]);
        dm->fds[i] = -1;
    }
}

/* Only the watcher of a device model that has ended removes its socket: then
 * there is nobody to speak with, and its end, which comes next, says why. */
static int
connect_monitor(struct libspawn__dm *dm, int *fd_r, struct libspawn_err *err)
{
    AUTO_FREE char *address = libspawn__str_format("unix:%s", dm->own_path);
    int rc = address ? libspawn__stream_connect(address, fd_r, err)
                     : libspawn__fail_nomem(err);

    stop_listening(dm);
    if (!dm->was_ready && rc == LIBSPAWN_ERR_NOT_FOUND) {
        *fd_r = -1;
        rc = 0;
    }
    return rc;
}

int
libspawn__dm_connect(struct libspawn__dm *dm, struct libspawn_err *err)
{
    const struct libspawn__qmp_callbacks callbacks = { .ready = on_qmp_ready,
                                                       .event = on_qmp_event,
                                                       .closed = on_qmp_closed,
                                                       .user = dm };
    int fd;
    int rc = connect_monitor(dm, &fd, err);

    if (rc) {
        return rc;
    }
    if (!dm->was_ready) {
        libspawn_child_set_deadline(dm->child, dm->start_ms);
    }
    if (fd < 0) {
        return 0;
    }
    rc = libspawn__qmp_new(dm->ctx->loop, fd, &callbacks, &dm->qmp, err);
    return rc ? rc
              : libspawn__qmp_command(dm->qmp, "query-status", NULL, -1,
                                      on_status, dm, err);
}

int
libspawn__dm_idle_fd(const struct libspawn__dm *dm)
{
    return dm->qmp ? libspawn__qmp_idle_fd(dm->qmp) : -1;
}

int
libspawn__dm_resume_monitor(struct libspawn__dm *dm, int fd,
                            struct libspawn_err *err)
{
    const struct libspawn__qmp_callbacks callbacks = { .ready = on_qmp_ready,
                                                       .event = on_qmp_event,
                                                       .closed = on_qmp_closed,
                                                       .user = dm };

    return libspawn__qmp_resume(dm->ctx->loop, fd, &callbacks, &dm->qmp, err);
}

void
libspawn__dm_free(struct libspawn__dm *dm)
{
    if (dm) {
        libspawn__qmp_free(dm->qmp);
        libspawn_child_free(dm->child);
        stop_listening(dm);
        free(dm->own_path);
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
