/*
 * The test device model: how it starts, becomes ready and ends.  That every
 * fault is the one that was ordered; test_test_device_model_qmp.c has QMP.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "base/str.h"
#include "base/util.h"
#include "store/store.h"
#include "tests/lib/harness.h"

enum {
    STEP_MS = 5000,   /* for what comes at once */
    SILENCE_MS = 100, /* how long to listen for what must not come */
    NOTIFY_FD = 5     /* in the device model */
};

struct model {
    struct libspawn__pidref ref;
    int notify; /* becomes readable when it is ready */
    int log;    /* what it writes to stderr */
};

/* ---- One device model --------------------------------------------------- */

static const char *
program(void)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/bin/test-device-model",
             harness_build_dir());
    return path;
}

#define run(...) harness_run(program(), __VA_ARGS__)

static int
make_pipe(int *theirs_r)
{
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    *theirs_r = fcntl(fds[1], F_DUPFD_CLOEXEC, NOTIFY_FD + 1);
    ck_assert_int_ge(*theirs_r, 0);
    close(fds[1]);
    return fds[0];
}

/* 'words' ends with NULL. */
static void
start_words(struct model *model, const char *const words[])
{
    AUTO_STRV struct libspawn__strv argv = { 0 };
    posix_spawn_file_actions_t actions;
    AUTO_FD int notify = -1;
    AUTO_FD int log = -1;
    struct libspawn_err err;
    pid_t pid;

    libspawn__strv_add(&argv, "qemu", NULL);
    for (; *words; words++) {
        libspawn__strv_add(&argv, *words, NULL);
    }
    libspawn__strv_add(&argv, "--notify-fd=5", NULL);
    model->notify = make_pipe(&notify);
    model->log = make_pipe(&log);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, notify, NOTIFY_FD);
    posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
    ck_assert_int_eq(
        posix_spawn(&pid, program(), &actions, NULL, argv.items, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    assert_ok(libspawn__pidref_from_pid(pid, &model->ref, &err), &err);
}
#define start(MODEL, ...)                                                     \
    start_words((MODEL), (const char *const[]){ __VA_ARGS__, NULL })

static void
end(struct model *model)
{
    (void)libspawn__pidref_signal(&model->ref, SIGKILL, NULL);
    waitpid(model->ref.id.pid, NULL, 0);
    libspawn__pidref_dispose(&model->ref);
    close(model->notify);
    close(model->log);
}
#define AUTO_MODEL AUTO(end)

static void
expect_ready(const struct model *model)
{
    char bytes[2];

    ck_assert(harness_wait_readable(model->notify, STEP_MS));
    ck_assert_int_eq(read(model->notify, bytes, sizeof bytes), 1);
    ck_assert_int_eq(bytes[0], '\n');
}

/* The wait status of its end, which comes by itself. */
static int
expect_end(const struct model *model)
{
    struct libspawn_err err;
    int status;

    assert_ok(libspawn__pidref_wait(&model->ref, STEP_MS, &err), &err);
    ck_assert_int_eq(waitpid(model->ref.id.pid, &status, 0),
                     model->ref.id.pid);
    return status;
}

static void
expect_exit(const struct model *model, int code)
{
    int status = expect_end(model);

    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), code);
}

static void
terminate(const struct model *model)
{
    struct libspawn_err err;

    assert_ok(libspawn__pidref_signal(&model->ref, SIGTERM, &err), &err);
}

/* ---- Its command line --------------------------------------------------- */

TEST(options_of_qemu__are_ignored)
{
    AUTO_OUTPUT struct harness_output output =
        run("-nodefaults", "-m", "32", "-append", "--exit=9", "-name",
            "--bogus", "--exit=3", "-device", "VGA,vgamem_mb=16");

    ck_assert_int_eq(output.status, 3);
}

TEST(option_is_misspelt__is_a_usage_error)
{
    AUTO_OUTPUT struct harness_output output =
        run("--exit=0", "--nevre-ready");

    ck_assert_int_eq(output.status, 2);
    ck_assert_str_eq(output.err, "there is no option '--nevre-ready'\n");
}

TEST(option_has_a_bad_value__is_a_usage_error)
{
    AUTO_OUTPUT struct harness_output output = run("--exit=many");

    ck_assert_int_eq(output.status, 2);
    assert_contains(output.err, "--exit");
    assert_contains(output.err, "many");
}

TEST(options_come_from_the_environment__are_obeyed)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    setenv("TEST_DEVICE_MODEL", "--stderr=hello --exit=5", 1);
    output = run("-S");
    ck_assert_int_eq(output.status, 5);
    ck_assert_str_eq(output.err, "hello\n");
}

TEST(options_come_from_both__the_command_line_wins)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    setenv("TEST_DEVICE_MODEL", "--exit=5", 1);
    output = run("--exit=6");
    ck_assert_int_eq(output.status, 6);
}

TEST(help__lists_every_option)
{
    AUTO_OUTPUT struct harness_output output = run("--help");

    ck_assert_int_eq(output.status, 0);
    assert_contains(output.out, "  --exit=CODE\n");
    assert_contains(output.out, "  --fork-child[=FILE]\n");
    assert_contains(output.out, "  --mute\n");
}

TEST(help__and_the_manual_list_the_same_options)
{
    AUTO_OUTPUT struct harness_output output = run("--help");
    AUTO_FREE char *path = libspawn__str_format(
        "%s/docs/man/test-device-model.1", harness_source_dir());
    AUTO_FREE char *manual = harness_read_file(path);
    const char *option = strstr(output.out, "\n  --");

    for (; option; option = strstr(option + 1, "\n  --")) {
        const char *name = option + strlen("\n  --");
        AUTO_FREE char *entry = libspawn__str_format(
            "Fl Fl %.*s", (int)strcspn(name, "=[\n"), name);

        assert_contains(manual, entry);
    }
}

TEST(version__is_told_and_looks_like_qemus_when_asked_as_qemu)
{
    AUTO_OUTPUT struct harness_output ours = run("--version");
    AUTO_OUTPUT struct harness_output qemus = run("-version");

    ck_assert(libspawn__str_has_prefix(ours.out, "test-device-model "));
    ck_assert(libspawn__str_has_prefix(qemus.out, "QEMU emulator version "));
}

/* ---- Its end ------------------------------------------------------------ */

TEST(exit__ends_with_that_status)
{
    AUTO_OUTPUT struct harness_output output = run("--exit=255");

    ck_assert_int_eq(output.status, 255);
}

TEST(signal_by_name__dies_of_it)
{
    AUTO_OUTPUT struct harness_output plain = run("--signal=SEGV");
    AUTO_OUTPUT struct harness_output prefixed = run("--signal=SIGTERM");

    ck_assert_int_eq(plain.status, 128 + SIGSEGV);
    ck_assert_int_eq(prefixed.status, 128 + SIGTERM);
}

TEST(signal_by_number__dies_of_it)
{
    AUTO_OUTPUT struct harness_output output = run("--signal=9");

    ck_assert_int_eq(output.status, 128 + SIGKILL);
}

TEST(exit_after_ready__says_ready_first)
{
    AUTO_MODEL struct model model;

    start(&model, "--exit-after-ready=4");
    expect_ready(&model);
    expect_exit(&model, 4);
}

TEST(exit_with_die_after__comes_that_long_after_ready)
{
    AUTO_MODEL struct model model;
    int64_t ready_at;

    start(&model, "--die-after=50", "--exit=8");
    expect_ready(&model);
    ready_at = libspawn__clock_now_ms();
    expect_exit(&model, 8);
    ck_assert_int_ge(libspawn__clock_now_ms() - ready_at, 45);
}

TEST(signal_with_die_after__kills_after_ready)
{
    AUTO_MODEL struct model model;
    int status;

    start(&model, "--signal=BUS", "--die-after=1");
    expect_ready(&model);
    status = expect_end(&model);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGBUS);
}

TEST(die_after_alone__exits_with_1)
{
    AUTO_MODEL struct model model;

    start(&model, "--die-after=1");
    expect_ready(&model);
    expect_exit(&model, 1);
}

TEST(core__is_dumped_whatever_the_soft_limit)
{
    AUTO_MODEL struct model model;
    struct rlimit limit;
    int status;

    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    limit.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &limit), 0);
    start(&model, "--core");
    status = expect_end(&model);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
    /* Without a right to cores the rest cannot be seen. */
    ck_assert(WCOREDUMP(status) || !limit.rlim_max);
}

TEST(stop_self__is_stopped_before_it_is_ready)
{
    AUTO_MODEL struct model model;
    int status;

    start(&model, "--stop-self");
    ck_assert_int_eq(waitpid(model.ref.id.pid, &status, WUNTRACED),
                     model.ref.id.pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert(!harness_wait_readable(model.notify, 0));
}

/* ---- SIGTERM ------------------------------------------------------------ */

TEST(term__exits_with_0)
{
    AUTO_MODEL struct model model;

    start(&model, "-S");
    expect_ready(&model);
    terminate(&model);
    expect_exit(&model, 0);
}

TEST(term_while_ignored__changes_nothing)
{
    AUTO_MODEL struct model model;

    start(&model, "--ignore-term");
    expect_ready(&model);
    terminate(&model);
    assert_code(libspawn__pidref_wait(&model.ref, SILENCE_MS, NULL),
                LIBSPAWN_ERR_TIMEOUT);
}

TEST(term_while_slow__exits_later)
{
    AUTO_MODEL struct model model;
    int64_t asked_at;

    start(&model, "--slow-term=80");
    expect_ready(&model);
    asked_at = libspawn__clock_now_ms();
    terminate(&model);
    expect_exit(&model, 0);
    ck_assert_int_ge(libspawn__clock_now_ms() - asked_at, 80);
}

/* ---- Readiness ---------------------------------------------------------- */

TEST(ready__is_told_once_and_the_descriptor_closed)
{
    AUTO_MODEL struct model model;
    char byte;

    start(&model, "-S");
    expect_ready(&model);
    ck_assert(harness_wait_readable(model.notify, STEP_MS));
    ck_assert_int_eq(read(model.notify, &byte, 1), 0);
}

TEST(ready_after__is_not_ready_earlier)
{
    AUTO_MODEL struct model model;
    int64_t started_at = libspawn__clock_now_ms();

    start(&model, "--ready-after=80");
    expect_ready(&model);
    ck_assert_int_ge(libspawn__clock_now_ms() - started_at, 80);
}

TEST(never_ready__lives_and_says_nothing)
{
    AUTO_MODEL struct model model;

    start(&model, "--never-ready");
    ck_assert(!harness_wait_readable(model.notify, SILENCE_MS));
    ck_assert(libspawn__pidref_is_alive(&model.ref));
}

TEST(ready_with_a_store__writes_running)
{
    AUTO_MODEL struct model model;
    AUTO_FREE char *directory =
        libspawn__str_format("--store-dir=%s/store", harness_dir());
    AUTO_FREE char *address =
        libspawn__str_format("dir:%s/store", harness_dir());
    AUTO_FREE char *value = NULL;
    struct libspawn__store *store;
    struct libspawn_err err;

    start(&model, directory, "--state-node=/guest/1/state");
    expect_ready(&model); /* the descriptor comes last */
    assert_ok(libspawn__store_open(address, &store, &err), &err);
    assert_ok(libspawn__store_read(store, NULL, "/guest/1/state", &value, NULL,
                                   &err),
              &err);
    ck_assert_str_eq(value, "running");
    libspawn__store_close(store);
}

/* A script in the place of the program writes down what it is given. */
TEST(ready_under_xen__writes_running_to_xenstore)
{
    AUTO_MODEL struct model model;
    AUTO_FREE char *written = NULL;

    harness_write_file("xenstore-write",
                       "#!/bin/sh\necho \"$@\" >xenstore.log\n");
    ck_assert_int_eq(chmod("xenstore-write", 0755), 0);
    setenv("PATH", harness_dir(), 1);
    start(&model, "-xen-domid", "7");
    expect_ready(&model);
    written = harness_read_file("xenstore.log");
    ck_assert_str_eq(written, "device-model/7/state running\n");
}

TEST(ready_under_xen_without_its_tools__is_ready_nevertheless)
{
    AUTO_MODEL struct model model;

    setenv("PATH", harness_dir(), 1);
    start(&model, "-xen-domid", "7");
    expect_ready(&model);
}

/* ---- What else it does -------------------------------------------------- */

TEST(noise__is_exactly_that_much_in_lines)
{
    AUTO_OUTPUT struct harness_output output =
        run("--noise=100001", "--exit=0");

    ck_assert_uint_eq(strlen(output.err), 100001);
    ck_assert_int_eq(output.err[100000], '\n');
    ck_assert_int_eq(output.err[63], '\n');
}

TEST(stderr__is_written_line_by_line)
{
    AUTO_OUTPUT struct harness_output output =
        run("--stderr=first line", "--stderr=second", "--exit=1");

    ck_assert_str_eq(output.err, "first line\nsecond\n");
    ck_assert_str_eq(output.out, "");
}

TEST(close_stdio__closes_them_and_lives)
{
    AUTO_MODEL struct model model;
    char byte;

    start(&model, "--close-stdio");
    ck_assert(harness_wait_readable(model.log, STEP_MS));
    ck_assert_int_eq(read(model.log, &byte, 1), 0);
    expect_ready(&model);
}

TEST(fork_child__outlives_term_in_a_session_of_its_own)
{
    AUTO_OUTPUT struct harness_output output =
        run("--fork-child=child.pid", "--exit=0", "--close-stdio");
    AUTO_PIDREF struct libspawn__pidref child = LIBSPAWN__PIDREF_INIT;
    AUTO_FREE char *text = harness_read_file("child.pid");
    pid_t pid = (pid_t)strtol(text, NULL, 10);

    ck_assert_int_eq(output.status, 0);
    assert_ok(libspawn__pidref_from_pid(pid, &child, NULL), NULL);
    ck_assert_int_eq(getsid(pid), pid);
    assert_ok(libspawn__pidref_signal(&child, SIGTERM, NULL), NULL);
    assert_code(libspawn__pidref_wait(&child, SILENCE_MS, NULL),
                LIBSPAWN_ERR_TIMEOUT);
    harness_end_children();
}

TEST(report_fds__lists_what_it_was_started_with)
{
    AUTO_MODEL struct model model;
    AUTO_FREE char *cwd = libspawn__str_format("\ncwd %s\n", harness_dir());
    AUTO_FREE char *report = NULL;

    setenv("COLOR", "green\nred", 1);
    start(&model, "--report-fds=report", "--exit=0", "a word");
    expect_exit(&model, 0);
    report = harness_read_file("report");
    assert_contains(report, "fd 0 /dev/null\n");
    assert_contains(report, "\nfd 2 pipe:[");
    assert_contains(report, "\nfd 5 pipe:[");
    assert_contains(report, "\narg qemu\n");
    assert_contains(report, "\narg a word\n");
    assert_contains(report, "\nenv COLOR=green\\nred\n");
    assert_contains(report, cwd);
    assert_contains(report, "\nstatus SigBlk:\t0000000000000000\n");
    assert_contains(report, "\nlimit Max open files ");
}

TEST(report_fds__shows_no_descriptor_of_its_own)
{
    AUTO_MODEL struct model model;
    AUTO_FREE char *report = NULL;

    start(&model, "--report-fds=report", "--exit=0");
    expect_exit(&model, 0);
    report = harness_read_file("report");
    assert_lacks(report, "/report\n");
    assert_lacks(report, " /proc/");
}

TEST(faults__are_never_caught)
{
    AUTO_MODEL struct model model;
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *status = NULL;

    start(&model, "-S");
    expect_ready(&model);
    path = libspawn__str_format("/proc/%d/status", (int)model.ref.id.pid);
    status = harness_read_file(path);
#ifndef __SANITIZE_ADDRESS__
    assert_contains(status, "\nSigCgt:\t0000000000000000\n");
#endif
    assert_contains(status, "\nState:");
}

TEST_MAIN("test_device_model")
