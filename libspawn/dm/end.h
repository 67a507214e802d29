/*
 * Ending a device model that somebody else started, by its record: waiting
 * for it, or on the loop.
 */
#ifndef LIBSPAWN_DM_END_H
#define LIBSPAWN_DM_END_H

#include "loop/loop.h"
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

/* ---- On the loop -------------------------------------------------------
 *
 *   TERM --grace--> KILL --ended--> WATCHER --ended, or late--> 'fn'
 *     '----------ended---------------^
 */

/* It has ended, and its watcher too; or 'err' says why it could not be made
 * to. */
typedef void libspawn__dm_ending_fn(void *user,
                                    const struct libspawn_err *err);

enum libspawn__dm_ending_state {
    LIBSPAWN__DM_ENDING_TERM,
    LIBSPAWN__DM_ENDING_KILL,
    LIBSPAWN__DM_ENDING_WATCHER
};

/* Private, but for who embeds it. */
struct libspawn__dm_ending {
    struct libspawn__loop *loop;
    libspawn__dm_ending_fn *fn;
    void *user;
    enum libspawn__dm_ending_state state;
    struct libspawn__pidref process;
    struct libspawn__pidref watcher;
    struct libspawn__io io; /* of the one that is waited for */
    struct libspawn__timer timer;
};

/* Before anything else. */
void libspawn__dm_ending_init(struct libspawn__dm_ending *ending,
                              struct libspawn__loop *loop,
                              libspawn__dm_ending_fn *fn, void *user);

/* libspawn__dm_end without waiting: 'fn' comes once, only from dispatch,
 * unless this fails.  It may free what 'ending' is in. */
int libspawn__dm_ending_start(struct libspawn__dm_ending *ending,
                              struct libspawn__store *store, const char *path,
                              int grace_ms, struct libspawn_err *err);

/* libspawn__dm_end_process in the same way; '*process' is taken. */
int libspawn__dm_ending_start_process(struct libspawn__dm_ending *ending,
                                      struct libspawn__pidref *process,
                                      int grace_ms, struct libspawn_err *err);

/* 'fn' does not come any more.  Does nothing before the start and after the
 * end. */
void libspawn__dm_ending_stop(struct libspawn__dm_ending *ending);

#endif
