/*
 * Names of virtual disks and Xen's numbers for them.
 */
#include "base/util.h"
#include "guest/vdev.h"
#include "tests/lib/harness.h"

TEST(vdev_names__give_xens_numbers)
{
    static const struct {
        const char *name;
        struct libspawn__vdev vdev;
    } cases[] = {
        { "xvda", { LIBSPAWN__VDEV_XVD, 0, 0, 0xca00 } },
        { "xvdb3", { LIBSPAWN__VDEV_XVD, 1, 3, 0xca13 } },
        { "xvdp15", { LIBSPAWN__VDEV_XVD, 15, 15, 0xcaff } },
        { "xvdp16", { LIBSPAWN__VDEV_XVD, 15, 16, 0x10000f10 } },
        { "xvdq", { LIBSPAWN__VDEV_XVD, 16, 0, 0x10001000 } },
        { "xvdaa", { LIBSPAWN__VDEV_XVD, 26, 0, 0x10001a00 } },
        { "xvdzz255", { LIBSPAWN__VDEV_XVD, 701, 255, 0x1002bdff } },
        { "d0p0", { LIBSPAWN__VDEV_XVD, 0, 0, 0xca00 } },
        { "d1p2", { LIBSPAWN__VDEV_XVD, 1, 2, 0xca12 } },
        { "d1048575p255", { LIBSPAWN__VDEV_XVD, 1048575, 255, 0x1fffffff } },
        { "hda", { LIBSPAWN__VDEV_IDE, 0, 0, 0x0300 } },
        { "hdb1", { LIBSPAWN__VDEV_IDE, 1, 1, 0x0341 } },
        { "hdc", { LIBSPAWN__VDEV_IDE, 2, 0, 0x1600 } },
        { "hdd63", { LIBSPAWN__VDEV_IDE, 3, 63, 0x167f } },
        { "sda", { LIBSPAWN__VDEV_SCSI, 0, 0, 0x0800 } },
        { "sdp15", { LIBSPAWN__VDEV_SCSI, 15, 15, 0x08ff } },
        { "vda", { LIBSPAWN__VDEV_VIRTIO, 0, 0, 0 } },
        { "vdb2", { LIBSPAWN__VDEV_VIRTIO, 1, 2, 0 } },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        struct libspawn__vdev vdev = { 0 };
        struct libspawn_err err;

        assert_ok(libspawn__vdev_parse(cases[i].name, &vdev, &err), &err);
        ck_assert_int_eq(vdev.bus, cases[i].vdev.bus);
        ck_assert_uint_eq(vdev.disk, cases[i].vdev.disk);
        ck_assert_uint_eq(vdev.partition, cases[i].vdev.partition);
        ck_assert_uint_eq(vdev.xen_id, cases[i].vdev.xen_id);
    }
}

TEST(vdev_numbers__are_the_same_disks_as_names)
{
    static const char *const pairs[][2] = {
        { "51712", "xvda" },      { "0xca13", "xvdb3" },
        { "0145023", "xvdb3" },   { "0x10001000", "xvdq" },
        { "768", "hda" },         { "0x341", "hdb1" },
        { "0x167f", "hdd63" },    { "2048", "sda" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(pairs); i++) {
        struct libspawn__vdev a = { 0 };
        struct libspawn__vdev b = { 0 };

        assert_ok(libspawn__vdev_parse(pairs[i][0], &a, NULL), NULL);
        assert_ok(libspawn__vdev_parse(pairs[i][1], &b, NULL), NULL);
        ck_assert_int_eq(a.bus, b.bus);
        ck_assert_uint_eq(a.disk, b.disk);
        ck_assert_uint_eq(a.partition, b.partition);
        ck_assert_uint_eq(a.xen_id, b.xen_id);
    }
}

TEST(vdev_number_of_no_known_bus__keeps_its_number)
{
    struct libspawn__vdev vdev = { 0 };

    assert_ok(libspawn__vdev_parse("0x2100", &vdev, NULL), NULL);
    ck_assert_int_eq(vdev.bus, LIBSPAWN__VDEV_OTHER);
    ck_assert_uint_eq(vdev.xen_id, 0x2100);
    assert_ok(libspawn__vdev_parse("0x3ff", &vdev, NULL), NULL);
    ck_assert_int_eq(vdev.bus, LIBSPAWN__VDEV_OTHER);
}

TEST(vdev_what_is_no_name__is_refused)
{
    static const char *const names[] = {
        "",       "xvd",      "xvdA",     "xvda0",     "xvda01",
        "xvda256", "xvda1x",  "hde",      "hda64",     "sdq",
        "sda16",  "hda ",     " hda",     "fd0",       "d1",
        "d1p",    "dp1",      "d01p1",    "d1p01",     "d1048576p0",
        "d1p256", "0x",       "08",       "2147483648", "-1",
        "51712x", "cdrom",    "xvdzzzzzzzzzzzz",
        "xvda99999999999999999999",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        struct libspawn__vdev vdev = { .disk = 42 };

        if (libspawn__vdev_parse(names[i], &vdev, NULL) !=
            LIBSPAWN_ERR_INVALID) {
            ck_abort_msg("'%s' was taken for a vdev", names[i]);
        }
        ck_assert_uint_eq(vdev.disk, 42);
    }
}

TEST_MAIN("vdev")
