/*
 * The death of either side: the caller, the watcher, both, at any moment.
 * What is not released goes with them.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/util.h"
#include "dm/end.h"
#include "tests/flow/kill_at.h"
#include "tests/flow/spawn_story.h"

/* For everything to be gone, as X12 says. */
enum { GONE_MS = 2000 };

#define PID_NODE "/libxl/1/pid"

static void
send(const struct libspawn__pidref *ref, int number)
{
    struct libspawn_err err;

    assert_ok(libspawn__pidref_signal(ref, number, &err), &err);
}

static void
kill_watcher(struct story *story)
{
    struct libspawn__pidref watcher = story_pin_watcher(story);

    send(&watcher, SIGKILL);
    libspawn__pidref_dispose(&watcher);
}

/* ---- The watcher ------------------------------------------------------- */

static void
assert_orphan_ended(struct story *story, const char *trace)
{
    AUTO_FREE char *pid = NULL;

    story_await(story, trace);
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_UNKNOWN);
    assert_contains(story_sentence(story),
                    "how is unknown (its watcher died)");
    assert_code(libspawn__store_read(story->store, NULL, PID_NODE, &pid, NULL,
                                     NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    story_assert_nothing_left(story);
}

TEST(watcher_dies_before_ready__caller_ends_the_child_and_its_nodes)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_add_pid_node(story.plan, PID_NODE);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready", "--ignore-term");
    story_start(&story);
    story_await(&story, "started");
    kill_watcher(&story);
    assert_orphan_ended(&story, "started failed");
}

TEST(watcher_dies_between_ready_and_release__caller_ends_the_child)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_add_pid_node(story.plan, PID_NODE);
    story_model(&story, "--never-ready", "--ignore-term");
    story_run(&story);
    kill_watcher(&story);
    assert_orphan_ended(&story, "started ready exited");
}

TEST(watcher_is_dead_when_asked_to_release__says_so)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref watcher;
    struct libspawn_err err;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    watcher = story_pin_watcher(&story);
    send(&watcher, SIGKILL);
    story_assert_gone(&watcher);
    assert_code(libspawn_child_release(story.child, LIBSPAWN_RELEASE_WATCHED,
                                       &err),
                LIBSPAWN_ERR_GONE);
    assert_contains(err.text, "its watcher died");
    story_await(&story, "started ready exited");
    story_assert_nothing_left(&story);
}

/* A released child has a right to live. */
TEST(watcher_dies_after_release__child_lives_and_is_found_by_its_record)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref child;
    struct libspawn__pidref watcher;
    struct libspawn__record record;
    struct libspawn_err err;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    child = story_pin_child(&story);
    watcher = story_pin_watcher(&story);
    send(&watcher, SIGKILL);
    story_assert_gone(&watcher);
    assert_ok(libspawn_ctx_wait(story.ctx, 50, &err), &err);
    ck_assert(libspawn__pidref_is_alive(&child));
    ck_assert_str_eq(story.trace, "started ready");
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_RUNNING);
    story_end_released(&story);
    story_await(&story, "started ready exited");
    /* Known if the kernel tells; test_spawn_adopt.c has both. */
    ck_assert(story_read_record(&story, &record));
    ck_assert_int_eq(record.state, LIBSPAWN__RECORD_EXITED);
    ck_assert_int_eq(story_report(&story)->end == LIBSPAWN_END_UNKNOWN,
                     !record.is_known);
    libspawn__pidref_dispose(&child);
}

/* It does not answer, so the caller acts in its place when time is up. */
TEST(watcher_hangs_when_the_child_is_stopped__caller_ends_both)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref watcher;

    story_begin(&story);
    libspawn_plan_set_timeouts(story.plan, 0, 50);
    story_model(&story, "--never-ready");
    story_run(&story);
    watcher = story_pin_watcher(&story);
    send(&watcher, SIGSTOP);
    libspawn_child_stop(story.child);
    story_await(&story, "started ready exited");
    story_assert_gone(&watcher);
    story_assert_nothing_left(&story);
}

/* ---- The caller -------------------------------------------------------- */

/* Plays the caller in a process of its own up to the events in 'trace', then
 * waits for its end. */
static struct libspawn__pidref
fork_caller(const char *trace, bool releases, const char *const args[])
{
    struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;
    int fds[2];
    char byte;
    pid_t pid;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (!pid) {
        struct story story;

        story_begin(&story);
        story_ready_on_confirm(&story, strstr(trace, "ready") != NULL);
        story_set_argv(&story, args);
        story_start(&story);
        story_await(&story, trace);
        if (releases) {
            story_release(&story, LIBSPAWN_RELEASE_WATCHED);
        }
        if (write(fds[1], "", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(fds[1]);
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    assert_ok(libspawn__pidref_from_pid(pid, &ref, &err), &err);
    return ref;
}
#define FORK_CALLER(TRACE, RELEASES, ...)                                     \
    fork_caller(TRACE, RELEASES,                                              \
                (const char *const[]){ story_model_path(), __VA_ARGS__, NULL })

static void
kill_caller(struct libspawn__pidref *caller)
{
    send(caller, SIGKILL);
    ck_assert_int_eq(waitpid(caller->id.pid, NULL, 0), caller->id.pid);
    libspawn__pidref_dispose(caller);
}

static void
assert_all_gone(struct story *story, int64_t began)
{
    AUTO_STRV struct libspawn__strv names = { 0 };
    struct libspawn__record record;

    ck_assert_msg(harness_wait_children(STORY_WAIT_MS), "a process is left");
    ck_assert_int_lt(libspawn__clock_now_ms() - began, GONE_MS);
    ck_assert_msg(!story_read_record(story, &record), "a record is left");
    /* Nor what was made for it: others may have cleaned up before. */
    assert_code(libspawn__store_list(story->store, NULL, "/libxl/1", &names,
                                     NULL),
                LIBSPAWN_ERR_NOT_FOUND);
}

static void
assert_goes_with_its_caller(const char *trace, const char *option)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref caller;
    int64_t began;

    caller = FORK_CALLER(trace, false, "--never-ready", option);
    story_begin(&story);
    began = libspawn__clock_now_ms();
    kill_caller(&caller);
    assert_all_gone(&story, began);
}

/* Covers X12, D16. */
TEST(caller_is_killed_during_the_start__child_is_gone_within_two_seconds)
{
    assert_goes_with_its_caller("started", "--stderr=x");
}

/* Covers X12. */
TEST(caller_is_killed_while_a_stubborn_child_starts__it_is_gone_too)
{
    assert_goes_with_its_caller("started", "--ignore-term");
}

/* Covers X12. */
TEST(caller_is_killed_between_ready_and_release__child_is_gone)
{
    assert_goes_with_its_caller("started ready", "--stderr=x");
}

/* Covers X12. */
TEST(caller_is_killed_and_child_is_stopped__it_is_gone)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref caller;
    struct libspawn__pidref child;
    int64_t began;

    caller = FORK_CALLER("started", false, "--never-ready");
    story_begin(&story);
    child = story_pin_child(&story);
    send(&child, SIGSTOP);
    libspawn__pidref_dispose(&child);
    began = libspawn__clock_now_ms();
    kill_caller(&caller);
    assert_all_gone(&story, began);
}

TEST(caller_is_killed_after_release__child_lives)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref caller;
    struct libspawn__pidref child;

    caller = FORK_CALLER("started ready", true, "--never-ready");
    story_begin(&story);
    child = story_pin_child(&story);
    kill_caller(&caller);
    ck_assert_int_eq(libspawn__pidref_wait(&child, 100, NULL),
                     LIBSPAWN_ERR_TIMEOUT);
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_RUNNING);
    story_end_released(&story);
    story_assert_gone(&child);
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_EXITED);
}

/* Then only the record is left to find the child by. */
TEST(both_sides_die__record_still_leads_to_the_child)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref caller;
    struct libspawn__pidref child;
    struct libspawn__pidref watcher;
    struct libspawn_err err;

    caller = FORK_CALLER("started", false, "--never-ready");
    story_begin(&story);
    child = story_pin_child(&story);
    watcher = story_pin_watcher(&story);
    /* Neither may see the other's end and act on it. */
    send(&watcher, SIGSTOP);
    kill_caller(&caller);
    send(&watcher, SIGKILL);
    story_assert_gone(&watcher);
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_STARTING);
    ck_assert(libspawn__pidref_is_alive(&child));
    assert_ok(libspawn__dm_end(story.store, STORY_RECORD, 1000, &err), &err);
    story_assert_gone(&child);
}

/* ---- Every moment of the caller ---------------------------------------- */

struct progress {
    bool is_releasing;
    bool is_released;
};

static void __attribute__((noreturn))
be_a_caller(struct progress *progress)
{
    struct story story;

    story_begin(&story);
    libspawn_plan_set_timeouts(story.plan, 0, 0);
    story_ready_on_confirm(&story, true);
    story_program(&story, "/bin/sleep", "60");
    kill_at_wait();
    story_start(&story);
    story_await(&story, "started ready");
    progress->is_releasing = true;
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    progress->is_released = true;
    _exit(0);
}

static void
assert_after_death(struct story *story, const struct progress *progress)
{
    int64_t began = libspawn__clock_now_ms();

    if (progress->is_released) {
        struct libspawn__pidref child = story_pin_child(story);

        ck_assert(libspawn__pidref_is_alive(&child));
        libspawn__pidref_dispose(&child);
    }
    if (progress->is_releasing) {
        /* Either is right while it was asking. */
        story_end_released(story);
        ck_assert(harness_wait_children(STORY_WAIT_MS));
        libspawn__store_remove(story->store, NULL, STORY_RECORD, NULL);
    } else {
        assert_all_gone(story, began);
    }
}

/* Covers X12. */
TEST_TIMEOUT(caller_is_killed_at_any_system_call__never_leaves_half_a_start,
             120)
{
    AUTO_STORY struct story story;
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned int n;
    bool was_killed = true;

    ck_assert(progress != MAP_FAILED);
    story_begin(&story);
    for (n = 0; was_killed; n++) {
        pid_t pid;

        memset(progress, 0, sizeof *progress);
        pid = fork();
        if (!pid) {
            be_a_caller(progress);
        }
        was_killed = kill_at(pid, n);
        waitpid(pid, NULL, 0);
        assert_after_death(&story, progress);
    }
    ck_assert(progress->is_released);
    ck_assert_uint_gt(n, 30);
}

/* ---- Every moment of the watcher --------------------------------------- */

static int
spawn_watcher_led(void *user, const char *path, char *const argv[],
          char *const envp[], int fd, pid_t *pid_r)
{
    pid_t *pid = user;

    *pid = fork();
    if (!*pid) {
        dup2(fd, 3);
        kill_at_wait();
        execve(path, argv, envp);
        _exit(127);
    }
    *pid_r = *pid;
    return *pid < 0 ? errno : 0;
}

/* A sanitizer's watcher makes many calls before it gets to work. */
static unsigned int
stride(void)
{
    return strstr(harness_build_dir(), "build/") ? 7 : 1;
}

TEST_TIMEOUT(watcher_is_killed_at_any_system_call__caller_cleans_up, 120)
{
    pid_t pid = -1;
    const struct libspawn_hooks hooks = { .spawn = spawn_watcher_led,
                                          .user = &pid };
    AUTO_STORY struct story story;
    struct libspawn_err err;
    unsigned int n;

    story_begin_with(&story, &hooks);
    libspawn_plan_add_pid_node(story.plan, PID_NODE);
    story_program(&story, "/bin/sleep", "60");
    for (n = 0;; n += stride()) {
        story_start(&story);
        if (!kill_at(pid, n)) {
            break; /* it waits for events: the start is over */
        }
        while (!strstr(story.trace, "failed") &&
               !strstr(story.trace, "exited")) {
            assert_ok(libspawn_ctx_wait(story.ctx, STORY_WAIT_MS, &err),
                      &err);
        }
        ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_UNKNOWN);
        story_assert_nothing_left(&story);
        story_forget(&story);
    }
    ck_assert_uint_gt(n, 50);
    story_await(&story, "started ready");
}

TEST_MAIN("spawn_death")
