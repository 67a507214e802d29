/*
 * What watchers cost while nothing happens, beside as many s6-supervise with
 * the same program.  All live at the same time; what they share counts for
 * each by its share.
 */
#include "tests/bench/bench_lib.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/bench/bench.h"

enum {
    N_WATCHERS = 100,
    SETTLE_MS = 1000,
    IDLE_MS = 10000
};

static char s6_path[] = "/usr/bin/s6-supervise";

struct watchers {
    pid_t pids[N_WATCHERS];
    double pss_kib;
    double dirty_kib;
    double n_wakeups; /* of all of them, in IDLE_MS */
};

/* ---- /proc ------------------------------------------------------------- */

static double
median_of(const struct watchers *all, const char *file, const char *key)
{
    double values[N_WATCHERS];
    size_t i;

    for (i = 0; i < N_WATCHERS; i++) {
        values[i] = bench_proc_number(all->pids[i], file, key);
    }
    return bench_median(values, N_WATCHERS);
}

static double
count_wakeups(const struct watchers *all)
{
    double sum = 0;
    size_t i;

    for (i = 0; i < N_WATCHERS; i++) {
        sum += bench_proc_number(all->pids[i], "status",
                                 "\nvoluntary_ctxt_switches:");
    }
    return sum;
}

/* ---- Ours -------------------------------------------------------------- */

static void
count_event(struct libspawn_child *child, enum libspawn_event event,
            void *user)
{
    (void)child;
    ((unsigned int *)user)[event]++;
}

static int
begin_ours(struct bench_lib *lib, struct libspawn_ctx *ctx,
           struct watchers *all)
{
    unsigned int n_events[LIBSPAWN_EVENT_EXITED + 1] = { 0 };
    struct libspawn_child *child;
    size_t i;

    for (i = 0; i < N_WATCHERS; i++) {
        if (bench_child_start(ctx, lib->plan, count_event, n_events, &child) <
            0) {
            return -1;
        }
        all->pids[i] = (pid_t)bench_proc_number(libspawn_child_pid(child),
                                                "status", "\nPPid:");
    }
    while (n_events[LIBSPAWN_EVENT_READY] < N_WATCHERS) {
        if (n_events[LIBSPAWN_EVENT_FAILED] ||
            libspawn_ctx_wait(ctx, -1, NULL)) {
            return -1;
        }
    }
    return 0;
}

/* ---- s6 ---------------------------------------------------------------- */

static int
begin_s6(struct watchers *all)
{
    static const char text[] = "#!/bin/sh\nexec /bin/sleep 1000\n";
    char *env[] = { NULL };
    size_t i;

    for (i = 0; i < N_WATCHERS; i++) {
        AUTO_FREE char *dir = libspawn__str_format("s6-%zu", i);
        AUTO_FREE char *run = libspawn__str_format("%s/run", dir);
        char *argv[] = { s6_path, dir, NULL };

        if (mkdir(dir, 0755) < 0 ||
            libspawn__file_replace(run, text, sizeof text - 1, 0755, NULL) ||
            bench_lib_spawn(argv, env, -1, NULL, &all->pids[i])) {
            return -1;
        }
    }
    return 0;
}

/* SIGTERM: it ends its program, then itself. */
static void
end_s6(const struct watchers *all)
{
    size_t i;

    for (i = 0; i < N_WATCHERS && all->pids[i]; i++) {
        kill(all->pids[i], SIGTERM); /* our unreaped child */
    }
    for (i = 0; i < N_WATCHERS && all->pids[i]; i++) {
        waitpid(all->pids[i], NULL, 0);
    }
}

/* ---- Both -------------------------------------------------------------- */

static void
measure_memory(struct watchers *all)
{
    all->pss_kib = median_of(all, "smaps_rollup", "\nPss:");
    all->dirty_kib = median_of(all, "smaps_rollup", "\nPrivate_Dirty:");
}

static void
report_all(const struct watchers *ours, const struct watchers *other)
{
    const struct {
        const char *name;
        const char *unit;
        double bar;
        double ours;
        double other;
    } rows[] = {
        { "watcher, 1 of 100: PSS", "kB", 133, ours->pss_kib,
          other ? other->pss_kib : 0 },
        { "watcher, 1 of 100: private dirty", "kB", 100, ours->dirty_kib,
          other ? other->dirty_kib : 0 },
        { "watchers, 100: wake-ups in 10 s", "", 0, ours->n_wakeups,
          other ? other->n_wakeups : 0 },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct bench_pair pair = {
            .name = rows[i].name,
            .ours = "spawn-watcher, its child running",
            .other = other ? "s6-supervise, the same" : NULL,
            .kind = BENCH_VALUE_AT_MOST,
            .bar = rows[i].bar,
            .unit = rows[i].unit,
        };

        bench_report(&pair, N_WATCHERS, rows[i].ours, rows[i].other);
    }
}

static void
measure(struct watchers *ours, struct watchers *other)
{
    poll(NULL, 0, SETTLE_MS);
    ours->n_wakeups = -count_wakeups(ours);
    if (other) {
        other->n_wakeups = -count_wakeups(other);
    }
    poll(NULL, 0, IDLE_MS);
    ours->n_wakeups += count_wakeups(ours);
    measure_memory(ours);
    if (other) {
        other->n_wakeups += count_wakeups(other);
        measure_memory(other);
    }
}

int
bench_lib_watchers(struct bench_lib *lib)
{
    struct watchers ours = { .n_wakeups = 0 };
    struct watchers s6 = { .n_wakeups = 0 };
    bool has_s6 = !access(s6_path, X_OK);
    struct libspawn_ctx *ctx = bench_ctx_new(lib->bin);
    int rc = ctx ? begin_ours(lib, ctx, &ours) : -1;
    size_t i;

    if (!rc && has_s6) {
        rc = begin_s6(&s6);
    }
    if (!rc) {
        measure(&ours, has_s6 ? &s6 : NULL);
        report_all(&ours, has_s6 ? &s6 : NULL);
    }
    end_s6(&s6);
    libspawn_ctx_free(ctx);
    /* The watchers end their children, and nobody else reaps them. */
    for (i = 0; i < N_WATCHERS && ours.pids[i]; i++) {
        waitpid(ours.pids[i], NULL, 0);
    }
    return rc;
}
