/*
 * A thousand children of one context, started and stopped together.
 */
#include "tests/bench/bench_lib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/bench/bench.h"

enum {
    N_CHILDREN = 1000,
    N_ROUNDS = 30,
    STOP_MS = 2000
};

struct crowd {
    struct bench_lib *lib;
    struct libspawn_child *children[N_CHILDREN];
    unsigned int n_events[LIBSPAWN_EVENT_EXITED + 1];
    double our_rates[N_ROUNDS];
    double bare_rates[N_ROUNDS];
    double stop_times[N_ROUNDS]; /* ms */
    double n_left;               /* 2 s after the stop, in the worst round */
};

static double
rate_since(int64_t begin)
{
    return N_CHILDREN * 1e9 / (double)(bench_now_ns() - begin);
}

/* ---- Start ------------------------------------------------------------- */

static void
count_event(struct libspawn_child *child, enum libspawn_event event,
            void *user)
{
    struct crowd *crowd = user;

    (void)child;
    crowd->n_events[event]++;
}

/* All at once; the caller listens when it has asked for the last one. */
static int
start_all(struct crowd *crowd, double *rate_r)
{
    struct bench_lib *lib = crowd->lib;
    int64_t begin = bench_now_ns();
    struct libspawn_err err;
    size_t i;

    memset(crowd->n_events, 0, sizeof crowd->n_events);
    for (i = 0; i < N_CHILDREN; i++) {
        char path[32];

        snprintf(path, sizeof path, "/bench/%zu", i);
        libspawn_plan_set_record(lib->plan, "dir:state/store", path);
        if (libspawn_child_start(lib->ctx, lib->plan, count_event, crowd,
                                 &crowd->children[i], &err)) {
            fprintf(stderr, "bench: child %zu: %s\n", i, err.text);
            return -1;
        }
    }
    while (crowd->n_events[LIBSPAWN_EVENT_STARTED] < N_CHILDREN) {
        if (crowd->n_events[LIBSPAWN_EVENT_FAILED] ||
            libspawn_ctx_wait(lib->ctx, -1, &err)) {
            fprintf(stderr, "bench: a child of the crowd did not start\n");
            return -1;
        }
    }
    *rate_r = rate_since(begin);
    while (crowd->n_events[LIBSPAWN_EVENT_READY] < N_CHILDREN) {
        libspawn_ctx_wait(lib->ctx, -1, NULL);
    }
    return 0;
}

static int
start_bare(double *rate_r)
{
    static pid_t pids[2 * N_CHILDREN];
    int64_t begin = bench_now_ns();
    size_t n;
    size_t i;

    for (n = 0; n < ARRAY_SIZE(pids); n++) {
        if (bench_bare_start(&pids[n]) < 0) {
            break;
        }
    }
    *rate_r = rate_since(begin);
    for (i = 0; i < n; i++) {
        bench_bare_end(pids[i]);
    }
    return n == ARRAY_SIZE(pids) ? 0 : -1;
}

/* ---- Stop -------------------------------------------------------------- */

/* Whatever is left of them, zombies too: as a subreaper we are the parent of
 * the watchers, and of what a watcher would leave behind. */
static double
count_left(void)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/task/%d/children",
                                                (int)getpid(), (int)getpid());
    AUTO_FREE char *text = NULL;
    double n = 0;
    const char *at;

    if (libspawn__file_read(path, 65536, &text, NULL, NULL)) {
        return -1;
    }
    for (at = text; (at = strchr(at, ' ')); at++) {
        n++;
    }
    return n;
}

static bool
is_anything_left(void)
{
    siginfo_t info;

    return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
}

static double
stop_all(struct crowd *crowd)
{
    int64_t begin = bench_now_ns();
    double time_ms = 0;
    size_t i;

    for (i = 0; i < N_CHILDREN; i++) {
        libspawn_child_stop(crowd->children[i]);
    }
    while (is_anything_left() && time_ms < STOP_MS) {
        libspawn_ctx_wait(crowd->lib->ctx, STOP_MS - (int)time_ms, NULL);
        time_ms = (double)(bench_now_ns() - begin) / 1e6;
    }
    crowd->n_left = MAX(crowd->n_left, count_left());
    while (is_anything_left()) {
        libspawn_ctx_wait(crowd->lib->ctx, -1, NULL);
        time_ms = (double)(bench_now_ns() - begin) / 1e6;
    }
    for (i = 0; i < N_CHILDREN; i++) {
        libspawn_child_free(crowd->children[i]);
    }
    return time_ms;
}

/* ---- All --------------------------------------------------------------- */

static void
report_all(struct crowd *crowd)
{
    const struct bench_pair start = {
        .name = "1000 children of one context, started",
        .ours = "libspawn_child_start, to exec and record",
        .other = "posix_spawn of two programs for each",
        .kind = BENCH_RATIO_AT_LEAST,
        .bar = 0.4,
        .unit = "/s",
    };
    const struct bench_pair stop = {
        .name = "1000 children, stopped",
        .ours = "libspawn_child_stop, to the last process reaped",
        .kind = BENCH_VALUE_AT_MOST,
        .bar = STOP_MS,
    };
    const struct bench_pair left = {
        .name = "1000 children, left 2 s after the stop",
        .ours = "processes and zombies, most in any round",
        .kind = BENCH_VALUE_AT_MOST,
        .bar = 0,
        .unit = "",
    };

    bench_report(&start, N_ROUNDS, bench_median(crowd->our_rates, N_ROUNDS),
                 bench_median(crowd->bare_rates, N_ROUNDS));
    bench_report(&stop, N_ROUNDS, bench_median(crowd->stop_times, N_ROUNDS),
                 0);
    bench_report(&left, N_ROUNDS, crowd->n_left, 0);
}

int
bench_lib_crowd(struct bench_lib *lib)
{
    AUTO_FREE struct crowd *crowd = calloc(1, sizeof *crowd);
    size_t i;

    if (!crowd) {
        return -1;
    }
    crowd->lib = lib;
    for (i = 0; i < N_ROUNDS; i++) {
        if (start_all(crowd, &crowd->our_rates[i])) {
            return -1;
        }
        crowd->stop_times[i] = stop_all(crowd);
        if (start_bare(&crowd->bare_rates[i])) {
            return -1;
        }
    }
    report_all(crowd);
    return 0;
}
