/*
 * A gate that every system call of a deed passes (seccomp(2), user
 * notification): the n-th of a role that may fail does.
 *
 *     gate_open(&gate, GATE_WATCHER, 7, 0, false);
 *     deed.before = gate_install;    the user is the gate
 *     deed.after = gate_disarm;
 *     deed_begin(&deed, &run);
 *     gate_serve(&gate, run.pid);
 *     ...
 *     has_failed = gate_close(&gate);
 */
#ifndef TESTS_SWEEP_GATE_H
#define TESTS_SWEEP_GATE_H

#include <stdbool.h>
#include <sys/types.h>

enum gate_role {
    GATE_CALLER,
    GATE_WATCHER,
    GATE_CHILD, /* whatever it starts counts here, too */
    GATE_ROLES
};

/* What deed and gate share. */
struct gate_state {
    int listener_fd; /* in the deed's process; -1: not yet */
    bool is_armed;
    enum gate_role role;
    unsigned int n;       /* this one fails, from 1; 0: none */
    unsigned int variant; /* which of the errnos of a call */
    bool is_for_good;     /* and all after it */
    pid_t pids[GATE_ROLES];
    unsigned int n_calls;  /* of the role, that may fail */
    unsigned int n_failed;
    int call; /* the first that failed */
    int sys_errno;
};

struct gate {
    struct gate_state *state;
    pid_t server;
};

/* Whether calls can be held up here. */
const char *gate_obstacle(void);

void gate_open(struct gate *gate, enum gate_role role, unsigned int n,
               unsigned int variant, bool is_for_good);

/* In the deed's process. */
void gate_install(void *gate);
void gate_disarm(void *gate);

/* Starts the process that decides; it ends with the last process behind the
 * gate. */
void gate_serve(struct gate *gate, pid_t pid);

/* Whether a call failed; 'state' is valid until gate_dispose. */
bool gate_close(struct gate *gate);
void gate_dispose(struct gate *gate);

/* The name of a call that may fail, for messages. */
const char *gate_call_name(int call);

#endif
