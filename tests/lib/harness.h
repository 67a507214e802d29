/*
 * The test harness: a thin layer over libcheck.
 *
 *     #include "tests/lib/harness.h"
 *
 *     TEST(store_write_then_read__gives_the_same_bytes)
 *     {
 *         ...
 *         ck_assert_str_eq(text, "42");
 *     }
 *
 *     TEST_MAIN("store_dir")
 *
 * Each test runs in a process of its own, in a fresh directory, with a
 * neutral environment (LC_ALL=C, TZ=UTC; HOME, TMPDIR, XDG_RUNTIME_DIR and
 * XL_STATE_DIR inside that directory) and /dev/null as stdin:
 *
 *     runner  the program; libcheck runs the tests one after the other
 *       guard   one per test; a subreaper: it reaps orphans as init would,
 *               enforces the deadline and removes the directory
 *         test    an ordinary process; what it starts ends up below the guard
 *
 * Assertions belong into the test's own process, not into one that it forks.
 * A test fails when an assertion fails, when it crashes, exits by itself or
 * passes its deadline; when descriptors are open at its end that were not at
 * its beginning, or the reverse; when a process that it started is left; and,
 * with sanitizers, on what these find.  What is left is ended through pidfds,
 * whichever way the test ended, also when the runner is interrupted.
 *
 * A test program takes `--list`, or a pattern: it runs the tests that match
 * it (a part of a name, or a glob).  It prints a line per failed or skipped
 * test and one summary line, and exits with 0, 1 (a test failed), 2 (usage)
 * or 77 (everything skipped).  Environment: HARNESS_KEEP=1 keeps the
 * directories; CK_FORK=no runs the tests in one process, for a debugger;
 * CK_TIMEOUT_MULTIPLIER stretches deadlines;
 * CK_RUN_CASE stands for a pattern when none is given.
 */
#ifndef TESTS_LIB_HARNESS_H
#define TESTS_LIB_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "include/libspawn.h"

/* ---- Tests ------------------------------------------------------------- */

enum { HARNESS_TIMEOUT_S = 10 };

struct harness_test {
    const char *name;
    void (*fn)(void);
    unsigned int timeout_s;
    struct harness_test *next;
};

void harness_register(struct harness_test *test);

/* NAME is <unit>_<situation>__<expectation>: seen in the output of a failure
 * it tells the bug. */
#define TEST_TIMEOUT(NAME, SECONDS)                                           \
    static void NAME(void);                                                   \
    static struct harness_test NAME##_test = {                                \
        .name = #NAME, .fn = NAME, .timeout_s = (SECONDS)                     \
    };                                                                        \
    __attribute__((constructor)) static void NAME##_register(void)            \
    {                                                                         \
        harness_register(&NAME##_test);                                       \
    }                                                                         \
    static void NAME(void)
#define TEST(NAME) TEST_TIMEOUT(NAME, HARNESS_TIMEOUT_S)

/* Says why the whole program cannot run here, or returns NULL. */
typedef const char *harness_obstacle_fn(void);

int harness_main(const char *suite, harness_obstacle_fn *obstacle, int argc,
                 char **argv);

/* Once per program, at its end.  With TEST_MAIN_UNLESS the program is skipped
 * when OBSTACLE, a harness_obstacle_fn, returns a reason. */
#define TEST_MAIN_UNLESS(SUITE, OBSTACLE)                                     \
    int main(int argc, char **argv)                                           \
    {                                                                         \
        return harness_main(SUITE, OBSTACLE, argc, argv);                     \
    }
#define TEST_MAIN(SUITE) TEST_MAIN_UNLESS(SUITE, NULL)

/* Ends the test, which then counts as skipped.  Leak checks still apply. */
#define TEST_SKIP(...)                                                        \
    do {                                                                      \
        harness_mark_skipped(__VA_ARGS__);                                    \
        return;                                                               \
    } while (0)
void harness_mark_skipped(const char *format, ...) LIBSPAWN__PRINTF(1, 2);

/* The directory of this test (absolute), which is also the current one. */
const char *harness_dir(void);

/* Where the build puts its output, e.g. "/home/me/libspawn/build/asan", found
 * from the place of the test program; and the top of the source tree. */
const char *harness_build_dir(void);
const char *harness_source_dir(void);

/* Whether this is the full form, SWEEP=full of make check-long: every point of
 * a sweep, and true times. */
bool harness_is_full(void);

/* ---- Assertions -------------------------------------------------------- */

/* 'rc' is 0; otherwise the sentence in 'err' (which may be NULL) is shown. */
#define assert_ok(RC, ERR)                                                    \
    harness_assert_code(__FILE__, __LINE__, #RC, (RC), LIBSPAWN_OK, (ERR))

/* 'rc' is this code of enum libspawn_code; both are shown by name. */
#define assert_code(RC, CODE)                                                 \
    harness_assert_code(__FILE__, __LINE__, #RC, (RC), (CODE), NULL)

void harness_assert_code(const char *file, int line, const char *expression,
                         int rc, int expected,
                         const struct libspawn_err *err);

/* 'text' contains 'part'; both are shown otherwise. */
#define assert_contains(TEXT, PART)                                           \
    harness_assert_contains(__FILE__, __LINE__, (TEXT), (PART), true)
#define assert_lacks(TEXT, PART)                                              \
    harness_assert_contains(__FILE__, __LINE__, (TEXT), (PART), false)
void harness_assert_contains(const char *file, int line, const char *text,
                             const char *part, bool expected);

/* ---- Waiting ----------------------------------------------------------- */

typedef bool harness_predicate_fn(void *user);

/* Asks every few milliseconds until the answer is yes; false when
 * 'deadline_ms' have passed.  For what has no event to wait for. */
bool harness_wait_until(harness_predicate_fn *predicate, void *user,
                        int deadline_ms);

/* Waits until a descriptor is readable or hung up. */
bool harness_wait_readable(int fd, int deadline_ms);

/* For times too short for milliseconds; the median sorts them. */
int64_t harness_now_us(void);
int64_t harness_median(int64_t *times, size_t n);

/* ---- Files ------------------------------------------------------------- */

/* The content as a new string, at most 16 MiB; a failed assertion when it
 * cannot be read. */
char *harness_read_file(const char *path);
void harness_write_file(const char *path, const char *text);

/* In bytes; -1: there is no such file. */
long harness_file_size(const char *path);

/* Open descriptors of a process; 0 means this one. */
size_t harness_count_fds(pid_t pid);

/* ---- Processes --------------------------------------------------------- */

/* Every process that this test started and that is left: its children (also
 * dead ones that were not waited for), theirs, and orphans.  Fills at most
 * 'max' pids and returns how many there are. */
size_t harness_child_pids(pid_t *pids, size_t max);

/* The parent of a process, which must be there. */
pid_t harness_parent(pid_t pid);

/* Reaps this child, which SIGKILL must have ended. */
void harness_assert_killed(pid_t pid);

/* Waits until everything that this test started has ended, and reaps it; for
 * processes that end by themselves but that nobody waits for. */
bool harness_wait_children(int deadline_ms);

/* Ends and reaps everything that this test started; for tests that leave
 * processes behind on purpose. */
void harness_end_children(void);

/* What a program did. */
struct harness_output {
    int status; /* exit code, or 128 + signal */
    char *out;  /* what it wrote, at most 1 MiB each */
    char *err;
};
void harness_output_dispose(struct harness_output *output);
#define AUTO_OUTPUT AUTO(harness_output_dispose)

/* Runs a program (searched in PATH) with this argument vector, which ends
 * with NULL, until it has ended and closed its output. */
struct harness_output harness_run_argv(const char *const argv[]);
#define harness_run(...)                                                      \
    harness_run_argv((const char *const[]){ __VA_ARGS__, NULL })

#endif
