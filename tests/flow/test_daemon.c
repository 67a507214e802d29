/*
 * proc/daemon.c: starting a daemon, and its verdict.
 */
#include "proc/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/pidfile.h"
#include "tests/lib/harness.h"

enum { WAIT_MS = 8000, WORDS_MAX = 16, LEAVE_MS = 500 };

/* ---- A start ----------------------------------------------------------- */

struct start {
    struct libspawn__loop *loop;
    struct libspawn__starter *starter;
    uint32_t deadline_ms;
    bool is_done;
    bool is_ready;
    pid_t pid;
    int exit_status;
    char *text; /* that came with the verdict; NULL: none */
    struct libspawn_err err;
    char stages[256]; /* "one two" */
    char said[256];
    int said_fd; /* the last; -1: none */
};

static void
end(struct start *start)
{
    libspawn__starter_free(start->starter);
    libspawn__loop_free(start->loop);
    libspawn__auto_close(&start->said_fd);
    free(start->text);
    harness_end_children();
}
#define AUTO_START AUTO(end)

static void
add(char *list, size_t size, const char *word)
{
    size_t len = strlen(list);

    snprintf(list + len, size - len, "%s%s", len ? " " : "", word);
}

static void
on_stage(void *user, const char *stage)
{
    struct start *start = user;

    add(start->stages, sizeof start->stages, stage);
}

static void
on_said(void *user, const char *text, int fd)
{
    struct start *start = user;

    add(start->said, sizeof start->said, text);
    if (fd >= 0) {
        libspawn__auto_close(&start->said_fd);
        start->said_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
}

static void
on_done(void *user, const struct libspawn__daemon_verdict *verdict)
{
    struct start *start = user;

    ck_assert_msg(!start->is_done, "a second verdict");
    start->is_done = true;
    start->is_ready = verdict->is_ready;
    start->pid = verdict->pid;
    start->exit_status = verdict->exit_status;
    start->text = verdict->text ? strdup(verdict->text) : NULL;
    start->err = verdict->err;
}

static const char *
daemon_path(void)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/tests/fake/trial_daemon",
             harness_build_dir());
    return path;
}

/* One of these words each. */
#define begin(START, ...)                                                     \
    begin_words(START, (const char *const[]){ __VA_ARGS__, NULL })

static void
begin_words(struct start *start, const char *const words[])
{
    char *argv[WORDS_MAX + 2] = { (char *)(uintptr_t)daemon_path() };
    const struct libspawn__starter_callbacks callbacks = {
        .stage = on_stage, .said = on_said, .done = on_done, .user = start
    };
    const struct libspawn__daemon_plan plan = {
        .label = "trial",
        .path = daemon_path(),
        .argv = argv,
        .envp = environ,
        .deadline_ms = start->deadline_ms,
        .leave_ms = LEAVE_MS,
    };
    struct libspawn_err err;
    size_t i;

    for (i = 0; words[i] && i < WORDS_MAX; i++) {
        argv[i + 1] = (char *)(uintptr_t)words[i];
    }
    assert_ok(libspawn__loop_new(&start->loop, &err), &err);
    assert_ok(libspawn__daemon_start(start->loop, &plan, &callbacks,
                                     &start->starter, &err),
              &err);
}

static void
turn_until(struct start *start, const bool *is_so)
{
    int64_t deadline = libspawn__clock_deadline(WAIT_MS);

    while (!*is_so) {
        int left_ms = libspawn__clock_left_ms(deadline);

        ck_assert_msg(left_ms, "there is no verdict; stages: %s",
                      start->stages);
        libspawn__loop_wait(start->loop, left_ms, NULL);
    }
}

static void
await(struct start *start)
{
    turn_until(start, &start->is_done);
}

static void
await_stage(struct start *start, const char *stage)
{
    while (!strstr(start->stages, stage)) {
        ck_assert_msg(!start->is_done, "it ended: %s", start->err.text);
        libspawn__loop_wait(start->loop, WAIT_MS, NULL);
    }
}

static void
assert_failed(const struct start *start, int status, const char *words)
{
    ck_assert(!start->is_ready);
    ck_assert_int_eq(start->exit_status, status);
    assert_contains(start->err.text, words);
}

static void
assert_nobody_left(void)
{
    ck_assert(harness_wait_children(WAIT_MS));
}

#define START                                                                 \
    {                                                                         \
        .said_fd = -1                                                         \
    }

/* ---- Ready ------------------------------------------------------------- */

/* Covers D2. */
TEST(daemon_ready__has_its_pid_file_at_that_moment)
{
    AUTO_START struct start start = START;
    pid_t pid = 0;

    begin(&start, "stage=one", "pidfile=pid", "stage=two", "ready=fine",
          "deaf");
    await(&start);
    ck_assert(start.is_ready);
    ck_assert_int_eq(start.exit_status, 0);
    ck_assert_str_eq(start.text, "fine");
    ck_assert_str_eq(start.stages, "one two");
    assert_ok(libspawn__pidfile_owner("pid", &pid, NULL), NULL);
    ck_assert_int_eq(pid, start.pid);
}

/* Covers D7. */
TEST(daemon_ready__has_its_own_session_and_the_root_as_its_directory)
{
    AUTO_START struct start start = START;
    AUTO_FREE char *path = NULL;
    char cwd[64] = "";

    begin(&start, "ready", "deaf");
    await(&start);
    ck_assert_int_eq(getsid(start.pid), start.pid);
    path = libspawn__str_format("/proc/%d/cwd", (int)start.pid);
    ck_assert_int_gt(readlink(path, cwd, sizeof cwd - 1), 0);
    ck_assert_str_eq(cwd, "/");
}

TEST(daemon_that_is_told__hears_it_and_answers_with_the_descriptor)
{
    AUTO_START struct start start = START;
    struct stat sent;
    struct stat came;

    begin(&start, "await", "ready", "deaf");
    ck_assert_int_eq(fstat(STDERR_FILENO, &sent), 0);
    assert_ok(libspawn__daemon_tell(start.starter, "hello", STDERR_FILENO,
                                    NULL),
              NULL);
    await(&start);
    ck_assert_str_eq(start.said, "hello");
    ck_assert_int_eq(fstat(start.said_fd, &came), 0);
    ck_assert(sent.st_ino == came.st_ino && sent.st_dev == came.st_dev);
}

TEST(daemon_without_a_starter__runs_in_the_foreground)
{
    AUTO_OUTPUT struct harness_output output = harness_run(
        daemon_path(), "stage=x", "say=x", "print=here", "ready", "exit=5");

    ck_assert_int_eq(output.status, 5);
    ck_assert_str_eq(output.err, "here\n");
}

/* ---- Not ready --------------------------------------------------------- */

/* Covers D10. */
TEST(daemon_that_exits_with_37__gives_37_to_the_starter)
{
    AUTO_START struct start start = START;

    begin(&start, "stage=counting", "exit=37");
    await(&start);
    assert_failed(&start, 37, "the trial exited with status 37 before it was "
                              "ready, while counting");
    assert_nobody_left();
}

/* Covers D3. */
TEST(daemon_that_says_why__is_heard_and_its_status_passed_on)
{
    AUTO_START struct start start = START;

    begin(&start, "fail=no such thing", "exit=1");
    await(&start);
    assert_failed(&start, 1, "exited with status 1");
    ck_assert_str_eq(start.text, "no such thing");
}

/* Covers D11. */
TEST(daemon_that_exits_with_0_too_early__is_a_failure)
{
    AUTO_START struct start start = START;

    begin(&start, "exit=0");
    await(&start);
    assert_failed(&start, 1, "before it was ready");
}

/* Covers D12. */
TEST(daemon_killed_by_a_signal__names_it_in_status_and_text)
{
    AUTO_START struct start start = START;

    begin(&start, "stage=falling", "signal=11");
    await(&start);
    assert_failed(&start, 128 + SIGSEGV, "SIGSEGV");
    assert_contains(start.err.text, "while falling");
}

TEST(daemon_that_cannot_be_executed__is_an_error_at_once)
{
    struct libspawn__loop *loop;
    struct libspawn__starter *starter = NULL;
    char name[] = "none";
    char *argv[] = { name, NULL };
    const struct libspawn__daemon_plan plan = {
        .label = "trial", .path = "/none", .argv = argv, .envp = environ
    };
    const struct libspawn__starter_callbacks callbacks = { .done = on_done };
    struct libspawn_err err;

    assert_ok(libspawn__loop_new(&loop, NULL), NULL);
    ck_assert_int_ne(
        libspawn__daemon_start(loop, &plan, &callbacks, &starter, &err), 0);
    assert_contains(err.text, "/none");
    ck_assert_ptr_null(starter);
    libspawn__loop_free(loop);
}

/* ---- The deadline ------------------------------------------------------ */

/* Covers D13. */
TEST(daemon_that_is_not_ready_in_time__undoes_and_the_stage_is_named)
{
    AUTO_START struct start start = START;

    start.deadline_ms = 300;
    begin(&start, "make=file", "stage=waiting for a bus", "linger");
    await(&start);
    assert_failed(&start, LIBSPAWN__DAEMON_EXIT_DEADLINE,
                  "not ready within 0.3 s, while waiting for a bus");
    ck_assert_int_eq(start.err.code, LIBSPAWN_ERR_TIMEOUT);
    ck_assert_int_ne(access("file", F_OK), 0);
    assert_nobody_left();
}

/* Covers D13. */
TEST(daemon_that_is_deaf__is_killed)
{
    AUTO_START struct start start = START;

    start.deadline_ms = 200;
    begin(&start, "stage=not hearing", "deaf");
    await(&start);
    assert_failed(&start, LIBSPAWN__DAEMON_EXIT_DEADLINE, "not hearing");
    assert_nobody_left();
}

/* Covers D13. */
TEST(daemon_that_is_stopped__is_killed)
{
    AUTO_START struct start start = START;

    start.deadline_ms = 200;
    begin(&start, "stage=standing still", "stop", "ready", "deaf");
    await(&start);
    assert_failed(&start, LIBSPAWN__DAEMON_EXIT_DEADLINE, "standing still");
    assert_nobody_left();
}

TEST(daemon_aborted__undoes_and_leaves)
{
    AUTO_START struct start start = START;

    begin(&start, "make=file", "stage=made", "linger");
    await_stage(&start, "made");
    libspawn__daemon_abort(start.starter);
    await(&start);
    assert_failed(&start, 9, "status 9");
    ck_assert_int_ne(access("file", F_OK), 0);
}

TEST(daemon_whose_starter_is_freed__is_killed)
{
    AUTO_START struct start start = START;

    begin(&start, "stage=here", "deaf");
    await_stage(&start, "here");
    libspawn__starter_free(TAKE_PTR(start.starter));
    assert_nobody_left();
    ck_assert(!start.is_done);
}

/* ---- Helpers ----------------------------------------------------------- */

/* Covers D18. */
TEST(daemon_with_a_helper_that_stays__is_known_to_have_ended_at_once)
{
    AUTO_START struct start start = START;
    int64_t begun;

    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    begin(&start, "helper", "stage=helped", "until=fifo", "exit=37");
    await_stage(&start, "helped");
    begun = libspawn__clock_now_ms();
    close(open("fifo", O_WRONLY | O_CLOEXEC));
    await(&start);
    assert_failed(&start, 37, "status 37");
    ck_assert_int_lt(libspawn__clock_now_ms() - begun, 1000);
}

/* Covers D18. */
TEST(daemon_killed_while_its_helper_sleeps__is_known_within_a_second)
{
    AUTO_START struct start start = START;
    int64_t begun = libspawn__clock_now_ms();

    begin(&start, "helper", "signal=9");
    await(&start);
    assert_failed(&start, 128 + SIGKILL, "SIGKILL");
    ck_assert_int_lt(libspawn__clock_now_ms() - begun, 1000);
}

/* ---- The starter as a process ------------------------------------------ */

static void
ignore(int number)
{
    (void)number;
}

/* Exits with what the verdict says. */
static pid_t
start_starter(const char *const words[], bool is_stormy)
{
    pid_t pid = fork();

    if (!pid) {
        const struct itimerval often = { { 0, 500 }, { 0, 500 } };
        const struct sigaction action = { .sa_handler = ignore };
        struct start start = START;

        if (is_stormy) {
            sigaction(SIGALRM, &action, NULL); /* without SA_RESTART */
            setitimer(ITIMER_REAL, &often, NULL);
        }
        begin_words(&start, words);
        while (!start.is_done) {
            libspawn__loop_wait(start.loop, -1, NULL);
        }
        _exit(start.exit_status);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static bool
is_made(void *user)
{
    return !access(user, F_OK);
}

static void
await_file(char *path)
{
    ck_assert(harness_wait_until(is_made, path, WAIT_MS));
}

static bool
is_gone(void *user)
{
    return access(user, F_OK) != 0;
}

/* Stops and continues it while it waits; then its daemon goes on. */
static int
shake(pid_t starter)
{
    char made[] = "file";
    int status;
    int i;

    await_file(made);
    for (i = 0; i < 50; i++) {
        kill(starter, SIGSTOP);
        ck_assert_int_eq(waitpid(starter, &status, WUNTRACED), starter);
        ck_assert(WIFSTOPPED(status));
        kill(starter, SIGCONT);
    }
    close(open("fifo", O_WRONLY | O_CLOEXEC));
    ck_assert_int_eq(waitpid(starter, &status, 0), starter);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Covers D14. */
TEST_TIMEOUT(starter_stopped_and_interrupted_often__passes_the_failure_on, 20)
{
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    ck_assert_int_eq(shake(start_starter((const char *const[]){ "make=file",
                                                                "until=fifo",
                                                                "exit=37",
                                                                NULL },
                                         true)),
                     37);
    assert_nobody_left();
}

/* Covers D14. */
TEST_TIMEOUT(starter_stopped_and_interrupted_often__hears_that_it_is_ready, 20)
{
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    ck_assert_int_eq(shake(start_starter((const char *const[]){ "make=file",
                                                                "until=fifo",
                                                                "ready",
                                                                "deaf", NULL },
                                         true)),
                     0);
    harness_end_children();
}

/* Covers D16. */
TEST(starter_killed_during_the_start__its_daemon_undoes_and_leaves)
{
    char made[] = "file";
    pid_t starter =
        start_starter((const char *const[]){ "make=file", "linger", NULL },
                      false);

    await_file(made);
    kill(starter, SIGKILL);
    ck_assert_int_eq(waitpid(starter, NULL, 0), starter);
    ck_assert(harness_wait_until(is_gone, made, WAIT_MS));
    assert_nobody_left();
}

/* Covers D16. */
TEST(starter_killed_unseen__the_daemon_finds_out_when_it_wants_to_be_ready)
{
    char made[] = "file";
    pid_t starter;

    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    starter = start_starter((const char *const[]){ "make=file", "until=fifo",
                                                   "ready", "deaf", NULL },
                            false);
    await_file(made);
    kill(starter, SIGKILL);
    ck_assert_int_eq(waitpid(starter, NULL, 0), starter);
    close(open("fifo", O_WRONLY | O_CLOEXEC));
    ck_assert(harness_wait_until(is_gone, made, WAIT_MS));
    assert_nobody_left();
}

/* Covers D8. */
TEST(starter_whose_output_is_read__lets_its_reader_see_the_end)
{
    char byte;
    int fds[2];
    int err_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    pid_t starter;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    starter = start_starter(
        (const char *const[]){ "print=x", "ready", "deaf", NULL }, false);
    dup2(err_copy, STDERR_FILENO);
    close(err_copy);
    close(fds[1]);
    ck_assert_int_eq(waitpid(starter, NULL, 0), starter);
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'x');
    ck_assert_int_eq(read(fds[0], &byte, 1), 1); /* the newline */
    ck_assert(harness_wait_readable(fds[0], WAIT_MS));
    ck_assert_int_eq(read(fds[0], &byte, 1), 0);
    close(fds[0]);
    harness_end_children();
}

TEST_MAIN("daemon")
