/*
 * The supervisor of one guest: creates it, or takes over one that exists,
 * looks after its device model from then on, and decides, by the guest's
 * configuration, what follows when either ends.
 *
 *   supervisor.c          its life: the states of service/states.h, and what
 *                         is done on entering each
 *   supervisor_model.c    what device model and hypervisor say, their ends
 *   supervisor_policy.c   what follows an end
 *   supervisor_recovery.c the recovery script, which may decide that
 *   supervisor_memory.c   taking over, also from one that died
 *   supervisor_handover.c becoming another program meanwhile
 *   supervisor_monitor.c  who takes its place at once when it dies
 *   supervisor_removal.c  removing the guest
 *   supervisor_doors.c    where others may ask
 *   supervisor_control.c  what others may ask: docs/PROTOCOLS.md
 *   supervisor_events.c   and be told from then on
 *   supervisor_stop.c     ending the guest because somebody asked
 *   supervisor_workers.c  what may block, which others do for it
 *
 * There is one per guest, which its pid file makes sure of.  It may die at
 * any time: the guest does not notice, and another adopts it.
 *
 * Everything happens on the loop of the host's context; nothing here waits.
 */
#ifndef LIBSPAWN_SERVICE_SUPERVISOR_H
#define LIBSPAWN_SERVICE_SUPERVISOR_H

#include "dm/dm.h"
#include "guest/create.h"
#include "guest/supervision.h"
#include "proc/pidfile.h"
#include "proc/worker.h"
#include "service/admission.h"
#include "service/states.h"
#include "wire/rpc_server.h"

struct libspawn__supervisor_callbacks {
    /* During the creation; each may be NULL. */
    void (*step)(void *user, const char *step);
    void (*warned)(void *user, const char *sentence);
    int (*created)(void *user, uint32_t domid, struct libspawn_err *err);
    /* Whether whoever wanted it is gone, perhaps not heard of yet. */
    bool (*is_unwanted)(void *user);

    /* It was admitted for the first time. */
    void (*admitted)(void *user, uint32_t domid);
    /* It could not be created or adopted, and nothing is left; last.
     * 'report' may be NULL. */
    void (*failed)(void *user, const struct libspawn_report *report,
                   const struct libspawn_err *err);
    /* There is nothing left to supervise; last. */
    void (*left)(void *user);
    void *user;
};

enum {
    LIBSPAWN__SUPERVISOR_DOORS_MAX = 2
};

enum {
    LIBSPAWN__SUPERVISOR_IO,
    LIBSPAWN__SUPERVISOR_PROBE,
    LIBSPAWN__SUPERVISOR_N_WORKERS
};

struct libspawn__supervisor {
    struct libspawn_host *host;
    const struct libspawn_guest_config *config; /* borrowed, or 'updated' */
    struct libspawn_guest_config updated;       /* by xl config-update */
    struct libspawn__supervisor_callbacks callbacks;

    struct libspawn__pidfile pidfile;
    struct libspawn__rpc_server *control;
    char *control_path;
    bool is_control_lent; /* its path is not ours to remove */
    struct libspawn__rpc_server *doors[LIBSPAWN__SUPERVISOR_DOORS_MAX];
    size_t n_doors;
    struct libspawn__worker *workers[LIBSPAWN__SUPERVISOR_N_WORKERS];
    struct libspawn__list settling; /* who waits for what follows an end */
    struct libspawn__list stopping; /* who waits until the guest is gone */
    struct libspawn__list subscribers; /* who is told of events */
    struct libspawn_events *events;    /* NULL: nobody is */

    enum libspawn__state state;
    int64_t state_since;          /* ms, monotonic */
    struct libspawn__task task;   /* what is to be done in this state */
    struct libspawn__timer timer; /* what this state waits for */

    uint32_t domid;
    char uuid[37];
    bool is_pause_known; /* of 'memory'; somebody may have asked for another
                            while we were not connected */
    bool was_admitted;   /* once */
    bool is_again;       /* a start under way is not the first */
    struct libspawn_create *create; /* NULL: none under way */
    bool is_aborted;                /* it is being undone */

    struct libspawn__dm *dm; /* NULL: none */
    bool is_dm_ended;
    struct libspawn__held held;           /* what outlives it */
    struct libspawn__timer settle_timer;  /* its last words may still come */
    struct libspawn__store_watch release; /* what the hypervisor tells */
    struct libspawn__admission admission;
    bool is_probing;         /* an answer of the device model is due */
    bool is_reconciled;      /* it may get commands of others */
    unsigned int n_admitted; /* times */
    enum libspawn__guest_end end;
    const char *end_word; /* exited, killed, unknown; NULL: none yet */
    char *end_text;       /* how, as a sentence; NULL: none yet */
    int end_status;       /* as a shell has it; -1: not known */
    char *end_log;        /* its log; NULL: not known */

    unsigned int n_scripts;       /* that were begun */
    unsigned int n_scripts_ended; /* of these */
    struct libspawn__timer hold_timer; /* to tell it again, or the limit */
    struct libspawn__removal *removal; /* NULL: none under way */

    int64_t pause; /* ms until the next try */

    /* What the next one knows if this one dies: also whether the guest is
     * paused, as it was asked for, whether others were told that it is not
     * admitted, and its restarts since it was healthy for long. */
    struct libspawn__supervision memory;
    /* The process that brings the next one at once; no descriptor: none. */
    struct libspawn__pidref monitor;
    struct libspawn__io monitor_io;
    struct libspawn__timer monitor_timer; /* another is to be started */
    int64_t monitor_start_at;             /* ms; not before */
    /* The one before died after an end of which the memory tells. */
    bool has_inherited_end;
    unsigned int n_programs; /* that this process was before */
    bool is_unheard; /* its device model was not connected to since adopted */
};

/* What the program that this process was before has handed over. */
enum {
    LIBSPAWN__HANDOVER_VERSION = 1
};

struct libspawn__handover {
    struct libspawn__json *state; /* freed by the caller; NULL: nothing */
    int pid_fd;
    int control_fd;
    int monitor_fd; /* -1: none */
    int door_fds[LIBSPAWN__SUPERVISOR_DOORS_MAX];
    size_t n_doors;
};

/* LIBSPAWN_ERR_PROTOCOL: of another version. */
int libspawn__handover_read(int fd, struct libspawn__handover *handover,
                            struct libspawn_err *err);

struct libspawn__supervisor_options {
    const struct libspawn__admission_times *times;
    const struct libspawn__supervisor_callbacks *callbacks;
    const struct libspawn__handover *handover; /* NULL: a new beginning */
    const char *const *controls; /* supervisor_doors.c; NULL ends it */
};

/* Makes sure that there is no other, and listens for those who ask, or goes on
 * doing so.  The options are borrowed for the call.  LIBSPAWN_ERR_EXISTS names
 * the pid of the one that is there. */
int libspawn__supervisor_new(
    struct libspawn_host *host, const struct libspawn_guest_config *config,
    const struct libspawn__supervisor_options *options,
    struct libspawn__supervisor **supervisor_r, struct libspawn_err *err);

/* Creates the guest; 'is_monitored': its supervisor is always to have a
 * monitor. */
int libspawn__supervisor_create(struct libspawn__supervisor *supervisor,
                                bool is_paused, bool is_monitored,
                                struct libspawn_err *err);

struct libspawn__supervisor_adoption {
    bool is_again;     /* only one that is to have a supervisor: else
                          LIBSPAWN_ERR_NOT_FOUND */
    bool is_monitored; /* from now on, if it was not before */
    const char *lost;  /* how the one before ended; NULL: not known */
};

/* Takes over guest 'domid', which exists. */
int libspawn__supervisor_adopt(
    struct libspawn__supervisor *supervisor, uint32_t domid,
    const struct libspawn__supervisor_adoption *adoption,
    struct libspawn_err *err);

/* Goes on with it as the program before did. */
int libspawn__supervisor_resume(struct libspawn__supervisor *supervisor,
                                uint32_t domid,
                                const struct libspawn__handover *handover,
                                struct libspawn_err *err);

/* Nobody wants the guest that was just admitted: it is removed, and 'left'
 * follows. */
void libspawn__supervisor_discard(struct libspawn__supervisor *supervisor);

/* A creation under way is aborted: 'failed' follows. */
void libspawn__supervisor_abort(struct libspawn__supervisor *supervisor);

/* The guest stays as it is; but a removal that was begun comes to its end
 * first. */
void libspawn__supervisor_leave(struct libspawn__supervisor *supervisor);

/* A creation under way is aborted and undone first, a removal that was begun
 * is waited for. */
void libspawn__supervisor_free(struct libspawn__supervisor *supervisor);

/* ---- Between its files ------------------------------------------------- */

/* supervisor.c: goes where the table says; what is to be done there is done
 * from the loop. */
void libspawn__supervisor_move(struct libspawn__supervisor *supervisor,
                               enum libspawn__state_event event);

/* Tells those who follow the host's events. */
void libspawn__supervisor_note(struct libspawn__supervisor *supervisor,
                               enum libspawn_guest_event_kind kind,
                               const char *reason, const char *text);

/* Tells of an admission that is missing, once until it is there, and then
 * regularly; there is a limit to it. */
void libspawn__supervisor_hold(struct libspawn__supervisor *supervisor,
                               const char *reason, const char *text);

/* Goes on with it if it was told before, perhaps before we took over. */
void libspawn__supervisor_hold_on(struct libspawn__supervisor *supervisor);

/* Whether its device model lives, and is still good for the guest. */
bool
libspawn__supervisor_has_dm(const struct libspawn__supervisor *supervisor);

/* It lives: nothing is known of an end, or that it was given up. */
void libspawn__supervisor_forget_end(struct libspawn__supervisor *supervisor);

/* supervisor_memory.c: writes down what the next one has to know; of an end,
 * how far we are with it. */
int libspawn__supervisor_remember(struct libspawn__supervisor *supervisor,
                                  struct libspawn_err *err);
/* Who was asked to leave is not followed by another. */
void libspawn__supervisor_forget(struct libspawn__supervisor *supervisor);
void libspawn__supervisor_remember_end(struct libspawn__supervisor *supervisor,
                                       enum libspawn__supervision_stage stage);
/* What is known of it, and its device model. */
int libspawn__supervisor_take_over(struct libspawn__supervisor *supervisor,
                                   uint32_t domid, bool is_again,
                                   struct libspawn_err *err);
/* How far the one before was with the end that is to be dealt with; once. */
enum libspawn__supervision_stage
libspawn__supervisor_inherit_end(struct libspawn__supervisor *supervisor);

/* supervisor_model.c */
/* As lists and the log say it. */
void libspawn__supervisor_describe_end(struct libspawn__supervisor *supervisor,
                                       const struct libspawn_report *report);
void libspawn__supervisor_take_dm(struct libspawn__supervisor *supervisor,
                                  struct libspawn__dm *dm);
int libspawn__supervisor_adopt_dm(struct libspawn__supervisor *supervisor,
                                  struct libspawn_err *err);
/* Of ends that only the hypervisor knows; without effect where it knows
 * none. */
int libspawn__supervisor_watch_domain(struct libspawn__supervisor *supervisor,
                                      struct libspawn_err *err);
void libspawn__supervisor_connect(struct libspawn__supervisor *supervisor);
void libspawn__supervisor_probe(struct libspawn__supervisor *supervisor);
libspawn__timer_fn libspawn__supervisor_on_settled;

/* supervisor_monitor.c: if there is to be one: watches the monitor, or starts
 * one when there is none, now and later. */
void
libspawn__supervisor_watch_monitor(struct libspawn__supervisor *supervisor);
libspawn__timer_fn libspawn__supervisor_on_monitor_timer;
void
libspawn__supervisor_forget_monitor(struct libspawn__supervisor *supervisor);

/* Whether it still lives in a moment, after it has hung up: it asks us to
 * leave, then. */
bool
libspawn__supervisor_has_monitor(struct libspawn__supervisor *supervisor);

/* supervisor_policy.c: what follows the end, in state HOLDING; and when it is
 * not admitted for so long that the limit is reached. */
void libspawn__supervisor_decide(struct libspawn__supervisor *supervisor);
void libspawn__supervisor_give_up(struct libspawn__supervisor *supervisor);
/* What the recovery script said is done, if it still is to decide: RESTART,
 * PRESERVE or DESTROY. */
void libspawn__supervisor_follow_script(
    struct libspawn__supervisor *supervisor, enum libspawn_action action);

/* supervisor_recovery.c: runs the recovery script, in state RECOVERING. */
void libspawn__supervisor_recover(struct libspawn__supervisor *supervisor);
/* That of the one before, which died, is not waited for. */
void libspawn__supervisor_lose_script(struct libspawn__supervisor *supervisor);

/* supervisor_removal.c: ON_GONE or ON_PRESERVE follows, unless it is stopped,
 * which leaves the guest as it is; one that was begun cannot be stopped. */
void libspawn__supervisor_remove(struct libspawn__supervisor *supervisor);
void
libspawn__supervisor_stop_removal(struct libspawn__supervisor *supervisor);
bool libspawn__supervisor_is_removing(
    const struct libspawn__supervisor *supervisor);

/* supervisor_workers.c */
int libspawn__supervisor_make_workers(struct libspawn__supervisor *supervisor,
                                      struct libspawn_err *err);
void
libspawn__supervisor_free_workers(struct libspawn__supervisor *supervisor);

/* Its device model has left a core file: a summary of that is written behind
 * its log, and told as an event, if one can be made. */
void
libspawn__supervisor_summarize_core(struct libspawn__supervisor *supervisor);

/* Those that have nothing to do end. */
void
libspawn__supervisor_rest_workers(struct libspawn__supervisor *supervisor);

/* A member "workers" of the object that is being written. */
void libspawn__supervisor_describe_workers(
    const struct libspawn__supervisor *supervisor,
    struct libspawn__json_writer *writer);

/* supervisor_handover.c: becomes the installed program, or fails and goes on.
 * LIBSPAWN_ERR_BUSY: not now. */
int
libspawn__supervisor_hand_over(const struct libspawn__supervisor *supervisor,
                               struct libspawn_err *err);

/* supervisor_doors.c: where others can ask, by the options. */
int libspawn__supervisor_listen(
    struct libspawn__supervisor *supervisor,
    const struct libspawn__supervisor_options *options,
    struct libspawn_err *err);
void libspawn__supervisor_close_doors(struct libspawn__supervisor *supervisor);
/* Where the one before did listen besides, unless we were told another place;
 * not being able to is no reason not to supervise. */
int libspawn__supervisor_reopen(struct libspawn__supervisor *supervisor,
                                struct libspawn_err *err);
/* A member "listens" of the object that is being written, if it does. */
void libspawn__supervisor_describe_doors(
    const struct libspawn__supervisor *supervisor,
    struct libspawn__json_writer *writer);

/* supervisor_control.c: all methods, and those for whoever can connect, of
 * whom nobody knows who it is. */
extern const struct libspawn__rpc_method libspawn__supervisor_methods[];
extern const struct libspawn__rpc_method libspawn__supervisor_open_methods[];

/* Answers those whose question is settled now; or all. */
void
libspawn__supervisor_tell_settled(struct libspawn__supervisor *supervisor);
void
libspawn__supervisor_drop_settling(struct libspawn__supervisor *supervisor);

/* The connection to the monitor, if it may get commands of others.
 * LIBSPAWN_ERR_GONE: there is none; LIBSPAWN_ERR_BUSY: not now. */
int libspawn__supervisor_find_monitor(
    const struct libspawn__supervisor *supervisor,
    struct libspawn__qmp **qmp_r, struct libspawn_err *err);

/* supervisor_events.c: from now on the client is told of each event of the
 * guest, until it ends or does not read them. */
int libspawn__supervisor_subscribe(struct libspawn__supervisor *supervisor,
                                   struct libspawn__rpc_conn *conn,
                                   struct libspawn_err *err);
void libspawn__supervisor_unsubscribe(void *supervisor,
                                      struct libspawn__rpc_conn *conn);
/* Tells what can be told now, and no more. */
void
libspawn__supervisor_end_events(struct libspawn__supervisor *supervisor);

/* supervisor_stop.c: 'how' may be NULL or anything.  As a handler: what it
 * returns is the answer, 0 that there will be one. */
int libspawn__supervisor_stop(struct libspawn__supervisor *supervisor,
                              const char *how,
                              struct libspawn__rpc_request *request,
                              struct libspawn_err *err);
/* Answers those who wait until the guest is gone: it is (NULL), or why it is
 * not. */
void
libspawn__supervisor_tell_stopped(struct libspawn__supervisor *supervisor,
                                  const struct libspawn_err *err);

#endif
