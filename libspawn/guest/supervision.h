/*
 * What is remembered of a guest's supervision, in its node
 * /libxl/D/libspawn/supervised: that there is to be a supervisor at all, and
 * what one that takes over from a dead one has to know so that nothing is
 * done or told twice.
 *
 * It is there from before the guest first runs until the guest is gone or its
 * supervisor was asked to leave; never for a guest that was created without.
 * Formats: docs/PROTOCOLS.md.
 */
#ifndef LIBSPAWN_GUEST_SUPERVISION_H
#define LIBSPAWN_GUEST_SUPERVISION_H

#include "guest/hypervisor.h"

/* How far the supervisor was with the last end of the guest. */
enum libspawn__supervision_stage {
    LIBSPAWN__SUPERVISION_LIVE,       /* there was none */
    LIBSPAWN__SUPERVISION_SEEN,       /* it is known why */
    LIBSPAWN__SUPERVISION_TOLD,       /* it was told as an event */
    LIBSPAWN__SUPERVISION_RECOVERING, /* the recovery script was begun */
    LIBSPAWN__SUPERVISION_CONDEMNED,  /* and said that the guest is to go */
    LIBSPAWN__SUPERVISION_FOLLOWED,   /* and so was what follows */
    LIBSPAWN__SUPERVISION_KEPT        /* what follows is nothing */
};

enum {
    LIBSPAWN__SUPERVISION_CONTROL_SIZE = 80 /* of "ptcp:PORT:ADDRESS" */
};

struct libspawn__supervision {
    bool is_paused;    /* as the guest is to be started */
    bool is_holding;   /* others were told that it is not admitted */
    bool is_given_up;  /* and that for so long that nothing more is tried */
    bool is_monitored; /* its supervisor is to have a monitor */
    unsigned int n_restarts;
    int64_t last_restart; /* ms, monotonic */
    enum libspawn__supervision_stage stage;
    enum libspawn__guest_end end; /* that the stage is about */
    /* The device model that it happened to; 0: there was none. */
    int64_t pid;
    int64_t start_time; /* as in its identity */
    /* Where it is to listen besides its control socket; "": nowhere. */
    char control[LIBSPAWN__SUPERVISION_CONTROL_SIZE];
};

/* LIBSPAWN_ERR_NOT_FOUND: the guest is to have no supervisor.  A value that
 * makes no sense is one about which nothing is known. */
int libspawn__supervision_read(struct libspawn_host *host, uint32_t domid,
                               struct libspawn__supervision *supervision_r,
                               struct libspawn_err *err);
int
libspawn__supervision_write(struct libspawn_host *host, uint32_t domid,
                            const struct libspawn__supervision *supervision,
                            struct libspawn_err *err);
int libspawn__supervision_remove(struct libspawn_host *host, uint32_t domid,
                                 struct libspawn_err *err);

/* Whether it is about the device model that the guest has, or had last. */
bool libspawn__supervision_is_of_now(
    struct libspawn_host *host, uint32_t domid,
    const struct libspawn__supervision *supervision);

/* Makes it so. */
void
libspawn__supervision_set_model(struct libspawn_host *host, uint32_t domid,
                                struct libspawn__supervision *supervision);

#endif
