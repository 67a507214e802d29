/*
 * What a guest's memory holds when it starts.  An HVM guest: hvmloader, which
 * the processor runs first, and the firmware (SeaBIOS or OVMF) that it hands
 * over to.
 *
 * Undone by destroying the domain; no mapping outlives the call.
 */
#ifndef LIBSPAWN_GUEST_XEN_IMAGE_H
#define LIBSPAWN_GUEST_XEN_IMAGE_H

#include "guest/xen/guest.h"

/* Sets the members of 'guest' that guest.h lists for it.  A missing firmware
 * file is LIBSPAWN_ERR_NOT_FOUND; LIBSPAWN_ERR_UNSUPPORTED for a type other
 * than HVM. */
int libspawn__xen_image_build(struct libspawn__xen *xen,
                              struct libspawn__xen_guest *guest,
                              struct libspawn_err *err);

#endif
