/*
 * The real QEMU as the child: it comes up, is refused by its own command
 * line, is killed, or hangs, and the caller learns each at once.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/flow/dm_story.h"

enum { AT_ONCE_MS = 1000 };

#define MODEL_START(MODEL, ...)                                               \
    dm_story_start(MODEL, DM_STORY_QEMU, DM_STORY_WAIT_MS,                    \
                   (const char *const[]){ __VA_ARGS__, NULL })

/* ---- It comes up ------------------------------------------------------- */

TEST_TIMEOUT(qemu_comes_up__is_ready_when_its_monitor_answers, DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;

    MODEL_START(&model, "-S");
    dm_story_await(&model, &model.is_ready);
    ck_assert_int_eq(story_record_state(&model.story),
                     LIBSPAWN__RECORD_RUNNING);
    libspawn_child_stop(libspawn__dm_child(model.dm));
    dm_story_await(&model, &model.is_ended);
    ck_assert_int_eq(dm_story_report(&model)->end, LIBSPAWN_END_STOPPED);
    story_assert_nothing_left(&model.story);
}

/* It keeps its log as 1 and 2, /dev/null as 0 and the monitor as 3. */
TEST_TIMEOUT(qemu_that_runs__has_only_its_own_descriptors_of_ours,
             DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;
    struct libspawn__record record;
    AUTO_FREE char *path = NULL;
    char target[256] = "";

    MODEL_START(&model, "-S");
    dm_story_await(&model, &model.is_ready);
    ck_assert(story_read_record(&model.story, &record));
    path = libspawn__str_format("/proc/%d/fd/0", (int)record.child.pid);
    ck_assert_int_gt(readlink(path, target, sizeof target - 1), 0);
    ck_assert_str_eq(target, "/dev/null");
}

TEST_TIMEOUT(qemu_quits_by_itself_after_ready__exited_with_zero,
             DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;
    struct libspawn_err err;

    MODEL_START(&model, "-S");
    dm_story_await(&model, &model.is_ready);
    assert_ok(libspawn__qmp_command(libspawn__dm_qmp(model.dm), "quit", NULL,
                                    -1, NULL, NULL, &err),
              &err);
    dm_story_await(&model, &model.is_ended);
    ck_assert_int_eq(dm_story_report(&model)->end, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(dm_story_report(&model)->exit_code, 0);
}

/* ---- Its last words ---------------------------------------------------- */

/* A device model on Xen is held at its monitor, and says so; when it fails
 * later these would be its first words. */
TEST_TIMEOUT(qemu_that_waited_for_us__does_not_say_so_in_its_report,
             DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;
    AUTO_FREE char *held =
        libspawn__str_format("socket,id=held,path=%s/held,server=on,wait=on",
                             harness_dir());
    const char *const args[] = { "-chardev", held, NULL };

    dm_story_start(&model, DM_STORY_QEMU, 1500, args);
    dm_story_await(&model, &model.is_ended);
    ck_assert_int_eq(dm_story_report(&model)->end, LIBSPAWN_END_DEADLINE);
    assert_lacks(dm_story_report(&model)->tail, "waiting for connection");
}

TEST(notices_among_the_last_lines__go_and_the_others_stay)
{
    static const struct {
        const char *said;
        const char *shown;
    } cases[] = {
        { "", "" },
        { "qemu: -chardev a: info: QEMU waiting for connection on: b\n", "" },
        { "one\nqemu: info: QEMU waiting for connection on: b\ntwo\n",
          "one\ntwo\n" },
        { "qemu: info: QEMU waiting for connection on: b", "" },
        { "QEMU waiting for connection on: b\n",
          "QEMU waiting for connection on: b\n" },
        { "\n\nlast", "\n\nlast" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *tail = strdup(cases[i].said);

        libspawn__dm_drop_notices(tail);
        ck_assert_str_eq(tail, cases[i].shown);
    }
}

/* ---- It refuses -------------------------------------------------------- */

static void
assert_refusal(struct dm_story *model, const char *words)
{
    int64_t began = libspawn__clock_now_ms();

    dm_story_await(model, &model->is_ended);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 10 * AT_ONCE_MS);
    ck_assert(!model->is_ready);
    ck_assert_int_eq(dm_story_report(model)->end, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(dm_story_report(model)->exit_code, 1);
    ck_assert_int_lt(dm_story_report(model)->lived_ms, 5 * AT_ONCE_MS);
    assert_contains(dm_story_report(model)->tail, words);
    story_assert_nothing_left(&model->story);
}

/* Covers X2. */
TEST_TIMEOUT(qemu_misses_a_disk_image__its_words_are_in_the_report,
             DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;

    MODEL_START(&model, "-drive", "if=none,format=raw,file=/nonexistent.img");
    assert_refusal(&model, "Could not open '/nonexistent.img'");
}

/* Covers X2. */
TEST_TIMEOUT(qemu_does_not_know_a_device__its_words_are_in_the_report,
             DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;

    MODEL_START(&model, "-device", "flux-capacitor");
    assert_refusal(&model, "'flux-capacitor' is not a valid device model");
}

/* Covers X2. */
TEST_TIMEOUT(qemu_does_not_know_an_option__its_words_are_in_the_report,
             DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;

    MODEL_START(&model, "-flux");
    assert_refusal(&model, "invalid option");
}

/* ---- It is killed ------------------------------------------------------ */

/* Covers X4. */
TEST_TIMEOUT(qemu_dies_by_a_signal_during_the_start__is_named, DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;

    MODEL_START(&model, "-S");
    dm_story_await_exec(&model);
    dm_story_signal(&model, SIGSEGV);
    dm_story_await(&model, &model.is_ended);
    ck_assert(!model.is_ready);
    ck_assert_int_eq(dm_story_report(&model)->end, LIBSPAWN_END_SIGNALED);
    ck_assert_int_eq(dm_story_report(&model)->signal, SIGSEGV);
    story_assert_nothing_left(&model.story);
}

/* Covers X6. */
TEST_TIMEOUT(qemu_is_killed_after_release__record_names_the_signal,
             DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;
    struct libspawn__record record;
    struct libspawn_err err;

    MODEL_START(&model, "-S");
    dm_story_await(&model, &model.is_ready);
    assert_ok(libspawn_child_release(libspawn__dm_child(model.dm),
                                     LIBSPAWN_RELEASE_WATCHED, &err),
              &err);
    libspawn__dm_free(TAKE_PTR(model.dm));
    dm_story_signal(&model, SIGKILL);
    story_await_record(&model.story, LIBSPAWN__RECORD_EXITED);
    ck_assert(story_read_record(&model.story, &record));
    ck_assert_int_eq(record.wait_status, SIGKILL);
}

/* ---- It hangs ---------------------------------------------------------- */

/* Covers X5, D13. */
TEST_TIMEOUT(qemu_hangs_during_its_start__deadline_names_the_stage,
             DM_STORY_TEST_S)
{
    AUTO_DM_STORY struct dm_story model;
    const char *const args[] = { "-S", NULL };

    dm_story_start(&model, DM_STORY_QEMU, 1500, args);
    dm_story_await_exec(&model);
    dm_story_signal(&model, SIGSTOP);
    dm_story_await(&model, &model.is_ended);
    ck_assert(!model.is_ready);
    ck_assert_int_eq(dm_story_report(&model)->end, LIBSPAWN_END_DEADLINE);
    /* The greeting may have been on its way already. */
    assert_contains(dm_story_report(&model)->stage, "waiting for ");
    story_assert_nothing_left(&model.story);
}

TEST_MAIN_UNLESS("spawn_qemu", dm_story_no_qemu)
