/*
 * Ends of a guest's network, and the sockets at which its serial ports listen,
 * that outlive its device model: whoever looks after the guest keeps a copy of
 * each, and every device model is given another, so that the interface, its
 * number and its carrier stay while there is none, and who connects meanwhile
 * waits for the next.
 */
#ifndef LIBSPAWN_GUEST_HELD_H
#define LIBSPAWN_GUEST_HELD_H

#include "base/pidref.h"
#include "dm/dm.h"
#include "include/libspawn-guest.h"

struct libspawn__held {
    int nics[LIBSPAWN__DM_NICS_MAX];       /* -1: not held */
    int serials[LIBSPAWN__DM_SERIALS_MAX]; /* the same */
    char *serial_names[LIBSPAWN__DM_SERIALS_MAX];
};

void libspawn__held_init(struct libspawn__held *held);
void libspawn__held_dispose(struct libspawn__held *held);

/* Keeps a copy of 'fd', in place of what it was, if that is a tap interface;
 * not being able to harms nobody but the next device model. */
void libspawn__held_keep(struct libspawn__held *held, size_t index, int fd);
void libspawn__held_drop(struct libspawn__held *held, size_t index);

/* A copy for the next device model; -1: the interface of that name is not
 * held. */
int libspawn__held_copy(const struct libspawn__held *held, size_t index,
                        const char *name);

/* The same of serial ports, by what the configuration has there. */
void libspawn__held_keep_serial(struct libspawn__held *held, size_t index,
                                int fd, const char *name);
int libspawn__held_copy_serial(const struct libspawn__held *held, size_t index,
                               const char *name);

/* Unless it is of that name, nobody listens there any more. */
void libspawn__held_confirm_serial(struct libspawn__held *held, size_t index,
                                   const char *name);
void libspawn__held_drop_serials(struct libspawn__held *held);

/* After a death of who held them: what a living device model was given is
 * taken from it, as far as we may (pidfd_getfd(2)) and as it still is a tap
 * interface, or listens. */
void libspawn__held_recover(struct libspawn__held *held, pid_t model,
                            const struct libspawn_guest_config *config);

/* The same for interfaces that a living device model has made by itself, as it
 * does on Xen.  In place of all that was held. */
void libspawn__held_share(struct libspawn__held *held, pid_t model);

#endif
