/*
 * What a QEMU without rights gets as descriptors: whoever may create the
 * guest may open its files, and nobody has to make them readable for a user
 * that comes and goes with it.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "guest/qemu/qemu.h"

enum {
    COPY_CHUNK = 64 * 1024 * 1024
};

void
libspawn__qemu_handed_dispose(struct libspawn__qemu_handed *handed)
{
    while (handed->n_fds) {
        libspawn__auto_close(&handed->fds[--handed->n_fds]);
    }
}

/* Takes 'fd'. */
static void
hand_over(struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
          int fd, int child_fd)
{
    handed->fds[handed->n_fds++] = fd;
    libspawn_plan_add_fd(plan, fd, child_fd);
}

/* ---- Disks ------------------------------------------------------------- */

static int
hand_file(struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
          const char *path, int flags, int child_fd, struct libspawn_err *err)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    hand_over(handed, plan, fd, child_fd);
    return 0;
}

/* Where the formats say that there is another file beneath (QEMU's
 * docs/interop): a number that is not 0, or a bit that is set. */
static const struct {
    enum libspawn_disk_format format;
    unsigned int offset;
    unsigned int size;
    unsigned char mask; /* of each byte */
} backing_marks[] = {
    { LIBSPAWN_DISK_QCOW, 8, 8, 0xff },
    { LIBSPAWN_DISK_QCOW2, 8, 8, 0xff },
    { LIBSPAWN_DISK_QED, 16, 1, 0x01 },
};

/* QEMU would open that one by its name, and may not. */
static int
check_backing(const struct libspawn_disk *disk, int fd,
              struct libspawn_err *err)
{
    unsigned char head[8] = { 0 };
    size_t i;
    size_t k;

    for (i = 0; i < ARRAY_SIZE(backing_marks); i++) {
        if (backing_marks[i].format != disk->format) {
            continue;
        }
        if (pread(fd, head, backing_marks[i].size, backing_marks[i].offset) <
            0) {
            return libspawn__fail_errno(err, errno, "reading disk '%s'",
                                        disk->target);
        }
        for (k = 0; k < backing_marks[i].size; k++) {
            if (head[k] & backing_marks[i].mask) {
                return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                                      "disk '%s' has a backing file, which "
                                      "dm_restrict puts out of reach",
                                      disk->target);
            }
        }
    }
    return 0;
}

/* QEMU opens a disk for reading first, and for writing when it is used. */
static int
hand_disk(struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
          const struct libspawn_disk *disk, size_t index, bool is_restricted,
          struct libspawn_err *err)
{
    int child_fd = LIBSPAWN__DM_DISK_FD + 2 * (int)index;
    int rc = 0;

    if (!disk->target || disk->format == LIBSPAWN_DISK_EMPTY) {
        return 0;
    }
    if (!disk->read_only && !disk->is_cdrom) {
        rc = hand_file(handed, plan, disk->target, O_RDWR, child_fd, err);
    }
    if (!rc) {
        rc =
            hand_file(handed, plan, disk->target, O_RDONLY, child_fd + 1, err);
    }
    if (!rc && is_restricted) {
        rc = check_backing(disk, handed->fds[handed->n_fds - 1], err);
    }
    return rc;
}

/* ---- Kernel ------------------------------------------------------------ */

static int
copy_and_seal(int from, int memfd)
{
    ssize_t n;

    do {
        n = sendfile(memfd, from, NULL, COPY_CHUNK);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -1
                 : fcntl(memfd, F_ADD_SEALS,
                         F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK |
                             F_SEAL_SEAL);
}

/* QEMU opens these by name, and a descriptor's name in /proc opens only what
 * its user may open; a copy in memory may be read by everybody who has it. */
static int
hand_copy(struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
          const char *what, const char *path, int child_fd,
          struct libspawn_err *err)
{
    AUTO_FD int from = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    AUTO_FD int memfd =
        memfd_create("libspawn-boot", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (from < 0 || memfd < 0 || copy_and_seal(from, memfd) < 0) {
        return libspawn__fail_errno(err, errno, "%s '%s'", what, path);
    }
    hand_over(handed, plan, TAKE_FD(memfd), child_fd);
    return 0;
}

/* ---- Firmware ---------------------------------------------------------- */

static int
hand_uefi(struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
          const char *code, const char *variables, struct libspawn_err *err)
{
    const struct {
        const char *path;
        int flags;
    } files[LIBSPAWN__DM_FIRMWARE_FDS] = {
        { code, O_RDONLY },
        { variables, O_RDWR },
        { variables, O_RDONLY },
    };
    int rc = 0;
    int i;

    for (i = 0; !rc && i < LIBSPAWN__DM_FIRMWARE_FDS; i++) {
        rc = hand_file(handed, plan, files[i].path, files[i].flags,
                       LIBSPAWN__DM_FIRMWARE_FD + i, err);
    }
    return rc;
}

static int
hand_firmware(struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
              const struct libspawn_guest_config *config,
              const char *variables, struct libspawn_err *err)
{
    struct libspawn__qemu_firmware firmware = { NULL, NULL };
    int rc = libspawn__qemu_find_firmware(config, &firmware, err);

    if (rc || !firmware.code) {
        return rc;
    }
    return firmware.variables
               ? hand_uefi(handed, plan, firmware.code, variables, err)
               : hand_copy(handed, plan, "firmware", firmware.code,
                           LIBSPAWN__DM_FIRMWARE_FD, err);
}

/* ---- Network ----------------------------------------------------------- */

/* As QEMU itself would make, or open, it. */
static int
hand_tap(struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
         const struct libspawn_nic *nic, uint32_t domid, size_t index,
         struct libspawn_err *err)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    AUTO_FREE char *name =
        nic->vifname
            ? strdup(nic->vifname)
            : libspawn__str_format("xl%u.%zu", (unsigned int)domid, index);
    AUTO_FD int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (!name) {
        return libspawn__fail_nomem(err);
    }
    if (strlen(name) >= sizeof request.ifr_name) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "network interface '%s': the name is too long",
                              name);
    }
    memcpy(request.ifr_name, name, strlen(name));
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        return libspawn__fail_errno(err, errno, "network interface '%s'",
                                    name);
    }
    hand_over(handed, plan, TAKE_FD(fd), LIBSPAWN__DM_NIC_FD + (int)index);
    return 0;
}

/* ---- All of it --------------------------------------------------------- */

int
libspawn__qemu_hand_files(const struct libspawn_host *host,
                          const struct libspawn_guest_config *config,
                          uint32_t domid, struct libspawn_plan *plan,
                          struct libspawn__qemu_handed *handed,
                          struct libspawn_err *err)
{
    AUTO_FREE char *variables =
        libspawn__qemu_guest_file(host, domid, LIBSPAWN__QEMU_VARIABLES);
    bool is_restricted = config->dm_restrict == LIBSPAWN_CHOICE_YES;
    int rc;
    size_t i;

    if (!variables) {
        return libspawn__fail_nomem(err);
    }
    if (config->n_disks > LIBSPAWN__DM_DISKS_MAX ||
        config->n_nics > LIBSPAWN__DM_NICS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "a guest with dm_restrict has at most %d disks "
                              "and %d network interfaces",
                              LIBSPAWN__DM_DISKS_MAX, LIBSPAWN__DM_NICS_MAX);
    }
    rc = hand_firmware(handed, plan, config, variables, err);
    for (i = 0; !rc && i < config->n_disks; i++) {
        rc = hand_disk(handed, plan, &config->disks[i], i, is_restricted, err);
    }
    if (!rc && config->kernel) {
        rc = hand_copy(handed, plan, "kernel", config->kernel,
                       LIBSPAWN__DM_KERNEL_FD, err);
    }
    if (!rc && config->kernel && config->ramdisk) {
        rc = hand_copy(handed, plan, "ramdisk", config->ramdisk,
                       LIBSPAWN__DM_RAMDISK_FD, err);
    }
    for (i = 0; !rc && i < config->n_nics; i++) {
        if (libspawn__qemu_nic_is_tap(&config->nics[i])) {
            rc = hand_tap(handed, plan, &config->nics[i], domid, i, err);
        }
    }
    return rc;
}
