/*
 * A context, inside: the loop, how processes are started and reaped, and the
 * watchers that are still to be reaped.
 */
#ifndef LIBSPAWN_PROC_CTX_H
#define LIBSPAWN_PROC_CTX_H

#include "base/pidref.h"
#include "loop/loop.h"

/* A watcher that was started ahead and waits for its plan. */
struct libspawn__spare {
    int fd; /* our end of its socket; -1: there is none */
    pid_t pid;
    bool is_xen; /* it can use xenstore */
};

struct libspawn_ctx {
    struct libspawn__loop *loop;
    char *watcher_path; /* NULL: searched for */
    bool has_hooks;
    struct libspawn_hooks hooks;
    struct libspawn__list children;     /* struct libspawn_child */
    struct libspawn__list watchers;     /* started and not reaped yet */
    struct libspawn__timer watch_timer; /* tries again to watch some */
    struct libspawn__spare spare;
};

/* Starts a watcher, for a store with this address (NULL: none), with 'fd' as
 * its descriptor 3.  'title' is what process lists show of it.  The context
 * reaps it whenever it ends; *pid_r is for messages only. */
int libspawn__ctx_start_watcher(struct libspawn_ctx *ctx,
                                const char *store_address, const char *title,
                                int fd, pid_t *pid_r,
                                struct libspawn_err *err);

/* Starts any program in the same way; 'argv' ends with NULL.  'path' may be
 * NULL: then it is the one of that name, argv[0], beside this program, or in
 * LIBEXECDIR. */
int libspawn__ctx_start_program(struct libspawn_ctx *ctx, const char *path,
                                char *const argv[], int fd, pid_t *pid_r,
                                struct libspawn_err *err);

/* The watcher's program for such a store, opened for execveat(2) alone. */
int libspawn__ctx_open_watcher(const struct libspawn_ctx *ctx,
                               const char *store_address, int *fd_r,
                               struct libspawn_err *err);

/* Our end of the socket (blocking mode) of a watcher that waits for its plan,
 * and whose it is; -1 when none was prepared for this kind of store. */
int libspawn__ctx_take_spare(struct libspawn_ctx *ctx,
                             const char *store_address, pid_t *pid_r);

/* For a program that this process becomes: those that are to be reaped, at
 * most 'max'; and having its context reap one. */
size_t libspawn__ctx_list_watchers(const struct libspawn_ctx *ctx,
                                   pid_t pids[], size_t max);
void libspawn__ctx_keep_watcher(struct libspawn_ctx *ctx, pid_t pid);

/* Ends a watcher, or another program, that hangs; what it watched is the
 * caller's to end. */
void libspawn__ctx_kill_watcher(struct libspawn_ctx *ctx, pid_t pid);

/* Ends and reaps one that has no child, and so ends at once. */
void libspawn__ctx_end_watcher(struct libspawn_ctx *ctx, pid_t pid);

#endif
