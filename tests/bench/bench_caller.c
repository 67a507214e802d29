/*
 * A caller of a given size: for each byte on its standard input it starts a
 * child with libspawn and writes how long that took, in nanoseconds, from the
 * call to "exec succeeded, record written".  The first answer comes unasked,
 * once the memory is resident.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "include/libspawn.h"
#include "tests/bench/bench.h"

/* Small pages: the worst case for a fork, which copies their tables. */
static int
fill_memory(size_t size)
{
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        return -1;
    }
    madvise(memory, size, MADV_NOHUGEPAGE);
    memset(memory, 1, size);
    return 0;
}

static void
end_child(struct libspawn_ctx *ctx, struct libspawn_child *child)
{
    libspawn_child_stop(child);
    while (!libspawn_child_check(child, NULL)) {
        libspawn_ctx_wait(ctx, -1, NULL);
    }
    libspawn_child_free(child);
}

static int64_t
start_once(struct libspawn_ctx *ctx, const struct libspawn_plan *plan)
{
    struct libspawn_child *child;
    struct libspawn_err err;
    int64_t begin = bench_now_ns();
    int64_t end;

    if (libspawn_child_start(ctx, plan, NULL, NULL, &child, &err)) {
        fprintf(stderr, "bench: %s\n", err.text);
        return -1;
    }
    while (!libspawn_child_pid(child) && !libspawn_child_check(child, NULL)) {
        libspawn_ctx_wait(ctx, -1, NULL);
    }
    end = bench_now_ns();
    end_child(ctx, child);
    return end - begin;
}

int
main(int argc, char *argv[])
{
    struct libspawn_plan *plan = libspawn_plan_new();
    struct libspawn_ctx_options options = { .watcher_path = NULL };
    struct libspawn_ctx *ctx;
    char watcher[4096];
    int64_t time = 0;
    char byte;

    if (argc != 3) {
        return 2;
    }
    snprintf(watcher, sizeof watcher, "%s/spawn-watcher", argv[2]);
    options.watcher_path = watcher;
    libspawn_plan_set_program(plan, "/bin/sleep");
    libspawn_plan_add_arg(plan, "sleep");
    libspawn_plan_add_arg(plan, "1000");
    libspawn_plan_set_record(plan, "dir:state/store", "/bench/record");
    if (fill_memory((size_t)strtoul(argv[1], NULL, 10) << 20) ||
        libspawn_ctx_new(&options, &ctx, NULL)) {
        return 1;
    }
    while (!libspawn__fd_write_full(1, &time, sizeof time) &&
           read(0, &byte, 1) == 1) {
        time = start_once(ctx, plan);
    }
    libspawn_ctx_free(ctx);
    libspawn_plan_free(plan);
    return 0;
}
