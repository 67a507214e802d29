/*
 * What trial_worker does besides what guest-worker does.
 */
#ifndef TESTS_FAKE_TRIAL_H
#define TESTS_FAKE_TRIAL_H

#include "proc/worker_protocol.h"

enum trial_type {
    TRIAL_ECHO = LIBSPAWN__WORKER_TRIAL, /* data and descriptors come back */
    TRIAL_WAIT,          /* on a pipe that comes along; replies if asked */
    TRIAL_FORGET,        /* does not reply */
    TRIAL_REPLY_ALWAYS,  /* also when nobody asked */
    TRIAL_FAIL,          /* with ENOSPC */
    TRIAL_DIE,           /* by SIGKILL */
    TRIAL_SAY,           /* the payload as it is; then waits on a pipe */
    TRIAL_COUNT_FDS,     /* replies how many descriptors are open there */
    TRIAL_FD_FLAGS       /* replies the flags of the one that comes along */
};

#endif
