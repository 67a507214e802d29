/*
 * The worker as a process: what it is called, what it has, how it ends, and
 * what becomes of it when the main process dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/exec.h"
#include "proc/worker_calls.h"
#include "tests/flow/worker_story.h"
#include "wire/stream.h"

/* ---- A worker of our own, by its socket -------------------------------- */

struct bare {
    int fd; /* ours */
    pid_t pid;
};

static struct bare
start_bare(const char *class)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/guest-worker", harness_build_dir());
    char name[] = "guest-worker";
    char *argv[] = { name, (char *)(uintptr_t)class, NULL };
    struct bare bare;
    int fds[2];

    assert_ok(libspawn__stream_pair_of_bytes(fds, NULL), NULL);
    ck_assert_int_eq(libspawn__exec_spawn(path, argv, fds[1], &bare.pid), 0);
    close(fds[1]);
    bare.fd = fds[0];
    return bare;
}

/* Closes our end; its wait status. */
static int
end_bare(struct bare *bare)
{
    int status;

    close(bare->fd);
    ck_assert_int_eq(waitpid(bare->pid, &status, 0), bare->pid);
    return status;
}

static void
send_append(const struct bare *bare, uint64_t sequence, int fd,
            const char *text)
{
    struct libspawn__worker_append append = { .sync = 0 };
    AUTO_BUF struct libspawn__buf payload = { .data = NULL };
    struct libspawn__worker_header header = {
        .magic = LIBSPAWN__WORKER_MAGIC,
        .kind = LIBSPAWN__WORKER_ORDER,
        .type = LIBSPAWN__WORKER_APPEND,
        .sequence = sequence,
        .n_fds = 1,
    };

    libspawn__buf_append(&payload, &append, sizeof append);
    libspawn__buf_puts(&payload, text);
    header.size = (uint32_t)payload.size;
    ck_assert_int_eq(
        libspawn__worker_send(bare->fd, &header, payload.data, &fd), 0);
}

/* Covers W7. */
TEST(worker_main_is_gone__what_was_sent_is_done_and_it_exits_with_0)
{
    enum { N = 100 };
    AUTO_FD int fd = open("log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    AUTO_BUF struct libspawn__buf expected = { .data = NULL };
    AUTO_FREE char *text = NULL;
    struct bare bare = start_bare("io");
    int i;

    for (i = 1; i <= N; i++) {
        char line[32];

        snprintf(line, sizeof line, "line %d\n", i);
        libspawn__buf_puts(&expected, line);
        send_append(&bare, (uint64_t)i, fd, line);
    }
    ck_assert_int_eq(end_bare(&bare), 0);
    text = harness_read_file("log");
    ck_assert_str_eq(text, expected.data);
}

/* Covers W7. */
TEST(worker_stream_ends_within_a_message__exits_with_1)
{
    AUTO_FD int fd = open("log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    AUTO_FREE char *text = NULL;
    struct bare bare = start_bare("io");
    struct libspawn__worker_header header = {
        .magic = LIBSPAWN__WORKER_MAGIC,
        .kind = LIBSPAWN__WORKER_ORDER,
        .size = 10,
    };
    int status;

    send_append(&bare, 1, fd, "before\n");
    ck_assert_int_eq(write(bare.fd, &header, sizeof header), sizeof header);
    status = end_bare(&bare);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    text = harness_read_file("log");
    ck_assert_str_eq(text, "before\n");
}

/* What it says before it leaves because of these bytes. */
static void
expect_complaint(const void *bytes, size_t size, const char *part)
{
    AUTO_WORKER_MESSAGE struct libspawn__worker_message message = {
        .data = NULL
    };
    struct libspawn__worker_reader reader = { .size = 0 };
    struct bare bare = start_bare("io");
    struct libspawn_err err;
    int status;

    ck_assert_int_eq(libspawn__fd_write_full(bare.fd, bytes, size), 0);
    ck_assert_int_eq(
        libspawn__worker_reader_read(&reader, bare.fd, &message, &err), 1);
    ck_assert_uint_eq(message.header.kind, LIBSPAWN__WORKER_COMPLAINT);
    assert_code(message.header.code, LIBSPAWN_ERR_PROTOCOL);
    assert_contains(message.data, part);
    status = end_bare(&bare);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

/* Covers W13. */
TEST(worker_hears_rubbish__complains_and_exits)
{
    const struct libspawn__worker_header header = {
        .magic = LIBSPAWN__WORKER_MAGIC,
        .kind = LIBSPAWN__WORKER_ORDER,
        .size = 0x20000000,
    };
    struct libspawn__worker_header reply = header;

    expect_complaint("text that is longer than a header ", 32, "this is none");
    expect_complaint(&header, sizeof header, "claims to have 536870912");
    reply.size = 0;
    reply.kind = LIBSPAWN__WORKER_REPLY;
    reply.sequence = 1;
    expect_complaint(&reply, sizeof reply, "makes no sense");
    reply.kind = LIBSPAWN__WORKER_ORDER;
    reply.sequence = 0;
    expect_complaint(&reply, sizeof reply, "makes no sense");
}

/* ---- A main process that dies ------------------------------------------ */

/* Fills the pipe, so that appending to it blocks. */
static void
fill_pipe(int fd)
{
    char block[4096] = { 0 };

    assert_ok(libspawn__fd_set_nonblocking(fd, true, NULL), NULL);
    while (write(fd, block, sizeof block) > 0) {
    }
    assert_ok(libspawn__fd_set_nonblocking(fd, false, NULL), NULL);
}

/* In another process: a worker that hangs, and a hundred lines behind that;
 * tells by 'told_fd', and waits. */
static void
be_main(int full_fd, int told_fd)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/guest-worker", harness_build_dir());
    const struct libspawn__worker_options options = {
        .program = path, .class = "io", .guest = "tale"
    };
    struct libspawn__worker *worker = NULL;
    struct libspawn_ctx *ctx = NULL;
    int fd = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char text[32] = "x";
    struct iovec line = { text, 1 };
    int rc = libspawn_ctx_new(NULL, &ctx, NULL);
    int i;

    if (!rc) {
        rc = libspawn__worker_new(ctx, &options, &worker, NULL);
    }
    if (!rc) {
        rc = libspawn__worker_append(worker, full_fd, &line, false, NULL,
                                     NULL);
    }
    for (i = 1; !rc && i <= 100; i++) {
        line.iov_len = (size_t)snprintf(text, sizeof text, "line %d\n", i);
        rc = libspawn__worker_append(worker, fd, &line, false, NULL, NULL);
    }
    if (write(told_fd, rc ? "n" : "y", 1) == 1) {
        for (;;) {
            pause();
        }
    }
    _exit(1);
}

/* Covers W7. */
TEST(worker_main_is_killed__a_hundred_queued_lines_reach_the_file)
{
    AUTO_FREE char *text = NULL;
    char byte = 'n';
    int full[2];
    int told[2];
    pid_t pid;

    worker_story_pipe(full);
    worker_story_pipe(told);
    fill_pipe(full[1]);
    pid = fork();
    if (!pid) {
        be_main(full[1], told[1]);
    }
    ck_assert(harness_wait_readable(told[0], WORKER_STORY_WAIT_MS));
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    close(full[1]);
    while (read(full[0], &byte, 1) == 1) {
    }
    ck_assert(harness_wait_children(WORKER_STORY_WAIT_MS));
    text = harness_read_file("log");
    assert_contains(text, "line 1\nline 2\n");
    assert_contains(text, "line 99\nline 100\n");
    ck_assert_int_ne(access("core", F_OK), 0);
    close(full[0]);
    close(told[0]);
    close(told[1]);
}

/* In another process, as a daemon that starts up: 'ready_fd' is open on exec,
 * and the worker is busy when the start fails. */
static void
fail_start(int ready_fd, int wait_fd)
{
    AUTO_FREE char *path = libspawn__str_format(
        "%s/tests/fake/trial_worker", harness_build_dir());
    const struct libspawn__worker_options options = {
        .program = path, .class = "trial", .guest = "tale"
    };
    const struct libspawn__worker_request request = { .type = TRIAL_WAIT,
                                                      .fds = &wait_fd,
                                                      .n_fds = 1 };
    struct libspawn__worker *worker;
    struct libspawn_ctx *ctx;

    fcntl(ready_fd, F_SETFD, 0);
    _exit(!libspawn_ctx_new(NULL, &ctx, NULL) &&
                  !libspawn__worker_new(ctx, &options, &worker, NULL) &&
                  !libspawn__worker_request(worker, &request, NULL)
              ? 37
              : 1);
}

/* Covers W15, D18. */
TEST(worker_busy_while_the_start_fails__caller_knows_at_once)
{
    struct pollfd pollfd;
    char byte;
    int ready[2];
    int wait[2];
    int status;
    pid_t pid;

    worker_story_pipe(ready);
    worker_story_pipe(wait);
    pid = fork();
    if (!pid) {
        fail_start(ready[1], wait[0]);
    }
    close(ready[1]);
    close(wait[0]);
    ck_assert(harness_wait_readable(ready[0], WORKER_STORY_WAIT_MS));
    ck_assert_int_eq(read(ready[0], &byte, 1), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 37);
    /* The worker waits still: somebody has the other end. */
    pollfd = (struct pollfd){ .fd = wait[1], .events = 0 };
    ck_assert_int_eq(poll(&pollfd, 1, 0), 0);
    close(ready[0]);
    close(wait[1]);
    ck_assert(harness_wait_children(WORKER_STORY_WAIT_MS));
}

/* ---- What it has ------------------------------------------------------- */

/* Covers W1. */
TEST(worker_process__says_whose_it_is)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *expected = NULL;
    char text[256] = { 0 };
    AUTO_FD int fd = -1;
    ssize_t i;
    ssize_t n;

    worker_story_begin(&story, "trial");
    worker_story_ask(&story, TRIAL_ECHO, "");
    worker_story_await_replies(&story, 1);
    path = libspawn__str_format("/proc/%d/cmdline", (int)story.worker->pid);
    expected = libspawn__str_format(
        "guest-worker trial of guest tale (pid %d)", (int)getpid());
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = read(fd, text, sizeof text - 1);
    for (i = 0; i < n - 1; i++) {
        text[i] = text[i] ? text[i] : ' ';
    }
    ck_assert_str_eq(text, expected);
}

TEST(worker_process__has_four_descriptors)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FD int other = open("/dev/null", O_RDONLY); /* not close-on-exec */
    uint32_t n_fds;

    worker_story_begin(&story, "trial");
    worker_story_ask(&story, TRIAL_COUNT_FDS, "");
    worker_story_await_replies(&story, 1);
    memcpy(&n_fds, story.replies[0].data, sizeof n_fds);
    ck_assert_uint_eq(n_fds, 4);
}

/* Covers W14. */
TEST(worker_dies_or_ends__removes_nothing_of_the_main_process)
{
    static const char *const files[] = { "pidfile", "core", "socket" };
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FD int listener = -1;
    AUTO_FD int client = -1;
    size_t i;

    harness_write_file("pidfile", "1\n");
    harness_write_file("core", "core\n");
    assert_ok(libspawn__stream_listen("punix:socket", 0600, &listener, NULL),
              NULL);
    worker_story_begin(&story, "trial");
    worker_story_ask(&story, TRIAL_DIE, "");
    worker_story_await(&story, "died replaced");
    libspawn__worker_stop(story.worker);
    worker_story_await(&story, "died replaced stopped");
    for (i = 0; i < ARRAY_SIZE(files); i++) {
        ck_assert_int_eq(access(files[i], F_OK), 0);
    }
    assert_ok(libspawn__stream_connect("unix:socket", &client, NULL), NULL);
}

/* Covers W16. */
TEST(worker_passed_back__descriptor_does_not_reach_other_children)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FD int fd = open("disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    worker_story_begin(&story, "trial");
    worker_story_ask_fd(&story, TRIAL_ECHO, fd, 0, true);
    worker_story_await_replies(&story, 1);
    ck_assert_uint_eq(story.replies[0].n_fds, 1);
    {
        AUTO_OUTPUT struct harness_output output =
            harness_run("ls", "-l", "/proc/self/fd");

        assert_lacks(output.out, "disk");
    }
}

/* ---- By hand ----------------------------------------------------------- */

TEST(guest_worker_by_hand__explains_itself)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/guest-worker", harness_build_dir());
    AUTO_OUTPUT struct harness_output bare = harness_run(path);
    AUTO_OUTPUT struct harness_output help = harness_run(path, "--help");
    AUTO_OUTPUT struct harness_output version = harness_run(path, "--version");

    ck_assert_int_eq(bare.status, 2);
    assert_contains(bare.err, "usage: guest-worker CLASS");
    ck_assert_int_eq(help.status, 0);
    assert_contains(help.out, "see guest-worker(8)");
    ck_assert_int_eq(version.status, 0);
    assert_contains(version.out, "guest-worker " LIBSPAWN_VERSION);
}

TEST_MAIN("worker_process")
