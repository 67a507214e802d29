#include "tests/lib/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/leftovers.h"
#include "tests/lib/processes.h"

enum { EXIT_USAGE = 2, EXIT_SKIPPED = 77 };

/* What runner, guard and test tell each other about one test, in shared
 * memory. */
struct record {
    char failure[1024]; /* found by the guard or by the checks at the end */
    char skipped[256];
    bool finished;  /* the test came to its end and left nothing behind */
    bool cut_short; /* it did not come to its end, so the place is told */
};

static struct harness_test *first_test;
static struct harness_test **next_test = &first_test;

static struct harness_test **selected; /* what this run is about */
static size_t n_selected;
static struct record *records; /* one per selected test */
static struct record *current;

static char *build_dir;
static char *source_dir;
static char *test_dir;

void
harness_register(struct harness_test *test)
{
    *next_test = test;
    next_test = &test->next;
}

const char *
harness_dir(void)
{
    return test_dir;
}

const char *
harness_build_dir(void)
{
    return build_dir;
}

const char *
harness_source_dir(void)
{
    return source_dir;
}

bool
harness_is_full(void)
{
    const char *sweep = getenv("SWEEP");

    return sweep && !strcmp(sweep, "full");
}

void
harness_mark_skipped(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(current->skipped, sizeof current->skipped, format, args);
    va_end(args);
}

/* The harness itself cannot go on. */
static void __attribute__((noreturn))
die(const char *what)
{
    fprintf(stderr, "harness: %s: %s\n", what, strerror(errno));
    _exit(EXIT_FAILURE);
}

/* ---- The test's own process -------------------------------------------- */

static void
set_environment(void)
{
    static const char *const inside[] = { "HOME", "TMPDIR", "XDG_RUNTIME_DIR",
                                          "XL_STATE_DIR" };
    size_t i;

    setenv("LC_ALL", "C", 1);
    setenv("TZ", "UTC", 1);
    unsetenv("LANGUAGE");
    for (i = 0; i < ARRAY_SIZE(inside); i++) {
        setenv(inside[i], test_dir, 1);
    }
}

/* Runs the body between two looks at what is open, then checks that nothing
 * is left.  Returns when the test failed no check of ours. */
static void
run_body(const struct harness_test *test)
{
    struct leftovers before;

    leftovers_remember(&before);
    test->fn();
    fflush(NULL);
    if (!leftovers_check(&before, current->failure,
                         sizeof current->failure)) {
        exit(EXIT_FAILURE);
    }
    current->finished = true;
}

static void __attribute__((noreturn))
be_the_test(const struct harness_test *test, const sigset_t *mask)
{
    struct rlimit core;
    int signal_number;
    int null;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || setpgid(0, 0) < 0) {
        die("preparing a test");
    }
    process_set_guard(getppid());
    /* libcheck's handlers, which belong to the runner. */
    for (signal_number = 1; signal_number < NSIG; signal_number++) {
        signal(signal_number, SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
    null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0) {
        die("opening /dev/null");
    }
    close(null);
    if (!getrlimit(RLIMIT_CORE, &core)) {
        core.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &core);
    }
    umask(022);
    set_environment();
    run_body(test);
    /* Not _exit: leak detection and coverage work at exit. */
    exit(EXIT_SUCCESS);
}

/* ---- The guard --------------------------------------------------------- */

/* Reaps everything that has ended; true when that includes 'pid'. */
static bool
reap(pid_t pid, int *status_r)
{
    bool found = false;
    int status;
    pid_t ended;

    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
        if (ended == pid) {
            *status_r = status;
            found = true;
        }
    }
    return found;
}

static int64_t
timeout_ms(const struct harness_test *test)
{
    const char *multiplier = getenv("CK_TIMEOUT_MULTIPLIER");
    uint64_t factor = 1;

    if (multiplier) {
        libspawn__str_to_u64(multiplier, 1, 1000, &factor, NULL);
    }
    return (int64_t)(1000 * factor * test->timeout_s);
}

/* Acts as init for the test until it has ended: 0 and its wait status, or the
 * signal that interrupts the run, or -1 at the deadline. */
static int
wait_for_test(pid_t pid, const struct harness_test *test, const sigset_t *mask,
              int *status_r)
{
    int64_t deadline = libspawn__clock_now_ms() + timeout_ms(test);

    for (;;) {
        int64_t left = MAX(deadline - libspawn__clock_now_ms(), 0);
        struct timespec wait = { .tv_sec = left / 1000,
                                 .tv_nsec = left % 1000 * 1000000 };
        int signal_number = sigtimedwait(mask, NULL, &wait);

        if (reap(pid, status_r)) {
            return 0;
        } else if (signal_number > 0 && signal_number != SIGCHLD) {
            return signal_number;
        } else if (!left) {
            return -1;
        }
    }
}

/* Says what became of a test that told nothing itself. */
static void
judge(const struct harness_test *test, int interruption, int status)
{
    char *text = current->failure;
    size_t size = sizeof current->failure;

    if (interruption < 0) {
        current->cut_short = true;
        snprintf(text, size, "still running after %lld ms",
                 (long long)timeout_ms(test));
    } else if (interruption > 0) {
        current->cut_short = true;
        snprintf(text, size, "interrupted by SIG%s",
                 sigabbrev_np(interruption));
    } else if (WIFSIGNALED(status)) {
        current->cut_short = true;
        snprintf(text, size, "killed by SIG%s (%s)",
                 sigabbrev_np(WTERMSIG(status)), strsignal(WTERMSIG(status)));
    } else if (current->finished && WEXITSTATUS(status)) {
        snprintf(text, size, "exit status %d from a check at exit "
                 "(leaked memory?), see its output", WEXITSTATUS(status));
    } else if (!current->finished && !*text) {
        snprintf(text, size, "the test called exit(%d)", WEXITSTATUS(status));
    }
}

/* Everything about one test, in the process that libcheck forked for it.  It
 * leaves the process group that libcheck made, so that libcheck cannot kill
 * it before it has cleaned up; the end of the runner is a SIGTERM to it. */
static void __attribute__((noreturn))
be_the_guard(const struct harness_test *test)
{
    int status = 0;
    int interruption;
    sigset_t handled;
    sigset_t before;
    pid_t runner = getppid();
    pid_t pid;

    sigemptyset(&handled);
    sigaddset(&handled, SIGCHLD);
    sigaddset(&handled, SIGHUP);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGTERM);
    sigprocmask(SIG_BLOCK, &handled, &before);
    if (setpgid(0, getpgid(runner)) < 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != runner) {
        die("preparing the guard of a test");
    }
    pid = fork();
    if (pid < 0) {
        die("fork");
    } else if (!pid) {
        be_the_test(test, &before);
    }
    interruption = wait_for_test(pid, test, &handled, &status);
    leftovers_end();
    judge(test, interruption, status);
    if (chdir("/") < 0 || getenv("HARNESS_KEEP")) {
        fprintf(stderr, "harness: %s: directory %s\n", test->name, test_dir);
    } else {
        libspawn__dir_remove_tree(test_dir, NULL);
    }
    _exit(interruption || !WIFEXITED(status) || WEXITSTATUS(status) ||
          *current->failure);
}

/* ---- The runner -------------------------------------------------------- */

/* A fresh directory with a short name, since the path of a unix socket has
 * room for 107 characters only. */
static void
make_test_dir(void)
{
    AUTO_FREE char *in_build = libspawn__str_format("%s/tmp", build_dir);
    const char *bases[] = { getenv("TMPDIR"), in_build, "/tmp" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bases); i++) {
        enum { MAX_BASE_LEN = 50 };
        AUTO_FREE char *path = NULL;

        if (!bases[i] || !*bases[i] || strlen(bases[i]) > MAX_BASE_LEN ||
            libspawn__dir_make(bases[i], 0755, NULL)) {
            continue;
        }
        path = libspawn__str_format("%s/t-XXXXXX", bases[i]);
        if (path && mkdtemp(path)) {
            test_dir = realpath(path, NULL);
            break;
        }
    }
    if (!test_dir || chmod(test_dir, 0755) < 0 || chdir(test_dir) < 0) {
        die("making a directory for the test");
    }
}

/* The function that libcheck calls, in the process that it forked, or in the
 * runner itself under CK_FORK=no. */
static void
run_test(int index)
{
    const char *fork_mode = getenv("CK_FORK");

    current = &records[index];
    make_test_dir();
    if (!fork_mode || strcmp(fork_mode, "no") != 0) {
        be_the_guard(selected[index]);
    }
    set_environment();
    run_body(selected[index]);
}

static bool
matches(const char *name, const char *pattern)
{
    return !pattern || strstr(name, pattern) || !fnmatch(pattern, name, 0);
}

/* A full name selects its test only, though it may be a part of others. */
static void
select_tests(const char *pattern)
{
    struct harness_test *test;
    bool exactly = false;
    size_t n = 0;

    for (test = first_test; test; test = test->next) {
        exactly |= pattern && !strcmp(test->name, pattern);
        n++;
    }
    selected = calloc(n + 1, sizeof *selected);
    records = mmap(NULL, (n + 1) * sizeof *records, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!selected || records == MAP_FAILED) {
        die("out of memory");
    }
    for (test = first_test; test; test = test->next) {
        if (exactly ? !strcmp(test->name, pattern)
                    : matches(test->name, pattern)) {
            selected[n_selected++] = test;
        }
    }
}

/* Where the program stands: BUILD/tests/FOLDER/PROGRAM, and BUILD is the
 * source tree's build/ or a folder in it.  A program that was linked
 * elsewhere is taken to belong to the current directory. */
static void
find_dirs(void)
{
    char *exe = realpath("/proc/self/exe", NULL);
    char *tests = NULL;
    char *p;

    for (p = exe; p && (p = strstr(p, "/tests/")); p++) {
        tests = p;
    }
    if (tests) {
        *tests = '\0';
        build_dir = exe;
    } else {
        free(exe);
        exe = getcwd(NULL, 0);
        build_dir = libspawn__str_format("%s/build", exe ? exe : ".");
        free(exe);
    }
    source_dir = build_dir ? strdup(build_dir) : NULL;
    if (!source_dir) {
        die("out of memory");
    }
    p = strrchr(source_dir, '/');
    if (p && strcmp(p, "/build") != 0) {
        *p = '\0';
        p = strrchr(source_dir, '/');
    }
    if (p && !strcmp(p, "/build")) {
        *p = '\0';
    }
}

static void
print_failure(const char *suite, size_t index, TestResult *result)
{
    const char *file = tr_lfile(result);

    printf("%s: %s: ", suite, selected[index]->name);
    if (tr_rtype(result) == CK_FAILURE) {
        printf("%s:%d: %s\n", file, tr_lno(result), tr_msg(result));
        return;
    }
    printf("%s", *records[index].failure ? records[index].failure
                                         : tr_msg(result));
    if (records[index].cut_short && file && tr_lno(result) > 0) {
        printf(" (last assertion that held: %s:%d)", file, tr_lno(result));
    }
    printf("\n");
}

/* Prints what is to be said and returns the exit status. */
static int
report(const char *suite, SRunner *runner)
{
    TestResult **results = srunner_results(runner);
    size_t n_failed = 0;
    size_t n_skipped = 0;
    size_t i;

    for (i = 0; i < n_selected; i++) {
        if (tr_rtype(results[i]) != CK_PASS) {
            print_failure(suite, i, results[i]);
            n_failed++;
        } else if (*records[i].skipped) {
            printf("%s: %s: skipped: %s\n", suite, selected[i]->name,
                   records[i].skipped);
            n_skipped++;
        }
    }
    free(results);
    printf("%s: %zu passed, %zu failed, %zu skipped\n", suite,
           n_selected - n_failed - n_skipped, n_failed, n_skipped);
    if (n_failed) {
        return EXIT_FAILURE;
    }
    return n_skipped == n_selected ? EXIT_SKIPPED : EXIT_SUCCESS;
}

/* One libcheck case per test, so that a result carries the test's name.  The
 * guard keeps the deadline; libcheck has none. */
static int
run_selected(const char *suite_name)
{
    Suite *suite = suite_create(suite_name);
    SRunner *runner = srunner_create(suite);
    int status;
    int i;

    for (i = 0; i < (int)n_selected; i++) {
        static const TTest trampoline = { "run_test", run_test, __FILE__, 0 };
        TCase *tcase = tcase_create(selected[i]->name);

        tcase_set_timeout(tcase, 0);
        tcase_add_loop_test(tcase, &trampoline, i, i + 1);
        suite_add_tcase(suite, tcase);
    }
    fflush(NULL);
    srunner_run_all(runner, CK_SILENT);
    status = report(suite_name, runner);
    srunner_free(runner);
    return status;
}

/* What to run: our argument, or what libcheck would go by.  It must not choose
 * once more, since a result is found by the place of its test. */
static const char *
choose_pattern(int argc, char **argv)
{
    static const char *const filters[] = { "CK_RUN_CASE", "CK_RUN_SUITE",
                                           "CK_INCLUDE_TAGS",
                                           "CK_EXCLUDE_TAGS" };
    static char name[256];
    const char *run_case = getenv(filters[0]);
    size_t i;

    snprintf(name, sizeof name, "%s", run_case ? run_case : "");
    for (i = 0; i < ARRAY_SIZE(filters); i++) {
        unsetenv(filters[i]);
    }
    if (argc == 2) {
        return argv[1];
    }
    return *name ? name : NULL;
}

int
harness_main(const char *suite, harness_obstacle_fn *obstacle, int argc,
             char **argv)
{
    const char *pattern = choose_pattern(argc, argv);
    bool list = pattern && !strcmp(pattern, "--list");
    const char *reason;
    size_t i;

    if (argc > 2 || (pattern && *pattern == '-' && !list)) {
        fprintf(stderr, "usage: %s [--list | PATTERN]\n", argv[0]);
        return EXIT_USAGE;
    }
    /* What we inherited is no business of what the tests start. */
    close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    find_dirs();
    select_tests(list ? NULL : pattern);
    for (i = 0; list && i < n_selected; i++) {
        printf("%s\n", selected[i]->name);
    }
    if (list) {
        return EXIT_SUCCESS;
    }
    if (!n_selected) {
        fprintf(stderr, "%s: no test matches '%s'\n", suite,
                pattern ? pattern : "");
        return EXIT_USAGE;
    }
    reason = obstacle ? obstacle() : NULL;
    if (reason) {
        printf("%s: skipped: %s\n", suite, reason);
        printf("%s: 0 passed, 0 failed, %zu skipped\n", suite, n_selected);
        return EXIT_SKIPPED;
    }
    return run_selected(suite);
}
