/*
 * service/admission.c: whether a device model is to be believed, and how long
 * to wait for one.  The time is an argument, so every length is a true one.
 */
#include "service/admission.h"

#include "base/util.h"
#include "tests/lib/harness.h"

enum { S = 1000 };

static struct libspawn__admission
begin(int64_t now)
{
    struct libspawn__admission admission;

    libspawn__admission_init(&admission, &libspawn__admission_times, now);
    return admission;
}

/* Connects at 'now', and is admitted at once. */
static struct libspawn__admission
begin_admitted(int64_t now)
{
    struct libspawn__admission admission = begin(now);

    libspawn__admission_connect(&admission, now);
    ck_assert(libspawn__admission_hear(&admission,
                                       LIBSPAWN__MESSAGE_ADMITTING, now));
    return admission;
}

/* A recovery script may ask for more time, which is no admission. */
TEST(admission_extended__has_another_limit_and_fails_on)
{
    struct libspawn__admission a = begin(0);

    libspawn__admission_extend(&a, 300 * S);
    ck_assert_int_eq(libspawn__admission_gives_up_at(&a), 600 * S);
    ck_assert_int_eq(libspawn__admission_failing_for(&a, 400 * S), 400 * S);
}

/* ---- Who is admitted --------------------------------------------------- */

/* Covers A5. */
TEST(admission_first_running__admits_at_once_and_once)
{
    struct libspawn__admission a = begin(5 * S);

    libspawn__admission_connect(&a, 5 * S);
    ck_assert(!a.is_admitted);
    ck_assert(
        libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ADMITTING, 5 * S));
    ck_assert(a.is_admitted);
    ck_assert(
        !libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ADMITTING, 6 * S));
}

/* Covers A4. */
TEST(admission_answers_without_running__admit_after_thirty_seconds)
{
    struct libspawn__admission a = begin(0);
    int64_t now;

    libspawn__admission_connect(&a, 7 * S);
    for (now = 7 * S; now < 37 * S; now += 500) {
        ck_assert(
            !libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ANSWER, now));
    }
    ck_assert(libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ANSWER, 37 * S));
}

/* Covers A4. */
TEST(admission_that_stops_answering__does_not_come_by_time_alone)
{
    struct libspawn__admission a = begin(0);

    libspawn__admission_connect(&a, 0);
    libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ANSWER, 29 * S);
    ck_assert(!a.is_admitted);
    ck_assert_int_eq(libspawn__admission_failing_for(&a, 3600 * S), 3600 * S);
}

TEST(admission_handshake__never_admits)
{
    struct libspawn__admission a = begin(0);
    int64_t now;

    libspawn__admission_connect(&a, 0);
    for (now = 0; now < 3600 * S; now += 10 * S) {
        ck_assert(
            !libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_HANDSHAKE, now));
    }
}

TEST(admission_without_connection__hears_nothing)
{
    struct libspawn__admission a = begin(0);

    ck_assert(
        !libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ADMITTING, 40 * S));
}

TEST(admission_of_a_new_connection__begins_anew)
{
    struct libspawn__admission a = begin(0);

    libspawn__admission_connect(&a, 0);
    libspawn__admission_lose(&a, 29 * S);
    libspawn__admission_connect(&a, 29 * S + 1);
    ck_assert(!libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ANSWER, 58 * S));
    ck_assert(libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ANSWER, 60 * S));
}

/* ---- For how long it fails --------------------------------------------- */

/* Covers A7. */
TEST(admission_five_brief_connections__time_of_failure_grows)
{
    struct libspawn__admission a = begin_admitted(100 * S);
    int64_t now = 200 * S;
    int i;

    ck_assert_int_eq(libspawn__admission_failing_for(&a, now), 0);
    libspawn__admission_lose(&a, now);
    for (i = 0; i < 5; i++) {
        now += 10 * S;
        libspawn__admission_connect(&a, now);
        ck_assert_int_eq(libspawn__admission_failing_for(&a, now),
                         now - 200 * S);
        now += 500;
        libspawn__admission_lose(&a, now);
        ck_assert_int_eq(libspawn__admission_failing_for(&a, now),
                         now - 200 * S);
    }
}

TEST(admission__ends_the_time_of_failure)
{
    struct libspawn__admission a = begin_admitted(0);

    libspawn__admission_lose(&a, 10 * S);
    libspawn__admission_connect(&a, 60 * S);
    libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ADMITTING, 61 * S);
    ck_assert_int_eq(libspawn__admission_failing_for(&a, 62 * S), 0);
    libspawn__admission_lose(&a, 70 * S);
    ck_assert_int_eq(libspawn__admission_failing_for(&a, 71 * S), 1 * S);
}

TEST(admission_that_never_was__fails_since_the_beginning)
{
    struct libspawn__admission a = begin(3 * S);

    ck_assert_int_eq(libspawn__admission_failing_for(&a, 10 * S), 7 * S);
}

/* ---- The pause --------------------------------------------------------- */

/* Covers A8. */
TEST(admission_five_brief_connections__pause_grows_to_eight_seconds)
{
    static const int64_t expected[] = { 1 * S, 2 * S, 4 * S, 8 * S, 8 * S };
    struct libspawn__admission a = begin_admitted(0);
    int64_t now = 0;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(expected); i++) {
        now += 500;
        ck_assert_int_eq(libspawn__admission_lose(&a, now), expected[i]);
        now += expected[i];
        libspawn__admission_connect(&a, now);
    }
}

/* Covers A8. */
TEST(admission_connection_that_outlived_the_pause__makes_it_short_again)
{
    struct libspawn__admission a = begin_admitted(0);

    libspawn__admission_lose(&a, 0);
    libspawn__admission_connect(&a, 1 * S);
    libspawn__admission_lose(&a, 1 * S);
    libspawn__admission_connect(&a, 3 * S);
    ck_assert_int_eq(libspawn__admission_lose(&a, 5 * S), 4 * S);
    libspawn__admission_connect(&a, 9 * S);
    ck_assert_int_eq(libspawn__admission_lose(&a, 13 * S + 1), 1 * S);
}

/* A brief one may well have said "running". */
TEST(admission_of_a_brief_connection__keeps_the_pause_growing)
{
    struct libspawn__admission a = begin_admitted(0);

    ck_assert_int_eq(libspawn__admission_lose(&a, 100), 1 * S);
    libspawn__admission_connect(&a, 2 * S);
    libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ADMITTING, 2 * S);
    ck_assert_int_eq(libspawn__admission_lose(&a, 2 * S + 100), 2 * S);
}

TEST(admission_connection_that_was_refused__keeps_the_pause_growing)
{
    struct libspawn__admission a = begin_admitted(0);

    libspawn__admission_lose(&a, 0);
    ck_assert_int_eq(libspawn__admission_lose(&a, 1 * S), 2 * S);
    ck_assert_int_eq(libspawn__admission_lose(&a, 3600 * S), 4 * S);
}

/* ---- Its limits -------------------------------------------------------- */

TEST(admission_hold_limit__counts_from_the_last_admission)
{
    struct libspawn__admission a = begin_admitted(50 * S);

    ck_assert_int_eq(libspawn__admission_gives_up_at(&a), INT64_MAX);
    libspawn__admission_lose(&a, 100 * S);
    ck_assert_int_eq(libspawn__admission_gives_up_at(&a), 400 * S);
    libspawn__admission_connect(&a, 200 * S);
    ck_assert_int_eq(libspawn__admission_gives_up_at(&a), 400 * S);
}

TEST(admission_hold_limit_of_zero__is_none)
{
    struct libspawn__admission_times times = libspawn__admission_times;
    struct libspawn__admission a;

    times.hold_limit = 0;
    libspawn__admission_init(&a, &times, 0);
    ck_assert_int_eq(libspawn__admission_gives_up_at(&a), INT64_MAX);
}

/* Covers A10. */
TEST(admission_times_of_zero__become_a_second_so_that_nothing_spins)
{
    struct libspawn__admission_times times = { 0 };
    struct libspawn__admission a;

    libspawn__admission_init(&a, &times, 0);
    libspawn__admission_connect(&a, 0);
    ck_assert(!libspawn__admission_hear(&a, LIBSPAWN__MESSAGE_ANSWER, 999));
    ck_assert_int_eq(libspawn__admission_lose(&a, 0), 1 * S);
    ck_assert_int_eq(libspawn__admission_lose(&a, 1 * S), 1 * S);
    ck_assert_int_eq(a.times.still_holding, 1 * S);
}

/* ---- What a message means ---------------------------------------------- */

TEST(admission_status__means_what_the_guest_is_wanted_to_do)
{
    static const struct {
        const char *status;
        bool is_paused;
        enum libspawn__message_class class;
    } cases[] = {
        { "running", false, LIBSPAWN__MESSAGE_ADMITTING },
        { "running", true, LIBSPAWN__MESSAGE_ADMITTING },
        { "paused", false, LIBSPAWN__MESSAGE_ANSWER },
        { "paused", true, LIBSPAWN__MESSAGE_ADMITTING },
        { "prelaunch", false, LIBSPAWN__MESSAGE_HANDSHAKE },
        { "prelaunch", true, LIBSPAWN__MESSAGE_ADMITTING },
        { "inmigrate", false, LIBSPAWN__MESSAGE_HANDSHAKE },
        { "inmigrate", true, LIBSPAWN__MESSAGE_HANDSHAKE },
        { "io-error", false, LIBSPAWN__MESSAGE_ANSWER },
        { "of a later version", true, LIBSPAWN__MESSAGE_ANSWER },
        { NULL, false, LIBSPAWN__MESSAGE_ANSWER },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        ck_assert_msg(libspawn__admission_classify_status(
                          cases[i].status, cases[i].is_paused) ==
                          cases[i].class,
                      "'%s'%s", cases[i].status ? cases[i].status : "nothing",
                      cases[i].is_paused ? ", to be paused" : "");
    }
}

TEST_MAIN("admission")
