/*
 * Ending every process of a user id, whatever it calls itself and however
 * fast it forks.
 *
 * This is the one place that signals processes it has not looked at, so the
 * id has to be one that nobody else has: the caller vouches for it.  Why it
 * meets these and no others, and why it cannot be stopped by them:
 *
 *  - kill(-1) goes to each process that its sender may signal, in one go: the
 *    kernel holds its list of processes meanwhile, so that none is born
 *    between two looks.  It goes to nobody outside the sender's pid namespace,
 *    nor to process 1 or the sender.
 *  - Its sender has no capabilities.  Then it may signal whose real or saved
 *    user id is the sender's real or effective one.  The effective one is the
 *    id to end; the real one is an id that nothing else ever has.
 *  - The victims have neither the sender's real nor its saved id (0), so they
 *    may not signal, trace or limit it.
 *
 * The stock toolstack does the same with a user of its own; here no such user
 * has to be made.
 */
#ifndef LIBSPAWN_PROC_REAP_H
#define LIBSPAWN_PROC_REAP_H

#include <stdint.h>

#include "base/err.h"

/* Real ids of senders, one per id to end, so that two of them at work at once
 * do not meet: "unused" in systemd's table of user ids, and above what any
 * distribution gives to containers. */
#define LIBSPAWN__REAPER_BASE 0x78000000u
#define LIBSPAWN__REAPER_RANGE 0x08000000u

/* Kills every process of 'uid', which must be that of no person and no
 * service.  None is fine.  LIBSPAWN_ERR_INVALID for 0, for -1, and for a
 * sender's id; LIBSPAWN_ERR_DENIED unless called by root. */
int libspawn__reap_uid(uint32_t uid, struct libspawn_err *err);

#endif
