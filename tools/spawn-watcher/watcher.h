/*
 * spawn-watcher: the parent of one child for life.
 *
 *   main.c    set-up, and what the caller says
 *   start.c   plan, held child, record, exec, conditions of readiness
 *   attach.c  those who come later, to a child that was released
 *   end.c     signals, reaping, descendants, the last word
 *   lock.c    another role: waiting for a lock
 *   oom.c     whether the kernel killed the child to free memory
 *   upgrade.c becoming another program meanwhile
 *
 * Life:
 *
 *   STARTING --exec--> WAITING --all conditions--> READY --> RELEASED
 *       |                 |                          |          |
 *       '-----------------+-------------.------------'          |
 *                                       v                       v
 *                                    ENDING ------------------> (exit)
 *
 *   STARTING  the child is held, or between release and exec
 *   WAITING   exec succeeded; 'pending' holds the conditions that are not
 *             true yet
 *   READY     the record says "running"; the caller still owns the child, so
 *             its death ends it
 *   RELEASED  the child lives on without the caller
 *   ENDING    SIGTERM was sent, SIGKILL follows when the grace is over
 *
 * Rights: runs as the caller's user, from RELEASED on without calls that it
 * does not need (confine.c); holds the socket to the caller, the
 * child's pidfd, the read end of the child's output, the log, and in the
 * start the store; and a socket on which it listens: attach.c.
 */
#ifndef TOOLS_SPAWN_WATCHER_H
#define TOOLS_SPAWN_WATCHER_H

#include "base/list.h"
#include "base/pidref.h"
#include "loop/loop.h"
#include "proc/exec.h"
#include "proc/log.h"
#include "proc/notify.h"
#include "proc/plan.h"
#include "proc/protocol.h"
#include "proc/record.h"
#include "store/store.h"

enum { WATCHER_CLIENTS_MAX = 16 };

enum watcher_state {
    WATCHER_STARTING,
    WATCHER_WAITING,
    WATCHER_READY,
    WATCHER_RELEASED,
    WATCHER_ENDING
};

/* Counts of processes that were killed to free memory, at the start. */
struct watcher_oom {
    bool is_cgroup_known; /* in the cgroup of the plan */
    bool is_host_known;   /* on this host */
    bool is_before_child; /* that on the host is from before its start */
    uint64_t in_cgroup;
    uint64_t on_host;
};

struct watcher {
    struct libspawn__loop *loop;
    enum watcher_state state;
    bool is_done;       /* leave the loop */
    bool is_released;   /* the child belongs to itself: keep the record */
    bool is_confined;   /* some calls are refused, for good */
    uint64_t pending;   /* set of enum libspawn_ready that are not true yet */

    int caller_fd;      /* -1: the caller is gone */
    struct libspawn__io caller_io;

    int listener_fd; /* -1: nobody can attach */
    struct libspawn__io listener_io;
    struct libspawn__timer accept_timer; /* listens again */
    struct libspawn__list clients;       /* struct client of attach.c */
    unsigned int n_clients;

    struct libspawn_plan plan;
    struct libspawn__store *store; /* NULL: none, or not needed now */
    struct libspawn__store_watch ready_watch;
    struct libspawn__record record;
    struct libspawn__record_text text; /* the strings of the record */
    bool is_recorded;
    struct libspawn__log log;

    struct libspawn__exec exec;
    struct libspawn__io result_io;
    struct libspawn__pidref child;
    int64_t executed_at_ms; /* 0: not yet */

    int output_fd; /* what the child writes; -1: closed */
    struct libspawn__io output_io;
    int notify_fd;
    struct libspawn__io notify_io;
    int mailbox_fd; /* of what the child says by sd_notify(3); -1: none */
    struct libspawn__io mailbox_io;
    struct libspawn__timer mailbox_timer; /* tells what is not told yet */
    struct libspawn__notify untold;
    bool has_refused_letter; /* of another process; said once */
    int sigchld_fd;
    struct libspawn__io sigchld_io;
    struct libspawn__timer kill_timer;
    struct watcher_oom oom;

    bool has_failed; /* the start failed for 'failure', not by the child */
    bool is_no_exec;
    const char *failed_step;
    struct libspawn_err failure;
};

/* start.c.  After a failure nothing of the child is left. */
int watcher_start(struct watcher *w, struct libspawn_err *err);
void watcher_condition_holds(struct watcher *w, enum libspawn_ready condition);

/* What the record says besides, from the plan. */
void watcher_describe_child(struct watcher *w);
void watcher_on_output(struct libspawn__io *io, uint32_t events);

/* end.c */
int watcher_watch_children(struct watcher *w, struct libspawn_err *err);
void watcher_end_child(struct watcher *w, uint32_t grace_ms);
void watcher_read_output(struct watcher *w);

/* Reaps what has ended; the child's end is the end of all. */
void watcher_reap(struct watcher *w);

/* attach.c.  Listens if there is a record in which to say where.  Whoever is
 * attached gets what watcher_tell_clients sends. */
int watcher_listen(struct watcher *w, struct libspawn_err *err);
void watcher_tell_clients(struct watcher *w,
                          struct libspawn__watcher_message *message,
                          enum libspawn__watcher_type type);
void watcher_drop_clients(struct watcher *w);

/* Goes on with the listener that there is. */
int watcher_listen_on(struct watcher *w, struct libspawn_err *err);

/* Takes over the descriptor, also when it fails. */
void watcher_add_client(struct watcher *w, int fd, bool is_attached);

/* The sockets of those who are attached, at most 'max'; how many. */
size_t watcher_list_clients(const struct watcher *w, int32_t *fds, size_t max);

/* upgrade.c: becomes the program, or tells at 'asker_fd' why not. */
void watcher_upgrade(struct watcher *w, int program_fd, int asker_fd);

/* lock.c: ends as soon as the open file 'fd', which the caller at the other
 * end of 'socket' has too, has its lock, or that caller is gone. */
_Noreturn void watcher_await_lock(int socket, int fd);

/* Goes on in place of another program, whose state is in 'state_fd'; 'is_back'
 * after one that could not. */
int watcher_resume(struct watcher *w, int state_fd, bool is_back,
                   struct libspawn_err *err);

/* letters.c: what the child says by sd_notify(3).  Opened before the fork, and
 * named in the environment of the plan; read once the program runs; closed to
 * all when the child is ready. */
int watcher_open_mailbox(struct watcher *w, struct libspawn_err *err);
int watcher_read_mailbox(struct watcher *w, struct libspawn_err *err);
void watcher_shut_mailbox(struct watcher *w);

/* confine.c: gives up the calls that no watcher needs once the child is
 * released.  False when the kernel will not, which changes nothing else. */
bool watcher_confine_calls(void);

/* oom.c: the first is for a watcher that has nothing to do yet, and may be
 * left out. */
void watcher_oom_prepare(struct watcher *w);
void watcher_oom_begin(struct watcher *w);
enum libspawn__oom watcher_oom_end(const struct watcher *w, int wait_status);

/* main.c: the message is complete but for its head; 'fd' travels along when it
 * is not negative.  False when it was lost: then the connection ends soon. */
bool watcher_send_to(int socket, struct libspawn__watcher_message *message,
                     enum libspawn__watcher_type type, int fd);

/* main.c: reads a message and perhaps a descriptor (*fd_r; -1: none) that
 * comes along.  1, 0 when there is none now, -1 when the peer is gone or makes
 * no sense. */
int watcher_receive(int socket, struct libspawn__watcher_message *message,
                    int *fd_r);

/* main.c: does what 'message' orders; 'fd' came with it from 'socket', and
 * stays the caller's. */
void watcher_obey(struct watcher *w, int socket,
                  const struct libspawn__watcher_message *message, int fd);

/* main.c: once in the life of the process. */
void watcher_confine(struct watcher *w);

/* main.c: waits for caller, output and child. */
int watcher_watch(struct watcher *w, struct libspawn_err *err);

/* The same to the caller, if it is still there. */
bool watcher_send(struct watcher *w, struct libspawn__watcher_message *message,
                  enum libspawn__watcher_type type, int fd);

/* The start failed for a reason of ours: ends the child and reports it. */
void watcher_fail(struct watcher *w, const struct libspawn_err *err);

#endif
