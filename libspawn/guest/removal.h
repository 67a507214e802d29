/*
 * The removal of a guest is told once, whoever dies meanwhile: an intent is in
 * the store until its end was told (guest/intent.h).
 *
 * Between the two calls the guest is removed, under its lock.  Both do what
 * they can: a disk that is full does not keep a guest alive.
 */
#ifndef LIBSPAWN_GUEST_REMOVAL_H
#define LIBSPAWN_GUEST_REMOVAL_H

#include "guest/events.h"

void libspawn__removal_begin(struct libspawn_host *host,
                             const struct libspawn__event_subject *subject);

/* Without 'is_gone' it is there still, and nothing is told. */
void libspawn__removal_end(struct libspawn_host *host,
                           const struct libspawn__event_subject *subject,
                           bool is_gone);

#endif
