#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"

enum { MAX_FILE_SIZE = 16 << 20, MAX_OUTPUT_SIZE = 1 << 20 };

extern char **environ;

/* ---- Assertions -------------------------------------------------------- */

void
harness_assert_code(const char *file, int line, const char *expression, int rc,
                    int expected, const struct libspawn_err *err)
{
    if (rc == expected) {
        _mark_point(file, line);
        return;
    }
    _ck_assert_failed(file, line, expression,
                      "'%s' is %s (%d), not %s (%d)%s%s", expression,
                      libspawn_code_name(rc), rc, libspawn_code_name(expected),
                      expected, rc && err ? ": " : "",
                      rc && err ? err->text : "");
}

void
harness_assert_contains(const char *file, int line, const char *text,
                        const char *part, bool expected)
{
    if (text && !strstr(text, part) == !expected) {
        _mark_point(file, line);
        return;
    }
    _ck_assert_failed(file, line, part, "expected %s '%s' in:\n%s",
                      expected ? "to find" : "not to find", part,
                      text ? text : "(null)");
}

/* ---- Waiting ----------------------------------------------------------- */

bool
harness_wait_until(harness_predicate_fn *predicate, void *user,
                   int deadline_ms)
{
    enum { MAX_PAUSE_MS = 20 };
    int64_t deadline = libspawn__clock_now_ms() + deadline_ms;
    int pause_ms = 1;

    while (!predicate(user)) {
        int64_t left = deadline - libspawn__clock_now_ms();

        if (left <= 0) {
            return false;
        }
        poll(NULL, 0, (int)MIN(pause_ms, left));
        pause_ms = MIN(2 * pause_ms, MAX_PAUSE_MS);
    }
    return true;
}

bool
harness_wait_readable(int fd, int deadline_ms)
{
    int64_t deadline = libspawn__clock_now_ms() + deadline_ms;
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    int r;

    do {
        int64_t left = MAX(deadline - libspawn__clock_now_ms(), 0);

        r = poll(&pollfd, 1, (int)left);
    } while (r < 0 && errno == EINTR);
    return r > 0;
}

int64_t
harness_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int
compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int64_t
harness_median(int64_t *times, size_t n)
{
    qsort(times, n, sizeof *times, compare_times);
    return times[n / 2];
}

/* ---- Files ------------------------------------------------------------- */

char *
harness_read_file(const char *path)
{
    struct libspawn_err err;
    char *text = NULL;

    assert_ok(libspawn__file_read(path, MAX_FILE_SIZE, &text, NULL, &err),
              &err);
    return text;
}

void
harness_write_file(const char *path, const char *text)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                          0644);

    ck_assert_msg(fd >= 0, "opening '%s': %s", path, strerror(errno));
    ck_assert_int_eq(libspawn__fd_write_full(fd, text, strlen(text)), 0);
}

long
harness_file_size(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? -1 : (long)st.st_size;
}

size_t
harness_count_fds(pid_t pid)
{
    AUTO_FREE char *path =
        libspawn__str_format("/proc/%d/fd", pid ? (int)pid : (int)getpid());
    AUTO_DIR DIR *dir = opendir(path);
    struct dirent *entry;
    size_t n = 0;

    ck_assert_msg(dir != NULL, "opening '%s': %s", path, strerror(errno));
    while ((entry = readdir(dir))) {
        n += entry->d_name[0] != '.';
    }
    /* The one with which we looked is not counted. */
    return pid && pid != getpid() ? n : n - 1;
}

/* ---- Running a program ------------------------------------------------- */

void
harness_output_dispose(struct harness_output *output)
{
    libspawn__auto_free(&output->out);
    libspawn__auto_free(&output->err);
    output->out = NULL;
    output->err = NULL;
}

static pid_t
spawn_with_pipes(const char *const argv[], int out, int err)
{
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    int r;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    r = posix_spawnp(&pid, argv[0], &actions, NULL,
                     (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    ck_assert_msg(!r, "starting '%s': %s", argv[0], strerror(r));
    return pid;
}

/* Appends what can be read, as far as there is room; closes the descriptor
 * and sets it to -1 at its end. */
static void
take_output(int *fd, struct libspawn__buf *buf)
{
    char bytes[4096];
    ssize_t n = read(*fd, bytes, sizeof bytes);

    if (n > 0) {
        libspawn__buf_append(buf, bytes,
                             MIN((size_t)n, MAX_OUTPUT_SIZE - buf->size));
    } else if (!n || errno != EINTR) {
        close(*fd);
        *fd = -1;
    }
}

static void
take_all_output(int out, int err, struct libspawn__buf texts[2])
{
    struct pollfd pollfds[] = { { .fd = out, .events = POLLIN },
                                { .fd = err, .events = POLLIN } };

    while (pollfds[0].fd >= 0 || pollfds[1].fd >= 0) {
        size_t i;

        if (poll(pollfds, ARRAY_SIZE(pollfds), -1) < 0) {
            continue;
        }
        for (i = 0; i < ARRAY_SIZE(pollfds); i++) {
            if (pollfds[i].fd >= 0 && pollfds[i].revents) {
                take_output(&pollfds[i].fd, &texts[i]);
            }
        }
    }
}

struct harness_output
harness_run_argv(const char *const argv[])
{
    struct libspawn__buf texts[2] = { { 0 }, { 0 } };
    struct harness_output output = { 0 };
    int out_pipe[2];
    int err_pipe[2];
    int status = 0;
    pid_t pid;

    ck_assert(!pipe2(out_pipe, O_CLOEXEC) && !pipe2(err_pipe, O_CLOEXEC));
    pid = spawn_with_pipes(argv, out_pipe[1], err_pipe[1]);
    close(out_pipe[1]);
    close(err_pipe[1]);
    take_all_output(out_pipe[0], err_pipe[0], texts);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    output.status =
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    output.out = libspawn__buf_take(&texts[0]);
    output.err = libspawn__buf_take(&texts[1]);
    return output;
}
