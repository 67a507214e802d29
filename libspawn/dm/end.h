/*
 * Ending a device model that somebody else started, by its record.
 */
#ifndef LIBSPAWN_DM_END_H
#define LIBSPAWN_DM_END_H

#include "proc/record.h"

/* Ends the process that the record at 'path' names: SIGTERM, 'grace_ms',
 * SIGKILL, each through a pidfd that was verified; then waits for its watcher
 * to have had the last word.  A process that is gone, or no record, is fine.
 * LIBSPAWN_ERR_TIMEOUT when even SIGKILL did not end it. */
int libspawn__dm_end(struct libspawn__store *store, const char *path,
                     int grace_ms, struct libspawn_err *err);

/* The same for a process that is known already, without a record. */
int libspawn__dm_end_process(const struct libspawn__pidref *ref, int grace_ms,
                             struct libspawn_err *err);

#endif
