/*
 * Sets of the host's processors as xl.cfg(5) writes them: "all", "0-3,^1",
 * "nodes:0-1,^node:0".  Pure; what the host has is told by the caller.
 */
#ifndef LIBSPAWN_GUEST_XEN_CPUSET_H
#define LIBSPAWN_GUEST_XEN_CPUSET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Fills 'cpus' with one flag per processor.  'nodes' names the NUMA node of
 * each.  LIBSPAWN_ERR_INVALID: no such set, or nothing is in it. */
int libspawn__xen_cpuset_parse(const char *text, const uint32_t *nodes,
                               uint32_t n_cpus, bool *cpus,
                               struct libspawn_err *err);

#endif
