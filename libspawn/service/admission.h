/*
 * Whether a device model is to be believed: that it accepts a connection, or
 * speaks the handshake, proves nothing.  One that accepts and stays mute, or
 * dies every few seconds, is never admitted, and what has been set up on the
 * host for its guest stays as it is meanwhile.
 *
 *   connected --(an admitting message)--> admitted
 *             --(any answer, ADMIT_AFTER_MS after connecting)--> admitted
 *
 * Between two tries to connect, or to start, the pause grows from 1 s to 8 s;
 * only a connection that outlived the pause before it makes it short again, so
 * brief ones keep it growing.
 *
 * Pure: the time, in ms, is an argument.  Knowledge: Open vSwitch's fail-open
 * rule and its reconnect module.
 */
#ifndef LIBSPAWN_SERVICE_ADMISSION_H
#define LIBSPAWN_SERVICE_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

/* Lengths of time in ms; tests have shorter ones.  0 becomes 1 s, but for
 * 'hold_limit', so that nothing ever spins. */
struct libspawn__admission_times {
    int64_t admit_after;   /* 30 s */
    int64_t probe_every;   /* 2 s: what is connected is asked how it is */
    int64_t backoff_min;   /* 1 s */
    int64_t backoff_max;   /* 8 s */
    int64_t hold_limit;    /* 300 s; 0: for ever */
    int64_t still_holding; /* 60 s: it is told that often */
    int64_t script_limit;  /* 60 s, for a recovery script */
    int64_t restart_unit;  /* 1 s: see service/supervisor_policy.c */
    int64_t healthy;       /* 600 s: then earlier restarts are forgotten */
};

extern const struct libspawn__admission_times libspawn__admission_times;

enum libspawn__message_class {
    LIBSPAWN__MESSAGE_HANDSHAKE, /* greeting, capabilities, not yet running */
    LIBSPAWN__MESSAGE_ANSWER,    /* of any other kind */
    LIBSPAWN__MESSAGE_ADMITTING  /* it runs, as it should */
};

struct libspawn__admission {
    struct libspawn__admission_times times;
    bool is_connected;
    bool is_admitted;
    int64_t connected_at;
    int64_t last_admitted; /* or when it all began */
    int64_t limit_from;    /* the same, or when it got more time */
    int64_t backoff;       /* the last pause; 0: none yet */
};

void libspawn__admission_init(struct libspawn__admission *admission,
                              const struct libspawn__admission_times *times,
                              int64_t now);

/* What was said before on another connection does not count. */
void libspawn__admission_connect(struct libspawn__admission *admission,
                                 int64_t now);

/* True when this message is what admits it. */
bool libspawn__admission_hear(struct libspawn__admission *admission,
                              enum libspawn__message_class class, int64_t now);

/* The connection is gone; returns the pause before the next try. */
int64_t libspawn__admission_lose(struct libspawn__admission *admission,
                                 int64_t now);

/* For how long it has not been admitted; 0 while it is. */
int64_t
libspawn__admission_failing_for(const struct libspawn__admission *admission,
                                int64_t now);

/* It has until the hold limit once more. */
void libspawn__admission_extend(struct libspawn__admission *admission,
                                int64_t now);

/* When the hold limit is reached; INT64_MAX: never. */
int64_t
libspawn__admission_gives_up_at(const struct libspawn__admission *admission);

/* What "status" of the answer to query-status (qapi/run-state.json) means
 * where the guest is to be paused, or not; NULL: no such answer. */
enum libspawn__message_class
libspawn__admission_classify_status(const char *status, bool is_paused);

#endif
