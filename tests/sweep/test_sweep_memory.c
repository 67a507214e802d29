/*
 * The n-th allocation fails, of the caller and of the watcher: once, or it and
 * all after it.  The deed is done all the same, or there is an error that says
 * so; nothing is left, and the context serves the next start.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "tests/lib/harness.h"
#include "tests/lib/memory.h"
#include "tests/sweep/deed.h"

enum {
    SWEEP_TEST_S = 60,
    ANSWER_MS = 15000
};

struct shortage {
    long n;
    bool is_for_good;
    bool *has_failed; /* shared with the deed's process */
};

struct totals {
    unsigned int n_points;
    unsigned int n_done; /* all the same */
};

static void
assert_fits(const struct deed_run *run)
{
    const struct deed_verdict *verdict = &run->verdict;

    ck_assert_msg(run->is_told && !run->is_stale && !verdict->repeated_rc &&
                      !verdict->has_leaked && verdict->n_fds_left <= 0,
                  "%s", deed_describe(run));
    if (verdict->rc) {
        ck_assert_msg(verdict->rc == LIBSPAWN_ERR_NO_MEMORY, "%s",
                      deed_describe(run));
    } else {
        ck_assert_msg(deed_is_done(run) || verdict->end, "%s",
                      deed_describe(run));
    }
}

static void
note(struct deed_run *run, const char *role, const struct shortage *shortage)
{
    snprintf(run->note, sizeof run->note, "%s's allocation %ld fails %s", role,
             shortage->n, shortage->is_for_good ? "for good" : "once");
}

static void
count(const struct deed_run *run, struct totals *totals)
{
    totals->n_points++;
    totals->n_done += deed_is_done(run);
}

/* ---- The caller -------------------------------------------------------- */

static void
run_out(void *user)
{
    const struct shortage *shortage = user;

    memory_fail_at(shortage->n, shortage->is_for_good);
}

static void
find_more(void *user)
{
    const struct shortage *shortage = user;

    *shortage->has_failed = memory_stop_failing();
}

static bool
starve_caller(enum deed_kind kind, const struct shortage *shortage,
              struct totals *totals)
{
    struct deed deed = { .kind = kind,
                         .is_repeated = true,
                         .before = run_out,
                         .after = find_more,
                         .user = (void *)(uintptr_t)shortage };
    struct deed_run run;

    *shortage->has_failed = false;
    deed_begin(&deed, &run);
    note(&run, "caller", shortage);
    ck_assert_msg(deed_await(&run, ANSWER_MS), "no answer: %s",
                  deed_describe(&run));
    deed_assert_clean(&run);
    assert_fits(&run);
    if (*shortage->has_failed) {
        count(&run, totals);
    }
    return *shortage->has_failed;
}

static void
sweep_caller(enum deed_kind kind, unsigned int quick)
{
    bool *has_failed = mmap(NULL, sizeof *has_failed, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned int mode;

    ck_assert_ptr_ne(has_failed, MAP_FAILED);
    for (mode = 0; mode < 2; mode++) {
        struct shortage shortage = { 1, mode, has_failed };
        struct totals totals = { 0 };

        while (starve_caller(kind, &shortage, &totals)) {
            shortage.n += sweep_stride(quick);
        }
        sweep_print("failing allocation of the caller, %s, %s: %u points, %u "
                    "done all the same", deed_name(kind),
                    mode ? "for good" : "once", totals.n_points,
                    totals.n_done);
    }
    munmap(has_failed, sizeof *has_failed);
}

/* ---- The watcher ------------------------------------------------------- */

/* The repetition has a watcher that remembers. */
static void
drop_memory_plan(void *user)
{
    (void)user;
    unlink("memory-plan");
}

static bool
starve_watcher(enum deed_kind kind, const struct shortage *shortage,
               struct totals *totals)
{
    AUTO_FREE char *watcher = libspawn__str_format(
        "%s/tests/fake/forgetful_watcher", harness_build_dir());
    AUTO_FREE char *plan = libspawn__str_format(
        "%ld %s", shortage->n, shortage->is_for_good ? "for-good" : "once");
    struct deed deed = { .kind = kind,
                         .is_repeated = true,
                         .watcher = watcher,
                         .after = drop_memory_plan };
    AUTO_FREE char *result = NULL;
    struct deed_run run;

    harness_write_file("memory-plan", plan);
    unlink("memory-result");
    deed_begin(&deed, &run);
    note(&run, "watcher", shortage);
    ck_assert_msg(deed_await(&run, ANSWER_MS), "no answer: %s",
                  deed_describe(&run));
    deed_assert_clean(&run);
    assert_fits(&run);
    if (access("memory-result", F_OK) < 0) {
        return false;
    }
    result = harness_read_file("memory-result");
    ck_assert_msg(!strcmp(result, "failed"), "%s: %s", result,
                  deed_describe(&run));
    count(&run, totals);
    return true;
}

static void
sweep_watcher(enum deed_kind kind, unsigned int quick)
{
    unsigned int mode;

    for (mode = 0; mode < 2; mode++) {
        struct shortage shortage = { 1, mode, NULL };
        struct totals totals = { 0 };

        while (starve_watcher(kind, &shortage, &totals)) {
            shortage.n += sweep_stride(quick);
        }
        sweep_print("failing allocation of the watcher, %s, %s: %u points, %u "
                    "done all the same", deed_name(kind),
                    mode ? "for good" : "once", totals.n_points,
                    totals.n_done);
    }
}

#define SWEEP(NAME, ROLE, KIND, QUICK)                                        \
    TEST_TIMEOUT(NAME, SWEEP_TEST_S)                                          \
    {                                                                         \
        sweep_##ROLE(KIND, QUICK);                                            \
    }

SWEEP(memory_of_the_caller_ends_until_the_stop__fits, caller, DEED_STOP, 5)
SWEEP(memory_of_the_caller_ends_in_a_failure__fits, caller, DEED_FAIL, 5)
SWEEP(memory_of_the_caller_ends_until_the_release__fits, caller, DEED_RELEASE,
      5)
SWEEP(memory_of_the_watcher_ends_until_the_stop__fits, watcher, DEED_STOP, 5)
SWEEP(memory_of_the_watcher_ends_in_a_failure__fits, watcher, DEED_FAIL, 5)
SWEEP(memory_of_the_watcher_ends_until_the_release__fits, watcher,
      DEED_RELEASE, 5)

TEST_MAIN("sweep_memory")
