#include "base/clock.h"

#include <time.h>

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
libspawn__clock_realtime_ms(void)
{
    return read_clock_ms(CLOCK_REALTIME);
}
