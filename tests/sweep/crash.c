#include "tests/sweep/crash.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/lib/harness.h"

enum { ANSWER_MS = 2000 };

static const char *const role_names[] = {
    [LEAD_CALLER] = "caller",
    [LEAD_WATCHER] = "watcher",
    [LEAD_CHILD] = "child",
};

struct totals {
    unsigned int n_points;
    unsigned int n_released;
    int64_t longest_ms;
};

static void
assert_answered(struct deed_run *run, const struct lead *lead)
{
    const struct deed_verdict *verdict = &run->verdict;

    ck_assert_msg(run->is_told && !verdict->repeated_rc &&
                      verdict->n_fds_left <= 0,
                  "%s killed at stop %u (call %ld): %s",
                  role_names[lead->role], lead->n_stops, lead->call,
                  deed_describe(run));
    /* It is told: by an event, by an error, or there is nothing to tell. */
    ck_assert_msg(verdict->rc || verdict->end || deed_is_done(run),
                  "%s killed at stop %u (call %ld): %s",
                  role_names[lead->role], lead->n_stops, lead->call,
                  deed_describe(run));
}

/* Whether the caller starts another one then.  With a store that is slow only
 * now and then: that a context is as good as new depends on no store. */
static bool
is_repeated(const char *address, enum lead_role role, unsigned int n)
{
    enum { NOW_AND_THEN = 8 };

    return role != LEAD_CALLER && (!address || n % NOW_AND_THEN == 1);
}

/* False when there are less than n stops. */
static bool
kill_at_stop(const char *address, enum lead_role role, enum deed_kind kind,
             unsigned int n, struct totals *totals)
{
    struct lead lead;
    struct deed deed = { .kind = kind,
                         .address = address,
                         .is_repeated = is_repeated(address, role, n),
                         .before = lead_wait,
                         .user = &lead };
    struct deed_run run;
    int64_t killed_ms;
    bool was_killed;

    lead_begin(&lead, role);
    deed_begin(&deed, &run);
    was_killed = lead_and_kill(&lead, &run, n);
    killed_ms = libspawn__clock_now_ms();
    ck_assert_msg(deed_await(&run, ANSWER_MS * deed_slowness(&deed)),
                  "%s killed at stop %u (call %ld): no answer",
                  role_names[role], n, lead.call);
    killed_ms = libspawn__clock_now_ms() - killed_ms;
    lead_end(&lead);
    run.is_child_killed = was_killed && role == LEAD_CHILD;
    deed_assert_clean(&run);
    if (role != LEAD_CALLER) {
        assert_answered(&run, &lead);
    }
    ck_assert_msg(was_killed || deed_is_done(&run),
                  "nobody was killed at stop %u: %s", n, deed_describe(&run));
    ck_assert_msg(!run.is_stale, "a record of nobody is left: %s killed at "
                  "stop %u (call %ld)", role_names[role], n, lead.call);
    if (was_killed) {
        totals->n_points++;
        totals->n_released += run.is_released;
        totals->longest_ms = MAX(totals->longest_ms, killed_ms);
    }
    return was_killed;
}

void
sweep_crash(const char *address, enum lead_role role, enum deed_kind kind,
            unsigned int quick)
{
    struct totals totals = { 0 };
    unsigned int stride = sweep_stride(quick) *
                          (sweep_is_sanitized() ? 4 : 1);
    unsigned int n_missed = 0;
    unsigned int n = 1;

    while (n_missed < (harness_is_full() ? SWEEP_MISSES : 1)) {
        bool was_killed = kill_at_stop(address, role, kind, n, &totals);

        n_missed = was_killed ? 0 : n_missed + 1;
        n += stride;
    }
    ck_assert_uint_gt(totals.n_points, 0);
    sweep_print("crash of the %s, %s%s: %u points, %u with a released "
                "child, answer within %d ms",
                role_names[role], deed_name(kind),
                address ? ", in xenstored" : "", totals.n_points,
                totals.n_released, (int)totals.longest_ms);
}
