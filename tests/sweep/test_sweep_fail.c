/*
 * The n-th system call fails, of the caller and of the watcher: once, or it
 * and all after it.  The deed is done all the same, or there is an error that
 * fits; nothing is left, and the context serves the next start.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/sweep/deed.h"
#include "tests/sweep/gate.h"

enum {
    SWEEP_TEST_S = 60,
    ANSWER_MS = 20000
};

static const char *const role_names[] = { "caller", "watcher", "child" };

struct totals {
    unsigned int n_points;
    unsigned int n_done; /* all the same */
};

static void
assert_fits(const struct deed_run *run, const struct gate_state *state)
{
    const struct deed_verdict *verdict = &run->verdict;

    ck_assert_msg(run->is_told && !verdict->repeated_rc &&
                      !verdict->has_leaked && verdict->n_fds_left <= 0,
                  "%s", deed_describe(run));
    ck_assert_msg(!run->is_stale, "a record of nobody is left: %s",
                  deed_describe(run));
    if (deed_is_done(run)) {
        return;
    }
    /* Sanitized programs are loaded by ld.so, which is not ours. */
    ck_assert_msg(state->sys_errno != EINTR || state->is_for_good ||
                      sweep_is_sanitized(),
                  "interrupted: %s", deed_describe(run));
    /* An error with a sentence, or an event with a report. */
    ck_assert_msg(verdict->rc ? verdict->err.text[0] != '\0'
                              : verdict->end && verdict->sentence[0],
                  "no reason: %s", deed_describe(run));
    ck_assert_msg(verdict->rc != LIBSPAWN_ERR_TIMEOUT, "hangs: %s",
                  deed_describe(run));
}

static void
note_failure(struct deed_run *run, const struct gate_state *state)
{
    snprintf(run->note, sizeof run->note, "%s's call %u (%s) fails %s (%s)",
             role_names[state->role], state->n, gate_call_name(state->call),
             state->is_for_good ? "for good" : "once",
             strerror(state->sys_errno));
}

static bool
fail_call(enum gate_role role, enum deed_kind kind, unsigned int n,
          unsigned int variant, bool is_for_good, struct totals *totals)
{
    struct gate gate;
    struct deed deed = { .kind = kind,
                         .is_repeated = true,
                         .before = gate_install,
                         .after = gate_disarm,
                         .user = &gate };
    struct deed_run run;
    bool has_failed;

    gate_open(&gate, role, n, variant, is_for_good);
    deed_begin(&deed, &run);
    gate_serve(&gate, run.pid);
    run.server = gate.server;
    if (!deed_await(&run, ANSWER_MS)) {
        note_failure(&run, gate.state);
        ck_abort_msg("no answer: %s", deed_describe(&run));
    }
    note_failure(&run, gate.state);
    deed_assert_clean(&run);
    has_failed = gate_close(&gate);
    if (has_failed) {
        assert_fits(&run, gate.state);
        totals->n_points++;
        totals->n_done += deed_is_done(&run);
    } else {
        ck_assert_msg(deed_is_done(&run) && !run.verdict.has_leaked, "%s",
                      deed_describe(&run));
    }
    /* With all later ones failing, interruptions alone prove nothing. */
    has_failed = gate.state->n_calls >= n;
    gate_dispose(&gate);
    return has_failed;
}

static void
sweep_fail(enum gate_role role, enum deed_kind kind, unsigned int quick)
{
    unsigned int stride = sweep_stride(quick);
    unsigned int mode;

    for (mode = 0; mode < 4; mode++) {
        struct totals totals = { 0 };
        unsigned int variant = mode % 2;
        bool is_for_good = mode >= 2;
        unsigned int n_missed = 0;
        unsigned int n = 1;

        while (n_missed < (harness_is_full() ? SWEEP_MISSES : 1)) {
            bool was_reached =
                fail_call(role, kind, n, variant, is_for_good, &totals);

            n_missed = was_reached ? 0 : n_missed + 1;
            n += stride;
        }
        sweep_print("failing call of the %s, %s, %s, errno %u: %u points, "
                    "%u done all the same",
                    role_names[role], deed_name(kind),
                    is_for_good ? "for good" : "once", variant,
                    totals.n_points, totals.n_done);
    }
}

#define SWEEP(NAME, ROLE, KIND, QUICK)                                        \
    TEST_TIMEOUT(NAME, SWEEP_TEST_S)                                          \
    {                                                                         \
        sweep_fail(ROLE, KIND, QUICK);                                        \
    }

SWEEP(call_of_the_caller_fails_until_the_stop__fits, GATE_CALLER, DEED_STOP, 7)
SWEEP(call_of_the_caller_fails_in_a_failure__fits, GATE_CALLER, DEED_FAIL, 11)
SWEEP(call_of_the_caller_fails_until_the_release__fits, GATE_CALLER,
      DEED_RELEASE, 9)
SWEEP(call_of_the_watcher_fails_until_the_stop__fits, GATE_WATCHER, DEED_STOP,
      7)
SWEEP(call_of_the_watcher_fails_in_a_failure__fits, GATE_WATCHER, DEED_FAIL,
      11)
SWEEP(call_of_the_watcher_fails_until_the_release__fits, GATE_WATCHER,
      DEED_RELEASE, 9)

TEST_MAIN_UNLESS("sweep_fail", gate_obstacle)
