/*
 * xl create, inside.
 *
 *   create.c             options and configuration
 *   create_supervised.c  the guest's supervisor creates it; the default
 *   create_here.c        this process does, and nobody supervises it
 *   create_show.c        progress, result, failure: the same for both
 */
#ifndef XL_CREATE_H
#define XL_CREATE_H

#include "wire/json.h"
#include "xl/command.h"

/* What the command line asks for, and how far it is. */
struct xl__creation {
    struct xl *xl;
    const char *config_path;
    bool is_paused;
    bool has_console;
    bool has_viewer;
    bool is_dry;
    bool is_debug;
    bool is_unsupervised;
    bool is_foreground;         /* stays until the supervisor ends */
    bool has_monitor;           /* who starts the supervisor again */
    const char *control; /* where it also listens; NULL: nowhere */
    uint64_t timeout_s;         /* 0: as configured */
    uint64_t startup_timeout_s; /* for all of it; 0: by the other */

    struct libspawn_guest_config config;
    int signal_fd;
    int signal; /* that asked for the end; 0: none */

    char *step; /* now running; for the progress line */
    int64_t step_since_ms;
    bool has_progress_line;

    int console_fd;
    bool is_done;
    uint32_t domid;
    pid_t supervisor_pid; /* 0: none, or not ready */
    int status;           /* what to exit with */
};

/* How it failed. */
struct xl__creation_failure {
    struct libspawn_err err;
    char *text; /* of the device model's report; NULL: it is not the cause */
    struct libspawn__json *report; /* the same for programs */
    int status;
};

void xl__creation_failure_dispose(struct xl__creation_failure *failure);

/* Each returns what to exit with. */
int xl__create_supervised(struct xl__creation *creation);
int xl__create_here(struct xl__creation *creation);

/* Waits for the end of the guest's supervisor; a signal that comes meanwhile
 * is passed on, and makes it leave the guest as it is.  Returns what to exit
 * with. */
int xl__create_stay(struct xl__creation *creation);

/* create_show.c */
void xl__creation_show_step(struct xl__creation *creation, const char *step);
void xl__creation_show_warning(struct xl__creation *creation,
                               const char *sentence);
void xl__creation_show_waiting(struct xl__creation *creation,
                               const char *sentence);
void xl__creation_succeed(struct xl__creation *creation, uint32_t domid);
int xl__creation_fail(struct xl__creation *creation,
                      const struct xl__creation_failure *failure);
int xl__creation_fail_with(struct xl__creation *creation,
                           const struct libspawn_err *err);

/* create.c: dispatches until it is done, and calls 'interrupt' when a signal
 * asks for the end. */
int xl__creation_wait(struct xl__creation *creation,
                      void (*interrupt)(void *user), void *user);

/* Whether one came; the first is kept. */
bool xl__creation_take_signal(struct xl__creation *creation);

#endif
