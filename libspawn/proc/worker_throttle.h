/*
 * How soon a worker that died is replaced: at once, then a little later each
 * time, and after too many deaths in a while not before the first of them is
 * long ago.  Pure: time is an argument.
 */
#ifndef LIBSPAWN_PROC_WORKER_THROTTLE_H
#define LIBSPAWN_PROC_WORKER_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LIBSPAWN__WORKER_DEATHS_MAX = 6, /* in one window */
    LIBSPAWN__WORKER_WINDOW_MS = 60000
};

/* Starts as all zero but for the window. */
struct libspawn__worker_throttle {
    uint32_t window_ms;
    unsigned int n_deaths; /* of those below, oldest first */
    int64_t deaths_ms[LIBSPAWN__WORKER_DEATHS_MAX];
};

/* One died at 'now_ms': when the next may start.  *is_degraded_r: there were
 * too many. */
int64_t libspawn__worker_throttle_died(
    struct libspawn__worker_throttle *throttle, int64_t now_ms,
    bool *is_degraded_r);

#endif
