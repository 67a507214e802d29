/*
 * The domain numbers that were in use a moment ago.
 *
 * Whoever remembers a number for a little longer than the domain lives (a
 * script, a monitor) must not meet another guest under it, so a number is not
 * given again for a minute.  The file and its lock are those of the stock
 * tools: LIBSPAWN__XEN_RUN_DIR "/domid-history", a line per number, "SECONDS
 * DOMID", by the clock that counts from boot.
 */
#ifndef LIBSPAWN_GUEST_XEN_HISTORY_H
#define LIBSPAWN_GUEST_XEN_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* 'dir' is where the file is.  A missing file holds nothing. */
int libspawn__xen_history_has(const char *dir, uint32_t domid, bool *has_r,
                              struct libspawn_err *err);

/* Adds a number, before its domain is destroyed. */
int libspawn__xen_history_add(const char *dir, uint32_t domid,
                              struct libspawn_err *err);

#endif
