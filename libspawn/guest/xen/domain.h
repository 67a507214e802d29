/*
 * The life of a domain in the hypervisor: making, pausing, ending.  Nothing
 * here touches the store; what a guest leaves there is nodes.h's.
 */
#ifndef LIBSPAWN_GUEST_XEN_DOMAIN_H
#define LIBSPAWN_GUEST_XEN_DOMAIN_H

#include "guest/xen/guest.h"

/* Makes an empty, paused domain and sets guest->domid.  Undo:
 * libspawn__xen_domain_destroy. */
int libspawn__xen_domain_create(struct libspawn__xen *xen,
                                struct libspawn__xen_guest *guest,
                                struct libspawn_err *err);

/* Ends it and frees its memory; takes its time for a large one.  Its number
 * is noted as recently used first.  A missing domain is
 * LIBSPAWN_ERR_NOT_FOUND. */
int libspawn__xen_domain_destroy(struct libspawn__xen *xen, uint32_t domid,
                                 struct libspawn_err *err);

int libspawn__xen_domain_pause(struct libspawn__xen *xen, uint32_t domid,
                               struct libspawn_err *err);
int libspawn__xen_domain_unpause(struct libspawn__xen *xen, uint32_t domid,
                                 struct libspawn_err *err);

/* Presses the power button of an HVM guest. */
int libspawn__xen_domain_press_power(struct libspawn__xen *xen, uint32_t domid,
                                     struct libspawn_err *err);

/* Tells the hypervisor that the guest has crashed: it stops, and whoever
 * watches for that acts on it. */
int libspawn__xen_domain_crash(struct libspawn__xen *xen, uint32_t domid,
                               struct libspawn_err *err);

#endif
