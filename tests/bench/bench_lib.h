/*
 * The parts of bench-lib, each some rows of the table.  They return 0, or -1
 * after a message; a bar that is missed is no failure.
 */
#ifndef TESTS_BENCH_BENCH_LIB_H
#define TESTS_BENCH_BENCH_LIB_H

#include "tests/bench/bench_child.h"

/* Before a start in a row where both sides wait. */
enum { BENCH_LIB_PAUSE_MS = 5 };

struct bench_lib {
    const char *bin; /* directory of the programs */
    struct libspawn_ctx *ctx;
    struct libspawn_plan *plan;
};

/* bench_fn with a struct bench_lib: one start, to exec and record. */
int64_t bench_lib_start_once(void *user);

/* The same after a pause in which a watcher was prepared. */
int64_t bench_lib_start_prepared(void *user);

int bench_lib_callers(struct bench_lib *lib);  /* of different size */
int bench_lib_conmon(struct bench_lib *lib);   /* the same work by conmon */
int bench_lib_watchers(struct bench_lib *lib); /* memory, wake-ups */
int bench_lib_crowd(struct bench_lib *lib);    /* 1000 at once */

/* Starts a program without descriptors of ours but 'fd', which becomes
 * descriptor 3 unless it is -1, and with only 'env' as environment. */
int bench_lib_spawn(char *const argv[], char *const env[], int fd,
                    const char *directory, pid_t *pid_r);

#endif
