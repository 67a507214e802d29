/*
 * The steps of a creation, in the order of the table at the end.
 *
 * What they learn is in a struct libspawn__xen_guest until the last of them
 * is done; undoing needs no more than the domain's number.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "dm/dm.h"
#include "dm/serial.h"
#include "dm/vnc.h"
#include "guest/confine.h"
#include "guest/create.h"
#include "guest/examine.h"
#include "guest/xen/announce.h"
#include "guest/plugin.h"
#include "guest/serials.h"
#include "guest/xen/arguments.h"
#include "guest/xen/builder.h"
#include "guest/xen/close.h"
#include "guest/xen/devices.h"
#include "guest/xen/domain.h"
#include "guest/xen/files.h"
#include "guest/xen/hypervisor.h"
#include "guest/xen/nodes.h"
#include "guest/xen/prepare.h"
#include "guest/xen/sched.h"
#include "proc/ctx.h"
#include "store/paths.h"

static struct libspawn__xen *
xen_of(const struct libspawn_create *create)
{
    return create->host->impl;
}

/* ---- Guest ------------------------------------------------------------- */

static int
forget_guest(struct libspawn_create *create)
{
    struct libspawn__xen_guest *guest = create->impl;

    if (guest) {
        libspawn__xen_guest_dispose(guest);
        free(guest);
        create->impl = NULL;
    }
    return 0;
}

static int
accept_disk(const struct libspawn_create *create,
            const struct libspawn__examined *file, struct libspawn_err *err)
{
    (void)create;
    (void)file;
    (void)err;
    return 0;
}

/* What follows looks at them itself, and would wait for one on a dead disk:
 * whoever must not wait has them looked at before. */
static int
await_disks(struct libspawn_create *create, struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    size_t i;
    int rc = 0;

    if (!create->host->probe_worker) {
        return 0;
    }
    for (i = 0; !rc && i < config->n_disks; i++) {
        const struct libspawn_disk *disk = &config->disks[i];
        const struct libspawn__examined file = {
            .what = "disk",
            .path = disk->target,
            .flags = LIBSPAWN__WORKER_IMAGE_NAME,
        };

        if (disk->target && !disk->script) {
            rc = libspawn__examine_add(create, &file, err);
        }
    }
    return rc ? rc : libspawn__examine_run(create, accept_disk, err);
}

/* A restricted device model is cut off from the store, by which a guest's
 * drivers would find a disk that it serves.  A CD drive is emulated only. */
static int
check_supported(const struct libspawn_guest_config *config,
                const struct libspawn__xen_guest *guest,
                struct libspawn_err *err)
{
    size_t i;

    if (config->n_pci) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "PCI devices cannot be given to guests on Xen "
                              "yet");
    }
    if (config->dm_restrict != LIBSPAWN_CHOICE_YES) {
        return 0;
    }
    for (i = 0; i < config->n_disks; i++) {
        const struct libspawn__xen_disk *disk = &guest->disks[i];

        if (disk->server == LIBSPAWN__XEN_DISK_QDISK &&
            !disk->config->is_cdrom) {
            return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                                  "disk '%s': with dm_restrict the device "
                                  "model cannot serve a file to the guest's "
                                  "drivers; use a block device, such as a "
                                  "loop device",
                                  config->disks[i].target);
        }
    }
    return 0;
}

static int
examine(struct libspawn_create *create, struct libspawn_err *err)
{
    struct libspawn__xen_guest *guest = calloc(1, sizeof *guest);
    int rc;

    if (!guest) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__xen_guest_init(xen_of(create), create->config, create->uuid,
                                  guest, err);
    if (rc) {
        free(guest);
        return rc;
    }
    rc = check_supported(create->config, guest, err);
    if (rc) {
        libspawn__xen_guest_dispose(guest);
        free(guest);
        return rc;
    }
    create->impl = guest;
    return 0;
}

/* ---- Domain ------------------------------------------------------------ */

static int
destroy_domain(struct libspawn_create *create)
{
    libspawn__xen_domain_destroy(xen_of(create), create->domid, NULL);
    return 0;
}

static int
make_domain(struct libspawn_create *create, struct libspawn_err *err)
{
    struct libspawn__xen_guest *guest = create->impl;
    int rc = libspawn__xen_domain_create(xen_of(create), guest, err);

    if (rc) {
        return rc;
    }
    rc = libspawn__create_set_domid(create, guest->domid, err);
    if (rc) {
        libspawn__xen_domain_destroy(xen_of(create), guest->domid, NULL);
    }
    return rc;
}

/* NULL without it. */
static const struct libspawn__xen_builder *
load_builder(struct libspawn_err *err)
{
    const struct libspawn__xen_builder *builder;
    void *plugin;

    if (libspawn__plugin_open(LIBSPAWN__XEN_BUILDER_FILE, &plugin, err)) {
        return NULL;
    }
    builder = dlsym(plugin, LIBSPAWN__XEN_BUILDER_SYMBOL);
    if (!builder || strcmp(builder->version, LIBSPAWN_VERSION) != 0) {
        libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                       "'" LIBSPAWN__XEN_BUILDER_FILE "' is of another "
                       "version than this program (%s)",
                       LIBSPAWN_VERSION);
        return NULL;
    }
    return builder;
}

static int
fill_domain(struct libspawn_create *create, struct libspawn_err *err)
{
    const struct libspawn__xen_builder *builder;
    int rc = libspawn__xen_domain_prepare(xen_of(create), create->impl, err);

    if (!rc) {
        rc = libspawn__xen_sched_apply(xen_of(create), create->impl, err);
    }
    if (rc) {
        return rc;
    }
    builder = load_builder(err);
    return builder ? builder->build(xen_of(create), create->impl, err)
                   : err->code;
}

/* ---- Nodes and files --------------------------------------------------- */

static int
make_nodes(struct libspawn_create *create, struct libspawn_err *err)
{
    return libspawn__xen_nodes_make(xen_of(create), create->impl, err);
}

/* The user is noted there. */
static int
remove_nodes(struct libspawn_create *create)
{
    libspawn__xen_files_remove_root(create->domid);
    libspawn__confine_release(create->host, create->domid, create->uuid, NULL);
    libspawn__xen_nodes_remove(xen_of(create), create->domid, NULL);
    return 0;
}

static int
write_nodes(struct libspawn_create *create, struct libspawn_err *err)
{
    int rc = libspawn__xen_nodes_write(xen_of(create), create->impl, err);

    return rc ? rc
              : libspawn__xen_nodes_introduce(xen_of(create), create->impl,
                                              err);
}

static int
remove_files(struct libspawn_create *create)
{
    libspawn__xen_files_remove(create->domid);
    return 0;
}

static int
write_files(struct libspawn_create *create, struct libspawn_err *err)
{
    return libspawn__xen_files_write(create->impl, err);
}

/* ---- Devices ----------------------------------------------------------- */

static struct libspawn__xen_helper
get_helper(struct libspawn_create *create, libspawn__xen_scripts_fn *fn)
{
    return (struct libspawn__xen_helper){
        .loop = create->host->ctx->loop,
        .worker = create->host->probe_worker,
        .fn = fn,
        .user = create,
    };
}

static int
close_then(struct libspawn_create *create, libspawn__xen_scripts_fn *fn)
{
    const struct libspawn__xen_helper by = get_helper(create, fn);

    return libspawn__xen_devices_close(xen_of(create), create->domid,
                                       by.worker ? &by : NULL, NULL);
}

static void
on_devices_closed(void *user, const struct libspawn_err *err)
{
    (void)err;
    libspawn__create_step_done(user, NULL);
}

/* Undoes the nodes' effect on dom0's kernel too, so it stands with the first
 * step behind them. */
static int
close_devices(struct libspawn_create *create)
{
    return close_then(create, on_devices_closed);
}

/* A script that was begun comes to its end, which is also that of its limit:
 * nobody could know what half of it has done. */
static int
connect_devices(struct libspawn_create *create,
                int (*start)(struct libspawn__xen *xen,
                             const struct libspawn__xen_guest *guest,
                             const struct libspawn__xen_helper *by,
                             struct libspawn_err *err),
                libspawn__xen_scripts_fn *fn, struct libspawn_err *err)
{
    const struct libspawn__xen_helper by = get_helper(create, fn);
    int rc = start(xen_of(create), create->impl, by.worker ? &by : NULL, err);

    create->is_uninterruptible = rc == LIBSPAWN__STEP_PENDING;
    return rc;
}

static void
on_disks_given_up(void *user, const struct libspawn_err *err)
{
    struct libspawn_create *create = user;
    const struct libspawn__xen_guest *guest = create->impl;

    (void)err;
    create->is_uninterruptible = false;
    libspawn__create_step_done(create, &guest->disks_error);
}

/* The step has failed, and leaves nothing of itself. */
static bool
gives_up_disks(struct libspawn_create *create, const struct libspawn_err *why)
{
    struct libspawn__xen_guest *guest = create->impl;
    bool is_pending;

    guest->disks_error = *why;
    is_pending = close_then(create, on_disks_given_up) ==
                 LIBSPAWN__STEP_PENDING;
    create->is_uninterruptible = is_pending;
    return is_pending;
}

static void
on_disks_connected(void *user, const struct libspawn_err *err)
{
    struct libspawn_create *create = user;

    create->is_uninterruptible = false;
    if (!err || !gives_up_disks(create, err)) {
        libspawn__create_step_done(create, err);
    }
}

static int
connect_disks(struct libspawn_create *create, struct libspawn_err *err)
{
    int rc = connect_devices(create, libspawn__xen_devices_connect_disks,
                             on_disks_connected, err);

    return rc < 0 && gives_up_disks(create, err) ? LIBSPAWN__STEP_PENDING : rc;
}

static void
on_nics_connected(void *user, const struct libspawn_err *err)
{
    struct libspawn_create *create = user;

    create->is_uninterruptible = false;
    libspawn__create_step_done(create, err);
}

static int
connect_nics(struct libspawn_create *create, struct libspawn_err *err)
{
    return connect_devices(create, libspawn__xen_devices_connect_nics,
                           on_nics_connected, err);
}

/* ---- Device model ------------------------------------------------------ */

static int
fill_arguments(struct libspawn_create *create, const char *program,
               const struct libspawn__dm_support *support,
               struct libspawn_plan *plan, struct libspawn_err *err)
{
    AUTO_ARGS struct libspawn__args args = { .config = create->config,
                                             .domid = create->domid,
                                             .is_held = true,
                                             .version = support->version };
    size_t i;

    libspawn__args_add(&args, program);
    libspawn__xen_dm_add_restrictions(&create->restricted, support, &args);
    libspawn__xen_dm_add_arguments(xen_of(create), create->impl, &args);
    if (args.err.code) {
        if (err) {
            *err = args.err;
        }
        return args.err.code;
    }
    libspawn_plan_set_program(plan, program);
    for (i = 0; i < args.argv.n_items; i++) {
        libspawn_plan_add_arg(plan, args.argv.items[i]);
    }
    return 0;
}

/* Whether a disk that it emulates is one. */
static bool
writes_files(const struct libspawn__xen_guest *guest)
{
    size_t i;

    for (i = 0; i < guest->config->n_disks; i++) {
        const struct libspawn__xen_disk *disk = &guest->disks[i];
        bool is_file = disk->server == LIBSPAWN__XEN_DISK_QDISK ||
                       disk->needs_script;

        if (is_file && !disk->config->read_only && !disk->config->is_cdrom) {
            return true;
        }
    }
    return false;
}

static int
fill_plan(struct libspawn_create *create, const char *program,
          const struct libspawn__dm_support *support,
          struct libspawn_plan *plan, struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    AUTO_FREE char *log = libspawn__xen_files_log_path(config->name);
    AUTO_FREE char *record =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, create->domid);
    AUTO_FREE char *pid_node =
        libspawn__path_new(LIBSPAWN__PATH_DM_PID, create->domid);

    if (!log || !record || !pid_node) {
        return libspawn__fail_nomem(err);
    }
    libspawn_plan_set_label(plan, "device model", config->name);
    libspawn_plan_add_env(plan, "LC_ALL=C.UTF-8");
    libspawn_plan_set_log(plan, log, 0, 0);
    libspawn_plan_set_record(
        plan, libspawn__store_address(create->host->store), record);
    libspawn_plan_add_pid_node(plan, pid_node);
    if (config->start_timeout_ms) {
        libspawn_plan_set_timeouts(plan, config->start_timeout_ms,
                                   LIBSPAWN__DM_STOP_MS);
    }
    create->restricted.writes_files = writes_files(create->impl);
    libspawn__restrict_fill_plan(&create->restricted, config, program,
                                 LIBSPAWN__RESTRICT_BY_ITSELF, plan);
    return fill_arguments(create, program, support, plan, err);
}

static int
start_program(struct libspawn_create *create, const char *program,
              const struct libspawn__dm_support *support,
              struct libspawn_err *err)
{
    int serials[LIBSPAWN__DM_SERIALS_MAX] = { -1, -1, -1, -1 };
    AUTO_FREE char *qmp_path = libspawn__xen_files_qmp_path(create->domid);
    struct libspawn_plan *plan = libspawn_plan_new();
    int rc = plan && qmp_path ? fill_plan(create, program, support, plan, err)
                              : libspawn__fail_nomem(err);
    size_t i;

    if (!rc) {
        rc = libspawn__serials_listen(create, plan, NULL, serials, err);
    }
    if (!rc) {
        rc = libspawn__create_start_dm(create, plan, qmp_path, err);
    }
    libspawn_plan_free(plan);
    for (i = 0; i < ARRAY_SIZE(serials); i++) {
        libspawn__auto_close(&serials[i]);
    }
    if (rc) {
        libspawn__serials_undo(create);
    }
    return rc;
}

/* Whether it has to be asked what it supports: how rights are given up, and
 * how to connect again, is not the same for all. */
static bool
is_probed(const struct libspawn_create *create)
{
    const struct libspawn_guest_config *config = create->config;
    bool is_probed = create->restricted.is_on || create->restricted.has_user;
    size_t i;

    for (i = 0; !is_probed && i < config->n_serials; i++) {
        is_probed = libspawn__serial_kind(config->serials[i]) ==
                    LIBSPAWN__SERIAL_CONNECTS;
    }
    return is_probed;
}

static int
start_device_model(struct libspawn_create *create, struct libspawn_err *err)
{
    const struct libspawn__dm_support unknown = { 0 };
    AUTO_FREE char *program = NULL;
    int rc = libspawn__xen_dm_find_program(
        xen_of(create), create->config->device_model_override, &program, err);

    if (!rc) {
        rc = libspawn__confine_choose(create, err);
    }
    if (!rc && create->restricted.is_on) {
        rc = libspawn__xen_files_make_root(create->domid, err);
    }
    if (rc) {
        return rc;
    }
    return is_probed(create)
               ? libspawn__confine_probe(create, program, start_program, err)
               : start_program(create, program, &unknown, err);
}

/* ---- What the device model knows --------------------------------------- */

/* Ends a step with an answer of the device model's.  When that is gone, its
 * own end comes next and says why. */
static void
answered(struct libspawn_create *create, int rc,
         const struct libspawn_err *err)
{
    if (!rc || err->code != LIBSPAWN_ERR_GONE) {
        libspawn__create_step_done(create, rc ? err : NULL);
    }
}

/* All questions are asked at once; the last answer ends the step.  One may
 * come when the creation was undone already. */
static void
count_answer(struct libspawn_create *create, int rc,
             const struct libspawn_err *err)
{
    struct libspawn__xen_guest *guest = create->impl;

    if (!guest) {
        return;
    }
    if (rc && !guest->answers_error.code) {
        guest->answers_error = *err;
    }
    if (--guest->n_answers == 0) {
        answered(create, guest->answers_error.code, &guest->answers_error);
    }
}

static void
on_vnc(void *user, const struct libspawn__json *result,
       const struct libspawn_err *err)
{
    struct libspawn_create *create = user;
    struct libspawn_err late = { 0 };
    int rc =
        err ? err->code
            : libspawn__xen_announce_vnc(xen_of(create), create->domid, result,
                                         create->config->vnc.password, &late);

    count_answer(create, rc, err ? err : &late);
}

static void
on_chardevs(void *user, const struct libspawn__json *result,
            const struct libspawn_err *err)
{
    struct libspawn_create *create = user;
    struct libspawn_err late = { 0 };
    int rc = err ? err->code
                 : libspawn__xen_announce_serials(
                       xen_of(create), create->domid, result, &late);

    count_answer(create, rc, err ? err : &late);
}

static int
ask(struct libspawn_create *create, const char *question,
    libspawn__qmp_reply_fn *fn, struct libspawn_err *err)
{
    struct libspawn__xen_guest *guest = create->impl;
    int rc = libspawn__qmp_command(libspawn__dm_qmp(create->dm), question,
                                   NULL, -1, fn, create, err);

    guest->n_answers += rc ? 0 : 1;
    return rc;
}

static int
announce(struct libspawn_create *create, struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    struct libspawn__xen_guest *guest = create->impl;
    int rc = 0;

    if (config->n_serials) {
        rc = ask(create, "query-chardev", on_chardevs, err);
    }
    if (!rc && config->vnc.enable != LIBSPAWN_CHOICE_NO) {
        rc = ask(create, "query-vnc", on_vnc, err);
    }
    if (rc) {
        return rc;
    }
    return guest->n_answers ? LIBSPAWN__STEP_PENDING : 0;
}

static void
on_password_set(void *user, const struct libspawn__json *result,
                const struct libspawn_err *err)
{
    (void)result;
    answered(user, err ? err->code : 0, err);
}

static int
set_vnc_password(struct libspawn_create *create, struct libspawn_err *err)
{
    AUTO_FREE char *arguments = NULL;
    int rc;

    if (!create->config->vnc.password ||
        create->config->vnc.enable == LIBSPAWN_CHOICE_NO) {
        return 0;
    }
    arguments = libspawn__dm_vnc_password(create->config->vnc.password);
    if (!arguments) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__qmp_command(libspawn__dm_qmp(create->dm), "set_password",
                               arguments, -1, on_password_set, create, err);
    return rc ? rc : LIBSPAWN__STEP_PENDING;
}

/* ---- All of it --------------------------------------------------------- */

static int
finish(struct libspawn_create *create, struct libspawn_err *err)
{
    (void)err;
    return forget_guest(create);
}

/* The device model is started as soon as there is a number to give it: it is
 * loaded, a third of its start, while the guest is built, and held at its
 * monitor until there is a guest to look at. */
const struct libspawn__step libspawn__xen_steps[] = {
    { "looking at its disks", await_disks, NULL },
    { "looking at the host", examine, forget_guest },
    { "making the domain", make_domain, destroy_domain },
    { "making its directories", make_nodes, remove_nodes },
    { "starting the device model", start_device_model,
      libspawn__create_undo_dm },
    { "loading its firmware", fill_domain, NULL },
    { "writing its nodes", write_nodes, NULL },
    { "connecting its disks", connect_disks, close_devices },
    { "storing its configuration", write_files, remove_files },
    { "waiting for the device model", libspawn__create_await_dm,
      libspawn__create_undo_dm },
    { "announcing its consoles", announce, NULL },
    { "setting the VNC password", set_vnc_password, NULL },
    { "connecting its network", connect_nics, NULL },
    { "finishing", finish, NULL },
    { NULL, NULL, NULL },
};
