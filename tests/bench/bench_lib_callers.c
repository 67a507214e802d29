/*
 * Starts from callers of different size, side by side, so that none waits for
 * another to change its size.
 */
#include "tests/bench/bench_lib.h"

#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "tests/bench/bench.h"

struct caller {
    pid_t pid;
    int fd;
};

/* Of two callers, and what each is told to do. */
struct contest {
    struct caller *ours;
    struct caller *other;
    char other_byte;
};

static int
begin_caller(const struct bench_lib *lib, const char *mib,
             struct caller *caller)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/../bench/bench-caller", lib->bin);
    AUTO_FREE char *size = strdup(mib);
    AUTO_FREE char *bin = strdup(lib->bin);
    char *argv[] = { path, size, bin, NULL };
    posix_spawn_file_actions_t actions;
    int64_t ready;
    int fds[2];
    int r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return -1;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    r = posix_spawn(&caller->pid, path, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    caller->fd = fds[0];
    if (r || read(caller->fd, &ready, sizeof ready) != sizeof ready) {
        fprintf(stderr, "bench: no caller of %s MiB\n", mib);
        return -1;
    }
    return 0;
}

static void
end_caller(struct caller *caller)
{
    if (caller->pid) {
        close(caller->fd);
        waitpid(caller->pid, NULL, 0);
    }
}

static int64_t
ask(const struct caller *caller, char byte)
{
    int64_t time = -1;

    if (write(caller->fd, &byte, 1) != 1 ||
        read(caller->fd, &time, sizeof time) != (ssize_t)sizeof time) {
        return -1;
    }
    return time;
}

static int64_t
ask_ours(void *user)
{
    return ask(((struct contest *)user)->ours, 's');
}

static int64_t
ask_other(void *user)
{
    const struct contest *contest = user;

    return ask(contest->other, contest->other_byte);
}

static int
compare(const char *name, struct caller *ours, struct caller *other,
        char other_byte, double bar, unsigned int n_runs)
{
    struct contest contest = { ours, other, other_byte };
    const struct bench_pair pair = {
        .name = name,
        .ours = "libspawn_child_start in the bigger caller",
        .other = other_byte == 'f' ? "a double fork in the same"
                                   : "libspawn_child_start in the smaller",
        .run_ours = ask_ours,
        .run_other = ask_other,
        .user = &contest,
        .kind = BENCH_RATIO_AT_MOST,
        .bar = bar,
    };

    return bench_run_pair(&pair, n_runs);
}

int
bench_lib_callers(struct bench_lib *lib)
{
    static const char *const sizes[] = { "10", "1024", "4096" };
    struct caller callers[ARRAY_SIZE(sizes)] = { { 0 } };
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < ARRAY_SIZE(sizes); i++) {
        rc = begin_caller(lib, sizes[i], &callers[i]);
    }
    if (!rc) {
        rc = compare("start, caller of 1 GiB / 10 MiB", &callers[1],
                     &callers[0], 's', 1.1, 200) ||
             compare("start, caller of 4 GiB / 10 MiB", &callers[2],
                     &callers[0], 's', 1.1, 200) ||
             compare("start, caller of 4 GiB / double fork", &callers[2],
                     &callers[2], 'f', 0.02, 30);
    }
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        end_caller(&callers[i]);
    }
    return rc ? -1 : 0;
}
