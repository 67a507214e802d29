/*
 * tools/guest-worker/probe.c, program.c, script.c: what is asked of a worker
 * of class "probe".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/lock.h"
#include "proc/worker_calls.h"
#include "tests/flow/worker_story.h"

/* ---- Images ------------------------------------------------------------ */

static void
open_image(struct worker_story *story, const char *name, uint32_t flags)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/%s", harness_dir(), name);
    const struct libspawn__worker_hearer hearer = { worker_story_on_reply,
                                                    story };

    assert_ok(libspawn__worker_open_image(story->worker, path, flags, 0,
                                          &hearer, NULL),
              NULL);
}

TEST(image_opened_by_the_worker__is_the_same_file)
{
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_image image;
    struct stat st;

    worker_story_begin(&story, "probe");
    harness_write_file("disk", "0123456789");
    open_image(&story, "disk", LIBSPAWN__WORKER_IMAGE_WRITE);
    open_image(&story, "disk", 0);
    open_image(&story, "missing", 0);
    worker_story_await_replies(&story, 3);
    ck_assert_uint_eq(story.replies[0].size, sizeof image);
    memcpy(&image, story.replies[0].data, sizeof image);
    ck_assert_int_eq(stat("disk", &st), 0);
    ck_assert_uint_eq(image.size, 10);
    ck_assert_uint_eq(image.inode, st.st_ino);
    ck_assert_uint_eq(image.device, st.st_dev);
    ck_assert_uint_eq(image.mode, st.st_mode);
    ck_assert_int_eq(fcntl(story.replies[0].fds[0], F_GETFL) & O_ACCMODE,
                     O_RDWR);
    ck_assert_int_eq(fcntl(story.replies[1].fds[0], F_GETFL) & O_ACCMODE,
                     O_RDONLY);
    ck_assert_int_eq(fcntl(story.replies[0].fds[0], F_GETFD), FD_CLOEXEC);
    assert_code(story.replies[2].code, LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(story.replies[2].text, "missing': No such file");
}

/* Nobody who looks at a disk waits for the other end of a FIFO. */
TEST(image_that_is_no_file__is_only_looked_at)
{
    enum {
        LOOK = LIBSPAWN__WORKER_IMAGE_LOOK
    };
    AUTO_WORKER_STORY struct worker_story story;
    struct libspawn__worker_image image;

    worker_story_begin(&story, "probe");
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    harness_write_file("disk", "0123456789");
    open_image(&story, "fifo", LOOK);
    open_image(&story, "disk", LOOK | LIBSPAWN__WORKER_IMAGE_WRITE);
    open_image(&story, "disk", LIBSPAWN__WORKER_IMAGE_NAME);
    worker_story_await_replies(&story, 3);
    memcpy(&image, story.replies[0].data, sizeof image);
    ck_assert(S_ISFIFO(image.mode));
    ck_assert(fcntl(story.replies[0].fds[0], F_GETFL) & O_PATH);
    memcpy(&image, story.replies[1].data, sizeof image);
    ck_assert_uint_eq(image.head_size, 10);
    ck_assert_mem_eq(image.head, "0123456789", 10);
    ck_assert_int_eq(fcntl(story.replies[1].fds[0], F_GETFL) & O_ACCMODE,
                     O_RDWR);
    ck_assert(fcntl(story.replies[2].fds[0], F_GETFL) & O_PATH);
}

TEST(image_copied_by_the_worker__is_sealed_and_whole)
{
    AUTO_WORKER_STORY struct worker_story story;
    char text[16] = "";
    int fd;

    worker_story_begin(&story, "probe");
    harness_write_file("kernel", "0123456789");
    open_image(&story, "kernel",
               LIBSPAWN__WORKER_IMAGE_LOOK | LIBSPAWN__WORKER_IMAGE_COPY);
    worker_story_await_replies(&story, 1);
    fd = story.replies[0].fds[0];
    ck_assert_int_eq(pread(fd, text, sizeof text, 0), 10);
    ck_assert_str_eq(text, "0123456789");
    ck_assert_int_lt(write(fd, "x", 1), 0);
    ck_assert_int_eq(errno, EPERM);
}

static void
ask_info(struct worker_story *story, const char *tool, uint32_t limit_ms)
{
    AUTO_FD int fd = open("disk", O_RDONLY | O_CLOEXEC);
    const struct libspawn__worker_hearer hearer = { worker_story_on_reply,
                                                    story };

    ck_assert_int_ge(fd, 0);
    assert_ok(libspawn__worker_image_info(story->worker, fd, tool, limit_ms,
                                          &hearer, NULL),
              NULL);
}

TEST(image_info__is_what_qemu_img_says)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "probe");
    if (access("/usr/bin/qemu-img", X_OK) < 0) {
        TEST_SKIP("qemu-img is not installed");
    } else {
        AUTO_OUTPUT struct harness_output output = harness_run(
            "qemu-img", "create", "-q", "-f", "qcow2", "disk", "3M");

        ck_assert_int_eq(output.status, 0);
    }
    ask_info(&story, NULL, 0);
    worker_story_await_replies(&story, 1);
    ck_assert_int_eq(story.replies[0].code, 0);
    assert_contains(story.replies[0].data, "\"format\": \"qcow2\"");
    assert_contains(story.replies[0].data, "\"virtual-size\": 3145728");
}

static char *
write_script(const char *name, const char *text)
{
    char *path = libspawn__str_format("%s/%s", harness_dir(), name);

    ck_assert_ptr_nonnull(path);
    harness_write_file(name, text);
    ck_assert_int_eq(chmod(name, 0700), 0);
    return path;
}

TEST(image_info_fails_or_hangs__says_which)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *fails =
        write_script("fails", "#!/bin/sh\necho no image >&2\nexit 1\n");
    AUTO_FREE char *hangs = write_script("hangs", "#!/bin/sh\nsleep 1000\n");

    worker_story_begin(&story, "probe");
    harness_write_file("disk", "rubbish");
    ask_info(&story, fails, 0);
    ask_info(&story, hangs, 100);
    ask_info(&story, "/nonexistent/qemu-img", 0);
    worker_story_await_replies(&story, 3);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_CHILD);
    assert_contains(story.replies[0].text, "exited with status 1: no image");
    assert_code(story.replies[1].code, LIBSPAWN_ERR_TIMEOUT);
    assert_code(story.replies[2].code, LIBSPAWN_ERR_NOT_FOUND);
    ck_assert_str_eq(story.trace, "");
}

/* ---- Scripts ----------------------------------------------------------- */

static void
run_script(struct worker_story *story, const char *path, uint32_t limit_ms)
{
    const char *const argv[] = { "script", "two words", "", "$HOME", NULL };
    static const char *const env[] = { "XENBUS_PATH=backend/1", NULL };
    const struct libspawn__worker_program program = { .path = path,
                                                      .argv = argv,
                                                      .env = env,
                                                      .limit_ms = limit_ms };
    const struct libspawn__worker_hearer hearer = { worker_story_on_reply,
                                                    story };

    assert_ok(libspawn__worker_script(story->worker, &program, &hearer, NULL),
              NULL);
}

static struct libspawn__worker_ended
end_of(const struct worker_story *story, size_t i, const char **tail_r)
{
    const struct libspawn__worker_reply reply = {
        .data = story->replies[i].data, .size = story->replies[i].size
    };
    struct libspawn__worker_ended end;

    assert_ok(story->replies[i].code, NULL);
    assert_ok(libspawn__worker_read_end(&reply, &end, tail_r, NULL), NULL);
    return end;
}

TEST(script__has_exactly_its_arguments_environment_and_descriptors)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path = write_script(
        "script", "#!/bin/sh\n"
                  "for a; do echo \"<$a>\"; done\n"
                  "tr '\\0' '\\n' </proc/self/environ\n"
                  "echo fds: $(ls /proc/self/fd)\n"
                  "exit 3\n");
    struct libspawn__worker_ended end;
    const char *tail;

    worker_story_begin(&story, "probe");
    run_script(&story, path, 0);
    worker_story_await_replies(&story, 1);
    end = end_of(&story, 0, &tail);
    ck_assert(WIFEXITED(end.wait_status) && WEXITSTATUS(end.wait_status) == 3);
    ck_assert_uint_eq(end.is_late, 0);
    assert_contains(tail, "<two words>\n<>\n<$HOME>\n");
    assert_contains(tail, "XENBUS_PATH=backend/1\n");
    assert_lacks(tail, "HOME=");
    assert_contains(tail, "fds: 0 1 2 3\n"); /* 3: what ls opened */
}

TEST(script_missing__is_an_error_that_names_it)
{
    AUTO_WORKER_STORY struct worker_story story;

    worker_story_begin(&story, "probe");
    run_script(&story, "/nonexistent/script", 0);
    worker_story_await_replies(&story, 1);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(story.replies[0].text, "running '/nonexistent/script'");
}

TEST(script_killed_by_a_signal__says_which)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path =
        write_script("script", "#!/bin/sh\nkill -TERM $$\n");
    struct libspawn__worker_ended end;
    const char *tail;

    worker_story_begin(&story, "probe");
    run_script(&story, path, 0);
    worker_story_await_replies(&story, 1);
    end = end_of(&story, 0, &tail);
    ck_assert(WIFSIGNALED(end.wait_status));
    ck_assert_int_eq(WTERMSIG(end.wait_status), SIGTERM);
}

TEST(script_with_much_output__last_lines_come_back)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path =
        write_script("script", "#!/bin/sh\nseq 1 200000\n");
    const char *tail;

    worker_story_begin(&story, "probe");
    run_script(&story, path, 0);
    worker_story_await_replies(&story, 1);
    end_of(&story, 0, &tail);
    assert_contains(tail, "199981\n");
    assert_contains(tail, "\n200000\n");
    assert_lacks(tail, "199980\n");
}

/* Covers W10. */
TEST(script_that_cannot_even_begin__ends_at_the_limit)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path = write_script("script", "#!/bin/sh\n");
    AUTO_FD int gate = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, 0);
    struct libspawn__worker_ended end;
    const char *tail;

    worker_story_begin(&story, "probe");
    /* Whoever executes it waits for an answer that never comes, as on a disk
     * that is dead. */
    if (gate < 0 || fanotify_mark(gate, FAN_MARK_ADD, FAN_OPEN_EXEC_PERM,
                                  AT_FDCWD, path) < 0) {
        TEST_SKIP("no permission events here: %s", strerror(errno));
    }
    run_script(&story, path, 100);
    worker_story_await_replies(&story, 1);
    end = end_of(&story, 0, &tail);
    ck_assert_uint_eq(end.is_late, 1);
    ck_assert_str_eq(story.trace, "");
}

static bool
is_gone(void *user)
{
    AUTO_FREE char *text = harness_read_file(user);
    char *rest = text;
    bool are_gone = true;

    while (*rest) {
        pid_t pid = (pid_t)strtol(rest, &rest, 10);

        are_gone = are_gone && kill(pid, 0) < 0 && errno == ESRCH;
        rest += strspn(rest, " \n");
    }
    return are_gone;
}

/* Covers W10. */
TEST_TIMEOUT(script_beyond_its_limit__is_killed_with_all_it_started, 20)
{
    const uint32_t limit_ms = worker_story_scaled(LIBSPAWN__WORKER_SCRIPT_MS);
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path = write_script(
        "script", "#!/bin/sh\n"
                  "cd \"${0%/*}\"\n"
                  ": >pids\n"
                  "setsid sh -c 'echo $$ >>pids; sleep 1000' &\n"
                  "(trap '' TERM; (sleep 1001 & echo $! >>pids; wait)) &\n"
                  "echo started\n"
                  "while [ \"$(wc -l <pids)\" != 2 ]; do :; done\n"
                  "sleep 1002\n");
    struct libspawn__worker_ended end;
    int64_t began_ms;
    char pids[] = "pids";
    const char *tail;
    pid_t pid;

    worker_story_begin(&story, "probe");
    began_ms = libspawn__clock_now_ms();
    run_script(&story, path, limit_ms);
    pid = story.worker->pid;
    worker_story_await_replies(&story, 1);
    ck_assert_int_lt(libspawn__clock_now_ms() - began_ms,
                     (int64_t)limit_ms + 1500);
    end = end_of(&story, 0, &tail);
    ck_assert_uint_eq(end.is_late, 1);
    ck_assert_str_eq(tail, "started\n");
    ck_assert(harness_wait_until(is_gone, pids, WORKER_STORY_WAIT_MS));
    ck_assert_int_eq(story.worker->pid, pid); /* it goes on */
    ck_assert_str_eq(story.trace, "");
}

TEST(script_leaves_a_daemon__that_lives_and_holds_nobody_up)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path = write_script(
        "script", "#!/bin/sh\n"
                  "cd \"${0%/*}\"\n"
                  "sleep 1000 &\n"
                  "echo $! >pids\n");
    AUTO_FREE char *hangs = write_script("hangs", "#!/bin/sh\nsleep 1001\n");
    struct libspawn__worker_ended end;
    AUTO_FREE char *text = NULL;
    char pids[] = "pids";
    const char *tail;

    worker_story_begin(&story, "probe");
    run_script(&story, path, 0);
    run_script(&story, hangs, 50); /* which spares others */
    worker_story_await_replies(&story, 2);
    end = end_of(&story, 0, &tail);
    ck_assert_int_eq(end.wait_status, 0);
    end = end_of(&story, 1, &tail);
    ck_assert_uint_eq(end.is_late, 1);
    ck_assert(!is_gone(pids));
    text = harness_read_file(pids);
    ck_assert_int_eq(kill((pid_t)strtol(text, NULL, 10), SIGKILL), 0);
}

/* ---- Locks ------------------------------------------------------------- */

static void
ask_lock(struct worker_story *story, int fd, uint32_t limit_ms)
{
    const struct libspawn__worker_hearer hearer = { worker_story_on_reply,
                                                    story };

    assert_ok(
        libspawn__worker_lock(story->worker, fd, limit_ms, &hearer, NULL),
        NULL);
}

static const struct libspawn__lock_request lock_request = {
    .path = "lock", .name = "the lock", .rank = LIBSPAWN__LOCK_RANK_HOST
};

/* A process that has the lock until its pipe is closed. */
static pid_t
hold_lock(int hold_fds[2])
{
    int told[2];
    char byte;
    pid_t pid;

    worker_story_pipe(hold_fds);
    worker_story_pipe(told);
    pid = fork();
    if (!pid) {
        struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;

        close(hold_fds[1]);
        close(told[0]);
        if (!libspawn__lock_try(&lock_request, &lock, NULL) &&
            write(told[1], "x", 1) == 1) {
            _exit(read(hold_fds[0], &byte, 1) ? 1 : 0);
        }
        _exit(1);
    }
    close(told[1]);
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    close(told[0]);
    close(hold_fds[0]);
    return pid;
}

TEST(lock_waited_for_by_the_worker__is_ours)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    AUTO_FD int fd = -1;
    int hold_fds[2];
    pid_t pid = hold_lock(hold_fds);

    worker_story_begin(&story, "probe");
    assert_ok(libspawn__lock_open("lock", &fd, NULL), NULL);
    ask_lock(&story, fd, 5000);
    worker_story_turn(&story, 50);
    ck_assert_uint_eq(story.n_replies, 0);
    close(hold_fds[1]);
    worker_story_await_replies(&story, 1);
    ck_assert_int_eq(story.replies[0].code, 0);
    assert_ok(libspawn__lock_claim(&lock_request, &fd, &lock, NULL), NULL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

TEST(lock_held_by_another__ends_at_the_limit)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FD int fd = -1;
    int hold_fds[2];
    pid_t pid = hold_lock(hold_fds);

    worker_story_begin(&story, "probe");
    assert_ok(libspawn__lock_open("lock", &fd, NULL), NULL);
    ask_lock(&story, fd, 100);
    worker_story_await_replies(&story, 1);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_TIMEOUT);
    worker_story_await(&story, "killed replaced");
    close(hold_fds[1]);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* ---- Latency ----------------------------------------------------------- */

struct ticker {
    struct libspawn__timer timer;
    int64_t queued_ms; /* at the tick before */
    int64_t longest_ms;
    int n_ticks;
};

/* How long this process could have run but others did: not our delay. */
static int64_t
time_in_queue_ms(void)
{
    AUTO_FREE char *text = harness_read_file("/proc/thread-self/schedstat");
    const char *second = strchr(text, ' ');

    return second ? strtoll(second, NULL, 10) / 1000000 : 0;
}

static void
on_tick(struct libspawn__timer *timer)
{
    struct ticker *ticker = CONTAINER_OF(timer, struct ticker, timer);
    int64_t now_ms = libspawn__clock_now_ms();
    int64_t queued_ms = time_in_queue_ms();
    int64_t late_ms = now_ms - timer->at_ms - (queued_ms - ticker->queued_ms);

    ticker->longest_ms = MAX(ticker->longest_ms, late_ms);
    ticker->queued_ms = queued_ms;
    ticker->n_ticks++;
    libspawn__timer_set(timer, now_ms + 10);
}

/* Covers W2. */
TEST_TIMEOUT(image_that_hangs__leaves_the_loop_and_other_workers_quick, 20)
{
    enum { HANG_MS = 10000 };
    const struct libspawn__worker_options io = { .class = "io" };
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_WORKER_STORY struct worker_story other;
    AUTO_FD int log_fd = open("log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    AUTO_FD int writer = -1;
    struct ticker ticker = { .longest_ms = 0 };
    char text[] = "line\n";
    const struct iovec line = { text, strlen(text) };
    const struct libspawn__worker_hearer hearer = { worker_story_on_reply,
                                                    &other };
    int64_t end_ms;

    worker_story_begin(&story, "probe");
    worker_story_begin_with(&other, io, NULL);
    ck_assert_int_eq(mkfifo("disk", 0600), 0);
    open_image(&story, "disk", 0);
    libspawn__timer_init(story.ctx->loop, &ticker.timer, on_tick);
    ticker.queued_ms = time_in_queue_ms();
    libspawn__timer_set(&ticker.timer, libspawn__clock_now_ms());
    end_ms = libspawn__clock_now_ms() + MAX(worker_story_scaled(HANG_MS), 500);
    while (libspawn__clock_now_ms() < end_ms) {
        worker_story_turn(&story, 20);
        assert_ok(libspawn__worker_append(other.worker, log_fd, &line, false,
                                          &hearer, NULL),
                  NULL);
        worker_story_turn(&other, 1000);
    }
    libspawn__timer_cancel(&ticker.timer);
    ck_assert_int_lt(ticker.longest_ms, 50);
    ck_assert_int_gt(ticker.n_ticks, 20);
    ck_assert_uint_gt(other.n_replies, 10);
    ck_assert_uint_eq(story.n_replies, 0);
    writer = open("disk", O_WRONLY | O_CLOEXEC);
    worker_story_await_replies(&story, 1);
    ck_assert_int_eq(story.replies[0].code, 0);
    libspawn__worker_free(TAKE_PTR(story.worker));
}

TEST_MAIN("worker_probe")
