/*
 * A supervisor and its monitor, of which each brings the other back: killed in
 * turn and together, in each state; and that there is never a second one.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/supervised_states.h"
#include "tests/cli/supervised_story.h"
#include "tests/lib/processes.h"

/* ---- Those there are --------------------------------------------------- */

struct pair {
    pid_t supervisor;
    pid_t monitor;
};

static struct pair
now(void)
{
    return (struct pair){ supervised_is(XL_GUEST) ? supervised_pid(XL_GUEST)
                                                  : 0,
                          supervised_monitor_pid(XL_GUEST) };
}

/* Other than these, where they are not 0. */
static bool
is_complete(void *user)
{
    const struct pair *killed = user;
    struct pair pair = now();

    return pair.supervisor && pair.monitor &&
           pair.supervisor != killed->supervisor &&
           pair.monitor != killed->monitor;
}

static bool
is_nobody(void *user)
{
    struct pair pair = now();

    (void)user;
    return !pair.supervisor && !pair.monitor;
}

static struct pair
await_others(struct pair killed)
{
    ck_assert_msg(harness_wait_until(is_complete, &killed, XL_WAIT_MS),
                  "supervisor %d and monitor %d have not come back",
                  (int)killed.supervisor, (int)killed.monitor);
    return now();
}

static bool
knows_its_monitor(void *user)
{
    AUTO_JSON struct libspawn__json *status = supervised_status(XL_GUEST);
    int64_t pid = 0;

    (void)user;
    libspawn__json_integer(libspawn__json_member(status, "monitor_pid"), &pid);
    return libspawn__json_bool(libspawn__json_member(status, "monitored"),
                               false) &&
           pid && pid == supervised_monitor_pid(XL_GUEST);
}

static void
assert_known(void)
{
    ck_assert(harness_wait_until(knows_its_monitor, NULL, XL_WAIT_MS));
}

/* ---- One of them killed ------------------------------------------------ */

TEST_TIMEOUT(monitor_killed__supervisor_brings_another_and_no_news, XL_TEST_S)
{
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *after = NULL;
    struct process process;
    struct pair former;
    struct pair pair;

    supervised_create("--monitor", "");
    supervised_await_state(XL_GUEST, "admitted");
    before = harness_read_file("state/events");
    former = now();
    supervised_kill_monitor(XL_GUEST, SIGKILL);
    pair = await_others((struct pair){ 0, former.monitor });
    ck_assert_int_eq(pair.supervisor, former.supervisor);
    assert_known();
    after = harness_read_file("state/events");
    ck_assert_str_eq(after, before);
    ck_assert(process_read(pair.monitor, &process));
    ck_assert(!process.is_zombie);
    xl_destroy_guest();
}

/* The one that it brought is as good as the first. */
TEST_TIMEOUT(supervisor_killed_after_its_monitor__is_brought_back_at_once,
             XL_TEST_S)
{
    struct pair former;
    pid_t model;
    int i;

    supervised_create("--monitor", "");
    model = supervised_model_pid(XL_GUEST);
    for (i = 0; i < 3; i++) {
        former = now();
        supervised_kill_monitor(XL_GUEST, SIGKILL);
        await_others((struct pair){ 0, former.monitor });
        former = now();
        supervised_kill(XL_GUEST, SIGKILL);
        await_others((struct pair){ former.supervisor, 0 });
        supervised_await_state(XL_GUEST, "admitted");
        ck_assert_int_eq(now().monitor, former.monitor);
    }
    ck_assert_int_eq(supervised_model_pid(XL_GUEST), model);
    ck_assert_uint_eq(supervised_count_starts(), 1);
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "supervisor-lost"), 3);
    xl_destroy_guest();
}

/* How a process ended that is not one's child is not known. */
TEST_TIMEOUT(supervisor_of_an_attached_monitor_killed__how_is_unknown,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output events = { 0 };
    struct pair former;

    supervised_create("--monitor", "");
    former = now();
    supervised_kill_monitor(XL_GUEST, SIGKILL);
    await_others((struct pair){ 0, former.monitor });
    assert_known();
    supervised_kill(XL_GUEST, SIGKILL);
    await_others(former);
    supervised_await_event(XL_GUEST, "supervisor-started", 1);
    events = xl_run("events");
    assert_contains(events.out, "ended, how is unknown");
    xl_destroy_guest();
}

TEST_TIMEOUT(monitor_killed_twice__the_second_time_there_is_a_pause, XL_TEST_S)
{
    struct pair former;
    int64_t began_ms;

    supervised_create("--monitor", "");
    former = now();
    began_ms = libspawn__clock_now_ms();
    supervised_kill_monitor(XL_GUEST, SIGKILL);
    former = await_others((struct pair){ 0, former.monitor });
    supervised_kill_monitor(XL_GUEST, SIGKILL);
    await_others((struct pair){ 0, former.monitor });
    ck_assert_int_ge(libspawn__clock_now_ms() - began_ms,
                     supervised_scaled(10000));
    xl_destroy_guest();
}

/* Covers D6. */
TEST_TIMEOUT(attached_monitor_ended__supervisor_goes_and_the_guest_stays,
             XL_TEST_S)
{
    struct pair former;

    supervised_create("--monitor", "");
    former = now();
    supervised_kill_monitor(XL_GUEST, SIGKILL);
    former = await_others((struct pair){ 0, former.monitor });
    assert_known();
    supervised_kill_monitor(XL_GUEST, SIGTERM);
    supervised_await_event(XL_GUEST, "supervisor-left", 1);
    ck_assert(harness_wait_until(is_nobody, NULL, XL_WAIT_MS));
    xl_destroy_guest();
}

/* ---- In every state ---------------------------------------------------- */

enum {
    SUPERVISOR = 1 << 0,
    MONITOR = 1 << 1,
    MONITOR_FIRST = 1 << 2
};

static const int victims[] = { SUPERVISOR, MONITOR, SUPERVISOR | MONITOR,
                               SUPERVISOR | MONITOR | MONITOR_FIRST };

/* Neither of two sees the other's end when both are stopped first. */
static struct pair
kill_them(int which)
{
    struct pair pair = now();
    struct pair killed = { which & SUPERVISOR ? pair.supervisor : 0,
                           which & MONITOR ? pair.monitor : 0 };

    if (killed.supervisor && killed.monitor) {
        kill(pair.supervisor, SIGSTOP);
        kill(pair.monitor, SIGSTOP);
    }
    if (which & MONITOR_FIRST) {
        supervised_kill_monitor(XL_GUEST, SIGKILL);
    }
    if (killed.supervisor) {
        supervised_kill(XL_GUEST, SIGKILL);
    }
    if (killed.monitor && !(which & MONITOR_FIRST)) {
        supervised_kill_monitor(XL_GUEST, SIGKILL);
    }
    return killed;
}

static void
kill_in(const struct supervised_state *state, int which)
{
    AUTO_OUTPUT struct harness_output destroy = { 0 };
    AUTO_FREE char *events = NULL;
    struct pair killed;

    supervised_create("--monitor", state->lines);
    state->lead();
    await_others((struct pair){ 0 });
    killed = kill_them(which);
    if (killed.supervisor && killed.monitor) {
        supervised_look();
    }
    await_others(killed);
    state->check();
    destroy = xl_run("destroy", XL_GUEST); /* unless it is gone */
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
    events = libspawn__str_format("%s/events", getenv("XL_STATE_DIR"));
    unlink(events);
}

TEST_TIMEOUT(killed_in_any_state__both_come_back_and_go_on, SUPERVISED_TEST_S)
{
    size_t i;
    size_t j;

    for (i = 0; i < LIBSPAWN__N_STATES; i++) {
        for (j = 0; supervised_states[i].lead && j < ARRAY_SIZE(victims);
             j++) {
            kill_in(&supervised_states[i], victims[j]);
        }
    }
}

/* Their starter waits; neither is brought back. */
TEST_TIMEOUT(killed_while_it_creates__leaves_nothing, XL_TEST_S)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(victims); i++) {
        struct xl_process process;

        supervised_begin();
        supervised_write_config(XL_GUEST, "");
        supervised_set_model(XL_GUEST, "--greet-only");
        process = xl_start("-v", "create", "--monitor", XL_GUEST ".cfg");
        ck_assert(xl_await_step(&process, "starting the device model"));
        kill_them(victims[i]);
        ck_assert_int_eq(xl_wait(&process), 128 + SIGKILL);
        ck_assert(harness_wait_children(XL_WAIT_MS));
        supervised_look();
        ck_assert(harness_wait_children(XL_WAIT_MS));
        xl_assert_nothing_left();
    }
}

/* ---- Never two --------------------------------------------------------- */

TEST_TIMEOUT(monitors_started_by_hand__leave_the_one_that_is_there, XL_TEST_S)
{
    enum {
        N = 6
    };
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/guest-supervisor", harness_build_dir());
    struct xl_process monitors[N];
    struct pair former;
    size_t i;

    supervised_create("--monitor", "");
    former = now();
    for (i = 0; i < N; i++) {
        monitors[i] = xl_start_argv((const char *const[]){
            path, "--monitor", "--again", XL_GUEST, NULL });
    }
    for (i = 0; i < N; i++) {
        ck_assert_int_eq(xl_wait(&monitors[i]), 0);
    }
    ck_assert_int_eq(now().supervisor, former.supervisor);
    ck_assert_int_eq(now().monitor, former.monitor);
    xl_destroy_guest();
}

TEST_TIMEOUT(second_creation_of_the_guest__fails_and_the_monitor_stays,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output create = { 0 };
    struct pair former;

    supervised_create("--monitor", "");
    former = now();
    create = xl_run("create", "--monitor", XL_GUEST ".cfg");
    xl_assert_error(&create, 1, "exists");
    ck_assert_int_eq(now().monitor, former.monitor);
    supervised_kill(XL_GUEST, SIGKILL);
    await_others((struct pair){ former.supervisor, 0 });
    ck_assert_int_eq(now().monitor, former.monitor);
    xl_destroy_guest();
}

/* In the pause before it starts the next supervisor, which never comes. */
TEST_TIMEOUT(guest_destroyed_while_its_monitor_waits__it_goes, XL_TEST_S)
{
    struct pair former;
    int i;

    supervised_create("--monitor", "");
    for (i = 0; i < 2; i++) {
        supervised_await_state(XL_GUEST, "admitted");
        former = now();
        supervised_kill(XL_GUEST, SIGKILL);
        if (!i) {
            await_others((struct pair){ former.supervisor, 0 });
        }
    }
    xl_ok("destroy", XL_GUEST);
    ck_assert_int_eq(supervised_monitor_pid(XL_GUEST), 0);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
}

/* ---- Becoming another program ------------------------------------------ */

TEST_TIMEOUT(supervisor_reexecuted__keeps_and_replaces_its_monitor, XL_TEST_S)
{
    struct pair former;
    int i;

    supervised_create("--monitor", "");
    supervised_await_state(XL_GUEST, "admitted");
    for (i = 1; i <= 3; i++) {
        former = now();
        xl_ok("supervise", "--reexec", XL_GUEST);
        ck_assert_int_eq(supervised_number(XL_GUEST, "programs"), i);
        assert_known();
        ck_assert_int_eq(now().monitor, former.monitor);
        supervised_kill_monitor(XL_GUEST, SIGKILL);
        await_others((struct pair){ 0, former.monitor });
        assert_known();
        ck_assert_int_eq(now().supervisor, former.supervisor);
    }
    xl_destroy_guest();
}

/* ---- What is shown ----------------------------------------------------- */

TEST_TIMEOUT(list_of_device_models__shows_the_monitor, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output table = { 0 };
    AUTO_OUTPUT struct harness_output json = { 0 };
    AUTO_FREE char *as_text = NULL;
    AUTO_FREE char *as_json = NULL;

    supervised_create("--monitor", "");
    as_text = libspawn__str_format("admitted; monitor %d\n",
                                   (int)now().monitor);
    as_json = libspawn__str_format("\"monitor_pid\": %d",
                                   (int)now().monitor);
    table = xl_run("dm-list");
    assert_contains(table.out, as_text);
    json = xl_run("dm-list", "--json");
    assert_contains(json.out, as_json);
    assert_contains(json.out, "\"monitored\": true");
    xl_destroy_guest();
}

TEST_TIMEOUT(guest_without_a_monitor__gets_none_and_says_so, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output table = { 0 };
    AUTO_OUTPUT struct harness_output json = { 0 };
    pid_t former;

    supervised_create("-q", "");
    former = supervised_pid(XL_GUEST);
    supervised_kill(XL_GUEST, SIGKILL);
    supervised_look();
    supervised_await_another(former);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_int_eq(now().monitor, 0);
    table = xl_run("dm-list");
    ck_assert_ptr_null(strstr(table.out, "monitor"));
    json = xl_run("dm-list", "--json");
    assert_contains(json.out, "\"monitored\": false");
    xl_destroy_guest();
}

/* ---- What is left ------------------------------------------------------ */

/* Of processes that were killed in the middle of making a file; that of a
 * living one is its own. */
TEST_TIMEOUT(halves_of_files__go_with_the_guest, XL_TEST_S)
{
#define HALF(END) "state/supervisors/" XL_GUEST END
    AUTO_FREE char *dead = NULL;
    AUTO_FREE char *living =
        libspawn__str_format(HALF(".pid.new-%d"), (int)getpid());
    pid_t pid;

    supervised_create("--monitor", "");
    pid = supervised_monitor_pid(XL_GUEST);
    dead = libspawn__str_format(HALF(".monitor.new-%d"), (int)pid);
    harness_write_file(dead, "");
    harness_write_file(living, "");
    harness_write_file(HALF(".sock.tmp-00c0ffee"), "");
    supervised_look();
    ck_assert(!access(HALF(".sock.tmp-00c0ffee"), F_OK));
    xl_ok("destroy", XL_GUEST);
    ck_assert(access(HALF(".sock.tmp-00c0ffee"), F_OK));
    ck_assert(access(dead, F_OK));
    ck_assert_int_eq(unlink(living), 0);
    xl_assert_nothing_left();
#undef HALF
}

/* It hears nothing, and is killed. */
TEST_TIMEOUT(monitor_that_is_stopped__goes_with_its_guest, XL_TEST_S)
{
    supervised_create("--monitor", "");
    kill(now().monitor, SIGSTOP);
    xl_ok("destroy", XL_GUEST);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
}

TEST_MAIN("xl_monitor")
