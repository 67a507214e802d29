/*
 * tools/guest-worker/io.c and the summary of a core: what is asked of a worker
 * of class "io".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "proc/worker_calls.h"
#include "tests/flow/worker_story.h"

static int
open_log(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static void
append(struct worker_story *story, int fd, const char *text, bool sync,
       bool replies)
{
    const struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
    const struct libspawn__worker_hearer hearer = {
        replies ? worker_story_on_reply : NULL, story
    };
    struct libspawn_err err;

    assert_ok(libspawn__worker_append(story->worker, fd, &iov, sync, &hearer,
                                      &err),
              &err);
}

TEST(io_append__bytes_are_in_the_file_in_their_order)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *text = NULL;
    AUTO_FD int fd = open_log("log");

    worker_story_begin(&story, "io");
    append(&story, fd, "one\n", false, false);
    append(&story, fd, "two\n", true, true);
    append(&story, fd, "", true, true);
    worker_story_await_replies(&story, 2);
    ck_assert_int_eq(story.replies[0].code, 0);
    text = harness_read_file("log");
    ck_assert_str_eq(text, "one\ntwo\n");
}

TEST(io_disk_full__comes_back_as_enospc)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FD int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    worker_story_begin(&story, "io");
    append(&story, fd, "lost\n", false, true);
    append(&story, fd, "lost\n", false, false);
    worker_story_await_replies(&story, 1);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_LIMIT);
    ck_assert_int_eq(story.replies[0].sys_errno, ENOSPC);
    worker_story_await(&story, "unheard");
}

static void
rotate(struct worker_story *story, const char *path, uint32_t n_old)
{
    const struct libspawn__worker_hearer hearer = { worker_story_on_reply,
                                                    story };
    struct libspawn_err err;

    assert_ok(libspawn__worker_rotate(story->worker, path, n_old, 0640,
                                      &hearer, &err),
              &err);
}

TEST(io_rotate__older_ones_move_up_and_a_new_file_comes_back)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path =
        libspawn__str_format("%s/log", harness_dir());
    AUTO_FREE char *first = NULL;
    AUTO_FREE char *second = NULL;
    AUTO_FD int fd = open_log("log");
    struct stat st;

    worker_story_begin(&story, "io");
    harness_write_file("log.1", "older\n");
    harness_write_file("log.2", "oldest\n");
    append(&story, fd, "last line\n", false, false);
    rotate(&story, path, 2);
    worker_story_await_replies(&story, 1);
    ck_assert_int_eq(story.replies[0].code, 0);
    first = harness_read_file("log.1");
    second = harness_read_file("log.2");
    ck_assert_str_eq(first, "last line\n");
    ck_assert_str_eq(second, "older\n");
    ck_assert_int_eq(fstat(story.replies[0].fds[0], &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_int_eq(st.st_size, 0);
    ck_assert_int_ne(access("log.3", F_OK), 0);
    append(&story, story.replies[0].fds[0], "new\n", false, true);
    worker_story_await_replies(&story, 2);
    free(TAKE_PTR(first));
    first = harness_read_file("log");
    ck_assert_str_eq(first, "new\n");
}

TEST(io_rotate_without_old_ones__removes_and_begins_anew)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *path =
        libspawn__str_format("%s/log", harness_dir());
    AUTO_FREE char *text = NULL;

    worker_story_begin(&story, "io");
    harness_write_file("log", "old\n");
    rotate(&story, path, 0);
    rotate(&story, "/nonexistent/log", 1);
    worker_story_await_replies(&story, 2);
    ck_assert_int_eq(story.replies[0].code, 0);
    assert_code(story.replies[1].code, LIBSPAWN_ERR_NOT_FOUND);
    text = harness_read_file("log");
    ck_assert_str_eq(text, "");
}

TEST(io_worker__runs_no_scripts)
{
    static const char *const argv[] = { "true", NULL };
    AUTO_WORKER_STORY struct worker_story story;
    const struct libspawn__worker_program program = { .path = "/bin/true",
                                                      .argv = argv };
    const struct libspawn__worker_hearer hearer = { worker_story_on_reply,
                                                    &story };

    worker_story_begin(&story, "io");
    assert_ok(libspawn__worker_script(story.worker, &program, &hearer, NULL),
              NULL);
    worker_story_await_replies(&story, 1);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_UNSUPPORTED);
}

/* ---- Summaries of cores ------------------------------------------------ */

static void
summarize(struct worker_story *story, const char *debugger, const char *core,
          const char *program, uint32_t limit_ms)
{
    AUTO_FD int fd = open_log("log");
    const struct libspawn__worker_core request = { .debugger = debugger,
                                                   .core = core,
                                                   .program = program,
                                                   .output_fd = fd,
                                                   .limit_ms = limit_ms };
    const struct libspawn__worker_hearer hearer = { worker_story_on_reply,
                                                    story };
    size_t n = story->n_replies;

    assert_ok(libspawn__worker_post_mortem(story->worker, &request, &hearer,
                                           NULL),
              NULL);
    worker_story_await_replies(story, n + 1);
}

/* Covers F11. */
TEST(post_mortem_without_a_debugger__one_line_says_so)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *text = NULL;

    worker_story_begin(&story, "io");
    summarize(&story, "/nonexistent/gdb", "core", "/bin/true", 0);
    assert_code(story.replies[0].code, LIBSPAWN_ERR_NOT_FOUND);
    text = harness_read_file("log");
    ck_assert_str_eq(text, "no summary of the core 'core': running "
                           "'/nonexistent/gdb' (step exec): No such file or "
                           "directory\n");
}

static void
write_script(const char *name, const char *text)
{
    harness_write_file(name, text);
    ck_assert_int_eq(chmod(name, 0700), 0);
}

/* Covers F11. */
TEST(post_mortem_debugger_hangs__is_ended_and_what_it_said_is_kept)
{
    const uint32_t limit_ms = worker_story_scaled(LIBSPAWN__WORKER_CORE_MS);
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *debugger =
        libspawn__str_format("%s/gdb", harness_dir());
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *last = NULL;

    worker_story_begin(&story, "io");
    write_script("gdb", "#!/bin/sh\necho \"$@\"\nsleep 1000\n");
    summarize(&story, debugger, "core", "/bin/true", limit_ms);
    ck_assert_int_eq(story.replies[0].code, 0);
    text = harness_read_file("log");
    last = libspawn__str_format("did not end within %u ms\n", limit_ms);
    assert_contains(text, "-nx -batch -iex set auto-load off");
    assert_contains(text, "--core=core /bin/true");
    assert_contains(text, last);
}

/* Covers F11. */
TEST_TIMEOUT(post_mortem_of_a_real_core__names_where_it_crashed, 60)
{
    AUTO_WORKER_STORY struct worker_story story;
    AUTO_FREE char *core = libspawn__str_format("%s/core", harness_dir());
    AUTO_FREE char *text = NULL;
    AUTO_OUTPUT struct harness_output output = harness_run(
        "gdb", "-nx", "-batch", "-ex", "starti", "-ex",
        "generate-core-file core", "/bin/true");

    worker_story_begin(&story, "io");
    if (access("core", F_OK) < 0) {
        TEST_SKIP("gdb makes no core file here: %s", output.err);
    }
    summarize(&story, NULL, core, "/bin/true", 0);
    ck_assert_int_eq(story.replies[0].code, 0);
    text = harness_read_file("log");
    assert_contains(text, "#0 ");
}

TEST_MAIN("worker_io")
