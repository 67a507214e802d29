/*
 * How xl is called: help, versions, and what is wrong with a command line.
 */
#include <string.h>

#include "base/util.h"
#include "tests/cli/xl_story.h"

static void
assert_usage_error(const struct harness_output *output, const char *words)
{
    ck_assert_int_eq(output->status, 2);
    ck_assert_str_eq(output->out, "");
    assert_contains(output->err, words);
}

/* ---- Help -------------------------------------------------------------- */

TEST_TIMEOUT(help__lists_every_subcommand, XL_TEST_S)
{
    static const char *const names[] = {
        "create",  "destroy",  "list",  "console", "pause",      "unpause",
        "domid",   "shutdown", "reboot", "domname", "screenshot", "version",
        "events",
        "lock",    "config-update", "config-version",
    };
    AUTO_OUTPUT struct harness_output output = xl_run("help");
    size_t i;

    xl_assert_ok(&output);
    for (i = 0; i < ARRAY_SIZE(names); i++) {
        assert_contains(output.out, names[i]);
    }
}

TEST_TIMEOUT(help_of_a_subcommand__tells_its_options_on_stdout, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = xl_run("help", "create");
    AUTO_OUTPUT struct harness_output option = xl_run("create", "--help");

    xl_assert_ok(&output);
    assert_contains(output.out, "--paused");
    xl_assert_ok(&option);
    ck_assert_str_eq(option.out, output.out);
}

TEST_TIMEOUT(help_of_every_subcommand__is_no_error, XL_TEST_S)
{
    static const char *const names[] = {
        "create",     "destroy", "list",    "console", "pause", "unpause",
        "shutdown",   "reboot",  "domid",   "domname", "help",
        "screenshot", "version", "vncviewer", "events",
        "screenshot", "version", "vncviewer", "lock",
        "config-update", "config-version",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_OUTPUT struct harness_output output = xl_run(names[i], "--help");

        xl_assert_ok(&output);
        assert_contains(output.out, names[i]);
    }
}

TEST_TIMEOUT(help_of_an_unknown_subcommand__is_a_usage_error, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = xl_run("help", "create-guest");

    assert_usage_error(&output, "create-guest");
}

/* ---- Wrong calls ------------------------------------------------------- */

TEST_TIMEOUT(no_subcommand__is_a_usage_error, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output =
        harness_run(xl_path());

    assert_usage_error(&output, "usage: xl");
}

TEST_TIMEOUT(unknown_subcommand__is_named, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = xl_run("creat", "x.cfg");

    assert_usage_error(&output, "'creat'");
}

TEST_TIMEOUT(unknown_global_option__is_named, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = xl_run("--flux", "list");

    assert_usage_error(&output, "--flux");
}

TEST_TIMEOUT(unknown_option__is_named_with_the_usage, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output =
        xl_run("create", "--flux", "x.cfg");

    assert_usage_error(&output, "'--flux'");
    assert_contains(output.err, "usage: xl create");
}

TEST_TIMEOUT(unknown_short_option__is_named, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = xl_run("list", "-Z");

    assert_usage_error(&output, "-Z");
}

TEST_TIMEOUT(option_without_its_value__is_named, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output =
        xl_run("create", "x.cfg", "--timeout");

    assert_usage_error(&output, "--timeout");
}

TEST_TIMEOUT(timeout_that_is_no_number__is_a_usage_error, XL_TEST_S)
{
    static const char *const values[] = { "0", "-1", "12x", "", "86401" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(values); i++) {
        AUTO_OUTPUT struct harness_output output =
            xl_run("create", "--timeout", values[i], "x.cfg");

        assert_usage_error(&output, "--timeout");
    }
}

TEST_TIMEOUT(create_without_configuration__is_a_usage_error, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = xl_run("create");

    assert_usage_error(&output, "which configuration file?");
}

TEST_TIMEOUT(missing_or_extra_arguments__are_usage_errors, XL_TEST_S)
{
    static const char *const names[] = { "destroy", "pause",  "unpause",
                                         "domid",   "domname", "shutdown",
                                         "reboot",  "console",
                                         "config-version" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_OUTPUT struct harness_output none =
            harness_run(xl_path(), names[i]);
        AUTO_OUTPUT struct harness_output two = xl_run(names[i], "1", "2");

        assert_usage_error(&none, names[i]);
        assert_usage_error(&two, names[i]);
    }
}

TEST_TIMEOUT(screenshot_without_file__is_a_usage_error, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output none = xl_run("screenshot");
    AUTO_OUTPUT struct harness_output one = xl_run("screenshot", "1");

    assert_usage_error(&none, "usage: xl screenshot");
    assert_usage_error(&one, "usage: xl screenshot");
}

TEST_TIMEOUT(usage_error__makes_no_state_directory, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    output = xl_run("destroy");
    ck_assert_int_eq(output.status, 2);
    ck_assert_int_ne(access("state", F_OK), 0);
}

/* ---- Guests that do not exist ------------------------------------------ */

TEST_TIMEOUT(unknown_guest__is_named_by_every_subcommand, XL_TEST_S)
{
    static const char *const names[] = { "destroy", "pause",   "unpause",
                                         "domid",   "domname", "shutdown",
                                         "reboot",  "console", "list",
                                         "vncviewer" };
    size_t i;

    xl_begin();
    for (i = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_OUTPUT struct harness_output by_name = xl_run(names[i], "ghost");
        AUTO_OUTPUT struct harness_output by_id = xl_run(names[i], "77");

        xl_assert_error(&by_name, 1, "ghost");
        xl_assert_error(&by_id, 1, "77");
    }
    xl_assert_nothing_left();
}

TEST_TIMEOUT(list_without_guests__is_the_heading_alone, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output table = { 0 };
    AUTO_OUTPUT struct harness_output json = { 0 };

    xl_begin();
    table = xl_run("list");
    json = xl_run("list", "--json");
    xl_assert_ok(&table);
    xl_assert_ok(&json);
    ck_assert_str_eq(table.out,
                     "Name                                        ID   Mem "
                     "VCPUs\tState\tTime(s)\n");
    assert_contains(json.out, "[");
}

/* ---- Versions ---------------------------------------------------------- */

TEST_TIMEOUT(version__names_xl_and_the_hypervisor, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_OUTPUT struct harness_output option = { 0 };

    xl_begin();
    output = xl_run("version");
    option = xl_run("--version");
    xl_assert_ok(&output);
    xl_assert_ok(&option);
    assert_contains(output.out, "xl " LIBSPAWN_VERSION);
    ck_assert_str_eq(output.out, option.out);
}

TEST_TIMEOUT(output_that_cannot_be_written__is_a_failure, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    output = harness_run("/bin/sh", "-c", "exec \"$0\" list >/dev/full",
                         xl_path());
    ck_assert_int_eq(output.status, 1);
    assert_contains(output.err, "No space left on device");
}

TEST_MAIN("xl_usage")
