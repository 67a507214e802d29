/*
 * A child, inside.
 *
 *   child.c          its life, events, and what the caller may do
 *   child_watcher.c  messages to and from its watcher
 *   child_end.c      how it ends, and who finds that out without a watcher
 *   adopt.c          taking over one that somebody else started
 */
#ifndef LIBSPAWN_PROC_CHILD_H
#define LIBSPAWN_PROC_CHILD_H

#include "base/list.h"
#include "base/pidref.h"
#include "loop/loop.h"
#include "proc/ctx.h"
#include "proc/protocol.h"
#include "proc/record.h"
#include "proc/report.h"

enum {
    LIBSPAWN__ABORT_GRACE_MS = 1000,    /* for a child that is not ready yet */
    LIBSPAWN__WATCHER_ANSWER_MS = 5000, /* for what it does at once */
    LIBSPAWN__KILL_MS = 1000 /* for SIGKILL, which takes a millisecond */
};

enum libspawn__child_state {
    LIBSPAWN__CHILD_STARTING,
    LIBSPAWN__CHILD_WAITING,
    LIBSPAWN__CHILD_READY,
    LIBSPAWN__CHILD_RELEASED,
    LIBSPAWN__CHILD_ENDED
};

struct libspawn_child {
    struct libspawn__list link; /* in the context's list */
    struct libspawn_ctx *ctx;   /* NULL: orphaned */
    libspawn_event_fn *fn;
    void *user;

    enum libspawn__child_state state;
    bool is_detached;      /* released without a watcher */
    bool is_release_asked; /* and not answered, unless it is released */
    bool is_end_asked;     /* we asked for its end; 'asked' says why */
    enum libspawn_end asked;
    uint32_t stop_ms;

    unsigned int events; /* set of 1 << enum libspawn_event to deliver */
    struct libspawn__task deliver_task;
    bool *is_freed; /* set by libspawn_child_free during a callback */

    int watcher_fd;                  /* the socket; -1: closed */
    pid_t watcher_pid;               /* of one that our context reaps */
    struct libspawn__pidref watcher; /* of one that it does not */
    struct libspawn__io watcher_io;
    struct libspawn__pidref ref; /* the child's */
    bool is_upgrading; /* no answer yet */
    int upgrade_errno;

    /* Without the socket: waits for the end of the child, then for the end of
     * its watcher if it has one, then for what the kernel tells. */
    struct libspawn__io orphan_io;
    struct libspawn__timer learn_timer;
    int64_t learn_until_ms;

    struct libspawn__timer deadline;
    int64_t deadline_max_ms; /* when it is at the latest, if the child asks */
    bool has_said_status;    /* then the stage is its own words */
    struct libspawn__timer backstop; /* nobody else sends SIGKILL in time */

    char *store_address;
    struct libspawn__strv nodes; /* the record, and where its pid stands */
    struct libspawn__report report;
};

/* child.c: a child of 'ctx' in state STARTING, about which nothing is known
 * but what 'report' says, which it takes over. */
struct libspawn_child *libspawn__child_new(struct libspawn_ctx *ctx,
                                           struct libspawn__report *report,
                                           struct libspawn_err *err);
void libspawn__child_post(struct libspawn_child *child,
                          enum libspawn_event event);

/* Cuts all children in the list off from their context, which is about to be
 * freed: what is not released is ended by its watcher.  Their owners still
 * free them. */
void libspawn__children_orphan(struct libspawn__list *children);

/* child_watcher.c: takes over the socket of the watcher, which is in
 * non-blocking mode. */
int libspawn__child_watch(struct libspawn_child *child, int watcher_fd,
                          struct libspawn_err *err);

/* 0 or -errno. */
int libspawn__child_send(const struct libspawn_child *child,
                         struct libspawn__watcher_message *message,
                         enum libspawn__watcher_type type, const int *fds,
                         size_t n_fds);

/* Reads and handles one message; false when there is none, or no watcher any
 * more. */
bool libspawn__child_receive(struct libspawn_child *child);
void libspawn__child_close_watcher(struct libspawn_child *child);

/* child_end.c: who frees a child that was just killed, since its watcher died,
 * does not hear of its end; its record is to go all the same. */
void libspawn__child_leave_orphan(struct libspawn_child *child);

/* child_end.c: takes its record and its pid nodes out of the store: whose
 * watcher cannot, and who knows that nobody else does. */
void libspawn__child_remove_nodes(const struct libspawn_child *child);

/* child_end.c: it has ended, and the report says how. */
void libspawn__child_finish(struct libspawn_child *child);

/* The same, and how: what 'end' says about it as a record does. */
void libspawn__child_finish_with(struct libspawn_child *child,
                                 const struct libspawn__record *end);

/* Asks for the end; 'why' is what the report will say, the first time. */
void libspawn__child_stop(struct libspawn_child *child, enum libspawn_end why,
                          uint32_t grace_ms);

/* From now on by its pidfd alone. */
void libspawn__child_watch_orphan(struct libspawn_child *child);

/* The watcher died, or says what it should not. */
void libspawn__child_lose_watcher(struct libspawn_child *child);

libspawn__timer_fn libspawn__child_on_backstop;
libspawn__timer_fn libspawn__child_on_learn;

#endif
