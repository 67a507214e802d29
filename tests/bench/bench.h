/*
 * What the benchmarks share: times in turn, A B A B ..., so that a machine
 * whose speed drifts hits both alike; medians; a table for people, and JSON.
 *
 * A bar is a promise about the ratio or the difference of the medians.  A
 * missed bar is printed as such; it never fails a test, because a shared
 * machine proves nothing in one run.
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { BENCH_RUNS_MAX = 1000 };

/* One thing that takes time: returns nanoseconds, or -1 after a message. */
typedef int64_t bench_fn(void *user);

enum bench_bar {
    BENCH_RATIO_AT_MOST,      /* median of ours / median of the other */
    BENCH_RATIO_AT_LEAST,     /* the same, where more is better */
    BENCH_DIFFERENCE_AT_MOST, /* ours - the other */
    BENCH_VALUE_AT_MOST,      /* ours, whatever the other has */
    BENCH_NO_BAR
};

struct bench_pair {
    const char *name;  /* "xl create, to running" */
    const char *ours;  /* what the first column is */
    const char *other; /* what it is compared with; NULL: with nothing */
    bench_fn *run_ours;
    bench_fn *run_other;
    void *user;
    enum bench_bar kind;
    double bar;
    const char *unit; /* NULL: "ms" */
};

/* Runs a pair, or ours alone where 'run_other' is NULL, 'n_runs' times after
 * one warm-up and prints its row. */
int bench_run_pair(const struct bench_pair *pair, unsigned int n_runs);

/* Prints the row of a pair that was measured in another way; the functions of
 * the pair are not called. */
void bench_report(const struct bench_pair *pair, unsigned int n_runs,
                  double ours, double other);

/* Prints why there is no such row. */
void bench_skip(const char *name, const char *reason);

/* Sorts the values. */
double bench_median(double *values, unsigned int n);

/* The table's head, and the JSON file at the end of all. */
void bench_begin(const char *title);
int bench_end(const char *json_path);

int64_t bench_now_ns(void);

/* The number behind 'key' in a file of /proc/PID, such as "\nPss:" in
 * "smaps_rollup"; -1 after a message. */
double bench_proc_number(pid_t pid, const char *file, const char *key);

/* Runs a program with the environment and output of this one's, or, when
 * 'is_quiet', without its output; returns its wait status. */
int bench_run_program(char *const argv[], int is_quiet);

/* The same, timed from before the spawn to its end. */
int64_t bench_time_program(char *const argv[], int expected_exit);

#endif
