/*
 * What the child finds when it runs: the descriptors that were meant for it
 * and no others, default signals, the given environment, directory and a
 * session of its own, whatever the caller looks like.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"

#define REPORT "report"

/* Runs the model, which writes down what it finds, and returns that. */
static char *
run_and_read(struct story *story)
{
    AUTO_FREE char *option =
        libspawn__str_format("--report-fds=%s/" REPORT, harness_dir());

    story_model(story, option, "--notify-fd=9");
    libspawn_plan_ready_on_notify(story->plan, 9);
    story_run(story);
    return harness_read_file(REPORT);
}

static size_t
count_lines(const char *text, const char *prefix)
{
    size_t n = 0;
    const char *line;

    for (line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        n += libspawn__str_has_prefix(line, prefix);
    }
    return n;
}

/* What is behind "fd N " in the report. */
static char *
target_of(const char *report, int fd)
{
    AUTO_FREE char *prefix = libspawn__str_format("\nfd %d ", fd);
    AUTO_FREE char *text = libspawn__str_format("\n%s", report);
    const char *at = strstr(text, prefix);

    ck_assert_msg(at != NULL, "no descriptor %d in:\n%s", fd, report);
    at += strlen(prefix);
    return strndup(at, strcspn(at, "\n"));
}

static void
assert_target(const char *report, int fd, const char *part)
{
    AUTO_FREE char *target = target_of(report, fd);

    assert_contains(target, part);
}

static int
open_named(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    return fd;
}

/* ---- Descriptors ------------------------------------------------------- */

/* Covers X13. */
TEST(child_without_given_descriptors__has_null_log_and_notification)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;

    story_begin(&story);
    report = run_and_read(&story);
    ck_assert_uint_eq(count_lines(report, "fd "), 4);
    assert_target(report, 0, "/dev/null");
    assert_target(report, 1, "pipe:");
    assert_target(report, 2, "pipe:");
    assert_target(report, 9, "pipe:");
}

/* Half of them not close-on-exec, as in a careless caller.  Covers X13. */
TEST_TIMEOUT(child_of_a_caller_with_1000_descriptors__has_only_its_own, 20)
{
    enum { N_FDS = 1000 };
    struct rlimit limit;
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;
    int fds[N_FDS];
    size_t i;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < N_FDS + 100) {
        TEST_SKIP("the hard limit of descriptors is %llu",
                  (unsigned long long)limit.rlim_max);
    }
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (i = 0; i < N_FDS; i++) {
        fds[i] = open("/dev/zero", O_RDONLY | (i % 2 ? O_CLOEXEC : 0));
        ck_assert_int_ge(fds[i], 0);
    }
    story_begin(&story);
    libspawn_plan_add_fd(story.plan, fds[N_FDS - 1], 5);
    report = run_and_read(&story);
    ck_assert_uint_eq(count_lines(report, "fd "), 5);
    assert_target(report, 5, "/dev/zero");
    for (i = 0; i < N_FDS; i++) {
        close(fds[i]);
    }
}

/* Covers X13. */
TEST(watcher_of_a_caller_with_many_descriptors__holds_none_of_them)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    int fds[100];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = open("/dev/zero", O_RDONLY);
    }
    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    ck_assert(story_read_record(&story, &record));
    ck_assert_uint_lt(harness_count_fds(record.watcher.pid), 20);
    for (i = 0; i < ARRAY_SIZE(fds); i++) {
        close(fds[i]);
    }
}

/* Covers X14. */
TEST(standard_descriptors_given__take_the_place_of_the_log)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;
    AUTO_FD int in = open_named("in");
    AUTO_FD int out = open_named("out");
    AUTO_FD int err = open_named("err");

    story_begin(&story);
    libspawn_plan_add_fd(story.plan, in, 0);
    libspawn_plan_add_fd(story.plan, out, 1);
    libspawn_plan_add_fd(story.plan, err, 2);
    report = run_and_read(&story);
    assert_target(report, 0, "/in");
    assert_target(report, 1, "/out");
    assert_target(report, 2, "/err");
    ck_assert_uint_eq(count_lines(report, "fd "), 4);
}

/* The caller's own 0 to 2 are the sources, and each goes elsewhere.
 * Covers X14. */
TEST(standard_descriptors_rotated__arrive_rotated)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;
    int saved[3];
    static const char *const names[] = { "zero", "one", "two" };
    int i;

    story_begin(&story);
    for (i = 0; i < 3; i++) {
        int fd = open_named(names[i]);

        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
        ck_assert_int_eq(dup2(fd, i), i);
        close(fd);
        libspawn_plan_add_fd(story.plan, i, (i + 1) % 3);
    }
    report = run_and_read(&story);
    for (i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    assert_target(report, 0, "/two");
    assert_target(report, 1, "/zero");
    assert_target(report, 2, "/one");
}

/* Covers X14. */
TEST(descriptors_swapped__arrive_swapped)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;
    AUTO_FD int a = open_named("a");
    AUTO_FD int b = open_named("b");

    story_begin(&story);
    libspawn_plan_add_fd(story.plan, a, b);
    libspawn_plan_add_fd(story.plan, b, a);
    report = run_and_read(&story);
    assert_target(report, b, "/a");
    assert_target(report, a, "/b");
}

TEST(one_descriptor_given_twice__arrives_under_both_numbers)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;
    AUTO_FD int a = open_named("a");

    story_begin(&story);
    libspawn_plan_add_fd(story.plan, a, 20);
    libspawn_plan_add_fd(story.plan, a, 3);
    report = run_and_read(&story);
    assert_target(report, 20, "/a");
    assert_target(report, 3, "/a");
    ck_assert_uint_eq(count_lines(report, "fd "), 6);
}

/* What libspawn opens gets the lowest numbers then.  Covers X14. */
TEST(caller_without_standard_descriptors__starts_a_child_all_the_same)
{
    struct story story;
    AUTO_FREE char *report = NULL;
    int saved[3];
    int i;

    for (i = 0; i < 3; i++) {
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
        close(i);
    }
    story_begin(&story);
    report = run_and_read(&story);
    story_end(&story);
    for (i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    ck_assert_uint_eq(count_lines(report, "fd "), 4);
    assert_target(report, 0, "/dev/null");
    assert_target(report, 1, "pipe:");
}

TEST(child_with_200_descriptors__has_them_all)
{
    enum { N_FDS = 200, FIRST = 100 };
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;
    AUTO_FD int fd = open_named("shared");
    int i;

    story_begin(&story);
    for (i = 0; i < N_FDS; i++) {
        libspawn_plan_add_fd(story.plan, fd, FIRST + i);
    }
    report = run_and_read(&story);
    ck_assert_uint_eq(count_lines(report, "fd "), N_FDS + 4);
    assert_target(report, FIRST, "/shared");
    assert_target(report, FIRST + N_FDS - 1, "/shared");
}

/* ---- Signals ----------------------------------------------------------- */

static void
do_nothing(int number)
{
    (void)number;
}

/* Covers X19. */
TEST(child_of_a_caller_with_odd_signals__has_default_ones)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;
    struct sigaction action = { .sa_handler = do_nothing };
    sigset_t all;
    int number;

    for (number = 1; number < NSIG; number++) {
        action.sa_handler = number % 2 ? SIG_IGN : do_nothing;
        sigaction(number, &action, NULL);
    }
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    story_begin(&story);
    report = run_and_read(&story);
    /* The model blocks nothing before it writes its report. */
    assert_contains(report, "status SigBlk:\t0000000000000000");
    assert_contains(report, "status SigIgn:\t0000000000000000");
    signal(SIGCHLD, SIG_DFL);
}

/* ---- Environment, directory, session ----------------------------------- */

TEST(child_environment__is_exactly_what_the_plan_says)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;

    story_begin(&story);
    setenv("SECRET", "of the caller", 1);
    libspawn_plan_add_env(story.plan, "LANG=C.UTF-8");
    libspawn_plan_add_env(story.plan, "EMPTY=");
    report = run_and_read(&story);
    ck_assert_uint_eq(count_lines(report, "env "), 2);
    assert_contains(report, "\nenv LANG=C.UTF-8\n");
    assert_contains(report, "\nenv EMPTY=\n");
}

TEST(child_without_environment__has_none)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;

    story_begin(&story);
    report = run_and_read(&story);
    ck_assert_uint_eq(count_lines(report, "env "), 0);
}

TEST(child_arguments__arrive_unchanged)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;

    story_begin(&story);
    report = run_and_read(&story);
    assert_contains(report, "\narg --notify-fd=9\n");
    ck_assert_uint_eq(count_lines(report, "arg "), 3);
}

TEST(child_directory__is_the_root_or_what_the_plan_says)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;

    story_begin(&story);
    report = run_and_read(&story);
    assert_contains(report, "\ncwd /\n");
}

TEST(child_directory_given__is_used)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *report = NULL;
    AUTO_FREE char *line =
        libspawn__str_format("\ncwd %s\n", harness_dir());

    story_begin(&story);
    libspawn_plan_set_directory(story.plan, harness_dir());
    report = run_and_read(&story);
    assert_contains(report, line);
}

/* A terminal's Ctrl-C must not reach it. */
TEST(child_session__is_its_own_and_the_watcher_has_another)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    AUTO_FREE char *report = NULL;
    AUTO_FREE char *line = NULL;

    story_begin(&story);
    report = run_and_read(&story);
    ck_assert(story_read_record(&story, &record));
    line = libspawn__str_format("\nsession %d\ngroup %d\nparent %d\n",
                                (int)record.child.pid, (int)record.child.pid,
                                (int)record.watcher.pid);
    assert_contains(report, line);
    ck_assert_int_eq(getsid(record.watcher.pid), record.watcher.pid);
}

TEST_MAIN("spawn_inherit")
