/*
 * Speed and size of the library, against bare system calls and its peers:
 *
 *   start     from the call to the child in exec and its record written,
 *             against a bare posix_spawn(3), and against conmon; and when
 *             the watcher was prepared
 *   callers   the same from callers of 10 MiB to 4 GiB, and a double fork
 *   death     from a child's death to the callback of its caller
 *   watchers  what 100 of them need in memory and in wake-ups
 *   crowd     1000 children of one context, started and stopped
 */
#include "tests/bench/bench_lib.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"
#include "tests/bench/bench.h"

int
bench_lib_spawn(char *const argv[], char *const env[], int fd,
                const char *directory, pid_t *pid_r)
{
    posix_spawn_file_actions_t actions;
    int i;
    int r;

    posix_spawn_file_actions_init(&actions);
    if (fd >= 0) {
        posix_spawn_file_actions_adddup2(&actions, fd, 3);
    }
    for (i = 0; i <= 2; i++) {
        posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
    }
    posix_spawn_file_actions_addclosefrom_np(&actions, fd >= 0 ? 4 : 3);
    if (directory) {
        posix_spawn_file_actions_addchdir_np(&actions, directory);
    }
    r = posix_spawn(pid_r, argv[0], &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    if (r) {
        fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(r));
        return -1;
    }
    return 0;
}

/* ---- Start ------------------------------------------------------------- */

int64_t
bench_lib_start_once(void *user)
{
    struct bench_lib *lib = user;
    struct libspawn_child *child;
    int64_t time = bench_child_start(lib->ctx, lib->plan, NULL, NULL, &child);

    if (time >= 0) {
        bench_child_end(lib->ctx, child);
    }
    return time;
}

static int64_t
start_bare(void *user)
{
    pid_t pid;
    int64_t time = bench_bare_start(&pid);

    (void)user;
    if (time >= 0) {
        bench_bare_end(pid);
    }
    return time;
}

/* A caller that has something else to do before it starts a child; both sides
 * of the row wait, since a machine that was idle is slower at first. */
static int64_t
start_after_pause(void *user)
{
    poll(NULL, 0, BENCH_LIB_PAUSE_MS);
    return bench_lib_start_once(user);
}

int64_t
bench_lib_start_prepared(void *user)
{
    struct bench_lib *lib = user;
    struct libspawn_err err;

    if (libspawn_ctx_prepare(lib->ctx, NULL, "bench", &err)) {
        fprintf(stderr, "bench: %s\n", err.text);
        return -1;
    }
    return start_after_pause(lib);
}

static int
compare_start(struct bench_lib *lib)
{
    const struct bench_pair pair = {
        .name = "start, to exec and record",
        .ours = "libspawn_child_start, store in a directory",
        .other = "posix_spawn of the same program",
        .run_ours = bench_lib_start_once,
        .run_other = start_bare,
        .user = lib,
        .kind = BENCH_RATIO_AT_MOST,
        .bar = 6,
    };

    const struct bench_pair prepared = {
        .name = "start, watcher prepared",
        .ours = "libspawn_child_start after libspawn_ctx_prepare",
        .other = "libspawn_child_start alone",
        .run_ours = bench_lib_start_prepared,
        .run_other = start_after_pause,
        .user = lib,
        .kind = BENCH_NO_BAR,
    };

    return bench_run_pair(&pair, 300) || bench_run_pair(&prepared, 100) ? -1
                                                                        : 0;
}

/* ---- Death ------------------------------------------------------------- */

struct death {
    int64_t heard_at;
    bool is_ready;
};

static void
on_event(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    struct death *death = user;
    const struct libspawn_report *report = libspawn_child_report(child);

    if (event == LIBSPAWN_EVENT_READY) {
        death->is_ready = true;
    } else if (event == LIBSPAWN_EVENT_EXITED &&
               report->end == LIBSPAWN_END_SIGNALED &&
               report->signal == SIGKILL) {
        death->heard_at = bench_now_ns();
    }
}

static int64_t
die_watched(void *user)
{
    struct bench_lib *lib = user;
    struct death death = { 0 };
    struct libspawn_child *child;
    int64_t begin;

    if (bench_child_start(lib->ctx, lib->plan, on_event, &death, &child) < 0) {
        return -1;
    }
    while (!death.is_ready && !libspawn_child_check(child, NULL)) {
        libspawn_ctx_wait(lib->ctx, -1, NULL);
    }
    begin = bench_now_ns();
    /* It lives: nothing but this ends it. */
    kill(libspawn_child_pid(child), SIGKILL);
    while (!death.heard_at) {
        libspawn_ctx_wait(lib->ctx, -1, NULL);
    }
    bench_child_end(lib->ctx, child);
    return death.heard_at - begin;
}

static int64_t
die_bare(void *user)
{
    int64_t begin;
    pid_t pid;

    (void)user;
    if (bench_bare_start(&pid) < 0) {
        return -1;
    }
    begin = bench_now_ns();
    bench_bare_end(pid);
    return bench_now_ns() - begin;
}

static int
compare_death(struct bench_lib *lib)
{
    const struct bench_pair pair = {
        .name = "death of a child, to the caller",
        .ours = "SIGKILL to the callback with the status",
        .other = "SIGKILL to the return of waitpid",
        .run_ours = die_watched,
        .run_other = die_bare,
        .user = lib,
        .kind = BENCH_DIFFERENCE_AT_MOST,
        .bar = 0.5,
    };

    return bench_run_pair(&pair, 300);
}

/* ---- All --------------------------------------------------------------- */

/* A crowd has three descriptors for each child. */
static void
raise_limits(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static const struct {
    const char *name;
    int (*run)(struct bench_lib *lib);
} parts[] = {
    { "start", compare_start },         { "conmon", bench_lib_conmon },
    { "callers", bench_lib_callers },   { "death", compare_death },
    { "watchers", bench_lib_watchers }, { "crowd", bench_lib_crowd },
};

int
main(int argc, char *argv[])
{
    AUTO_FREE char *bin = argc > 2 ? realpath(argv[1], NULL) : NULL;
    struct bench_lib lib = { .bin = bin };
    char dir[] = "/dev/shm/bench-XXXXXX"; /* in memory, as /run is */
    size_t i;
    int rc = 0;

    if (!bin || argc > 4) {
        fputs("usage: bench-lib PROGRAM_DIRECTORY RESULT.json [PART]\n",
              stderr);
        return 2;
    }
    /* What a peer leaves behind comes to us. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    raise_limits();
    if (!mkdtemp(dir) || chdir(dir) < 0 || mkdir("state", 0755) < 0 ||
        !(lib.ctx = bench_ctx_new(lib.bin)) ||
        !(lib.plan = bench_plan_new())) {
        perror("bench");
        return 1;
    }
    bench_begin("The library");
    for (i = 0; !rc && i < ARRAY_SIZE(parts); i++) {
        if (argc == 3 || !strcmp(argv[3], parts[i].name)) {
            rc = parts[i].run(&lib);
        }
    }
    rc = bench_end(argv[2]) || rc;
    libspawn_plan_free(lib.plan);
    libspawn_ctx_free(lib.ctx);
    libspawn__dir_remove_tree(dir, NULL);
    return rc ? 1 : 0;
}
