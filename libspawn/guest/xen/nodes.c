/*
 * Sources: docs/misc/xenstore-paths.pandoc in the Xen tree, and what the
 * stock tools leave in the store.
 */
#include "guest/xen/nodes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/util.h"
#include "guest/xen/device.h"
#include "guest/xen/firmware.h"
#include "guest/xen/nic.h"
#include "store/paths.h"

enum {
    NAME_SIZE = 64,
    CONSOLE_LIMIT = 1048576
};

/* The directories of one guest; NULL without memory. */
struct dirs {
    char *domain;
    char *vm; /* NULL: none is known */
    char *own;
    char *dm;
};

static void
dirs_dispose(struct dirs *dirs)
{
    free(dirs->domain);
    free(dirs->vm);
    free(dirs->own);
    free(dirs->dm);
}

/* False, and a failed tree, without memory. */
static bool
name_dirs(struct libspawn__tree *tree, struct dirs *dirs)
{
    dirs->domain = libspawn__path_new(LIBSPAWN__PATH_DOMAIN, tree->domid);
    dirs->own = libspawn__path_new(LIBSPAWN__PATH_LIBXL, tree->domid);
    dirs->dm = libspawn__path_new(LIBSPAWN__PATH_DM, tree->domid);
    if (!dirs->domain || !dirs->own || !dirs->dm) {
        tree->rc = libspawn__fail_nomem(tree->err);
    }
    return !tree->rc;
}

const char *
libspawn__xen_nodes_type_word(enum libspawn_guest_type type)
{
    static const char *const words[] = {
        [LIBSPAWN_GUEST_TYPE_DEFAULT] = "pv",
        [LIBSPAWN_GUEST_TYPE_HVM] = "hvm",
        [LIBSPAWN_GUEST_TYPE_PVH] = "pvh",
        [LIBSPAWN_GUEST_TYPE_PV] = "pv",
    };

    return words[type];
}

/* ---- What the guest sees ----------------------------------------------- */

/* Empty nodes that the guest fills. */
static const struct {
    const char *name;
    bool is_hvm_only;
} guests_own[] = {
    { "device/suspend/event-channel", false },
    { "control/shutdown", false },
    { "control/feature-poweroff", false },
    { "control/feature-reboot", false },
    { "control/feature-suspend", false },
    { "control/feature-s3", true },
    { "control/feature-s4", true },
    { "control/sysrq", false },
    { "data", false },
    { "drivers", false },
    { "feature", false },
    { "attr", false },
    { "error", false },
};

static void
write_basics(struct libspawn__tree *tree,
             const struct libspawn__xen_guest *guest, const struct dirs *dirs)
{
    const char *dir = dirs->domain;
    bool is_hvm = guest->type == LIBSPAWN_GUEST_TYPE_HVM;
    size_t i;

    libspawn__tree_remove(tree, dir);
    libspawn__tree_make(tree, dir, NULL, LIBSPAWN__TREE_READABLE);
    libspawn__tree_put(tree, dir, "vm", dirs->vm);
    libspawn__tree_put(tree, dir, "name", guest->config->name);
    libspawn__tree_printf(tree, dir, "domid", "%" PRIu32, guest->domid);
    for (i = 0; i < ARRAY_SIZE(guests_own); i++) {
        if (is_hvm || !guests_own[i].is_hvm_only) {
            libspawn__tree_make(tree, dir, guests_own[i].name,
                                LIBSPAWN__TREE_GUEST);
        }
    }
    libspawn__tree_put(tree, dir,
                       "control/platform-feature-multiprocessor-suspend", "1");
    libspawn__tree_put(tree, dir, "control/platform-feature-xs_reset_watches",
                       "1");
    libspawn__tree_printf(tree, dir, "store/port", "%" PRIu32,
                          guest->store_port);
    libspawn__tree_printf(tree, dir, "store/ring-ref", "%" PRIu64,
                          guest->store_frame);
}

static void
write_resources(struct libspawn__tree *tree,
                const struct libspawn__xen_guest *guest, const char *dir)
{
    uint32_t i;

    for (i = 0; i < guest->n_vcpus_max; i++) {
        char name[NAME_SIZE];

        snprintf(name, sizeof name, "cpu/%" PRIu32 "/availability", i);
        libspawn__tree_put(tree, dir, name,
                           i < guest->n_vcpus ? "online" : "offline");
    }
    libspawn__tree_printf(tree, dir, "memory/static-max", "%" PRIu64,
                          guest->memory.max_kib);
    libspawn__tree_printf(tree, dir, "memory/target", "%" PRIu64,
                          guest->memory.balloon_kib);
    libspawn__tree_printf(tree, dir, "memory/videoram", "%" PRIu64,
                          guest->memory.video_kib);
}

/* For hvmloader, which makes the ACPI tables. */
static void
write_platform(struct libspawn__tree *tree,
               const struct libspawn__xen_guest *guest, const char *dir)
{
    bool acpi = libspawn__xen_choice(guest->config->acpi, true);

    libspawn__tree_put(tree, dir, "hvmloader/bios",
                       libspawn__xen_firmware_kind(guest->config->firmware));
    libspawn__tree_put(tree, dir, "hvmloader/allow-memory-relocate", "0");
    libspawn__tree_put(tree, dir, "platform/acpi", acpi ? "1" : "0");
    libspawn__tree_put(tree, dir, "platform/acpi_s3", "1");
    libspawn__tree_put(tree, dir, "platform/acpi_s4", "1");
    libspawn__tree_put(tree, dir, "platform/acpi_laptop_slate", "0");
    libspawn__tree_put(tree, dir, "platform/device-model", "qemu_xen");
}

/* ---- What is beside it ------------------------------------------------- */

static void
write_vm(struct libspawn__tree *tree, const struct libspawn__xen_guest *guest,
         const char *dir)
{
    bool is_hvm = guest->type == LIBSPAWN_GUEST_TYPE_HVM;
    struct timespec now = { 0 };

    clock_gettime(CLOCK_REALTIME, &now);
    libspawn__tree_remove(tree, dir);
    libspawn__tree_make(tree, dir, NULL, LIBSPAWN__TREE_READABLE);
    libspawn__tree_put(tree, dir, "uuid", guest->uuid);
    libspawn__tree_put(tree, dir, "name", guest->config->name);
    libspawn__tree_printf(tree, dir, "start_time", "%jd.%02ld",
                          (intmax_t)now.tv_sec, now.tv_nsec / 10000000);
    if (is_hvm) {
        libspawn__tree_put(tree, dir, "rtc/timeoffset", "");
        libspawn__tree_put(tree, dir, "image/ostype", "hvm");
    }
}

static void
write_own(struct libspawn__tree *tree, const struct libspawn__xen_guest *guest,
          const char *dir)
{
    libspawn__tree_remove(tree, dir);
    libspawn__tree_make(tree, dir, NULL, LIBSPAWN__TREE_PRIVATE);
    libspawn__tree_put(tree, dir, "device", "");
    libspawn__tree_put(tree, dir, "type",
                       libspawn__xen_nodes_type_word(guest->type));
    libspawn__tree_put(tree, dir, "dm-version", "qemu_xen");
}

static void
write_console(struct libspawn__tree *tree,
              const struct libspawn__xen_guest *guest)
{
    AUTO_XEN_DEVICE struct libspawn__xen_device d = {
        .domid = guest->domid,
        .kind = "console",
        .backend_kind = "console",
        .is_own_brief = true,
    };

    libspawn__xen_device_add(&d, &d.back, "frontend-id", "%" PRIu32, d.domid);
    libspawn__xen_device_add(&d, &d.back, "online", "1");
    libspawn__xen_device_add(&d, &d.back, "state", "%d",
                             LIBSPAWN__XEN_DEVICE_INITIALISING);
    libspawn__xen_device_add(&d, &d.back, "protocol", "vt100");
    libspawn__xen_device_add(&d, &d.front_fixed, "backend-id", "0");
    libspawn__xen_device_add(&d, &d.front_fixed, "limit", "%d", CONSOLE_LIMIT);
    libspawn__xen_device_add(&d, &d.front_fixed, "type", "xenconsoled");
    libspawn__xen_device_add(&d, &d.front_fixed, "output", "pty");
    libspawn__xen_device_add(&d, &d.front_fixed, "tty", "%s", "");
    libspawn__xen_device_add(&d, &d.front_fixed, "port", "%" PRIu32,
                             guest->console_port);
    libspawn__xen_device_add(&d, &d.front_fixed, "ring-ref", "%" PRIu64,
                             guest->console_frame);
    libspawn__xen_device_write(tree, &d);
}

/* The paravirtual keyboard that every HVM guest has. */
static void
write_keyboard(struct libspawn__tree *tree,
               const struct libspawn__xen_guest *guest)
{
    AUTO_XEN_DEVICE struct libspawn__xen_device d = {
        .domid = guest->domid,
        .kind = "vkbd",
        .backend_kind = "vkbd",
        .is_own_brief = true,
    };

    libspawn__xen_device_add(&d, &d.back, "frontend-id", "%" PRIu32, d.domid);
    libspawn__xen_device_add(&d, &d.back, "online", "1");
    libspawn__xen_device_add(&d, &d.back, "state", "%d",
                             LIBSPAWN__XEN_DEVICE_INITIALISING);
    libspawn__xen_device_add(&d, &d.front, "backend-id", "0");
    libspawn__xen_device_add(&d, &d.front, "state", "%d",
                             LIBSPAWN__XEN_DEVICE_INITIALISING);
    libspawn__xen_device_write(tree, &d);
}

/* Removes a directory that has become empty. */
static void
prune(struct libspawn__tree *tree, const char *dir)
{
    AUTO_STRV struct libspawn__strv left = { 0 };

    if (!tree->rc &&
        !libspawn__store_list(tree->store, tree->txn, dir, &left, NULL) &&
        left.n_items == 0) {
        libspawn__tree_remove(tree, dir);
    }
}

static void
remove_backends(struct libspawn__tree *tree)
{
    static const char all[] = "/local/domain/0/backend";
    AUTO_STRV struct libspawn__strv kinds = { 0 };
    bool was_any = false;
    size_t i;

    if (tree->rc ||
        libspawn__store_list(tree->store, tree->txn, all, &kinds, NULL)) {
        return;
    }
    for (i = 0; i < kinds.n_items; i++) {
        AUTO_FREE char *dir =
            libspawn__str_format("%s/%s", all, kinds.items[i]);
        AUTO_FREE char *path =
            dir ? libspawn__str_format("%s/%" PRIu32, dir, tree->domid) : NULL;

        if (path && libspawn__tree_remove(tree, path)) {
            prune(tree, dir);
            was_any = true;
        }
    }
    if (was_any) {
        prune(tree, all);
    }
}

static void
write_devices(struct libspawn__tree *tree,
              const struct libspawn__xen_guest *guest, const char *vm)
{
    const struct libspawn_guest_config *config = guest->config;
    bool is_hvm = guest->type == LIBSPAWN_GUEST_TYPE_HVM;
    size_t i;

    remove_backends(tree);
    write_console(tree, guest);
    if (is_hvm) {
        write_keyboard(tree, guest);
    }
    for (i = 0; i < config->n_disks; i++) {
        libspawn__xen_disk_write(tree, &guest->disks[i], vm);
    }
    for (i = 0; i < config->n_nics; i++) {
        if (libspawn__xen_nic_has_backend(&config->nics[i])) {
            libspawn__xen_nic_write(tree, &config->nics[i], (uint32_t)i,
                                    guest->uuid, is_hvm);
        }
    }
}

static void
write_all(struct libspawn__tree *tree, const void *user)
{
    const struct libspawn__xen_guest *guest = user;
    AUTO(dirs_dispose) struct dirs dirs = { 0 };

    dirs.vm = libspawn__path_vm(guest->uuid);
    if (!name_dirs(tree, &dirs) || !dirs.vm) {
        tree->rc = libspawn__fail_nomem(tree->err);
        return;
    }
    write_basics(tree, guest, &dirs);
    write_resources(tree, guest, dirs.domain);
    if (guest->type == LIBSPAWN_GUEST_TYPE_HVM) {
        write_platform(tree, guest, dirs.domain);
    }
    write_vm(tree, guest, dirs.vm);
    write_own(tree, guest, dirs.own);
    libspawn__tree_remove(tree, dirs.dm);
    libspawn__tree_make(tree, dirs.dm, NULL, LIBSPAWN__TREE_PRIVATE);
    write_devices(tree, guest, dirs.vm);
}

int
libspawn__xen_nodes_write(struct libspawn__xen *xen,
                          const struct libspawn__xen_guest *guest,
                          struct libspawn_err *err)
{
    return libspawn__tree_run(xen->store, guest->domid, write_all, guest, err);
}

int
libspawn__xen_nodes_introduce(struct libspawn__xen *xen,
                              const struct libspawn__xen_guest *guest,
                              struct libspawn_err *err)
{
    return libspawn__store_introduce(
        xen->store, guest->domid, guest->store_frame, guest->store_port, err);
}

/* ---- Removal ----------------------------------------------------------- */

/* The guest's path in /vm, when it looks like one; else NULL. */
static char *
read_vm(struct libspawn__tree *tree)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_DOMAIN_VM, tree->domid);
    AUTO_FREE char *vm = NULL;

    if (!path ||
        libspawn__store_read(tree->store, tree->txn, path, &vm, NULL, NULL)) {
        return NULL;
    }
    return libspawn__str_has_prefix(vm, "/vm/") && vm[4] ? TAKE_PTR(vm) : NULL;
}

/* Nobody minds seeing a part of it gone, so there is no transaction; the name
 * goes last. */
int
libspawn__xen_nodes_remove(struct libspawn__xen *xen, uint32_t domid,
                           struct libspawn_err *err)
{
    struct libspawn__tree plain = { .store = xen->store,
                                    .domid = domid,
                                    .err = err };
    struct libspawn__tree *tree = &plain;
    AUTO(dirs_dispose) struct dirs dirs = { 0 };

    if (!name_dirs(tree, &dirs)) {
        return tree->rc;
    }
    dirs.vm = read_vm(tree);
    if (dirs.vm) {
        libspawn__tree_remove(tree, dirs.vm);
    }
    remove_backends(tree);
    libspawn__tree_remove(tree, dirs.dm);
    libspawn__tree_remove(tree, dirs.own);
    libspawn__tree_remove(tree, dirs.domain);
    return tree->rc;
}
