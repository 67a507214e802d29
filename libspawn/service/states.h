/*
 * The states of a supervised device model, as one table: the code takes its
 * transitions from it, and the picture in docs/ARCHITECTURE.md is printed
 * from it (`guest-supervisor --print-states`).
 */
#ifndef LIBSPAWN_SERVICE_STATES_H
#define LIBSPAWN_SERVICE_STATES_H

enum libspawn__state {
    LIBSPAWN__STATE_DOWN,       /* nothing was done yet */
    LIBSPAWN__STATE_STARTING,   /* guest or device model are being started */
    LIBSPAWN__STATE_CONNECTED,  /* to its monitor, which proves nothing */
    LIBSPAWN__STATE_ADMITTED,   /* it does what it is for */
    LIBSPAWN__STATE_HOLDING,    /* it died or hung up: what next? */
    LIBSPAWN__STATE_BACKOFF,    /* a pause before the next try */
    LIBSPAWN__STATE_RECOVERING, /* its recovery script runs */
    LIBSPAWN__STATE_FAILED,     /* nothing more is tried; the guest is kept */
    LIBSPAWN__STATE_STOPPING,   /* the guest is being removed */
    LIBSPAWN__STATE_TERMINATED, /* nothing is left to look after */
    LIBSPAWN__N_STATES
};

enum libspawn__state_event {
    LIBSPAWN__ON_START,     /* it is to be started */
    LIBSPAWN__ON_CONNECTED, /* its monitor accepted a connection */
    LIBSPAWN__ON_ADMITTED,  /* see service/admission.h */
    LIBSPAWN__ON_LOST,      /* its monitor hung up, or cannot be reached */
    LIBSPAWN__ON_DIED,      /* the device model has ended */
    LIBSPAWN__ON_PAUSE,     /* try again, but not yet */
    LIBSPAWN__ON_SCRIPT,    /* its recovery script is to decide */
    LIBSPAWN__ON_PRESERVE,  /* the guest is kept as it is */
    LIBSPAWN__ON_REMOVE,    /* the guest is to go */
    LIBSPAWN__ON_LEAVE,     /* somebody else looks after it from now on */
    LIBSPAWN__ON_GONE,      /* the guest is gone */
    LIBSPAWN__N_STATE_EVENTS
};

const char *libspawn__state_name(enum libspawn__state state);
const char *libspawn__state_event_name(enum libspawn__state_event event);

/* Where 'event' leads; the same state when it means nothing there. */
enum libspawn__state libspawn__state_next(enum libspawn__state state,
                                          enum libspawn__state_event event);

/* The table as a state diagram in Mermaid's language; NULL without memory. */
char *libspawn__states_picture(void);

#endif
