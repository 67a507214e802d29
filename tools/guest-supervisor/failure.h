/*
 * What a supervisor that fails says to whoever started it: docs/PROTOCOLS.md,
 * "Daemon start".
 */
#ifndef TOOLS_GUEST_SUPERVISOR_FAILURE_H
#define TOOLS_GUEST_SUPERVISOR_FAILURE_H

#include "include/libspawn.h"

/* The error and, where the device model is the cause, its report (else NULL):
 * all that the starter needs to show it as if it had happened to itself.  New,
 * or NULL without memory. */
char *failure_to_json(const struct libspawn_report *report,
                      const struct libspawn_err *err);

#endif
