/*
 * proc/worker.c, worker_queue.c: requests and replies, with a worker in a
 * process of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/flow/worker_story.h"

/* ---- Order ------------------------------------------------------------- */

struct counter {
    uint32_t n_replies;
    uint32_t n_wrong;
};

static void
count_reply(struct libspawn__worker *worker,
            struct libspawn__worker_reply *reply, void *user)
{
    struct counter *counter = user;
    uint32_t number = 0;

    (void)worker;
    if (!reply->code && reply->size == sizeof number) {
        memcpy(&number, reply->data, sizeof number);
    }
    counter->n_wrong += number != counter->n_replies;
    counter->n_replies++;
}

/* Covers W1. */
TEST(worker_thousand_requests__replies_come_in_their_order)
{
    enum { N = 1000 };
    AUTO_WORKER_STORY struct worker_story story;
    struct counter counter = { 0 };
    uint32_t i;

    worker_story_begin(&story, "trial");
    for (i = 0; i < N; i++) {
        const struct iovec iov = { &i, sizeof i };
        const struct libspawn__worker_request request = {
            .type = TRIAL_ECHO,
            .iov = &iov,
            .n_iov = 1,
            .fn = count_reply,
            .user = &counter,
        };

        assert_ok(libspawn__worker_request(story.worker, &request, NULL),
                  NULL);
        ck_assert_uint_eq(counter.n_replies, 0); /* never inside the call */
    }
    while (counter.n_replies < N) {
        worker_story_turn(&story, WORKER_STORY_WAIT_MS);
    }
    ck_assert_uint_eq(counter.n_wrong, 0);
    ck_assert_uint_eq(story.worker->queue_size, 0);
}

/* ---- Descriptors ------------------------------------------------------- */

static bool
is_same_file(int a, int b)
{
    struct stat st_a;
    struct stat st_b;

    ck_assert_int_eq(fstat(a, &st_a), 0);
    ck_assert_int_eq(fstat(b, &st_b), 0);
    return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

static void
echo_fds(size_t n_fds)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_request request = { .type = TRIAL_ECHO };
    int fds[LIBSPAWN__WORKER_FDS_MAX];
    size_t i;

    worker_story_begin(&story, "trial");
    for (i = 0; i < n_fds; i++) {
        char name[] = "file-0";

        name[5] = (char)('0' + i);
        fds[i] = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fds[i], 0);
    }
    request.fds = fds;
    request.n_fds = n_fds;
    assert_ok(worker_story_try(&story, request), NULL);
    worker_story_await_replies(&story, 1);
    ck_assert_int_eq(story.replies[0].code, 0);
    ck_assert_uint_eq(story.replies[0].n_fds, n_fds);
    for (i = 0; i < n_fds; i++) {
        ck_assert(is_same_file(story.replies[0].fds[i], fds[i]));
        ck_assert_int_eq(fcntl(story.replies[0].fds[i], F_GETFD), FD_CLOEXEC);
        close(fds[i]);
    }
}

/* Covers W4. */
TEST(worker_without_descriptors__none_come_back)
{
    echo_fds(0);
}

/* Covers W4. */
TEST(worker_one_descriptor__comes_back_and_stays_the_senders)
{
    echo_fds(1);
}

/* Covers W4. */
TEST(worker_eight_descriptors__come_back_in_their_order)
{
    echo_fds(LIBSPAWN__WORKER_FDS_MAX);
}

/* Covers W4. */
TEST(worker_nine_descriptors__are_refused_before_anything_is_sent)
{
    AUTO_WORKER_STORY struct worker_story story;
    const int fds[9] = { 0 };
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO,
                                                      .fds = fds,
                                                      .n_fds = 9 };
    struct libspawn_err err;

    worker_story_begin(&story, "trial");
    assert_code(libspawn__worker_request(story.worker, &request, &err),
                LIBSPAWN_ERR_LIMIT);
    ck_assert_int_eq(err.sys_errno, E2BIG);
    ck_assert(!libspawn__worker_is_running(story.worker));
}

static uint32_t
count_worker_fds(struct worker_story *story)
{
    size_t n = story->n_replies;
    uint32_t n_fds;

    worker_story_ask(story, TRIAL_COUNT_FDS, "");
    worker_story_await_replies(story, n + 1);
    memcpy(&n_fds, story->replies[n].data, sizeof n_fds);
    return n_fds;
}

/* Covers W5. */
TEST_TIMEOUT(worker_ten_thousand_round_trips__no_descriptor_is_left, 60)
{
    enum {
        N = 10000,
        AT_ONCE = 50
    };
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_request request = { .type = TRIAL_ECHO };
    struct counter counter = { 0 };
    const int fds[] = { STDIN_FILENO, STDOUT_FILENO };
    uint32_t n_there;
    size_t n_here;
    uint32_t i;

    worker_story_begin(&story, "trial");
    n_there = count_worker_fds(&story);
    n_here = harness_count_fds(0);
    request.fds = fds;
    request.n_fds = ARRAY_SIZE(fds);
    request.fn = count_reply; /* leaves them to the library */
    request.user = &counter;
    for (i = 0; i < N; i++) {
        assert_ok(libspawn__worker_request(story.worker, &request, NULL),
                  NULL);
        while (i - counter.n_replies >= AT_ONCE) {
            worker_story_turn(&story, WORKER_STORY_WAIT_MS);
        }
    }
    while (counter.n_replies < N) {
        worker_story_turn(&story, WORKER_STORY_WAIT_MS);
    }
    ck_assert_uint_eq(count_worker_fds(&story), n_there);
    ck_assert_uint_eq(harness_count_fds(0), n_here);
}

/* Covers W16. */
TEST(worker_passed_descriptor__is_close_on_exec_there_too)
{
    AUTO_WORKER_STORY struct worker_story story;
    int flags;

    worker_story_begin(&story, "trial");
    worker_story_ask_fd(&story, TRIAL_FD_FLAGS, STDOUT_FILENO, 0, true);
    worker_story_await_replies(&story, 1);
    memcpy(&flags, story.replies[0].data, sizeof flags);
    ck_assert_int_eq(flags, FD_CLOEXEC);
}

/* ---- Sizes ------------------------------------------------------------- */

static void
echo_bytes(struct worker_story *story, size_t size, size_t split)
{
    AUTO_FREE char *bytes = (char *)malloc(size + 1);
    AUTO_FREE char *data = NULL;
    struct worker_story_reply *reply = &story->replies[0];
    struct iovec iov[3];
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO,
                                                      .iov = iov,
                                                      .n_iov = 3 };
    size_t i;

    ck_assert_ptr_nonnull(bytes);
    for (i = 0; i < size; i++) {
        bytes[i] = (char)(i * 7 + size);
    }
    iov[0] = (struct iovec){ bytes, split };
    iov[1] = (struct iovec){ NULL, 0 };
    iov[2] = (struct iovec){ bytes + split, size - split };
    story->n_replies = 0;
    assert_ok(worker_story_try(story, request), NULL);
    worker_story_await_replies(story, 1);
    data = TAKE_PTR(reply->data);
    ck_assert_int_eq(reply->code, 0);
    ck_assert_uint_eq(reply->size, size);
    ck_assert(!memcmp(data, bytes, size));
    story->n_replies = 0;
}

/* Covers W17. */
TEST(worker_payload_of_any_size__comes_back_the_same)
{
    static const size_t sizes[] = { 0,     1,     2,     31,     32,
                                    33,    4095,  4096,  4097,   65535,
                                    65536, 65537, 99999, 200000, 1024 * 1024 };
    AUTO_WORKER_STORY struct worker_story story;
    size_t i;

    worker_story_begin(&story, "trial");
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        echo_bytes(&story, sizes[i], 0);
        echo_bytes(&story, sizes[i], sizes[i] / 3);
        echo_bytes(&story, sizes[i], sizes[i]);
    }
}

TEST(worker_payload_too_large__is_refused)
{
    AUTO_WORKER_STORY struct worker_story story;
    const struct iovec iov = { story.trace, LIBSPAWN__WORKER_SIZE_MAX + 1 };
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO,
                                                      .iov = &iov,
                                                      .n_iov = 1 };

    worker_story_begin(&story, "trial");
    assert_code(worker_story_try(&story, request), LIBSPAWN_ERR_LIMIT);
}

/* ---- A full queue ------------------------------------------------------ */

/* Covers W3. */
TEST(worker_queue_full__sender_is_told_and_all_is_done_later)
{
    AUTO_WORKER_STORY struct worker_story story;
    static char block[100000];
    const struct iovec iov = { block, sizeof block };
    struct libspawn__worker_request request = { .type = TRIAL_ECHO,
                                                .iov = &iov,
                                                .n_iov = 1 };
    struct counter counter = { 0 };
    uint32_t n = 0;
    int pipe_fds[2];

    worker_story_begin(&story, "trial");
    worker_story_pipe(pipe_fds);
    worker_story_ask_fd(&story, TRIAL_WAIT, pipe_fds[0], 0, true);
    request.fn = count_reply;
    request.user = &counter;
    while (!libspawn__worker_request(story.worker, &request, NULL)) {
        n++;
    }
    ck_assert_uint_ge(n, 4 * 1024 * 1024 / sizeof block - 1);
    assert_code(libspawn__worker_request(story.worker, &request, NULL),
                LIBSPAWN_ERR_BUSY);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    while (counter.n_replies < n) {
        worker_story_turn(&story, WORKER_STORY_WAIT_MS);
    }
    assert_ok(libspawn__worker_request(story.worker, &request, NULL), NULL);
    while (counter.n_replies < n + 1) {
        worker_story_turn(&story, WORKER_STORY_WAIT_MS);
    }
    ck_assert_uint_eq(story.n_replies, 1);
}

TEST(worker_busy__call_returns_at_once)
{
    AUTO_WORKER_STORY struct worker_story story;
    int64_t began_ms;
    int pipe_fds[2];
    int i;

    worker_story_begin(&story, "trial");
    worker_story_pipe(pipe_fds);
    worker_story_ask_fd(&story, TRIAL_WAIT, pipe_fds[0], 0, true);
    began_ms = libspawn__clock_now_ms();
    for (i = 0; i < 20; i++) {
        worker_story_ask(&story, TRIAL_ECHO, "more");
    }
    ck_assert_int_lt(libspawn__clock_now_ms() - began_ms, 20);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    worker_story_await_replies(&story, 21);
}

/* ---- From inside a reply ----------------------------------------------- */

struct nested {
    struct worker_story *story;
    int n_left;
};

static void
ask_again(struct libspawn__worker *worker,
          struct libspawn__worker_reply *reply, void *user)
{
    struct nested *nested = user;
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO,
                                                      .fn = ask_again,
                                                      .user = nested };

    ck_assert_int_eq(reply->code, 0);
    if (nested->n_left) {
        nested->n_left--;
        assert_ok(libspawn__worker_request(worker, &request, NULL), NULL);
    }
}

/* Covers W12. */
TEST(worker_request_from_a_reply__works)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct nested nested = { .story = &story, .n_left = 100 };
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO,
                                                      .fn = ask_again,
                                                      .user = &nested };

    worker_story_begin(&story, "trial");
    assert_ok(libspawn__worker_request(story.worker, &request, NULL), NULL);
    while (nested.n_left) {
        worker_story_turn(&story, WORKER_STORY_WAIT_MS);
    }
}

static void
free_worker(struct libspawn__worker *worker,
            struct libspawn__worker_reply *reply, void *user)
{
    struct worker_story *story = user;

    (void)reply;
    libspawn__worker_free(worker);
    story->worker = NULL;
}

TEST(worker_freed_from_a_reply__nothing_more_is_heard)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_request request = { .type = TRIAL_ECHO };

    worker_story_begin(&story, "trial");
    request.fn = free_worker;
    request.user = &story;
    assert_ok(libspawn__worker_request(story.worker, &request, NULL), NULL);
    worker_story_ask(&story, TRIAL_ECHO, "never heard");
    while (story.worker) {
        worker_story_turn(&story, WORKER_STORY_WAIT_MS);
    }
    worker_story_turn(&story, 0);
    ck_assert_uint_eq(story.n_replies, 0);
}

/* ---- The rule of replies ----------------------------------------------- */

/* Covers W6. */
TEST(worker_order__is_done_without_a_reply)
{
    AUTO_WORKER_STORY struct worker_story story;
    int pipe_fds[2];

    worker_story_begin(&story, "trial");
    worker_story_pipe(pipe_fds);
    close(pipe_fds[1]);
    worker_story_ask_fd(&story, TRIAL_WAIT, pipe_fds[0], 0, false);
    close(pipe_fds[0]);
    worker_story_ask(&story, TRIAL_ECHO, "behind it");
    worker_story_await_replies(&story, 1);
    ck_assert_str_eq(story.replies[0].data, "behind it");
    ck_assert_str_eq(story.trace, "");
}

/* Covers W6. */
TEST(worker_handler_forgets_to_reply__is_caught_and_told)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "trial");
    worker_story_ask(&story, TRIAL_FORGET, "");
    worker_story_ask(&story, TRIAL_ECHO, "goes on");
    worker_story_await_replies(&story, 2);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_PROTOCOL);
    assert_contains(story.replies[0].text, "'forget' owes a reply");
    ck_assert_str_eq(story.trace, "faulty");
    ck_assert_str_eq(story.replies[1].data, "goes on");
}

/* Covers W6. */
TEST(worker_handler_replies_unasked__is_caught_and_nothing_is_sent)
{
    AUTO_WORKER_STORY struct worker_story story;
    const struct libspawn__worker_request request = {
        .type = TRIAL_REPLY_ALWAYS
    };

    worker_story_begin(&story, "trial");
    assert_ok(libspawn__worker_request(story.worker, &request, NULL), NULL);
    worker_story_await(&story, "faulty");
    assert_contains(story.error, "'reply-always' replied though nobody asked");
    worker_story_ask(&story, TRIAL_REPLY_ALWAYS, "");
    worker_story_await_replies(&story, 1);
    ck_assert_int_eq(story.replies[0].code, 0);
}

TEST(worker_handler_fails__code_errno_and_sentence_come_back)
{
    AUTO_WORKER_STORY struct worker_story story;
    const struct libspawn__worker_request order = { .type = TRIAL_FAIL };

    worker_story_begin(&story, "trial");
    worker_story_ask(&story, TRIAL_FAIL, "");
    worker_story_await_replies(&story, 1);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_LIMIT);
    ck_assert_int_eq(story.replies[0].sys_errno, ENOSPC);
    assert_contains(story.replies[0].text, "doing as told: No space left");
    ck_assert_str_eq(story.trace, "");
    assert_ok(libspawn__worker_request(story.worker, &order, NULL), NULL);
    worker_story_await(&story, "unheard");
    assert_contains(story.error, "doing as told");
}

TEST(worker_unknown_type__is_refused_and_it_goes_on)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "trial");
    worker_story_ask(&story, 9999, "");
    worker_story_ask(&story, LIBSPAWN__WORKER_LOCK, ""); /* another class */
    worker_story_ask(&story, TRIAL_WAIT, "");            /* no descriptor */
    worker_story_ask(&story, TRIAL_ECHO, "fine");
    worker_story_await_replies(&story, 4);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_UNSUPPORTED);
    assert_code(story.replies[1].code, LIBSPAWN_ERR_UNSUPPORTED);
    assert_code(story.replies[2].code, LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(story.replies[3].data, "fine");
}

TEST_MAIN("worker")
