/*
 * xl config-update: another configuration for the next start, unless somebody
 * else was faster.
 */
#include <string.h>

#include "base/str.h"
#include "tests/cli/xl_story.h"

#define NEXT_CONFIG "state/guests/1/config.json.next"

static void
begin(void)
{
    AUTO_OUTPUT struct harness_output create = { 0 };

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    create = xl_run("create", XL_CONFIG);
    xl_assert_ok(&create);
}

static void
assert_version(const char *version)
{
    AUTO_OUTPUT struct harness_output output =
        xl_run("config-version", XL_GUEST);
    AUTO_FREE char *line = libspawn__str_format("%s\n", version);

    xl_assert_ok(&output);
    ck_assert_str_eq(output.out, line);
}

static void
assert_next_memory(int mib)
{
    AUTO_FREE char *next = harness_read_file(NEXT_CONFIG);
    AUTO_FREE char *member = libspawn__str_format("\"memory_mib\": %d,", mib);

    assert_contains(next, member);
}

TEST_TIMEOUT(update__is_stored_for_the_next_start_only, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output update = { 0 };
    AUTO_OUTPUT struct harness_output before = { 0 };
    AUTO_OUTPUT struct harness_output after = { 0 };

    begin();
    assert_version("1.0");
    before = xl_run("list", "-l");
    update = xl_run("config-update", XL_GUEST, XL_CONFIG, "memory=24");
    xl_assert_ok(&update);
    ck_assert_str_eq(update.out, "");
    after = xl_run("list", "-l");
    ck_assert_str_eq(after.out, before.out);
    assert_version("1.1");
    assert_next_memory(24);
    xl_destroy_guest();
}

/* Covers L17. */
TEST_TIMEOUT(update_of_an_old_version__is_refused_and_writes_nothing,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output first = { 0 };
    AUTO_OUTPUT struct harness_output second = { 0 };
    AUTO_OUTPUT struct harness_output third = { 0 };

    begin();
    first = xl_run("config-update", "--base=1.0", XL_GUEST, XL_CONFIG,
                   "memory=24");
    xl_assert_ok(&first);
    second = xl_run("config-update", "--base=1.0", XL_GUEST, XL_CONFIG,
                    "memory=48");
    xl_assert_error(&second, 1, "the configuration has changed: its version "
                                "is 1.1, not '1.0'");
    assert_version("1.1");
    assert_next_memory(24);
    third = xl_run("config-update", "--base=1.1", XL_GUEST, XL_CONFIG,
                   "memory=48");
    xl_assert_ok(&third);
    assert_next_memory(48);
    xl_destroy_guest();
}

/* Covers L17. */
TEST_TIMEOUT(two_updates_of_one_version_at_once__exactly_one_wins, XL_TEST_S)
{
    int i;

    begin();
    for (i = 0; i < 10; i++) {
        AUTO_FREE char *base = libspawn__str_format("--base=1.%d", i);
        struct xl_process first = xl_start("config-update", base, XL_GUEST,
                                           XL_CONFIG, "memory=24");
        struct xl_process second = xl_start("config-update", base, XL_GUEST,
                                            XL_CONFIG, "memory=48");
        int a = xl_wait(&first);
        int b = xl_wait(&second);

        ck_assert_msg((a == 0 && b == 1) || (a == 1 && b == 0),
                      "they end with %d and %d:\n%s%s", a, b, first.text,
                      second.text);
        assert_next_memory(a ? 48 : 24);
    }
    assert_version("1.10");
    xl_destroy_guest();
}

/* Whoever began with a guest that is gone must not change its successor. */
TEST_TIMEOUT(version_of_an_earlier_guest__is_refused, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output create = { 0 };
    AUTO_OUTPUT struct harness_output update = { 0 };

    begin();
    xl_destroy_guest();
    create = xl_run("create", XL_CONFIG);
    update = xl_run("config-update", "--base=1.0", XL_GUEST, XL_CONFIG);
    xl_assert_error(&update, 1, "its version is 2.0, not '1.0'");
    xl_destroy_guest();
}

TEST_TIMEOUT(update_by_the_file_of_another_guest__is_refused, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output update = { 0 };

    begin();
    update = xl_run("config-update", XL_GUEST, XL_CONFIG, "name=\"other\"");
    xl_assert_error(&update, 1, "is for a guest 'other', but this one is '"
                                XL_GUEST "'");
    assert_version("1.0");
    xl_destroy_guest();
}

TEST_TIMEOUT(update_by_a_wrong_file__is_refused, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output wrong = { 0 };
    AUTO_OUTPUT struct harness_output missing = { 0 };

    begin();
    wrong = xl_run("config-update", XL_GUEST, XL_CONFIG, "memory=0");
    ck_assert_int_eq(wrong.status, 1);
    missing = xl_run("config-update", XL_GUEST, "-f", "missing.cfg");
    xl_assert_error(&missing, 1, "missing.cfg");
    assert_version("1.0");
    ck_assert_int_ne(access(NEXT_CONFIG, F_OK), 0);
    xl_destroy_guest();
}

TEST_TIMEOUT(update_without_guest_or_file__is_a_usage_error, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output no_guest = xl_run("config-update");
    AUTO_OUTPUT struct harness_output no_file =
        xl_run("config-update", XL_GUEST);

    ck_assert_int_eq(no_guest.status, 2);
    assert_contains(no_guest.err, "which guest?");
    ck_assert_int_eq(no_file.status, 2);
    assert_contains(no_file.err, "which configuration file?");
}

TEST_MAIN("xl_config_update")
