/*
 * proc/worker.c: requests and replies, with a worker in a process of its own.
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

TEST_MAIN("worker")
