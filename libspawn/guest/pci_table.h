/*
 * Which PCI device is whose: STATE_DIR/pci, replaced as a whole by whoever has
 * the lock of it (guest/pci.c).  docs/PROTOCOLS.md, "PCI reservations", has
 * the format.  Readers need no lock.
 *
 * It knows of no guest that lives or not, of no device model and no process.
 */
#ifndef LIBSPAWN_GUEST_PCI_TABLE_H
#define LIBSPAWN_GUEST_PCI_TABLE_H

#include <stddef.h>

#include "base/auto.h"
#include "guest/pci_address.h"

struct libspawn__pci_record {
    struct libspawn__pci_address address;
    char *name;       /* of the guest */
    char uuid[37];    /* of the guest that has it; "": none does */
    int64_t created;  /* when that was made, in seconds since 1970 */
    int64_t since_ms; /* since 1970 */
    bool is_kept;     /* for the name, also when it has no guest */
};

struct libspawn__pci_table {
    struct libspawn__pci_record *records; /* by address */
    size_t n;
};

void libspawn__pci_table_dispose(struct libspawn__pci_table *table);
#define AUTO_PCI_TABLE AUTO(libspawn__pci_table_dispose)

/* Without a file an empty one.  LIBSPAWN_ERR_PROTOCOL for what was not written
 * by libspawn__pci_table_write: nothing is taken for free then. */
int libspawn__pci_table_read(const char *state_dir,
                             struct libspawn__pci_table *table_r,
                             struct libspawn_err *err);
/* An empty one is no file. */
int libspawn__pci_table_write(const char *state_dir,
                              const struct libspawn__pci_table *table,
                              struct libspawn_err *err);

/* NULL: it is free. */
struct libspawn__pci_record *
libspawn__pci_table_find(const struct libspawn__pci_table *table,
                         const struct libspawn__pci_address *address);

/* Takes the place of the one of its address, if there is one; 'record' is
 * copied. */
int libspawn__pci_table_put(struct libspawn__pci_table *table,
                            const struct libspawn__pci_record *record,
                            struct libspawn_err *err);
void libspawn__pci_table_remove(struct libspawn__pci_table *table,
                                struct libspawn__pci_record *record);

#endif
