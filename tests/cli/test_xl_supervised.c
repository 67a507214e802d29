/*
 * xl create and the supervisor that it leaves behind: what its caller gets to
 * know of the start, and what is there then.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/pidfile.h"
#include "tests/cli/supervised_story.h"

static void
begin_with_model(const char *arguments)
{
    supervised_begin();
    xl_write_model_config(arguments);
}

static bool
has_supervisor(void *user)
{
    (void)user;
    return supervised_is(XL_GUEST);
}

/* One that is still creating its guest. */
static pid_t
await_supervisor(void)
{
    ck_assert(harness_wait_until(has_supervisor, NULL, XL_WAIT_MS));
    return supervised_pid(XL_GUEST);
}

/* ---- What is there when it returns ------------------------------------- */

static void
assert_complete(void)
{
    AUTO_FREE char *cwd = NULL;
    char target[64] = "";
    pid_t pid = supervised_pid(XL_GUEST);

    ck_assert_int_eq(supervised_number(XL_GUEST, "pid"), pid);
    ck_assert_int_eq(supervised_number(XL_GUEST, "domid"), 1);
    ck_assert_int_eq(getsid(pid), pid);
    cwd = libspawn__str_format("/proc/%d/cwd", (int)pid);
    ck_assert_int_gt(readlink(cwd, target, sizeof target - 1), 0);
    ck_assert_str_eq(target, "/");
}

/* Covers D2, D7. */
TEST_TIMEOUT(create_returns__pid_file_and_socket_are_there, XL_TEST_S)
{
    begin_with_model("'--stderr=x'");
    xl_ok("create", XL_CONFIG);
    assert_complete();
    xl_destroy_guest();
}

/* Covers D2, D7. */
TEST_TIMEOUT(create_with_the_real_qemu_returns__the_same, XL_TEST_S)
{
    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    supervised_begin();
    xl_write_config("");
    xl_ok("create", XL_CONFIG);
    assert_complete();
    ck_assert_int_gt(supervised_model_pid(XL_GUEST), 0);
    xl_destroy_guest();
}

/* Covers D8. */
TEST_TIMEOUT(create_in_a_pipe__its_reader_sees_the_end, XL_TEST_S)
{
    AUTO_FREE char *command = NULL;
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_model("'--stderr=x'");
    command = libspawn__str_format("{ %s create --json %s | cat; } 2>&1",
                                   xl_path(), XL_CONFIG);
    output = harness_run("sh", "-c", command);
    ck_assert_str_eq(output.out, "{\"name\":\"" XL_GUEST "\",\"domid\":1}\n");
    ck_assert(supervised_is(XL_GUEST));
    xl_destroy_guest();
}

/* ---- In the foreground ------------------------------------------------- */

/* Covers D1. */
TEST_TIMEOUT(supervisor_in_the_foreground__has_a_pid_file_until_it_ends,
             XL_TEST_S)
{
    struct xl_process supervisor;
    pid_t model;

    begin_with_model("'--stderr=x'");
    xl_ok("create", XL_CONFIG);
    model = supervised_model_pid(XL_GUEST);
    supervised_kill(XL_GUEST, SIGKILL);
    supervisor = supervised_adopt(XL_GUEST);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_int_eq(supervised_pid(XL_GUEST), supervisor.pid);
    ck_assert_int_eq(supervised_model_pid(XL_GUEST), model);
    kill(supervisor.pid, SIGTERM);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
    ck_assert_int_ne(access("state/supervisors/" XL_GUEST ".pid", F_OK), 0);
    ck_assert_int_eq(kill(model, 0), 0);
    xl_destroy_guest();
}

/* Covers D1. */
TEST_TIMEOUT(create_in_the_foreground__stays_until_the_guest_is_gone,
             XL_TEST_S)
{
    struct xl_process create;

    begin_with_model("'--stderr=x'");
    create = xl_start("create", "-F", XL_CONFIG);
    ck_assert(harness_wait_until(has_supervisor, NULL, XL_WAIT_MS));
    supervised_await_state(XL_GUEST, "admitted");
    xl_ok("destroy", XL_GUEST);
    ck_assert_int_eq(xl_wait(&create), 0);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(create_in_the_foreground_interrupted__leaves_the_guest,
             XL_TEST_S)
{
    struct xl_process create;
    pid_t model;

    begin_with_model("'--stderr=x'");
    create = xl_start("create", "-F", XL_CONFIG);
    ck_assert(harness_wait_until(has_supervisor, NULL, XL_WAIT_MS));
    supervised_await_state(XL_GUEST, "admitted");
    model = supervised_model_pid(XL_GUEST);
    kill(create.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&create), 0);
    ck_assert(!supervised_is(XL_GUEST));
    ck_assert_int_eq(kill(model, 0), 0);
    xl_destroy_guest();
}

/* ---- A start that fails ------------------------------------------------ */

/* Covers D3, D10, M3. */
TEST_TIMEOUT(model_that_exits__gives_its_status_to_the_caller_of_xl, XL_TEST_S)
{
    begin_with_model("'--stderr=no such disk', '--exit=37'");
    xl_assert_create_fails(37, "exited with status 37", XL_CONFIG);
}

/* Covers D3. */
TEST_TIMEOUT(control_socket_that_cannot_be_made__is_told_and_nothing_left,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_model("'--stderr=x'");
    ck_assert_int_eq(mkdir("state", 0755), 0);
    harness_write_file("state/supervisors", "");
    output = xl_run("create", XL_CONFIG);
    xl_assert_error(&output, 1, "supervisors");
    xl_assert_nothing_left();
}

/* Covers D11. */
TEST_TIMEOUT(model_that_exits_with_0__is_a_failure, XL_TEST_S)
{
    begin_with_model("'--exit=0'");
    xl_assert_create_fails(1, "exited", XL_CONFIG);
}

/* Covers D10. */
TEST_TIMEOUT(real_qemu_that_cannot_start__is_heard_by_the_caller, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    supervised_begin();
    xl_write_config("serial = 'file:/no/such/directory/x'");
    output = xl_run("create", XL_CONFIG);
    xl_assert_error(&output, 1, "exited with status 1");
    assert_contains(output.err, "/no/such/directory/x");
    xl_assert_nothing_left();
}

/* Sanitizers keep SIGSEGV to themselves. */
#ifdef __SANITIZE_ADDRESS__
enum { CRASH = SIGABRT };
#define CRASH_NAME "SIGABRT"
#else
enum { CRASH = SIGSEGV };
#define CRASH_NAME "SIGSEGV"
#endif

/* Covers D12. */
TEST_TIMEOUT(supervisor_crashed_during_the_start__signal_is_named, XL_TEST_S)
{
    struct xl_process create;
    AUTO_OUTPUT struct harness_output list = { 0 };

    begin_with_model("'--greet-only'");
    create = xl_start("create", XL_CONFIG);
    kill(await_supervisor(), CRASH);
    ck_assert_int_eq(xl_wait(&create), 128 + CRASH);
    assert_contains(create.text, CRASH_NAME);
    list = xl_run("list"); /* clears away what it left */
    xl_assert_ok(&list);
    supervised_set_model(XL_GUEST, "");
    xl_write_model_config("'--stderr=x'");
    xl_ok("create", XL_CONFIG);
    xl_destroy_guest();
}

/* Covers D13. */
TEST_TIMEOUT(model_that_is_never_ready__stage_is_named_and_nothing_left,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_model("'--greet-only'");
    output = xl_run("create", "--startup-timeout=1", XL_CONFIG);
    xl_assert_error(&output, 124, "not ready within 1 s");
    assert_contains(output.err, "device model");
    xl_assert_nothing_left();
}

/* Covers D13. */
TEST_TIMEOUT(supervisor_stopped_during_the_start__is_killed_in_the_end,
             XL_TEST_S)
{
    struct xl_process create;
    AUTO_OUTPUT struct harness_output list = { 0 };

    begin_with_model("'--greet-only'");
    create = xl_start("create", "--startup-timeout=1", XL_CONFIG);
    kill(await_supervisor(), SIGSTOP);
    ck_assert_int_eq(xl_wait(&create), 124);
    assert_contains(create.text, "not ready within 1 s");
    list = xl_run("list");
    xl_assert_ok(&list);
    xl_assert_nothing_left();
}

/* Covers D16. */
TEST_TIMEOUT(xl_killed_during_the_start__takes_everything_with_it, XL_TEST_S)
{
    struct xl_process create;

    begin_with_model("'--greet-only'");
    create = xl_start("create", XL_CONFIG);
    await_supervisor();
    kill(create.pid, SIGKILL);
    ck_assert_int_eq(xl_wait(&create), 128 + SIGKILL);
    xl_assert_nothing_left();
}

/* The one that could undo what it began hangs: then `xl destroy` does. */
TEST_TIMEOUT(creation_whose_xl_died_and_supervisor_hangs__is_undone, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    struct xl_process create;
    pid_t supervisor;

    begin_with_model("'--never-ready'");
    create = xl_start("-v", "create", XL_CONFIG);
    ck_assert(xl_await_words(&create, "waiting for the device model"));
    supervisor = supervised_pid(XL_GUEST);
    kill(supervisor, SIGSTOP);
    kill(create.pid, SIGKILL);
    ck_assert_int_eq(waitpid(create.pid, NULL, 0), create.pid);
    close(create.out);
    output = xl_run("destroy", XL_GUEST);
    xl_assert_error(&output, 1, "there is no guest");
    xl_assert_nothing_left();
}

/* Covers D15. */
TEST_TIMEOUT(two_creations_of_one_guest__one_wins_and_is_named, XL_TEST_S)
{
    AUTO_FREE char *words = NULL;
    AUTO_OUTPUT struct harness_output second = { 0 };
    struct xl_process first;
    pid_t winner;

    begin_with_model("'--ready-after=2000'");
    first = xl_start("create", XL_CONFIG);
    winner = await_supervisor();
    second = xl_run("create", XL_CONFIG);
    words = libspawn__str_format("process %d", (int)winner);
    xl_assert_error(&second, 1, words);
    ck_assert_int_eq(xl_wait(&first), 0);
    ck_assert_int_eq(supervised_pid(XL_GUEST), winner);
    xl_destroy_guest();
}

/* Covers D15. */
TEST_TIMEOUT(eight_creations_of_one_guest_at_once__one_wins, XL_TEST_S)
{
    enum { N = 8 };
    struct xl_process creates[N];
    int n_won = 0;
    int i;

    begin_with_model("'--stderr=x'");
    for (i = 0; i < N; i++) {
        creates[i] = xl_start("create", XL_CONFIG);
    }
    for (i = 0; i < N; i++) {
        int status = xl_wait(&creates[i]);

        n_won += !status;
        ck_assert_msg(status <= 1, "%d: %s", status, creates[i].text);
        if (status) {
            assert_contains(creates[i].text, XL_GUEST);
        }
    }
    ck_assert_int_eq(n_won, 1);
    xl_destroy_guest();
}

/* One that leaves, or finds that the guest which it was to adopt is gone, has
 * the pid file for a moment although there is no guest of the name. */
TEST_TIMEOUT(pid_file_of_one_without_a_guest__is_waited_for, XL_TEST_S)
{
    struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
    AUTO_FREE char *dir = NULL;
    AUTO_FREE char *path = NULL;
    AUTO_FD int refused = -1;
    struct xl_process create;
    struct libspawn_err err;

    begin_with_model("'--stderr=x'");
    dir = libspawn__str_format("%s/supervisors", getenv("XL_STATE_DIR"));
    path = libspawn__str_format("%s/%s.pid", dir, XL_GUEST);
    assert_ok(libspawn__dir_make(dir, 0700, &err), &err);
    assert_ok(libspawn__pidfile_take(&pidfile, path, NULL, &err), &err);
    refused = inotify_init1(IN_CLOEXEC);
    ck_assert_int_ge(inotify_add_watch(refused, dir, IN_DELETE), 0);
    create = xl_start("create", XL_CONFIG);
    ck_assert(harness_wait_readable(refused, XL_WAIT_MS)); /* its own */
    libspawn__pidfile_remove(&pidfile);
    ck_assert_msg(!xl_wait(&create), "%s", create.text);
    assert_complete();
    xl_destroy_guest();
}

/* ---- Deaths later ------------------------------------------------------ */

/* Covers D9. */
TEST_TIMEOUT(model_killed_later__events_status_and_list_say_the_same,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output events = { 0 };
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_JSON struct libspawn__json *status = NULL;

    begin_with_model("'--stderr=x'");
    xl_ok("create", XL_CONFIG);
    kill(supervised_model_pid(XL_GUEST), CRASH);
    supervised_await_state(XL_GUEST, "failed");
    events = xl_run("events");
    assert_contains(events.out,
                    "device-model-died  was killed by " CRASH_NAME);
    status = supervised_status(XL_GUEST);
    assert_contains(
        libspawn__json_string(libspawn__json_member(status, "last_end")),
        CRASH_NAME);
    list = xl_run("list");
    assert_contains(list.out, CRASH_NAME);
    xl_destroy_guest();
}

TEST_MAIN("xl_supervised")
