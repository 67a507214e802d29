/*
 * Many: children at once, and starts one after the other, from one context.
 * Nothing grows, and nothing is left.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"
#include "tests/sweep/deed.h"

enum {
    SWEEP_TEST_S = 60,
    MAX_AT_ONCE = 1000,
    FDS_PER_CHILD = 3, /* socket, and the pidfds of watcher and child */
    GONE_MS = 2000,
    SLACK = 8192 /* bytes */
};

/* ---- At once ----------------------------------------------------------- */

struct crowd {
    struct story story;
    size_t n;
    struct libspawn_child *children[MAX_AT_ONCE];
    size_t n_ready;
    size_t n_exited;
    size_t n_failed;
};

static void
on_event(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    struct crowd *crowd = user;

    (void)child;
    crowd->n_ready += event == LIBSPAWN_EVENT_READY;
    crowd->n_exited += event == LIBSPAWN_EVENT_EXITED;
    crowd->n_failed += event == LIBSPAWN_EVENT_FAILED;
}

static void
await_count(struct crowd *crowd, const size_t *count, int timeout_ms)
{
    int64_t until_ms = libspawn__clock_now_ms() + timeout_ms;

    while (*count < crowd->n) {
        struct libspawn_err err;

        ck_assert_uint_eq(crowd->n_failed, 0);
        ck_assert_msg(libspawn__clock_now_ms() < until_ms,
                      "%zu of %zu after %d ms", *count, crowd->n, timeout_ms);
        assert_ok(libspawn_ctx_wait(crowd->story.ctx, 100, &err), &err);
    }
}

static bool
raise_limit(size_t n_children)
{
    struct rlimit limit;
    rlim_t wanted = n_children * FDS_PER_CHILD + 100;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = MAX(limit.rlim_cur, wanted);
    limit.rlim_max = MAX(limit.rlim_max, wanted);
    return !setrlimit(RLIMIT_NOFILE, &limit);
}

static void
start_all(struct crowd *crowd)
{
    size_t i;

    for (i = 0; i < crowd->n; i++) {
        char path[64];
        struct libspawn_err err;

        snprintf(path, sizeof path, "/libxl/%zu/libspawn/dm", i + 1);
        libspawn_plan_set_record(crowd->story.plan, crowd->story.address,
                                 path);
        assert_ok(libspawn_child_start(crowd->story.ctx, crowd->story.plan,
                                       on_event, crowd, &crowd->children[i],
                                       &err),
                  &err);
        assert_ok(libspawn_ctx_dispatch(crowd->story.ctx, &err), &err);
    }
}

static bool
no_process_is_left(void *user)
{
    struct crowd *crowd = user;
    struct libspawn_err err;

    assert_ok(libspawn_ctx_dispatch(crowd->story.ctx, &err), &err);
    return !harness_child_pids(NULL, 0);
}

TEST_TIMEOUT(many_at_once__all_end_in_two_seconds, SWEEP_TEST_S)
{
    static struct crowd crowd;
    size_t n_fds;
    int64_t ready_ms;
    int64_t gone_ms;
    size_t i;

    crowd.n = harness_is_full() ? MAX_AT_ONCE : 100;
    if (!raise_limit(crowd.n)) {
        TEST_SKIP("no right to open so many descriptors");
    }
    story_begin(&crowd.story);
    story_program(&crowd.story, "/bin/sleep", "1000");
    n_fds = harness_count_fds(0);
    ready_ms = libspawn__clock_now_ms();
    start_all(&crowd);
    await_count(&crowd, &crowd.n_ready, 30000);
    ready_ms = libspawn__clock_now_ms() - ready_ms;
    gone_ms = libspawn__clock_now_ms();
    for (i = 0; i < crowd.n; i++) {
        libspawn_child_stop(crowd.children[i]);
    }
    await_count(&crowd, &crowd.n_exited, 30000);
    ck_assert(harness_wait_until(no_process_is_left, &crowd, STORY_WAIT_MS));
    gone_ms = libspawn__clock_now_ms() - gone_ms;
    for (i = 0; i < crowd.n; i++) {
        libspawn_child_free(crowd.children[i]);
    }
    ck_assert_uint_eq(harness_count_fds(0), n_fds);
    sweep_print("at once: %zu children, ready after %d ms, gone %d ms after "
                "their stop", crowd.n, (int)ready_ms, (int)gone_ms);
    /* Sanitizers take their time. */
    ck_assert_int_lt(gone_ms, sweep_is_sanitized() ? 10 * GONE_MS : GONE_MS);
    story_end(&crowd.story);
}

/* ---- One after the other ----------------------------------------------- */

static void
start_and_stop(struct story *story)
{
    story_start_again(story);
    story_await(story, "started ready");
    libspawn_child_stop(story->child);
    story_await(story, "started ready exited");
}

static bool
is_alone(void *user)
{
    struct story *story = user;
    struct libspawn_err err;

    assert_ok(libspawn_ctx_dispatch(story->ctx, &err), &err);
    return !harness_child_pids(NULL, 0);
}

struct footprint {
    size_t n_fds;
    size_t memory;
};

static struct footprint
measure(struct story *story)
{
    ck_assert_msg(harness_wait_until(is_alone, story, GONE_MS),
                  "a process is left");
    return (struct footprint){ harness_count_fds(0), mallinfo2().uordblks };
}

TEST_TIMEOUT(many_one_after_the_other__nothing_grows, SWEEP_TEST_S)
{
    AUTO_STORY struct story story;
    unsigned int n = harness_is_full() ? 10000 : 300;
    struct libspawn__record record;
    struct footprint before;
    struct footprint after;
    unsigned int i;

    story_begin(&story);
    story_program(&story, "/bin/sleep", "1000");
    for (i = 0; i < 10; i++) {
        start_and_stop(&story);
    }
    before = measure(&story);
    for (i = 0; i < n; i++) {
        start_and_stop(&story);
    }
    after = measure(&story);
    sweep_print("one after the other: %u starts and stops, %zd descriptors "
                "and %zd bytes more", n, after.n_fds - before.n_fds,
                (ssize_t)(after.memory - before.memory));
    ck_assert_uint_eq(after.n_fds, before.n_fds);
    /* What malloc keeps at hand counts as used: that differs a little. */
    ck_assert_uint_le(after.memory, before.memory + SLACK);
    ck_assert(!story_read_record(&story, &record));
}

TEST_MAIN("sweep_many")
