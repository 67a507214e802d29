/*
 * Giving up the devices of a guest, whoever made it: the counterpart of
 * devices.h.
 */
#ifndef LIBSPAWN_GUEST_XEN_CLOSE_H
#define LIBSPAWN_GUEST_XEN_CLOSE_H

#include "guest/xen/job.h"

/* Makes dom0's kernel let go of the devices of domain 'domid', and runs the
 * scripts that undo what others did.  The guest must be paused and its device
 * model gone; what that served needs nothing.  Goes on after a failure and
 * returns, or tells, the first; the nodes stay.  'by' is NULL where all is to
 * be waited for. */
int libspawn__xen_devices_close(struct libspawn__xen *xen, uint32_t domid,
                                const struct libspawn__xen_helper *by,
                                struct libspawn_err *err);

#endif
