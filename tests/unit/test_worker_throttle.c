/*
 * proc/worker_throttle.c: when the next worker may start.
 */
#include "proc/worker_throttle.h"
#include "tests/lib/harness.h"

static int64_t
die(struct libspawn__worker_throttle *throttle, int64_t now_ms,
    bool is_degraded)
{
    bool got;
    int64_t at_ms = libspawn__worker_throttle_died(throttle, now_ms, &got);

    ck_assert_int_eq(got, is_degraded);
    return at_ms;
}

TEST(throttle_first_death__next_starts_at_once)
{
    struct libspawn__worker_throttle throttle = { .window_ms = 60000 };

    ck_assert_int_eq(die(&throttle, 5000, false), 5000);
}

/* Covers W8. */
TEST(throttle_deaths_in_a_row__next_starts_later_but_within_a_second)
{
    struct libspawn__worker_throttle throttle = { .window_ms = 60000 };
    int64_t now_ms = 5000;
    int i;

    for (i = 0; i < LIBSPAWN__WORKER_DEATHS_MAX - 1; i++) {
        int64_t at_ms = die(&throttle, now_ms, false);

        ck_assert_int_eq(at_ms, now_ms + i * 100);
        now_ms = at_ms;
    }
}

/* Covers W9. */
TEST(throttle_six_deaths_in_the_window__waits_until_the_first_is_old)
{
    struct libspawn__worker_throttle throttle = { .window_ms = 60000 };
    int i;

    for (i = 0; i < 5; i++) {
        die(&throttle, 1000 * i, false);
    }
    ck_assert_int_eq(die(&throttle, 6000, true), 60000);
    /* And so on, six in any window. */
    ck_assert_int_eq(die(&throttle, 60000, true), 61000);
    ck_assert_int_eq(die(&throttle, 61000, true), 62000);
}

TEST(throttle_deaths_far_apart__are_forgotten)
{
    struct libspawn__worker_throttle throttle = { .window_ms = 60000 };
    int i;

    for (i = 0; i < 20; i++) {
        ck_assert_int_eq(die(&throttle, 60000 * i, false), 60000 * i);
    }
}

TEST_MAIN("worker_throttle")
