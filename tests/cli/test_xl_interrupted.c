/*
 * xl create that is interrupted, terminated or killed, at any moment; and two
 * of them at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/lock.h"
#include "store/store.h"
#include "tests/cli/supervised_story.h"
#include "tests/flow/kill_at.h"

/* ---- While the device model starts ------------------------------------- */

static struct xl_process
start_until_model_runs(const char *arguments)
{
    struct xl_process process;

    xl_begin();
    xl_write_model_config(arguments);
    process = xl_start("-v", "create", XL_CONFIG);
    ck_assert(xl_await_step(&process, "starting the device model"));
    return process;
}

static void
assert_interrupted(const char *arguments, int number)
{
    struct xl_process process = start_until_model_runs(arguments);
    int64_t began = libspawn__clock_now_ms();

    kill(process.pid, number);
    ck_assert_int_eq(xl_wait(&process), 128 + number);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 4000);
    assert_contains(process.text, "xl: the creation of guest '" XL_GUEST
                                  "' was aborted\n");
    xl_assert_nothing_left();
}

TEST_TIMEOUT(interrupt_during_the_start__undoes_all, XL_TEST_S)
{
    assert_interrupted("'--never-ready'", SIGINT);
}

TEST_TIMEOUT(terminate_during_the_start__undoes_all, XL_TEST_S)
{
    assert_interrupted("'--never-ready'", SIGTERM);
}

TEST_TIMEOUT(hangup_during_the_start__undoes_all, XL_TEST_S)
{
    assert_interrupted("'--never-ready'", SIGHUP);
}

TEST_TIMEOUT(interrupt_with_a_stubborn_device_model__kills_it, XL_TEST_S)
{
    assert_interrupted("'--never-ready', '--ignore-term'", SIGINT);
}

/* Somebody presses Ctrl-C again and again. */
TEST_TIMEOUT(interrupt_many_times__is_one_abort, XL_TEST_S)
{
    struct xl_process process =
        start_until_model_runs("'--never-ready', '--ignore-term'");
    int i;

    for (i = 0; i < 50; i++) {
        kill(process.pid, SIGINT);
    }
    ck_assert_int_eq(xl_wait(&process), 128 + SIGINT);
    xl_assert_nothing_left();
}

/* A terminal sends Ctrl-C to the whole group: the device model must not get
 * it, so that its end is an orderly one. */
TEST_TIMEOUT(interrupt_of_the_whole_group__undoes_all, XL_TEST_S)
{
    struct xl_process process = start_until_model_runs("'--never-ready'");

    signal(SIGINT, SIG_IGN);
    kill(0, SIGINT);
    ck_assert_int_eq(xl_wait(&process), 128 + SIGINT);
    assert_contains(process.text, "was aborted");
    xl_assert_nothing_left();
}

/* Covers D14. */
TEST_TIMEOUT(stop_and_continue__change_no_verdict, XL_TEST_S)
{
    struct xl_process process =
        start_until_model_runs("'--ready-after=300', '--exit-after-ready=5', "
                               "'--no-answer=query-status'");
    int i;

    for (i = 0; i < 20; i++) {
        kill(process.pid, SIGSTOP);
        kill(process.pid, SIGCONT);
        kill(process.pid, SIGWINCH);
    }
    ck_assert_int_eq(xl_wait(&process), 5);
    assert_contains(process.text, "exited with status 5");
    xl_assert_nothing_left();
}

/* Covers X12, D16. */
TEST_TIMEOUT(kill_during_the_start__next_xl_finds_nothing, XL_TEST_S)
{
    struct xl_process process = start_until_model_runs("'--never-ready'");
    AUTO_OUTPUT struct harness_output list = { 0 };
    int64_t began = libspawn__clock_now_ms();

    kill(process.pid, SIGKILL);
    ck_assert_int_eq(xl_wait(&process), 128 + SIGKILL);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 2000);
    list = xl_run("list");
    xl_assert_ok(&list);
    assert_lacks(list.out, XL_GUEST);
    xl_assert_nothing_left();
}

/* The next xl may be the same create again. */
TEST_TIMEOUT(kill_during_the_start__create_works_again_at_once, XL_TEST_S)
{
    struct xl_process process =
        start_until_model_runs("'--never-ready', '--ignore-term'");
    AUTO_OUTPUT struct harness_output again = { 0 };

    kill(process.pid, SIGKILL);
    ck_assert_int_eq(xl_wait(&process), 128 + SIGKILL);
    xl_write_model_config("'--exit=3'");
    again = xl_run("create", XL_CONFIG);
    xl_assert_error(&again, 3, "exited with status 3");
    xl_assert_nothing_left();
}

/* ---- At any moment ----------------------------------------------------- */

static pid_t
create_led(void)
{
    const char *const argv[] = { xl_path(), "create", XL_CONFIG, NULL };

    return spawn_led(argv, "output");
}

static int
wait_for(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Whether xl lists the guest; ends it then. */
static bool
destroy_if_listed(void)
{
    AUTO_OUTPUT struct harness_output list = xl_run("list");
    AUTO_OUTPUT struct harness_output destroy = { 0 };

    xl_assert_ok(&list);
    if (!strstr(list.out, XL_GUEST)) {
        return false;
    }
    destroy = xl_run("destroy", XL_GUEST);
    if (!strstr(destroy.err, "there is no guest")) {
        xl_assert_ok(&destroy);
    } /* else its supervisor was quicker */
    return true;
}

/* A sanitizer's xl makes more calls, and is slower. */
static unsigned int
coarser(unsigned int stride)
{
    return strstr(harness_build_dir(), "build/") ? 4 * stride : stride;
}

/* Interrupted, it leaves nothing by itself; else the guest is there. */
static void
interrupt_at_any_moment(unsigned int stride, unsigned int first)
{
    unsigned int n_interrupted = 0;
    bool was_reached = true;
    unsigned int n;

    for (n = first; was_reached; n += stride) {
        pid_t pid = create_led();
        int status;

        was_reached = signal_at(pid, n, SIGINT);
        status = wait_for(pid);
        if (status == 128 + SIGINT) {
            n_interrupted++;
            xl_assert_nothing_left();
        } else {
            ck_assert_int_eq(status, 0);
            ck_assert(destroy_if_listed());
            xl_assert_nothing_left();
        }
    }
    ck_assert_uint_gt(n_interrupted, 5);
}

/* Killed, it leaves what the next xl finds; and nothing runs on unless the
 * guest was complete. */
static void
kill_at_any_moment(unsigned int stride, unsigned int first)
{
    bool was_killed = true;
    unsigned int n;

    for (n = first; was_killed; n += stride) {
        pid_t pid = create_led();
        int status;

        was_killed = kill_at(pid, n);
        status = wait_for(pid);
        ck_assert_int_eq(status, was_killed ? 128 + SIGKILL : 0);
        ck_assert(destroy_if_listed() || was_killed);
        xl_assert_nothing_left();
    }
    ck_assert_uint_gt(n, 2 * stride);
}

TEST_TIMEOUT(interrupt_at_any_system_call__leaves_nothing_or_a_guest, 120)
{
    xl_begin();
    xl_write_model_config("'--stderr=x'");
    interrupt_at_any_moment(coarser(11), 0);
}

/* Covers D16. */
TEST_TIMEOUT(kill_at_any_system_call__next_xl_cleans_up, 120)
{
    xl_begin();
    xl_write_model_config("'--stderr=x'");
    kill_at_any_moment(coarser(7), 0);
}

TEST_TIMEOUT(kill_at_any_system_call_with_qemu__next_xl_cleans_up, 120)
{
    xl_begin();
    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    xl_write_config("");
    kill_at_any_moment(coarser(61), 5);
}

static pid_t
destroy_led(void)
{
    const char *const argv[] = { xl_path(), "destroy", XL_GUEST, NULL };

    return spawn_led(argv, "output");
}

/* Whoever was killed, and whenever: the end of the guest is told once. */
TEST_TIMEOUT(kill_of_destroy_at_any_system_call__end_is_told_once, 120)
{
    bool was_killed = true;
    size_t n_guests = 0;
    unsigned int n;

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    for (n = 0; was_killed; n += coarser(5)) {
        AUTO_OUTPUT struct harness_output create =
            xl_run("create", "-e", XL_CONFIG);
        pid_t pid;

        xl_assert_ok(&create);
        pid = destroy_led();
        was_killed = kill_at(pid, n);
        wait_for(pid);
        destroy_if_listed();
        xl_assert_nothing_left();
        ck_assert_uint_eq(supervised_count_events(NULL, "destroyed"),
                          ++n_guests);
    }
    ck_assert_uint_gt(n_guests, 20);
}

/* ---- While another xl has the lock ------------------------------------- */

#define WAITING "xl: waiting for the host lock, held by pid "

/* A process that has the host lock and was stopped. */
static pid_t
stop_holder(void)
{
    int status;
    pid_t pid;

    xl_write_model_config("'--never-ready'");
    mkdir("state", 0700);
    mkdir("state/locks", 0700);
    pid = fork();
    if (!pid) {
        struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;

        if (!libspawn__lock_try(
                &(struct libspawn__lock_request){ .path = "state/locks/host",
                                                  .name = "it" },
                &lock, NULL)) {
            raise(SIGSTOP);
        }
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(WIFSTOPPED(status));
    return pid;
}

static void
end_holder(pid_t pid, int number)
{
    kill(pid, number);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* What an xl leaves that was killed before there was anything to undo. */
static void
leave_intent(void)
{
    struct libspawn__store *store;
    struct libspawn_err err;
    AUTO_FREE char *address =
        libspawn__str_format("dir:%s/state/store", harness_dir());

    assert_ok(libspawn__store_open(address, &store, &err), &err);
    assert_ok(libspawn__store_puts(
                  store, NULL,
                  "/libspawn/create/dc7fc62c-6cdb-4713-836b-9f2472350fd1",
                  "1 1 1f745701-b06c-494e-8599-7cb9a6580050 0 dead", &err),
              &err);
    libspawn__store_close(store);
}

TEST_TIMEOUT(interrupt_while_the_lock_is_taken__is_heard_and_undoes_all,
             XL_TEST_S)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    pid_t holder;
    size_t i;

    xl_begin();
    holder = stop_holder();
    for (i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct xl_process create = xl_start("-v", "create", XL_CONFIG);
        int64_t began;

        ck_assert(xl_await_words(&create, WAITING));
        began = libspawn__clock_now_ms();
        kill(create.pid, numbers[i]);
        ck_assert_int_eq(xl_wait(&create), 128 + numbers[i]);
        ck_assert_int_lt(libspawn__clock_now_ms() - began, 2000);
        assert_contains(create.text, "xl: the creation of guest '" XL_GUEST
                                     "' was aborted\n");
    }
    end_holder(holder, SIGKILL);
    xl_assert_nothing_left();
}

/* It waits before there is a creation that could be aborted. */
TEST_TIMEOUT(interrupt_while_others_traces_are_removed__is_heard, XL_TEST_S)
{
    struct xl_process create;
    pid_t holder;

    xl_begin();
    holder = stop_holder();
    leave_intent();
    create = xl_start("-v", "create", XL_CONFIG);
    ck_assert(xl_await_words(&create, WAITING));
    kill(create.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&create), 128 + SIGINT);
    assert_contains(create.text, "the host lock was given up\n");
    end_holder(holder, SIGKILL);
}

/* Every command says what it waits for, and goes on when it can. */
TEST_TIMEOUT(holder_of_the_lock_goes_on__so_does_who_waits, XL_TEST_S)
{
    struct xl_process list;
    pid_t holder;

    xl_begin();
    holder = stop_holder();
    leave_intent();
    list = xl_start_argv((const char *const[]){
        "/bin/sh", "-c", "exec \"$0\" -v list >list.out", xl_path(), NULL });
    ck_assert(xl_await_words(&list, WAITING));
    end_holder(holder, SIGCONT);
    ck_assert_int_eq(xl_wait(&list), 0);
    assert_contains(list.text, WAITING);
    xl_assert_nothing_left();
}

/* ---- Two at once ------------------------------------------------------- */

static void
assert_one_wins(struct xl_process *first, struct xl_process *second)
{
    int a = xl_wait(first);
    int b = xl_wait(second);
    const struct xl_process *loser = a ? first : second;

    ck_assert_msg((a == 0 && b == 1) || (a == 1 && b == 0),
                  "they end with %d and %d:\n%s%s", a, b, first->text,
                  second->text);
    ck_assert_msg(strstr(loser->text, "exists already") ||
                      strstr(loser->text, "is being created by process"),
                  "the loser says:\n%s", loser->text);
}

/* Covers D15. */
TEST_TIMEOUT(two_creates_of_one_name_at_once__exactly_one_wins, XL_TEST_S)
{
    int i;

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    for (i = 0; i < 20; i++) {
        struct xl_process first = xl_start("create", XL_CONFIG);
        struct xl_process second = xl_start("create", XL_CONFIG);

        assert_one_wins(&first, &second);
        ck_assert(destroy_if_listed());
        xl_assert_nothing_left();
    }
}

/* Of different names both win, with ids of their own. */
TEST_TIMEOUT(two_creates_of_two_names_at_once__both_win, XL_TEST_S)
{
    int i;

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    for (i = 0; i < 10; i++) {
        struct xl_process first = xl_start("create", XL_CONFIG);
        struct xl_process second =
            xl_start("create", XL_CONFIG, "name=\"other\"");
        AUTO_OUTPUT struct harness_output destroy = { 0 };

        ck_assert_int_eq(xl_wait(&first), 0);
        ck_assert_int_eq(xl_wait(&second), 0);
        destroy = xl_run("destroy", "other");
        xl_assert_ok(&destroy);
        ck_assert(destroy_if_listed());
        xl_assert_nothing_left();
    }
}

TEST_TIMEOUT(create_of_a_name_in_use__names_the_domain, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output first = { 0 };
    AUTO_OUTPUT struct harness_output second = { 0 };

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    first = xl_run("create", XL_CONFIG);
    second = xl_run("create", XL_CONFIG);
    xl_assert_ok(&first);
    xl_assert_error(&second, 1,
                    "guest '" XL_GUEST "' exists already, as domain 1");
    ck_assert(destroy_if_listed());
    xl_assert_nothing_left();
}

/* Covers D15. */
TEST_TIMEOUT(create_of_a_name_in_the_making__names_the_process, XL_TEST_S)
{
    struct xl_process first = start_until_model_runs("'--never-ready'");
    AUTO_OUTPUT struct harness_output second = xl_run("create", XL_CONFIG);

    xl_assert_error(&second, 1, "is being created by process");
    kill(first.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&first), 128 + SIGINT);
    xl_assert_nothing_left();
}

/* It is its creator's to end. */
TEST_TIMEOUT(destroy_of_a_guest_in_the_making__is_busy, XL_TEST_S)
{
    struct xl_process create = start_until_model_runs("'--never-ready'");
    AUTO_OUTPUT struct harness_output destroy = xl_run("destroy", XL_GUEST);

    xl_assert_error(&destroy, 75, "is being created by process");
    kill(create.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&create), 128 + SIGINT);
    xl_assert_nothing_left();
}

TEST_MAIN("xl_interrupted")
