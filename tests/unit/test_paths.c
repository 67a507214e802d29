/*
 * Paths in the store, as stock Xen and our other programs know them.
 */
#include "base/auto.h"
#include "base/str.h"
#include "store/paths.h"
#include "tests/lib/harness.h"

static void
assert_path(enum libspawn__path path, const char *expected)
{
    AUTO_FREE char *text = libspawn__path_new(path, 7);

    ck_assert_str_eq(text, expected);
}

TEST(path_of_a_guest__has_its_domid_in_the_right_place)
{
    assert_path(LIBSPAWN__PATH_DOMAIN, "/local/domain/7");
    assert_path(LIBSPAWN__PATH_DOMAIN_NAME, "/local/domain/7/name");
    assert_path(LIBSPAWN__PATH_CONSOLE_VNC_PORT,
                "/local/domain/7/console/vnc-port");
    assert_path(LIBSPAWN__PATH_DM_STATE,
                "/local/domain/0/device-model/7/state");
    assert_path(LIBSPAWN__PATH_DM_PID,
                "/local/domain/7/image/device-model-pid");
    assert_path(LIBSPAWN__PATH_LIBXL_DM_VERSION, "/libxl/7/dm-version");
    assert_path(LIBSPAWN__PATH_RECORD, "/libxl/7/libspawn/dm");
}

TEST(path_every_one__is_in_the_table)
{
    unsigned int path;

    for (path = 0; path <= LIBSPAWN__PATH_RECORD; path++) {
        AUTO_FREE char *text = libspawn__path_new(path, 7);

        ck_assert(libspawn__str_has_prefix(text, "/l"));
        assert_contains(text, "/7");
    }
}

TEST(path_of_a_device__names_both_ends)
{
    AUTO_FREE char *frontend = libspawn__path_frontend(7, "vbd", 51712);
    AUTO_FREE char *backend = libspawn__path_backend(0, "vbd", 7, 51712);
    AUTO_FREE char *copy = libspawn__path_libxl_device(7, "vbd", 51712);

    ck_assert_str_eq(frontend, "/local/domain/7/device/vbd/51712");
    ck_assert_str_eq(backend, "/local/domain/0/backend/vbd/7/51712");
    ck_assert_str_eq(copy, "/libxl/7/device/vbd/51712");
}

TEST(path_of_a_uuid__is_below_vm)
{
    AUTO_FREE char *vm = libspawn__path_vm("u-1");
    AUTO_FREE char *tty = libspawn__path_serial_tty(7, 0);
    AUTO_FREE char *address = libspawn__path_serial_address(7, 1);

    ck_assert_str_eq(vm, "/vm/u-1");
    ck_assert_str_eq(tty, "/local/domain/7/serial/0/tty");
    ck_assert_str_eq(address, "/libxl/7/libspawn/serial/1");
}

TEST_MAIN("paths")
