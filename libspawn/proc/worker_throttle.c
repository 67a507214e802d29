#include "proc/worker_throttle.h"

#include <string.h>

#include "base/util.h"

/* Of the window, for each death in it but the first: 0, 0.1, ... 0.4 s. */
enum { PAUSES_PER_WINDOW = 600 };

static void
forget_first(struct libspawn__worker_throttle *throttle)
{
    throttle->n_deaths--;
    memmove(throttle->deaths_ms, throttle->deaths_ms + 1,
            throttle->n_deaths * sizeof *throttle->deaths_ms);
}

int64_t
libspawn__worker_throttle_died(struct libspawn__worker_throttle *throttle,
                               int64_t now_ms, bool *is_degraded_r)
{
    while (throttle->n_deaths &&
           throttle->deaths_ms[0] + throttle->window_ms <= now_ms) {
        forget_first(throttle);
    }
    if (throttle->n_deaths == ARRAY_SIZE(throttle->deaths_ms)) {
        forget_first(throttle);
    }
    throttle->deaths_ms[throttle->n_deaths] = now_ms;
    throttle->n_deaths++;
    *is_degraded_r = throttle->n_deaths == ARRAY_SIZE(throttle->deaths_ms);
    if (*is_degraded_r) {
        return throttle->deaths_ms[0] + throttle->window_ms;
    }
    return now_ms + (int64_t)(throttle->n_deaths - 1) *
                        (throttle->window_ms / PAUSES_PER_WINDOW);
}
