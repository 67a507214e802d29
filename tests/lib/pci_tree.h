/*
 * A made-up machine with PCI devices: what guest/pci_sysfs.h looks at, as
 * directories and links in the test's directory.
 */
#ifndef TESTS_LIB_PCI_TREE_H
#define TESTS_LIB_PCI_TREE_H

/* Without a device yet.  Programs that are started look at it, too. */
void pci_tree_begin(void);
#define PCI_TREE "sys"

/* "0000:01:00.0", 0x020000, "vfio-pci"; NULL: no driver. */
void pci_tree_add(const char *address, unsigned int class_code,
                  const char *driver);
void pci_tree_remove(const char *address);
void pci_tree_set_driver(const char *address, const char *driver);

#endif
