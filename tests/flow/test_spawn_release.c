/*
 * From ready on: the child belongs to its watcher once it is released, and
 * its end is recorded, whoever is attached by then.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/util.h"
#include "tests/flow/spawn_story.h"
#include "tests/lib/processes.h"

/* ---- Death before the release ------------------------------------------ */

/* Covers X6. */
TEST(spawn_child_dies_right_after_ready__is_exited_and_leaves_no_record)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_ready_on_notify(story.plan, 7);
    story_model(&story, "--notify-fd=7", "--die-after=10");
    story_run(&story);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(story_report(&story)->exit_code, 1);
    story_assert_nothing_left(&story);
}

/* Covers X11. */
TEST(release_after_death__tells_the_cause)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;
    AUTO_FD int command = -1;

    story_begin(&story);
    command = story_run_obedient(&story);
    story_tell(command, "exit 6\n");
    story_await(&story, "started ready exited");
    assert_code(libspawn_child_release(story.child, LIBSPAWN_RELEASE_WATCHED,
                                       &err),
                LIBSPAWN_ERR_CHILD);
    assert_contains(err.text, "exited with status 6");
}

/* The death is not known to the caller yet when it asks. */
TEST(release_of_a_child_that_just_died__tells_the_cause_or_records_the_end)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref ref;
    struct libspawn__record record;
    struct libspawn_err err;
    AUTO_FD int command = -1;
    int rc;

    story_begin(&story);
    command = story_run_obedient(&story);
    ref = story_pin_child(&story);
    story_tell(command, "exit 6\n");
    story_assert_gone(&ref);
    rc = libspawn_child_release(story.child, LIBSPAWN_RELEASE_WATCHED, &err);
    if (rc) {
        assert_code(rc, LIBSPAWN_ERR_CHILD);
        story_await(&story, "started ready exited");
        story_assert_nothing_left(&story);
    } else {
        story_await_record(&story, LIBSPAWN__RECORD_EXITED);
        ck_assert(story_read_record(&story, &record));
        ck_assert_int_eq(WEXITSTATUS(record.wait_status), 6);
    }
}

/* Covers X11. */
TEST(release_before_ready__is_invalid_and_the_start_goes_on)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    assert_code(libspawn_child_release(story.child, LIBSPAWN_RELEASE_WATCHED,
                                       &err),
                LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "it is not ready");
    libspawn_child_confirm(story.child);
    story_await(&story, "started ready");
}

/* Covers X11. */
TEST(release_after_a_failed_start__tells_the_cause)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    story_program(&story, "/nonexistent/qemu");
    story_start(&story);
    story_await(&story, "failed");
    assert_code(libspawn_child_release(story.child,
                                       LIBSPAWN_RELEASE_DETACHED, &err),
                LIBSPAWN_ERR_CHILD);
}

/* ---- Watched ----------------------------------------------------------- */

/* Covers X6. */
TEST(released_child_exits__record_holds_the_status)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    AUTO_FD int command = -1;

    story_begin(&story);
    command = story_run_obedient(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_RUNNING);
    libspawn_child_free(TAKE_PTR(story.child));
    story_tell(command, "exit 5\n");
    story_await_record(&story, LIBSPAWN__RECORD_EXITED);
    ck_assert(story_read_record(&story, &record));
    ck_assert(record.is_known);
    ck_assert_int_eq(WEXITSTATUS(record.wait_status), 5);
    ck_assert_int_ge(record.ended_at_ms, record.started_at_ms);
}

/* Covers X6, D9. */
TEST(released_child_is_killed__record_and_log_name_the_signal)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    AUTO_FREE char *log = NULL;
    AUTO_FREE char *path = libspawn__str_format("%s/log", harness_dir());
    AUTO_FD int command = -1;

    story_begin(&story);
    libspawn_plan_set_log(story.plan, path, 0, 0);
    command = story_run_obedient(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    libspawn_child_free(TAKE_PTR(story.child));
    story_tell(command, "kill -SEGV $$\n");
    story_await_record(&story, LIBSPAWN__RECORD_EXITED);
    ck_assert(story_read_record(&story, &record));
    ck_assert_int_eq(WTERMSIG(record.wait_status), SIGSEGV);
    log = harness_read_file(path);
    assert_contains(log, "was killed by SIGSEGV (Segmentation fault)");
}

TEST(released_child_exits_while_we_are_attached__is_an_event_too)
{
    AUTO_STORY struct story story;
    AUTO_FD int command = -1;

    story_begin(&story);
    command = story_run_obedient(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    story_tell(command, "exit 5\n");
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(story_report(&story)->exit_code, 5);
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_EXITED);
}

/* Covers X7, D7. */
TEST(released_child__belongs_to_its_watcher_and_outlives_the_context)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    struct libspawn__pidref ref;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    ref = story_pin_child(&story);
    ck_assert(story_read_record(&story, &record));
    ck_assert_int_eq(harness_parent(record.child.pid), record.watcher.pid);
    ck_assert_int_ne(record.watcher.pid, getpid());
    libspawn_child_free(TAKE_PTR(story.child));
    libspawn_ctx_free(TAKE_PTR(story.ctx));
    ck_assert(libspawn__pidref_is_alive(&ref));
    story_end_released(&story);
    story_assert_gone(&ref);
}

/* Covers X11. */
TEST(release_twice__is_fine_and_the_first_counts)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    story_release(&story, LIBSPAWN_RELEASE_DETACHED);
    story_end_released(&story);
    story_await(&story, "started ready exited");
}

static bool
holds_few_descriptors(void *user)
{
    const struct libspawn__record *record = user;

    /* 0 to 3, epoll, timer, event, signals, output, the pidfd, and the
     * socket on which it listens. */
    return harness_count_fds(record->watcher.pid) <= 11;
}

/* An idle watcher must not keep the store open, nor what belongs to others. */
TEST(watcher_of_a_released_child__holds_few_descriptors)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    ck_assert(story_read_record(&story, &record));
    ck_assert(
        harness_wait_until(holds_few_descriptors, &record, STORY_WAIT_MS));
    story_end_released(&story);
}

/* ---- Detached ---------------------------------------------------------- */

struct watcher_gone {
    struct story *story;
    struct libspawn__pidref ref;
};

static bool
watcher_is_reaped(void *user)
{
    struct watcher_gone *gone = user;
    struct process process;

    libspawn_ctx_dispatch(gone->story->ctx, NULL);
    return !process_read(gone->ref.id.pid, &process);
}

/* Covers X7. */
TEST(detached_child__lives_on_without_watcher_and_without_zombie)
{
    AUTO_STORY struct story story;
    struct watcher_gone gone = { .story = &story };
    struct libspawn__pidref child;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    child = story_pin_child(&story);
    gone.ref = story_pin_watcher(&story);
    story_release(&story, LIBSPAWN_RELEASE_DETACHED);
    ck_assert(harness_wait_until(watcher_is_reaped, &gone, STORY_WAIT_MS));
    libspawn__pidref_dispose(&gone.ref);
    ck_assert(libspawn__pidref_is_alive(&child));
    ck_assert_int_ne(harness_parent(child.id.pid), getpid());
    ck_assert_str_eq(story.trace, "started ready");
    story_end_released(&story);
    story_assert_gone(&child);
}

/* Covers X11. */
TEST(detach_twice__is_fine)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_DETACHED);
    story_release(&story, LIBSPAWN_RELEASE_DETACHED);
    story_end_released(&story);
}

/* Nobody can know how it ended, and 0 would be a lie. */
TEST(detached_child_ends__how_is_unknown)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_DETACHED);
    story_end_released(&story);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_UNKNOWN);
    assert_contains(story_sentence(&story), "how is unknown");
    assert_lacks(story_sentence(&story), "watcher died");
}

/* Who detaches a child knows that it ignores SIGPIPE, as QEMU does. */
TEST(detached_child_writes__gets_sigpipe_unless_it_ignores_it)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_set_directory(story.plan, harness_dir());
    libspawn_plan_ready_on_notify(story.plan, 7);
    story_program(&story, "/bin/sh", "-c",
                  "trap '' PIPE; echo >&7; "
                  "while echo x; do :; done 2>/dev/null; touch survived");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_DETACHED);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(access("survived", F_OK), 0);
}

TEST(detached_child_is_stopped__gets_sigterm_and_its_grace)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_set_timeouts(story.plan, 0, 60000);
    libspawn_plan_ready_on_notify(story.plan, 7);
    story_program(&story, "/bin/sh", "-c",
                  "trap 'touch termed; exit' TERM; echo >&7; "
                  "while :; do sleep 0.01; done");
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_DETACHED);
    libspawn_child_stop(story.child);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(access("termed", F_OK), 0);
}

TEST_MAIN("spawn_release")
