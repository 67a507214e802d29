/*
 * What a new domain is told before anything is loaded into it: processors,
 * limits, event channels, timers.  Undone by destroying the domain.
 */
#ifndef LIBSPAWN_GUEST_XEN_PREPARE_H
#define LIBSPAWN_GUEST_XEN_PREPARE_H

#include "guest/xen/guest.h"

/* Sets the members of 'guest' that guest.h lists for it. */
int libspawn__xen_domain_prepare(struct libspawn__xen *xen,
                                 struct libspawn__xen_guest *guest,
                                 struct libspawn_err *err);

#endif
