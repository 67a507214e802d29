/*
 * The record of a started process in the store: one node whose value is a few
 * lines "key=value", so that it is always complete and one read or write each.
 * docs/PROTOCOLS.md, "Record", lists the keys.
 *
 * It is written before the program runs and by the watcher alone; whoever
 * removes a dead process's traces removes it.  A reader trusts nothing in it
 * but uses it to find the process, which base/pidref.h then verifies.
 */
#ifndef LIBSPAWN_PROC_RECORD_H
#define LIBSPAWN_PROC_RECORD_H

#include "base/pidref.h"
#include "store/store.h"

enum libspawn__record_state {
    LIBSPAWN__RECORD_STARTING, /* held, or not ready yet */
    LIBSPAWN__RECORD_RUNNING,
    LIBSPAWN__RECORD_EXITED
};

struct libspawn__record {
    enum libspawn__record_state state;
    struct libspawn__identity child;
    struct libspawn__identity watcher;
    struct libspawn__identity caller; /* whose death aborts the start */
    int64_t started_at_ms;            /* UTC */
    /* Once EXITED: */
    bool is_known;   /* whether wait_status means anything */
    int wait_status; /* as of wait(2) */
    int64_t ended_at_ms;
};

int libspawn__record_write(struct libspawn__store *store, const char *path,
                           const struct libspawn__record *record,
                           struct libspawn_err *err);

/* LIBSPAWN_ERR_NOT_FOUND without a record, LIBSPAWN_ERR_PROTOCOL for one that
 * makes no sense. */
int libspawn__record_read(struct libspawn__store *store, const char *path,
                          struct libspawn__record *record_r,
                          struct libspawn_err *err);

/* The text alone; 'text' need not end with a NUL. */
int libspawn__record_parse(const char *text, size_t size,
                           struct libspawn__record *record_r,
                           struct libspawn_err *err);

#endif
