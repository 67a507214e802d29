#include <string.h>

#include "base/util.h"
#include "guest/pci_address.h"
#include "tests/lib/harness.h"

static void
assert_reads(const char *text, const char *expected)
{
    struct libspawn__pci_address address;
    char again[LIBSPAWN__PCI_ADDRESS_SIZE];
    struct libspawn_err err;

    assert_ok(libspawn__pci_address_parse(text, &address, &err), &err);
    libspawn__pci_address_format(&address, again);
    ck_assert_str_eq(again, expected);
}

TEST(pci_address_in_any_spelling__is_written_as_sysfs_does)
{
    assert_reads("0000:01:00.0", "0000:01:00.0");
    assert_reads("01:00.0", "0000:01:00.0");
    assert_reads("1:0.0", "0000:01:00.0");
    assert_reads("AB:1F.7", "0000:ab:1f.7");
    assert_reads("10000:e1:00.0", "10000:e1:00.0");
    assert_reads("ffffffff:ff:1f.7", "ffffffff:ff:1f.7");
}

/* Covers P8. */
TEST(pci_address_that_is_none__is_invalid_and_the_output_untouched)
{
    static const char *const bad[] = {
        "",          "x",         "01:00",        "01:00.",
        "01:00.8",   "01:20.0",   "100:00.0",     "01:100.0",
        "01:00.00",  "01:00.0 ",  " 01:00.0",     "01.00.0",
        ":01:00.0",  "01::00.0",  "-1:00.0",      "0x1:00.0",
        "01:00.0,x", "01:00.0@5", "0:0:01:00.0",  "123456789:01:00.0",
        "g1:00.0",   "01:00.0\n", "class:0200#0", "01:00.0|02:00.0",
        "1:2:3:4.5", "+1:00.0",   "01:-1.0",      "01:00.*",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        struct libspawn__pci_address address = { .bus = 77 };
        struct libspawn_err err = { 0 };

        ck_assert_msg(libspawn__pci_address_parse(bad[i], &address, &err) ==
                          LIBSPAWN_ERR_INVALID,
                      "'%s' is taken for an address", bad[i]);
        assert_contains(err.text, "is not the address of a PCI device");
        ck_assert_uint_eq(address.bus, 77);
    }
}

TEST(pci_addresses__are_ordered_by_domain_bus_device_function)
{
    static const char *const sorted[] = { "00:00.0",   "00:00.7",
                                          "00:01.0",   "00:1f.7",
                                          "01:00.0",   "ff:1f.7",
                                          "1:00:00.0", "10000:00:00.0" };
    struct libspawn__pci_address a;
    struct libspawn__pci_address b;
    size_t i;

    for (i = 1; i < ARRAY_SIZE(sorted); i++) {
        assert_ok(libspawn__pci_address_parse(sorted[i - 1], &a, NULL), NULL);
        assert_ok(libspawn__pci_address_parse(sorted[i], &b, NULL), NULL);
        ck_assert_int_lt(libspawn__pci_address_compare(&a, &b), 0);
        ck_assert_int_gt(libspawn__pci_address_compare(&b, &a), 0);
        ck_assert_int_eq(libspawn__pci_address_compare(&b, &b), 0);
    }
}

TEST(pci_choices__come_one_after_the_other)
{
    const char *at = " 01:00.0 |class:0c03#12 | 2:0.1";
    struct libspawn__pci_choice choice;
    struct libspawn_err err;

    assert_ok(libspawn__pci_choice_next(&at, &choice, &err), &err);
    ck_assert(!choice.is_class);
    ck_assert_uint_eq(choice.address.bus, 1);
    assert_ok(libspawn__pci_choice_next(&at, &choice, &err), &err);
    ck_assert(choice.is_class);
    ck_assert_uint_eq(choice.class_code, 0x0c03);
    ck_assert_uint_eq(choice.index, 12);
    assert_ok(libspawn__pci_choice_next(&at, &choice, &err), &err);
    ck_assert(!choice.is_class);
    ck_assert_uint_eq(choice.address.function, 1);
    ck_assert_str_eq(at, "");
}

/* Covers P8. */
TEST(pci_choice_that_is_none__is_invalid)
{
    static const char *const bad[] = {
        "",
        "|",
        "|01:00.0",
        "01:00.0|",
        "class:",
        "class:0200",
        "class:0200#",
        "class:0200#x",
        "class:2#0",
        "class:0200#",
        "class:0200#-1",
        "class:02000#1",
        "class:0200#99999999999",
        "class:0200#65536",
        "01:00.0                                            x",
        "class:0200#0000000000000000000000000000000000000000001",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        struct libspawn__pci_choice choice = { .index = 77 };
        const char *at = bad[i];
        struct libspawn_err err;

        ck_assert_msg(libspawn__pci_choice_next(&at, &choice, &err) ==
                          LIBSPAWN_ERR_INVALID,
                      "'%s' is taken for a device", bad[i]);
        ck_assert_uint_eq(choice.index, 77);
    }
}

TEST_MAIN("pci_address")
