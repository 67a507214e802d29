/*
 * All kinds of callers: that reap everything themselves, that start processes
 * their own way, that start many at once, that run out of things.  None gets
 * a thread, a lost child or a lost descriptor from the library.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"

static size_t
count_threads(void)
{
    AUTO_DIR DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    size_t n = 0;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir))) {
        n += entry->d_name[0] != '.';
    }
    return n;
}

/* ---- Checking ---------------------------------------------------------- */

/* Covers X8. */
TEST(check_of_a_sleeping_child__never_blocks)
{
    enum { N_CHECKS = 10000, LIMIT_MS = 5 };
    AUTO_STORY struct story story;
    int64_t began;
    int64_t longest = 0;
    int i;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_program(&story, "/bin/sleep", "60");
    story_start(&story);
    story_await(&story, "started");
    began = libspawn__clock_now_ms();
    for (i = 0; i < N_CHECKS; i++) {
        int64_t before = libspawn__clock_now_ms();

        assert_code(libspawn_child_check(story.child, NULL), LIBSPAWN_OK);
        longest = MAX(longest, libspawn__clock_now_ms() - before);
    }
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 1000);
    /* One of them may lie in a moment in which another process ran. */
    ck_assert_int_lt(longest, 100 * LIMIT_MS);
}

TEST(context_descriptor__alone_drives_a_whole_story)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;

    story_begin(&story);
    story_ready_on_confirm(&story, true);
    story_model(&story, "--die-after=200");
    story_start(&story);
    while (!strstr(story.trace, "exited")) {
        ck_assert(harness_wait_readable(libspawn_ctx_fd(story.ctx),
                                        STORY_WAIT_MS));
        assert_ok(libspawn_ctx_dispatch(story.ctx, &err), &err);
    }
    ck_assert_str_eq(story.trace, "started ready exited");
}

TEST(context_in_a_forked_process__refuses_to_dispatch)
{
    AUTO_STORY struct story story;
    int status;
    pid_t pid;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--never-ready");
    story_start(&story);
    pid = fork();
    if (!pid) {
        _exit(-libspawn_ctx_dispatch(story.ctx, NULL));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), -LIBSPAWN_ERR_INVALID);
    story_await(&story, "started");
}

/* ---- Reaping ----------------------------------------------------------- */

enum { MAX_REAPED = 64 };

static struct {
    pid_t pid;
    int status;
} reaped[MAX_REAPED];
static volatile sig_atomic_t n_reaped;

static void
reap_everything(int number)
{
    int saved_errno = errno;
    pid_t pid;
    int status;

    (void)number;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (n_reaped < MAX_REAPED) {
            reaped[n_reaped].pid = pid;
            reaped[n_reaped].status = status;
            n_reaped++;
        }
    }
    errno = saved_errno;
}

static void
install_reaper(void)
{
    struct sigaction action = { .sa_handler = reap_everything,
                                .sa_flags = SA_RESTART };

    ck_assert_int_eq(sigaction(SIGCHLD, &action, NULL), 0);
}

static pid_t
look_up_reaped(void *user, pid_t pid, int *status_r)
{
    int *n_calls = user;
    int i;

    ++*n_calls;
    for (i = 0; i < n_reaped; i++) {
        if (reaped[i].pid == pid) {
            *status_r = reaped[i].status;
            return pid;
        }
    }
    errno = ECHILD;
    return -1;
}

/* Covers X9, M9. */
TEST(caller_that_reaps_everything_with_hook__gets_the_right_status)
{
    int n_calls = 0;
    const struct libspawn_hooks hooks = { .waitpid = look_up_reaped,
                                          .user = &n_calls };
    AUTO_STORY struct story story;

    install_reaper();
    story_begin_with(&story, &hooks);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--exit=37");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->exit_code, 37);
    while (!n_calls) {
        struct libspawn_err err;

        assert_ok(libspawn_ctx_wait(story.ctx, STORY_WAIT_MS, &err), &err);
    }
    ck_assert_int_eq(n_calls, 1);
}

/* Covers X10. */
TEST(caller_that_reaps_everything_without_hook__still_learns_the_cause)
{
    AUTO_STORY struct story story;
    int i;

    install_reaper();
    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--signal=KILL");
    for (i = 0; i < 5; i++) {
        story_start(&story);
        story_await(&story, "started failed");
        ck_assert_int_eq(story_report(&story)->signal, SIGKILL);
        story_forget(&story);
    }
}

/* The one who knew the status is gone, and so is its own.  Covers X10. */
TEST(caller_that_reaps_a_killed_watcher__is_told_that_nobody_knows)
{
    AUTO_STORY struct story story;
    struct libspawn__pidref watcher;

    install_reaper();
    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    watcher = story_pin_watcher(&story);
    ck_assert_int_eq(libspawn__pidref_signal(&watcher, SIGKILL, NULL), 0);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_UNKNOWN);
    assert_contains(story_sentence(&story), "its watcher died");
    story_assert_gone(&watcher);
    story_assert_nothing_left(&story);
}

/* Covers X10. */
TEST(caller_that_ignores_sigchld__still_learns_the_cause)
{
    AUTO_STORY struct story story;

    signal(SIGCHLD, SIG_IGN);
    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--exit=12");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->exit_code, 12);
    signal(SIGCHLD, SIG_DFL);
}

TEST(caller_with_children_of_its_own__can_still_wait_for_them)
{
    AUTO_STORY struct story story;
    int status;
    pid_t pid = fork();

    if (!pid) {
        _exit(9);
    }
    story_begin(&story);
    story_program(&story, "/bin/true");
    story_start(&story);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), 9);
}

static bool
has_no_child(void *user)
{
    siginfo_t info;
    struct story *story = user;

    libspawn_ctx_dispatch(story->ctx, NULL);
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0;
}

/* Covers X7. */
TEST(watcher_that_ended__is_reaped_by_dispatch)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_program(&story, "/bin/true");
    story_start(&story);
    story_await(&story, "started ready exited");
    ck_assert(harness_wait_until(has_no_child, &story, STORY_WAIT_MS));
}

/* ---- Starting their own way -------------------------------------------- */

/* As a daemon may do it: fork, and nothing put in order. */
static int
spawn_carelessly(void *user, const char *path, char *const argv[],
                 char *const envp[], int fd, pid_t *pid_r)
{
    int *n_calls = user;
    pid_t pid = fork();

    if (pid < 0) {
        return errno;
    } else if (!pid) {
        if (fd == 3) {
            fcntl(fd, F_SETFD, 0);
        } else {
            dup2(fd, 3);
        }
        execve(path, argv, envp);
        _exit(127);
    }
    ++*n_calls;
    *pid_r = pid;
    return 0;
}

/* Everything of the caller leaks into the watcher, nothing into the child. */
TEST(spawn_hook_that_tidies_nothing__starts_a_tidy_child)
{
    int n_calls = 0;
    const struct libspawn_hooks hooks = { .spawn = spawn_carelessly,
                                          .user = &n_calls };
    AUTO_STORY struct story story;
    AUTO_FREE char *option =
        libspawn__str_format("--report-fds=%s/report", harness_dir());
    AUTO_FREE char *report = NULL;
    AUTO_FD int leak = open("/dev/zero", O_RDONLY);
    struct libspawn__record record;
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    story_begin_with(&story, &hooks);
    libspawn_plan_ready_on_notify(story.plan, 9);
    story_model(&story, option, "--notify-fd=9");
    story_run(&story);
    report = harness_read_file("report");
    assert_contains(report, "status SigBlk:\t0000000000000000");
    assert_contains(report, "status SigIgn:\t0000000000000000");
    assert_lacks(report, "/dev/zero");
    ck_assert(story_read_record(&story, &record));
    ck_assert_uint_lt(harness_count_fds(record.watcher.pid), 20);
    libspawn_child_stop(story.child);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(n_calls, 1);
    signal(SIGCHLD, SIG_DFL);
}

static int
refuse_to_spawn(void *user, const char *path, char *const argv[],
                char *const envp[], int fd, pid_t *pid_r)
{
    (void)user;
    (void)path;
    (void)argv;
    (void)envp;
    (void)fd;
    (void)pid_r;
    return EPERM;
}

/* Covers X17. */
TEST(spawn_hook_that_fails__fails_the_start_and_leaves_nothing)
{
    const struct libspawn_hooks hooks = { .spawn = refuse_to_spawn };
    AUTO_STORY struct story story;
    struct libspawn_err err;
    size_t n_fds;

    story_begin_with(&story, &hooks);
    story_model(&story, "--never-ready");
    n_fds = harness_count_fds(0);
    assert_code(story_try_start(&story, &err), LIBSPAWN_ERR_DENIED);
    assert_contains(err.text, "spawn-watcher");
    ck_assert_uint_eq(harness_count_fds(0), n_fds);
    story_assert_nothing_left(&story);
}

/* ---- Many -------------------------------------------------------------- */

enum { N_MANY = 200 };

struct many {
    struct libspawn_child *children[N_MANY];
    size_t n_ready;
    size_t n_ended;
};

static void
count_event(struct libspawn_child *child, enum libspawn_event event,
            void *user)
{
    struct many *many = user;

    if (event == LIBSPAWN_EVENT_READY) {
        many->n_ready++;
        libspawn_child_release(child, LIBSPAWN_RELEASE_DETACHED, NULL);
    } else if (event != LIBSPAWN_EVENT_STARTED) {
        many->n_ended++;
    }
}

static void
start_many(struct story *story, struct many *many)
{
    struct libspawn_err err;
    size_t i;

    for (i = 0; i < N_MANY; i++) {
        AUTO_FREE char *path = libspawn__str_format("/many/%zu", i);

        libspawn_plan_set_record(story->plan, story->address, path);
        assert_ok(libspawn_child_start(story->ctx, story->plan, count_event,
                                       many, &many->children[i], &err),
                  &err);
    }
}

static void
wait_for_many(struct story *story, const size_t *count)
{
    struct libspawn_err err;

    while (*count < N_MANY) {
        assert_ok(libspawn_ctx_wait(story->ctx, STORY_WAIT_MS, &err), &err);
    }
}

/* Covers X20. */
TEST_TIMEOUT(two_hundred_starts_at_once__all_come_up_and_nothing_is_lost, 60)
{
    AUTO_STORY struct story story;
    struct many many = { .n_ready = 0 };
    size_t n_fds;
    size_t i;

    story_begin(&story);
    story_program(&story, "/bin/sleep", "60");
    n_fds = harness_count_fds(0);
    start_many(&story, &many);
    wait_for_many(&story, &many.n_ready);
    ck_assert_uint_eq(count_threads(), 1);
    for (i = 0; i < N_MANY; i++) {
        libspawn_child_stop(many.children[i]);
    }
    wait_for_many(&story, &many.n_ended);
    for (i = 0; i < N_MANY; i++) {
        libspawn_child_free(many.children[i]);
    }
    ck_assert(harness_wait_until(has_no_child, &story, STORY_WAIT_MS));
    ck_assert_uint_eq(harness_count_fds(0), n_fds);
}

TEST_TIMEOUT(fifty_starts_in_a_row__keep_the_number_of_descriptors, 60)
{
    AUTO_STORY struct story story;
    size_t n_fds = 0;
    int i;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--exit=1");
    for (i = 0; i < 50; i++) {
        story_start(&story);
        story_await(&story, "started failed");
        story_forget(&story);
        ck_assert(harness_wait_until(has_no_child, &story, STORY_WAIT_MS));
        if (i == 0) {
            n_fds = harness_count_fds(0);
        }
    }
    ck_assert_uint_eq(harness_count_fds(0), n_fds);
    ck_assert_uint_eq(count_threads(), 1);
}

/* ---- Out of things ----------------------------------------------------- */

static void
be_somebody(void)
{
    enum { NOBODY_ELSE = 61234 };

    ck_assert_int_eq(chown(harness_dir(), NOBODY_ELSE, NOBODY_ELSE), 0);
    ck_assert_int_eq(setresgid(NOBODY_ELSE, NOBODY_ELSE, NOBODY_ELSE), 0);
    ck_assert_int_eq(setresuid(NOBODY_ELSE, NOBODY_ELSE, NOBODY_ELSE), 0);
}

static void
limit_processes(rlim_t n)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NPROC, &limit);
    limit.rlim_cur = n;
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
}

/* Covers X16. */
TEST(process_limit_reached_by_the_caller__fails_the_start_only)
{
    AUTO_STORY struct story story = { 0 };
    struct libspawn_err err;
    struct rlimit before;

    if (geteuid()) {
        TEST_SKIP("needs root, to become somebody with no other process");
    }
    getrlimit(RLIMIT_NPROC, &before);
    be_somebody();
    if (access(story_model_path(), X_OK)) {
        TEST_SKIP("others cannot reach '%s'", story_model_path());
    }
    story_begin(&story);
    story_model(&story, "--never-ready");
    limit_processes(1);
    assert_code(story_try_start(&story, &err), LIBSPAWN_ERR_LIMIT);
    story_assert_nothing_left(&story);
    setrlimit(RLIMIT_NPROC, &before);
    story_run(&story);
}

/* Covers X16. */
TEST(process_limit_reached_by_the_watcher__fails_the_start_only)
{
    AUTO_STORY struct story story = { 0 };
    struct rlimit before;

    if (geteuid()) {
        TEST_SKIP("needs root, to become somebody with no other process");
    }
    getrlimit(RLIMIT_NPROC, &before);
    be_somebody();
    if (access(story_model_path(), X_OK)) {
        TEST_SKIP("others cannot reach '%s'", story_model_path());
    }
    story_begin(&story);
    story_model(&story, "--never-ready");
    limit_processes(2);
    story_start(&story);
    story_await(&story, "failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_REFUSED);
    assert_contains(story_sentence(&story), "forking");
    story_assert_nothing_left(&story);
    setrlimit(RLIMIT_NPROC, &before);
    story_start_again(&story);
    story_await(&story, "started ready");
}

/* Starts with room for so many descriptors; whether it came up. */
static bool
start_within(struct story *story, rlim_t n_fds)
{
    struct rlimit before;
    struct rlimit limit;
    struct libspawn_err err;
    bool is_up = false;
    int rc;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = n_fds;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    rc = story_try_start(story, &err);
    while (!rc && !strstr(story->trace, "failed") && !is_up) {
        assert_ok(libspawn_ctx_wait(story->ctx, STORY_WAIT_MS, &err), &err);
        is_up = strstr(story->trace, "ready") != NULL;
    }
    setrlimit(RLIMIT_NOFILE, &before);
    if (rc) {
        assert_code(rc, LIBSPAWN_ERR_LIMIT);
    }
    libspawn_child_free(story->child);
    story->child = NULL;
    story->trace[0] = '\0';
    return is_up;
}

/* From no room at all until there is enough: each try ends well, and the last
 * successfully.  No zombie may be left for the caller to find. */
TEST_TIMEOUT(descriptors_run_out_at_any_point__no_process_and_none_is_lost, 60)
{
    AUTO_STORY struct story story;
    rlim_t room;
    size_t n_fds;

    story_begin(&story);
    story_program(&story, "/bin/sleep", "60");
    n_fds = harness_count_fds(0);
    for (room = n_fds; !start_within(&story, room); room++) {
        ck_assert(harness_wait_until(has_no_child, &story, STORY_WAIT_MS));
        ck_assert_uint_eq(harness_count_fds(0), n_fds);
        ck_assert_uint_lt(room, n_fds + 100);
    }
    story_assert_nothing_left(&story);
}

TEST(library__makes_no_thread)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_ready_on_store(story.plan, STORY_READY_NODE, "running");
    story_model(&story, "--never-ready");
    story_start(&story);
    story_await(&story, "started");
    ck_assert_uint_eq(count_threads(), 1);
    assert_ok(libspawn__store_puts(story.store, NULL, STORY_READY_NODE,
                                   "running", NULL),
              NULL);
    story_await(&story, "started ready");
    ck_assert_uint_eq(count_threads(), 1);
}

TEST_MAIN("spawn_caller")
