#include "guest/create.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/random.h"
#include "guest/confine.h"
#include "guest/events.h"
#include "guest/examine.h"
#include "guest/host.h"
#include "guest/intent.h"
#include "guest/names.h"
#include "proc/ctx.h"
#include "store/paths.h"

/* ---- Common steps: before the hypervisor's ----------------------------- */

static int
make_uuid(char uuid[37], struct libspawn_err *err)
{
    unsigned char b[16];

    int rc = libspawn__random_fill(b, sizeof b, err);

    if (rc) {
        return rc;
    }
    b[6] = (b[6] & 0x0f) | 0x40; /* RFC 4122, version 4 */
    b[8] = (b[8] & 0x3f) | 0x80;
    snprintf(uuid, 37,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
             "%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
             b[11], b[12], b[13], b[14], b[15]);
    return 0;
}

static int
check_uuid_free(struct libspawn_create *create, struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__path_vm(create->uuid);
    AUTO_INTENT struct libspawn__intent intent = { 0 };
    AUTO_FREE char *value = NULL;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    if (!libspawn__store_read(create->host->store, NULL, path, &value, NULL,
                              NULL) ||
        !libspawn__intent_read(create->host, LIBSPAWN__INTENT_CREATE,
                               create->uuid, &intent, NULL)) {
        return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                              "a guest with uuid %s exists already",
                              create->uuid);
    }
    return 0;
}

static int
write_intent(struct libspawn_create *create, struct libspawn_err *err)
{
    AUTO_FREE char *name = strdup(create->config->name);
    struct libspawn__intent intent = {
        .name = name, .domid = create->has_domid ? create->domid : 0
    };
    int rc;

    if (!name) {
        return libspawn__fail_nomem(err);
    }
    memcpy(intent.uuid, create->uuid, sizeof intent.uuid);
    rc = libspawn__identity_self(&intent.owner, err);
    return rc ? rc : libspawn__intent_write(create->host, &intent, err);
}

/* Two creations of one name: the lock makes one of them see the other. */
static int
reserve_name(struct libspawn_create *create, struct libspawn_err *err)
{
    int rc;

    if (create->host_lock.fd < 0) {
        return LIBSPAWN__STEP_LOCK_HOST;
    }
    if (create->replaced) {
        return write_intent(create, err); /* before the name could be free */
    }
    rc = libspawn__name_check_free(create->host, create->config->name, err);
    if (!rc) {
        rc = check_uuid_free(create, err);
    }
    return rc ? rc : write_intent(create, err);
}

static int
unreserve_name(struct libspawn_create *create)
{
    libspawn__intent_remove(create->host, LIBSPAWN__INTENT_CREATE,
                            create->uuid);
    return 0;
}

int
libspawn__create_set_domid(struct libspawn_create *create, uint32_t domid,
                           struct libspawn_err *err)
{
    create->domid = domid;
    create->has_domid = true;
    return write_intent(create, err);
}

/* ---- Common steps: behind the hypervisor's ----------------------------- */

static int
tell_caller(struct libspawn_create *create, struct libspawn_err *err)
{
    const struct libspawn_create_options *options = &create->options;

    return options->before_unpause
               ? options->before_unpause(options->user, create->domid, err)
               : 0;
}

static void
note(struct libspawn_create *create, enum libspawn_guest_event_kind kind,
     const char *reason, const char *text)
{
    const struct libspawn__event event = {
        .guest = create->config->name,
        .domid = create->has_domid ? create->domid : 0,
        .uuid = create->uuid,
        .kind = kind,
        .reason = reason,
        .text = text,
    };

    libspawn__event_append(create->host, &event, NULL);
}

/* From here on the guest lives without us.  The intent goes last: a creator
 * that dies in between has its guest removed, never left half-owned, nor
 * untold.  Nobody can tell of its end before, who needs its lock for that. */
static int
hand_over(struct libspawn_create *create, struct libspawn_err *err)
{
    int rc = 0;

    if (create->dm) {
        rc = libspawn_child_release(libspawn__dm_child(create->dm),
                                    LIBSPAWN_RELEASE_WATCHED, err);
    }
    if (rc) {
        return rc;
    }
    note(create,
         create->is_again || create->replaced ? LIBSPAWN_GUEST_EVENT_RESTARTED
                                              : LIBSPAWN_GUEST_EVENT_CREATED,
         NULL, NULL);
    if (!create->options.paused) {
        note(create, LIBSPAWN_GUEST_EVENT_RUNNING, NULL, NULL);
    }
    libspawn__intent_remove(create->host, LIBSPAWN__INTENT_CREATE,
                            create->uuid);
    return 0;
}

static void
on_former_removed(void *user, const struct libspawn_err *err)
{
    struct libspawn_create *create = user;

    create->is_uninterruptible = false;
    libspawn__create_step_done(create, err);
}

/* Its name and its uuid are reserved by now: there is no moment in which
 * somebody else could take them. */
static int
remove_former(struct libspawn_create *create, struct libspawn_err *err)
{
    int rc = create->host->hypervisor->start_destroy(
        create->host, create->replaced, on_former_removed, create, err);

    create->is_uninterruptible = rc == LIBSPAWN__STEP_PENDING;
    return rc;
}

/* ---- Common steps: the recovery script --------------------------------- */

static int
judge_script(const struct libspawn_create *create,
             const struct libspawn__examined *file, struct libspawn_err *err)
{
    bool is_executable = file->image.mode & 0111;

    (void)create;
    return S_ISREG(file->image.mode) && is_executable
               ? 0
               : libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                "%s '%s' is not an executable file",
                                file->what, file->path);
}

/* Better now than when it is needed. */
static int
check_script(struct libspawn_create *create, struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    const struct libspawn__examined file = {
        .what = "recovery script",
        .path = config->on_dm_crash_script,
        .flags = LIBSPAWN__WORKER_IMAGE_NAME,
    };
    int rc;

    if (config->on_dm_crash != LIBSPAWN_ACTION_SCRIPT) {
        return 0;
    }
    if (file.path[0] != '/') {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the path of the %s is not absolute: '%s'",
                              file.what, file.path);
    }
    rc = libspawn__examine_add(create, &file, err);
    return rc ? rc : libspawn__examine_run(create, judge_script, err);
}

/* ---- The steps --------------------------------------------------------- */

static const struct libspawn__step replacing_steps[] = {
    { "reserving the name", reserve_name, unreserve_name },
    { "removing the former guest", remove_former, NULL },
    { NULL, NULL, NULL },
};

static const struct libspawn__step first_steps[] = {
    { "reserving the name", reserve_name, unreserve_name },
    { "checking its recovery script", check_script, NULL },
    { NULL, NULL, NULL },
};

/* The first is left out where there was a guest before. */
static const struct libspawn__step last_steps[] = {
    { "attaching", tell_caller, NULL },
    { "unpausing", libspawn__create_unpause, NULL },
    { "handing over", hand_over, NULL },
    { NULL, NULL, NULL },
};

static const struct libspawn__step no_steps[] = { { NULL, NULL, NULL } };

/* NULL behind the last one. */
static const struct libspawn__step *
get_step(const struct libspawn_create *create, size_t index)
{
    const struct libspawn__hypervisor *hypervisor = create->host->hypervisor;
    const struct libspawn__step *const tables[] = {
        create->is_again   ? no_steps
        : create->replaced ? replacing_steps
                           : first_steps,
        create->is_again ? hypervisor->steps_again : hypervisor->steps,
        create->is_again ? last_steps + 1 : last_steps,
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(tables); i++) {
        const struct libspawn__step *step = tables[i];

        for (; step->name; step++) {
            if (!index--) {
                return step;
            }
        }
    }
    return NULL;
}

/* ---- The machine ------------------------------------------------------- */

/* That it was done was told by hand_over; of one that is there already, its
 * supervisor tells. */
static void
note_failure(struct libspawn_create *create)
{
    const struct libspawn_err *err = &create->err;

    if (err->code && !create->is_again) {
        note(create, LIBSPAWN_GUEST_EVENT_CREATE_FAILED,
             libspawn_code_name(err->code), err->text);
    }
}

static void
finish(struct libspawn_create *create)
{
    const struct libspawn_report *report = NULL;

    create->state = LIBSPAWN__CREATE_DONE;
    libspawn__examine_dispose(create);
    libspawn__host_unlock(create->host, &create->guest_lock);
    note_failure(create);
    if (create->err.code == LIBSPAWN_ERR_CHILD && create->dm) {
        report = libspawn_child_report(libspawn__dm_child(create->dm));
    }
    create->done(create->user, create->domid, report,
                 create->err.code ? &create->err : NULL);
}

static void
begin_undo(struct libspawn_create *create, const struct libspawn_err *err)
{
    if (!create->err.code) {
        create->err = *err;
    }
    create->state = LIBSPAWN__CREATE_UNDOING;
}

static void run_pending(struct libspawn_create *create);

static void
on_host_lock(void *user, const struct libspawn_err *err)
{
    struct libspawn_create *create = user;

    libspawn__lock_wait_free(TAKE_PTR(create->lock_wait));
    if (err) {
        libspawn__create_step_done(create, err);
    } else {
        run_pending(create);
    }
}

/* The step, once more under the lock when it asks for that. */
static void
run_pending(struct libspawn_create *create)
{
    const struct libspawn__step *step = get_step(create, create->step);
    struct libspawn_err err = { 0 };
    bool is_freed = false;
    int rc;

    create->is_freed = &is_freed;
    rc = step->run(create, &err);
    if (is_freed) {
        return;
    }
    create->is_freed = NULL;
    libspawn__host_unlock(create->host, &create->host_lock);
    if (rc == LIBSPAWN__STEP_LOCK_HOST) {
        rc = libspawn__host_lock_start(
            create->host, &create->guest_lock, on_host_lock, create,
            &create->host_lock, &create->lock_wait, &err);
        if (!rc && !create->lock_wait) {
            run_pending(create);
            return;
        }
        rc = rc ? rc : LIBSPAWN__STEP_PENDING;
    }
    if (rc != LIBSPAWN__STEP_PENDING) {
        libspawn__create_step_done(create, rc ? &err : NULL);
    }
}

/* What makes, changes or removes a guest holds its lock; of one that is being
 * made, from the moment it has a number.  Nobody waits for a number that was
 * not given yet. */
static int
lock_guest(struct libspawn_create *create, struct libspawn_err *err)
{
    return create->has_domid && create->guest_lock.fd < 0
               ? libspawn__host_try_guest(create->host, create->domid,
                                          &create->guest_lock, err)
               : 0;
}

static void
run_step(struct libspawn_create *create)
{
    const struct libspawn__step *step = get_step(create, create->step);
    struct libspawn_err err = { 0 };
    int rc = lock_guest(create, &err);

    create->is_pending = true;
    if (!rc && create->options.progress) {
        create->options.progress(create->options.user, step->name);
    }
    if (rc) {
        libspawn__create_step_done(create, &err);
    } else {
        run_pending(create);
    }
}

static void
undo_step(struct libspawn_create *create)
{
    const struct libspawn__step *step;

    if (!create->step) {
        finish(create);
        return;
    }
    step = get_step(create, --create->step);
    create->is_pending = true;
    if (!step->undo || step->undo(create) != LIBSPAWN__STEP_PENDING) {
        libspawn__create_step_done(create, NULL);
    }
}

static void
turn(struct libspawn__task *task)
{
    struct libspawn_create *create =
        CONTAINER_OF(task, struct libspawn_create, task);

    if (create->state == LIBSPAWN__CREATE_UNDOING) {
        undo_step(create);
    } else if (get_step(create, create->step)) {
        run_step(create);
    } else {
        finish(create);
    }
}

void
libspawn__create_step_done(struct libspawn_create *create,
                           const struct libspawn_err *err)
{
    if (!create->is_pending) {
        return;
    }
    create->is_pending = false;
    if (create->state == LIBSPAWN__CREATE_RUNNING) {
        if (err) {
            begin_undo(create, err);
        } else {
            create->step++;
            if (create->err.code) {
                /* Aborted while this step could not be interrupted. */
                begin_undo(create, &create->err);
            }
        }
    }
    libspawn__task_post(&create->task);
}

/* ---- The device model as a step ---------------------------------------- */

/* Its end, whenever it comes before the guest is handed over, is the cause of
 * the failure; and what an undo waits for. */
static void
on_dm_ended(void *user)
{
    struct libspawn_create *create = user;
    struct libspawn_child *child = libspawn__dm_child(create->dm);
    struct libspawn_err err = { .code = LIBSPAWN_ERR_CHILD };

    create->is_dm_ended = true;
    libspawn_child_check(child, &err);
    if (create->state == LIBSPAWN__CREATE_UNDOING) {
        libspawn__create_step_done(create, NULL);
    } else if (create->is_uninterruptible) {
        /* Taken note of behind the step. */
        create->err = create->err.code ? create->err : err;
    } else if (create->state == LIBSPAWN__CREATE_RUNNING &&
               create->is_pending) {
        libspawn__create_step_done(create, &err);
    } else if (create->state == LIBSPAWN__CREATE_RUNNING) {
        begin_undo(create, &err);
    }
}

static void
on_dm_ready(void *user)
{
    struct libspawn_create *create = user;

    if (create->state == LIBSPAWN__CREATE_RUNNING) {
        libspawn__create_step_done(create, NULL);
    }
}

int
libspawn__create_start_dm(struct libspawn_create *create,
                          struct libspawn_plan *plan, const char *qmp_path,
                          struct libspawn_err *err)
{
    const struct libspawn__dm_listener listener = { .ready = on_dm_ready,
                                                    .ended = on_dm_ended,
                                                    .user = create };

    return libspawn__dm_start(create->host->ctx, plan, qmp_path, &listener,
                              &create->dm, err);
}

int
libspawn__create_await_dm(struct libspawn_create *create,
                          struct libspawn_err *err)
{
    int rc = libspawn__dm_connect(create->dm, err);

    if (rc) {
        return rc;
    }
    if (create->connected && libspawn__dm_qmp(create->dm)) {
        create->connected(create->user);
    }
    return LIBSPAWN__STEP_PENDING;
}

int
libspawn__create_undo_dm(struct libspawn_create *create)
{
    if (create->held && !create->is_again) {
        libspawn__held_drop_serials(create->held);
    }
    if (!create->dm || create->is_dm_ended) {
        return 0;
    }
    libspawn_child_stop(libspawn__dm_child(create->dm));
    return LIBSPAWN__STEP_PENDING;
}

/* ---- Unpausing --------------------------------------------------------- */

static void
on_cont(void *user, const struct libspawn__json *result,
        const struct libspawn_err *err)
{
    (void)result;
    /* When it is gone, the device model's own end comes next and says why. */
    if (!err || err->code != LIBSPAWN_ERR_GONE) {
        libspawn__create_step_done(user, err);
    }
}

int
libspawn__create_unpause(struct libspawn_create *create,
                         struct libspawn_err *err)
{
    const struct libspawn__hypervisor *hypervisor = create->host->hypervisor;
    int rc;

    if (create->options.paused) {
        return 0;
    }
    if (hypervisor->release_cpus) {
        return hypervisor->release_cpus(create->host, create->domid, err);
    }
    rc = libspawn__qmp_command(libspawn__dm_qmp(create->dm), "cont", NULL, -1,
                               on_cont, create, err);
    return rc ? rc : LIBSPAWN__STEP_PENDING;
}

/* ---- Public ------------------------------------------------------------ */

static int
new_create(struct libspawn_host *host,
           const struct libspawn_guest_config *config,
           const struct libspawn_create_options *options,
           libspawn_create_fn *done, void *user,
           struct libspawn_create **create_r, struct libspawn_err *err)
{
    struct libspawn_create *create;
    int rc = libspawn_guest_config_check(config, err);

    if (rc) {
        return rc;
    }
    create = calloc(1, sizeof *create);
    if (!create) {
        return libspawn__fail_nomem(err);
    }
    create->host = host;
    create->config = config;
    create->done = done;
    create->user = user;
    create->host_lock.fd = create->guest_lock.fd = -1;
    if (options) {
        create->options = *options;
    }
    libspawn__task_init(host->ctx->loop, &create->task, turn);
    *create_r = create;
    return 0;
}

int
libspawn_guest_create(struct libspawn_host *host,
                      const struct libspawn_guest_config *config,
                      const struct libspawn_create_options *options,
                      libspawn_create_fn *done, void *user,
                      struct libspawn_create **create_r,
                      struct libspawn_err *err)
{
    struct libspawn_create *create;
    int rc = new_create(host, config, options, done, user, &create, err);

    if (rc) {
        return rc;
    }
    if (config->uuid) {
        snprintf(create->uuid, sizeof create->uuid, "%s", config->uuid);
    } else {
        rc = make_uuid(create->uuid, err);
        if (rc) {
            free(create);
            return rc;
        }
    }
    libspawn__task_post(&create->task);
    *create_r = create;
    return 0;
}

int
libspawn__guest_start_again(struct libspawn_host *host, uint32_t domid,
                            const char *uuid,
                            const struct libspawn_guest_config *config,
                            const struct libspawn_create_options *options,
                            libspawn_create_fn *done, void *user,
                            struct libspawn_create **create_r,
                            struct libspawn_err *err)
{
    struct libspawn_create *create;
    int rc = new_create(host, config, options, done, user, &create, err);

    if (rc) {
        return rc;
    }
    if (host->hypervisor->steps_again) {
        create->is_again = true;
        create->domid = domid;
        create->has_domid = true;
    } else {
        create->replaced = domid;
    }
    snprintf(create->uuid, sizeof create->uuid, "%s", uuid);
    libspawn__task_post(&create->task);
    *create_r = create;
    return 0;
}

struct libspawn__dm *
libspawn__create_take_dm(struct libspawn_create *create)
{
    return TAKE_PTR(create->dm);
}

void
libspawn_create_abort(struct libspawn_create *create)
{
    if (create->state != LIBSPAWN__CREATE_RUNNING || create->err.code) {
        return;
    }
    libspawn__fail(&create->err, LIBSPAWN_ERR_ABORTED,
                   "the creation of guest '%s' was aborted",
                   create->config->name);
    if (!create->is_pending) {
        begin_undo(create, &create->err);
    } else if (create->lock_wait) {
        libspawn__lock_wait_free(TAKE_PTR(create->lock_wait));
        libspawn__create_step_done(create, &create->err);
    } else if (libspawn__confine_abort_probe(create)) {
        libspawn__create_step_done(create, &create->err);
    } else if (create->abort_step) {
        create->abort_step(create);
    } else if (create->dm && !create->is_dm_ended) {
        /* The step in flight waits for the device model: its end is the end
         * of the waiting. */
        libspawn_child_stop(libspawn__dm_child(create->dm));
    }
}

void
libspawn_create_free(struct libspawn_create *create)
{
    if (!create) {
        return;
    }
    libspawn_create_abort(create);
    while (create->state != LIBSPAWN__CREATE_DONE &&
           !libspawn_ctx_wait(create->host->ctx, -1, NULL)) {
    }
    if (create->is_freed) {
        *create->is_freed = true;
    }
    libspawn__task_cancel(&create->task);
    libspawn__dm_free(create->dm);
    libspawn__lock_dispose(&create->guest_lock);
    libspawn__strv_dispose(&create->pci);
    free(create);
}
