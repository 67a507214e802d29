#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "guest/pci_sysfs.h"
#include "tests/lib/harness.h"
#include "tests/lib/pci_tree.h"

static int
find(const char *text, struct libspawn__pci_device *device_r,
     struct libspawn_err *err)
{
    struct libspawn__pci_choice choice = { .is_class = false };

    assert_ok(libspawn__pci_choice_next(&text, &choice, err), err);
    return libspawn__pci_sysfs_find(PCI_TREE, &choice, device_r, err);
}

TEST(pci_device__is_found_with_class_and_driver)
{
    struct libspawn__pci_device device;
    struct libspawn_err err;

    pci_tree_begin();
    pci_tree_add("0000:01:00.0", 0x020000, "vfio-pci");
    pci_tree_add("0000:01:00.1", 0x0c0330, NULL);
    assert_ok(find("01:00.0", &device, &err), &err);
    ck_assert_uint_eq(device.class_code, 0x020000);
    ck_assert_str_eq(device.driver, "vfio-pci");
    assert_ok(find("01:00.1", &device, &err), &err);
    ck_assert_uint_eq(device.class_code, 0x0c0330);
    ck_assert_str_eq(device.driver, "");
}

/* Covers P8. */
TEST(pci_device_that_is_not_there__is_not_found)
{
    struct libspawn__pci_device device = { .class_code = 77 };
    struct libspawn_err err;

    assert_code(find("01:00.0", &device, &err), LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "there is no PCI device 0000:01:00.0");
    pci_tree_begin();
    pci_tree_add("0000:01:00.0", 0x020000, "vfio-pci");
    assert_code(find("01:00.1", &device, &err), LIBSPAWN_ERR_NOT_FOUND);
    assert_code(find("1:01:00.0", &device, &err), LIBSPAWN_ERR_NOT_FOUND);
    assert_code(find("class:0200#1", &device, &err), LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "this machine has 1 of that class");
    ck_assert_uint_eq(device.class_code, 77);
}

TEST(pci_list__is_by_address_and_leaves_out_what_is_no_device)
{
    AUTO_FREE struct libspawn__pci_device *devices = NULL;
    struct libspawn_err err;
    size_t n = 77;

    pci_tree_begin();
    pci_tree_add("10000:00:00.0", 0x010802, NULL);
    pci_tree_add("0000:02:00.0", 0x020000, NULL);
    pci_tree_add("0000:00:1f.7", 0x060100, NULL);
    harness_write_file(PCI_TREE "/bus/pci/devices/README", "x");
    assert_ok(libspawn__pci_sysfs_list(PCI_TREE, &devices, &n, &err), &err);
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(devices[0].address.device, 0x1f);
    ck_assert_uint_eq(devices[1].address.bus, 2);
    ck_assert_uint_eq(devices[2].address.domain, 0x10000);
}

TEST(pci_list_of_a_machine_without_pci__is_empty)
{
    struct libspawn__pci_device *devices = NULL;
    struct libspawn_err err;
    size_t n = 77;

    assert_ok(libspawn__pci_sysfs_list("nowhere", &devices, &n, &err), &err);
    ck_assert_uint_eq(n, 0);
    free(devices);
}

/* Covers P3: a number means the same device, whoever drives the others. */
TEST(pci_number_in_a_class__does_not_depend_on_drivers)
{
    struct libspawn__pci_device device;
    struct libspawn_err err;

    pci_tree_begin();
    pci_tree_add("0000:03:00.0", 0x020000, "vfio-pci");
    pci_tree_add("0000:01:00.0", 0x020000, "e1000e");
    pci_tree_add("0000:02:00.0", 0x020700, "mlx5_core");
    assert_ok(find("class:0200#1", &device, &err), &err);
    ck_assert_uint_eq(device.address.bus, 3);
    pci_tree_set_driver("0000:01:00.0", "vfio-pci");
    assert_ok(find("class:0200#1", &device, &err), &err);
    ck_assert_uint_eq(device.address.bus, 3);
    assert_ok(find("class:0207#0", &device, &err), &err);
    ck_assert_uint_eq(device.address.bus, 2);
}

TEST_MAIN("pci_sysfs")
