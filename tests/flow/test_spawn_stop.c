/*
 * Ending a child on purpose: SIGTERM, the grace, SIGKILL, and everything that
 * it left behind.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"

enum { GRACE_MS = 250 };

/* Stops the child; the time it took must lie within the limits. */
static void
stop_within(struct story *story, int64_t at_least_ms, int64_t at_most_ms)
{
    int64_t began = libspawn__clock_now_ms();
    int64_t ms;

    libspawn_child_stop(story->child);
    story_await(story, "started ready exited");
    ms = libspawn__clock_now_ms() - began;
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_STOPPED);
    ck_assert_int_ge(ms, at_least_ms);
    ck_assert_int_le(ms, at_most_ms);
    story_assert_nothing_left(story);
}

static void
begin_with_grace(struct story *story, uint32_t grace_ms)
{
    story_begin(story);
    libspawn_plan_set_timeouts(story->plan, 0, grace_ms);
    libspawn_plan_ready_on_notify(story->plan, 7);
}

TEST(stop_of_a_child_that_obeys__takes_no_grace)
{
    AUTO_STORY struct story story;

    begin_with_grace(&story, 60000);
    story_model(&story, "--notify-fd=7");
    story_run(&story);
    stop_within(&story, 0, 2000);
}

TEST(stop_of_a_child_that_ignores_sigterm__kills_it_after_the_grace)
{
    AUTO_STORY struct story story;

    begin_with_grace(&story, GRACE_MS);
    story_model(&story, "--notify-fd=7", "--ignore-term");
    story_run(&story);
    stop_within(&story, GRACE_MS, GRACE_MS + 2000);
}

TEST(stop_of_a_slow_child__lets_it_finish)
{
    AUTO_STORY struct story story;

    begin_with_grace(&story, 60000);
    story_model(&story, "--notify-fd=7", "--slow-term=150");
    story_run(&story);
    stop_within(&story, 150, 2000);
}

TEST(stop_of_a_stopped_child__lets_it_take_sigterm)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref ref;
    struct libspawn_err err;

    begin_with_grace(&story, 60000);
    story_model(&story, "--notify-fd=7");
    story_run(&story);
    ref = story_pin_child(&story);
    assert_ok(libspawn__pidref_signal(&ref, SIGSTOP, &err), &err);
    libspawn__pidref_dispose(&ref);
    stop_within(&story, 0, 2000);
}

TEST(stop_of_a_child_that_stops_itself_and_ignores_sigterm__kills_it)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref ref;
    struct libspawn_err err;

    begin_with_grace(&story, GRACE_MS);
    story_model(&story, "--notify-fd=7", "--ignore-term");
    story_run(&story);
    ref = story_pin_child(&story);
    assert_ok(libspawn__pidref_signal(&ref, SIGSTOP, &err), &err);
    libspawn__pidref_dispose(&ref);
    stop_within(&story, GRACE_MS, GRACE_MS + 2000);
}

TEST(stop_without_grace__kills_at_once)
{
    AUTO_STORY struct story story;

    begin_with_grace(&story, 0);
    story_model(&story, "--notify-fd=7", "--ignore-term");
    story_run(&story);
    stop_within(&story, 0, 1000);
}

TEST(stop_twice__is_one_end)
{
    AUTO_STORY struct story story;

    begin_with_grace(&story, 60000);
    story_model(&story, "--notify-fd=7", "--slow-term=50");
    story_run(&story);
    libspawn_child_stop(story.child);
    stop_within(&story, 50, 2000);
    libspawn_child_stop(story.child);
    ck_assert_str_eq(story.trace, "started ready exited");
}

TEST(stop_before_it_is_ready__aborts_the_start)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    story_await(&story, "started");
    libspawn_child_stop(story.child);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_ABORTED);
    assert_contains(story_sentence(&story), "start was aborted");
    story_assert_nothing_left(&story);
}

TEST(stop_right_after_start__leaves_nothing)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready", "--ignore-term");
    story_start(&story);
    libspawn_child_stop(story.child);
    while (!strstr(story.trace, "failed")) {
        struct libspawn_err err;

        assert_ok(libspawn_ctx_wait(story.ctx, STORY_WAIT_MS, &err), &err);
    }
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_ABORTED);
    story_assert_nothing_left(&story);
}

/* ---- Freed instead of stopped ------------------------------------------ */

TEST(free_of_a_child_that_starts__ends_it)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    libspawn_child_free(TAKE_PTR(story.child));
    story_assert_nothing_left(&story);
}

TEST(free_of_a_ready_child__ends_it)
{
    AUTO_STORY struct story story;

    begin_with_grace(&story, 60000);
    story_model(&story, "--notify-fd=7");
    story_run(&story);
    libspawn_child_free(TAKE_PTR(story.child));
    story_assert_nothing_left(&story);
}

TEST(free_of_the_context__ends_children_that_are_not_released)
{
    AUTO_STORY struct story story;

    begin_with_grace(&story, 60000);
    story_model(&story, "--notify-fd=7");
    story_run(&story);
    libspawn_ctx_free(TAKE_PTR(story.ctx));
    story_assert_nothing_left(&story);
    ck_assert_str_eq(story.trace, "started ready");
}

static void
free_at_once(struct libspawn_child *child, enum libspawn_event event,
             void *user)
{
    bool *is_freed = user;

    (void)event;
    ck_assert(!*is_freed);
    *is_freed = true;
    libspawn_child_free(child);
}

/* Two events may be due at once: the second must not be delivered. */
TEST(free_from_a_callback__ends_the_story_there)
{
    AUTO_STORY struct story story;
    struct libspawn_child *child;
    struct libspawn_err err;
    bool is_freed = false;

    story_begin(&story);
    story_program(&story, "/bin/true");
    assert_ok(libspawn_child_start(story.ctx, story.plan, free_at_once,
                                   &is_freed, &child, &err),
              &err);
    while (!is_freed) {
        assert_ok(libspawn_ctx_wait(story.ctx, STORY_WAIT_MS, &err), &err);
    }
    story_assert_nothing_left(&story);
}

/* ---- What the child left behind ---------------------------------------- */

static bool
file_exists(void *user)
{
    return !access(user, F_OK);
}

static struct libspawn__pidref
pin_pid_in(const char *path)
{
    AUTO_FREE char *text = NULL;
    struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;
    uint64_t pid;

    ck_assert(harness_wait_until(file_exists, (void *)(uintptr_t)path,
                                 STORY_WAIT_MS));
    text = harness_read_file(path);
    text[strcspn(text, "\n")] = '\0';
    assert_ok(libspawn__str_to_u64(text, 1, INT32_MAX, &pid, &err), &err);
    assert_ok(libspawn__pidref_from_pid((pid_t)pid, &ref, &err), &err);
    return ref;
}

/* The descendant has a session of its own and ignores SIGTERM. */
TEST(stop_of_a_child_with_descendants__ends_them_too)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref grandchild;

    begin_with_grace(&story, 60000);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_model(&story, "--notify-fd=7", "--fork-child=grandchild");
    story_run(&story);
    grandchild = pin_pid_in("grandchild");
    stop_within(&story, 0, 2000);
    ck_assert(!libspawn__pidref_is_alive(&grandchild));
    libspawn__pidref_dispose(&grandchild);
}

TEST(failed_start_with_descendants__ends_them_before_the_event)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref grandchild;

    begin_with_grace(&story, 60000);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_program(&story, "/bin/sh", "-c",
                  "setsid sh -c 'trap \"\" TERM; echo $$ >g.tmp; "
                  "mv g.tmp grandchild; exec sleep 60' & "
                  "while ! [ -e goon ]; do sleep 0.01; done; exit 3");
    story_start(&story);
    story_await(&story, "started");
    grandchild = pin_pid_in("grandchild");
    harness_write_file("goon", "");
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->exit_code, 3);
    ck_assert(!libspawn__pidref_is_alive(&grandchild));
    libspawn__pidref_dispose(&grandchild);
    story_assert_nothing_left(&story);
}

TEST(released_child_with_descendants_exits__ends_them)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref grandchild;

    begin_with_grace(&story, 60000);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_model(&story, "--notify-fd=7", "--fork-child=grandchild",
                "--die-after=400");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    grandchild = pin_pid_in("grandchild");
    libspawn_child_free(TAKE_PTR(story.child));
    story_assert_gone(&grandchild);
    story_await_record(&story, LIBSPAWN__RECORD_EXITED);
}

/* A chain of processes, each the parent of the next; all ignore SIGTERM. */
TEST(stop_of_a_child_with_a_chain_of_descendants__ends_all)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref last;

    begin_with_grace(&story, GRACE_MS);
    libspawn_plan_set_directory(story.plan, harness_dir());
    harness_write_file("chain",
                       "trap '' TERM\n"
                       "if [ $1 = 0 ]; then echo $$ >l.tmp; mv l.tmp last; "
                       "echo >&7; exec sleep 60; fi\n"
                       "setsid sh ./chain $(($1 - 1)) & wait\n");
    story_program(&story, "/bin/sh", "./chain", "5");
    story_run(&story);
    last = pin_pid_in("last");
    stop_within(&story, GRACE_MS, GRACE_MS + 2000);
    ck_assert(!libspawn__pidref_is_alive(&last));
    libspawn__pidref_dispose(&last);
}

TEST_MAIN("spawn_stop")
