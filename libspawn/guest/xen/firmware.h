/*
 * The files that the first instructions of an HVM guest come from, and where
 * distributions put them.
 */
#ifndef LIBSPAWN_GUEST_XEN_FIRMWARE_H
#define LIBSPAWN_GUEST_XEN_FIRMWARE_H

#include "guest/xen/xen.h"

/* Path of a file of the hypervisor's version, "hvmloader" or "xen-shim". */
int libspawn__xen_firmware_find_loader(const struct libspawn__xen *xen,
                                       const char *name, char **path_r,
                                       struct libspawn_err *err);

/* Path of the image for the key 'firmware' (NULL: the default).  A path is
 * taken as it is. */
int libspawn__xen_firmware_find(const char *firmware, char **path_r,
                                struct libspawn_err *err);

/* The word that hvmloader knows it by, "seabios" or "ovmf" (static). */
const char *libspawn__xen_firmware_kind(const char *firmware);

#endif
