/*
 * Death at any moment: caller, watcher and child are killed at every system
 * call that they make from the start to the release, at its entry and at its
 * exit.  A child is released and lives, or it is gone with all its traces;
 * and who survives has an answer soon.
 */
#ifndef TESTS_SWEEP_CRASH_H
#define TESTS_SWEEP_CRASH_H

#include "tests/sweep/deed.h"
#include "tests/sweep/lead.h"

/* Kills the role at each of its stops, or every 'quick'-th of them in the
 * quick form.  The record is in the store at 'address'; NULL: a directory. */
void sweep_crash(const char *address, enum lead_role role, enum deed_kind kind,
                 unsigned int quick);

#endif
