/*
 * Sources: docs/misc/xenstore-paths.pandoc in the Xen tree, and what the
 * stock tools leave in the store.
 */
#include "guest/xen/nodes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "guest/names.h"
#include "guest/serials.h"
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

/* In place of whatever there was. */
static void
renew(struct libspawn__tree *tree, const char *dir,
      enum libspawn__tree_right right)
{
    libspawn__tree_discard(tree, dir, NULL);
    libspawn__tree_make(tree, dir, NULL, right);
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

    libspawn__tree_put(tree, dir, "vm", dirs->vm);
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
    renew(tree, dir, LIBSPAWN__TREE_READABLE);
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

/* ---- Backends ---------------------------------------------------------- */

static const char backends[] = "/local/domain/0/backend";

/* Of one kind, as "vkbd".  True when no other guest has such a device: then
 * nothing is left of the directory. */
static bool
remove_backends_of_kind(struct libspawn__tree *tree, const char *kind)
{
    AUTO_FREE char *dir = libspawn__str_format("%s/%s", backends, kind);
    AUTO_FREE char *own = libspawn__str_format("%" PRIu32, tree->domid);
    AUTO_STRV struct libspawn__strv domains = { 0 };
    size_t i;

    if (!dir || !own) {
        tree->rc = libspawn__fail_nomem(tree->err);
    }
    if (tree->rc || libspawn__store_list(tree->store, tree->txn, dir, &domains,
                                         NULL)) {
        return false;
    }
    for (i = 0; i < domains.n_items; i++) {
        if (strcmp(domains.items[i], own) == 0) {
            bool is_only = domains.n_items == 1;

            libspawn__tree_discard(tree, dir, is_only ? NULL : own);
            return is_only;
        }
    }
    return domains.n_items == 0;
}

/* In a transaction: what is empty now may be in use in a moment. */
static void
remove_backends(struct libspawn__tree *tree)
{
    AUTO_STRV struct libspawn__strv kinds = { 0 };
    size_t n_left = 0;
    size_t i;

    if (tree->rc || libspawn__store_list(tree->store, tree->txn, backends,
                                         &kinds, NULL)) {
        return;
    }
    for (i = 0; i < kinds.n_items; i++) {
        n_left += remove_backends_of_kind(tree, kinds.items[i]) ? 0 : 1;
    }
    if (kinds.n_items && !n_left) {
        libspawn__tree_discard(tree, backends, NULL);
    }
}

static void
write_devices(struct libspawn__tree *tree,
              const struct libspawn__xen_guest *guest, const char *vm)
{
    const struct libspawn_guest_config *config = guest->config;
    bool is_hvm = guest->type == LIBSPAWN_GUEST_TYPE_HVM;
    size_t i;

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

/* ---- All of it --------------------------------------------------------- */

static bool
name_guest_dirs(struct libspawn__tree *tree,
                const struct libspawn__xen_guest *guest, struct dirs *dirs)
{
    dirs->vm = libspawn__path_vm(guest->uuid);
    if (!name_dirs(tree, dirs) || !dirs->vm) {
        tree->rc = libspawn__fail_nomem(tree->err);
    }
    return !tree->rc;
}

/* What the device model's watcher writes into is made here too: two that make
 * nodes in one directory at a time conflict, and a transaction runs again. */
static void
make_all(struct libspawn__tree *tree, const void *user)
{
    const struct libspawn__xen_guest *guest = user;
    AUTO(dirs_dispose) struct dirs dirs = { 0 };

    if (!name_guest_dirs(tree, guest, &dirs)) {
        return;
    }
    renew(tree, dirs.domain, LIBSPAWN__TREE_READABLE);
    libspawn__tree_put(tree, dirs.domain, "name", guest->config->name);
    libspawn__tree_put(tree, dirs.domain, "image", "");
    renew(tree, dirs.own, LIBSPAWN__TREE_PRIVATE);
    libspawn__tree_put(tree, dirs.own, "libspawn", "");
}

int
libspawn__xen_nodes_make(struct libspawn__xen *xen,
                         const struct libspawn__xen_guest *guest,
                         struct libspawn_err *err)
{
    return libspawn__tree_run(xen->store, guest->domid, make_all, guest, err);
}

static void
write_all(struct libspawn__tree *tree, const void *user)
{
    const struct libspawn__xen_guest *guest = user;
    AUTO(dirs_dispose) struct dirs dirs = { 0 };

    if (!name_guest_dirs(tree, guest, &dirs)) {
        return;
    }
    write_basics(tree, guest, &dirs);
    write_resources(tree, guest, dirs.domain);
    if (guest->type == LIBSPAWN_GUEST_TYPE_HVM) {
        write_platform(tree, guest, dirs.domain);
    }
    write_vm(tree, guest, dirs.vm);
    write_own(tree, guest, dirs.own);
    renew(tree, dirs.dm, LIBSPAWN__TREE_PRIVATE);
    remove_backends(tree);
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

/* The guest's path in /vm, if it has one; else NULL. */
static char *
find_vm(struct libspawn__tree *tree)
{
    AUTO_FREE char *uuid = NULL;

    return !libspawn__name_read_uuid(tree->store, tree->txn, tree->domid,
                                     &uuid, NULL) &&
                   uuid
               ? libspawn__path_vm(uuid)
               : NULL;
}

static void
remove_all(struct libspawn__tree *tree, const void *user)
{
    AUTO(dirs_dispose) struct dirs dirs = { 0 };

    (void)user;
    if (!name_dirs(tree, &dirs)) {
        return;
    }
    dirs.vm = find_vm(tree);
    if (dirs.vm) {
        libspawn__tree_discard(tree, dirs.vm, NULL);
    }
    remove_backends(tree);
    libspawn__tree_discard(tree, dirs.dm, NULL);
    libspawn__tree_discard(tree, dirs.own, NULL);
    libspawn__tree_discard(tree, dirs.domain, NULL);
}

int
libspawn__xen_nodes_remove(struct libspawn__xen *xen, uint32_t domid,
                           struct libspawn_err *err)
{
    libspawn__serials_remove(xen->store, domid);
    return libspawn__tree_run(xen->store, domid, remove_all, NULL, err);
}
