/*
 * The steps of a creation, in the order of the table at the end.
 */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "dm/vnc.h"
#include "guest/confine.h"
#include "guest/pci.h"
#include "guest/qemu/qemu.h"
#include "guest/serials.h"
#include "store/paths.h"

static int
check_files(struct libspawn_create *create, struct libspawn_err *err)
{
    if (create->config->type == LIBSPAWN_GUEST_TYPE_PV ||
        create->config->type == LIBSPAWN_GUEST_TYPE_PVH) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "a guest of type pv or pvh needs a Xen host; "
                              "here there is type = \"hvm\"");
    }
    if (create->config->n_pci &&
        (create->config->dm_restrict == LIBSPAWN_CHOICE_YES ||
         create->config->device_model_user)) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "PCI devices of the host need a device model "
                              "with all its rights, without dm_restrict and "
                              "device_model_user");
    }
    return libspawn__qemu_check_files(create, err);
}

/* ---- Domain id --------------------------------------------------------- */

static int
read_next_domid(struct libspawn_host *host, uint32_t *domid_r,
                struct libspawn_err *err)
{
    AUTO_FREE char *text = NULL;
    uint64_t value;
    int rc = libspawn__store_read(host->store, NULL, LIBSPAWN__PATH_NEXT_DOMID,
                                  &text, NULL, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        *domid_r = 1;
        return 0;
    } else if (rc) {
        return rc;
    }
    rc = libspawn__str_to_u64(text, 1, UINT32_MAX - 1, &value, err);
    if (!rc) {
        *domid_r = (uint32_t)value;
    }
    return rc;
}

/* Ids are not used again until the state directory is emptied, as a Xen host
 * does until it runs out of numbers. */
static int
choose_domid(struct libspawn_create *create, struct libspawn_err *err)
{
    struct libspawn_host *host = create->host;
    uint32_t domid = 0;
    int rc;

    if (create->host_lock.fd < 0) {
        return LIBSPAWN__STEP_LOCK_HOST;
    }
    rc = read_next_domid(host, &domid, err);
    if (!rc) {
        rc = libspawn__store_printf(host->store, NULL,
                                    LIBSPAWN__PATH_NEXT_DOMID, err, "%u",
                                    (unsigned int)domid + 1);
    }
    return rc ? rc : libspawn__create_set_domid(create, domid, err);
}

/* ---- Files and nodes --------------------------------------------------- */

static int
make_directories(struct libspawn_create *create, struct libspawn_err *err)
{
    AUTO_FREE char *guest_dir =
        libspawn__qemu_guest_dir(create->host, create->domid);
    AUTO_FREE char *log_dir =
        libspawn__str_format("%s/log", create->host->state_dir);
    int rc;

    if (!guest_dir || !log_dir) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__dir_make(log_dir, 0700, err);
    return rc ? rc : libspawn__dir_make(guest_dir, 0700, err);
}

static int
write_nodes(struct libspawn_create *create, struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    struct libspawn__store *store = create->host->store;
    unsigned int domid = create->domid;
    AUTO_FREE char *vm = libspawn__path_vm(create->uuid);
    const struct {
        char *path;
        char *value;
    } nodes[] = {
#define NODE(PATH, ...)                                                       \
    { libspawn__path_new(LIBSPAWN__PATH_##PATH, domid),                       \
      libspawn__str_format(__VA_ARGS__) }
#define VM_NODE(NAME, ...)                                                    \
    {                                                                         \
        libspawn__str_format("%s/" NAME, vm),                                 \
            libspawn__str_format(__VA_ARGS__)                                 \
    }
        NODE(LIBXL_TYPE, "hvm"),
        NODE(LIBXL_DM_VERSION, "qemu_xen"),
        VM_NODE("uuid", "%s", create->uuid),
        VM_NODE("name", "%s", config->name),
        VM_NODE("start_time", "%lld",
                (long long)libspawn__clock_realtime_ms() / 1000),
        NODE(DOMAIN_VM, "%s", vm),
        NODE(DOMAIN_DOMID, "%u", domid),
        NODE(DOMAIN_TARGET, "%llu",
             (unsigned long long)config->memory_mib * 1024),
        NODE(DOMAIN_VCPUS, "%u", config->vcpus),
        /* Last: what has a name is complete. */
        NODE(DOMAIN_NAME, "%s", config->name),
#undef NODE
#undef VM_NODE
    };
    int rc = 0;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(nodes); i++) {
        if (!rc && (!nodes[i].path || !nodes[i].value)) {
            rc = libspawn__fail_nomem(err);
        } else if (!rc) {
            rc = libspawn__store_puts(store, NULL, nodes[i].path,
                                      nodes[i].value, err);
        }
        free(nodes[i].path);
        free(nodes[i].value);
    }
    return rc;
}

static int
store_config(struct libspawn_create *create, struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__qemu_guest_file(create->host, create->domid, "config.json");
    AUTO_FREE char *json = NULL;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn_guest_config_to_json(create->config, &json, err);
    return rc ? rc
              : libspawn__file_replace(path, json, strlen(json), 0600, err);
}

static int
undo_files_and_nodes(struct libspawn_create *create)
{
    libspawn__qemu_remove(create->host, create->domid, create->uuid, NULL);
    return 0;
}

/* A step that leaves something behind when it fails half-way. */
static int
make_files_and_nodes(struct libspawn_create *create, struct libspawn_err *err)
{
    int rc = make_directories(create, err);

    if (!rc) {
        rc = libspawn__qemu_make_variables(create->host, create->domid,
                                           create->config, err);
    }
    if (!rc) {
        rc = write_nodes(create, err);
    }
    if (!rc) {
        rc = store_config(create, err);
    }
    if (rc) {
        undo_files_and_nodes(create);
    }
    return rc;
}

/* ---- PCI devices ------------------------------------------------------- */

/* What removes the nodes of the guest gives them back (libspawn__qemu_remove),
 * so that they are the guest's for as long as there is one. */
static int
reserve_pci(struct libspawn_create *create, struct libspawn_err *err)
{
    return libspawn__pci_reserve_for_guest(create->host, create->config,
                                           create->uuid, &create->pci, err);
}

/* ---- Device model ------------------------------------------------------ */

/* It may run as somebody who can open nothing of its guest. */
static bool
is_handed(const struct libspawn_create *create)
{
    return create->restricted.is_on || create->restricted.has_user;
}

static int
fill_plan(struct libspawn_create *create, const char *program,
          const struct libspawn__dm_support *support,
          struct libspawn_plan *plan, struct libspawn_err *err)
{
    const struct libspawn_host *host = create->host;
    const struct libspawn_guest_config *config = create->config;
    AUTO_ARGS struct libspawn__args args = { .config = config,
                                             .domid = create->domid,
                                             .is_handed = is_handed(create),
                                             .pci = &create->pci,
                                             .version = support->version };
    AUTO_FREE char *log = libspawn__qemu_log_path(host, config->name);
    AUTO_FREE char *record =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, create->domid);
    AUTO_FREE char *dir = libspawn__qemu_guest_dir(host, create->domid);
    size_t i;
    int rc;

    if (!log || !record || !dir) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__qemu_build_args(&args, program, support, create->uuid, err);
    if (rc) {
        return rc;
    }
    libspawn_plan_set_label(plan, "device model", config->name);
    libspawn_plan_set_program(plan, program);
    for (i = 0; i < args.argv.n_items; i++) {
        libspawn_plan_add_arg(plan, args.argv.items[i]);
    }
    /* The one variable that QEMU's own start-up looks at for its messages. */
    libspawn_plan_add_env(plan, "LC_ALL=C.UTF-8");
    libspawn_plan_set_directory(plan, is_handed(create) ? "/" : dir);
    libspawn_plan_set_log(plan, log, 0, 0);
    libspawn_plan_set_record(plan, libspawn__store_address(host->store),
                             record);
    if (config->start_timeout_ms) {
        libspawn_plan_set_timeouts(plan, config->start_timeout_ms,
                                   LIBSPAWN__DM_STOP_MS);
    }
    create->restricted.writes_files = libspawn__qemu_writes_files(create);
    libspawn__restrict_fill_plan(&create->restricted, config, program,
                                 LIBSPAWN__RESTRICT_BY_PLAN, plan);
    return 0;
}

static int
start_program(struct libspawn_create *create, const char *program,
              const struct libspawn__dm_support *support,
              struct libspawn_err *err)
{
    int serials[LIBSPAWN__DM_SERIALS_MAX] = { -1, -1, -1, -1 };
    AUTO_FREE char *qmp_path =
        libspawn__qemu_guest_file(create->host, create->domid, "qmp");
    struct libspawn_plan *plan = libspawn_plan_new();
    struct libspawn__qemu_handed handed = { .n_fds = 0 };
    int rc;
    size_t i;

    if (!plan || !qmp_path) {
        libspawn_plan_free(plan);
        return libspawn__fail_nomem(err);
    }
    rc = fill_plan(create, program, support, plan, err);
    if (!rc) {
        rc = libspawn__serials_listen(create, plan, libspawn__qemu_serial_path,
                                      serials, err);
    }
    if (!rc && is_handed(create)) {
        rc = libspawn__qemu_hand_files(create, plan, &handed, err);
    }
    if (!rc) {
        rc = libspawn__qemu_hand_taps(create, plan, &handed, err);
    }
    if (!rc) {
        rc = libspawn__create_start_dm(create, plan, qmp_path, err);
    }
    libspawn_plan_free(plan);
    libspawn__qemu_handed_dispose(&handed);
    for (i = 0; i < ARRAY_SIZE(serials); i++) {
        libspawn__auto_close(&serials[i]);
    }
    if (rc) {
        libspawn__serials_undo(create);
    }
    return rc;
}

static int
start_device_model(struct libspawn_create *create, struct libspawn_err *err)
{
    AUTO_FREE char *program = NULL;
    int rc = libspawn__qemu_find_program(create->config, &program, err);

    if (!rc) {
        rc = libspawn__confine_choose(create, err);
    }
    return rc ? rc
              : libspawn__confine_probe(create, program, start_program, err);
}

/* ---- Display ----------------------------------------------------------- */

static void
on_password_set(void *user, const struct libspawn__json *result,
                const struct libspawn_err *err)
{
    (void)result;
    if (!err || err->code != LIBSPAWN_ERR_GONE) {
        libspawn__create_step_done(user, err);
    }
}

static int
set_vnc_password(struct libspawn_create *create, struct libspawn_err *err)
{
    AUTO_FREE char *arguments = NULL;
    int rc;

    if (!create->config->vnc.password) {
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

#define DEVICE_MODEL_STEPS                                                    \
    { "reserving its PCI devices", reserve_pci, NULL },                       \
        { "starting the device model", start_device_model,                    \
          libspawn__create_undo_dm },                                         \
        { "waiting for the device model", libspawn__create_await_dm,          \
          libspawn__create_undo_dm },                                         \
    {                                                                         \
        "setting the VNC password", set_vnc_password, NULL                    \
    }

const struct libspawn__step libspawn__qemu_steps[] = {
    { "checking its files", check_files, NULL },
    { "choosing a domain id", choose_domid, NULL },
    { "making its directory and nodes", make_files_and_nodes,
      undo_files_and_nodes },
    DEVICE_MODEL_STEPS,
    { NULL, NULL, NULL },
};

const struct libspawn__step libspawn__qemu_steps_again[] = {
    { "checking its files", check_files, NULL },
    DEVICE_MODEL_STEPS,
    { NULL, NULL, NULL },
};
