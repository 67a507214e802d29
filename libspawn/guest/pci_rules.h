/*
 * The rules by which PCI devices are given: is the guest of a reservation
 * still there, and may the device be given at all?
 */
#ifndef LIBSPAWN_GUEST_PCI_RULES_H
#define LIBSPAWN_GUEST_PCI_RULES_H

#include "guest/hypervisor.h"
#include "guest/pci_sysfs.h"
#include "guest/pci_table.h"

/* When the guest was made, by its node, in seconds since 1970;
 * LIBSPAWN_ERR_NOT_FOUND. */
int libspawn__pci_read_created(struct libspawn_host *host, const char *uuid,
                               int64_t *created_r, struct libspawn_err *err);

/* Whether the very guest that has it is there; one of which that cannot be
 * told is. */
bool libspawn__pci_is_alive(struct libspawn_host *host,
                            const struct libspawn__pci_record *record);

/* Whether it is nobody's any more, though nobody said so. */
bool libspawn__pci_is_stale(struct libspawn_host *host,
                            const struct libspawn__pci_record *record);

/* "guest 'a' (UUID) since TIME"; new, or NULL. */
char *libspawn__pci_describe_owner(const struct libspawn__pci_record *record);

/* LIBSPAWN_ERR_EXISTS, and whose it is. */
int libspawn__pci_fail_reserved(const struct libspawn__pci_record *record,
                                struct libspawn_err *err);

/* Whether its driver is the one that hands it on: vfio-pci, or one that is
 * named like it, as those for one kind of device are; on Xen pciback. */
bool libspawn__pci_is_assignable(const struct libspawn_host *host,
                                 const struct libspawn__pci_device *device);

/* LIBSPAWN_ERR_DENIED when it is not. */
int libspawn__pci_check_assignable(const struct libspawn_host *host,
                                   const struct libspawn__pci_device *device,
                                   struct libspawn_err *err);

#endif
