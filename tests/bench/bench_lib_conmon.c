/*
 * conmon, which starts containers as our watcher starts device models: from
 * its call to the pid of the child on its sync pipe, with a runtime that does
 * nothing else (bench_runtime.c).
 */
#include "tests/bench/bench_lib.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/bench/bench.h"

static char conmon_path[] = "/usr/bin/conmon";
static const char row_name[] = "start, against conmon";

struct conmon {
    struct bench_lib *lib;
    struct libspawn__strv argv;
};

/* A line like {"data": 1234}. */
static pid_t
read_pid(int fd)
{
    char text[1024];
    size_t size = 0;
    const char *colon;

    while (size < sizeof text - 1 && !memchr(text, '}', size)) {
        ssize_t n = read(fd, text + size, sizeof text - 1 - size);

        if (n <= 0) {
            return -1;
        }
        size += (size_t)n;
    }
    text[size] = '\0';
    colon = strchr(text, ':');
    return colon ? (pid_t)strtol(colon + 1, NULL, 10) : -1;
}

/* It ends when its child has; being left behind, it is ours. */
static void
end_conmon(pid_t child)
{
    AUTO_FREE char *text = NULL;

    kill(child, SIGKILL); /* conmon's unreaped child */
    if (!libspawn__file_read("conmon/conmon.pid", 32, &text, NULL, NULL)) {
        waitpid((pid_t)strtol(text, NULL, 10), NULL, 0);
    }
}

/* It wants paths that are good from everywhere. */
static int
add_arguments(struct libspawn__strv *argv, const char *bin)
{
    AUTO_FREE char *here = getcwd(NULL, 0);
    const char *const arguments[][3] = {
        { conmon_path, "", "" },
        { "--full-attach", "", "" },
        { "--cid=bench", "", "" },
        { "--cuuid=bench", "", "" },
        { "--runtime=", bin, "/../bench/bench-runtime" },
        { "--bundle=", here, "/conmon" },
        { "--container-pidfile=", here, "/conmon/child.pid" },
        { "--conmon-pidfile=", here, "/conmon/conmon.pid" },
        { "--log-path=k8s-file:", here, "/conmon/log" },
    };
    size_t i;
    int rc = here ? 0 : -1;

    for (i = 0; !rc && i < ARRAY_SIZE(arguments); i++) {
        AUTO_FREE char *argument = libspawn__str_format(
            "%s%s%s", arguments[i][0], arguments[i][1], arguments[i][2]);

        rc = argument ? libspawn__strv_add(argv, argument, NULL) : -1;
    }
    return rc;
}

static int64_t
start_by_conmon(void *user)
{
    const struct conmon *conmon = user;
    char env[] = "_OCI_SYNCPIPE=3";
    char *envp[] = { env, NULL };
    AUTO_FD int read_fd = -1;
    int64_t begin;
    int64_t end;
    pid_t child;
    pid_t pid;
    int fds[2];
    int r;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    read_fd = fds[0];
    begin = bench_now_ns();
    r = bench_lib_spawn(conmon->argv.items, envp, fds[1], NULL, &pid);
    close(fds[1]);
    if (r) {
        return -1;
    }
    child = read_pid(read_fd);
    end = bench_now_ns();
    waitpid(pid, NULL, 0);
    if (child <= 0) {
        fprintf(stderr, "bench: conmon started nothing\n");
        return -1;
    }
    end_conmon(child);
    return end - begin;
}

static int64_t
start_by_us(void *user)
{
    return bench_lib_start_once(((struct conmon *)user)->lib);
}

static int64_t
start_prepared_by_us(void *user)
{
    return bench_lib_start_prepared(((struct conmon *)user)->lib);
}

static int64_t
start_by_conmon_after_pause(void *user)
{
    poll(NULL, 0, BENCH_LIB_PAUSE_MS);
    return start_by_conmon(user);
}

int
bench_lib_conmon(struct bench_lib *lib)
{
    struct conmon conmon = { .lib = lib };
    const struct bench_pair pair = {
        .name = row_name,
        .ours = "libspawn_child_start, store in a directory",
        .other = "conmon, to the pid on its sync pipe",
        .run_ours = start_by_us,
        .run_other = start_by_conmon,
        .user = &conmon,
        .kind = BENCH_RATIO_AT_MOST,
        .bar = 0.125,
    };
    const struct bench_pair prepared = {
        .name = "start, prepared, against conmon",
        .ours = "libspawn_child_start after libspawn_ctx_prepare",
        .other = pair.other,
        .run_ours = start_prepared_by_us,
        .run_other = start_by_conmon_after_pause,
        .user = &conmon,
        .kind = BENCH_NO_BAR,
    };
    int rc;

    if (access(conmon_path, X_OK) < 0) {
        bench_skip(row_name, "conmon is not installed");
        return 0;
    }
    rc = libspawn__dir_make("conmon", 0755, NULL);
    if (!rc) {
        rc = add_arguments(&conmon.argv, lib->bin);
    }
    if (!rc) {
        rc = bench_run_pair(&pair, 100);
    }
    if (!rc) {
        rc = bench_run_pair(&prepared, 100);
    }
    libspawn__strv_dispose(&conmon.argv);
    return rc ? -1 : 0;
}
