/*
 * A caller that runs out of memory, at any allocation of a start: it gets an
 * error or a child, never a crash, and can start again.
 */
#include <string.h>

#include "base/util.h"
#include "tests/flow/spawn_story.h"
#include "tests/lib/memory.h"

/* Up to the event that decides, or an error.  No assertion in here: libcheck
 * needs memory, too. */
static int
start_once(struct story *story)
{
    int rc = libspawn_child_start(story->ctx, story->plan, story_on_event,
                                  story, &story->child, NULL);

    while (!rc && !strstr(story->trace, "ready") &&
           !strstr(story->trace, "failed")) {
        rc = libspawn_ctx_wait(story->ctx, STORY_WAIT_MS, NULL);
    }
    return rc;
}

static void
forget_child(struct story *story)
{
    story_forget(story);
    ck_assert(harness_wait_children(STORY_WAIT_MS));
}

/* Until a start needs less than n allocations. */
static void
fail_each_allocation(bool for_good)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;
    size_t n_fds;
    bool has_failed = true;
    long n;

    story_begin(&story);
    story_ready_on_confirm(&story, true);
    story_program(&story, "/bin/sleep", "60");
    n_fds = harness_count_fds(0);
    for (n = 1; has_failed; n++) {
        int rc;

        memory_fail_at(n, for_good);
        rc = start_once(&story);
        has_failed = memory_stop_failing();
        if (rc) {
            assert_code(rc, LIBSPAWN_ERR_NO_MEMORY);
        }
        ck_assert(has_failed || strstr(story.trace, "ready"));
        forget_child(&story);
        /* What was reaped by us is still to be forgotten by the context. */
        assert_ok(libspawn_ctx_dispatch(story.ctx, &err), &err);
        ck_assert_uint_eq(harness_count_fds(0), n_fds);
    }
    ck_assert_int_gt(n, 10);
}

TEST_TIMEOUT(memory_runs_out_once__start_fails_or_goes_on, 60)
{
    fail_each_allocation(false);
}

TEST_TIMEOUT(memory_runs_out_for_good__start_fails_or_goes_on, 60)
{
    fail_each_allocation(true);
}

/* The child has nothing to do with it, and lives on. */
static void
fail_each_allocation_of_adoption(bool for_good)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref ref;
    size_t n_fds;
    bool has_failed = true;
    long n;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    ref = story_pin_child(&story);
    libspawn_child_free(TAKE_PTR(story.child));
    n_fds = harness_count_fds(0);
    for (n = 1; has_failed; n++) {
        int rc;

        memory_fail_at(n, for_good);
        rc = libspawn_child_adopt(story.ctx, story.address, STORY_RECORD, NULL,
                                  NULL, &story.child, NULL);
        has_failed = memory_stop_failing();
        if (rc) {
            assert_code(rc, LIBSPAWN_ERR_NO_MEMORY);
        }
        libspawn_child_free(TAKE_PTR(story.child));
        ck_assert_uint_eq(harness_count_fds(0), n_fds);
        ck_assert(libspawn__pidref_is_alive(&ref));
    }
    ck_assert_int_gt(n, 10);
    libspawn__pidref_dispose(&ref);
    story_end_released(&story);
}

TEST(memory_runs_out_once__adoption_fails_or_goes_on)
{
    fail_each_allocation_of_adoption(false);
}

TEST(memory_runs_out_for_good__adoption_fails_or_goes_on)
{
    fail_each_allocation_of_adoption(true);
}

TEST(memory_runs_out_in_a_setter__start_says_so)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    story_program(&story, "/bin/true");
    memory_fail_at(1, false);
    libspawn_plan_add_arg(story.plan, "lost");
    ck_assert(memory_stop_failing());
    assert_code(story_try_start(&story, &err), LIBSPAWN_ERR_NO_MEMORY);
}

TEST(memory_runs_out_while_reporting__the_end_is_told_all_the_same)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *text = NULL;
    char *lost[3];
    int rc;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--stderr=x", "--exit=1");
    story_start(&story);
    story_await(&story, "started failed");
    memory_fail_at(1, true);
    lost[0] = libspawn_report_sentence(story_report(&story));
    lost[1] = libspawn_report_text(story_report(&story));
    lost[2] = libspawn_report_json(story_report(&story));
    rc = libspawn_child_check(story.child, NULL);
    ck_assert(memory_stop_failing());
    ck_assert(!lost[0] && !lost[1] && !lost[2]);
    assert_code(rc, LIBSPAWN_ERR_CHILD);
    text = libspawn_report_text(story_report(&story));
    assert_contains(text, "exited with status 1");
}

TEST_MAIN("spawn_memory")
