/*
 * xl events: what happened to guests, as people and programs get to know.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/events.h"
#include "tests/cli/xl_story.h"

static void
append(const char *guest, uint32_t domid, const char *text)
{
    AUTO_FREE char *state_dir = strdup(getenv("XL_STATE_DIR"));
    struct libspawn_host host = { .state_dir = state_dir };
    const struct libspawn__event event = {
        .guest = guest,
        .domid = domid,
        .kind = LIBSPAWN_GUEST_EVENT_DM_DIED,
        .reason = "killed",
        .text = text,
    };
    struct libspawn_err err;

    assert_ok(libspawn__event_append(&host, &event, &err), &err);
}

static void
begin_with_state_dir(void)
{
    xl_begin();
    ck_assert_int_eq(mkdir(getenv("XL_STATE_DIR"), 0700), 0);
}

/* Writes lines as they are. */
static void
write_lines(const char *lines)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/events", getenv("XL_STATE_DIR"));

    harness_write_file(path, lines);
}

/* ---- What is told ------------------------------------------------------ */

/* The words stand in 'text' in this order. */
static void
assert_in_order(const char *text, const char *const words[])
{
    const char *p = text;
    size_t i;

    for (i = 0; words[i]; i++) {
        p = p ? strstr(p, words[i]) : NULL;
        ck_assert_msg(p,
                      "'%s' is not there, or not behind the others, in:\n%s",
                      words[i], text);
    }
}

TEST_TIMEOUT(guest_from_creation_to_destruction__is_told_in_order, XL_TEST_S)
{
    static const char *const words[] = {
        XL_GUEST "(1)", "created",   XL_GUEST "(1)", "running",
        XL_GUEST "(1)", "paused",    XL_GUEST "(1)", "resumed",
        XL_GUEST "(1)", "destroyed", NULL,
    };
    AUTO_OUTPUT struct harness_output events = { 0 };

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    xl_ok("create", XL_CONFIG);
    xl_ok("pause", XL_GUEST);
    xl_ok("unpause", "1");
    xl_ok("destroy", XL_GUEST);
    events = xl_run("events");
    xl_assert_ok(&events);
    assert_in_order(events.out, words);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(guest_left_paused__is_created_and_not_running, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output create = { 0 };
    AUTO_OUTPUT struct harness_output events = { 0 };

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    create = xl_run("create", "-p", XL_CONFIG);
    xl_assert_ok(&create);
    events = xl_run("events");
    assert_contains(events.out, "created");
    assert_lacks(events.out, "running");
    xl_ok("destroy", XL_GUEST);
}

/* What xl said of it, and what the events say, is the same. */
TEST_TIMEOUT(creation_that_fails__is_told_with_the_same_sentence, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output create = { 0 };
    AUTO_OUTPUT struct harness_output events = { 0 };
    AUTO_OUTPUT struct harness_output json = { 0 };

    xl_begin();
    xl_write_model_config("'--exit=3'");
    create = xl_run("create", XL_CONFIG);
    ck_assert_int_eq(create.status, 3);
    events = xl_run("events");
    xl_assert_ok(&events);
    assert_contains(events.out, "create-failed");
    assert_contains(events.out, "exited with status 3");
    json = xl_run("events", "--json");
    assert_contains(json.out, "\"event\":\"create-failed\","
                              "\"reason\":\"child\",\"text\":");
}

TEST_TIMEOUT(creation_whose_xl_was_killed__is_told_by_the_next, XL_TEST_S)
{
    struct xl_process create;
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_OUTPUT struct harness_output json = { 0 };

    xl_begin();
    xl_write_model_config("'--greet-only'");
    create = xl_start("-v", "create", "-e", XL_CONFIG);
    ck_assert(xl_await_step(&create, "starting the device model"));
    kill(create.pid, SIGKILL);
    ck_assert_int_eq(xl_wait(&create), 128 + SIGKILL);
    list = xl_run("list");
    json = xl_run("events", "--json");
    assert_contains(json.out, "\"event\":\"create-failed\","
                              "\"reason\":\"gone\"");
    xl_assert_nothing_left();
}

/* Nobody was there to see it. */
TEST_TIMEOUT(guest_that_was_found_off__is_told_so_once, XL_TEST_S)
{
    static const char *const words[] = {
        "shutdown", "was found powered off", XL_GUEST "(1)", "destroyed", NULL,
    };
    AUTO_OUTPUT struct harness_output create = { 0 };
    AUTO_OUTPUT struct harness_output off = { 0 };
    AUTO_OUTPUT struct harness_output first = { 0 };
    AUTO_OUTPUT struct harness_output second = { 0 };

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    create = xl_run("create", "-e", XL_CONFIG);
    xl_assert_ok(&create);
    off = xl_run("shutdown", "-w", XL_GUEST);
    xl_assert_ok(&off);
    first = xl_run("events");
    xl_assert_ok(&first);
    assert_in_order(first.out, words);
    second = xl_run("events");
    ck_assert_str_eq(second.out, first.out);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(operation_that_fails__is_no_event, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output destroy = { 0 };
    AUTO_OUTPUT struct harness_output events = { 0 };

    xl_begin();
    destroy = xl_run("destroy", "nobody");
    ck_assert_int_eq(destroy.status, 1);
    events = xl_run("events");
    xl_assert_ok(&events);
    ck_assert_str_eq(events.out, "");
}

/* ---- How it is told ---------------------------------------------------- */

TEST_TIMEOUT(events_for_people__stand_in_columns, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_state_dir();
    write_lines("{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"win7\","
                "\"domid\":3,\"event\":\"device-model-died\","
                "\"reason\":\"killed\",\"text\":\"was killed by SIGKILL\"}\n"
                "{\"time\":\"2026-11-21T12:00:00.124Z\",\"guest\":\"win7\","
                "\"domid\":3,\"event\":\"shutdown\","
                "\"reason\":\"poweroff\"}\n"
                "{\"time\":\"2026-11-21T12:00:01.000Z\",\"guest\":"
                "\"a-guest-with-a-long-name\",\"event\":\"destroyed\"}\n");
    output = xl_run("events");
    xl_assert_ok(&output);
    ck_assert_str_eq(
        output.out,
        "2026-11-21 12:00:00.123 win7(3)              device-model-died  "
        "was killed by SIGKILL\n"
        "2026-11-21 12:00:00.124 win7(3)              shutdown           "
        "poweroff\n"
        "2026-11-21 12:00:01.000 a-guest-with-a-long-name destroyed\n");
}

TEST_TIMEOUT(events_as_json__are_the_lines_of_the_file, XL_TEST_S)
{
    static const char line[] =
        "{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"win7\","
        "\"event\":\"migrated\",\"to\":5}\n";
    AUTO_OUTPUT struct harness_output json = { 0 };
    AUTO_OUTPUT struct harness_output people = { 0 };

    begin_with_state_dir();
    write_lines(line);
    json = xl_run("events", "--json");
    xl_assert_ok(&json);
    ck_assert_str_eq(json.out, line);
    people = xl_run("events");
    assert_contains(people.out, "migrated\n");
}

TEST_TIMEOUT(event_text_with_escapes__does_nothing_to_a_terminal, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_state_dir();
    append("g\nx", 1, "\x1b[2J\r\nnext");
    output = xl_run("events");
    xl_assert_ok(&output);
    assert_contains(output.out, " g?x(1) ");
    assert_contains(output.out, " ?[2J??next\n");
}

TEST_TIMEOUT(lines_that_make_no_sense__are_a_warning, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_state_dir();
    write_lines("{\"torn\":\nnonsense\n");
    append("good", 1, "x");
    output = xl_run("events");
    ck_assert_int_eq(output.status, 0);
    assert_contains(output.out, "good(1)");
    ck_assert_str_eq(output.err, "xl: warning: 2 lines of the event log make "
                                 "no sense\n");
}

/* ---- Which ------------------------------------------------------------- */

TEST_TIMEOUT(events_of_some_guests__are_theirs_alone, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_state_dir();
    append("one", 1, "x");
    append("two", 2, "x");
    append("three", 3, "x");
    output = xl_run("events", "one", "3");
    xl_assert_ok(&output);
    assert_contains(output.out, "one(1)");
    assert_contains(output.out, "three(3)");
    assert_lacks(output.out, "two(2)");
}

TEST_TIMEOUT(events_since__leaves_out_what_is_older, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output minute = { 0 };
    AUTO_OUTPUT struct harness_output bad = { 0 };

    begin_with_state_dir();
    write_lines("{\"time\":\"2020-01-01T00:00:00.000Z\",\"guest\":\"old\","
                "\"event\":\"paused\"}\n");
    append("new", 1, "x");
    minute = xl_run("events", "--since=60");
    xl_assert_ok(&minute);
    assert_lacks(minute.out, "old");
    assert_contains(minute.out, "new(1)");
    bad = xl_run("events", "--since=yesterday");
    ck_assert_int_eq(bad.status, 2);
    assert_contains(bad.err, "usage: xl events");
}

/* ---- Following --------------------------------------------------------- */

TEST_TIMEOUT(follower__tells_what_is_kept_and_what_comes, XL_TEST_S)
{
    struct xl_process follower;

    begin_with_state_dir();
    append("kept", 1, "x");
    follower = xl_start_talk("events", "-f");
    ck_assert(xl_await_words(&follower, "kept(1)"));
    append("comes", 2, "x");
    ck_assert(xl_await_words(&follower, "comes(2)"));
    kill(follower.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&follower), 128 + SIGINT);
}

/* Nothing comes that could tell it by SIGPIPE. */
TEST_TIMEOUT(follower_whose_reader_has_gone__ends, XL_TEST_S)
{
    struct xl_process follower;

    begin_with_state_dir();
    append("kept", 1, "x");
    follower = xl_start_talk("events", "-f", "--json");
    ck_assert(xl_await_words(&follower, "kept"));
    close(follower.out);
    close(follower.in);
    ck_assert(harness_wait_children(XL_WAIT_MS));
}

TEST_TIMEOUT(follower_over_a_rename__loses_nothing, XL_TEST_S)
{
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *old = NULL;
    struct xl_process follower;

    begin_with_state_dir();
    path = libspawn__str_format("%s/events", getenv("XL_STATE_DIR"));
    old = libspawn__str_format("%s.1", path);
    append("one", 1, "x");
    follower = xl_start_talk("events", "--follow");
    ck_assert(xl_await_words(&follower, "one(1)"));
    ck_assert_int_eq(rename(path, old), 0);
    append("two", 2, "x");
    ck_assert(xl_await_words(&follower, "two(2)"));
    kill(follower.pid, SIGTERM);
    ck_assert_int_eq(xl_wait(&follower), 128 + SIGTERM);
}

/* From before the line is written until it was read from xl's output. */
TEST_TIMEOUT(follower__tells_an_event_within_5_ms, XL_TEST_S)
{
    enum {
        N = 51,
        MAX_US = 5000
    };
    struct xl_process follower;
    int64_t took[N];
    int i;

    begin_with_state_dir();
    append("kept", 1, "x");
    follower = xl_start_talk("events", "-f");
    ck_assert(xl_await_words(&follower, "kept"));
    for (i = 0; i < N; i++) {
        int64_t began = harness_now_us();
        char name[16];
        char shown[24];

        snprintf(name, sizeof name, "g%d", i);
        snprintf(shown, sizeof shown, " %s(1)", name);
        append(name, 1, "x");
        ck_assert(xl_await_words(&follower, shown));
        took[i] = harness_now_us() - began;
    }
    kill(follower.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&follower), 128 + SIGINT);
    ck_assert_int_le(harness_median(took, N), MAX_US);
}

TEST_TIMEOUT(guest_destroyed_by_two_at_once__is_told_once, XL_TEST_S)
{
    enum { N_ROUNDS = 5 };
    int i;

    xl_begin();
    xl_write_model_config("'--stderr=x'");
    for (i = 1; i <= N_ROUNDS; i++) {
        AUTO_OUTPUT struct harness_output events = { 0 };
        struct xl_process runs[2];
        const char *place;
        int n = 0;

        xl_ok("create", XL_CONFIG);
        runs[0] = xl_start("destroy", XL_GUEST);
        runs[1] = xl_start("destroy", XL_GUEST);
        ck_assert_int_le(xl_wait(&runs[0]) + xl_wait(&runs[1]), 1);
        events = xl_run("events");
        for (place = events.out; (place = strstr(place, "destroyed"));
             place++) {
            n++;
        }
        ck_assert_int_eq(n, i);
    }
}

TEST_MAIN("xl_events")
