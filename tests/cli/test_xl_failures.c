/*
 * A device model that fails: the first line names guest, program, what
 * happened and how long it lived; then its last lines; then the log.  The
 * exit status is the one of the table in xl(1).
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/xl_story.h"
#include "wire/json.h"

/* Runs xl create with a model that is called so. */
static struct harness_output
create_with(const char *arguments)
{
    xl_begin();
    xl_write_model_config(arguments);
    return xl_run("create", XL_CONFIG);
}

static void
assert_failure(const char *arguments, int status, const char *words)
{
    AUTO_OUTPUT struct harness_output output = create_with(arguments);
    AUTO_FREE char *begin = libspawn__str_format(
        "xl: guest '" XL_GUEST "': device model '%s' ", xl_model_path());

    xl_assert_error(&output, status, words);
    assert_contains(output.err, begin);
    xl_assert_nothing_left();
}

/* ---- The table of exit statuses ---------------------------------------- */

/* Covers X2, D10. */
TEST_TIMEOUT(model_exits__its_code_is_passed_on, XL_TEST_S)
{
    assert_failure("'--exit=1'", 1, "exited with status 1 after ");
    assert_failure("'--exit=37'", 37, "exited with status 37 after ");
    assert_failure("'--exit=125'", 125, "exited with status 125 after ");
}

TEST_TIMEOUT(model_exits_with_a_code_of_others__is_1, XL_TEST_S)
{
    assert_failure("'--exit=126'", 1, "exited with status 126 after ");
    assert_failure("'--exit=127'", 1, "exited with status 127 after ");
    assert_failure("'--exit=255'", 1, "exited with status 255 after ");
}

/* Covers X3, D11. */
TEST_TIMEOUT(model_exits_with_zero__is_1_and_unexpected, XL_TEST_S)
{
    assert_failure("'--exit=0'", 1, "unexpectedly exited with status 0");
}

/* Covers X4, D12. */
TEST_TIMEOUT(model_dies_by_a_signal__is_128_and_the_signal_by_name, XL_TEST_S)
{
    assert_failure("'--signal=SEGV'", 128 + SIGSEGV,
                   "was killed by SIGSEGV (Segmentation fault)");
    assert_failure("'--signal=KILL'", 128 + SIGKILL,
                   "was killed by SIGKILL (Killed)");
    assert_failure("'--signal=TERM'", 128 + SIGTERM,
                   "was killed by SIGTERM (Terminated)");
}

/* Covers X5, D13. */
TEST_TIMEOUT(model_is_not_ready_in_time__is_124_with_length_and_stage,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    int64_t began;

    xl_begin();
    xl_write_model_config("'--mute'");
    began = libspawn__clock_now_ms();
    output = xl_run("create", "--timeout=1", XL_CONFIG);
    ck_assert_int_ge(libspawn__clock_now_ms() - began, 1000);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 4000);
    xl_assert_error(&output, 124, "was not ready within 1 s (waiting for its "
                                  "QMP greeting) and was ended");
    xl_assert_nothing_left();
}

TEST_TIMEOUT(model_talks_rubbish__is_refused, XL_TEST_S)
{
    assert_failure("'--garbage'", 1, "was refused and ended: ");
}

/* ---- What it said ------------------------------------------------------ */

/* Covers X2. */
TEST_TIMEOUT(model_complained__its_lines_and_the_log_follow, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output =
        create_with("'--stderr=first', '--stderr=second', '--exit=1'");
    AUTO_FREE char *rest = libspawn__str_format(
        "its last output:\n  | first\n  | second\n"
        "log: %s/state/log/qemu-dm-" XL_GUEST ".log\n",
        harness_dir());
    AUTO_FREE char *log =
        harness_read_file("state/log/qemu-dm-" XL_GUEST ".log");

    assert_contains(output.err, rest);
    ck_assert_str_eq(log, "first\nsecond\n");
}

TEST_TIMEOUT(model_said_much__only_the_last_twenty_lines_are_shown, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output =
        create_with("'--noise=100000', '--exit=1'");
    const char *p;
    size_t n = 0;

    for (p = output.err; (p = strstr(p, "\n  | ")); p++) {
        n++;
    }
    ck_assert_uint_eq(n, 20);
}

TEST_TIMEOUT(failure_as_json__is_one_object_on_stdout, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_JSON struct libspawn__json *json = NULL;
    const struct libspawn__json *report;
    struct libspawn_err err;
    int64_t code = 0;

    xl_begin();
    xl_write_model_config("'--stderr=oops', '--exit=5'");
    output = xl_run("create", "--json", XL_CONFIG);
    ck_assert_int_eq(output.status, 5);
    assert_ok(libspawn__json_parse(output.out, strlen(output.out), 1 << 20,
                                   &json, &err),
              &err);
    ck_assert_str_eq(
        libspawn__json_string(libspawn__json_member(json, "name")), XL_GUEST);
    ck_assert_str_eq(
        libspawn__json_string(libspawn__json_member(json, "error")), "child");
    report = libspawn__json_member(json, "report");
    ck_assert(libspawn__json_integer(
        libspawn__json_member(report, "exit_code"), &code));
    ck_assert_int_eq(code, 5);
    ck_assert_str_eq(
        libspawn__json_string(libspawn__json_member(report, "tail")),
        "oops\n");
    xl_assert_nothing_left();
}

/* ---- Later ------------------------------------------------------------- */

/* It answered, and died before the guest was handed over. */
TEST_TIMEOUT(model_dies_once_it_is_ready__create_still_fails, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output =
        create_with("'--no-answer=cont', '--exit-after-ready=9'");

    xl_assert_error(&output, 9, "exited with status 9");
    xl_assert_nothing_left();
}

/* What it leaves behind is not left. */
TEST_TIMEOUT(model_leaves_a_process__it_is_ended, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output =
        create_with("'--fork-child', '--exit-after-ready=9', "
                    "'--no-answer=query-status'");

    ck_assert_int_eq(output.status, 9);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(create_after_a_failure__works_at_once, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    output = create_with("'--exit=1'");
    ck_assert_int_eq(output.status, 1);
    xl_write_config("");
    xl_assert_create_works();
}

/* Stock xl takes 60 seconds to notice.  Covers X2. */
TEST_TIMEOUT(failure_at_once__ends_create_at_once, XL_TEST_S)
{
    int64_t began = libspawn__clock_now_ms();
    AUTO_OUTPUT struct harness_output output = create_with("'--exit=1'");

    ck_assert_int_eq(output.status, 1);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 1000);
}

TEST_MAIN("xl_failures")
