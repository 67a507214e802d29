/*
 * A caller of a given size.  For each byte on its standard input it starts a
 * child, with libspawn for 's' and by a double fork for 'f', and writes how
 * long that took, in nanoseconds; -1 when it failed.  The first answer comes
 * unasked, once the memory is resident.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/bench/bench_child.h"

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

static int64_t
start_once(struct libspawn_ctx *ctx, const struct libspawn_plan *plan)
{
    struct libspawn_child *child;
    int64_t time = bench_child_start(ctx, plan, NULL, NULL, &child);

    if (time >= 0) {
        bench_child_end(ctx, child);
    }
    return time;
}

int
main(int argc, char *argv[])
{
    struct libspawn_plan *plan = bench_plan_new();
    struct libspawn_ctx *ctx;
    int64_t time = 0;
    char byte;

    if (argc != 3 || fill_memory((size_t)strtoul(argv[1], NULL, 10) << 20) ||
        !(ctx = bench_ctx_new(argv[2]))) {
        return 1;
    }
    while (!libspawn__fd_write_full(1, &time, sizeof time) &&
           read(0, &byte, 1) == 1) {
        time = byte == 'f' ? bench_double_fork() : start_once(ctx, plan);
    }
    libspawn_ctx_free(ctx);
    libspawn_plan_free(plan);
    return 0;
}
