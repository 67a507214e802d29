/*
 * A process with a chosen number: somebody innocent who got the number of a
 * process that has ended.
 */
#ifndef TESTS_FLOW_RECYCLE_H
#define TESTS_FLOW_RECYCLE_H

#include <sys/types.h>

/* A child with exactly this number, which sleeps until it is killed; -1 and
 * errno where that cannot be had (clone3(2), set_tid).  On a busy machine
 * somebody else may get the number first: it is waited for then. */
pid_t fork_with_pid(pid_t pid);

#endif
