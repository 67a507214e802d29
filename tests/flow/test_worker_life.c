/*
 * proc/worker_life.c: workers that die, hang, cannot be killed or talk
 * rubbish, and those that come after them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "proc/exec.h"
#include "tests/flow/worker_story.h"

static void
kill_worker(const struct worker_story *story)
{
    libspawn__ctx_kill_watcher(story->ctx, story->worker->pid);
}

/* A pipe that TRIAL_WAIT waits on for ever. */
static void
ask_to_wait(struct worker_story *story, uint32_t limit_ms)
{
    int fds[2];

    worker_story_pipe(fds);
    worker_story_ask_fd(story, TRIAL_WAIT, fds[0], limit_ms, true);
    /* Another one holds the end that nobody writes to. */
    worker_story_ask_fd(story, TRIAL_WAIT, fds[1], 0, true);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Start and stop ---------------------------------------------------- */

TEST(worker_start__works_once)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "trial");
    ck_assert(!libspawn__worker_is_running(story.worker));
    assert_ok(libspawn__worker_start(story.worker, NULL), NULL);
    ck_assert(libspawn__worker_is_running(story.worker));
    assert_code(libspawn__worker_start(story.worker, NULL),
                LIBSPAWN_ERR_EXISTS);
    worker_story_ask(&story, TRIAL_ECHO, "one");
    worker_story_await_replies(&story, 1);
}

TEST(worker_program_missing__start_and_request_fail)
{
    AUTO_WORKER_STORY struct worker_story story;
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO };

    worker_story_begin(&story, "trial");
    free(story.worker->program);
    story.worker->program = strdup("/nonexistent/guest-worker");
    assert_code(libspawn__worker_start(story.worker, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_code(worker_story_try(&story, request), LIBSPAWN_ERR_NOT_FOUND);
    ck_assert(!libspawn__worker_is_running(story.worker));
}

TEST(worker_stop__comes_after_what_was_asked)
{
    AUTO_WORKER_STORY struct worker_story story;
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO };

    worker_story_begin(&story, "trial");
    worker_story_ask(&story, TRIAL_ECHO, "one");
    worker_story_ask(&story, TRIAL_ECHO, "two");
    libspawn__worker_stop(story.worker);
    assert_code(worker_story_try(&story, request), LIBSPAWN_ERR_GONE);
    worker_story_await(&story, "stopped");
    worker_story_await_replies(&story, 2);
    ck_assert_str_eq(story.replies[1].data, "two");
    ck_assert(!libspawn__worker_is_running(story.worker));
}

TEST(worker_never_started__stops_at_once)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "trial");
    libspawn__worker_stop(story.worker);
    ck_assert_str_eq(story.trace, ""); /* never inside the call */
    worker_story_await(&story, "stopped");
}

/* ---- Rest, and giving up ----------------------------------------------- */

TEST(worker_at_rest__is_gone_and_the_next_request_starts_another)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "trial");
    worker_story_ask(&story, TRIAL_ECHO, "one");
    libspawn__worker_rest(story.worker); /* not while it has work */
    ck_assert(libspawn__worker_is_running(story.worker));
    worker_story_await_replies(&story, 1);
    libspawn__worker_rest(story.worker);
    ck_assert(!libspawn__worker_is_running(story.worker));
    ck_assert(harness_wait_children(WORKER_STORY_WAIT_MS));
    worker_story_ask(&story, TRIAL_ECHO, "two");
    worker_story_await_replies(&story, 2);
    ck_assert_str_eq(story.replies[1].data, "two");
    ck_assert_str_eq(story.trace, ""); /* no death, and no replacement */
}

TEST(worker_canceled__all_ends_with_the_error_and_no_other_comes)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn_err err;
    size_t i;

    worker_story_begin(&story, "trial");
    ask_to_wait(&story, 0);
    worker_story_ask(&story, TRIAL_ECHO, "three");
    libspawn__fail(&err, LIBSPAWN_ERR_ABORTED, "enough");
    libspawn__worker_cancel(story.worker, &err);
    ck_assert_uint_eq(story.n_replies, 0); /* never inside the call */
    worker_story_await_replies(&story, 3);
    for (i = 0; i < 3; i++) {
        assert_code(story.replies[i].code, LIBSPAWN_ERR_ABORTED);
        assert_contains(story.replies[i].text, "enough");
    }
    ck_assert(harness_wait_children(WORKER_STORY_WAIT_MS));
    worker_story_ask(&story, TRIAL_ECHO, "four");
    worker_story_await_replies(&story, 4);
    ck_assert_str_eq(story.replies[3].data, "four");
    ck_assert_str_eq(story.trace, "killed");
}

/* ---- Death ------------------------------------------------------------- */

/* Covers W8. */
TEST(worker_killed__its_requests_fail_in_order_and_another_comes)
{
    AUTO_WORKER_STORY struct worker_story story;
    int64_t killed_ms;
    pid_t pid;
    size_t i;

    worker_story_begin(&story, "trial");
    ask_to_wait(&story, 0);
    worker_story_ask(&story, TRIAL_ECHO, "three");
    worker_story_ask(&story, TRIAL_ECHO, "four");
    pid = story.worker->pid;
    killed_ms = libspawn__clock_now_ms();
    kill_worker(&story);
    worker_story_await(&story, "died replaced");
    ck_assert_int_lt(libspawn__clock_now_ms() - killed_ms, 1000);
    ck_assert_int_ne(story.worker->pid, pid);
    ck_assert(libspawn__worker_is_running(story.worker));
    worker_story_ask(&story, TRIAL_ECHO, "five");
    worker_story_await_replies(&story, 5);
    for (i = 0; i < 4; i++) {
        assert_code(story.replies[i].code, LIBSPAWN_ERR_GONE);
    }
    ck_assert_str_eq(story.replies[4].data, "five");
}

/* Covers W8. */
TEST(worker_killed__is_not_running_until_it_is_replaced)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "trial");
    assert_ok(libspawn__worker_start(story.worker, NULL), NULL);
    kill_worker(&story);
    while (libspawn__worker_is_running(story.worker)) {
        worker_story_turn(&story, WORKER_STORY_WAIT_MS);
    }
    worker_story_await(&story, "died replaced");
    ck_assert(libspawn__worker_is_running(story.worker));
}

TEST(worker_dies_of_a_request__what_still_waited_is_done_by_the_next)
{
    static char block[200000];
    AUTO_WORKER_STORY struct worker_story story;
    const struct iovec iov = { block, sizeof block };
    const struct libspawn__worker_request large = { .type = TRIAL_ECHO,
                                                    .iov = &iov,
                                                    .n_iov = 1 };
    int i;

    worker_story_begin(&story, "trial");
    ask_to_wait(&story, 0);
    for (i = 0; i < 5; i++) {
        assert_ok(worker_story_try(&story, large), NULL);
    }
    kill_worker(&story);
    worker_story_await_replies(&story, 7);
    assert_code(story.replies[1].code, LIBSPAWN_ERR_GONE);
    assert_code(story.replies[6].code, LIBSPAWN_OK);
    ck_assert_uint_eq(story.replies[6].size, sizeof block);
}

TEST(worker_stopped_and_killed__what_is_left_fails_and_none_comes)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "trial");
    ask_to_wait(&story, 0);
    libspawn__worker_stop(story.worker);
    kill_worker(&story);
    worker_story_await(&story, "stopped");
    worker_story_await_replies(&story, 2);
    assert_code(story.replies[1].code, LIBSPAWN_ERR_GONE);
}

/* ---- Rubbish ----------------------------------------------------------- */

/* The worker says this instead of a reply. */
static void
let_say(struct worker_story *story, const void *bytes, size_t size)
{
    const struct iovec iov = { (void *)(uintptr_t)bytes, size };
    int fds[2];
    struct libspawn__worker_request request = {
        .type = TRIAL_SAY, .iov = &iov, .n_iov = 1, .fds = fds, .n_fds = 1
    };

    worker_story_pipe(fds);
    assert_ok(worker_story_try(story, request), NULL);
    worker_story_ask(story, TRIAL_ECHO, "sent as well");
    worker_story_await(story, "killed replaced");
    close(fds[0]);
    close(fds[1]);
    worker_story_ask(story, TRIAL_ECHO, "goes on");
    worker_story_await_replies(story, 3);
    assert_code(story->replies[0].code, LIBSPAWN_ERR_PROTOCOL);
    assert_code(story->replies[1].code, LIBSPAWN_ERR_PROTOCOL);
    ck_assert_str_eq(story->replies[2].data, "goes on");
}

static struct libspawn__worker_header
good_header(void)
{
    return (struct libspawn__worker_header){
        .magic = LIBSPAWN__WORKER_MAGIC,
        .kind = LIBSPAWN__WORKER_REPLY,
        .type = TRIAL_SAY,
        .sequence = 1,
    };
}

/* Covers W13. */
TEST(worker_says_rubbish__is_killed_and_replaced)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "trial");
    let_say(&story, "0123456789012345678901234567890123456789", 40);
    assert_contains(story.error, "this is none");
}

/* Covers W13. */
TEST(worker_claims_a_huge_length__is_killed_and_replaced)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_header header = good_header();

    worker_story_begin(&story, "trial");
    header.size = 0x20000000;
    let_say(&story, &header, sizeof header);
    assert_contains(story.error, "claims to have 536870912 bytes");
}

/* Covers W13. */
TEST(worker_claims_descriptors__is_killed_and_replaced)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_header header = good_header();

    worker_story_begin(&story, "trial");
    header.n_fds = 1;
    let_say(&story, &header, sizeof header);
    assert_contains(story.error, "claims to carry 1 descriptors, not 0");
}

/* Covers W13. */
TEST(worker_answers_another_request__is_killed_and_replaced)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_header header = good_header();

    worker_story_begin(&story, "trial");
    header.sequence = 2;
    let_say(&story, &header, sizeof header);
    assert_contains(story.error, "answers what was not asked");
}

/* Covers W13. */
TEST(worker_replies_with_a_positive_code__is_killed_and_replaced)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_header header = good_header();

    worker_story_begin(&story, "trial");
    header.code = EPROTO;
    let_say(&story, &header, sizeof header);
}

/* Covers W13. */
TEST(worker_hears_rubbish__its_last_words_are_passed_on)
{
    static const char rubbish[] = "0123456789012345678901234567890123456789";
    AUTO_WORKER_STORY struct worker_story story;
    int fds[2];

    worker_story_begin(&story, "trial");
    worker_story_pipe(fds);
    worker_story_ask_fd(&story, TRIAL_WAIT, fds[0], 0, true);
    ck_assert_int_eq(write(story.worker->fd, rubbish, sizeof rubbish),
                     sizeof rubbish);
    worker_story_ask(&story, TRIAL_ECHO, "not understood");
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    close(fds[0]);
    close(fds[1]);
    worker_story_await(&story, "died replaced");
    assert_contains(story.error, "gives up: reading a message: this is none");
    worker_story_await_replies(&story, 2);
    ck_assert_int_eq(story.replies[0].code, 0);
    assert_code(story.replies[1].code, LIBSPAWN_ERR_PROTOCOL);
}

/* Covers W8. */
TEST(worker_killed_within_a_reply__is_a_death_and_no_rubbish)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_header header = good_header();
    const struct iovec iov = { &header, 20 };
    int fds[2];
    const struct libspawn__worker_request request = {
        .type = TRIAL_SAY, .iov = &iov, .n_iov = 1, .fds = fds, .n_fds = 1
    };

    worker_story_begin(&story, "trial");
    worker_story_pipe(fds);
    assert_ok(worker_story_try(&story, request), NULL);
    while (story.worker->reader.size < 20) {
        worker_story_turn(&story, WORKER_STORY_WAIT_MS);
    }
    kill_worker(&story);
    worker_story_await(&story, "died replaced");
    worker_story_await_replies(&story, 1);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_GONE);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Limits ------------------------------------------------------------ */

/* Covers W10. */
TEST(worker_request_beyond_its_limit__next_worker_goes_on_behind_it)
{
    AUTO_WORKER_STORY struct worker_story story;
    int fds[2];

    worker_story_begin(&story, "trial");
    worker_story_pipe(fds);
    worker_story_ask(&story, TRIAL_ECHO, "before");
    worker_story_ask_fd(&story, TRIAL_WAIT, fds[0], 50, true);
    worker_story_ask(&story, TRIAL_ECHO, "behind");
    worker_story_ask_fd(&story, TRIAL_FD_FLAGS, fds[1], 0, true);
    worker_story_ask(&story, TRIAL_ECHO, "last");
    worker_story_await_replies(&story, 5);
    ck_assert_str_eq(story.trace, "killed replaced");
    ck_assert_str_eq(story.replies[0].data, "before");
    assert_code(story.replies[1].code, LIBSPAWN_ERR_TIMEOUT);
    ck_assert_int_eq(story.replies[1].sys_errno, ETIMEDOUT);
    assert_contains(story.replies[1].text, "still busy after 50 ms");
    ck_assert_str_eq(story.replies[2].data, "behind");
    assert_code(story.replies[3].code, LIBSPAWN_OK);
    ck_assert_str_eq(story.replies[4].data, "last");
    close(fds[0]);
    close(fds[1]);
}

/* Covers W10. */
TEST(worker_request_that_waits__has_its_whole_limit_from_its_turn)
{
    AUTO_WORKER_STORY struct worker_story story;
    int fds[2];

    worker_story_begin(&story, "trial");
    worker_story_pipe(fds);
    worker_story_ask_fd(&story, TRIAL_WAIT, fds[0], 20000, true);
    worker_story_ask_fd(&story, TRIAL_FD_FLAGS, fds[0], 1000, true);
    worker_story_turn(&story, 1300); /* nothing happens */
    ck_assert_uint_eq(story.n_replies, 0);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    worker_story_await_replies(&story, 2);
    ck_assert_str_eq(story.trace, "");
    close(fds[0]);
    close(fds[1]);
}

/* ---- Workers that cannot be killed ------------------------------------- */

/* The hook keeps a copy of each worker's end of the socket, so that its end
 * is not seen: as when it hangs in the kernel. */
struct keeper {
    const char *program;
    int fds[8];
    size_t n_fds;
};

static int
keep_and_start(void *user, const char *path, char *const argv[],
               char *const envp[], int fd, pid_t *pid_r)
{
    struct keeper *keeper = user;

    (void)envp;
    keeper->fds[keeper->n_fds++] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return libspawn__exec_spawn(path, argv, fd, pid_r);
}

static void
begin_unkillable(struct worker_story *story, struct keeper *keeper)
{
    const struct libspawn_hooks hooks = { .spawn = keep_and_start,
                                          .user = keeper };
    const struct libspawn__worker_options options = { .class = "trial",
                                                      .kill_ms = 20 };

    worker_story_begin_with(story, options, &hooks);
}

/* Covers W11. */
TEST(worker_cannot_be_killed__is_abandoned_and_another_comes)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct keeper keeper = { .n_fds = 0 };
    int fds[2];

    begin_unkillable(&story, &keeper);
    worker_story_pipe(fds);
    worker_story_ask_fd(&story, TRIAL_WAIT, fds[0], 10, true);
    worker_story_ask(&story, TRIAL_ECHO, "behind it");
    worker_story_await(&story, "killed abandoned replaced");
    worker_story_await_replies(&story, 2);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_TIMEOUT);
    ck_assert_str_eq(story.replies[1].data, "behind it");
    while (keeper.n_fds) {
        close(keeper.fds[--keeper.n_fds]);
    }
    close(fds[0]);
    close(fds[1]);
}

/* Covers W11. */
TEST(worker_three_abandoned__refuses_until_one_has_ended)
{
    AUTO_WORKER_STORY struct worker_story story;
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO };
    struct keeper keeper = { .n_fds = 0 };
    int fds[2];
    int i;

    begin_unkillable(&story, &keeper);
    worker_story_pipe(fds);
    for (i = 0; i < LIBSPAWN__WORKER_ABANDONED_MAX; i++) {
        worker_story_ask_fd(&story, TRIAL_WAIT, fds[0], 10, true);
    }
    worker_story_ask(&story, TRIAL_ECHO, "never done");
    worker_story_await(&story, "killed abandoned replaced "
                               "killed abandoned replaced "
                               "killed abandoned refuses");
    worker_story_await_replies(&story, 4);
    assert_code(story.replies[2].code, LIBSPAWN_ERR_TIMEOUT);
    assert_code(story.replies[3].code, LIBSPAWN_ERR_LIMIT);
    assert_code(worker_story_try(&story, request), LIBSPAWN_ERR_LIMIT);
    ck_assert(!libspawn__worker_is_running(story.worker));
    story.trace[0] = '\0';
    close(keeper.fds[1]);
    worker_story_await(&story, "replaced");
    worker_story_ask(&story, TRIAL_ECHO, "again");
    worker_story_await_replies(&story, 5);
    ck_assert_str_eq(story.replies[4].data, "again");
    close(keeper.fds[0]);
    close(keeper.fds[2]);
    close(keeper.fds[3]);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Too many deaths --------------------------------------------------- */

/* Covers W9. */
TEST_TIMEOUT(worker_dies_six_times__is_throttled_and_comes_back, 20)
{
    enum { WINDOW_MS = 60000 };
    const struct libspawn__worker_options options = {
        .class = "trial", .window_ms = worker_story_scaled(WINDOW_MS)
    };
    AUTO_WORKER_STORY struct worker_story story;
    const struct libspawn__worker_request request = { .type = TRIAL_ECHO };
    int64_t began_ms;
    int i;

    worker_story_begin_with(&story, options, NULL);
    began_ms = libspawn__clock_now_ms();
    assert_ok(libspawn__worker_start(story.worker, NULL), NULL);
    for (i = 1; i < LIBSPAWN__WORKER_DEATHS_MAX; i++) {
        story.trace[0] = '\0';
        kill_worker(&story);
        worker_story_await(&story, "died replaced");
    }
    story.trace[0] = '\0';
    kill_worker(&story);
    worker_story_await(&story, "died degraded");
    assert_contains(story.error, "6 workers 'trial' have died within");
    assert_code(worker_story_try(&story, request), LIBSPAWN_ERR_BUSY);
    ck_assert(!libspawn__worker_is_running(story.worker));
    while (!libspawn__worker_is_running(story.worker)) {
        worker_story_turn(&story, -1);
    }
    ck_assert_int_ge(libspawn__clock_now_ms() - began_ms, options.window_ms);
    worker_story_ask(&story, TRIAL_ECHO, "back");
    worker_story_await_replies(&story, 1);
    ck_assert_str_eq(story.replies[0].data, "back");
}

/* Covers W9. */
TEST(worker_cannot_be_started_again__what_waits_fails_soon)
{
    static char block[200000];
    const struct libspawn__worker_options options = { .class = "trial",
                                                      .window_ms = 600 };
    AUTO_WORKER_STORY struct worker_story story;
    const struct iovec iov = { block, sizeof block };
    const struct libspawn__worker_request large = { .type = TRIAL_ECHO,
                                                    .iov = &iov,
                                                    .n_iov = 1 };
    int i;

    worker_story_begin_with(&story, options, NULL);
    ask_to_wait(&story, 0);
    for (i = 0; i < 3; i++) {
        assert_ok(worker_story_try(&story, large), NULL);
    }
    story.worker->program[strlen(story.worker->program) - 1] = 'X';
    kill_worker(&story);
    worker_story_await(&story, "died died died died died died degraded");
    worker_story_await_replies(&story, 5);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_GONE);
    assert_code(story.replies[4].code, LIBSPAWN_ERR_BUSY);
}

TEST_MAIN("worker_life")
