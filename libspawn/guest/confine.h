/*
 * The user of a guest's device model, from its creation to its end: chosen,
 * noted in the store, and given back (dm/restrict.h); and what has to be asked
 * of the program before.
 */
#ifndef LIBSPAWN_GUEST_CONFINE_H
#define LIBSPAWN_GUEST_CONFINE_H

#include "guest/create.h"

/* Fills create->restricted.  The guest's directory in the store is there; a
 * user of its own is noted in it, where the stock tools look for it too. */
int libspawn__confine_choose(struct libspawn_create *create,
                             struct libspawn_err *err);

/* Ends whatever runs as the guest's own user and gives that back; for a guest
 * whose device model has ended.  One without is fine.  A NULL 'uuid' is what
 * the store says of that number. */
int libspawn__confine_release(struct libspawn_host *host, uint32_t domid,
                              const char *uuid, struct libspawn_err *err);

/* The same where there is no host but its store, and a hypervisor gives out
 * the numbers. */
int libspawn__confine_release_domid(struct libspawn__store *store,
                                    uint32_t domid, struct libspawn_err *err);

/* Ends the asking; false when nobody is being asked. */
bool libspawn__confine_abort_probe(struct libspawn_create *create);

/* Runs 'run' with what 'program' is known to support; only the first start of
 * a program has to ask it.  Returns as a step does. */
int libspawn__confine_probe(struct libspawn_create *create,
                            const char *program, libspawn__create_run_fn *run,
                            struct libspawn_err *err);

#endif
