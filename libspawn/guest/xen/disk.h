/*
 * Disks and CD drives: who serves them, and how the store describes them.
 *
 *   phy    the kernel of dom0, for a block device; "vbd" in the store
 *   qdisk  the device model, for an image file of any format
 *
 * An HVM guest meets a disk twice: as a device that QEMU emulates, until it
 * has drivers for the paravirtual one described here.
 */
#ifndef LIBSPAWN_GUEST_XEN_DISK_H
#define LIBSPAWN_GUEST_XEN_DISK_H

#include "guest/vdev.h"
#include "guest/xen/device.h"
#include "include/libspawn-guest.h"

enum libspawn__xen_disk_server {
    LIBSPAWN__XEN_DISK_PHY,
    LIBSPAWN__XEN_DISK_QDISK
};

struct libspawn__xen_disk {
    const struct libspawn_disk *config; /* borrowed */
    struct libspawn__vdev vdev;
    enum libspawn__xen_disk_server server;
    bool needs_script; /* a program makes the block device; else 'device' */
    uint64_t device;   /* of a block device: st_rdev */
};

/* Looks at the target.  LIBSPAWN_ERR_NOT_FOUND when it is missing,
 * LIBSPAWN_ERR_UNSUPPORTED when nobody here can serve it. */
int libspawn__xen_disk_init(const struct libspawn_disk *config, bool is_hvm,
                            struct libspawn__xen_disk *disk_r,
                            struct libspawn_err *err);

/* Refuses a block device that another guest, or dom0, uses in a way that
 * would destroy data; writes the disk else.  'vm' is the guest's path in
 * /vm. */
void libspawn__xen_disk_write(struct libspawn__tree *tree,
                              const struct libspawn__xen_disk *disk,
                              const char *vm);

/* The word before the colon in a qdisk's parameters, "aio" for raw. */
const char *libspawn__xen_disk_format_word(enum libspawn_disk_format format);

#endif
