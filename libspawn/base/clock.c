#include "base/clock.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/str.h"
#include "base/util.h"

static int64_t
read_clock_ms(clockid_t clock)
{
    struct timespec now;

    /* Cannot fail: both clocks exist on every Linux. */
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
libspawn__clock_now_ms(void)
{
    return read_clock_ms(CLOCK_MONOTONIC);
}

int64_t
libspawn__clock_scale(void)
{
    const char *text = secure_getenv("XL_TIME_SCALE");
    uint64_t scale = 1;

    if (text) {
        libspawn__str_to_u64(text, 1, 1000, &scale, NULL);
    }
    return (int64_t)scale;
}

int64_t
libspawn__clock_realtime_ms(void)
{
    return read_clock_ms(CLOCK_REALTIME);
}

int64_t
libspawn__clock_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? LIBSPAWN__NEVER
                          : libspawn__clock_now_ms() + timeout_ms;
}

int
libspawn__clock_left_ms(int64_t deadline_ms)
{
    int64_t left_ms;

    if (deadline_ms == LIBSPAWN__NEVER) {
        return -1;
    }
    left_ms = deadline_ms - libspawn__clock_now_ms();
    return (int)MIN(MAX(left_ms, 0), INT_MAX);
}

/* ---- Dates -------------------------------------------------------------
 *
 * gmtime_r(3) would have glibc read the files of the time zone first, in each
 * watcher.
 */

static bool
is_leap_year(unsigned int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned int
days_in_month(unsigned int year, unsigned int month)
{
    static const unsigned char days[] = { 31, 28, 31, 30, 31, 30,
                                          31, 31, 30, 31, 30, 31 };

    return days[month] + (month == 1 && is_leap_year(year));
}

/* Turns days since 1970 into a date; month and day begin with 0. */
static void
find_date(unsigned int *day, unsigned int *month_r, unsigned int *year_r)
{
    unsigned int year = 1970;
    unsigned int month = 0;

    while (*day >= 365U + is_leap_year(year)) {
        *day -= 365U + is_leap_year(year++);
    }
    while (*day >= days_in_month(year, month)) {
        *day -= days_in_month(year, month++);
    }
    *month_r = month;
    *year_r = year;
}

void
libspawn__clock_format(int64_t realtime_ms,
                       char text[LIBSPAWN__CLOCK_TEXT_SIZE])
{
    const int64_t last_ms = INT64_C(253402300799999); /* of the year 9999 */
    uint64_t ms = (uint64_t)MAX(0, MIN(realtime_ms, last_ms));
    unsigned int second = (unsigned int)(ms / 1000 % (24 * 3600));
    unsigned int day = (unsigned int)(ms / 1000 / (24 * 3600));
    unsigned int month;
    unsigned int year;

    find_date(&day, &month, &year);
    snprintf(text, LIBSPAWN__CLOCK_TEXT_SIZE,
             "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year % 10000U,
             (month + 1) % 100U, (day + 1) % 100U, second / 3600 % 100U,
             second / 60 % 60, second % 60, (unsigned int)(ms % 1000));
}
