/*
 * The record of a started process in the store: one node whose value is a few
 * lines "key=value", so that it is always complete and one read or write each.
 * docs/PROTOCOLS.md, "Record", lists the keys.
 *
 * It is written before the program runs, by the watcher; when that is dead,
 * whoever adopted the child writes its end.  Whoever removes a dead process's
 * traces removes it.  A reader trusts nothing in it but uses it to find the
 * process, which base/pidref.h then verifies.
 */
#ifndef LIBSPAWN_PROC_RECORD_H
#define LIBSPAWN_PROC_RECORD_H

#include "base/pidref.h"
#include "base/str.h"
#include "store/store.h"

enum libspawn__record_state {
    LIBSPAWN__RECORD_STARTING, /* held, or not ready yet */
    LIBSPAWN__RECORD_RUNNING,
    LIBSPAWN__RECORD_EXITED
};

/* Whether the kernel killed it to free memory. */
enum libspawn__oom {
    LIBSPAWN__OOM_UNKNOWN,
    LIBSPAWN__OOM_NO,
    LIBSPAWN__OOM_YES
};

/* What whoever adopts the child needs besides.  When the record would become
 * too large for the store, strings are left out. */
struct libspawn__record_text {
    char *control; /* of the watcher: where it listens */
    char *secret;  /* what to say there */
    char *label;   /* these four as in the plan */
    char *guest;
    char *program;
    char *log_path;
    struct libspawn__strv pid_nodes;
};

void libspawn__record_text_dispose(struct libspawn__record_text *text);
#define AUTO_RECORD_TEXT AUTO(libspawn__record_text_dispose)

struct libspawn__record {
    enum libspawn__record_state state;
    struct libspawn__identity child;
    struct libspawn__identity watcher;
    struct libspawn__identity caller; /* whose death aborts the start */
    int64_t started_at_ms;            /* UTC */
    int64_t stop_ms;                  /* between SIGTERM and SIGKILL */
    /* Once EXITED: */
    bool is_known;   /* whether wait_status means anything */
    int wait_status; /* as of wait(2) */
    int64_t ended_at_ms;
    int64_t lived_ms; /* from exec to the end */
    enum libspawn__oom oom;
    bool has_usage; /* whether the next three mean anything */
    int64_t user_us;
    int64_t system_us;
    int64_t max_rss_kib;

    /* Written if there is one, never read: see libspawn__record_read_text. */
    const struct libspawn__record_text *text;
};

int libspawn__record_write(struct libspawn__store *store, const char *path,
                           const struct libspawn__record *record,
                           struct libspawn_err *err);

/* LIBSPAWN_ERR_NOT_FOUND without a record, LIBSPAWN_ERR_PROTOCOL for one that
 * makes no sense. */
int libspawn__record_read(struct libspawn__store *store, const char *path,
                          struct libspawn__record *record_r,
                          struct libspawn_err *err);

/* The same, with the strings. */
int libspawn__record_read_text(struct libspawn__store *store, const char *path,
                               struct libspawn__record *record_r,
                               struct libspawn__record_text *text_r,
                               struct libspawn_err *err);

/* Writes the end of 'record', unless the record in the store is of another
 * process, has an end already, or is gone: then the child's traces are
 * somebody else's.  Its pid nodes go with it. */
int libspawn__record_write_end(struct libspawn__store *store, const char *path,
                               const struct libspawn__record *record,
                               struct libspawn_err *err);

/* The text alone; 'text' need not end with a NUL. */
int libspawn__record_parse(const char *text, size_t size,
                           struct libspawn__record *record_r,
                           struct libspawn_err *err);

#endif
