/*
 * A main process that runs out of memory, at any allocation of a few requests
 * of which one ends the worker: each request that was accepted is heard of
 * once, and the next worker works.
 */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/flow/worker_story.h"
#include "tests/lib/memory.h"

enum { WINDOW_MS = 300 };

struct tally {
    int n_asked;
    int n_heard;
    int n_done; /* without an error */
};

/* No assertion in here: libcheck needs memory, too. */
static void
count_reply(struct libspawn__worker *worker,
            struct libspawn__worker_reply *reply, void *user)
{
    struct tally *tally = user;

    (void)worker;
    tally->n_heard++;
    tally->n_done += !reply->code;
}

static void
ask(struct libspawn__worker *worker, uint32_t type, struct tally *tally)
{
    static char text[] = "text";
    const struct iovec iov = { text, sizeof text };
    const int fd = STDIN_FILENO;
    const struct libspawn__worker_request request = {
        .type = type,
        .iov = &iov,
        .n_iov = 1,
        .fds = &fd,
        .n_fds = type == TRIAL_ECHO,
        .fn = count_reply,
        .user = tally,
    };

    tally->n_asked += !libspawn__worker_request(worker, &request, NULL);
}

/* Until all that was accepted is answered. */
static void
ask_some(struct libspawn_ctx *ctx, struct libspawn__worker *worker,
         struct tally *tally)
{
    int64_t deadline_ms = libspawn__clock_now_ms() + WORKER_STORY_WAIT_MS;

    ask(worker, TRIAL_ECHO, tally);
    ask(worker, TRIAL_DIE, tally);
    while (tally->n_heard < tally->n_asked &&
           libspawn__clock_now_ms() < deadline_ms) {
        libspawn_ctx_wait(ctx, 100, NULL);
    }
    ask(worker, TRIAL_ECHO, tally);
    while (tally->n_heard < tally->n_asked &&
           libspawn__clock_now_ms() < deadline_ms) {
        libspawn_ctx_wait(ctx, 100, NULL);
    }
}

static void
run_out_at(struct worker_story *story, long n, bool for_good,
           bool *has_failed_r)
{
    const struct libspawn__worker_options options = {
        .program = story->program,
        .class = "trial",
        .guest = "tale",
        .window_ms = WINDOW_MS,
    };
    struct libspawn__worker *worker = NULL;
    struct tally tally = { 0 };
    int rc;

    memory_fail_at(n, for_good);
    rc = libspawn__worker_new(story->ctx, &options, &worker, NULL);
    if (!rc) {
        ask_some(story->ctx, worker, &tally);
    }
    *has_failed_r = memory_stop_failing();
    ck_assert_int_eq(tally.n_heard, tally.n_asked);
    ck_assert(*has_failed_r || tally.n_done == 2);
    libspawn__worker_free(worker);
    ck_assert(harness_wait_children(WORKER_STORY_WAIT_MS));
    /* What was reaped by us is still to be forgotten by the context. */
    assert_ok(libspawn_ctx_dispatch(story->ctx, NULL), NULL);
}

static void
run_out_at_each(bool for_good)
{
    AUTO_WORKER_STORY struct worker_story story;
    size_t n_fds;
    bool has_failed = true;
    long n;

    worker_story_begin(&story, "trial");
    n_fds = harness_count_fds(0);
    for (n = 1; has_failed; n++) {
        run_out_at(&story, n, for_good, &has_failed);
        ck_assert_uint_eq(harness_count_fds(0), n_fds);
    }
    ck_assert_int_gt(n, 10);
}

TEST_TIMEOUT(worker_memory_runs_out_once__each_request_is_heard_of, 60)
{
    run_out_at_each(false);
}

TEST_TIMEOUT(worker_memory_runs_out_for_good__each_request_is_heard_of, 60)
{
    run_out_at_each(true);
}

TEST_MAIN("worker_memory")
