/*
 * Where a guest's processors run and how much of the time they get.  Undone by
 * destroying the domain.
 */
#ifndef LIBSPAWN_GUEST_XEN_SCHED_H
#define LIBSPAWN_GUEST_XEN_SCHED_H

#include "guest/xen/guest.h"

/* Does nothing when the configuration says nothing of it. */
int libspawn__xen_sched_apply(struct libspawn__xen *xen,
                              const struct libspawn__xen_guest *guest,
                              struct libspawn_err *err);

#endif
