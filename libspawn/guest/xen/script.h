/*
 * Hotplug scripts: small programs of the administrator that make a block
 * device out of something else, or put a network interface where it belongs.
 *
 * A script is told in its environment which backend it is for, works on that
 * directory of the store, and leaves there "hotplug-status", and in
 * "hotplug-error" why it failed.
 */
#ifndef LIBSPAWN_GUEST_XEN_SCRIPT_H
#define LIBSPAWN_GUEST_XEN_SCRIPT_H

#include <stddef.h>
#include <sys/types.h>

#include "base/pidref.h"
#include "proc/worker.h"
#include "store/store.h"

enum {
    LIBSPAWN__XEN_SCRIPT_TIMEOUT_MS = 40000
};

struct libspawn__xen_script {
    const char *path;     /* borrowed, like all strings here */
    const char *action;   /* "add", "remove", "online", "offline" */
    const char *argument; /* further one; NULL: none */
    const char *backend;  /* KIND/D/ID, below .../backend/ */
    const char *kind;     /* "vbd", "vif" */
    const char *vif;      /* interface; NULL: not a network card */
    const char *emulated; /* interface of its emulated twin; NULL: none */

    /* Private. */
    pid_t pid; /* 0: not started, or reaped */
    struct libspawn__pidref ref;
    int wait_status; /* 0 also when somebody else reaped it */
};

/* Runs all of them at once, and waits for all.  When one fails, the sentence
 * is what it left in the store.  When time runs out, 'timeout_ms' for each
 * because they wait for each other's locks, they are killed. */
int libspawn__xen_scripts_run(struct libspawn__store *store,
                              struct libspawn__xen_script *scripts, size_t n,
                              int timeout_ms, struct libspawn_err *err);

/* All of them have ended; 'err' as above, or NULL. */
typedef void libspawn__xen_scripts_fn(void *user,
                                      const struct libspawn_err *err);

/* The same, one after the other, by a worker: never blocks.  'scripts', at
 * least one, and their strings stay until 'fn' was called, which comes once,
 * unless this fails. */
int libspawn__xen_scripts_start(struct libspawn__worker *worker,
                                struct libspawn__store *store,
                                struct libspawn__xen_script *scripts, size_t n,
                                int timeout_ms, libspawn__xen_scripts_fn *fn,
                                void *user, struct libspawn_err *err);

#endif
