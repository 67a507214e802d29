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

double
bench_proc_number(pid_t pid, const char *file, const char *key)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/%s", (int)pid, file);
    AUTO_FREE char *text = NULL;
    const char *at = NULL;

    if (!libspawn__file_read(path, 65536, &text, NULL, NULL)) {
        at = strstr(text, key);
    }
    if (!at) {
        fprintf(stderr, "bench: %s has no '%s'\n", path, key);
        return -1;
    }
    return strtod(at + strlen(key), NULL);
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
compare_values(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

double
bench_median(double *values, unsigned int n)
{
    qsort(values, n, sizeof *values, compare_values);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/* ---- Rows -------------------------------------------------------------- */

static const char *
unit_of(const struct bench_pair *pair)
{
    return pair->unit ? pair->unit : "ms";
}

static const char *
verdict(const struct bench_pair *pair, double ours, double other)
{
    bool is_met = true;

    switch (pair->kind) {
    case BENCH_RATIO_AT_MOST:
        is_met = ours <= pair->bar * other;
        break;
    case BENCH_RATIO_AT_LEAST:
        is_met = ours >= pair->bar * other;
        break;
    case BENCH_DIFFERENCE_AT_MOST:
        is_met = ours - other <= pair->bar;
        break;
    case BENCH_VALUE_AT_MOST:
        is_met = ours <= pair->bar;
        break;
    case BENCH_NO_BAR:
        return "";
    }
    return is_met ? "met" : "MISSED";
}

static void
print_bar(const struct bench_pair *pair, char *bar, size_t size)
{
    static const struct {
        const char *sign;
        bool is_ratio;
    } forms[] = {
        [BENCH_RATIO_AT_MOST] = { "<= ", true },
        [BENCH_RATIO_AT_LEAST] = { ">= ", true },
        [BENCH_DIFFERENCE_AT_MOST] = { "<= +", false },
        [BENCH_VALUE_AT_MOST] = { "<= ", false },
    };

    if (pair->kind == BENCH_NO_BAR) {
        snprintf(bar, size, "-");
        return;
    }
    snprintf(bar, size, "%s%.4g %s", forms[pair->kind].sign, pair->bar,
             forms[pair->kind].is_ratio ? "x" : unit_of(pair));
}

static void
put_row(const struct bench_pair *pair, unsigned int n_runs, double ours,
        double other, const char *bar, const char *result)
{
    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_string(writer, "name", pair->name);
    libspawn__json_put_string(writer, "ours", pair->ours);
    libspawn__json_put_string(writer, "unit", unit_of(pair));
    libspawn__json_put_integer(writer, "runs", n_runs);
    libspawn__json_put_double(writer, "ours_value", ours);
    if (pair->other) {
        libspawn__json_put_string(writer, "other", pair->other);
        libspawn__json_put_double(writer, "other_value", other);
    }
    if (pair->other && other > 0) {
        libspawn__json_put_double(writer, "ratio", ours / other);
    }
    libspawn__json_put_string(writer, "bar", bar);
    libspawn__json_put_string(writer, "result", result);
    libspawn__json_end_object(writer);
}

void
bench_report(const struct bench_pair *pair, unsigned int n_runs, double ours,
             double other)
{
    const char *result = verdict(pair, ours, other);
    char bar[32];

    print_bar(pair, bar, sizeof bar);
    printf("%-46s %9.3f ", pair->name, ours);
    if (pair->other) {
        printf("%9.3f %-3s ", other, unit_of(pair));
    } else {
        printf("%9s %-3s ", "-", unit_of(pair));
    }
    if (pair->other && other > 0) {
        printf("%8.3f %+9.3f", ours / other, ours - other);
    } else {
        printf("%8s %9s", "-", "-");
    }
    printf("  %-12s %s\n", bar, result);
    put_row(pair, n_runs, ours, other, bar, result);
}

void
bench_skip(const char *name, const char *reason)
{
    printf("%-46s %s\n", name, reason);
    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_string(writer, "name", name);
    libspawn__json_put_string(writer, "skipped", reason);
    libspawn__json_end_object(writer);
}

static int64_t
run_once(bench_fn *fn, const struct bench_pair *pair)
{
    return fn ? fn(pair->user) : 0;
}

int
bench_run_pair(const struct bench_pair *pair, unsigned int n_runs)
{
    double ours[BENCH_RUNS_MAX];
    double other[BENCH_RUNS_MAX];
    unsigned int i;

    if (run_once(pair->run_ours, pair) < 0 ||
        run_once(pair->run_other, pair) < 0) {
        return -1;
    }
    for (i = 0; i < n_runs; i++) {
        int64_t our_time = run_once(pair->run_ours, pair);
        int64_t other_time = run_once(pair->run_other, pair);

        if (our_time < 0 || other_time < 0) {
            return -1;
        }
        ours[i] = (double)our_time / 1e6;
        other[i] = (double)other_time / 1e6;
    }
    bench_report(pair, n_runs, bench_median(ours, n_runs),
                 bench_median(other, n_runs));
    return 0;
}

void
bench_begin(const char *title)
{
    printf("%s\n", title);
    printf("%-46s %9s %9s %3s %8s %9s  %-12s\n", "(medians)", "ours", "other",
           "", "ratio", "diff", "bar");
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
