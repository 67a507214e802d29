/*
 * One process of a deed led by ptrace(2), from system call to system call, and
 * killed at one of them: caller, watcher or child.  The others run freely.
 *
 *     deed.before = lead_wait;
 *     deed.user = &lead;
 *     lead_begin(&lead, LEAD_WATCHER);
 *     deed_begin(&deed, &run);
 *     was_killed = lead_and_kill(&lead, &run, n);
 */
#ifndef TESTS_SWEEP_LEAD_H
#define TESTS_SWEEP_LEAD_H

#include <stdbool.h>

#include "tests/sweep/deed.h"

enum lead_role {
    LEAD_CALLER,
    LEAD_WATCHER, /* from its birth, still the program of its caller */
    LEAD_CHILD    /* from its birth */
};

struct lead {
    enum lead_role role;
    int hold_fds[2];
    unsigned int n_stops; /* of the role so far */
    long call;            /* the number of the system call of the last */
};

void lead_begin(struct lead *lead, enum lead_role role);
void lead_end(struct lead *lead);

/* In the process: waits until it is led. */
void lead_wait(void *lead);

/* Kills the role at its n-th stop, from 1: a call has two of them, at entry
 * and at exit.  False when it ends before that, or the deed is over. */
bool lead_and_kill(struct lead *lead, struct deed_run *run, unsigned int n);

#endif
