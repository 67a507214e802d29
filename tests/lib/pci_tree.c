#include "tests/lib/pci_tree.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "tests/lib/harness.h"

#define DEVICES PCI_TREE "/bus/pci/devices"

void
pci_tree_begin(void)
{
    AUTO_FREE char *path = libspawn__str_format("%s/" PCI_TREE, harness_dir());

    assert_ok(libspawn__dir_make(DEVICES, 0755, NULL), NULL);
    ck_assert_int_eq(setenv("XL_SYSFS_DIR", path, 1), 0);
}

void
pci_tree_set_driver(const char *address, const char *driver)
{
    AUTO_FREE char *link = libspawn__str_format(DEVICES "/%s/driver", address);
    AUTO_FREE char *target =
        libspawn__str_format("../../../bus/pci/drivers/%s", driver);

    unlink(link);
    if (driver) {
        ck_assert_int_eq(symlink(target, link), 0);
    }
}

void
pci_tree_add(const char *address, unsigned int class_code, const char *driver)
{
    AUTO_FREE char *dir = libspawn__str_format(DEVICES "/%s", address);
    AUTO_FREE char *class_file = libspawn__str_format("%s/class", dir);
    AUTO_FREE char *text = libspawn__str_format("0x%06x\n", class_code);

    assert_ok(libspawn__dir_make(dir, 0755, NULL), NULL);
    harness_write_file(class_file, text);
    pci_tree_set_driver(address, driver);
}

void
pci_tree_remove(const char *address)
{
    AUTO_FREE char *dir = libspawn__str_format(DEVICES "/%s", address);

    assert_ok(libspawn__dir_remove_tree(dir, NULL), NULL);
}
