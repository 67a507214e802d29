#include "proc/core_file.h"

#include "base/auto.h"
#include "tests/lib/harness.h"

static const struct libspawn__core_owner owner = {
    .pid = 42,
    .signal = 11,
    .program = "/usr/bin/qemu-system-x86_64",
    .directory = "/state/guests/1",
};

static void
assert_name(const char *pattern, bool uses_pid, const char *expected)
{
    AUTO_FREE char *name =
        libspawn__core_file_name(pattern, uses_pid, &owner);

    ck_assert_ptr_nonnull(name);
    ck_assert_str_eq(name, expected);
}

TEST(core_file_relative__is_in_the_working_directory)
{
    assert_name("core", false, "/state/guests/1/core");
    assert_name("core", true, "/state/guests/1/core.42");
}

TEST(core_file_absolute__has_what_is_known_of_the_process)
{
    assert_name("/cores/%e.%p.%s%%", true, "/cores/qemu-system-x86.42.11%");
    assert_name("/cores/%f", false, "/cores/qemu-system-x86_64");
}

/* A wrong name would be another's core. */
TEST(core_file_that_cannot_be_known__has_no_name)
{
    ck_assert_ptr_null(libspawn__core_file_name("core.%t", false, &owner));
    ck_assert_ptr_null(libspawn__core_file_name("core%", false, &owner));
    ck_assert_ptr_null(libspawn__core_file_name("", false, &owner));
}

/* Covers F8. */
TEST(core_file_of_a_program__has_no_name)
{
    ck_assert_ptr_null(
        libspawn__core_file_name("|/usr/bin/handler %p", false, &owner));
}

TEST_MAIN("core_file")
