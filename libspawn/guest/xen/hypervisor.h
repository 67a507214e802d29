/*
 * The hypervisor "xen", the plugin libspawn-xen.so.
 *
 *   hypervisor.c  the table, and operations on a guest that exists
 *   create.c      the steps of a creation, each made of the files below
 *
 *   guest         what a configuration comes to on this host
 *   domain, prepare, image, firmware, memory     the hypervisor's part
 *   nodes, tree, device, disk, nic, announce     the store's part
 *   devices, script                              dom0's kernel and scripts
 *   arguments, files                             the device model's part
 *   end, info, console, history                  guests that exist
 *   xen                                          the open host
 */
#ifndef LIBSPAWN_GUEST_XEN_HYPERVISOR_H
#define LIBSPAWN_GUEST_XEN_HYPERVISOR_H

#include "guest/hypervisor.h"
#include "guest/xen/xen.h"

extern const struct libspawn__step libspawn__xen_steps[];

extern LIBSPAWN_EXPORT const struct libspawn__hypervisor
    libspawn__hypervisor_xen;

#endif
