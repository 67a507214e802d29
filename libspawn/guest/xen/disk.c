/*
 * Sources: xl-disk-configuration(5); xen/include/public/io/blkif.h; the stock
 * hotplug script "block" for what counts as shared.
 */
#include "guest/xen/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "base/util.h"
#include "guest/xen/xen.h"
#include "store/paths.h"

#define BACKENDS "/local/domain/0/backend/vbd"

enum {
    MOUNTS_MAX = 8 * 1024 * 1024
};

const char *
libspawn__xen_disk_format_word(enum libspawn_disk_format format)
{
    static const char *const words[] = {
        [LIBSPAWN_DISK_RAW] = "aio",     [LIBSPAWN_DISK_QCOW] = "qcow",
        [LIBSPAWN_DISK_QCOW2] = "qcow2", [LIBSPAWN_DISK_QED] = "qed",
        [LIBSPAWN_DISK_VHD] = "vhd",     [LIBSPAWN_DISK_EMPTY] = "aio",
    };

    return words[format];
}

static bool
is_read_only(const struct libspawn_disk *config)
{
    return config->read_only || config->is_cdrom;
}

static bool
wants(const struct libspawn_disk *config, const char *backendtype)
{
    return libspawn__str_equal(config->backendtype, backendtype);
}

/* Decides who serves it, knowing what the target is ('mode'; 0: nothing that
 * can be looked at, a script knows it). */
static int
choose_server(struct libspawn__xen_disk *disk, mode_t mode, bool is_hvm,
              struct libspawn_err *err)
{
    const struct libspawn_disk *config = disk->config;
    bool can_phy = config->format == LIBSPAWN_DISK_RAW &&
                   !(is_hvm && config->is_cdrom);
    bool is_phy = config->script || (can_phy && S_ISBLK(mode));

    if (wants(config, "phy") || wants(config, "qdisk")) {
        is_phy = wants(config, "phy");
    } else if (config->backendtype) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "disk '%s': nobody serves backend type '%s'",
                              config->vdev, config->backendtype);
    }
    if (is_phy && !can_phy) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "disk '%s': only the device model serves %s",
                              config->vdev,
                              config->format == LIBSPAWN_DISK_RAW
                                  ? "the CD drive of an HVM guest"
                                  : "a format other than raw");
    }
    if (!is_phy && config->script) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "disk '%s': a script makes block devices, which "
                              "is not for backend type 'qdisk'",
                              config->vdev);
    }
    disk->server = is_phy ? LIBSPAWN__XEN_DISK_PHY : LIBSPAWN__XEN_DISK_QDISK;
    disk->needs_script = is_phy && (config->script || !S_ISBLK(mode));
    return 0;
}

int
libspawn__xen_disk_init(const struct libspawn_disk *config, bool is_hvm,
                        struct libspawn__xen_disk *disk_r,
                        struct libspawn_err *err)
{
    struct libspawn__xen_disk disk = { .config = config };
    struct stat target = { 0 };
    int rc = libspawn__vdev_parse(config->vdev, &disk.vdev, err);

    if (!rc && disk.vdev.bus == LIBSPAWN__VDEV_VIRTIO) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                            "disk '%s': Xen guests have no virtio disks",
                            config->vdev);
    }
    if (rc) {
        return rc;
    }
    if (config->target && !config->script && stat(config->target, &target)) {
        return libspawn__fail_errno(err, errno, "disk '%s': looking at '%s'",
                                    config->vdev, config->target);
    }
    rc = choose_server(&disk, target.st_mode, is_hvm, err);
    if (rc) {
        return rc;
    }
    disk.device = target.st_rdev;
    *disk_r = disk;
    return 0;
}

/* "MAJOR:MINOR" in hexadecimal, as the store has it. */
static void
print_device(uint64_t device, char text[static 32])
{
    snprintf(text, 32, "%x:%x", major(device), minor(device));
}

/* Whether a line of mountinfo is of that device, and mounted so that the guest
 * may not have it. */
static bool
is_conflicting_mount(const char *line, uint64_t device, bool read_only)
{
    unsigned int dev_major, dev_minor;
    int options_at = 0;

    if (sscanf(line, "%*u %*u %u:%u %*s %*s %n", &dev_major, &dev_minor,
               &options_at) < 2 ||
        makedev(dev_major, dev_minor) != device) {
        return false;
    }
    return !read_only || strncmp(line + options_at, "ro", 2) != 0;
}

static bool
is_mounted(uint64_t device, bool read_only)
{
    AUTO_FREE char *mounts = NULL;
    const char *line;

    /* Without /proc nothing is known to be mounted. */
    if (libspawn__file_read("/proc/self/mountinfo", MOUNTS_MAX, &mounts, NULL,
                            NULL)) {
        return false;
    }
    for (line = mounts; *line; line += strcspn(line, "\n") + 1) {
        if (is_conflicting_mount(line, device, read_only)) {
            return true;
        }
        if (!line[strcspn(line, "\n")]) {
            break;
        }
    }
    return false;
}

/* Reads a node of another guest's backend; "" when it is missing. */
static char *
read_node(struct libspawn__tree *tree, const char *dir, const char *name)
{
    AUTO_FREE char *path = libspawn__str_format("%s/%s", dir, name);
    char *value = NULL;

    if (path) {
        (void)libspawn__store_read(tree->store, tree->txn, path, &value, NULL,
                                   NULL);
    }
    return value ? value : strdup("");
}

static bool
is_same_vm(struct libspawn__tree *tree, const char *domid, const char *vm)
{
    AUTO_FREE char *dir = libspawn__str_format("/local/domain/%s", domid);
    AUTO_FREE char *other = dir ? read_node(tree, dir, "vm") : NULL;

    return other && strcmp(other, vm) == 0;
}

/* Whether the backends of one guest use the device in a conflicting way. */
static bool
guest_uses(struct libspawn__tree *tree, const char *domid, const char *device,
           bool read_only)
{
    AUTO_FREE char *dir = libspawn__str_format(BACKENDS "/%s", domid);
    AUTO_STRV struct libspawn__strv ids = { 0 };
    size_t i;

    if (!dir ||
        libspawn__store_list(tree->store, tree->txn, dir, &ids, NULL)) {
        return false;
    }
    for (i = 0; i < ids.n_items; i++) {
        AUTO_FREE char *one = libspawn__str_format("%s/%s", dir, ids.items[i]);
        AUTO_FREE char *its = one ? read_node(tree, one, "physical-device")
                                  : NULL;
        AUTO_FREE char *mode = one ? read_node(tree, one, "mode") : NULL;

        if (its && mode && strcmp(its, device) == 0 &&
            (!read_only || strchr(mode, 'w'))) {
            return true;
        }
    }
    return false;
}

static void
check_sharing(struct libspawn__tree *tree,
              const struct libspawn__xen_disk *disk, const char *vm)
{
    AUTO_STRV struct libspawn__strv domids = { 0 };
    bool read_only = is_read_only(disk->config);
    char device[32];
    size_t i;

    if (is_mounted(disk->device, read_only)) {
        tree->rc = libspawn__fail(tree->err, LIBSPAWN_ERR_BUSY,
                                  "disk '%s': '%s' is mounted here",
                                  disk->config->vdev, disk->config->target);
        return;
    }
    print_device(disk->device, device);
    (void)libspawn__store_list(tree->store, tree->txn, BACKENDS, &domids,
                               NULL);
    for (i = 0; i < domids.n_items; i++) {
        if (guest_uses(tree, domids.items[i], device, read_only) &&
            !is_same_vm(tree, domids.items[i], vm)) {
            tree->rc = libspawn__fail(tree->err, LIBSPAWN_ERR_BUSY,
                                      "disk '%s': guest %s uses '%s'%s",
                                      disk->config->vdev, domids.items[i],
                                      disk->config->target,
                                      read_only ? " and writes to it" : "");
            return;
        }
    }
}

static void
describe_back(struct libspawn__xen_device *device,
              const struct libspawn__xen_disk *disk)
{
    const struct libspawn_disk *config = disk->config;
    const char *target = config->target ? config->target : "";
    const char *script = config->script ? config->script : "block";
    bool is_phy = disk->server == LIBSPAWN__XEN_DISK_PHY;
    bool discard = config->discard == LIBSPAWN_CHOICE_DEFAULT
                       ? !is_read_only(config)
                       : config->discard == LIBSPAWN_CHOICE_YES;
    struct libspawn__strv *back = &device->back;

    if (is_phy) {
        libspawn__xen_device_add(device, back, "params", "%s", target);
        libspawn__xen_device_add(
            device, back, "script", "%s%s",
            script[0] == '/' ? "" : LIBSPAWN__XEN_SCRIPT_DIR "/", script);
    } else {
        libspawn__xen_device_add(
            device, back, "params", "%s:%s",
            libspawn__xen_disk_format_word(config->format), target);
    }
    libspawn__xen_device_add(device, back, "frontend-id", "%" PRIu32,
                             device->domid);
    /* QEMU serves what is online; an empty drive would make it complain. */
    libspawn__xen_device_add(device, back, "online",
                             config->target ? "1" : "0");
    libspawn__xen_device_add(device, back, "removable",
                             config->is_cdrom ? "1" : "0");
    libspawn__xen_device_add(device, back, "bootable", "1");
    libspawn__xen_device_add(device, back, "state", "%d",
                             LIBSPAWN__XEN_DEVICE_INITIALISING);
    libspawn__xen_device_add(device, back, "dev", "%s", config->vdev);
    libspawn__xen_device_add(device, back, "type", is_phy ? "phy" : "qdisk");
    libspawn__xen_device_add(device, back, "mode",
                             is_read_only(config) ? "r" : "w");
    libspawn__xen_device_add(device, back, "device-type",
                             config->is_cdrom ? "cdrom" : "disk");
    if (config->direct_io_safe == LIBSPAWN_CHOICE_YES) {
        libspawn__xen_device_add(device, back, "direct-io-safe", "1");
    }
    libspawn__xen_device_add(device, back, "discard-enable",
                             discard ? "1" : "0");
    libspawn__xen_device_add(device, back, "specification", "xen");
}

/* What the kernel's backend waits for, and a script would write. */
static void
write_block_device(struct libspawn__tree *tree,
                   const struct libspawn__xen_disk *disk)
{
    AUTO_FREE char *back =
        libspawn__path_backend(0, "vbd", tree->domid, disk->vdev.xen_id);
    char number[32];

    if (!back) {
        tree->rc = libspawn__fail_nomem(tree->err);
        return;
    }
    print_device(disk->device, number);
    libspawn__tree_put(tree, back, "physical-device", number);
    libspawn__tree_put(tree, back, "physical-device-path",
                       disk->config->target);
    libspawn__tree_put(tree, back, "hotplug-status", "connected");
}

void
libspawn__xen_disk_write(struct libspawn__tree *tree,
                         const struct libspawn__xen_disk *disk, const char *vm)
{
    bool is_phy = disk->server == LIBSPAWN__XEN_DISK_PHY;
    AUTO_XEN_DEVICE struct libspawn__xen_device device = {
        .domid = tree->domid,
        .kind = "vbd",
        .backend_kind = is_phy ? "vbd" : "qdisk",
        .devid = disk->vdev.xen_id,
    };

    if (!tree->rc && is_phy && !disk->needs_script) {
        check_sharing(tree, disk, vm);
    }
    describe_back(&device, disk);
    libspawn__xen_device_add(&device, &device.front, "backend-id", "0");
    libspawn__xen_device_add(&device, &device.front, "state", "%d",
                             LIBSPAWN__XEN_DEVICE_INITIALISING);
    libspawn__xen_device_add(&device, &device.front, "virtual-device",
                             "%" PRIu32, device.devid);
    libspawn__xen_device_add(&device, &device.front, "device-type",
                             disk->config->is_cdrom ? "cdrom" : "disk");
    libspawn__xen_device_add(&device, &device.front, "trusted", "1");
    libspawn__xen_device_write(tree, &device);
    if (is_phy && !disk->needs_script) {
        write_block_device(tree, disk);
    }
}
