/*
 * The check of a typed configuration, for callers that know where each key
 * was written and want to say so.
 */
#ifndef LIBSPAWN_GUEST_CONFIG_H
#define LIBSPAWN_GUEST_CONFIG_H

#include "base/err.h"
#include "include/libspawn-guest.h"

enum {
    LIBSPAWN__NAME_LEN_MAX = 200,
    LIBSPAWN__MEMORY_MIB_MAX = 16 * 1024 * 1024,
    LIBSPAWN__VCPUS_MAX = 4096,
    LIBSPAWN__CPU_WEIGHT_MAX = 65535,
    LIBSPAWN__VIDEORAM_MIB_MAX = 2048,
    LIBSPAWN__DISKS_MAX = 1024,
    LIBSPAWN__NICS_MAX = 256,
    LIBSPAWN__PCI_MAX = 32, /* slots of the guest's bus */
    LIBSPAWN__VNC_DISPLAY_MAX = 65535 - 5900 /* the first one's TCP port */
};

/* What is at fault: the xl.cfg key, and which item of it when it is a list. */
struct libspawn__config_fault {
    const char *key; /* static; NULL: cannot be said */
    size_t index;
};

/* As libspawn_guest_config_check; fills '*fault_r' on failure too. */
int libspawn__guest_config_check(const struct libspawn_guest_config *config,
                                 struct libspawn__config_fault *fault_r,
                                 struct libspawn_err *err);

/* Whether 'text' is the name of a CPU set: "all", "0-3,^1", "nodes:0-1". */
bool libspawn__cpu_set_is_valid(const char *text);

#endif
