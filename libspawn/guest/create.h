/*
 * The creation of a guest, inside: a list of steps, each undoable.
 *
 *   RUNNING step 0, 1, ... n-1 --> DONE
 *      |  a step failed, the device model died, or an abort
 *      v
 *   UNDOING step k, ..., 0 --> DONE
 *
 * Each step runs from the loop's dispatch, one per turn, so that an abort is
 * heard between any two.  The first error wins; what an undo meets is not
 * reported, because it is a consequence.
 *
 * The common steps around the hypervisor's own are in create.c: the intent
 * before, handing over behind.
 */
#ifndef LIBSPAWN_GUEST_CREATE_H
#define LIBSPAWN_GUEST_CREATE_H

#include "base/pidref.h"
#include "dm/dm.h"
#include "dm/probe.h"
#include "dm/restrict.h"
#include "guest/held.h"
#include "guest/hypervisor.h"
#include "proc/lock_wait.h"

/* What a configuration names on disk: see guest/examine.h. */
struct libspawn__examined;

struct libspawn__examination {
    struct libspawn__examined *files;
    size_t n_files;
    size_t n_looked; /* the first ones: they were judged */
    int (*judge)(const struct libspawn_create *create,
                 const struct libspawn__examined *file,
                 struct libspawn_err *err);
};

enum libspawn__create_state {
    LIBSPAWN__CREATE_RUNNING,
    LIBSPAWN__CREATE_UNDOING,
    LIBSPAWN__CREATE_DONE
};

/* Starts 'program' as the device model. */
typedef int libspawn__create_run_fn(struct libspawn_create *create,
                                    const char *program,
                                    const struct libspawn__dm_support *support,
                                    struct libspawn_err *err);

struct libspawn_create {
    /* The caller's; borrowed until done. */
    struct libspawn_host *host;
    const struct libspawn_guest_config *config;
    struct libspawn_create_options options;
    libspawn_create_fn *done;
    void *user;

    /* For the steps of a hypervisor to use. */
    char uuid[37];
    uint32_t domid; /* valid once has_domid */
    bool has_domid;
    bool is_again; /* the guest exists: only its device model is started */
    struct libspawn__held *held; /* the caller's; NULL: nothing outlives it */
    void (*connected)(void *user); /* to the monitor of its device model, which
                                      need not have said a word; or NULL */
    uint32_t replaced; /* the guest whose place it takes; 0: none */
    struct libspawn__dm *dm;              /* NULL: not started, or undone */
    struct libspawn__restrict restricted; /* see guest/confine.h */
    void *impl;                           /* the hypervisor's own */
    struct libspawn__examination examination;
    struct libspawn__strv pci; /* addresses of the host's devices it has */

    /* Ends what the pending step waits for, after which it is done as always,
     * with create->err.  NULL: its device model's end is its end too. */
    void (*abort_step)(struct libspawn_create *create);
    /* The pending step comes to its own end, whatever else happens meanwhile:
     * set and cleared by it. */
    bool is_uninterruptible;

    /* Private to confine.c: while a program is asked what it supports. */
    struct libspawn__probe *probe;
    char *probed_program;
    libspawn__create_run_fn *run_probed;

    /* Private to create.c. */
    enum libspawn__create_state state;
    size_t step;     /* the next to run, or behind the next to undo */
    bool is_pending; /* a step has not called back yet */
    bool is_dm_ended;
    bool *is_freed;
    struct libspawn__lock host_lock;       /* during a step that needs it */
    struct libspawn__lock_wait *lock_wait; /* for that; NULL: none */
    struct libspawn__lock guest_lock; /* as soon as there is a number */
    struct libspawn__task task;
    struct libspawn_err err; /* the first error */
};

/* Starts guest 'domid' again, which has ended or lost its device model.  Where
 * QEMU is the guest, that keeps its number and what is stored of it, also when
 * this fails.  Else a new one takes its place, name and uuid, and when this
 * fails there is none any more. */
int libspawn__guest_start_again(struct libspawn_host *host, uint32_t domid,
                                const char *uuid,
                                const struct libspawn_guest_config *config,
                                const struct libspawn_create_options *options,
                                libspawn_create_fn *done, void *user,
                                struct libspawn_create **create_r,
                                struct libspawn_err *err);

/* Its device model, which becomes the caller's; after 'done' without an error.
 * NULL when the guest has none. */
struct libspawn__dm *libspawn__create_take_dm(struct libspawn_create *create);

/* A pending step is done: 0, or the error that ends the creation. */
void libspawn__create_step_done(struct libspawn_create *create,
                                const struct libspawn_err *err);

/* The domain id is known now; the intent says so from here on. */
int libspawn__create_set_domid(struct libspawn_create *create, uint32_t domid,
                               struct libspawn_err *err);

/* Steps that any hypervisor with a device model uses: starts 'plan' as its
 * device model; connects to it, pending until it is ready; and the undo of
 * both, pending until it has ended. */
int libspawn__create_start_dm(struct libspawn_create *create,
                              struct libspawn_plan *plan, const char *qmp_path,
                              struct libspawn_err *err);
int libspawn__create_await_dm(struct libspawn_create *create,
                              struct libspawn_err *err);
int libspawn__create_undo_dm(struct libspawn_create *create);

/* The last but one step of all: release_cpus, or the device model's "cont"
 * where there is none. */
int libspawn__create_unpause(struct libspawn_create *create,
                             struct libspawn_err *err);

#endif
