/*
 * Readiness by the monitor, with a device model that plays the parts that the
 * real one cannot be made to play: mute, talking rubbish, hanging half-way.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/flow/dm_story.h"

enum { DEADLINE_MS = 400 };

#define MODEL_START(MODEL, ...)                                               \
    dm_story_start(MODEL, story_model_path(), DEADLINE_MS,                    \
                   (const char *const[]){ __VA_ARGS__, NULL })

static void
assert_end(struct dm_story *model, enum libspawn_end end)
{
    dm_story_await(model, &model->is_ended);
    ck_assert(!model->is_ready);
    ck_assert_int_eq(dm_story_report(model)->end, end);
    story_assert_nothing_left(&model->story);
}

TEST(monitor_answers__is_ready)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const none[] = { NULL };

    dm_story_start(&model, story_model_path(), DM_STORY_WAIT_MS, none);
    dm_story_await(&model, &model.is_ready);
    ck_assert_int_eq(story_record_state(&model.story),
                     LIBSPAWN__RECORD_RUNNING);
}

TEST(monitor_answers_late__is_ready_then)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const late[] = { "--ready-after=100", "--answer-after=50",
                                 NULL };

    dm_story_start(&model, story_model_path(), DM_STORY_WAIT_MS, late);
    dm_story_await(&model, &model.is_ready);
}

/* The caller may prepare things meanwhile for longer than a start may take. */
TEST(monitor_not_connected_yet__no_deadline_passes)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const none[] = { NULL };
    int64_t until_ms = libspawn__clock_now_ms() + 2 * DEADLINE_MS;

    dm_story_start_alone(&model, story_model_path(), DEADLINE_MS, none);
    while (libspawn__clock_now_ms() < until_ms) {
        assert_ok(libspawn_ctx_wait(model.story.ctx, 10, NULL), NULL);
    }
    ck_assert(!model.is_ended);
    assert_ok(libspawn__dm_connect(model.dm, NULL), NULL);
    dm_story_await(&model, &model.is_ready);
}

static bool
socket_is_gone(void *user)
{
    (void)user;
    return access("qmp", F_OK) < 0;
}

TEST(monitor_gone_before_it_is_connected__report_is_of_the_end)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const exits[] = { "--exit=3", NULL };

    dm_story_start_alone(&model, story_model_path(), DM_STORY_WAIT_MS, exits);
    ck_assert(harness_wait_until(socket_is_gone, NULL, DM_STORY_WAIT_MS));
    assert_ok(libspawn__dm_connect(model.dm, NULL), NULL);
    assert_end(&model, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(dm_story_report(&model)->exit_code, 3);
}

/* Covers X5, D13. */
TEST(monitor_is_mute__deadline_names_the_greeting)
{
    AUTO_DM_STORY struct dm_story model;

    MODEL_START(&model, "--mute");
    assert_end(&model, LIBSPAWN_END_DEADLINE);
    ck_assert_str_eq(dm_story_report(&model)->stage,
                     "waiting for its QMP greeting");
}

/* Covers X5. */
TEST(monitor_never_serves__deadline_names_the_greeting)
{
    AUTO_DM_STORY struct dm_story model;

    MODEL_START(&model, "--never-ready");
    assert_end(&model, LIBSPAWN_END_DEADLINE);
    ck_assert_str_eq(dm_story_report(&model)->stage,
                     "waiting for its QMP greeting");
}

/* Covers X5. */
TEST(monitor_greets_only__deadline_ends_it)
{
    AUTO_DM_STORY struct dm_story model;

    MODEL_START(&model, "--greet-only");
    assert_end(&model, LIBSPAWN_END_DEADLINE);
}

/* Covers X5. */
TEST(monitor_does_not_tell_its_status__deadline_names_that)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const args[] = { "--no-answer=query-status", NULL };

    /* Long enough to get that far on a busy machine. */
    dm_story_start(&model, story_model_path(), 12 * DEADLINE_MS, args);
    assert_end(&model, LIBSPAWN_END_DEADLINE);
    ck_assert_str_eq(dm_story_report(&model)->stage,
                     "waiting for the answer to query-status");
}

TEST(monitor_talks_rubbish__is_refused_at_once)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const args[] = { "--garbage", NULL };

    dm_story_start(&model, story_model_path(), DM_STORY_WAIT_MS, args);
    assert_end(&model, LIBSPAWN_END_REFUSED);
    ck_assert_uint_gt(strlen(dm_story_report(&model)->detail), 10);
}

TEST(monitor_floods__is_refused_within_bounded_memory)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const args[] = { "--flood", NULL };

    dm_story_start(&model, story_model_path(), DM_STORY_WAIT_MS, args);
    assert_end(&model, LIBSPAWN_END_REFUSED);
}

/* The end of the stream is only a consequence of the death. */
TEST(model_dies_while_it_is_asked__death_is_the_cause)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const args[] = { "--no-answer=query-status",
                                 "--exit-after-ready=42", NULL };

    dm_story_start(&model, story_model_path(), DM_STORY_WAIT_MS, args);
    assert_end(&model, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(dm_story_report(&model)->exit_code, 42);
}

/* Covers X2. */
TEST(model_exits_at_once__its_code_and_words_are_the_cause)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const args[] = { "--stderr=no disk", "--exit=1", NULL };

    dm_story_start(&model, story_model_path(), DM_STORY_WAIT_MS, args);
    assert_end(&model, LIBSPAWN_END_EXITED);
    ck_assert_str_eq(dm_story_report(&model)->tail, "no disk\n");
}

TEST_MAIN("spawn_monitor")
