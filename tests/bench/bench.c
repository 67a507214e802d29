#include "tests/bench/bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "wire/json.h"

static struct libspawn__json_writer *writer;

int64_t
bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int
bench_run_program(char *const argv[], int is_quiet)
{
    posix_spawn_file_actions_t actions;
    int status = -1;
    pid_t pid;
    int fd;
    int r;

    posix_spawn_file_actions_init(&actions);
    for (fd = 0; fd <= 2 && is_quiet; fd++) {
        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    }
    r = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (r) {
        fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(r));
        return -1;
    }
    waitpid(pid, &status, 0);
    return status;
}

int64_t
bench_time_program(char *const argv[], int expected_exit)
{
    int64_t begin = bench_now_ns();
    int status = bench_run_program(argv, 1);
    int64_t end = bench_now_ns();

    if (!WIFEXITED(status) || WEXITSTATUS(status) != expected_exit) {
        fprintf(stderr, "bench: %s %s: wait status %#x, not exit %d\n",
                argv[0], argv[1] ? argv[1] : "", (unsigned int)status,
                expected_exit);
        return -1;
    }
    return end - begin;
}

/* ---- Statistics -------------------------------------------------------- */

static int
compare_times(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static double
median_ms(int64_t *times, unsigned int n)
{
    qsort(times, n, sizeof *times, compare_times);
    return (double)(times[(n - 1) / 2] + times[n / 2]) / 2 / 1e6;
}

static const char *
verdict(const struct bench_pair *pair, double ours, double other)
{
    double value = pair->kind == BENCH_RATIO_AT_MOST ? ours / other
                                                     : ours - other;

    if (pair->kind == BENCH_NO_BAR) {
        return "";
    }
    return value <= pair->bar ? "met" : "MISSED";
}

static void
report(const struct bench_pair *pair, unsigned int n_runs, double ours,
       double other)
{
    char bar[32] = "-";
    const char *result = verdict(pair, ours, other);

    if (pair->kind == BENCH_RATIO_AT_MOST) {
        snprintf(bar, sizeof bar, "<= %.2f x", pair->bar);
    } else if (pair->kind == BENCH_DIFFERENCE_AT_MOST) {
        snprintf(bar, sizeof bar, "<= +%.0f ms", pair->bar);
    }
    printf("%-38s %10.2f %10.2f %8.2f %+9.2f  %-12s %s\n", pair->name, ours,
           other, ours / other, ours - other, bar, result);
    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_string(writer, "name", pair->name);
    libspawn__json_put_string(writer, "ours", pair->ours);
    libspawn__json_put_string(writer, "other", pair->other);
    libspawn__json_put_integer(writer, "runs", n_runs);
    libspawn__json_put_double(writer, "ours_ms", ours);
    libspawn__json_put_double(writer, "other_ms", other);
    libspawn__json_put_double(writer, "ratio", ours / other);
    libspawn__json_put_string(writer, "bar", bar);
    libspawn__json_put_string(writer, "result", result);
    libspawn__json_end_object(writer);
}

int
bench_run_pair(const struct bench_pair *pair, unsigned int n_runs)
{
    int64_t ours[BENCH_RUNS_MAX];
    int64_t other[BENCH_RUNS_MAX];
    unsigned int i;

    if (pair->run_ours(pair->user) < 0 || pair->run_other(pair->user) < 0) {
        return -1;
    }
    for (i = 0; i < n_runs; i++) {
        ours[i] = pair->run_ours(pair->user);
        other[i] = pair->run_other(pair->user);
        if (ours[i] < 0 || other[i] < 0) {
            return -1;
        }
    }
    report(pair, n_runs, median_ms(ours, n_runs), median_ms(other, n_runs));
    return 0;
}

void
bench_begin(const char *title)
{
    printf("%s\n", title);
    printf("%-38s %10s %10s %8s %9s  %-12s\n", "(medians, ms)", "ours",
           "other", "ratio", "diff", "bar");
    setvbuf(stdout, NULL, _IOLBF, 0);
    writer = libspawn__json_writer_new(true);
    libspawn__json_begin_array(writer, NULL);
}

int
bench_end(const char *json_path)
{
    AUTO_FREE char *text = NULL;
    struct libspawn_err err;

    libspawn__json_end_array(writer);
    text = libspawn__json_writer_take(writer);
    if (!text ||
        libspawn__file_replace(json_path, text, strlen(text), 0644, &err)) {
        fprintf(stderr, "bench: %s\n", text ? err.text : "out of memory");
        return -1;
    }
    return 0;
}
