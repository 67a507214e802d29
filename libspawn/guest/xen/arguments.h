/*
 * The device model of an HVM guest on Xen: which program, and its arguments.
 *
 * On top of our own monitor (dm/args.h) it opens the two that the stock tools
 * connect to, so that "xl unpause" and "xentop" work.
 */
#ifndef LIBSPAWN_GUEST_XEN_ARGUMENTS_H
#define LIBSPAWN_GUEST_XEN_ARGUMENTS_H

#include "dm/args.h"
#include "dm/probe_cache.h"
#include "dm/restrict.h"
#include "guest/xen/guest.h"

/* The device model of the configuration as it stands there (whether it can be
 * executed shows when it is), else the first that is installed;
 * LIBSPAWN_ERR_NOT_FOUND names the places. */
int libspawn__xen_dm_find_program(const struct libspawn__xen *xen,
                                  const char *override, char **path_r,
                                  struct libspawn_err *err);

/* The arguments by which it gives up the rights that it begins with; none
 * where there is neither dm_restrict nor another user.
 * LIBSPAWN_ERR_UNSUPPORTED when the program has no such arguments. */
void
libspawn__xen_dm_add_restrictions(const struct libspawn__restrict *restricted,
                                  const struct libspawn__dm_support *support,
                                  struct libspawn__args *args);

/* Appends all arguments, but for argument zero, to an 'args' whose config and
 * domid are filled.  A script's disk is connected already. */
void libspawn__xen_dm_add_arguments(struct libspawn__xen *xen,
                                    const struct libspawn__xen_guest *guest,
                                    struct libspawn__args *args);

#endif
