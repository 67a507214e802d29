/*
 * A reference to one process that no recycled pid can fool.
 *
 * A pid number is reused after its process is gone; the pair (boot id, start
 * time) tells two processes of one number apart, and a pidfd pins the process
 * while we hold it.  Rules of this file:
 *
 *  - libspawn__pidref_open gives a reference only to the very process that
 *    the identity names;
 *  - a signal goes through the pidfd and nowhere else.
 *
 * Where the kernel refuses pidfds (before Linux 5.3, or a filter of system
 * calls), the reference is by number: before each use the start time of
 * whoever has the number now is compared, and a signal follows at once by
 * kill(2).  Its race: the process ends, is reaped, and its number is given to
 * another between these two calls.  Numbers go round first, so that needs as
 * many starts of processes, in some microseconds, as there are numbers.
 *
 * Start times are in ticks (of 10 ms mostly): a number that goes round within
 * one tick is not told apart.
 *
 * Sources: pidfd_open(2), pidfd_send_signal(2); proc(5), field 22 of
 * /proc/PID/stat, in clock ticks since boot.
 */
#ifndef LIBSPAWN_BASE_PIDREF_H
#define LIBSPAWN_BASE_PIDREF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { LIBSPAWN__BOOT_ID_SIZE = 37 }; /* a UUID as text, and the NUL */

/* What a record stores about a process. */
struct libspawn__identity {
    char boot_id[LIBSPAWN__BOOT_ID_SIZE];
    pid_t pid;
    uint64_t start_time; /* clock ticks since boot */
};

/* What the kernel tells of a process, proc(5): as of one moment. */
struct libspawn__process_state {
    char letter; /* 'T' and 't': it is stopped */
    int64_t cpu_time_ms;
    uint64_t start_time; /* clock ticks since boot */
};

struct libspawn__pidref {
    struct libspawn__identity id;
    int fd; /* the pidfd, or what becomes readable often; -1: none */
    bool is_by_number; /* there is no pidfd, and 'fd' must not be passed on */
};

#define LIBSPAWN__PIDREF_INIT { .fd = -1 }

void libspawn__pidref_dispose(struct libspawn__pidref *ref);
#define AUTO_PIDREF AUTO(libspawn__pidref_dispose)

/* The process that has 'pid' now.  Only for a pid that cannot have been
 * recycled: our own, our unreaped child, the peer of a socket. */
int libspawn__pidref_from_pid(pid_t pid, struct libspawn__pidref *ref_r,
                              struct libspawn_err *err);

/* The same for our unreaped child, to watch, signal and reap it: its identity
 * is not complete. */
int libspawn__pidref_of_child(pid_t pid, struct libspawn__pidref *ref_r,
                              struct libspawn_err *err);

/* The process with exactly this identity; LIBSPAWN_ERR_GONE when it is not
 * there any more, also when its number belongs to another process now. */
int libspawn__pidref_open(const struct libspawn__identity *id,
                          struct libspawn__pidref *ref_r,
                          struct libspawn_err *err);

/* A zombie is not alive. */
bool libspawn__pidref_is_alive(const struct libspawn__pidref *ref);

/* Waits for the end of the process, at most 'timeout_ms' (-1: for ever);
 * LIBSPAWN_ERR_TIMEOUT when it still lives then. */
int libspawn__pidref_wait(const struct libspawn__pidref *ref, int timeout_ms,
                          struct libspawn_err *err);

/* For who polls 'fd', when it is readable: whether the process has ended. */
bool libspawn__pidref_has_ended(const struct libspawn__pidref *ref);

/* Reaps our child if it has ended.  No harm when somebody did before. */
void libspawn__pidref_reap(const struct libspawn__pidref *ref);

/* LIBSPAWN_ERR_GONE when the process has ended. */
int libspawn__pidref_signal(const struct libspawn__pidref *ref, int signal,
                            struct libspawn_err *err);

/* How the process with exactly this identity is; LIBSPAWN_ERR_GONE as for
 * libspawn__pidref_open.  For those who do nothing to it: who looks only need
 * not pin what he sees, since the kernel tells at once who it is and how. */
int libspawn__identity_look(const struct libspawn__identity *id,
                            struct libspawn__process_state *state_r,
                            struct libspawn_err *err);

/* This process. */
int libspawn__identity_self(struct libspawn__identity *id_r,
                            struct libspawn_err *err);

#endif
