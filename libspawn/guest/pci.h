/*
 * Reserving PCI devices of the host for guests: who may have which, and until
 * when.  Where they are, is guest/pci_sysfs.h; what is written down,
 * guest/pci_table.h.
 *
 * A device belongs to a guest, by name, uuid and the time of its making; never
 * to a process.  So nothing that happens to a device model, its supervisor or
 * its creator touches a reservation: it ends with the guest.  One whose guest
 * is gone without a word is stale, and whoever wants the device takes it over,
 * with a line in the event log.  Besides, a device can be kept for a name,
 * whether there is such a guest or not (libspawn_pci_reserve).
 *
 * The lock of the table, STATE_DIR/locks/pci, is held for the moment of a
 * change, and is the last of all: who has any other lock may take it.
 */
#ifndef LIBSPAWN_GUEST_PCI_H
#define LIBSPAWN_GUEST_PCI_H

#include "base/str.h"
#include "guest/hypervisor.h"

/* Makes the devices of the guest those that 'config' asks for, all or none:
 * what it has and wants it keeps, what it does not want any more is free.  Its
 * nodes must be there.  Adds their addresses to 'devices', in the order of the
 * configuration.  Codes: as libspawn_pci_reserve. */
int libspawn__pci_reserve_for_guest(struct libspawn_host *host,
                                    const struct libspawn_guest_config *config,
                                    const char *uuid,
                                    struct libspawn__strv *devices,
                                    struct libspawn_err *err);

/* The guest is about to be gone: what it has is free, or is kept for its name.
 * A failure is only warned of, since the reservations are stale then. */
void libspawn__pci_release_guest(struct libspawn_host *host, const char *uuid);

#endif
