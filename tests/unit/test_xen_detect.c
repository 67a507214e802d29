/*
 * Whether this machine is the control domain of a Xen host, by the files that
 * the kernel shows.
 */
#include <stdio.h>

#include "base/fd.h"
#include "guest/xen_detect.h"
#include "tests/lib/harness.h"

static void
make(const char *directory, const char *name, const char *text)
{
    char path[128];

    assert_ok(libspawn__dir_make(directory, 0755, NULL), NULL);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    harness_write_file(path, text);
}

TEST(detect_without_any_file__is_no_xen)
{
    ck_assert_int_eq(libspawn__xen_detect("."), LIBSPAWN__XEN_NONE);
}

TEST(detect_capabilities_of_dom0__is_the_control_domain)
{
    make("proc/xen", "capabilities", "control_d\n");
    ck_assert_int_eq(libspawn__xen_detect("."), LIBSPAWN__XEN_CONTROL);
}

TEST(detect_empty_capabilities__is_a_guest)
{
    make("proc/xen", "capabilities", "");
    make("sys/hypervisor", "type", "xen\n");
    ck_assert_int_eq(libspawn__xen_detect("."), LIBSPAWN__XEN_GUEST);
}

TEST(detect_without_xenfs__looks_at_the_features)
{
    make("sys/hypervisor", "type", "xen\n");
    make("sys/hypervisor/properties", "features", "000220f0\n");
    ck_assert_int_eq(libspawn__xen_detect("."), LIBSPAWN__XEN_GUEST);
    make("sys/hypervisor/properties", "features", "000228f0\n");
    ck_assert_int_eq(libspawn__xen_detect("."), LIBSPAWN__XEN_CONTROL);
}

TEST(detect_another_hypervisor__is_no_xen)
{
    make("sys/hypervisor", "type", "other\n");
    make("sys/hypervisor/properties", "features", "ffffffff\n");
    ck_assert_int_eq(libspawn__xen_detect("."), LIBSPAWN__XEN_NONE);
}

TEST_MAIN("xen_detect")
