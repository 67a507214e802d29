#include "tests/cli/xl_story.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"

extern char **environ;

const char *const xl_steps[] = {
    "reserving the name",
    "checking its recovery script",
    "checking its files",
    "choosing a domain id",
    "making its directory and nodes",
    "reserving its PCI devices",
    "starting the device model",
    "setting the VNC password",
    "attaching",
    "unpausing",
    "handing over",
    NULL,
};

/* ---- Begin ------------------------------------------------------------- */

void
xl_begin(void)
{
    AUTO_FREE char *state = libspawn__str_format("%s/state", harness_dir());

    setenv("XL_STATE_DIR", state, 1);
}

static const char *
program_path(char path[4096], const char *name)
{
    snprintf(path, 4096, "%s/bin/%s", harness_build_dir(), name);
    return path;
}

const char *
xl_path(void)
{
    static char path[4096];

    return program_path(path, "xl");
}

const char *
xl_model_path(void)
{
    static char path[4096];

    return program_path(path, "test-device-model");
}

void
xl_write_config(const char *lines)
{
    AUTO_FREE char *text = libspawn__str_format(
        "name = \"" XL_GUEST "\"\nmemory = 16\nvnc = 0\n"
        "device_model_args = [ \"-machine\", \"graphics=off\" ]\n%s\n",
        lines);

    harness_write_file(XL_CONFIG, text);
}

void
xl_write_model_config(const char *arguments)
{
    AUTO_FREE char *text = libspawn__str_format(
        "name = \"" XL_GUEST "\"\nmemory = 16\n"
        "device_model_override = \"%s\"\ndevice_model_args = [ %s ]\n",
        xl_model_path(), arguments);

    harness_write_file(XL_CONFIG, text);
}

const char *
xl_no_qemu(void)
{
    return access("/usr/bin/qemu-system-x86_64", X_OK)
               ? "qemu-system-x86_64 is not installed"
               : NULL;
}

bool
xl_become_somebody(void)
{
    enum { SOMEBODY = 61235 };

    if (geteuid()) {
        harness_mark_skipped("needs root, to become somebody else");
        return false;
    }
    ck_assert_int_eq(chown(harness_dir(), SOMEBODY, SOMEBODY), 0);
    ck_assert_int_eq(setresgid(SOMEBODY, SOMEBODY, SOMEBODY), 0);
    ck_assert_int_eq(setresuid(SOMEBODY, SOMEBODY, SOMEBODY), 0);
    if (access(xl_path(), X_OK)) {
        harness_mark_skipped("others cannot reach '%s'", xl_path());
        return false;
    }
    return true;
}

/* ---- What a run must say ----------------------------------------------- */

void
xl_assert_ok(const struct harness_output *output)
{
    ck_assert_str_eq(output->err, "");
    ck_assert_int_eq(output->status, 0);
}

static size_t
count_errors(const char *text)
{
    size_t n = libspawn__str_has_prefix(text, "xl: ");

    while ((text = strstr(text, "\nxl: "))) {
        text++;
        n++;
    }
    return n;
}

static void
assert_said(const char *out, const char *err, int status, int expected,
            const char *words)
{
    AUTO_FREE char *first = strndup(err, strcspn(err, "\n"));

    ck_assert_msg(status == expected, "the status is %d, not %d:\n%s", status,
                  expected, err);
    ck_assert_str_eq(out, "");
    ck_assert_msg(libspawn__str_has_prefix(first, "xl: "),
                  "no error comes first in:\n%s", err);
    assert_contains(first, words);
    ck_assert_msg(count_errors(err) == 1, "more than one error in:\n%s", err);
}

void
xl_assert_error(const struct harness_output *output, int status,
                const char *words)
{
    assert_said(output->out, output->err, output->status, status, words);
}

/* What an empty state directory holds, with what is known of device models;
 * besides, logs, lock files, and what the store keeps for itself, which its
 * next user clears away. */
static const char *const allowed[] = {
    "",
    "/cache",
    "/cache/device-models",
    "/cache/device-models.new",
    "/events",
    "/events.1",
    "/guests",
    "/locks",
    "/log",
    "/store",
    "/store/.store",
    "/store/libspawn",
    "/store/libspawn/create",
    "/store/libspawn/next-domid",
    "/store/libspawn/remove",
    "/store/libxl",
    "/store/local",
    "/store/local/domain",
    "/store/vm",
    "/supervisors",
};

static size_t state_len; /* of the path of the state directory */

static int
check_left(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *name = path + state_len;
    size_t i;

    (void)st;
    (void)type;
    (void)ftw;
    if (libspawn__str_has_prefix(name, "/log/") ||
        libspawn__str_has_prefix(name, "/locks/") ||
        libspawn__str_has_prefix(name, "/store/.store/")) {
        return 0;
    }
    for (i = 0; i < ARRAY_SIZE(allowed); i++) {
        if (!strcmp(name, allowed[i])) {
            return 0;
        }
    }
    ck_abort_msg("'%s' is left", path);
}

void
xl_assert_nothing_left(void)
{
    enum { MAX_OPEN_DIRECTORIES = 8 };
    const char *state = getenv("XL_STATE_DIR");

    ck_assert_msg(harness_wait_children(XL_WAIT_MS), "a process is left");
    state_len = strlen(state);
    nftw(state, check_left, MAX_OPEN_DIRECTORIES, FTW_PHYS);
}

void
xl_assert_create_fails_argv(int status, const char *words,
                            const char *const argv[])
{
    AUTO_OUTPUT struct harness_output output = harness_run_argv(argv);

    xl_assert_error(&output, status, words);
    xl_assert_nothing_left();
}

void
xl_ok_argv(const char *const argv[])
{
    AUTO_OUTPUT struct harness_output output = harness_run_argv(argv);

    xl_assert_ok(&output);
}

void
xl_destroy_guest(void)
{
    xl_ok("destroy", XL_GUEST);
    xl_assert_nothing_left();
}

void
xl_assert_create_works(void)
{
    AUTO_OUTPUT struct harness_output create = xl_run("create", XL_CONFIG);
    AUTO_OUTPUT struct harness_output destroy = xl_run("destroy", XL_GUEST);

    xl_assert_ok(&create);
    xl_assert_ok(&destroy);
    xl_assert_nothing_left();
}

/* ---- A run that is watched --------------------------------------------- */

/* 'in' becomes its stdin when it is not negative. */
static void
start(struct xl_process *process, const char *const argv[], int in, int out)
{
    posix_spawn_file_actions_t actions;
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], out);
    if (in >= 0) {
        posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    }
    ck_assert_int_eq(posix_spawn(&process->pid, argv[0], &actions, NULL,
                                 (char *const *)(uintptr_t)argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    process->out = fds[0];
}

struct xl_process
xl_start_argv(const char *const argv[])
{
    struct xl_process process = { .pid = -1, .in = -1 };

    start(&process, argv, -1, STDERR_FILENO);
    return process;
}

struct xl_process
xl_start_talk_argv(const char *const argv[])
{
    struct xl_process process = { .pid = -1, .in = -1 };
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    start(&process, argv, fds[0], STDOUT_FILENO);
    close(fds[0]);
    process.in = fds[1];
    return process;
}

void
xl_say(struct xl_process *process, const char *text)
{
    ck_assert_int_eq(libspawn__fd_write_full(process->in, text, strlen(text)),
                     0);
}

/* False at the end. */
static bool
read_more(struct xl_process *process)
{
    ssize_t n;

    ck_assert_msg(harness_wait_readable(process->out, XL_WAIT_MS),
                  "xl says no more than:\n%s", process->text);
    n = read(process->out, process->text + process->size,
             sizeof process->text - 1 - process->size);
    if (n > 0) {
        process->size += (size_t)n;
        process->text[process->size] = '\0';
    }
    return n > 0;
}

bool
xl_await_words(struct xl_process *process, const char *words)
{
    while (!strstr(process->text, words)) {
        if (!read_more(process)) {
            return false;
        }
    }
    return true;
}

bool
xl_await_step(struct xl_process *process, const char *step)
{
    AUTO_FREE char *line = libspawn__str_format("xl: %s\n", step);

    return xl_await_words(process, line);
}

int
xl_wait(struct xl_process *process)
{
    int status;

    while (read_more(process)) {
    }
    close(process->out);
    process->out = -1;
    libspawn__auto_close(&process->in);
    ck_assert_int_eq(waitpid(process->pid, &status, 0), process->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
