/*
 * Speed on a Xen host: our xl against the stock one, in turn, in one boot.
 * Runs in dom0 (tests/bench/run starts it there).
 *
 *   create   an HVM guest of 32 MiB; destroyed again outside the time
 *   fail     a device model that exits at once
 *   destroy  of a guest that the same xl made
 *   list     two domains
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/bench/bench.h"

struct tool {
    char *xl;
    int fail_status; /* of a create whose device model exits with 1 */
};

struct setting {
    struct tool ours;
    struct tool stock;
};

static char guest_cfg[] = "bench.cfg";
static char broken_cfg[] = "broken.cfg";
static char name[] = "bench";

/* Without the process that the stock xl leaves behind. */
static char no_monitor[] = "-e";

static int64_t
create(const struct tool *tool)
{
    char command[] = "create";
    char quiet[] = "-q";
    char *argv[] = { tool->xl, command, quiet, no_monitor, guest_cfg, NULL };

    return bench_time_program(argv, 0);
}

static int64_t
destroy(const struct tool *tool)
{
    char command[] = "destroy";
    char *argv[] = { tool->xl, command, name, NULL };

    return bench_time_program(argv, 0);
}

static int64_t
time_create(const struct tool *tool)
{
    int64_t time = create(tool);

    return time < 0 || destroy(tool) < 0 ? -1 : time;
}

static int64_t
time_destroy(const struct tool *tool)
{
    return create(tool) < 0 ? -1 : destroy(tool);
}

static int64_t
time_fail(const struct tool *tool)
{
    char command[] = "create";
    char quiet[] = "-q";
    char *argv[] = { tool->xl, command, quiet, no_monitor, broken_cfg, NULL };

    return bench_time_program(argv, tool->fail_status);
}

static int64_t
time_list(const struct tool *tool)
{
    char command[] = "list";
    char *argv[] = { tool->xl, command, NULL };

    return bench_time_program(argv, 0);
}

#define SIDES(WHAT)                                                           \
    static int64_t ours_##WHAT(void *user)                                    \
    {                                                                         \
        return time_##WHAT(&((struct setting *)user)->ours);                  \
    }                                                                         \
    static int64_t stock_##WHAT(void *user)                                   \
    {                                                                         \
        return time_##WHAT(&((struct setting *)user)->stock);                 \
    }
SIDES(create)
SIDES(destroy)
SIDES(fail)
SIDES(list)

static int
write_configs(void)
{
    static const char guest[] = "name = \"bench\"\ntype = \"hvm\"\n"
                                "memory = 32\nvcpus = 1\n";
    static const char broken[] =
        "name = \"broken\"\ntype = \"hvm\"\nmemory = 32\nvcpus = 1\n"
        "device_model_override = \"/bin/false\"\n";

    return libspawn__file_replace(guest_cfg, guest, sizeof guest - 1, 0644,
                                  NULL) ||
           libspawn__file_replace(broken_cfg, broken, sizeof broken - 1, 0644,
                                  NULL);
}

int
main(int argc, char *argv[])
{
    static char stock_xl[] = "/usr/sbin/xl";
    struct setting s = { .ours = { argc > 1 ? argv[1] : NULL, 1 },
                         .stock = { stock_xl, 3 } };
    const struct {
        const char *name;
        bench_fn *ours;
        bench_fn *stock;
        double bar;
        unsigned int n_runs;
    } pairs[] = {
        { "xl create, HVM", ours_create, stock_create, 0.65, 7 },
        { "xl create, device model exits", ours_fail, stock_fail, 0.3, 7 },
        { "xl destroy", ours_destroy, stock_destroy, 0.1, 7 },
        { "xl list", ours_list, stock_list, 0.5, 15 },
    };
    char dir[] = "/tmp/bench-XXXXXX";
    size_t i;
    int rc = 0;

    if (argc != 3 || !mkdtemp(dir) || chdir(dir) < 0 || write_configs()) {
        fputs("usage: bench-xen XL RESULT.json (in dom0)\n", stderr);
        return 2;
    }
    bench_begin("On a Xen host, against the stock xl");
    for (i = 0; !rc && i < ARRAY_SIZE(pairs); i++) {
        const struct bench_pair pair = {
            .name = pairs[i].name,
            .ours = "our xl",
            .other = "the stock xl",
            .run_ours = pairs[i].ours,
            .run_other = pairs[i].stock,
            .user = &s,
            .kind = BENCH_RATIO_AT_MOST,
            .bar = pairs[i].bar,
        };

        rc = bench_run_pair(&pair, pairs[i].n_runs);
    }
    rc = bench_end(argv[2]) || rc;
    libspawn__dir_remove_tree(dir, NULL);
    return rc ? 1 : 0;
}
