/*
 * The host, for the guest layer: its lock, and cleaning up after the dead.
 */
#ifndef LIBSPAWN_GUEST_HOST_H
#define LIBSPAWN_GUEST_HOST_H

#include "guest/hypervisor.h"

/* The lock around choosing names and domain ids; held for a moment only.
 * LIBSPAWN_ERR_ABORTED when the caller's libspawn_waiting_fn says so. */
int libspawn__host_lock(struct libspawn_host *host, int *fd_r,
                        struct libspawn_err *err);

/* Removes the traces of creations whose owner died.  Every command does this
 * first, by libspawn_host_open. */
int libspawn__host_sweep(struct libspawn_host *host, struct libspawn_err *err);

#endif
