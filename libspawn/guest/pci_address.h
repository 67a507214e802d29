/*
 * Addresses of PCI devices, and how a configuration says which it wants:
 *
 *     [DOMAIN:]BUS:DEVICE.FUNCTION     in hexadecimal, as lspci shows it
 *     class:CCCC#N                     the N-th device of a class, from 0
 *
 * and several of these with "|" in between, of which one is enough.  Nothing
 * is looked up here; that is guest/pci_sysfs.h.
 */
#ifndef LIBSPAWN_GUEST_PCI_ADDRESS_H
#define LIBSPAWN_GUEST_PCI_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
    LIBSPAWN__PCI_ADDRESS_SIZE = 20 /* "ffffffff:ff:1f.7", and some */
};

struct libspawn__pci_address {
    uint32_t domain;
    uint8_t bus;
    uint8_t device;
    uint8_t function;
};

/* The whole of 'text'; LIBSPAWN_ERR_INVALID for anything else. */
int libspawn__pci_address_parse(const char *text,
                                struct libspawn__pci_address *address_r,
                                struct libspawn_err *err);

/* "0000:01:00.0", the name of its directory in sysfs. */
void libspawn__pci_address_format(const struct libspawn__pci_address *address,
                                  char text[LIBSPAWN__PCI_ADDRESS_SIZE]);

/* Less than, equal to or greater than 0: the order of all lists. */
int libspawn__pci_address_compare(const struct libspawn__pci_address *a,
                                  const struct libspawn__pci_address *b);

/* One device that would do. */
struct libspawn__pci_choice {
    bool is_class;
    struct libspawn__pci_address address; /* unless is_class */
    uint16_t class_code;                  /* the upper half, "0200" */
    uint32_t index;
};

/* What stands in '*at' before the next "|", which '*at' is moved behind, or to
 * the end.  LIBSPAWN_ERR_INVALID, also for nothing at all. */
int libspawn__pci_choice_next(const char **at,
                              struct libspawn__pci_choice *choice_r,
                              struct libspawn_err *err);

#endif
