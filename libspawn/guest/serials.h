/*
 * Serial ports of a guest that others connect to: the sockets are ours, and
 * the device model gets them by number (dm/serial.h has what a configuration
 * may name).  Where each listens stands in the store, as one connects to it:
 * "unix:PATH", "tcp:ADDRESS:PORT".
 */
#ifndef LIBSPAWN_GUEST_SERIALS_H
#define LIBSPAWN_GUEST_SERIALS_H

#include "guest/create.h"

/* Where "pty" and "unix" listen; new, or NULL without memory. */
typedef char *libspawn__serials_place_fn(const struct libspawn_host *host,
                                         uint32_t domid, unsigned int number);

/* Listens for each port, or goes on with what is held, and adds it to the
 * plan.  'place' is NULL where QEMU has terminals of its own.  The
 * descriptors, -1 before, are closed by the caller once the plan was started.
 * What this did is undone by libspawn__serials_undo, also when it fails. */
int libspawn__serials_listen(struct libspawn_create *create,
                             struct libspawn_plan *plan,
                             libspawn__serials_place_fn *place,
                             int fds[LIBSPAWN__DM_SERIALS_MAX],
                             struct libspawn_err *err);

/* The descriptors are closed. */
void libspawn__serials_undo(struct libspawn_create *create);

/* Removes the paths of those on which nobody listens any more. */
void libspawn__serials_remove(struct libspawn__store *store, uint32_t domid);

/* '*address_r' is freed with free(3).  LIBSPAWN_ERR_NOT_FOUND: it does not
 * listen. */
int libspawn__serials_find(struct libspawn__store *store, uint32_t domid,
                           unsigned int number, char **address_r,
                           struct libspawn_err *err);

/* Connects to it, or says why one cannot. */
int libspawn__serials_open(struct libspawn_host *host, uint32_t domid,
                           unsigned int number, int *fd_r,
                           struct libspawn_err *err);

#endif
