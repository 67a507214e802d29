/*
 * Supervisors that die: who takes their place, and what that knows; a parent
 * that stays to do so; and becoming another program meanwhile.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/util.h"
#include "guest/events.h"
#include "tests/cli/supervised_states.h"
#include "tests/cli/supervised_story.h"
#include "tests/lib/processes.h"
#include "wire/rpc_client.h"

/* How our own programs crash here: a sanitizer has SIGSEGV for itself. */
#ifdef __SANITIZE_ADDRESS__
#define CRASH SIGABRT
#define CRASH_NAME "SIGABRT"
#else
#define CRASH SIGSEGV
#define CRASH_NAME "SIGSEGV"
#endif

/* One command of the monitor, through the supervisor; that it hangs up before
 * it has answered is fine. */
static void
tell_model(const char *command)
{
    AUTO_FREE char *name = libspawn__str_format(
        "unix:%s/supervisors/" XL_GUEST ".sock", getenv("XL_STATE_DIR"));
    AUTO_FREE char *params =
        libspawn__str_format("{\"execute\":\"%s\"}", command);
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__rpc_session_open(name, XL_WAIT_MS, &session, &err),
              &err);
    libspawn__rpc_session_call(session, "monitor", params, XL_WAIT_MS, NULL,
                               &err);
}

/* ---- By the next command ----------------------------------------------- */

TEST_TIMEOUT(supervisor_killed__next_command_starts_another, XL_TEST_S)
{
    pid_t former;
    pid_t model;

    supervised_create("-q", "");
    former = supervised_pid(XL_GUEST);
    model = supervised_model_pid(XL_GUEST);
    supervised_kill(XL_GUEST, SIGKILL);
    supervised_look();
    supervised_await_another(former);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_int_eq(supervised_model_pid(XL_GUEST), model);
    ck_assert_uint_eq(supervised_count_starts(), 1);
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "supervisor-lost"), 1);
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "supervisor-started"),
                      1);
    xl_destroy_guest();
}

TEST_TIMEOUT(commands_at_once__start_one_supervisor, XL_TEST_S)
{
    enum {
        N = 6
    };
    struct xl_process commands[N];
    pid_t former;
    size_t i;

    supervised_create("-q", "");
    former = supervised_pid(XL_GUEST);
    supervised_kill(XL_GUEST, SIGKILL);
    for (i = 0; i < N; i++) {
        commands[i] = xl_start_talk("domid", XL_GUEST);
    }
    for (i = 0; i < N; i++) {
        ck_assert_int_eq(xl_wait(&commands[i]), 0);
    }
    supervised_await_another(former);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "supervisor-started"),
                      1);
    xl_destroy_guest();
}

/* Covers M13. */
TEST_TIMEOUT(supervisor_asked_to_leave__is_not_followed_but_on_demand,
             XL_TEST_S)
{
    supervised_create("-q", "");
    supervised_kill(XL_GUEST, SIGTERM);
    supervised_look();
    xl_ok("supervise", "--all");
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "supervisor-left"), 1);
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "supervisor-started"),
                      0);
    xl_ok("supervise", XL_GUEST);
    supervised_await_event(XL_GUEST, "supervisor-started", 1);
    supervised_await_state(XL_GUEST, "admitted");
    xl_destroy_guest();
}

TEST_TIMEOUT(guest_without_a_supervisor__gets_none_but_on_demand, XL_TEST_S)
{
    supervised_create("-e", "");
    supervised_look();
    xl_ok("supervise", "--all");
    ck_assert(!supervised_is(XL_GUEST));
    xl_ok("supervise", XL_GUEST);
    supervised_await_event(XL_GUEST, "supervisor-started", 1);
    supervised_await_state(XL_GUEST, "admitted");
    xl_destroy_guest();
}

/* ---- What the next one knows ------------------------------------------- */

static pid_t
kill_both(int signal)
{
    pid_t former = supervised_pid(XL_GUEST);
    pid_t model = supervised_model_pid(XL_GUEST);

    supervised_kill(XL_GUEST, SIGKILL);
    kill(model, signal);
    return former;
}

TEST_TIMEOUT(model_that_died_meanwhile__is_kept_and_told_once, XL_TEST_S)
{
    int i;

    supervised_create("-q", "on_dm_crash = 'preserve'");
    for (i = 0; i < 3; i++) {
        pid_t former = i ? supervised_pid(XL_GUEST) : kill_both(SIGKILL);

        if (i) {
            supervised_kill(XL_GUEST, SIGKILL);
        }
        supervised_look();
        supervised_await_another(former);
        supervised_await_state(XL_GUEST, "failed");
    }
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "device-model-died"),
                      1);
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "preserved"), 1);
    xl_destroy_guest();
}

#define UUID "0d5c9a3e-8a51-4f0e-9d6c-2f6f1c1b7a10"

static void
tell_death(void)
{
    AUTO_FREE char *state_dir = strdup(getenv("XL_STATE_DIR"));
    struct libspawn_host host = { .state_dir = state_dir };
    const struct libspawn__event event = {
        .guest = XL_GUEST,
        .domid = 1,
        .uuid = UUID,
        .kind = LIBSPAWN_GUEST_EVENT_DM_DIED,
    };
    struct libspawn_err err;

    assert_ok(libspawn__event_append(&host, &event, &err), &err);
}

/* Its supervisor was killed before it could note that it had told it. */
TEST_TIMEOUT(death_that_was_told_only__is_not_told_again, XL_TEST_S)
{
    pid_t former;

    supervised_create("-q", "on_dm_crash = 'preserve'\nuuid = '" UUID "'");
    tell_death();
    former = kill_both(SIGKILL);
    supervised_look();
    supervised_await_another(former);
    supervised_await_state(XL_GUEST, "failed");
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "device-model-died"),
                      1);
    xl_destroy_guest();
}

TEST_TIMEOUT(model_that_died_meanwhile__is_started_again_once, XL_TEST_S)
{
    pid_t former;

    supervised_create("-q", "on_dm_crash = 'restart'");
    former = kill_both(SIGKILL);
    supervised_look();
    supervised_await_another(former);
    supervised_await_event(XL_GUEST, "restarted", 1);
    supervised_await_state(XL_GUEST, "admitted");
    former = supervised_pid(XL_GUEST);
    supervised_kill(XL_GUEST, SIGKILL);
    supervised_look();
    supervised_await_another(former);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_uint_eq(supervised_count_starts(), 2);
    ck_assert_int_eq(supervised_number(XL_GUEST, "restarts"), 1);
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "device-model-died"),
                      1);
    xl_destroy_guest();
}

/* SIGTERM makes it exit with 0, which is all that is left to see of a guest
 * that powers off. */
TEST_TIMEOUT(guest_off_meanwhile__is_started_again_if_it_is_to, XL_TEST_S)
{
    pid_t former;

    supervised_create("-q", "on_poweroff = 'restart'");
    former = kill_both(SIGTERM);
    supervised_look();
    supervised_await_another(former);
    supervised_await_event(XL_GUEST, "restarted", 1);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "shutdown"), 1);
    ck_assert_uint_eq(supervised_count_starts(), 2);
    xl_destroy_guest();
}

TEST_TIMEOUT(guest_off_meanwhile__is_removed, XL_TEST_S)
{
    supervised_create("-q", "");
    kill_both(SIGTERM);
    supervised_look();
    supervised_await_event(XL_GUEST, "destroyed", 1);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    supervised_look();
    xl_assert_nothing_left();
}

TEST_TIMEOUT(guest_left_paused__is_adopted_as_such, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    pid_t former;

    supervised_create("-p", "");
    former = supervised_pid(XL_GUEST);
    supervised_kill(XL_GUEST, SIGKILL);
    supervised_look();
    supervised_await_another(former);
    supervised_await_state(XL_GUEST, "admitted");
    list = xl_run("list");
    assert_contains(list.out, "--p---");
    xl_destroy_guest();
}

/* ---- In every state ---------------------------------------------------- */

static void
kill_in(const struct supervised_state *state)
{
    AUTO_OUTPUT struct harness_output destroy = { 0 };
    pid_t former;

    supervised_create("-q", state->lines);
    state->lead();
    former = supervised_pid(XL_GUEST);
    supervised_kill(XL_GUEST, SIGKILL);
    supervised_look();
    supervised_await_another(former);
    state->check();
    destroy = xl_run("destroy", XL_GUEST); /* unless it is gone */
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
}

TEST_TIMEOUT(supervisor_killed_in_any_state__the_next_goes_on,
             SUPERVISED_TEST_S)
{
    size_t i;

    for (i = 0; i < LIBSPAWN__N_STATES; i++) {
        AUTO_FREE char *events = NULL;

        if (!supervised_states[i].lead) {
            continue;
        }
        kill_in(&supervised_states[i]);
        events = libspawn__str_format("%s/events", getenv("XL_STATE_DIR"));
        unlink(events);
    }
}

TEST_TIMEOUT(supervisor_killed_while_it_creates__leaves_nothing, XL_TEST_S)
{
    struct xl_process process;

    supervised_begin();
    supervised_write_config(XL_GUEST, "");
    supervised_set_model(XL_GUEST, "--greet-only");
    process = xl_start("-v", "create", XL_GUEST ".cfg");
    ck_assert(xl_await_step(&process, "starting the device model"));
    supervised_kill(XL_GUEST, SIGKILL);
    ck_assert_int_eq(xl_wait(&process), 128 + SIGKILL);
    supervised_look();
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
}

/* Not more than that, once it has seen the end of those who asked it. */
static bool
has_fds(void *user)
{
    const size_t *n = user;

    return harness_count_fds(supervised_pid(XL_GUEST)) <= *n;
}

static void
await_fds(size_t n)
{
    ck_assert_msg(harness_wait_until(has_fds, &n, XL_WAIT_MS),
                  "%zu descriptors have become %zu", n,
                  harness_count_fds(supervised_pid(XL_GUEST)));
}

/* Covers D17. */
TEST_TIMEOUT(model_started_again_50_times__as_many_descriptors, 300)
{
    enum {
        N = 50
    };
    size_t n_first = 0;
    int i;

    supervised_create("-q", "on_poweroff = 'restart'");
    for (i = 1; i <= N; i++) {
        supervised_await_state(XL_GUEST, "admitted");
        tell_model("quit");
        supervised_await_event(XL_GUEST, "restarted", (size_t)i);
        supervised_await_state(XL_GUEST, "admitted");
        if (i == 1) {
            n_first = harness_count_fds(supervised_pid(XL_GUEST));
        }
    }
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_uint_eq(supervised_count_starts(), N + 1);
    await_fds(n_first);
    xl_destroy_guest();
}

/* ---- A parent that stays ----------------------------------------------- */

/* Covers D4, M3. */
TEST_TIMEOUT(monitored_start_that_fails__status_passes_through, XL_TEST_S)
{
    supervised_begin();
    xl_write_model_config("'--exit=37'");
    xl_assert_create_fails(37, "exited with status 37", "--monitor",
                           XL_CONFIG);
    xl_write_model_config("'--signal=11'");
    xl_assert_create_fails(128 + SIGSEGV, "was killed by SIGSEGV", "--monitor",
                           XL_CONFIG);
}

/* Covers D4. */
TEST_TIMEOUT(monitored_supervisor_killed_early__signal_passes_through,
             XL_TEST_S)
{
    struct xl_process process;

    supervised_begin();
    xl_write_model_config("'--greet-only'");
    process = xl_start("-v", "create", "--monitor", XL_CONFIG);
    ck_assert(xl_await_step(&process, "starting the device model"));
    supervised_kill(XL_GUEST, CRASH);
    ck_assert_int_eq(xl_wait(&process), 128 + CRASH);
    assert_contains(process.text, "was killed by " CRASH_NAME);
    supervised_look();
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
}

/* Covers D5, D7, D9. */
TEST_TIMEOUT(monitored_supervisor_crashes__same_parent_has_another, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output events = { 0 };
    struct process before;
    struct process after;
    pid_t monitor;
    pid_t model;
    pid_t pid;
    int i;

    supervised_create("--monitor", "");
    model = supervised_model_pid(XL_GUEST);
    monitor = harness_parent(supervised_pid(XL_GUEST));
    ck_assert_int_ne(harness_parent(monitor), getpid());
    for (i = 0; i < 2; i++) {
        pid = supervised_pid(XL_GUEST);
        ck_assert(process_read(pid, &before));
        kill(pid, i ? SIGKILL : CRASH);
        supervised_await_another(pid);
        supervised_await_state(XL_GUEST, "admitted");
        ck_assert(process_read(supervised_pid(XL_GUEST), &after));
        ck_assert_int_eq(after.parent, monitor);
        ck_assert_str_eq(after.name, before.name);
        ck_assert_int_eq(supervised_model_pid(XL_GUEST), model);
    }
    events = xl_run("events");
    assert_contains(events.out, "was killed by " CRASH_NAME);
    xl_destroy_guest();
}

/* Covers D6. */
TEST_TIMEOUT(monitored_supervisor_ended__monitor_and_pid_file_go, XL_TEST_S)
{
    struct process process;
    pid_t monitor;

    supervised_create("--monitor", "");
    monitor = harness_parent(supervised_pid(XL_GUEST));
    supervised_kill(XL_GUEST, SIGTERM);
    while (process_read(monitor, &process) && !process.is_zombie) {
        ck_assert(!supervised_is(XL_GUEST));
    }
    ck_assert(access("state/supervisors/" XL_GUEST ".pid", F_OK));
    ck_assert(access("state/supervisors/" XL_GUEST ".sock", F_OK));
    xl_destroy_guest();
}

/* Covers D6. */
TEST_TIMEOUT(monitor_ended__supervisor_goes_and_the_guest_stays, XL_TEST_S)
{
    supervised_create("--monitor", "");
    kill(harness_parent(supervised_pid(XL_GUEST)), SIGTERM);
    supervised_await_event(XL_GUEST, "supervisor-left", 1);
    ck_assert_uint_eq(supervised_count_starts(), 1);
    xl_destroy_guest();
}

/* ---- Becoming another program ------------------------------------------ */

TEST_TIMEOUT(supervisor_reexecuted__is_the_same_process_and_no_news, XL_TEST_S)
{
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *after = NULL;
    pid_t model;
    pid_t pid;
    size_t n_fds;
    int i;

    supervised_create("-q", "");
    supervised_await_state(XL_GUEST, "admitted");
    pid = supervised_pid(XL_GUEST);
    model = supervised_model_pid(XL_GUEST);
    before = harness_read_file("state/events");
    n_fds = harness_count_fds(pid);
    for (i = 1; i <= 5; i++) {
        xl_ok("supervise", "--reexec", "--all");
        ck_assert_int_eq(supervised_number(XL_GUEST, "programs"), i);
    }
    ck_assert_int_eq(supervised_pid(XL_GUEST), pid);
    /* It has adopted the device model, and pins two processes for that. */
    await_fds(n_fds + 2);
    ck_assert_int_eq(supervised_model_pid(XL_GUEST), model);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_int_eq(supervised_number(XL_GUEST, "admissions"), 1);
    after = harness_read_file("state/events");
    ck_assert_str_eq(after, before);
    xl_destroy_guest();
}

/* What its monitor tells still comes to us: why it ended. */
TEST_TIMEOUT(supervisor_reexecuted__hears_how_the_guest_ends, XL_TEST_S)
{
    supervised_create("-q",
                      "on_poweroff = 'restart'\non_dm_crash = 'restart'");
    supervised_await_state(XL_GUEST, "admitted");
    kill(supervised_model_pid(XL_GUEST), SIGKILL);
    supervised_await_event(XL_GUEST, "released", 1);
    xl_ok("supervise", "--reexec", XL_GUEST);
    ck_assert_int_eq(supervised_number(XL_GUEST, "restarts"), 1);
    tell_model("quit");
    supervised_await_event(XL_GUEST, "restarted", 2);
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "shutdown"), 1);
    supervised_await_state(XL_GUEST, "admitted");
    xl_destroy_guest();
}

TEST_TIMEOUT(supervisor_reexecuted_in_failed__stays_there, XL_TEST_S)
{
    supervised_create("-q", "on_dm_crash = 'preserve'");
    supervised_states[LIBSPAWN__STATE_FAILED].lead();
    xl_ok("supervise", "--reexec", XL_GUEST);
    ck_assert_int_eq(supervised_number(XL_GUEST, "programs"), 1);
    supervised_states[LIBSPAWN__STATE_FAILED].check();
    xl_destroy_guest();
}

/* The programs of this test, in its directory, so that one can go. */
TEST_TIMEOUT(program_that_cannot_be_executed__old_one_goes_on, XL_TEST_S)
{
    static const char *const names[] = { "xl", "guest-supervisor",
                                         "guest-worker", "spawn-watcher" };
    AUTO_OUTPUT struct harness_output output = { 0 };
    size_t i;

    supervised_begin();
    supervised_write_config(XL_GUEST, "");
    supervised_set_model(XL_GUEST, SUPERVISED_MODEL);
    for (i = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_FREE char *from =
            libspawn__str_format("%s/bin/%s", harness_build_dir(), names[i]);
        AUTO_OUTPUT struct harness_output copy = harness_run("cp", from, ".");

        ck_assert_int_eq(copy.status, 0);
    }
    xl_ok_argv(
        (const char *const[]){ "./xl", "create", XL_GUEST ".cfg", NULL });
    ck_assert_int_eq(unlink("guest-supervisor"), 0);
    harness_write_file("guest-supervisor", "no program\n");
    ck_assert_int_eq(chmod("guest-supervisor", 0755), 0);
    output = harness_run("./xl", "supervise", "--reexec", XL_GUEST);
    xl_assert_error(&output, 1, "executing");
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_int_eq(supervised_number(XL_GUEST, "programs"), 0);
    xl_destroy_guest();
}

/* Whose monitor goes on to look after it. */
TEST_TIMEOUT(monitored_supervisor_of_somebody_else__is_replaced_as_well,
             XL_TEST_S)
{
    enum {
        N = 5
    };
    pid_t former;
    int i;

    supervised_create("--monitor", "");
    for (i = 0; i < N; i++) {
        former = supervised_pid(XL_GUEST);
        kill(former, SIGKILL);
        xl_ok("list", "--json");
        supervised_await_another(former);
        supervised_await_state(XL_GUEST, "admitted");
    }
    former = supervised_pid(XL_GUEST);
    kill(former, SIGKILL);
    supervised_await_another(former);
    supervised_await_state(XL_GUEST, "admitted");
    xl_destroy_guest();
}

TEST_MAIN("xl_supervise")
