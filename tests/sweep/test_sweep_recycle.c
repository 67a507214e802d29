/*
 * Numbers that were given to others: the child is gone, or the child and its
 * watcher are, and innocent processes have their numbers before the caller
 * knows.  No call of the library harms them, with pidfds and without.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "dm/end.h"
#include "tests/flow/plan_story.h"
#include "tests/flow/recycle.h"
#include "tests/flow/spawn_story.h"
#include "tests/sweep/deed.h"

enum { SETTLE_MS = 150 };

/* ---- What could signal ------------------------------------------------- */

static void
stop(struct story *story)
{
    libspawn_child_stop(story->child);
}

static void
refuse(struct story *story)
{
    libspawn_child_refuse(story->child, "it is refused");
}

static void
confirm(struct story *story)
{
    libspawn_child_confirm(story->child);
}

static void
release(struct story *story)
{
    (void)libspawn_child_release(story->child, LIBSPAWN_RELEASE_WATCHED, NULL);
}

static void
release_detached(struct story *story)
{
    (void)libspawn_child_release(story->child, LIBSPAWN_RELEASE_DETACHED,
                                 NULL);
}

static void
stop_twice(struct story *story)
{
    stop(story);
    stop(story);
}

static void
free_child(struct story *story)
{
    libspawn_child_free(TAKE_PTR(story->child));
}

static void
free_ctx(struct story *story)
{
    libspawn_ctx_free(TAKE_PTR(story->ctx));
}

static void
end_by_record(struct story *story)
{
    struct libspawn_err err;

    assert_ok(libspawn__dm_end(story->store, STORY_RECORD, 200, &err), &err);
}

static void
do_nothing(struct story *story)
{
    (void)story;
}

static const struct {
    const char *name;
    void (*call)(struct story *story);
} calls[] = {
    { "libspawn_child_stop", stop },
    { "libspawn_child_stop, twice", stop_twice },
    { "libspawn_child_refuse", refuse },
    { "libspawn_child_confirm", confirm },
    { "libspawn_child_release", release },
    { "libspawn_child_release, detached", release_detached },
    { "libspawn_child_free", free_child },
    { "libspawn_ctx_free", free_ctx },
    { "the end by the record", end_by_record },
    { "libspawn_ctx_dispatch", do_nothing },
};

/* ---- Numbers ----------------------------------------------------------- */

static bool
is_free_number(void *user)
{
    const pid_t *pid = user;

    return kill(*pid, 0) < 0 && errno == ESRCH;
}

/* Start times are told in ticks of 10 ms: within one, two processes of one
 * number are the same. */
static bool
is_next_tick(void *user)
{
    const int64_t *started_ms = user;

    return libspawn__clock_realtime_ms() > *started_ms + 20;
}

/* Ends it, by whoever reaps it, and gives its number to an innocent; or the
 * errno that says why that cannot be had. */
static int
recycle(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0); /* where the caller's program is the parent */
    ck_assert(harness_wait_until(is_free_number, &pid, STORY_WAIT_MS));
    return fork_with_pid(pid) == pid ? 0 : errno;
}

static void
assert_unharmed(pid_t pid, const char *name)
{
    int status = 0;

    ck_assert_msg(!waitpid(pid, &status, WNOHANG | WUNTRACED),
                  "%s harmed an innocent: %#x", name, (unsigned int)status);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static void
settle(struct story *story)
{
    int64_t until_ms = libspawn__clock_now_ms() + SETTLE_MS;

    while (story->ctx && libspawn__clock_now_ms() < until_ms) {
        struct libspawn_err err;

        assert_ok(libspawn_ctx_wait(story->ctx, 20, &err), &err);
    }
}

/* ---- The cases --------------------------------------------------------- */

struct innocents {
    pid_t child;
    pid_t watcher; /* 0: it left */
};

static int
recycle_both(struct story *story, bool is_detached, struct innocents *pids)
{
    struct libspawn__record record;
    int error;

    ck_assert(story_read_record(story, &record));
    ck_assert(harness_wait_until(is_next_tick, &record.started_at_ms,
                                 STORY_WAIT_MS));
    *pids = (struct innocents){ .child = record.child.pid };
    if (is_detached) {
        story_release(story, LIBSPAWN_RELEASE_DETACHED);
        return recycle(pids->child);
    }
    pids->watcher = record.watcher.pid;
    error = recycle(pids->watcher);
    return error ? error : recycle(pids->child);
}

/* 0, or why the numbers cannot be had. */
static int
try_call(size_t i, bool is_detached)
{
    AUTO_STORY struct story story;
    struct innocents pids;
    int error;

    story_begin(&story);
    story_program(&story, "/bin/sleep", "1000");
    story_run(&story);
    error = recycle_both(&story, is_detached, &pids);
    if (error) {
        return error;
    }
    calls[i].call(&story);
    settle(&story);
    libspawn_child_free(TAKE_PTR(story.child));
    assert_unharmed(pids.child, calls[i].name);
    if (pids.watcher) {
        assert_unharmed(pids.watcher, calls[i].name);
    }
    libspawn__store_remove(story.store, NULL, STORY_RECORD, NULL);
    return 0;
}

static void
sweep_recycle(bool is_detached, const char *what)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(calls); i++) {
        int error = try_call(i, is_detached);

        if (error) {
            TEST_SKIP("cannot choose the number of a process: %s",
                      strerror(error));
        }
    }
    sweep_print("recycled numbers, %s: %zu calls, nobody harmed", what,
                ARRAY_SIZE(calls));
}

TEST_TIMEOUT(number_of_the_child_is_recycled__no_call_harms, 30)
{
    sweep_recycle(true, "child");
}

TEST_TIMEOUT(numbers_of_both_are_recycled__no_call_harms, 30)
{
    sweep_recycle(false, "child and watcher");
}

TEST_TIMEOUT(number_of_the_child_is_recycled_without_pidfds__no_call_harms, 30)
{
    if (!plan_deny_call(SYS_pidfd_open, -1, ENOSYS)) {
        TEST_SKIP("no filter of system calls can be had");
    }
    sweep_recycle(true, "child, without pidfds");
}

TEST_TIMEOUT(numbers_of_both_are_recycled_without_pidfds__no_call_harms, 30)
{
    if (!plan_deny_call(SYS_pidfd_open, -1, ENOSYS)) {
        TEST_SKIP("no filter of system calls can be had");
    }
    sweep_recycle(false, "child and watcher, without pidfds");
}

TEST_MAIN("sweep_recycle")
