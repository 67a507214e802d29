/*
 * What supervisors cost, without Xen:
 *
 *   create  `xl create` with one, against without (-e)
 *   fail    the same, when the device model exits at once
 *   list    `xl list` of 100 guests, with and without
 *   events  from a cause to its line in `xl events -f`
 *   idle    memory and wake-ups of 20 that have nothing to do
 *
 * Guests are a real QEMU in `create` and the test device model elsewhere,
 * since it is small.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_xl.h"

enum {
    N_LISTED = 100,
    N_IDLE = 20,
    N_KILLED = 40,
    OLD_MS = 1500, /* see follow_death */
    SETTLE_MS = 2000,
    IDLE_MS = 60000
};

#define PAUSED_GUEST "still"

static const char qemu[] = "/usr/bin/qemu-system-x86_64";

struct bench_supervisor {
    char *model;        /* the setting that makes it the test device model */
    unsigned int n_made; /* guests in part `events`: the number of the last */
    unsigned int n_killed;
    int events;         /* from `xl events -f` */
};

/* ---- create, fail ------------------------------------------------------ */

static int64_t
create_and_destroy(const char *option)
{
    int64_t time = bench_xl(0, "create", BENCH_XL_CONFIG, option);

    return time < 0 || bench_xl(0, "destroy", BENCH_XL_GUEST) < 0 ? -1 : time;
}

static int64_t
create_supervised(void *user)
{
    (void)user;
    return create_and_destroy(NULL);
}

static int64_t
create_unsupervised(void *user)
{
    (void)user;
    return create_and_destroy("-e");
}

static int
compare_create(struct bench_supervisor *bench)
{
    const struct bench_pair pair = {
        .name = "xl create, to running",
        .ours = "with its supervisor",
        .other = "without, -e",
        .run_ours = create_supervised,
        .run_other = create_unsupervised,
        .user = bench,
        .kind = BENCH_DIFFERENCE_AT_MOST,
        .bar = 10,
    };

    if (access(qemu, X_OK)) {
        bench_skip(pair.name, "no qemu-system-x86_64 here");
        return 0;
    }
    return bench_run_pair(&pair, 40);
}

static int64_t
fail_once(const struct bench_supervisor *bench, const char *option)
{
    return bench_xl(1, "create", BENCH_XL_CONFIG, bench->model,
                    "device_model_args=[\"--exit=1\"]", option);
}

static int64_t
fail_supervised(void *user)
{
    return fail_once(user, NULL);
}

static int64_t
fail_unsupervised(void *user)
{
    return fail_once(user, "-e");
}

static int
compare_fail(struct bench_supervisor *bench)
{
    const struct bench_pair pair = {
        .name = "xl create, device model exits at once",
        .ours = "with its supervisor",
        .other = "without, -e",
        .run_ours = fail_supervised,
        .run_other = fail_unsupervised,
        .user = bench,
        .kind = BENCH_DIFFERENCE_AT_MOST,
        .bar = 10,
    };

    return bench_run_pair(&pair, 100);
}

/* ---- Many guests ------------------------------------------------------- */

static int
create_many(const struct bench_supervisor *bench, unsigned int n,
            const char *option)
{
    unsigned int i;

    for (i = 1; i <= n; i++) {
        AUTO_FREE char *name = libspawn__str_format("name=\"many%u\"", i);

        if (bench_xl(0, "create", BENCH_XL_CONFIG, bench->model, name,
                     option) < 0) {
            return -1;
        }
    }
    return 0;
}

static void
destroy_many(unsigned int n)
{
    unsigned int i;

    for (i = 1; i <= n; i++) {
        AUTO_FREE char *name = libspawn__str_format("many%u", i);

        bench_xl(0, "destroy", name);
    }
}

/* ---- list -------------------------------------------------------------- */

static const char state[] = "state";
static const char unsupervised_state[] = "unsupervised";

static void
use_state(const char *state_dir)
{
    setenv("XL_STATE_DIR", state_dir, 1);
}

static int64_t
list_in(const char *state_dir)
{
    int64_t time;

    use_state(state_dir);
    time = bench_xl(0, "list");
    use_state(state);
    return time;
}

static int64_t
list_supervised(void *user)
{
    (void)user;
    return list_in(state);
}

static int64_t
list_unsupervised(void *user)
{
    (void)user;
    return list_in(unsupervised_state);
}

static int
compare_list(struct bench_supervisor *bench)
{
    const struct bench_pair pair = {
        .name = "xl list, 100 guests",
        .ours = "with their supervisors",
        .other = "without",
        .run_ours = list_supervised,
        .run_other = list_unsupervised,
        .user = bench,
        .kind = BENCH_VALUE_AT_MOST,
        .bar = 20,
    };
    int rc = create_many(bench, N_LISTED, NULL);

    use_state(unsupervised_state);
    rc = rc || create_many(bench, N_LISTED, "-e");
    use_state(state);
    rc = rc || bench_run_pair(&pair, 50);
    destroy_many(N_LISTED);
    use_state(unsupervised_state);
    destroy_many(N_LISTED);
    use_state(state);
    return rc ? -1 : 0;
}

/* ---- events ------------------------------------------------------------ */

static bool
await_event(const struct bench_supervisor *bench, const char *name)
{
    AUTO_FREE char *word = libspawn__str_format("\"event\":\"%s\"", name);

    if (!bench_xl_await_line(bench->events, word)) {
        fprintf(stderr, "bench: no event '%s'\n", name);
        return false;
    }
    return true;
}

static int
make_guest(struct bench_supervisor *bench, const char *name)
{
    AUTO_FREE char *setting = libspawn__str_format("name=\"%s\"", name);

    if (bench_xl(0, "create", BENCH_XL_CONFIG, bench->model, setting) < 0 ||
        !await_event(bench, "admitted")) {
        return -1;
    }
    bench->n_made++;
    return 0;
}

static int
remove_guest(const struct bench_supervisor *bench, const char *name)
{
    return bench_xl(0, "destroy", name) < 0 || !await_event(bench, "destroyed")
               ? -1
               : 0;
}

static int64_t
time_death(const struct bench_supervisor *bench, unsigned int domid)
{
    pid_t pid = bench_xl_model(domid);
    int64_t begin;

    if (pid < 0) {
        return -1;
    }
    begin = bench_now_ns();
    kill(pid, SIGKILL); /* it lives: nothing but this ends it */
    return await_event(bench, "device-model-died") ? bench_now_ns() - begin
                                                   : -1;
}

/* One that runs for longer than a second.  In its first its watcher looks
 * through all of the kernel's log: was it memory? */
static int64_t
follow_death(void *user)
{
    struct bench_supervisor *bench = user;

    return time_death(bench, ++bench->n_killed);
}

static int64_t
follow_early_death(void *user)
{
    struct bench_supervisor *bench = user;
    int64_t time;

    if (make_guest(bench, BENCH_XL_GUEST)) {
        return -1;
    }
    time = time_death(bench, bench->n_made);
    return time < 0 || remove_guest(bench, BENCH_XL_GUEST) ? -1 : time;
}

/* The warm-up needs one more. */
static int
make_old_guests(struct bench_supervisor *bench)
{
    while (bench->n_made <= N_KILLED) {
        AUTO_FREE char *name =
            libspawn__str_format("many%u", bench->n_made + 1);

        if (make_guest(bench, name)) {
            return -1;
        }
    }
    poll(NULL, 0, OLD_MS);
    return 0;
}

/* The command is part of the time, up to where it causes the event. */
static int64_t
follow_pause(void *user)
{
    struct bench_supervisor *bench = user;
    AUTO_FREE char *xl = bench_xl_program("xl");
    char command[] = "pause";
    char name[] = PAUSED_GUEST;
    char *argv[] = { xl, command, name, NULL };
    int64_t begin = bench_now_ns();
    int64_t end;
    pid_t pid;

    if (posix_spawn(&pid, xl, NULL, NULL, argv, environ)) {
        return -1;
    }
    end = await_event(bench, "paused") ? bench_now_ns() : -1;
    waitpid(pid, NULL, 0);
    return end < 0 || bench_xl(0, "unpause", name) < 0 ? -1 : end - begin;
}

static pid_t
follow_events(struct bench_supervisor *bench)
{
    AUTO_FREE char *xl = bench_xl_program("xl");
    char command[] = "events";
    char follow[] = "-f";
    char json[] = "--json";
    char *argv[] = { xl, command, follow, json, NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    bench->events = fds[0];
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    if (posix_spawn(&pid, xl, &actions, NULL, argv, environ)) {
        pid = -1;
    }
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    return pid;
}

static int
time_causes(struct bench_supervisor *bench)
{
    const struct {
        const char *name;
        const char *ours;
        bench_fn *run;
        unsigned int n_runs;
    } rows[] = {
        { "device model killed, to xl events -f",
          "SIGKILL to the line on the pipe", follow_death, N_KILLED },
        { "the same in its first second",
          "SIGKILL to the line on the pipe", follow_early_death, N_KILLED },
        { "xl pause, to xl events -f",
          "start of the command to the line on the pipe", follow_pause, 100 },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct bench_pair pair = {
            .name = rows[i].name,
            .ours = rows[i].ours,
            .run_ours = rows[i].run,
            .user = bench,
            .kind = BENCH_VALUE_AT_MOST,
            .bar = 5,
        };

        if (bench_run_pair(&pair, rows[i].n_runs)) {
            return -1;
        }
    }
    return 0;
}

static int
time_events(struct bench_supervisor *bench)
{
    pid_t pid = follow_events(bench);
    int rc = pid < 0 || make_old_guests(bench) ||
             make_guest(bench, PAUSED_GUEST) || time_causes(bench) ? -1 : 0;

    bench_xl(0, "destroy", PAUSED_GUEST);
    destroy_many(MIN(bench->n_made, N_KILLED + 1));
    if (pid > 0) {
        kill(pid, SIGTERM); /* our unreaped child */
        waitpid(pid, NULL, 0);
    }
    libspawn__auto_close(&bench->events);
    return rc;
}

/* ---- idle -------------------------------------------------------------- */

static int
find_supervisors(pid_t pids[N_IDLE])
{
    unsigned int i;

    for (i = 0; i < N_IDLE; i++) {
        AUTO_FREE char *path =
            libspawn__str_format("state/supervisors/many%u.pid", i + 1);
        AUTO_FREE char *text = NULL;
        struct libspawn_err err;

        if (libspawn__file_read(path, 64, &text, NULL, &err)) {
            fprintf(stderr, "bench: %s\n", err.text);
            return -1;
        }
        pids[i] = (pid_t)strtol(text, NULL, 10);
    }
    return 0;
}

static void
read_numbers(const pid_t pids[N_IDLE], const char *file, const char *key,
             double values_r[N_IDLE])
{
    unsigned int i;

    for (i = 0; i < N_IDLE; i++) {
        values_r[i] = bench_proc_number(pids[i], file, key);
    }
}

static void
report_memory(const pid_t pids[N_IDLE])
{
    const struct {
        const char *name;
        const char *key;
        enum bench_bar kind;
    } rows[] = {
        { "supervisor, 1 of 20: PSS", "\nPss:", BENCH_VALUE_AT_MOST },
        { "supervisor, 1 of 20: private dirty", "\nPrivate_Dirty:",
          BENCH_NO_BAR },
    };
    double values[N_IDLE];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct bench_pair pair = {
            .name = rows[i].name,
            .ours = "guest-supervisor, its guest running",
            .kind = rows[i].kind,
            .bar = 700,
            .unit = "kB",
        };

        read_numbers(pids, "smaps_rollup", rows[i].key, values);
        bench_report(&pair, N_IDLE, bench_median(values, N_IDLE), 0);
    }
}

/* Of the one that woke up most. */
static void
report_wakeups(const pid_t pids[N_IDLE])
{
    static const char key[] = "\nvoluntary_ctxt_switches:";
    const struct bench_pair pair = {
        .name = "supervisors, 20: most wake-ups of one in 60 s",
        .ours = "guest-supervisor, its guest running",
        .kind = BENCH_VALUE_AT_MOST,
        .bar = 1,
        .unit = "",
    };
    double before[N_IDLE];
    double after[N_IDLE];
    double most = 0;
    unsigned int i;

    read_numbers(pids, "status", key, before);
    poll(NULL, 0, IDLE_MS);
    read_numbers(pids, "status", key, after);
    for (i = 0; i < N_IDLE; i++) {
        most = MAX(most, after[i] - before[i]);
    }
    bench_report(&pair, N_IDLE, most, 0);
}

static int
measure_idle(struct bench_supervisor *bench)
{
    pid_t pids[N_IDLE];
    int rc = create_many(bench, N_IDLE, NULL);

    if (!rc) {
        rc = find_supervisors(pids);
    }
    if (!rc && access("/proc/self/smaps_rollup", R_OK)) {
        bench_skip("supervisor, 1 of 20", "no smaps_rollup in /proc");
    } else if (!rc) {
        poll(NULL, 0, SETTLE_MS);
        report_memory(pids);
    }
    if (!rc) {
        report_wakeups(pids);
    }
    destroy_many(N_IDLE);
    return rc;
}

/* ---- All --------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*run)(struct bench_supervisor *bench);
} parts[] = {
    { "create", compare_create }, { "fail", compare_fail },
    { "list", compare_list },     { "events", time_events },
    { "idle", measure_idle },
};

static int
run_parts(const char *bin, const char *only)
{
    AUTO_FREE char *model = libspawn__str_format(
        "device_model_override=\"%s/test-device-model\"", bin);
    struct bench_supervisor bench = { .model = model, .events = -1 };
    int rc = 0;
    size_t i;

    for (i = 0; !rc && i < ARRAY_SIZE(parts); i++) {
        if (only && strcmp(only, parts[i].name) != 0) {
            continue;
        }
        rc = bench_xl_begin(bin);
        if (!rc) {
            rc = parts[i].run(&bench);
            bench_xl_end();
        }
    }
    return rc;
}

int
main(int argc, char *argv[])
{
    AUTO_FREE char *bin = argc > 2 ? realpath(argv[1], NULL) : NULL;
    int rc;

    if (!bin || argc > 4) {
        fputs("usage: bench-supervisor PROGRAM_DIRECTORY RESULT.json [PART]\n",
              stderr);
        return 2;
    }
    bench_begin("Supervisors, without Xen");
    rc = run_parts(bin, argv[3]);
    rc = bench_end(argv[2]) || rc;
    return rc ? 1 : 0;
}
