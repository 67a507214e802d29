/*
 * What benchmarks of xl without Xen share: its state directory, running it,
 * and the processes that it leaves.
 *
 * Everything is relative to the current directory, which is new, empty and in
 * memory; the state directory is "state" in it, the guests' configuration
 * BENCH_XL_CONFIG.
 */
#ifndef TESTS_BENCH_BENCH_XL_H
#define TESTS_BENCH_BENCH_XL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_XL_CONFIG "bench.cfg"
#define BENCH_XL_GUEST "bench" /* the name in it */

/* 'bin' is the directory of the programs, for as long as it is measured.
 * bench_xl_end removes the directory. */
int bench_xl_begin(const char *bin);
void bench_xl_end(void);

/* A program of ours by its name; new, or NULL without memory. */
char *bench_xl_program(const char *name);

/* Nanoseconds that xl with these arguments took, which end with NULL, or -1
 * after a message, also when it exits with another status. */
int64_t bench_xl_argv(int expected_exit, const char *const args[]);
#define bench_xl(STATUS, ...)                                                 \
    bench_xl_argv(STATUS, (const char *const[]){ __VA_ARGS__, NULL })

/* The process that is the device model of a guest; -1 after a message.  The
 * n-th guest of a state directory has number n. */
pid_t bench_xl_model(unsigned int domid);

/* Reads until a line with 'word' has come; false at the end, and when none
 * comes for long. */
bool bench_xl_await_line(int fd, const char *word);

#endif
