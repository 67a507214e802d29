/*
 * QEMU's argument vector where QEMU is the guest: the groups of dm/args.h and
 * those that only this backend has.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/qemu/qemu.h"

/* A /dev/kvm may exist, and open, where the processor has no virtualization;
 * guests hang there.  So the processor is asked too. */
static bool
has_kvm(void)
{
    AUTO_FREE char *cpuinfo = NULL;
    AUTO_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0 || libspawn__file_read("/proc/cpuinfo", 4 * 1024 * 1024,
                                      &cpuinfo, NULL, NULL)) {
        return false;
    }
    return strstr(cpuinfo, " vmx ") || strstr(cpuinfo, " svm ");
}

/* Guest memory stays out of core dumps, which otherwise hold its secrets. */
static void
machine(struct libspawn__args *args)
{
    enum libspawn_accel accel = args->config->accel;
    bool use_kvm = accel == LIBSPAWN_ACCEL_KVM ||
                   (accel == LIBSPAWN_ACCEL_DEFAULT && has_kvm());

    libspawn__args_option(
        args, "-machine", "pc,dump-guest-core=off%s%s",
        args->config->acpi == LIBSPAWN_CHOICE_NO ? ",acpi=off" : "",
        args->config->hpet == LIBSPAWN_CHOICE_NO ? ",hpet=off" : "");
    libspawn__args_option(args, "-accel", "%s", use_kvm ? "kvm" : "tcg");
    if (use_kvm) {
        libspawn__args_option(args, "-cpu", "host");
    }
    /* We say when it begins, not QEMU. */
    libspawn__args_add(args, "-S");
}

static void
memory_and_cpus(struct libspawn__args *args)
{
    const struct libspawn_guest_config *config = args->config;

    libspawn__args_option(args, "-m", "size=%lluM",
                          (unsigned long long)config->memory_mib);
    libspawn__args_option(args, "-smp", "cpus=%u,maxcpus=%u", config->vcpus,
                          MAX(config->vcpus, config->max_vcpus));
}

/* ---- Disks ------------------------------------------------------------- */

static const char *const format_names[] = {
    [LIBSPAWN_DISK_RAW] = "raw",     [LIBSPAWN_DISK_QCOW] = "qcow",
    [LIBSPAWN_DISK_QCOW2] = "qcow2", [LIBSPAWN_DISK_QED] = "qed",
    [LIBSPAWN_DISK_VHD] = "vpc",     [LIBSPAWN_DISK_EMPTY] = "raw",
};

/* Which of QEMU's buses a name of xl.cfg stands for. */
static const struct {
    const char *prefix;
    const char *interface;
    unsigned int n_units;
} buses[] = {
    { "hd", "ide", 4 },
    { "sd", "scsi", 7 },
    { "xvd", "virtio", 16 },
    { "vd", "virtio", 16 },
};

/* "if=ide,index=2": hda to hdd on IDE, sda... on SCSI, xvda... and vda... as
 * virtio.  A CD drive is always on IDE, as in the stock xl. */
static void
put_position(struct libspawn__buf *buf, const struct libspawn_disk *disk,
             struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(buses); i++) {
        size_t len = strlen(buses[i].prefix);
        unsigned int unit;

        if (strncmp(disk->vdev, buses[i].prefix, len) != 0) {
            continue;
        }
        unit = (unsigned int)(disk->vdev[len] - 'a');
        if (disk->vdev[len] < 'a' || disk->vdev[len + 1] ||
            unit >= buses[i].n_units) {
            break;
        }
        libspawn__buf_printf(buf, "if=%s,index=%u", buses[i].interface, unit);
        return;
    }
    libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                   "disk '%s': this host has hda to hdd, sda to sdg, xvda to "
                   "xvdp and vda to vdp",
                   disk->vdev);
}

/* Its descriptors, and the name by which QEMU finds them; 'escaped' is what
 * they were. */
static void
add_handed_disk(struct libspawn__args *args, const struct libspawn_disk *disk,
                const char *escaped, size_t index)
{
    unsigned int set = LIBSPAWN__DM_DISK_SET + (unsigned int)index;
    int fd = LIBSPAWN__DM_DISK_FD + 2 * (int)index;

    if (!disk->read_only && !disk->is_cdrom) {
        libspawn__args_option(args, "-add-fd", "fd=%d,set=%u,opaque=%s", fd,
                              set, escaped);
    }
    libspawn__args_option(args, "-add-fd", "fd=%d,set=%u,opaque=%s", fd + 1,
                          set, escaped);
}

static void
put_file(struct libspawn__args *args, struct libspawn__buf *buf,
         const struct libspawn_disk *disk, size_t index)
{
    AUTO_FREE char *file = libspawn__args_escape(disk->target);

    libspawn__buf_printf(buf, ",format=%s,file=", format_names[disk->format]);
    if (!file) {
        buf->failed = true;
    } else if (args->is_handed) {
        add_handed_disk(args, disk, file, index);
        libspawn__buf_printf(buf, "/dev/fdset/%u",
                             LIBSPAWN__DM_DISK_SET + (unsigned int)index);
    } else {
        libspawn__buf_puts(buf, file);
    }
}

/* The format is always said: guessing it would let a guest turn its raw disk
 * into an image that names other files (XSA-142, XSA-266). */
static void
add_disk(struct libspawn__args *args, size_t index)
{
    const struct libspawn_disk *disk = &args->config->disks[index];
    AUTO_BUF struct libspawn__buf buf = { 0 };

    put_position(&buf, disk, &args->err);
    if (disk->is_cdrom) {
        libspawn__buf_puts(&buf, ",media=cdrom");
    }
    if (disk->target && disk->format != LIBSPAWN_DISK_EMPTY) {
        put_file(args, &buf, disk, index);
        if (disk->read_only || disk->is_cdrom) {
            libspawn__buf_puts(&buf, ",readonly=on");
        }
        if (disk->discard == LIBSPAWN_CHOICE_YES) {
            libspawn__buf_puts(&buf, ",discard=unmap");
        }
    }
    if (buf.failed) {
        libspawn__fail_nomem(&args->err);
    } else {
        libspawn__args_option(args, "-drive", "%s", buf.data);
    }
}

static void
disks(struct libspawn__args *args)
{
    size_t i;

    for (i = 0; !args->err.code && i < args->config->n_disks; i++) {
        add_disk(args, i);
    }
}

/* ---- Firmware ---------------------------------------------------------- */

static void
add_flash(struct libspawn__args *args, unsigned int unit, const char *path,
          const char *how)
{
    if (args->is_handed) {
        libspawn__args_option(args, "-drive",
                              "if=pflash,unit=%u,format=raw%s,"
                              "file=/dev/fdset/%u",
                              unit, how, LIBSPAWN__DM_FIRMWARE_SET + unit);
    } else {
        libspawn__args_option(args, "-drive",
                              "if=pflash,unit=%u,format=raw%s,file=%s", unit,
                              how, path);
    }
}

/* QEMU runs in the directory of the guest, where its variables are. */
static void
add_uefi(struct libspawn__args *args,
         const struct libspawn__qemu_firmware *firmware)
{
    unsigned int i;

    for (i = 0; args->is_handed && i < LIBSPAWN__DM_FIRMWARE_FDS; i++) {
        libspawn__args_option(args, "-add-fd", "fd=%u,set=%u",
                              LIBSPAWN__DM_FIRMWARE_FD + i,
                              LIBSPAWN__DM_FIRMWARE_SET + (i > 0));
    }
    add_flash(args, 0, firmware->code, ",readonly=on");
    add_flash(args, 1, LIBSPAWN__QEMU_VARIABLES, "");
}

static void
firmware(struct libspawn__args *args)
{
    struct libspawn__qemu_firmware found = { NULL, NULL };

    if (libspawn__qemu_find_firmware(args->config, &found, &args->err)) {
        return;
    }
    if (found.variables) {
        add_uefi(args, &found);
    } else if (found.code && args->is_handed) {
        libspawn__args_option(args, "-bios", "/proc/self/fd/%d",
                              LIBSPAWN__DM_FIRMWARE_FD);
    } else if (found.code) {
        libspawn__args_option(args, "-bios", "%s", found.code);
    }
}

/* ---- Network ----------------------------------------------------------- */

bool
libspawn__qemu_nic_is_tap(const struct libspawn_nic *nic)
{
    return nic->net == LIBSPAWN_NIC_NET_TAP ||
           (nic->net == LIBSPAWN_NIC_NET_DEFAULT && nic->bridge);
}

/* With user-mode networking, the default, nothing on the host is touched and
 * no right is needed.  A tap interface must exist, or is made, which takes
 * CAP_NET_ADMIN; no script is ever run. */
static void
add_nic(struct libspawn__args *args, const struct libspawn_nic *nic,
        unsigned int index)
{
    const char *model = nic->model ? nic->model : "e1000";
    AUTO_FREE char *escaped = libspawn__args_escape(model);

    if (libspawn__qemu_nic_is_tap(nic)) {
        libspawn__args_option(args, "-netdev", "tap,id=net%u,fd=%u", index,
                              LIBSPAWN__DM_NIC_FD + index);
    } else {
        libspawn__args_option(args, "-netdev", "user,id=net%u", index);
    }
    libspawn__args_option(args, "-device", "%s,netdev=net%u%s%s",
                          escaped ? escaped : "", index,
                          nic->mac ? ",mac=" : "", nic->mac ? nic->mac : "");
}

static void
nics(struct libspawn__args *args)
{
    size_t i;

    for (i = 0; i < args->config->n_nics; i++) {
        add_nic(args, &args->config->nics[i], (unsigned int)i);
    }
}

/* ---- Devices of the host ----------------------------------------------- */

static void
pci(struct libspawn__args *args)
{
    size_t i;

    for (i = 0; args->pci && i < args->pci->n_items; i++) {
        libspawn__args_option(args, "-device", "vfio-pci,host=%s",
                              args->pci->items[i]);
    }
}

/* ---- What happens at the guest's own end ------------------------------- */

/* A reboot that is wished for is QEMU's own business: the machine is reset
 * and nobody need notice. */
static void
actions(struct libspawn__args *args)
{
    const struct libspawn_guest_config *config = args->config;
    bool is_reset = config->on_reboot == LIBSPAWN_ACTION_DEFAULT ||
                    config->on_reboot == LIBSPAWN_ACTION_RESTART ||
                    config->on_reboot == LIBSPAWN_ACTION_RENAME_RESTART;
    bool is_kept = config->on_poweroff == LIBSPAWN_ACTION_PRESERVE;

    libspawn__args_option(args, "-action", "reboot=%s,shutdown=%s",
                          is_reset ? "reset" : "shutdown",
                          is_kept ? "pause" : "poweroff");
}

/* ---- Confinement ------------------------------------------------------- */

/* Whether the configuration's own arguments have one of these options, which
 * QEMU takes with one dash or two. */
static bool
has_own_option(const struct libspawn__strv *own, const char *const names[])
{
    size_t i;

    for (i = 0; i < own->n_items; i++) {
        const char *arg = own->items[i];
        const char *const *name;

        for (name = names; *name; name++) {
            if (!strcmp(arg, *name) ||
                (arg[0] == '-' && !strcmp(arg + 1, *name))) {
                return true;
            }
        }
    }
    return false;
}

/* A configuration's own -sandbox stands in the place of ours; whoever passes
 * an option that starts a helper needs one with spawn=allow.  One that
 * makes QEMU change its user goes without elevateprivileges=deny. */
static void
sandbox(struct libspawn__args *args,
        const struct libspawn__dm_support *support)
{
    static const char *const own_sandbox[] = { "-sandbox", NULL };
    static const char *const change_user[] = { "-runas", "-run-with", NULL };
    AUTO_ARGS struct libspawn__args own = { .config = args->config };

    libspawn__args_user(&own);
    if (own.err.code) {
        args->err = own.err;
    } else if (support->features & LIBSPAWN__DM_SANDBOX &&
               !has_own_option(&own.argv, own_sandbox)) {
        libspawn__args_option(args, "-sandbox", "%s",
                              has_own_option(&own.argv, change_user)
                                  ? LIBSPAWN__DM_SANDBOX_WITH_USER
                                  : LIBSPAWN__DM_SANDBOX_VALUE);
    }
}

static libspawn__args_group *const groups[] = {
    libspawn__args_base,
    machine,
    memory_and_cpus,
    disks,
    firmware,
    libspawn__args_boot,
    nics,
    pci,
    libspawn__args_serials,
    libspawn__args_display,
    actions,
    libspawn__args_usb,
    libspawn__args_sound,
    libspawn__args_clock,
    libspawn__args_user,
};

int
libspawn__qemu_build_args(struct libspawn__args *args, const char *program,
                          const struct libspawn__dm_support *support,
                          const char *uuid, struct libspawn_err *err)
{
    size_t i;

    libspawn__args_add(args, program);
    sandbox(args, support);
    libspawn__args_option(args, "-uuid", "%s", uuid);
    for (i = 0; i < ARRAY_SIZE(groups); i++) {
        groups[i](args);
    }
    if (args->err.code) {
        *err = args->err;
    }
    return args->err.code;
}
