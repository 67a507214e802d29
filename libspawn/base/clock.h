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

/* When 'timeout_ms' from now is over; -1 is LIBSPAWN__NEVER. */
int64_t libspawn__clock_deadline(int timeout_ms);

/* How long it is until then, as poll(2) takes it: 0 when it has passed, -1 for
 * LIBSPAWN__NEVER. */
int libspawn__clock_left_ms(int64_t deadline_ms);

/* By what the times of a minute or so, in which nothing happens, are divided
 * in tests: XL_TIME_SCALE of the environment, 1 to 1000; else 1. */
int64_t libspawn__clock_scale(void);

/* "2026-11-21T12:34:56.789Z": ISO 8601, of the years 1970 to 9999. */
enum { LIBSPAWN__CLOCK_TEXT_SIZE = 25 };
void libspawn__clock_format(int64_t realtime_ms,
                            char text[LIBSPAWN__CLOCK_TEXT_SIZE]);

#endif
