/*
 * Virtual device names of disks, as in xl.cfg: "hda", "xvdb3", "sda", "vda",
 * "d1p2", or Xen's number for one ("51712", "0xca00").
 *
 * Knowledge: docs/man/xen-vbd-interface.7 in the Xen tree.  "vd" is ours: a
 * virtio disk for a guest that QEMU itself runs.
 */
#ifndef LIBSPAWN_GUEST_VDEV_H
#define LIBSPAWN_GUEST_VDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum libspawn__vdev_bus {
    LIBSPAWN__VDEV_XVD,
    LIBSPAWN__VDEV_IDE,    /* hda to hdd */
    LIBSPAWN__VDEV_SCSI,   /* sda to sdp */
    LIBSPAWN__VDEV_VIRTIO, /* not for Xen */
    LIBSPAWN__VDEV_OTHER   /* a number of no known meaning: 'disk' is 0 */
};

struct libspawn__vdev {
    enum libspawn__vdev_bus bus;
    unsigned int disk;      /* 0: the first of its bus */
    unsigned int partition; /* 0: the whole disk */
    uint32_t xen_id;        /* Xen's number of it; 0 for VIRTIO */
};

/* LIBSPAWN_ERR_INVALID for anything that is no such name. */
int libspawn__vdev_parse(const char *name, struct libspawn__vdev *vdev_r,
                         struct libspawn_err *err);

#endif
