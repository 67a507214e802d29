/*
 * Conditions of readiness, alone and together, and the deadline.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"

/* Long enough that nothing else comes first, short enough to wait for. */
enum { DEADLINE_MS = 400, SLACK_MS = 3000, NOTIFY_FD = 7 };

static void
say_running(struct story *story)
{
    struct libspawn_err err;

    assert_ok(libspawn__store_puts(story->store, NULL, STORY_READY_NODE,
                                   "running", &err),
              &err);
}

/* Dispatches for a moment: what must not happen has time to. */
static void
idle(struct story *story)
{
    struct libspawn_err err;
    int i;

    for (i = 0; i < 3; i++) {
        assert_ok(libspawn_ctx_wait(story->ctx, 10, &err), &err);
    }
}

/* ---- One condition ----------------------------------------------------- */

TEST(spawn_without_condition__is_ready_after_exec)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_RUNNING);
    story_stop_and_end(&story);
}

TEST(spawn_ready_on_notify__waits_for_the_newline)
{
    AUTO_STORY struct story story;
    int64_t began = libspawn__clock_now_ms();

    story_begin(&story);
    libspawn_plan_ready_on_notify(story.plan, NOTIFY_FD);
    story_model(&story, "--notify-fd=7", "--ready-after=60");
    story_run(&story);
    ck_assert_int_ge(libspawn__clock_now_ms() - began, 60);
    story_stop_and_end(&story);
}

/* s6 allows more than the newline, before and behind it. */
TEST(spawn_ready_on_notify__takes_a_line_in_pieces)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_ready_on_notify(story.plan, NOTIFY_FD);
    story_program(&story, "/bin/sh", "-c",
                  "printf rea >&7; printf 'dy\\nmore' >&7; exec 7>&-; "
                  "exec sleep 60");
    story_run(&story);
    story_stop_and_end(&story);
}

TEST(spawn_notify_closed_without_newline__is_not_ready)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_ready_on_notify(story.plan, NOTIFY_FD);
    libspawn_plan_set_timeouts(story.plan, DEADLINE_MS, 1000);
    story_program(&story, "/bin/sh", "-c", "exec 7>&-; exec sleep 60");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_DEADLINE);
    ck_assert_str_eq(story_report(&story)->stage,
                     "waiting for its notification");
}

TEST(spawn_ready_on_store__waits_for_the_value)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    libspawn_plan_ready_on_store(story.plan, STORY_READY_NODE, "running");
    story_model(&story, "--never-ready");
    story_start(&story);
    story_await(&story, "started");
    assert_ok(libspawn__store_puts(story.store, NULL, STORY_READY_NODE,
                                   "paused", &err),
              &err);
    idle(&story);
    ck_assert_str_eq(story.trace, "started");
    say_running(&story);
    story_await(&story, "started ready");
    story_stop_and_end(&story);
}

TEST(spawn_ready_on_confirm__waits_for_the_caller)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    story_await(&story, "started");
    idle(&story);
    ck_assert_str_eq(story.trace, "started");
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_STARTING);
    libspawn_child_confirm(story.child);
    story_await(&story, "started ready");
    story_stop_and_end(&story);
}

/* A confirmation may be sent before the program runs, and twice. */
TEST(spawn_confirmed_early_and_twice__is_ready_once_after_exec)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    libspawn_child_confirm(story.child);
    libspawn_child_confirm(story.child);
    story_await(&story, "started ready");
    story_stop_and_end(&story);
}

TEST(spawn_refused_by_the_caller__fails_with_its_sentence)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    story_await(&story, "started");
    libspawn_child_refuse(story.child, "it speaks another language");
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_REFUSED);
    assert_contains(story_sentence(&story),
                    "was refused and ended: it speaks another language");
    story_assert_nothing_left(&story);
}

/* ---- All of them, in every order --------------------------------------- */

enum condition { STORE = 1, NOTIFY = 2, CONFIRM = 4, ALL = 7 };

static void
fulfil(struct story *story, enum condition condition)
{
    if (condition == STORE) {
        say_running(story);
    } else if (condition == NOTIFY) {
        harness_write_file("go", "");
    } else {
        libspawn_child_confirm(story->child);
    }
}

static void
require(struct story *story, unsigned int conditions)
{
    libspawn_plan_set_directory(story->plan, harness_dir());
    if (conditions & STORE) {
        libspawn_plan_ready_on_store(story->plan, STORY_READY_NODE,
                                     "running");
    }
    if (conditions & NOTIFY) {
        libspawn_plan_ready_on_notify(story->plan, NOTIFY_FD);
    }
    if (conditions & CONFIRM) {
        story_ready_on_confirm(story, false);
    }
}

/* It says that it is ready once the file "go" is there. */
static const char waits_for_go[] =
    "while ! [ -e go ]; do sleep 0.01; done; echo >&7; exec sleep 60";

static void
assert_ready_after(const enum condition *order, size_t n)
{
    AUTO_STORY struct story story;
    unsigned int conditions = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        conditions |= order[i];
    }
    story_begin(&story);
    require(&story, conditions);
    if (conditions & NOTIFY) {
        story_program(&story, "/bin/sh", "-c", waits_for_go);
    } else {
        story_model(&story, "--never-ready");
    }
    story_start(&story);
    story_await(&story, "started");
    for (i = 0; i < n; i++) {
        idle(&story);
        ck_assert_str_eq(story.trace, "started");
        fulfil(&story, order[i]);
    }
    story_await(&story, "started ready");
    story_stop_and_end(&story);
    unlink("go");
    libspawn__store_remove(story.store, NULL, STORY_READY_NODE, NULL);
}

TEST_TIMEOUT(spawn_two_conditions__needs_both_in_any_order, 30)
{
    static const enum condition orders[][2] = {
        { STORE, NOTIFY },  { NOTIFY, STORE },   { STORE, CONFIRM },
        { CONFIRM, STORE }, { NOTIFY, CONFIRM }, { CONFIRM, NOTIFY },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(orders); i++) {
        assert_ready_after(orders[i], 2);
    }
}

TEST_TIMEOUT(spawn_three_conditions__needs_all_in_any_order, 30)
{
    static const enum condition orders[][3] = {
        { STORE, NOTIFY, CONFIRM }, { STORE, CONFIRM, NOTIFY },
        { NOTIFY, STORE, CONFIRM }, { NOTIFY, CONFIRM, STORE },
        { CONFIRM, STORE, NOTIFY }, { CONFIRM, NOTIFY, STORE },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(orders); i++) {
        assert_ready_after(orders[i], 3);
    }
}

/* ---- Before the record nothing can be ready ---------------------------- */

/* The child prints its record as the first thing it does.  Covers X18. */
TEST(spawn_record__is_complete_before_the_program_runs)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    struct libspawn_err err;

    story_begin(&story);
    libspawn_plan_add_pid_node(story.plan, "/libxl/1/pid");
    libspawn_plan_ready_on_notify(story.plan, NOTIFY_FD);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_program(&story, "/bin/sh", "-c",
                  "cp -r store seen; echo $$ >pid; echo >&7; exec sleep 60");
    story_run(&story);
    {
        AUTO_FREE char *address =
            libspawn__str_format("dir:%s/seen", harness_dir());
        AUTO_FREE char *pid = harness_read_file("pid");
        AUTO_FREE char *node = NULL;
        struct libspawn__store *seen;

        assert_ok(libspawn__store_open(address, &seen, &err), &err);
        assert_ok(libspawn__record_read(seen, STORY_RECORD, &record, &err),
                  &err);
        assert_ok(libspawn__store_read(seen, NULL, "/libxl/1/pid", &node,
                                       NULL, &err),
                  &err);
        libspawn__store_close(seen);
        pid[strcspn(pid, "\n")] = '\0';
        ck_assert_str_eq(node, pid);
    }
    ck_assert_int_eq(record.state, LIBSPAWN__RECORD_STARTING);
    ck_assert_int_eq(record.child.pid, libspawn_child_pid(story.child));
    ck_assert_int_eq(record.caller.pid, getpid());
    story_stop_and_end(&story);
    assert_code(libspawn__store_read(story.store, NULL, "/libxl/1/pid",
                                     &(char *){ NULL }, NULL, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
}

/* ---- The deadline ------------------------------------------------------ */

static void
assert_deadline(struct story *story, const char *stage)
{
    int64_t began = libspawn__clock_now_ms();
    int64_t ms;

    libspawn_plan_set_timeouts(story->plan, DEADLINE_MS, 10000);
    story_model(story, "--never-ready");
    story_start(story);
    story_await(story, "started failed");
    ms = libspawn__clock_now_ms() - began;
    ck_assert_int_ge(ms, DEADLINE_MS);
    ck_assert_int_lt(ms, DEADLINE_MS + SLACK_MS);
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_DEADLINE);
    ck_assert_int_eq(story_report(story)->deadline_ms, DEADLINE_MS);
    ck_assert_str_eq(story_report(story)->stage, stage);
    assert_contains(story_sentence(story), "was not ready within 400 ms");
    assert_contains(story_sentence(story), stage);
    ck_assert_int_eq(libspawn_report_exit_status(story_report(story)), 124);
    story_assert_nothing_left(story);
}

/* Covers X5, D13. */
TEST(spawn_never_writes_its_node__deadline_names_the_store)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_ready_on_store(story.plan, STORY_READY_NODE, "running");
    assert_deadline(&story, "waiting for its node in the store");
}

/* Covers X5. */
TEST(spawn_never_notifies__deadline_names_the_notification)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_ready_on_notify(story.plan, NOTIFY_FD);
    assert_deadline(&story, "waiting for its notification");
}

static int
name_the_stage(void *user)
{
    const struct story *story = user;

    if (!strcmp(story->trace, "started")) {
        libspawn_child_set_stage(story->child, "waiting for its greeting");
    }
    return 0;
}

/* Covers X5. */
TEST(spawn_never_confirmed__deadline_names_the_stage_of_the_caller)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    libspawn_plan_set_timeouts(story.plan, DEADLINE_MS, 10000);
    story_model(&story, "--never-ready");
    story_start(&story);
    assert_code(libspawn_child_wait_ready(story.child, -1, name_the_stage,
                                          &story, &err),
                LIBSPAWN_ERR_CHILD);
    assert_contains(err.text, "waiting for its greeting");
    story_assert_nothing_left(&story);
}

/* Covers X5. */
TEST(spawn_deadline_with_stubborn_child__kills_it_after_a_second)
{
    AUTO_STORY struct story story;
    int64_t began = libspawn__clock_now_ms();

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    libspawn_plan_set_timeouts(story.plan, DEADLINE_MS, 10000);
    story_model(&story, "--never-ready", "--ignore-term");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_ge(libspawn__clock_now_ms() - began, DEADLINE_MS + 1000);
    ck_assert_int_lt(libspawn__clock_now_ms() - began,
                     DEADLINE_MS + 1000 + SLACK_MS);
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_DEADLINE);
    story_assert_nothing_left(&story);
}

TEST(spawn_without_deadline__waits_on)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    libspawn_plan_set_timeouts(story.plan, 0, 1000);
    story_model(&story, "--never-ready");
    story_start(&story);
    story_await(&story, "started");
    idle(&story);
    ck_assert_str_eq(story.trace, "started");
    libspawn_child_stop(story.child);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_ABORTED);
}

/* ---- Waiting in one call ----------------------------------------------- */

TEST(wait_ready_of_a_child_that_comes_up__returns_ok)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_start(&story);
    assert_ok(libspawn_child_wait_ready(story.child, -1, NULL, NULL, &err),
              &err);
    libspawn_child_stop(story.child);
    story_await(&story, "started ready exited");
}

TEST(wait_ready_of_a_child_that_dies__returns_its_cause)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--exit=9");
    story_start(&story);
    assert_code(
        libspawn_child_wait_ready(story.child, -1, NULL, NULL, &err),
        LIBSPAWN_ERR_CHILD);
    assert_contains(err.text, "exited with status 9");
}

TEST(wait_ready_with_limit__times_out_and_the_start_goes_on)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    assert_code(
        libspawn_child_wait_ready(story.child, 100, NULL, NULL, &err),
        LIBSPAWN_ERR_TIMEOUT);
    libspawn_child_confirm(story.child);
    assert_ok(libspawn_child_wait_ready(story.child, -1, NULL, NULL, &err),
              &err);
}

static int
say_no(void *user)
{
    int *n_calls = user;

    return ++*n_calls == 3 ? 42 : 0;
}

TEST(wait_ready_with_check__ends_at_once_with_its_answer)
{
    AUTO_STORY struct story story;
    int n_calls = 0;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    ck_assert_int_eq(libspawn_child_wait_ready(story.child, -1, say_no,
                                               &n_calls, NULL),
                     42);
    ck_assert_int_eq(n_calls, 3);
}

TEST_MAIN("spawn_ready")
