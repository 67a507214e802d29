/*
 * The harness is tested by the failures that it must report: each test here
 * runs one of tests/sanity/must_fail.c.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "tests/lib/harness.h"

extern char **environ;

static char *
must_fail_path(void)
{
    return libspawn__str_format("%s/tests/sanity/must_fail",
                                harness_build_dir());
}

static void
set_up(void)
{
    AUTO_FREE char *pids = libspawn__str_format("%s/pids", harness_dir());

    ck_assert(!setenv("MUST_FAIL_PIDS", pids, 1));
    ck_assert(!unsetenv("CK_TIMEOUT_MULTIPLIER"));
}

/* Nothing but the list of pids is in the directory, where the temporary
 * directories of must_fail were. */
static bool
is_clean(void *user)
{
    AUTO_DIR DIR *dir = opendir(harness_dir());
    struct dirent *entry;

    (void)user;
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == 't') {
            return false;
        }
    }
    return true;
}

/* Every process that told its pid has ended. */
static bool
are_gone(void *user)
{
    AUTO_FREE char *text = NULL;
    char *line;

    (void)user;
    if (access("pids", F_OK) < 0) {
        return true;
    }
    text = harness_read_file("pids");
    for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (!kill((pid_t)strtol(line, NULL, 10), 0) || errno != ESRCH) {
            return false;
        }
    }
    return true;
}

static void
assert_reported(const char *test, const char *reason)
{
    AUTO_FREE char *path = must_fail_path();
    AUTO_FREE char *line = libspawn__str_format("must_fail: %s: ", test);
    AUTO_OUTPUT struct harness_output output = { 0 };

    set_up();
    output = harness_run(path, test);
    ck_assert_int_eq(output.status, 1);
    assert_contains(output.out, line);
    assert_contains(output.out, reason);
    assert_contains(output.out, "must_fail: 0 passed, 1 failed, 0 skipped\n");
    ck_assert(are_gone(NULL));
    ck_assert(is_clean(NULL));
}

TEST(harness_descriptor_left_open__is_reported_with_its_target)
{
    assert_reported("descriptor_left_open", "(/dev/zero) is left open");
}

TEST(harness_descriptor_closed__is_reported)
{
    assert_reported("descriptor_closed", "descriptor 0 was closed");
}

TEST(harness_child_left_running__is_reported_and_ended)
{
    assert_reported("child_left_running", "(must_fail) is left running");
    ck_assert(!access("pids", F_OK));
}

TEST(harness_child_not_waited_for__is_reported)
{
    assert_reported("child_not_waited_for", "was not waited for");
}

TEST(harness_orphan_left_running__is_reported_and_ended)
{
    assert_reported("orphan_in_own_session_left_running",
                    "(must_fail) is left running");
    ck_assert(!access("pids", F_OK));
}

TEST(harness_test_hangs__is_reported_and_all_its_processes_ended)
{
    assert_reported("endless", "still running after 1000 ms");
    ck_assert(!access("pids", F_OK));
}

TEST(harness_test_crashes__is_reported_with_signal_and_place)
{
    assert_reported("crashing", "killed by SIGSEGV");
}

TEST(harness_test_exits_with_0__is_not_taken_for_success)
{
    assert_reported("exiting_as_if_well", "the test called exit(0)");
}

TEST(harness_test_exits__is_reported)
{
    assert_reported("exiting", "the test called exit(3)");
}

TEST(harness_assertion_fails__is_reported_with_both_sides)
{
    assert_reported("asserting", "6 * 9 == 54, 42 == 42");
}

TEST(harness_assert_ok_fails__shows_the_sentence)
{
    assert_reported("asserting_ok", "gone (-9), not ok (0): the moon is gone");
}

TEST(harness_assert_code_fails__shows_both_names)
{
    assert_reported("asserting_a_code", "is gone (-9), not busy (-4)");
}

TEST(harness_assert_contains_fails__shows_both_texts)
{
    assert_reported("asserting_content",
                    "expected to find 'that is' in:\nto be or not to be");
}

#ifdef __SANITIZE_ADDRESS__
TEST(harness_memory_leaks__is_reported)
{
    assert_reported("leaking_memory", "from a check at exit");
}
#endif

TEST(harness_test_is_skipped__is_counted_with_its_reason)
{
    AUTO_FREE char *path = must_fail_path();
    AUTO_OUTPUT struct harness_output output = harness_run(path, "skipping");

    ck_assert_int_eq(output.status, 77);
    ck_assert_str_eq(
        output.out,
        "must_fail: skipping: skipped: there is no moon here\n"
        "must_fail: 0 passed, 0 failed, 1 skipped\n");
}

TEST(harness_program_is_skipped__runs_nothing_and_says_why)
{
    AUTO_FREE char *path = must_fail_path();
    AUTO_OUTPUT struct harness_output output = { 0 };

    ck_assert(!setenv("MUST_FAIL_SKIP", "no moon", 1));
    output = harness_run(path);
    ck_assert_int_eq(output.status, 77);
    assert_contains(output.out, "must_fail: skipped: no moon\n");
    assert_contains(output.out, "must_fail: 0 passed, 0 failed, ");
}

TEST(harness_pattern_without_match__is_a_usage_error)
{
    AUTO_FREE char *path = must_fail_path();
    AUTO_OUTPUT struct harness_output output = harness_run(path, "nothing");

    ck_assert_int_eq(output.status, 2);
    assert_contains(output.err, "no test matches 'nothing'");
}

/* libcheck would run fewer tests than there are results to read. */
TEST(harness_case_of_libcheck_without_match__is_a_usage_error)
{
    AUTO_FREE char *path = must_fail_path();
    AUTO_OUTPUT struct harness_output output = { 0 };

    ck_assert(!setenv("CK_RUN_CASE", "nothing", 1));
    ck_assert(!setenv("CK_RUN_SUITE", "of_another_name", 1));
    output = harness_run(path);
    ck_assert_int_eq(output.status, 2);
    assert_contains(output.err, "no test matches 'nothing'");
}

TEST(harness_case_of_libcheck__stands_for_the_pattern)
{
    AUTO_FREE char *path = must_fail_path();
    AUTO_OUTPUT struct harness_output output = { 0 };

    ck_assert(!setenv("CK_RUN_CASE", "exiting_as_if_well", 1));
    output = harness_run(path);
    ck_assert_int_eq(output.status, 1);
    assert_contains(output.out, "must_fail: 0 passed, 1 failed, 0 skipped\n");
}

TEST(harness_list__prints_the_names)
{
    AUTO_FREE char *path = must_fail_path();
    AUTO_OUTPUT struct harness_output output = harness_run(path, "--list");

    ck_assert_int_eq(output.status, 0);
    assert_contains(output.out, "descriptor_left_open\ndescriptor_closed\n");
}

static bool
has_pids(void *user)
{
    AUTO_FREE char *text = NULL;

    (void)user;
    if (access("pids", F_OK) < 0) {
        return false;
    }
    text = harness_read_file("pids");
    return strchr(text, '\n') != strrchr(text, '\n');
}

/* 'endless' has two processes, one in a session of its own.  libcheck hands
 * an interruption on to its process group, so that must not be ours. */
static void
assert_cleaned_up_after(int signal_number)
{
    posix_spawnattr_t attributes;
    AUTO_FREE char *path = must_fail_path();
    char test[] = "endless";
    char *argv[] = { path, test, NULL };
    pid_t pid;

    set_up();
    ck_assert(!setenv("CK_TIMEOUT_MULTIPLIER", "100", 1));
    ck_assert(!posix_spawnattr_init(&attributes));
    ck_assert(!posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP));
    ck_assert(!posix_spawn(&pid, path, NULL, &attributes, argv, environ));
    posix_spawnattr_destroy(&attributes);
    ck_assert(harness_wait_until(has_pids, NULL, 5000));
    ck_assert(!kill(pid, signal_number));
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(harness_wait_until(are_gone, NULL, 5000));
    ck_assert(harness_wait_until(is_clean, NULL, 5000));
}

TEST(harness_runner_is_interrupted__ends_the_test_and_cleans_up)
{
    assert_cleaned_up_after(SIGINT);
}

TEST(harness_runner_is_killed__ends_the_test_and_cleans_up)
{
    assert_cleaned_up_after(SIGKILL);
}

/* ---- The helpers of tests ---------------------------------------------- */

TEST(harness_environment__is_neutral_and_inside_the_directory)
{
    AUTO_FREE char *here = getcwd(NULL, 0);

    ck_assert_str_eq(here, harness_dir());
    ck_assert_str_eq(getenv("XL_STATE_DIR"), here);
    ck_assert_str_eq(getenv("XDG_RUNTIME_DIR"), here);
    ck_assert_str_eq(getenv("LC_ALL"), "C");
    ck_assert_int_eq(read(STDIN_FILENO, here, 1), 0);
}

TEST(harness_run__gives_status_and_both_outputs)
{
    AUTO_OUTPUT struct harness_output output =
        harness_run("sh", "-c", "echo out; echo err >&2; exit 3");

    ck_assert_int_eq(output.status, 3);
    ck_assert_str_eq(output.out, "out\n");
    ck_assert_str_eq(output.err, "err\n");
}

TEST(harness_run_with_much_output__is_bounded_and_does_not_hang)
{
    AUTO_OUTPUT struct harness_output output =
        harness_run("head", "-c", "3000000", "/dev/zero");

    ck_assert_int_eq(output.status, 0);
    ck_assert_str_eq(output.out, "");
    ck_assert_str_eq(output.err, "");
}

TEST(harness_run_program_is_killed__gives_128_and_the_signal)
{
    AUTO_OUTPUT struct harness_output output =
        harness_run("sh", "-c", "kill -TERM $$");

    ck_assert_int_eq(output.status, 128 + SIGTERM);
}

TEST(harness_end_children__leaves_no_child_and_no_orphan)
{
    pid_t pid = fork();

    if (!pid) {
        if (!fork()) {
            for (;;) {
                pause();
            }
        }
        _exit(EXIT_SUCCESS);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_uint_eq(harness_child_pids(&pid, 1), 1);
    harness_end_children();
    ck_assert_uint_eq(harness_child_pids(NULL, 0), 0);
}

TEST(harness_wait_children__reaps_those_that_end)
{
    if (!fork()) {
        _exit(EXIT_SUCCESS);
    }
    ck_assert(harness_wait_children(5000));
}

TEST(harness_count_fds__counts_a_new_one)
{
    size_t before = harness_count_fds(0);
    AUTO_DIR DIR *dir = opendir("/");

    ck_assert(dir != NULL);
    ck_assert_uint_eq(harness_count_fds(0), before + 1);
}

TEST_MAIN("harness")
