/*
 * What a QEMU without rights gets as descriptors: whoever may create the
 * guest may open its files, and nobody has to make them readable for a user
 * that comes and goes with it.  And what every QEMU gets so, since it is to
 * outlive it.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "guest/qemu/qemu.h"

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

/* ---- Files ------------------------------------------------------------- */

/* One that was opened when it was looked at. */
static int
hand_file(struct libspawn_create *create, struct libspawn__qemu_handed *handed,
          struct libspawn_plan *plan, const char *path, uint32_t flags,
          int child_fd, struct libspawn_err *err)
{
    int fd;
    int rc = libspawn__examine_take(create, path, flags, &fd, err);

    if (!rc) {
        hand_over(handed, plan, fd, child_fd);
    }
    return rc;
}

/* One of ours, which nobody had to look at. */
static int
hand_own_file(struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
              const char *path, int flags, int child_fd,
              struct libspawn_err *err)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    hand_over(handed, plan, fd, child_fd);
    return 0;
}

/* QEMU opens a disk for reading first, and for writing when it is used. */
static int
hand_disk(struct libspawn_create *create, struct libspawn__qemu_handed *handed,
          struct libspawn_plan *plan, size_t index, struct libspawn_err *err)
{
    const struct libspawn_disk *disk = &create->config->disks[index];
    int child_fd = LIBSPAWN__DM_DISK_FD + 2 * (int)index;
    int rc = 0;

    if (!disk->target || disk->format == LIBSPAWN_DISK_EMPTY) {
        return 0;
    }
    if (!disk->read_only && !disk->is_cdrom) {
        rc = hand_file(create, handed, plan, disk->target,
                       LIBSPAWN__QEMU_OPEN_WRITE, child_fd, err);
    }
    return rc ? rc
              : hand_file(create, handed, plan, disk->target,
                          LIBSPAWN__QEMU_OPEN_READ, child_fd + 1, err);
}

/* ---- Firmware ---------------------------------------------------------- */

static int
hand_firmware(struct libspawn_create *create,
              struct libspawn__qemu_handed *handed, struct libspawn_plan *plan,
              struct libspawn_err *err)
{
    AUTO_FREE char *variables = libspawn__qemu_guest_file(
        create->host, create->domid, LIBSPAWN__QEMU_VARIABLES);
    struct libspawn__qemu_firmware firmware = { NULL, NULL };
    int rc = variables ? libspawn__qemu_find_firmware(create->config,
                                                      &firmware, err)
                       : libspawn__fail_nomem(err);

    if (rc || !firmware.code) {
        return rc;
    }
    rc = hand_file(create, handed, plan, firmware.code,
                   firmware.variables ? LIBSPAWN__QEMU_OPEN_READ
                                      : LIBSPAWN__QEMU_OPEN_COPY,
                   LIBSPAWN__DM_FIRMWARE_FD, err);
    if (!rc && firmware.variables) {
        rc = hand_own_file(handed, plan, variables, O_RDWR,
                           LIBSPAWN__DM_FIRMWARE_FD + 1, err);
    }
    if (!rc && firmware.variables) {
        rc = hand_own_file(handed, plan, variables, O_RDONLY,
                           LIBSPAWN__DM_FIRMWARE_FD + 2, err);
    }
    return rc;
}

/* ---- Network ----------------------------------------------------------- */

/* As QEMU itself would make, or open, it. */
static int
open_tap(const char *name, int *fd_r, struct libspawn_err *err)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    AUTO_FD int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

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
    *fd_r = TAKE_FD(fd);
    return 0;
}

static int
hand_tap(const struct libspawn_create *create, struct libspawn_plan *plan,
         struct libspawn__qemu_handed *handed, size_t index,
         struct libspawn_err *err)
{
    const struct libspawn_nic *nic = &create->config->nics[index];
    AUTO_FREE char *name =
        nic->vifname ? strdup(nic->vifname)
                     : libspawn__str_format(
                           "xl%u.%zu", (unsigned int)create->domid, index);
    int fd = -1;

    if (!name) {
        return libspawn__fail_nomem(err);
    }
    if (create->held) {
        fd = libspawn__held_copy(create->held, index, name);
    }
    if (fd < 0) {
        int rc = open_tap(name, &fd, err);

        if (rc) {
            return rc;
        }
        if (create->held) {
            libspawn__held_keep(create->held, index, fd);
        }
    }
    hand_over(handed, plan, fd, LIBSPAWN__DM_NIC_FD + (int)index);
    return 0;
}

int
libspawn__qemu_hand_taps(const struct libspawn_create *create,
                         struct libspawn_plan *plan,
                         struct libspawn__qemu_handed *handed,
                         struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    int rc = 0;
    size_t i;

    if (config->n_nics > LIBSPAWN__DM_NICS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "a guest has at most %d network interfaces",
                              LIBSPAWN__DM_NICS_MAX);
    }
    for (i = 0; !rc && i < LIBSPAWN__DM_NICS_MAX; i++) {
        if (i < config->n_nics &&
            libspawn__qemu_nic_is_tap(&config->nics[i])) {
            rc = hand_tap(create, plan, handed, i, err);
        } else if (create->held) {
            libspawn__held_drop(create->held, i);
        }
    }
    return rc;
}

/* ---- All of it --------------------------------------------------------- */

int
libspawn__qemu_hand_files(struct libspawn_create *create,
                          struct libspawn_plan *plan,
                          struct libspawn__qemu_handed *handed,
                          struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    int rc;
    size_t i;

    if (config->n_disks > LIBSPAWN__DM_DISKS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "a guest with dm_restrict has at most %d disks",
                              LIBSPAWN__DM_DISKS_MAX);
    }
    rc = hand_firmware(create, handed, plan, err);
    for (i = 0; !rc && i < config->n_disks; i++) {
        rc = hand_disk(create, handed, plan, i, err);
    }
    if (!rc && config->kernel) {
        rc = hand_file(create, handed, plan, config->kernel,
                       LIBSPAWN__QEMU_OPEN_COPY, LIBSPAWN__DM_KERNEL_FD, err);
    }
    if (!rc && config->kernel && config->ramdisk) {
        rc = hand_file(create, handed, plan, config->ramdisk,
                       LIBSPAWN__QEMU_OPEN_COPY, LIBSPAWN__DM_RAMDISK_FD, err);
    }
    return rc;
}
