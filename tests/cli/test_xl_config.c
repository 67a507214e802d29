/*
 * Configurations that cannot be used: one clear error, its exit status, and
 * nothing left.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/xl_story.h"

/* ---- The file ---------------------------------------------------------- */

TEST_TIMEOUT(config_missing__is_named, XL_TEST_S)
{
    xl_begin();
    xl_assert_create_fails(1, "No such file or directory", "missing.cfg");
    xl_assert_create_fails(1, "'missing.cfg'", "missing.cfg");
}

TEST_TIMEOUT(config_unreadable__is_permission_denied, XL_TEST_S)
{
    xl_begin();
    if (!xl_become_somebody()) {
        return;
    }
    xl_write_config("");
    ck_assert_int_eq(chmod(XL_CONFIG, 0), 0);
    xl_assert_create_fails(1, "Permission denied", XL_CONFIG);
}

TEST_TIMEOUT(config_is_a_directory__says_so, XL_TEST_S)
{
    xl_begin();
    ck_assert_int_eq(mkdir(XL_CONFIG, 0755), 0);
    xl_assert_create_fails(1, "irectory", XL_CONFIG);
}

TEST_TIMEOUT(config_is_a_fifo__does_not_hang, XL_TEST_S)
{
    xl_begin();
    ck_assert_int_eq(mkfifo(XL_CONFIG, 0644), 0);
    xl_assert_create_fails(1, XL_CONFIG, XL_CONFIG);
}

TEST_TIMEOUT(config_empty__misses_a_name, XL_TEST_S)
{
    xl_begin();
    harness_write_file(XL_CONFIG, "");
    xl_assert_create_fails(1, "name", XL_CONFIG);
}

TEST_TIMEOUT(config_binary__is_refused_with_its_place, XL_TEST_S)
{
    xl_begin();
    xl_assert_create_fails(1, "/bin/true:1:", "/bin/true");
}

TEST_TIMEOUT(config_of_100_megabytes__is_refused_at_once, 30)
{
    AUTO_FD int fd = -1;
    int64_t began;

    xl_begin();
    fd = open(XL_CONFIG, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_eq(libspawn__fd_write_full(fd, "name = 'x'\n", 11), 0);
    ck_assert_int_eq(ftruncate(fd, 100 << 20), 0);
    began = libspawn__clock_now_ms();
    xl_assert_create_fails(1, "larger than", XL_CONFIG);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 3000);
}

TEST_TIMEOUT(config_with_an_open_end__is_refused_with_its_place, XL_TEST_S)
{
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        { "name = \"tale\nmemory = 16\n", XL_CONFIG ":1:" },
        { "name = \"tale\"\ndisk = [ 'a',\n", XL_CONFIG ":" },
        { "name = \"tale\"\nmemory = \n", XL_CONFIG ":2:" },
        { "name = \"tale\"\nmemory 16\n", XL_CONFIG ":2:" },
        { "name = \"tale\"\nmemory = 16 17\n", XL_CONFIG ":2:" },
        { "name = \"tale\"\nmemory = 16)\n", XL_CONFIG ":2:" },
    };
    size_t i;

    xl_begin();
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        harness_write_file(XL_CONFIG, cases[i].text);
        xl_assert_create_fails(1, cases[i].words, XL_CONFIG);
    }
}

/* ---- Values ------------------------------------------------------------ */

static void
assert_override_fails(const char *override, const char *words)
{
    xl_assert_create_fails(1, words, XL_CONFIG, override);
}

TEST_TIMEOUT(config_memory_out_of_range__is_refused, XL_TEST_S)
{
    static const char *const values[] = {
        "memory=0",          "memory=\"-1\"", "memory=\"12x\"",
        "memory=1e9",        "memory=[]",     "memory=\"\"",
        "memory=1000000000", "memory=99999999999999999999",
    };
    size_t i;

    xl_begin();
    xl_write_config("");
    for (i = 0; i < ARRAY_SIZE(values); i++) {
        assert_override_fails(values[i], "memory");
    }
    assert_override_fails("memory=-1", "command line:1:8: '-'");
}

TEST_TIMEOUT(config_values_of_the_wrong_type__are_refused, XL_TEST_S)
{
    static const char *const values[] = {
        "name=[]",          "vcpus=\"many\"", "disk=\"a.img\"",
        "serial=[[\"a\"]]", "vnc=\"maybe\"",  "vcpus=0",
        "kernel=[]",        "boot=[]",
    };
    size_t i;

    xl_begin();
    xl_write_config("");
    for (i = 0; i < ARRAY_SIZE(values); i++) {
        AUTO_FREE char *key = strndup(values[i], strcspn(values[i], "="));

        assert_override_fails(values[i], key);
    }
}

TEST_TIMEOUT(config_names_that_cannot_be__are_refused, XL_TEST_S)
{
    AUTO_FREE char *longest = NULL;
    char name[301];

    xl_begin();
    xl_write_config("");
    assert_override_fails("name=\"\"", "name");
    assert_override_fails("name=\"a/b\"", "name");
    assert_override_fails("name=\"../../etc\"", "name");
    assert_override_fails("name=\"123\"", "name");
    assert_override_fails("name=\"-p\"", "name");
    assert_override_fails("name=\"a\tb\"", "name");
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    longest = libspawn__str_format("name=\"%s\"", name);
    assert_override_fails(longest, "name");
}

/* Any name that is allowed must go all the way. */
TEST_TIMEOUT(config_names_that_are_odd_but_allowed__work, XL_TEST_S)
{
    static const char *const names[] = { "a", "with,comma", "x.y_z+1",
                                         "G\xc3\xa4st" };
    size_t i;

    xl_begin();
    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    xl_write_config("");
    for (i = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_FREE char *override =
            libspawn__str_format("name=\"%s\"", names[i]);
        AUTO_OUTPUT struct harness_output create =
            xl_run("create", "-p", XL_CONFIG, override);
        AUTO_OUTPUT struct harness_output destroy = { 0 };

        if (create.status) {
            /* Refused is fine too, if it is said and leaves nothing. */
            xl_assert_error(&create, 1, "name");
            xl_assert_nothing_left();
            continue;
        }
        destroy = xl_run("destroy", names[i]);
        xl_assert_ok(&destroy);
        xl_assert_nothing_left();
    }
}

TEST_TIMEOUT(config_with_a_fault_in_an_override__names_the_command_line,
             XL_TEST_S)
{
    xl_begin();
    xl_write_config("");
    assert_override_fails("memory=", "command line:1:8:");
    assert_override_fails("=16", "command line:1:1:");
    assert_override_fails("name=\"x", "command line:1:");
}

/* ---- What is not an error ---------------------------------------------- */

TEST_TIMEOUT(config_with_an_unknown_key__is_a_warning_with_file_and_line,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_OUTPUT struct harness_output quiet = { 0 };

    xl_begin();
    harness_write_file(XL_CONFIG, "name = \"tale\"\nmemroy = 16\n");
    output = xl_run("create", "-n", XL_CONFIG);
    quiet = xl_run("create", "-nq", XL_CONFIG);
    ck_assert_int_eq(output.status, 0);
    assert_contains(output.err, "xl: warning: " XL_CONFIG ":2");
    assert_contains(output.err, "memroy");
    assert_contains(output.err, "memory");
    xl_assert_ok(&quiet);
    ck_assert_str_eq(quiet.out, output.out);
}

TEST_TIMEOUT(dry_run__prints_the_configuration_and_touches_nothing, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_config("vcpus = 2");
    output = xl_run("create", "-n", XL_CONFIG, "vcpus=3");
    xl_assert_ok(&output);
    assert_contains(output.out, "\"" XL_GUEST "\"");
    assert_contains(output.out, "\"max_vcpus\": 3");
    ck_assert_int_ne(access("state", F_OK), 0);
}

TEST_TIMEOUT(dry_run_of_a_bad_configuration__fails, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_config("vcpus = []");
    output = xl_run("create", "-n", XL_CONFIG);
    xl_assert_error(&output, 1, "vcpus");
}

TEST_TIMEOUT(debug_option__prints_the_configuration_to_stderr_too, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_model_config("'--exit=3'");
    output = xl_run("create", "-d", XL_CONFIG);
    ck_assert_int_eq(output.status, 3);
    ck_assert_str_eq(output.out, "");
    assert_contains(output.err, "\"" XL_GUEST "\"");
    assert_contains(output.err, "exited with status 3");
}

TEST_TIMEOUT(configuration_as_an_option__is_the_same, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output plain = { 0 };
    AUTO_OUTPUT struct harness_output option = { 0 };
    AUTO_OUTPUT struct harness_output behind = { 0 };

    xl_begin();
    xl_write_config("");
    plain = xl_run("create", "-n", XL_CONFIG);
    option = xl_run("create", "-n", "-f", XL_CONFIG);
    behind = xl_run("create", XL_CONFIG, "-n");
    xl_assert_ok(&plain);
    xl_assert_ok(&option);
    ck_assert_str_eq(option.out, plain.out);
    ck_assert_str_eq(behind.out, plain.out);
}

TEST_MAIN("xl_config")
