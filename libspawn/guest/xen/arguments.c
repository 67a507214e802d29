/*
 * Sources: QEMU's own documentation of its options; hw/i386/xen and
 * hw/block/xen-block.c there; what the stock tools pass.
 */
#include "guest/xen/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "dm/probe.h"
#include "dm/serial.h"
#include "guest/xen/files.h"
#include "guest/xen/nic.h"
#include "store/paths.h"

/* ---- The program ------------------------------------------------------- */

static const char *const programs[] = {
    "/usr/libexec/xen-qemu-system-i386",
    "/usr/lib/xen/bin/qemu-system-i386",
    "/usr/libexec/xen/bin/qemu-system-i386",
    "/usr/local/lib/xen/bin/qemu-system-i386",
};

int
libspawn__xen_dm_find_program(const struct libspawn__xen *xen,
                              const char *override, char **path_r,
                              struct libspawn_err *err)
{
    AUTO_FREE char *own =
        libspawn__str_format("/usr/lib/xen-%u.%u/bin/qemu-system-i386",
                             xen->version_major, xen->version_minor);
    size_t i;

    if (override) {
        return libspawn__str_assign(path_r, override, err);
    }
    for (i = 0; i < ARRAY_SIZE(programs); i++) {
        if (access(programs[i], X_OK) == 0) {
            return libspawn__str_assign(path_r, programs[i], err);
        }
    }
    if (own && access(own, X_OK) == 0) {
        *path_r = TAKE_PTR(own);
        return 0;
    }
    return libspawn__fail(
        err, LIBSPAWN_ERR_NOT_FOUND,
        "no device model is installed: there is neither '%s' "
        "nor '%s' (Debian: package qemu-system-xen)",
        programs[0], programs[1]);
}

/* ---- Restriction ------------------------------------------------------- */

static void
fail_unsupported(struct libspawn__args *args, const char *what)
{
    libspawn__fail(&args->err, LIBSPAWN_ERR_UNSUPPORTED,
                   "the device model cannot %s (dm_restrict, "
                   "device_model_user): it is not a QEMU for Xen of version "
                   "3.0 or later",
                   what);
}

/* What newer ones say in one option, older ones say in two. */
static void
add_user(struct libspawn__args *args, unsigned int features, uint32_t uid,
         uint32_t gid)
{
    if (features & LIBSPAWN__DM_RUN_WITH_USER) {
        libspawn__args_option(args, "-run-with", "user=%" PRIu32 ":%" PRIu32,
                              uid, gid);
    } else if (features & LIBSPAWN__DM_RUNAS) {
        libspawn__args_option(args, "-runas", "%" PRIu32 ":%" PRIu32, uid,
                              gid);
    } else {
        fail_unsupported(args, "change its user");
    }
}

static void
add_root(struct libspawn__args *args, unsigned int features)
{
    AUTO_FREE char *path = libspawn__xen_files_root_path(args->domid);

    if (features & LIBSPAWN__DM_RUN_WITH_CHROOT) {
        libspawn__args_option(args, "-run-with", "chroot=%s",
                              path ? path : "");
    } else if (features & LIBSPAWN__DM_CHROOT) {
        libspawn__args_option(args, "-chroot", "%s", path ? path : "");
    } else {
        fail_unsupported(args, "change its root directory");
    }
}

void
libspawn__xen_dm_add_restrictions(const struct libspawn__restrict *restricted,
                                  const struct libspawn__dm_support *support,
                                  struct libspawn__args *args)
{
    /* One that did not answer in time gets the options of most: without them
     * it ends by itself, so nothing is less confined by the guess. */
    unsigned int features = *support->version
                                ? support->features
                                : LIBSPAWN__DM_CHROOT | LIBSPAWN__DM_RUNAS |
                                      LIBSPAWN__DM_XEN_DOMID_RESTRICT;

    if (restricted->is_on) {
        if (features & LIBSPAWN__DM_SANDBOX) {
            libspawn__args_option(args, "-sandbox",
                                  LIBSPAWN__DM_SANDBOX_WITH_USER);
        }
        if (features & LIBSPAWN__DM_XEN_DOMID_RESTRICT) {
            libspawn__args_add(args, "-xen-domid-restrict");
        } else {
            fail_unsupported(args, "restrict itself to one domain");
        }
        add_root(args, features);
    }
    if (restricted->has_user) {
        add_user(args, features, restricted->uid, restricted->gid);
    }
}

/* ---- Groups ------------------------------------------------------------ */

static void
add_monitors(struct libspawn__args *args)
{
    static const char *const names[] = { "libxl", "libxenstat" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        libspawn__args_option(args, "-chardev",
                              "socket,id=%s-cmd,path=" LIBSPAWN__XEN_RUN_DIR
                              "/qmp-%s-%" PRIu32 ",server=on,wait=off",
                              names[i], names[i], args->domid);
        libspawn__args_option(args, "-mon", "chardev=%s-cmd,mode=control",
                              names[i]);
    }
}

/* XSA-119: QEMU must never choose a display by itself. */
static void
add_display(struct libspawn__args *args)
{
    const struct libspawn_vnc *vnc = &args->config->vnc;
    AUTO_FREE char *address =
        libspawn__args_escape(vnc->listen ? vnc->listen : "127.0.0.1");

    if (vnc->enable == LIBSPAWN_CHOICE_NO) {
        libspawn__args_option(args, "-vnc", "none");
    } else {
        libspawn__args_option(
            args, "-vnc", "%s:%" PRIu32 "%s%s", address ? address : "",
            vnc->display, vnc->password ? ",password=on" : "",
            libspawn__xen_choice(vnc->find_unused, true) ? ",to=99" : "");
    }
    libspawn__args_option(args, "-display", "%s",
                          args->config->sdl == LIBSPAWN_CHOICE_YES ? "sdl"
                                                                   : "none");
    if (args->config->keymap) {
        libspawn__args_option(args, "-k", "%s", args->config->keymap);
    }
}

static void
add_card(struct libspawn__args *args,
         const struct libspawn__xen_memory *memory)
{
    const char *vga = args->config->vga ? args->config->vga : "cirrus";
    uint64_t mib = memory->video_kib / 1024;

    if (strcmp(vga, "stdvga") == 0) {
        libspawn__args_option(args, "-device", "VGA,vgamem_mb=%" PRIu64, mib);
    } else if (strcmp(vga, "qxl") == 0) {
        libspawn__args_option(args, "-device",
                              "qxl-vga,vram_size_mb=%" PRIu64
                              ",ram_size_mb=%" PRIu64,
                              mib / 2, mib / 2);
    } else if (strcmp(vga, "none") != 0) {
        libspawn__args_option(args, "-device", "cirrus-vga,vgamem_mb=%" PRIu64,
                              mib);
    }
}

/* "pty" makes QEMU open a terminal of its own, whose name the stock tools
 * find in the store. */
static void
add_serials(struct libspawn__args *args)
{
    size_t i;

    for (i = 0; i < args->config->n_serials; i++) {
        libspawn__serial_add_args(args, i, false);
    }
}

static void
add_processors(struct libspawn__args *args,
               const struct libspawn__xen_guest *guest)
{
    if (guest->n_vcpus_max > 1) {
        libspawn__args_option(args, "-smp", "%" PRIu32 ",maxcpus=%" PRIu32,
                              guest->n_vcpus, guest->n_vcpus_max);
    }
    if (!libspawn__xen_choice(args->config->acpi, true)) {
        libspawn__args_add(args, "-no-acpi");
    }
}

static void
add_machine(struct libspawn__args *args,
            const struct libspawn__xen_guest *guest)
{
    bool has_platform_device =
        libspawn__xen_choice(args->config->xen_platform_pci, true);

    libspawn__args_option(args, "-machine", "%s,suppress-vmdesc=on",
                          has_platform_device ? "xenfv" : "pc,accel=xen");
    libspawn__args_option(args, "-m", "%" PRIu64,
                          (guest->memory.max_kib - guest->memory.video_kib) /
                              1024);
}

/* ---- Network ----------------------------------------------------------- */

static void
add_nic(struct libspawn__args *args, const struct libspawn__xen_guest *guest,
        uint32_t index)
{
    const struct libspawn_nic *nic = &args->config->nics[index];
    AUTO_FREE char *model =
        libspawn__args_escape(nic->model ? nic->model : "rtl8139");
    char mac[LIBSPAWN__XEN_MAC_SIZE];

    libspawn__xen_nic_mac(nic, guest->uuid, index, mac);
    if (libspawn__xen_nic_has_backend(nic)) {
        char name[LIBSPAWN__XEN_INTERFACE_SIZE];

        libspawn__xen_nic_interface(args->domid, index, true, name);
        libspawn__args_option(args, "-netdev",
                              "type=tap,id=net%" PRIu32 ",ifname=%s,"
                              "script=no,downscript=no",
                              index, name);
    } else {
        libspawn__args_option(args, "-netdev", "type=user,id=net%" PRIu32,
                              index);
    }
    libspawn__args_option(args, "-device",
                          "%s,id=nic%" PRIu32 ",netdev=net%" PRIu32 ",mac=%s",
                          model ? model : "", index, index, mac);
}

static void
add_nics(struct libspawn__args *args, const struct libspawn__xen_guest *guest)
{
    bool has_any = false;
    uint32_t i;

    for (i = 0; i < args->config->n_nics; i++) {
        if (libspawn__xen_nic_is_emulated(&args->config->nics[i], true)) {
            add_nic(args, guest, i);
            has_any = true;
        }
    }
    if (!has_any) {
        libspawn__args_option(args, "-net", "none");
    }
}

/* ---- Disks ------------------------------------------------------------- */

enum {
    N_IDE_DISKS = 4
};

static const char *
format_word(const struct libspawn__xen_disk *disk)
{
    static const char *const words[] = {
        [LIBSPAWN_DISK_RAW] = "raw",     [LIBSPAWN_DISK_QCOW] = "qcow",
        [LIBSPAWN_DISK_QCOW2] = "qcow2", [LIBSPAWN_DISK_QED] = "qed",
        [LIBSPAWN_DISK_VHD] = "vpc",     [LIBSPAWN_DISK_EMPTY] = "raw",
    };

    return words[disk->config->format];
}

/* What QEMU opens: the target, or the block device that a script made of it.
 * NULL when there is none, or no memory. */
static char *
find_file(struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
          const struct libspawn__xen_disk *disk)
{
    AUTO_FREE char *backend = NULL;
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *file = NULL;

    if (!disk->needs_script) {
        return disk->config->target
                   ? libspawn__args_escape(disk->config->target)
                   : NULL;
    }
    backend =
        libspawn__path_backend(0, "vbd", guest->domid, disk->vdev.xen_id);
    path = backend ? libspawn__str_format("%s/physical-device-path", backend)
                   : NULL;
    if (!path ||
        libspawn__store_read(xen->store, NULL, path, &file, NULL, NULL)) {
        return NULL;
    }
    return libspawn__args_escape(file);
}

static void
add_cdrom(struct libspawn__args *args, const struct libspawn__xen_disk *disk,
          const char *file)
{
    uint32_t id = disk->vdev.xen_id;

    if (file) {
        libspawn__args_option(args, "-drive",
                              "if=none,readonly=on,id=ide-%" PRIu32
                              ",file=%s,format=%s",
                              id, file, format_word(disk));
    } else {
        libspawn__args_option(args, "-drive",
                              "if=none,readonly=on,id=ide-%" PRIu32, id);
    }
    libspawn__args_option(args, "-device",
                          "ide-cd,id=ide-%" PRIu32 ",drive=ide-%" PRIu32
                          ",bus=ide.%u,unit=%u",
                          id, id, disk->vdev.disk / 2, disk->vdev.disk % 2);
}

static void
add_scsi(struct libspawn__args *args, const struct libspawn__xen_disk *disk,
         const char *file)
{
    libspawn__args_option(args, "-drive",
                          "file=%s,if=none,id=scsidisk-%u,format=%s,"
                          "readonly=%s,cache=writeback",
                          file, disk->vdev.disk, format_word(disk),
                          disk->config->read_only ? "on" : "off");
    libspawn__args_option(args, "-device",
                          "scsi-hd,drive=scsidisk-%u,scsi-id=%u",
                          disk->vdev.disk, disk->vdev.disk);
}

static void
add_ide(struct libspawn__args *args, const struct libspawn__xen_disk *disk,
        const char *file)
{
    if (disk->config->read_only) {
        libspawn__fail(&args->err, LIBSPAWN_ERR_UNSUPPORTED,
                       "disk '%s': an emulated IDE disk cannot be read-only; "
                       "name it 'sda' or so",
                       disk->config->vdev);
        return;
    }
    libspawn__args_option(args, "-drive",
                          "file=%s,if=ide,index=%u,media=disk,format=%s,"
                          "cache=writeback",
                          file, disk->vdev.disk, format_word(disk));
}

/* A partition, a disk beyond the fourth, or one without a file has no
 * emulated twin: only the paravirtual one. */
static void
add_disk(struct libspawn__args *args, const struct libspawn__xen_disk *disk,
         const char *file)
{
    bool is_scsi = disk->vdev.bus == LIBSPAWN__VDEV_SCSI;
    bool is_other = disk->vdev.bus == LIBSPAWN__VDEV_OTHER;

    if (disk->vdev.partition || is_other ||
        (!is_scsi && disk->vdev.disk >= N_IDE_DISKS)) {
        return;
    }
    if (disk->config->is_cdrom) {
        add_cdrom(args, disk, file);
    } else if (!file) {
        return;
    } else if (is_scsi) {
        add_scsi(args, disk, file);
    } else {
        add_ide(args, disk, file);
    }
}

static void
add_disks(struct libspawn__xen *xen, struct libspawn__args *args,
          const struct libspawn__xen_guest *guest)
{
    bool has_controller = false;
    size_t i;

    for (i = 0; i < args->config->n_disks; i++) {
        const struct libspawn__xen_disk *disk = &guest->disks[i];
        AUTO_FREE char *file = find_file(xen, guest, disk);

        if (!has_controller && !disk->config->is_cdrom &&
            disk->vdev.bus == LIBSPAWN__VDEV_SCSI) {
            libspawn__args_option(args, "-device", "lsi53c895a");
            has_controller = true;
        }
        add_disk(args, disk, file);
    }
}

void
libspawn__xen_dm_add_arguments(struct libspawn__xen *xen,
                               const struct libspawn__xen_guest *guest,
                               struct libspawn__args *args)
{
    libspawn__args_option(args, "-xen-domid", "%" PRIu32, guest->domid);
    libspawn__args_add(args, "-no-shutdown");
    libspawn__args_base(args);
    add_monitors(args);
    add_display(args);
    libspawn__args_boot(args);
    add_serials(args);
    add_card(args, &guest->memory);
    libspawn__args_usb(args);
    libspawn__args_sound(args);
    add_processors(args, guest);
    add_nics(args, guest);
    add_machine(args, guest);
    add_disks(xen, args, guest);
    libspawn__args_user(args);
}
