/*
 * The end of a guest, whoever made it: ours, the stock tools, or a creation
 * that died half-way.
 *
 *   pause --> device model --> devices --> domain --> files --> nodes
 *
 * The nodes, and with them the name, go last: whatever is left when this is
 * interrupted is still found by the name, and the same call finishes it.
 */
#ifndef LIBSPAWN_GUEST_XEN_END_H
#define LIBSPAWN_GUEST_XEN_END_H

#include "guest/hypervisor.h"
#include "guest/xen/xen.h"

/* Ends the device model of domain 'domid': by our record, else by the pid
 * that the stock tools wrote, if that process really is one.  None at all is
 * fine. */
int libspawn__xen_end_device_model(struct libspawn__xen *xen, uint32_t domid,
                                   int grace_ms, struct libspawn_err *err);

/* Removes the guest.  A device model that cannot be ended leaves it paused and
 * otherwise whole; any other failure does not stop the rest, and the first is
 * returned.  LIBSPAWN_ERR_NOT_FOUND when there was neither a domain nor a
 * node of it. */
int libspawn__xen_end_guest(struct libspawn__xen *xen, uint32_t domid,
                            int grace_ms, struct libspawn_err *err);

/* The same on the loop of 'host', which is one of Xen and has a worker: as a
 * step, that is pending when it does not fail. */
int libspawn__xen_start_end_guest(struct libspawn_host *host, uint32_t domid,
                                  int grace_ms, libspawn__destroyed_fn *fn,
                                  void *user, struct libspawn_err *err);

#endif
