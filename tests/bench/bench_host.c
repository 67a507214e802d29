/*
 * Speed without Xen: what xl costs over the bare programs.
 *
 *   create  `xl create` of a real QEMU guest, against the same QEMU command
 *           line by hand, up to the answer to qmp_capabilities
 *   fail    `xl create` whose device model exits at once, against that
 *           program alone
 */
#include <fcntl.h>
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
#include "dm/dm.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_xl.h"
#include "wire/stream.h"

struct setting {
    struct libspawn__strv bare_argv; /* QEMU's, as xl built it */
};

/* ---- create ------------------------------------------------------------ */

static int64_t
create_by_xl(void *user)
{
    int64_t time = bench_xl(0, "create", BENCH_XL_CONFIG);

    (void)user;
    return time < 0 || bench_xl(0, "destroy", BENCH_XL_GUEST) < 0 ? -1 : time;
}

static bool
negotiate(int fd)
{
    static const char command[] = "{\"execute\":\"qmp_capabilities\"}\n";

    return bench_xl_await_line(fd, "\"QMP\"") &&
           !libspawn__fd_write_full(fd, command, sizeof command - 1) &&
           bench_xl_await_line(fd, "\"return\"");
}

/* Its descriptors in the order of libspawn/dm/dm.h, as xl gives them: a
 * monitor for others, our own, a serial port. */
static const char *const listeners[] = { "bare-qmp", "bare-own",
                                         "bare-serial" };

static int
listen_all(int fds[ARRAY_SIZE(listeners)], struct libspawn_err *err)
{
    int rc = 0;
    size_t i;

    for (i = 0; !rc && i < ARRAY_SIZE(listeners); i++) {
        AUTO_FREE char *name =
            libspawn__str_format("punix:%s", listeners[i]);

        unlink(listeners[i]);
        rc = libspawn__stream_listen(name, 0600, &fds[i], err);
    }
    return rc;
}

/* With the listeners from descriptor LIBSPAWN__DM_QMP_FD on. */
static int
spawn_bare(struct setting *s, const int fds[ARRAY_SIZE(listeners)],
           pid_t *pid_r)
{
    enum { ABOVE_ALL = 100 };
    posix_spawn_file_actions_t actions;
    int n = ARRAY_SIZE(listeners);
    int i;
    int r;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_RDWR, 0);
    for (i = 0; i < n; i++) {
        posix_spawn_file_actions_adddup2(&actions, fds[i], ABOVE_ALL + i);
    }
    for (i = 0; i < n; i++) {
        posix_spawn_file_actions_adddup2(&actions, ABOVE_ALL + i,
                                         LIBSPAWN__DM_QMP_FD + i);
    }
    posix_spawn_file_actions_addclosefrom_np(&actions,
                                             LIBSPAWN__DM_QMP_FD + n);
    r = posix_spawn(pid_r, s->bare_argv.items[0], &actions, NULL,
                    s->bare_argv.items, environ);
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

static int64_t
create_bare(void *user)
{
    int fds[ARRAY_SIZE(listeners)] = { -1, -1, -1 };
    struct libspawn_err err;
    AUTO_FD int fd = -1;
    int64_t begin = bench_now_ns();
    int64_t end = -1;
    pid_t pid;
    size_t i;

    if (listen_all(fds, &err) ||
        libspawn__stream_connect("unix:bare-own", &fd, &err)) {
        fprintf(stderr, "bench: %s\n", err.text);
    } else if (!spawn_bare(user, fds, &pid)) {
        libspawn__fd_set_nonblocking(fd, false, NULL);
        end = negotiate(fd) ? bench_now_ns() : -1;
        kill(pid, SIGKILL); /* our unreaped child */
        waitpid(pid, NULL, 0);
    }
    for (i = 0; i < ARRAY_SIZE(fds); i++) {
        libspawn__auto_close(&fds[i]);
    }
    return end < 0 ? -1 : end - begin;
}

/* What xl gives QEMU is in /proc of the first guest that it creates. */
static int
learn_arguments(struct setting *s)
{
    AUTO_FREE char *cmdline = NULL;
    AUTO_FREE char *path = NULL;
    struct libspawn_err err;
    size_t size;
    size_t at;

    if (bench_xl(0, "create", BENCH_XL_CONFIG) < 0) {
        return -1;
    }
    path = libspawn__str_format("/proc/%d/cmdline", (int)bench_xl_model(1));
    if (libspawn__file_read(path, 65536, &cmdline, &size, &err)) {
        return -1;
    }
    for (at = 0; at < size; at += strlen(cmdline + at) + 1) {
        if (libspawn__strv_add(&s->bare_argv, cmdline + at, &err)) {
            return -1;
        }
    }
    return bench_xl(0, "destroy", BENCH_XL_GUEST) < 0 ? -1 : 0;
}

/* ---- fail -------------------------------------------------------------- */

static int64_t
fail_by_xl(void *user)
{
    AUTO_FREE char *model = bench_xl_program("test-device-model");
    AUTO_FREE char *override =
        libspawn__str_format("device_model_override=\"%s\"", model);

    (void)user;
    return bench_xl(1, "create", BENCH_XL_CONFIG, override,
                    "device_model_args=[\"--exit=1\"]");
}

static int64_t
fail_bare(void *user)
{
    AUTO_FREE char *model = bench_xl_program("test-device-model");
    char option[] = "--exit=1";
    char *argv[] = { model, option, NULL };

    (void)user;
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

int
main(int argc, char *argv[])
{
    AUTO_FREE char *bin = argc == 3 ? realpath(argv[1], NULL) : NULL;
    struct setting s = { 0 };
    int rc;

    if (!bin) {
        fputs("usage: bench-host PROGRAM_DIRECTORY RESULT.json\n", stderr);
        return 2;
    }
    if (bench_xl_begin(bin)) {
        return 1;
    }
    bench_begin("Without Xen");
    rc = run_all(&s);
    rc = bench_end(argv[2]) || rc;
    libspawn__strv_dispose(&s.bare_argv);
    bench_xl_end();
    return rc ? 1 : 0;
}
