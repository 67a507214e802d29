/*
 * The devices of a guest after they were described in the store (nodes.h):
 * what has to run before they work, and how they are given up.
 */
#ifndef LIBSPAWN_GUEST_XEN_DEVICES_H
#define LIBSPAWN_GUEST_XEN_DEVICES_H

#include "guest/xen/guest.h"
#include "guest/xen/script.h"

/* Who runs scripts for whoever must not wait: then what follows returns
 * LIBSPAWN__STEP_PENDING where there are any, and 'fn' is called when the last
 * has ended. */
struct libspawn__xen_connector {
    struct libspawn__worker *worker;
    libspawn__xen_scripts_fn *fn;
    void *user;
};

/* Runs the scripts of disks that need one, before the device model starts.
 * 'by' is NULL where they are to be waited for.
 * Undo: libspawn__xen_devices_close. */
int
libspawn__xen_devices_connect_disks(struct libspawn__xen *xen,
                                    const struct libspawn__xen_guest *guest,
                                    const struct libspawn__xen_connector *by,
                                    struct libspawn_err *err);

/* Puts the network interfaces on their bridges, once the device model has
 * made its ones.  Undo: the same. */
int libspawn__xen_devices_connect_nics(
    struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
    const struct libspawn__xen_connector *by, struct libspawn_err *err);

/* Makes dom0's kernel let go of the devices of domain 'domid', whoever made
 * it, and runs the scripts that undo what others did.  The guest must be
 * paused and its device model gone; what that served needs nothing.  Goes on
 * after a failure and returns the first; the nodes stay. */
int libspawn__xen_devices_close(struct libspawn__xen *xen, uint32_t domid,
                                struct libspawn_err *err);

#endif
