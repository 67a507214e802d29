/*
 * The two clocks: one that never jumps, for durations and deadlines, and the
 * wall clock, for records that people read.
 */
#ifndef LIBSPAWN_BASE_CLOCK_H
#define LIBSPAWN_BASE_CLOCK_H

#include <stdint.h>

#define LIBSPAWN__NEVER INT64_MAX

int64_t libspawn__clock_now_ms(void);      /* CLOCK_MONOTONIC */
int64_t libspawn__clock_realtime_ms(void); /* since 1970, UTC */

#endif
