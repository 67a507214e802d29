/*
 * Processes that hold locks, for the tests of locks.
 */
#ifndef TESTS_FLOW_LOCK_STORY_H
#define TESTS_FLOW_LOCK_STORY_H

#include <sys/types.h>

#include "proc/lock.h"
#include "tests/lib/harness.h"

/* "the lock", rank of the host, in the test's directory. */
struct libspawn__lock_request lock_request(const char *path);

/* A process that has the lock, by the library, when this returns, and lets go
 * of it when it is told, or killed. */
struct lock_holder {
    pid_t pid;
    int release; /* closing it tells the holder */
};

struct lock_holder lock_hold(const char *path);

/* The same with a classic lock and nothing written into the file, as a script
 * does it. */
struct lock_holder lock_hold_classic(const char *path);

/* Lets go, and waits for its end. */
void lock_let_go(struct lock_holder *holder);
void lock_kill_holder(struct lock_holder *holder);

/* Waits until a process is inside fcntl(2) with this command. */
bool lock_await_call(pid_t pid, int command);

/* Whether another process gets the lock now. */
bool lock_is_free(const char *path);

#endif
