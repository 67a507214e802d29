/*
 * Starting a daemon of ours, and its verdict.
 *
 *   starter                                   daemon
 *     libspawn__daemon_start  -- posix_spawn --> libspawn__daemon_enter
 *     stage                   <----------------- libspawn__daemon_set_stage
 *     said                    <----------------- libspawn__daemon_say
 *     libspawn__daemon_tell   -----------------> told
 *     done, ready             <----------------- libspawn__daemon_complete
 *  or done, failed            <----------------- libspawn__daemon_fail, exit
 *
 * The daemon does in its own process what must happen there (locks, sockets,
 * the start of what it looks after), and says that it is ready when it can be
 * used, not when it runs.  Until then its starter waits; the exit status of a
 * daemon that ends before is passed on unchanged, over any number of hops.
 *
 *  - The starter's end is the end of the channel: a daemon that is not ready
 *    undoes what it did and exits.
 *  - A daemon that is not ready in time is told in the same way, and killed
 *    if it does not leave; the verdict names the stage it was in.
 *  - The channel is close-on-exec on both sides, so no helper of the daemon
 *    keeps the starter waiting.
 *  - The daemon is in a session of its own from birth.  What it prints until
 *    it is ready, such as the complaint of a dynamic linker, goes where the
 *    starter's output goes; then its standard descriptors are /dev/null, and
 *    its directory is the root, so that it keeps no file system busy.
 *
 * Formats: docs/PROTOCOLS.md, "Daemon start".
 */
#ifndef LIBSPAWN_PROC_DAEMON_H
#define LIBSPAWN_PROC_DAEMON_H

#include <stdbool.h>

#include "include/libspawn.h"
#include "loop/loop.h"

enum {
    LIBSPAWN__DAEMON_FD = 3,              /* the daemon's end of the channel */
    LIBSPAWN__DAEMON_TEXT_MAX = 64 * 1024 /* of one message */
};

/* What it may take to undo a start, before it is killed. */
enum {
    LIBSPAWN__DAEMON_LEAVE_MS = 15000
};

/* Exit statuses beyond the daemon's own 1 to 125, as of timeout(1), env(1)
 * and sh(1). */
enum {
    LIBSPAWN__DAEMON_EXIT_DEADLINE = 124,
    LIBSPAWN__DAEMON_EXIT_SIGNAL_BASE = 128
};

/* ---- The starter ------------------------------------------------------- */

struct libspawn__starter;

struct libspawn__daemon_verdict {
    bool is_ready;
    pid_t pid;        /* of the daemon */
    const char *text; /* that came with it; NULL: none */
    /* What the starter should exit with: 0 when ready, else the daemon's own
     * status, 128 and the signal that killed it, or 124 for the deadline; 1
     * when it exited with 0 without having been ready. */
    int exit_status;
    /* When it is not ready: LIBSPAWN_ERR_CHILD, or _TIMEOUT, and a sentence.
     * One that came with a text had its own reason, which is in the text. */
    struct libspawn_err err;
};

struct libspawn__starter_callbacks {
    void (*stage)(void *user, const char *stage); /* may be NULL */
    /* May be NULL; 'fd' is borrowed, or -1. */
    void (*said)(void *user, const char *text, int fd);
    void (*done)(void *user, const struct libspawn__daemon_verdict *verdict);
    void *user;
};

struct libspawn__daemon_plan {
    const char *label; /* "supervisor of guest 'x'": for sentences */
    const char *path;
    char *const *argv;
    char *const *envp;
    uint32_t deadline_ms; /* 0: wait for ever */
    uint32_t leave_ms;    /* to undo; 0: LIBSPAWN__DAEMON_LEAVE_MS */
};

/* Starts it.  'done' comes exactly once, from the loop; copies what it needs
 * of the plan. */
int libspawn__daemon_start(struct libspawn__loop *loop,
                           const struct libspawn__daemon_plan *plan,
                           const struct libspawn__starter_callbacks *callbacks,
                           struct libspawn__starter **starter_r,
                           struct libspawn_err *err);

/* Sends it a message, with a descriptor (-1: none), which stays the
 * caller's.  LIBSPAWN_ERR_GONE when it has ended: 'done' says more. */
int libspawn__daemon_tell(struct libspawn__starter *starter, const char *text,
                          int fd, struct libspawn_err *err);

/* Asks it to undo and leave; 'done' follows. */
void libspawn__daemon_abort(struct libspawn__starter *starter);

/* Before 'done' the daemon is killed. */
void libspawn__starter_free(struct libspawn__starter *starter);

/* ---- The daemon -------------------------------------------------------- */

struct libspawn__daemon {
    int fd;       /* -1: nobody waits for us, or not any more */
    bool is_left; /* whoever does asked us to leave, or is gone */
    struct libspawn__io io;
    /* A message, with a descriptor that is the callee's, or -1; NULL: undo
     * and leave, since the starter asks for it or is gone. */
    void (*told)(struct libspawn__daemon *daemon, const char *text, int fd);
};

/* Takes over the channel; without one, started by somebody else, it runs in
 * the foreground, and all the below has no effect. */
int libspawn__daemon_enter(struct libspawn__daemon *daemon,
                           struct libspawn__loop *loop,
                           void (*told)(struct libspawn__daemon *daemon,
                                        const char *text, int fd),
                           struct libspawn_err *err);
void libspawn__daemon_set_stage(struct libspawn__daemon *daemon,
                                const char *stage);
void libspawn__daemon_say(struct libspawn__daemon *daemon, const char *text,
                          int fd);

/* Ready: from here on it is on its own.  When the starter is gone this fails
 * with LIBSPAWN_ERR_GONE, and the daemon has to undo: both sides agree on the
 * verdict. */
int libspawn__daemon_complete(struct libspawn__daemon *daemon,
                              const char *text, struct libspawn_err *err);

/* Hangs up.  Does nothing when nobody waits. */
void libspawn__daemon_dispose(struct libspawn__daemon *daemon);

/* Not ready, and why; the caller then exits with a status of its own. */
void libspawn__daemon_fail(struct libspawn__daemon *daemon, const char *text);

#endif
