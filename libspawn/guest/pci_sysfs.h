/*
 * The PCI devices of this machine, as sysfs shows them: below a root that is a
 * parameter, in bus/pci/devices/ADDRESS, the files "class" and, a symbolic
 * link, "driver".
 *
 * Source: Documentation/ABI/testing/sysfs-bus-pci in the Linux tree.
 */
#ifndef LIBSPAWN_GUEST_PCI_SYSFS_H
#define LIBSPAWN_GUEST_PCI_SYSFS_H

#include <stddef.h>

#include "guest/pci_address.h"

enum {
    LIBSPAWN__PCI_DRIVER_SIZE = 64
};

struct libspawn__pci_device {
    struct libspawn__pci_address address;
    uint32_t class_code;                    /* 0x020000; 0 when not known */
    char driver[LIBSPAWN__PCI_DRIVER_SIZE]; /* "" for none */
};

/* LIBSPAWN_ERR_NOT_FOUND when there is no such device. */
int libspawn__pci_sysfs_look(const char *sysfs,
                             const struct libspawn__pci_address *address,
                             struct libspawn__pci_device *device_r,
                             struct libspawn_err *err);

/* All of them, by address; free with free(3).  None where there is no PCI. */
int libspawn__pci_sysfs_list(const char *sysfs,
                             struct libspawn__pci_device **devices_r,
                             size_t *n_r, struct libspawn_err *err);

/* The device that is meant.  Of a class all devices of the machine count, used
 * or not, so that a number means the same device at any time. */
int libspawn__pci_sysfs_find(const char *sysfs,
                             const struct libspawn__pci_choice *choice,
                             struct libspawn__pci_device *device_r,
                             struct libspawn_err *err);

#endif
