#include "tests/bench/bench_child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "tests/bench/bench.h"

static char program[] = "/bin/sleep";
static char seconds[] = "1000";
static char *const program_argv[] = { program, seconds, NULL };

/* ---- By the library ---------------------------------------------------- */

struct libspawn_ctx *
bench_ctx_new(const char *bin)
{
    AUTO_FREE char *watcher = libspawn__str_format("%s/spawn-watcher", bin);
    const struct libspawn_ctx_options options = { .watcher_path = watcher };
    struct libspawn_ctx *ctx;
    struct libspawn_err err;

    if (libspawn_ctx_new(&options, &ctx, &err)) {
        fprintf(stderr, "bench: %s\n", err.text);
        return NULL;
    }
    return ctx;
}

struct libspawn_plan *
bench_plan_new(void)
{
    struct libspawn_plan *plan = libspawn_plan_new();

    libspawn_plan_set_program(plan, program);
    libspawn_plan_add_arg(plan, program);
    libspawn_plan_add_arg(plan, seconds);
    libspawn_plan_set_record(plan, "dir:state/store", "/bench/record");
    return plan;
}

int64_t
bench_child_start(struct libspawn_ctx *ctx, const struct libspawn_plan *plan,
                  libspawn_event_fn *fn, void *user,
                  struct libspawn_child **child_r)
{
    struct libspawn_child *child;
    struct libspawn_err err;
    int64_t begin = bench_now_ns();
    int64_t end;
    int rc = libspawn_child_start(ctx, plan, fn, user, &child, &err);

    while (!rc && !libspawn_child_pid(child)) {
        rc = libspawn_ctx_wait(ctx, -1, &err);
        if (!rc) {
            rc = libspawn_child_check(child, &err);
        }
    }
    end = bench_now_ns();
    if (rc) {
        fprintf(stderr, "bench: %s\n", err.text);
        return -1;
    }
    *child_r = child;
    return end - begin;
}

static bool
has_children(void)
{
    siginfo_t info;

    return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
}

void
bench_child_end(struct libspawn_ctx *ctx, struct libspawn_child *child)
{
    libspawn_child_stop(child);
    while (!libspawn_child_check(child, NULL) || has_children()) {
        libspawn_ctx_wait(ctx, -1, NULL);
    }
    libspawn_child_free(child);
}

/* ---- By hand ----------------------------------------------------------- */

/* Exec closes the other end of the pipe. */
static int64_t
await_exec(int fd, int64_t begin)
{
    char byte;

    return read(fd, &byte, 1) == 0 ? bench_now_ns() - begin : -1;
}

int64_t
bench_bare_start(pid_t *pid_r)
{
    AUTO_FD int read_fd = -1;
    int64_t begin;
    int fds[2];
    int r;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    read_fd = fds[0];
    begin = bench_now_ns();
    r = posix_spawn(pid_r, program, NULL, NULL, program_argv, environ);
    close(fds[1]);
    if (r) {
        fprintf(stderr, "bench: %s: %s\n", program, strerror(r));
        return -1;
    }
    return await_exec(read_fd, begin);
}

void
bench_bare_end(pid_t pid)
{
    kill(pid, SIGKILL); /* our unreaped child */
    waitpid(pid, NULL, 0);
}

/* The one in the middle tells the pid of the other. */
static void
run_middle(int fd)
{
    pid_t pid;

    setsid();
    pid = fork();
    if (!pid) {
        execv(program, program_argv);
        _exit(127);
    }
    _exit(write(fd, &pid, sizeof pid) == sizeof pid ? 0 : 1);
}

int64_t
bench_double_fork(void)
{
    AUTO_FD int read_fd = -1;
    int64_t begin;
    int64_t time;
    pid_t middle;
    pid_t pid;
    int fds[2];

    /* What the middle leaves behind comes to us. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    read_fd = fds[0];
    begin = bench_now_ns();
    middle = fork();
    if (!middle) {
        run_middle(fds[1]);
    }
    close(fds[1]);
    if (middle < 0 || read(read_fd, &pid, sizeof pid) != sizeof pid) {
        return -1;
    }
    time = await_exec(read_fd, begin);
    waitpid(middle, NULL, 0);
    bench_bare_end(pid);
    return time;
}
