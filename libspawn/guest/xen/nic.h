/*
 * Network cards.  An HVM guest meets one twice, like a disk: emulated by
 * QEMU on the host's interface "vifD.N-emu", and paravirtual on "vifD.N".
 * Both become ports of the bridge by the hotplug script.
 *
 * With LIBSPAWN_NIC_NET_USER there is only the emulated one, on QEMU's own
 * network.
 */
#ifndef LIBSPAWN_GUEST_XEN_NIC_H
#define LIBSPAWN_GUEST_XEN_NIC_H

#include "guest/xen/tree.h"
#include "include/libspawn-guest.h"

enum {
    LIBSPAWN__XEN_MAC_SIZE = 18,
    LIBSPAWN__XEN_INTERFACE_SIZE = 32
};

/* Its address; one that the configuration leaves open follows from the uuid,
 * so that it is the same at every start of that guest. */
void libspawn__xen_nic_mac(const struct libspawn_nic *nic, const char *uuid,
                           uint32_t index,
                           char mac[static LIBSPAWN__XEN_MAC_SIZE]);

/* Which of the two cards it has. */
bool libspawn__xen_nic_is_emulated(const struct libspawn_nic *nic,
                                   bool is_hvm);
bool libspawn__xen_nic_has_backend(const struct libspawn_nic *nic);

/* Name of its interface on the host.  Where the configuration has one of its
 * own, the script renames it. */
void
libspawn__xen_nic_interface(uint32_t domid, uint32_t index, bool is_emulated,
                            char name[static LIBSPAWN__XEN_INTERFACE_SIZE]);

const char *libspawn__xen_nic_bridge(const struct libspawn_nic *nic);

/* Writes card number 'index' of the guest. */
void libspawn__xen_nic_write(struct libspawn__tree *tree,
                             const struct libspawn_nic *nic, uint32_t index,
                             const char *uuid, bool is_hvm);

#endif
