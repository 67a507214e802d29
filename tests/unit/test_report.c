/*
 * proc/report.c and proc/status.c: what is said of an end, in words, in JSON,
 * and as an exit status.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "proc/report.h"
#include "proc/status.h"
#include "tests/lib/harness.h"
#include "wire/json.h"

static char *no_argv[] = { NULL };

static struct libspawn_report
report_of(enum libspawn_end end)
{
    struct libspawn_report report = {
        .label = "device model",
        .guest = "win7",
        .program = "/usr/bin/qemu",
        .stage = "waiting for its QMP greeting",
        .detail = "",
        .step = "",
        .tail = "",
        .log_path = "",
        .argv = no_argv,
        .end = end,
        .pid = 42,
        .lived_ms = 62,
        .deadline_ms = 60000,
    };

    return report;
}

static void
assert_sentence(const struct libspawn_report *report, const char *words)
{
    AUTO_FREE char *sentence = libspawn_report_sentence(report);
    AUTO_FREE char *expected = libspawn__str_format(
        "guest 'win7': device model '/usr/bin/qemu' %s", words);

    ck_assert_str_eq(sentence, expected);
    ck_assert_ptr_null(strchr(sentence, '\n'));
}

/* ---- The sentence ------------------------------------------------------ */

/* Covers X3. */
TEST(sentence_of_an_exit__has_code_and_time)
{
    struct libspawn_report report = report_of(LIBSPAWN_END_EXITED);

    report.exit_code = 3;
    assert_sentence(&report, "exited with status 3 after 62 ms");
    report.exit_code = 0;
    assert_sentence(&report, "unexpectedly exited with status 0 after 62 ms");
}

/* Covers X4. */
TEST(sentence_of_a_signal__has_its_name_and_the_core)
{
    struct libspawn_report report = report_of(LIBSPAWN_END_SIGNALED);

    report.signal = SIGSEGV;
    assert_sentence(&report, "was killed by SIGSEGV (Segmentation fault) "
                             "after 62 ms");
    report.core_dumped = true;
    assert_sentence(&report, "was killed by SIGSEGV (Segmentation fault), "
                             "core dumped, after 62 ms");
    report.core_dumped = false;
    report.signal = SIGKILL;
    report.out_of_memory = true;
    assert_sentence(&report, "was killed by SIGKILL (Killed), the host was "
                             "out of memory, after 62 ms");
    report.out_of_memory = false;
    report.signal = 40;
    assert_sentence(&report, "was killed by signal 40 after 62 ms");
}

/* Covers X1. */
TEST(sentence_of_a_failed_exec__has_the_reason_and_another_step_by_name)
{
    struct libspawn_report report = report_of(LIBSPAWN_END_NO_EXEC);

    report.step = "exec";
    report.sys_errno = ENOENT;
    assert_sentence(&report,
                    "could not be executed: No such file or directory");
    report.step = "directory";
    report.sys_errno = EACCES;
    assert_sentence(&report,
                    "could not be started (directory): Permission denied");
}

/* Covers X5. */
TEST(sentence_of_a_deadline__has_its_length_and_the_stage)
{
    struct libspawn_report report = report_of(LIBSPAWN_END_DEADLINE);

    assert_sentence(&report, "was not ready within 60 s (waiting for its QMP "
                             "greeting) and was ended");
    report.deadline_ms = 1500;
    assert_sentence(&report, "was not ready within 1.5 s (waiting for its "
                             "QMP greeting) and was ended");
}

TEST(sentence_of_other_ends__says_whose_doing_it_was)
{
    struct libspawn_report report = report_of(LIBSPAWN_END_REFUSED);

    report.detail = "it is no QEMU";
    assert_sentence(&report, "was refused and ended: it is no QEMU");
    report.detail = "";
    report.end = LIBSPAWN_END_ABORTED;
    assert_sentence(&report,
                    "was ended because the start was aborted after 62 ms");
    report.end = LIBSPAWN_END_STOPPED;
    assert_sentence(&report, "was stopped after 62 ms");
    report.end = LIBSPAWN_END_UNKNOWN;
    assert_sentence(&report, "ended, how is unknown");
    report.detail = "its watcher died";
    assert_sentence(&report, "ended, how is unknown (its watcher died)");
    report.end = LIBSPAWN_END_NONE;
    assert_sentence(&report, "has not ended");
}

TEST(sentence_without_guest__begins_with_the_label)
{
    struct libspawn_report report = report_of(LIBSPAWN_END_STOPPED);
    AUTO_FREE char *sentence = NULL;

    report.guest = "";
    report.label = "swtpm";
    sentence = libspawn_report_sentence(&report);
    ck_assert(libspawn__str_has_prefix(sentence, "swtpm '/usr/bin/qemu' "));
}

TEST(sentence_of_long_lives__has_seconds)
{
    static const struct {
        int64_t ms;
        const char *words;
    } cases[] = {
        { 999, "was stopped after 999 ms" },
        { 1000, "was stopped after 1 s" },
        { 1099, "was stopped after 1 s" },
        { 1100, "was stopped after 1.1 s" },
        { 3600000, "was stopped after 3600 s" },
    };
    struct libspawn_report report = report_of(LIBSPAWN_END_STOPPED);
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        report.lived_ms = cases[i].ms;
        assert_sentence(&report, cases[i].words);
    }
}

/* ---- The text and JSON ------------------------------------------------- */

TEST(text__has_sentence_tail_and_log_in_this_order)
{
    struct libspawn_report report = report_of(LIBSPAWN_END_EXITED);
    AUTO_FREE char *text = NULL;

    report.exit_code = 1;
    report.tail = "first\nsecond\n";
    report.log_path = "/var/log/x";
    text = libspawn_report_text(&report);
    ck_assert_str_eq(text, "guest 'win7': device model '/usr/bin/qemu' exited "
                           "with status 1 after 62 ms\n"
                           "its last output:\n  | first\n  | second\n"
                           "log: /var/log/x\n");
}

TEST(text_without_tail_and_log__is_the_sentence)
{
    struct libspawn_report report = report_of(LIBSPAWN_END_STOPPED);
    AUTO_FREE char *text = libspawn_report_text(&report);
    AUTO_FREE char *sentence = libspawn_report_sentence(&report);
    AUTO_FREE char *line = libspawn__str_format("%s\n", sentence);

    ck_assert_str_eq(text, line);
}

TEST(json__has_what_belongs_to_the_end)
{
    char arg[] = "-S";
    char *argv[] = { arg, NULL };
    struct libspawn_report report = report_of(LIBSPAWN_END_NO_EXEC);
    AUTO_FREE char *text = NULL;
    AUTO_JSON struct libspawn__json *json = NULL;
    int64_t number = 0;

    report.step = "exec";
    report.sys_errno = ENOENT;
    report.argv = argv;
    report.tail = "quote \" and \xff\n";
    text = libspawn_report_json(&report);
    assert_ok(libspawn__json_parse(text, strlen(text), 1 << 16, &json, NULL),
              NULL);
    ck_assert_str_eq(libspawn__json_string(libspawn__json_member(json, "end")),
                     "no-exec");
    ck_assert_str_eq(
        libspawn__json_string(libspawn__json_member(json, "step")), "exec");
    ck_assert(libspawn__json_integer(libspawn__json_member(json, "errno"),
                                     &number));
    ck_assert_int_eq(number, ENOENT);
    ck_assert_ptr_null(libspawn__json_member(json, "exit_code"));
    ck_assert_ptr_null(libspawn__json_member(json, "signal"));
    ck_assert_str_eq(libspawn__json_string(libspawn__json_item(
                         libspawn__json_member(json, "argv"), 0)),
                     "-S");
}

/* ---- The exit status --------------------------------------------------- */

TEST(exit_status__is_the_one_of_the_table)
{
    static const struct {
        enum libspawn_end end;
        int value; /* code, signal or errno */
        const char *step;
        int status;
    } cases[] = {
        { LIBSPAWN_END_NONE, 0, "", 1 },
        { LIBSPAWN_END_NO_EXEC, ENOENT, "exec", 127 },
        { LIBSPAWN_END_NO_EXEC, EACCES, "exec", 126 },
        { LIBSPAWN_END_NO_EXEC, ENOEXEC, "exec", 126 },
        { LIBSPAWN_END_NO_EXEC, ENOENT, "directory", 1 },
        { LIBSPAWN_END_NO_EXEC, EMFILE, "descriptors", 1 },
        { LIBSPAWN_END_EXITED, 0, "", 1 },
        { LIBSPAWN_END_EXITED, 1, "", 1 },
        { LIBSPAWN_END_EXITED, 125, "", 125 },
        { LIBSPAWN_END_EXITED, 126, "", 1 },
        { LIBSPAWN_END_EXITED, 255, "", 1 },
        { LIBSPAWN_END_SIGNALED, SIGHUP, "", 129 },
        { LIBSPAWN_END_SIGNALED, SIGKILL, "", 137 },
        { LIBSPAWN_END_DEADLINE, 0, "", 124 },
        { LIBSPAWN_END_REFUSED, 0, "", 1 },
        { LIBSPAWN_END_ABORTED, 0, "", 1 },
        { LIBSPAWN_END_STOPPED, 0, "", 1 },
        { LIBSPAWN_END_UNKNOWN, 0, "", 1 },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        struct libspawn_report report = report_of(cases[i].end);

        report.step = cases[i].step;
        report.exit_code = report.signal = report.sys_errno = cases[i].value;
        ck_assert_int_eq(libspawn_report_exit_status(&report),
                         cases[i].status);
    }
}

/* ---- Of a plan --------------------------------------------------------- */

TEST(report_of_a_plan__takes_copies)
{
    struct libspawn_plan *plan = libspawn_plan_new();
    struct libspawn__report report;
    struct libspawn_err err;

    libspawn_plan_set_program(plan, "/bin/true");
    libspawn_plan_add_arg(plan, "true");
    libspawn_plan_set_timeouts(plan, 77, 1);
    assert_ok(libspawn__report_init(&report, plan, &err), &err);
    libspawn_plan_free(plan);
    ck_assert_str_eq(report.pub.label, "program");
    ck_assert_str_eq(report.pub.guest, "");
    ck_assert_str_eq(report.pub.program, "/bin/true");
    ck_assert_str_eq(report.pub.argv[0], "true");
    ck_assert_ptr_null(report.pub.argv[1]);
    ck_assert_int_eq(report.pub.deadline_ms, 77);
    libspawn__report_set(&report, &report.stage, "elsewhere");
    ck_assert_str_eq(report.pub.stage, "elsewhere");
    libspawn__report_dispose(&report);
    libspawn__report_dispose(&report);
}

/* ---- A wait status in words -------------------------------------------- */

TEST(status_in_words__is_code_signal_or_unknown)
{
    char text[LIBSPAWN__STATUS_TEXT_SIZE];

    libspawn__status_describe(true, 3 << 8, text);
    ck_assert_str_eq(text, "exited with status 3");
    libspawn__status_describe(true, 255 << 8, text);
    ck_assert_str_eq(text, "exited with status 255");
    libspawn__status_describe(true, SIGSEGV | 0x80, text);
    ck_assert_str_eq(
        text, "was killed by SIGSEGV (Segmentation fault), core dumped");
    libspawn__status_describe(false, 0, text);
    ck_assert_str_eq(text, "ended, how is unknown");
}

TEST_MAIN("report")
