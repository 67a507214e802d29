/*
 * Relative paths of a configuration are meant from where xl was called; the
 * device model runs elsewhere.
 */
#ifndef XL_PATHS_H
#define XL_PATHS_H

#include "include/libspawn-guest.h"

/* Makes every path of a file in 'config' absolute. */
int xl__paths_make_absolute(struct libspawn_guest_config *config,
                            struct libspawn_err *err);

#endif
