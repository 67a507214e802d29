/*
 * Ending a device model by its record, which may be old: nobody but the very
 * process that it names may be signalled.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/util.h"
#include "dm/end.h"
#include "tests/flow/recycle.h"
#include "tests/flow/spawn_story.h"

static int
end_by_record(struct story *story, int grace_ms, struct libspawn_err *err)
{
    return libspawn__dm_end(story->store, STORY_RECORD, grace_ms, err);
}

static void
write_record(struct story *story, const struct libspawn__identity *child)
{
    struct libspawn__record record = { .state = LIBSPAWN__RECORD_RUNNING,
                                       .child = *child };
    struct libspawn_err err;

    assert_ok(libspawn__identity_self(&record.caller, &err), &err);
    record.watcher = record.caller;
    /* A watcher that is gone: nobody waits for the test itself to end. */
    record.watcher.start_time++;
    assert_ok(libspawn__record_write(story->store, STORY_RECORD, &record,
                                     &err),
              &err);
}

/* ---- An innocent process ----------------------------------------------- */

static struct libspawn__pidref
start_innocent(void)
{
    struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;
    pid_t pid = fork();

    if (!pid) {
        for (;;) {
            pause();
        }
    }
    assert_ok(libspawn__pidref_from_pid(pid, &ref, &err), &err);
    return ref;
}

static void
assert_unharmed(struct libspawn__pidref *innocent)
{
    /* A signal would have arrived by now, or within this time. */
    ck_assert_int_eq(libspawn__pidref_wait(innocent, 50, NULL),
                     LIBSPAWN_ERR_TIMEOUT);
    libspawn__pidref_signal(innocent, SIGKILL, NULL);
    ck_assert_int_eq(waitpid(innocent->id.pid, NULL, 0), innocent->id.pid);
    libspawn__pidref_dispose(innocent);
}

/* Covers X15. */
TEST(record_of_an_older_process_with_that_pid__harms_nobody)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref innocent = start_innocent();
    struct libspawn__identity id = innocent.id;
    struct libspawn_err err;

    story_begin(&story);
    id.start_time--;
    write_record(&story, &id);
    assert_ok(end_by_record(&story, 1000, &err), &err);
    assert_unharmed(&innocent);
}

/* Covers X15. */
TEST(record_of_another_boot__harms_nobody)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref innocent = start_innocent();
    struct libspawn__identity id = innocent.id;
    struct libspawn_err err;

    story_begin(&story);
    id.boot_id[0] = id.boot_id[0] == '0' ? '1' : '0';
    write_record(&story, &id);
    assert_ok(end_by_record(&story, 0, &err), &err);
    assert_unharmed(&innocent);
}

/* The number of a device model that exited belongs to somebody else now.
 * Covers X15. */
TEST(record_whose_pid_was_recycled__harms_nobody)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref innocent = LIBSPAWN__PIDREF_INIT;
    struct libspawn__record record;
    struct libspawn_err err;

    story_begin(&story);
    story_program(&story, "/bin/sleep", "0.4");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    story_await(&story, "started ready exited");
    ck_assert(story_read_record(&story, &record));
    ck_assert(harness_wait_children(STORY_WAIT_MS));
    if (fork_with_pid(record.child.pid) < 0) {
        TEST_SKIP("cannot choose the number of a process: %s",
                  strerror(errno));
    }
    assert_ok(libspawn__pidref_from_pid(record.child.pid, &innocent, &err),
              &err);
    assert_ok(end_by_record(&story, 1000, &err), &err);
    assert_unharmed(&innocent);
}

/* Covers X15. */
TEST(record_of_a_zombie__is_a_process_that_has_ended)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref innocent = start_innocent();
    struct libspawn_err err;

    story_begin(&story);
    write_record(&story, &innocent.id);
    libspawn__pidref_signal(&innocent, SIGKILL, NULL);
    assert_ok(libspawn__pidref_wait(&innocent, STORY_WAIT_MS, &err), &err);
    assert_ok(end_by_record(&story, 1000, &err), &err);
    libspawn__pidref_dispose(&innocent);
    ck_assert_int_gt(wait(NULL), 0);
}

/* ---- The right process ------------------------------------------------- */

TEST(record_of_a_released_child__ends_it_and_waits_for_the_last_word)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref watcher;
    struct libspawn_err err;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    watcher = story_pin_watcher(&story);
    assert_ok(end_by_record(&story, STORY_WAIT_MS, &err), &err);
    /* Nobody may write to the store behind us. */
    ck_assert(!libspawn__pidref_is_alive(&watcher));
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_EXITED);
    libspawn__pidref_dispose(&watcher);
}

TEST(record_of_a_stubborn_child__kills_it_after_the_grace)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;
    int64_t began;

    story_begin(&story);
    libspawn_plan_ready_on_notify(story.plan, 7);
    story_model(&story, "--notify-fd=7", "--ignore-term");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    began = libspawn__clock_now_ms();
    assert_ok(end_by_record(&story, 200, &err), &err);
    ck_assert_int_ge(libspawn__clock_now_ms() - began, 200);
}

TEST(record_of_a_stopped_child__ends_it_without_waiting_for_the_grace)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref child;
    struct libspawn_err err;
    int64_t began;

    story_begin(&story);
    libspawn_plan_ready_on_notify(story.plan, 7);
    story_model(&story, "--notify-fd=7");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    child = story_pin_child(&story);
    libspawn__pidref_signal(&child, SIGSTOP, NULL);
    began = libspawn__clock_now_ms();
    assert_ok(end_by_record(&story, 5000, &err), &err);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 3000);
    libspawn__pidref_dispose(&child);
}

/* ---- Records that make no sense ---------------------------------------- */

TEST(no_record__is_nothing_to_end)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    assert_ok(end_by_record(&story, 0, &err), &err);
}

TEST(record_with_a_pid_that_means_a_group__is_refused)
{
    static const char *const pids[] = { "0", "-1", "-12", "99999999999" };
    AUTO_STORY struct story story;
    size_t i;

    story_begin(&story);
    for (i = 0; i < ARRAY_SIZE(pids); i++) {
        assert_ok(libspawn__store_printf(
                      story.store, NULL, STORY_RECORD, NULL,
                      "version=1\nstate=running\nchild=%s 1 "
                      "00000000-0000-0000-0000-000000000000\n",
                      pids[i]),
                  NULL);
        assert_code(end_by_record(&story, 0, NULL), LIBSPAWN_ERR_PROTOCOL);
    }
}

TEST(record_of_garbage__is_refused)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    assert_ok(libspawn__store_puts(story.store, NULL, STORY_RECORD, "garbage",
                                   NULL),
              NULL);
    assert_code(end_by_record(&story, 0, NULL), LIBSPAWN_ERR_PROTOCOL);
}

TEST_MAIN("spawn_record")
