/*
 * Ends of a guest's network that outlive its device model: whoever looks after
 * the guest keeps a copy of each, and every device model is given another, so
 * that the interface, its number and its carrier stay while there is none.
 */
#ifndef LIBSPAWN_GUEST_HELD_H
#define LIBSPAWN_GUEST_HELD_H

#include "base/pidref.h"
#include "dm/dm.h"

struct libspawn__held {
    int nics[LIBSPAWN__DM_NICS_MAX]; /* -1: not held */
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

/* After a death of who held them: what a living device model was given is
 * taken from it, as far as we may (pidfd_getfd(2)) and as it still is a tap
 * interface. */
void libspawn__held_recover(struct libspawn__held *held, pid_t model);

/* The same for interfaces that a living device model has made by itself, as it
 * does on Xen.  In place of all that was held. */
void libspawn__held_share(struct libspawn__held *held, pid_t model);

#endif
