/*
 * One child of the library as all benchmarks start it, and the same program
 * by hand: /bin/sleep, which runs until somebody ends it.
 *
 * Whoever uses it has no other children at the time.
 */
#ifndef TESTS_BENCH_BENCH_CHILD_H
#define TESTS_BENCH_BENCH_CHILD_H

#include <stdint.h>

#include "include/libspawn.h"

/* A context with the watcher of the directory 'bin', and a plan with a record
 * in a store below the current directory; NULL after a message. */
struct libspawn_ctx *bench_ctx_new(const char *bin);
struct libspawn_plan *bench_plan_new(void);

/* Nanoseconds from the call to "exec succeeded, record written", or -1 after
 * a message.  'fn' and 'user' are the events', and may be NULL. */
int64_t bench_child_start(struct libspawn_ctx *ctx,
                          const struct libspawn_plan *plan,
                          libspawn_event_fn *fn, void *user,
                          struct libspawn_child **child_r);

/* Ends it, if it lives, and frees it; returns when the watcher is reaped too,
 * so that its end does not disturb what is timed next. */
void bench_child_end(struct libspawn_ctx *ctx, struct libspawn_child *child);

/* Nanoseconds from posix_spawn(3) to exec, or -1 after a message. */
int64_t bench_bare_start(pid_t *pid_r);
void bench_bare_end(pid_t pid);

/* The same by the classic double fork: the caller forks, and what it forked
 * forks what executes.  Timed to exec. */
int64_t bench_double_fork(void);

#endif
