/*
 * on_dm_crash = "script": what a recovery script is told, when it runs and how
 * often, what its exit status does, and that it may use xl.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/util.h"
#include "tests/cli/supervised_story.h"

#define G "tale"
#define LINES                                                                 \
    "on_dm_crash = 'script'\non_dm_crash_script = 'recover.sh'\n"             \
    "start_timeout = 2"
#define STILL_HOLDING "holding\",\"reason\":\"still"
#define ENDED(REASON) "script-ended\",\"reason\":\"" REASON

/* Each run adds a line to "tale.runs", and what it was told is in "tale.env";
 * then comes 'body'. */
static void
write_script(const char *body)
{
    AUTO_FREE char *text = libspawn__str_format(
        "#!/bin/sh\ncd %s || exit 9\nenv >tale.env.new\n"
        "mv tale.env.new tale.env\necho run >>tale.runs\n%s\n",
        harness_dir(), body);

    harness_write_file("recover.sh", text);
    ck_assert_int_eq(chmod("recover.sh", 0755), 0);
}

static size_t
count_runs(void)
{
    return supervised_count_lines(G, "runs", "run");
}

static bool
has_run(void *user)
{
    (void)user;
    return count_runs() > 0;
}

/* For scripts that take some time: a tenth of the minute that they have. */
static void
begin_slower(const char *script)
{
    supervised_begin_slowly(10);
    write_script(script);
    supervised_write_config(G, LINES);
}

static void
create(void)
{
    AUTO_OUTPUT struct harness_output output = xl_run("create", G ".cfg");

    xl_assert_ok(&output);
    supervised_await_state(G, "admitted");
}

static void
begin(const char *script)
{
    begin_slower(script);
    create();
}

static void
end(void)
{
    AUTO_OUTPUT struct harness_output output = xl_run("destroy", G);

    xl_assert_ok(&output);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
}

static void
kill_model(void)
{
    ck_assert_int_eq(kill(supervised_model_pid(G), SIGKILL), 0);
}

static void
assert_told(const char *line)
{
    ck_assert_msg(supervised_count_lines(G, "env", line) == 1,
                  "the script was not told '%s'", line);
}

/* ---- What it says ------------------------------------------------------ */

/* Covers R10, R15, M5. */
TEST_TIMEOUT(script_that_says_restart__is_told_all_and_obeyed_once, XL_TEST_S)
{
    begin("exit 0");
    kill_model();
    supervised_await_event(G, "released", 1);
    ck_assert_uint_eq(count_runs(), 1);
    assert_told("XL_GUEST=" G);
    assert_told("XL_DOMID=1");
    assert_told("XL_REASON=killed");
    assert_told("XL_STATUS=137");
    assert_told("XL_END=was killed by SIGKILL (Killed)");
    assert_told("XL_RESTARTS=0");
    assert_told("XL_MODEL_PID=");
    ck_assert_uint_eq(supervised_count_events(G, "holding"), 1);
    ck_assert_uint_eq(supervised_count_events(G, "script-started"), 1);
    ck_assert_uint_eq(supervised_count_events(G, ENDED("restart")), 1);
    ck_assert_uint_eq(supervised_count_events(G, "restarted"), 1);
    end();
}

/* Covers R15. */
TEST_TIMEOUT(model_that_ends_again__its_own_status_is_told, XL_TEST_S)
{
    begin("exit 0");
    supervised_set_model(G, "--exit-after-ready=3");
    kill_model();
    supervised_await_event(G, "script-started", 2);
    supervised_set_model(G, "");
    supervised_await_event(G, "released", 1);
    assert_told("XL_REASON=exited");
    assert_told("XL_STATUS=3");
    ck_assert_uint_eq(count_runs(),
                      supervised_count_events(G, "device-model-died"));
    end();
}

/* Covers R15. */
TEST_TIMEOUT(model_that_cannot_be_started_again__why_is_told, XL_TEST_S)
{
    begin("exit 0");
    ck_assert_int_eq(rename(G ".sh", "away"), 0);
    kill_model();
    supervised_await_event(G, "script-started\",\"reason\":\"no-exec", 1);
    supervised_set_model(G, "--mute");
    ck_assert_int_eq(rename("away", G ".sh"), 0);
    supervised_await_event(G, "script-started\",\"reason\":\"deadline", 1);
    supervised_set_model(G, "");
    supervised_await_event(G, "released", 1);
    assert_told("XL_STATUS=");
    ck_assert_uint_eq(count_runs(),
                      supervised_count_events(G, "device-model-died"));
    end();
}

TEST_TIMEOUT(script_that_says_preserve__the_guest_is_kept, XL_TEST_S)
{
    begin("exit 100");
    kill_model();
    supervised_await_event(G, "preserved", 1);
    supervised_await_state(G, "failed");
    ck_assert_uint_eq(supervised_count_events(G, ENDED("preserve")), 1);
    ck_assert_uint_eq(count_runs(), 1);
    end();
}

TEST_TIMEOUT(script_that_says_destroy__the_guest_is_gone, XL_TEST_S)
{
    begin("exit 101");
    kill_model();
    supervised_await_event(G, "destroyed", 1);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    ck_assert_uint_eq(supervised_count_events(G, ENDED("destroy")), 1);
    xl_assert_nothing_left();
}

/* ---- What it does not say ---------------------------------------------- */

/* The log of its device model. */
static char *
read_log(void)
{
    return harness_read_file("state/log/qemu-dm-" G ".log");
}

static bool
is_logged(void *user)
{
    AUTO_FREE char *log = read_log();

    return strstr(log, user);
}

/* Covers R13. */
TEST_TIMEOUT(script_that_fails__is_told_and_logged_and_the_guest_kept,
             XL_TEST_S)
{
    static char line[] = "recover.sh' exited with status 1: failed\n";
    static char output[] = "no idea\n";

    begin("echo no idea >&2; exit 1");
    kill_model();
    supervised_await_event(G, "preserved", 1);
    ck_assert_uint_eq(supervised_count_events(G, ENDED("failed")), 1);
    ck_assert(harness_wait_until(is_logged, line, XL_WAIT_MS));
    ck_assert(is_logged(output));
    ck_assert_uint_eq(count_runs(), 1);
    end();
}

static bool
is_over(void *user)
{
    AUTO_FREE char *text = harness_read_file("child.pid");
    uint64_t pid = 0;

    (void)user;
    text[strcspn(text, "\n")] = '\0';
    assert_ok(libspawn__str_to_u64(text, 1, INT32_MAX, &pid, NULL), NULL);
    return kill((pid_t)pid, 0) < 0;
}

/* Covers R13. */
TEST_TIMEOUT(script_that_hangs__is_killed_with_all_it_started, XL_TEST_S)
{
    begin("setsid sleep 1000 & echo $! >child.pid; wait");
    kill_model();
    supervised_await_state(G, "recovering");
    supervised_await_event(G, "preserved", 1);
    ck_assert_uint_eq(supervised_count_events(G, ENDED("late")), 1);
    ck_assert(harness_wait_until(is_over, NULL, XL_WAIT_MS));
    ck_assert_uint_eq(count_runs(), 1);
    end();
}

/* Covers R13. */
TEST_TIMEOUT(script_that_is_gone_by_then__is_a_failure, XL_TEST_S)
{
    begin("exit 0");
    ck_assert_int_eq(unlink("recover.sh"), 0);
    kill_model();
    supervised_await_event(G, "preserved", 1);
    ck_assert_uint_eq(supervised_count_events(G, ENDED("failed")), 1);
    end();
}

/* Covers R13. */
TEST_TIMEOUT(script_that_cannot_be_run__no_guest_is_created, XL_TEST_S)
{
    begin_slower("exit 0");
    ck_assert_int_eq(chmod("recover.sh", 0644), 0);
    xl_assert_create_fails(1, "is not an executable file", G ".cfg");
    ck_assert_int_eq(unlink("recover.sh"), 0);
    xl_assert_create_fails(1, "recover.sh", G ".cfg");
    ck_assert_int_eq(mkdir("recover.sh", 0755), 0);
    xl_assert_create_fails(1, "is not an executable file", G ".cfg");
    ck_assert_int_eq(rmdir("recover.sh"), 0);
}

/* ---- What it may do ---------------------------------------------------- */

/* No lock is held while it runs, and its supervisor answers.  Covers M6. */
TEST_TIMEOUT(script_that_asks_xl_about_its_guest__is_answered, XL_TEST_S)
{
    AUTO_FREE char *said = NULL;

    begin("{ \"$XL\" list $XL_DOMID && \"$XL\" dm-list $XL_GUEST &&"
          " \"$XL\" lock -n $XL_GUEST -- echo was free; } >said 2>&1 ||"
          " exit 1\n"
          "\"$XL\" pause $XL_GUEST; \"$XL\" shutdown -w $XL_GUEST; exit 0");
    kill_model();
    supervised_await_event(G, "released", 1);
    said = harness_read_file("said");
    assert_contains(said, "was killed by SIGKILL");
    assert_contains(said, "recovering, not admitted (");
    assert_contains(said, "was free");
    ck_assert_uint_eq(supervised_count_events(G, ENDED("restart")), 1);
    end();
}

static bool
has_ended(void *user)
{
    (void)user;
    return !access("script.over", F_OK);
}

/* It is left to run to its end, and decides nothing any more. */
TEST_TIMEOUT(script_that_destroys_its_guest__goes_on_to_its_end, XL_TEST_S)
{
    begin("\"$XL\" destroy $XL_GUEST >said 2>&1; echo $? >script.new;"
          " mv script.new script.over; exit 0");
    kill_model();
    ck_assert(harness_wait_until(has_ended, NULL, XL_WAIT_MS));
    ck_assert_uint_eq(supervised_count_lines("script", "over", "0"), 1);
    ck_assert(!supervised_is(G));
    ck_assert(harness_wait_children(XL_WAIT_MS));
    ck_assert_uint_eq(supervised_count_events(G, "restarting"), 0);
    xl_assert_nothing_left();
}

/* Nobody waits for it. */
TEST_TIMEOUT(guest_destroyed_while_its_script_runs__is_gone_at_once, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output destroy = { 0 };

    begin("sleep 3; : >script.over");
    kill_model();
    ck_assert(harness_wait_until(has_run, NULL, XL_WAIT_MS));
    destroy = xl_run("destroy", G);
    xl_assert_ok(&destroy);
    ck_assert(!has_ended(NULL));
    ck_assert(!supervised_is(G));
    ck_assert(harness_wait_until(has_ended, NULL, XL_WAIT_MS));
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
}

/* ---- How often --------------------------------------------------------- */

static bool
is_another(void *user)
{
    const pid_t *former = user;
    pid_t pid = supervised_find(G);

    return pid && pid != *former;
}

TEST_TIMEOUT(supervisor_killed_while_it_runs__the_next_does_not_run_it_again,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    pid_t former;

    begin("sleep 2; : >script.over");
    kill_model();
    ck_assert(harness_wait_until(has_run, NULL, XL_WAIT_MS));
    former = supervised_pid(G);
    supervised_kill(G, SIGKILL);
    list = xl_run("list"); /* which starts another */
    ck_assert(harness_wait_until(is_another, &former, XL_WAIT_MS));
    supervised_await_event(G, "preserved", 1);
    supervised_await_state(G, "failed");
    ck_assert(harness_wait_until(has_ended, NULL, XL_WAIT_MS));
    ck_assert_uint_eq(count_runs(), 1);
    ck_assert_uint_eq(supervised_count_events(G, "script-started"), 1);
    ck_assert_uint_eq(supervised_count_events(G, ENDED("lost")), 1);
    ck_assert_uint_eq(supervised_count_events(G, "device-model-died"), 1);
    end();
}

/* Somebody has the lock that the removal needs. */
TEST_TIMEOUT(supervisor_killed_after_it_said_destroy__the_next_destroys,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    struct xl_process holder;
    pid_t former;

    begin("exit 101");
    holder =
        xl_start_talk("lock", G, "--", "sh", "-c", "echo locked; read line");
    ck_assert(xl_await_words(&holder, "locked"));
    kill_model();
    supervised_await_state(G, "stopping");
    former = supervised_pid(G);
    supervised_kill(G, SIGKILL);
    list = xl_run("list");
    ck_assert(harness_wait_until(is_another, &former, XL_WAIT_MS));
    supervised_await_state(G, "stopping");
    xl_say(&holder, "go\n");
    ck_assert_int_eq(xl_wait(&holder), 0);
    supervised_await_event(G, "destroyed", 1);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    ck_assert_uint_eq(count_runs(), 1);
    xl_assert_nothing_left();
}

/* Covers R14. */
TEST_TIMEOUT(script_that_never_gives_up__has_ten_tries, SUPERVISED_TEST_S)
{
    supervised_stay_quick();
    supervised_begin_slowly(25); /* the limit of holding is later */
    write_script("exit 0");
    supervised_write_config(G, LINES);
    create();
    supervised_set_model(G, "--exit=3");
    kill_model();
    supervised_await_event(G, "preserved", 1);
    ck_assert_uint_eq(supervised_count_events(G, "restarting"), 10);
    ck_assert_uint_eq(count_runs(),
                      supervised_count_events(G, "device-model-died"));
    end();
}

/* ---- At the limit of holding ------------------------------------------- */

/* Its model is stopped, and the supervisor is one that found it so. */
static void
begin_mute(const char *script)
{
    supervised_begin_slowly(30);
    write_script(script);
    supervised_write_config(G, LINES);
    create();
}

static pid_t
stop_model(void)
{
    pid_t former = supervised_pid(G);
    pid_t model = supervised_model_pid(G);
    AUTO_OUTPUT struct harness_output list = { 0 };

    supervised_kill(G, SIGKILL);
    ck_assert_int_eq(kill(model, SIGSTOP), 0);
    list = xl_run("list");
    ck_assert(harness_wait_until(is_another, &former, XL_WAIT_MS));
    return model;
}

/* Covers A14. */
TEST_TIMEOUT(hold_limit_with_script__it_runs_once_and_is_obeyed,
             SUPERVISED_TEST_S)
{
    AUTO_FREE char *told = NULL;
    pid_t model;

    begin_mute("exit 100");
    model = stop_model();
    supervised_await_event(G, "preserved", 1);
    supervised_await_state(G, "failed");
    assert_told("XL_REASON=not-admitted");
    assert_told("XL_STATUS=");
    told = libspawn__str_format("XL_MODEL_PID=%d", (int)model);
    assert_told(told);
    ck_assert_uint_eq(count_runs(), 1);
    ck_assert_uint_eq(supervised_count_events(G, "holding") -
                          supervised_count_events(G, STILL_HOLDING),
                      1);
    kill(model, SIGKILL);
    supervised_await_event(G, "device-model-died", 1);
    end();
}

/* Covers A14. */
TEST_TIMEOUT(hold_limit_with_script_that_heals__the_model_is_admitted,
             SUPERVISED_TEST_S)
{
    pid_t model;

    supervised_stay_quick();
    begin_mute("kill -CONT $XL_MODEL_PID; exit 0");
    model = stop_model();
    supervised_await_event(G, "released", 1);
    supervised_await_state(G, "admitted");
    supervised_await_event(G, ENDED("restart"), 1);
    ck_assert_int_eq(supervised_model_pid(G), model);
    ck_assert_uint_eq(count_runs(), 1);
    ck_assert_uint_eq(supervised_count_events(G, "restarting"), 0);
    end();
}

/* Covers A14. */
TEST_TIMEOUT(hold_limit_with_script_that_kills__another_model_is_started,
             SUPERVISED_TEST_S)
{
    pid_t model;

    supervised_stay_quick();
    begin_mute("kill -KILL $XL_MODEL_PID; "
               "while kill -0 $XL_MODEL_PID; do sleep 0.1; done; exit 0");
    model = stop_model();
    supervised_await_event(G, "released", 1);
    supervised_await_state(G, "admitted");
    ck_assert_int_ne(supervised_model_pid(G), model);
    ck_assert_uint_eq(count_runs(), 1);
    ck_assert_uint_eq(supervised_count_events(G, "device-model-died"), 1);
    ck_assert_uint_eq(supervised_count_events(G, "restarted"), 1);
    end();
}

TEST_MAIN("xl_recovery")
