/*
 * The devices of a guest after they were described in the store (nodes.h):
 * what has to run before they work.  How they are given up: close.h.
 */
#ifndef LIBSPAWN_GUEST_XEN_DEVICES_H
#define LIBSPAWN_GUEST_XEN_DEVICES_H

#include "guest/xen/guest.h"
#include "guest/xen/job.h"

/* Runs the scripts of disks that need one, before the device model starts.
 * 'by' is NULL where they are to be waited for.
 * Undo: libspawn__xen_devices_close. */
int libspawn__xen_devices_connect_disks(
    struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
    const struct libspawn__xen_helper *by, struct libspawn_err *err);

/* Puts the network interfaces on their bridges, once the device model has
 * made its ones.  Undo: the same. */
int libspawn__xen_devices_connect_nics(struct libspawn__xen *xen,
                                       const struct libspawn__xen_guest *guest,
                                       const struct libspawn__xen_helper *by,
                                       struct libspawn_err *err);

#endif
