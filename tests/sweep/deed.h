/*
 * A deed: what a caller does with the library, in a process of its own, which
 * a sweep may filter, trace, disturb or kill; and what is true afterwards.
 *
 *     struct deed deed = { .kind = DEED_RELEASE };
 *     struct deed_run run;
 *
 *     deed_begin(&deed, &run);
 *     ... disturb run.pid ...
 *     deed_await(&run, 2000);
 *     deed_assert_clean(&run);
 *
 * The store is a directory, "store" in that of the test, unless the deed names
 * one.  The deed makes no assertion; what it finds is in its verdict.
 */
#ifndef TESTS_SWEEP_DEED_H
#define TESTS_SWEEP_DEED_H

#include <stdbool.h>
#include <sys/types.h>

#include "include/libspawn.h"
#include "store/store.h"

/* In a store that is used by others as well there are no such guests. */
#define DEED_RECORD "/libxl/32001/libspawn/dm"
#define DEED_RECORD_REPEATED "/libxl/32002/libspawn/dm"

enum deed_kind {
    DEED_STOP,   /* start, ready, stop */
    DEED_FAIL,   /* start of a program that does not exist */
    DEED_RELEASE /* start, ready, release */
};
const char *deed_name(enum deed_kind kind);

struct deed {
    enum deed_kind kind;
    bool is_repeated;     /* afterwards a whole start in the same context */
    bool has_landlock;
    bool is_best_effort;  /* of Landlock */
    const char *cgroup;   /* NULL: none */
    const char *address;  /* of the store; NULL: the directory */
    const char *watcher;  /* NULL: spawn-watcher for this store */
    void (*before)(void *user); /* in the process, first of all; or NULL */
    void (*after)(void *user);  /* before it is repeated; or NULL */
    void *user;
};

struct deed_verdict {
    int rc; /* of the first call that failed */
    struct libspawn_err err;
    char trace[64]; /* "started ready" */
    enum libspawn_end end;
    int sys_errno;
    char sentence[512];
    int repeated_rc; /* 0 as well when it was not asked for */
    char repeated[512];
    int n_fds_left; /* more than before */
    bool has_leaked; /* memory: known with sanitizers only */
};

struct deed_run {
    const struct deed *deed;
    pid_t pid;
    int fd;          /* the verdict comes here */
    bool is_told;    /* it has come */
    char note[160]; /* what the sweep did, for messages */
    pid_t server; /* a process of the sweep, which ends by itself; 0: none */
    bool is_child_killed; /* by the sweep: it has no right to live */
    bool is_released; /* deed_assert_clean found the child alive */
    bool is_stale;    /* ... or a record that leads to no process */
    struct deed_verdict verdict;
    int status; /* as of wait(2), once it was reaped */
};

void deed_begin(const struct deed *deed, struct deed_run *run);

/* So many times longer than here may things take where the store of the deed
 * is: that of a Xen host, which is emulated. */
int deed_slowness(const struct deed *deed);

/* Waits for the verdict and reaps the process.  False when it does not come in
 * time; at once when the process was killed. */
bool deed_await(struct deed_run *run, int timeout_ms);

/* The child that was released lives, and has a record; or nothing is left: no
 * process, and no record unless whoever opens it finds that its process is
 * gone.  A released child is ended. */
void deed_assert_clean(struct deed_run *run);

/* The deed went as it should. */
bool deed_is_done(const struct deed_run *run);

/* Removes the nodes above those of the records. */
void deed_clean_store(const char *address);

/* For messages. */
const char *deed_describe(const struct deed_run *run);

/* With a sanitizer everything makes more calls, and is slower. */
bool sweep_is_sanitized(void);

/* Every n-th point in the quick form, each in the full. */
unsigned int sweep_stride(unsigned int quick);

/* How many points in a row must not be reached before a sweep is over: from
 * run to run more or fewer events are served in one turn. */
enum { SWEEP_MISSES = 5 };

/* A line of totals, for the log. */
void sweep_print(const char *format, ...) LIBSPAWN__PRINTF(1, 2);

#endif
