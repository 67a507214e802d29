/*
 * Speed without Xen: what xl costs over the bare programs.
 *
 *   create  `xl create` of a real QEMU guest, against the same QEMU command
 *           line by hand, up to the answer to qmp_capabilities
 *   fail    `xl create` whose device model exits at once, against that
 *           program alone
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
#include "wire/json.h"
#include "wire/stream.h"

struct setting {
    char *bin;                       /* directory of the programs */
    char *config;                    /* of the guest */
    struct libspawn__strv bare_argv; /* QEMU's, as xl built it */
};

static char *
program(const struct setting *s, const char *name)
{
    return libspawn__str_format("%s/%s", s->bin, name);
}

/* ---- create ------------------------------------------------------------ */

static int64_t
run_xl(const struct setting *s, char *const args[], int expected_exit)
{
    AUTO_FREE char *xl = program(s, "xl");
    char *argv[8] = { xl };
    size_t i;

    for (i = 0; args[i]; i++) {
        argv[i + 1] = args[i];
    }
    return bench_time_program(argv, expected_exit);
}

static int64_t
create_by_xl(void *user)
{
    const struct setting *s = user;
    char create[] = "create";
    char destroy[] = "destroy";
    char name[] = "bench";
    char *create_args[] = { create, s->config, NULL };
    char *destroy_args[] = { destroy, name, NULL };
    int64_t time = run_xl(s, create_args, 0);

    return time < 0 || run_xl(s, destroy_args, 0) < 0 ? -1 : time;
}

/* Reads until a line with 'word' has come. */
static bool
await_line(int fd, const char *word)
{
    char text[8192];
    size_t size = 0;

    while (size < sizeof text - 1) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        ssize_t n;

        if (poll(&pollfd, 1, 20000) <= 0) {
            return false;
        }
        n = read(fd, text + size, sizeof text - 1 - size);
        if (n <= 0) {
            return false;
        }
        size += (size_t)n;
        text[size] = '\0';
        if (strstr(text, word) && text[size - 1] == '\n') {
            return true;
        }
    }
    return false;
}

static bool
negotiate(int fd)
{
    static const char command[] = "{\"execute\":\"qmp_capabilities\"}\n";

    return await_line(fd, "\"QMP\"") &&
           !libspawn__fd_write_full(fd, command, sizeof command - 1) &&
           await_line(fd, "\"return\"");
}

/* The listener as descriptor 3 and a second one as 4, as xl gives them. */
static int64_t
create_bare(void *user)
{
    struct setting *s = user;
    posix_spawn_file_actions_t actions;
    struct libspawn_err err;
    AUTO_FD int listener = -1;
    AUTO_FD int serial = -1;
    AUTO_FD int fd = -1;
    int64_t begin = bench_now_ns();
    int64_t end;
    pid_t pid;

    unlink("bare-qmp");
    unlink("bare-serial");
    if (libspawn__stream_listen("punix:bare-qmp", 0600, &listener, &err) ||
        libspawn__stream_listen("punix:bare-serial", 0600, &serial, &err) ||
        libspawn__stream_connect("unix:bare-qmp", &fd, &err)) {
        fprintf(stderr, "bench: %s\n", err.text);
        return -1;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, listener, 103);
    posix_spawn_file_actions_adddup2(&actions, serial, 104);
    posix_spawn_file_actions_adddup2(&actions, 103, 3);
    posix_spawn_file_actions_adddup2(&actions, 104, 4);
    posix_spawn_file_actions_addclosefrom_np(&actions, 5);
    if (posix_spawn(&pid, s->bare_argv.items[0], &actions, NULL,
                    s->bare_argv.items, environ)) {
        return -1;
    }
    posix_spawn_file_actions_destroy(&actions);
    libspawn__fd_set_nonblocking(fd, false, NULL);
    end = negotiate(fd) ? bench_now_ns() : -1;
    kill(pid, SIGKILL); /* our unreaped child */
    waitpid(pid, NULL, 0);
    return end < 0 ? -1 : end - begin;
}

/* What xl gives QEMU is in /proc of a guest that it created. */
static int
learn_arguments(struct setting *s)
{
    AUTO_FREE char *record = NULL;
    AUTO_FREE char *cmdline = NULL;
    AUTO_FREE char *path = NULL;
    char create[] = "create";
    char destroy[] = "destroy";
    char name[] = "bench";
    char *create_args[] = { create, s->config, NULL };
    char *destroy_args[] = { destroy, name, NULL };
    struct libspawn_err err;
    const char *child;
    size_t size;
    size_t at;

    if (run_xl(s, create_args, 0) < 0 ||
        libspawn__file_read("state/store/libxl/1/libspawn/dm", 4096, &record,
                            NULL, &err)) {
        return -1;
    }
    child = strstr(record, "child=");
    path = libspawn__str_format("/proc/%d/cmdline",
                                child ? (int)strtol(child + 6, NULL, 10) : 0);
    if (libspawn__file_read(path, 65536, &cmdline, &size, &err)) {
        return -1;
    }
    for (at = 0; at < size; at += strlen(cmdline + at) + 1) {
        if (libspawn__strv_add(&s->bare_argv, cmdline + at, &err)) {
            return -1;
        }
    }
    return run_xl(s, destroy_args, 0) < 0 ? -1 : 0;
}

/* ---- fail -------------------------------------------------------------- */

static int64_t
fail_by_xl(void *user)
{
    const struct setting *s = user;
    AUTO_FREE char *model = libspawn__str_format(
        "device_model_override=\"%s/test-device-model\"", s->bin);
    char create[] = "create";
    char args[] = "device_model_args=[\"--exit=1\"]";
    char *argv[] = { create, s->config, model, args, NULL };

    return run_xl(s, argv, 1);
}

static int64_t
fail_bare(void *user)
{
    const struct setting *s = user;
    AUTO_FREE char *model = program(s, "test-device-model");
    char option[] = "--exit=1";
    char *argv[] = { model, option, NULL };

    return bench_time_program(argv, 1);
}

/* ---- All --------------------------------------------------------------- */

static int
run_all(struct setting *s)
{
    const struct bench_pair create = {
        .name = "xl create, to running",
        .ours = "xl create",
        .other = "the same QEMU by hand, to its capabilities answer",
        .run_ours = create_by_xl,
        .run_other = create_bare,
        .user = s,
        .kind = BENCH_RATIO_AT_MOST,
        .bar = 1.5,
    };
    const struct bench_pair fail = {
        .name = "xl create, device model exits at once",
        .ours = "xl create",
        .other = "the device model alone",
        .run_ours = fail_by_xl,
        .run_other = fail_bare,
        .user = s,
        .kind = BENCH_DIFFERENCE_AT_MOST,
        .bar = 10,
    };

    return learn_arguments(s) || bench_run_pair(&create, 30) ||
                   bench_run_pair(&fail, 100)
               ? -1
               : 0;
}

static int
write_config(struct setting *s)
{
    static const char text[] = "name = \"bench\"\ntype = \"hvm\"\n"
                               "memory = 32\nserial = \"pty\"\n";

    s->config = strdup("bench.cfg");
    return s->config ? libspawn__file_replace(s->config, text, sizeof text - 1,
                                              0644, NULL)
                     : -1;
}

int
main(int argc, char *argv[])
{
    struct setting s = { .bin = argc > 2 ? argv[1] : NULL };
    char dir[] = "/tmp/bench-XXXXXX";
    int rc;

    if (argc != 3) {
        fputs("usage: bench-host PROGRAM_DIRECTORY RESULT.json\n", stderr);
        return 2;
    }
    if (!mkdtemp(dir) || chdir(dir) < 0 ||
        setenv("XL_STATE_DIR", "state", 1) < 0 || write_config(&s)) {
        perror("bench");
        return 1;
    }
    bench_begin("Without Xen");
    rc = run_all(&s);
    rc = bench_end(argv[2]) || rc;
    libspawn__strv_dispose(&s.bare_argv);
    free(s.config);
    libspawn__dir_remove_tree(dir, NULL);
    return rc ? 1 : 0;
}
