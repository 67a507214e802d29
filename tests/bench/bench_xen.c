/*
 * Speed on a Xen host: our xl against the stock one, in turn, in one boot.
 * Runs in dom0 (tests/bench/run starts it there).
 *
 *   create   an HVM guest of 32 MiB; destroyed again outside the time
 *   fail     a device model that exits at once
 *   destroy  of a guest that the same xl made
 *   list     two domains
 *   memory   of the process that looks after a running guest: our
 *            guest-supervisor, and the stock xl itself
 */
#include <dirent.h>
#include <poll.h>
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

/* One more, which runs at the same time. */
static char stock_cfg[] = "stock.cfg";
static char stock_name[] = "stock";

/* Before memory is measured. */
enum { SETTLE_MS = 3000 };

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

/* ---- Memory ------------------------------------------------------------ */

static bool
has_argument(const char *pid, const char *argument)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/%s/cmdline", pid);
    AUTO_FREE char *text = NULL;
    size_t size;
    size_t at;

    if (libspawn__file_read(path, 65536, &text, &size, NULL)) {
        return false;
    }
    for (at = 0; at < size; at += strlen(text + at) + 1) {
        if (!strcmp(text + at, argument)) {
            return true;
        }
    }
    return false;
}

static bool
is_called(const char *pid, const char *comm)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/%s/comm", pid);
    AUTO_FREE char *line = libspawn__str_format("%s\n", comm);
    AUTO_FREE char *text = NULL;

    return !libspawn__file_read(path, 64, &text, NULL, NULL) &&
           !strcmp(text, line);
}

/* The process of this name, which the kernel cuts to 15 characters, with this
 * argument; -1 after a message. */
static pid_t
find_process(const char *comm, const char *argument)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    pid_t pid = -1;

    while (dir && pid < 0 && (entry = readdir(dir))) {
        if (is_called(entry->d_name, comm) &&
            has_argument(entry->d_name, argument)) {
            pid = (pid_t)strtol(entry->d_name, NULL, 10);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (pid < 0) {
        fprintf(stderr, "bench: no process '%s' with '%s'\n", comm, argument);
    }
    return pid;
}

static int
report_memory(pid_t ours, pid_t stock)
{
    const struct {
        const char *name;
        const char *key;
    } rows[] = {
        { "per-guest process: PSS", "\nPss:" },
        { "per-guest process: private dirty", "\nPrivate_Dirty:" },
    };
    static const char file[] = "smaps_rollup";
    size_t i;

    for (i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct bench_pair pair = {
            .name = rows[i].name,
            .ours = "guest-supervisor",
            .other = "the stock xl create that stays",
            .kind = BENCH_NO_BAR,
            .unit = "kB",
        };
        double our_kib = bench_proc_number(ours, file, rows[i].key);
        double stock_kib = bench_proc_number(stock, file, rows[i].key);

        if (our_kib < 0 || stock_kib < 0) {
            return -1;
        }
        bench_report(&pair, 1, our_kib, stock_kib);
    }
    return 0;
}

/* A guest, and the process that stays with it. */
static int
create_watched(const struct tool *tool, char *config)
{
    char command[] = "create";
    char quiet[] = "-q";
    char *argv[] = { tool->xl, command, quiet, config, NULL };

    return bench_time_program(argv, 0) < 0 ? -1 : 0;
}

static void
destroy_watched(const struct tool *tool, char *guest)
{
    char command[] = "destroy";
    char *argv[] = { tool->xl, command, guest, NULL };

    bench_time_program(argv, 0);
}

/* Of a guest of each, both running at the same time. */
static int
compare_memory(const struct setting *s)
{
    pid_t stock;
    pid_t ours;
    int rc = create_watched(&s->ours, guest_cfg);

    if (rc) {
        return rc;
    }
    rc = create_watched(&s->stock, stock_cfg);
    if (!rc) {
        poll(NULL, 0, SETTLE_MS);
        ours = find_process("guest-superviso", name);
        stock = find_process("xl", stock_cfg);
        rc = ours < 0 || stock < 0 ? -1 : report_memory(ours, stock);
        destroy_watched(&s->stock, stock_name);
    }
    destroy_watched(&s->ours, name);
    return rc;
}

/* ---- All --------------------------------------------------------------- */

static int
write_configs(void)
{
    static const char guest[] = "name = \"bench\"\ntype = \"hvm\"\n"
                                "memory = 32\nvcpus = 1\n";
    static const char broken[] =
        "name = \"broken\"\ntype = \"hvm\"\nmemory = 32\nvcpus = 1\n"
        "device_model_override = \"/bin/false\"\n";
    static const char stock[] = "name = \"stock\"\ntype = \"hvm\"\n"
                                "memory = 32\nvcpus = 1\n";

    return libspawn__file_replace(guest_cfg, guest, sizeof guest - 1, 0644,
                                  NULL) ||
           libspawn__file_replace(broken_cfg, broken, sizeof broken - 1, 0644,
                                  NULL) ||
           libspawn__file_replace(stock_cfg, stock, sizeof stock - 1, 0644,
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
    rc = rc || compare_memory(&s);
    rc = bench_end(argv[2]) || rc;
    libspawn__dir_remove_tree(dir, NULL);
    return rc ? 1 : 0;
}
