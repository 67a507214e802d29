/*
 * One guest on its way into a Xen host: what its configuration comes to, and
 * what the steps of its creation learn from each other.
 *
 *   libspawn__xen_guest_init        configuration made definite
 *   libspawn__xen_domain_create     domid
 *   libspawn__xen_domain_prepare    event channels, limits
 *   libspawn__xen_image_build       pages of the rings
 *   libspawn__xen_nodes_write       (reads all of it)
 *   libspawn__xen_nodes_introduce
 */
#ifndef LIBSPAWN_GUEST_XEN_GUEST_H
#define LIBSPAWN_GUEST_XEN_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/xen/disk.h"
#include "guest/xen/memory.h"
#include "guest/xen/xen.h"
#include "include/libspawn-guest.h"

struct libspawn__xen_guest {
    /* Definite after init. */
    const struct libspawn_guest_config *config; /* borrowed */
    enum libspawn_guest_type type;
    char uuid[LIBSPAWN__XEN_UUID_SIZE];
    bool hap; /* the processor translates its addresses */
    uint32_t grant_version;
    uint32_t n_vcpus; /* at start */
    uint32_t n_vcpus_max;
    struct libspawn__xen_memory memory;
    struct libspawn__xen_disk *disks; /* config->n_disks of them */

    /* libspawn__xen_domain_create */
    uint32_t domid;

    /* libspawn__xen_domain_prepare */
    uint32_t store_domid; /* who serves its store ring and its console */
    uint32_t console_domid;
    uint32_t store_port;
    uint32_t console_port;

    /* libspawn__xen_image_build */
    uint64_t store_frame;
    uint64_t console_frame;

    /* While its consoles are announced. */
    unsigned int n_answers;            /* that are still to come */
    struct libspawn_err answers_error; /* the first; code 0: none */

    /* Why its disks are given up again, before they were all connected. */
    struct libspawn_err disks_error;
};

/* Fills in what the configuration leaves open, and checks it against what the
 * host can do, the memory that is free, and its disks, which must exist.
 * 'uuid' is as in the configuration. */
int libspawn__xen_guest_init(struct libspawn__xen *xen,
                             const struct libspawn_guest_config *config,
                             const char *uuid,
                             struct libspawn__xen_guest *guest_r,
                             struct libspawn_err *err);

/* Frees what init made; the domain is another matter. */
void libspawn__xen_guest_dispose(struct libspawn__xen_guest *guest);

/* Whether 'choice' means yes where 'fallback' is the default. */
static inline bool
libspawn__xen_choice(enum libspawn_choice choice, bool fallback)
{
    return choice == LIBSPAWN_CHOICE_DEFAULT ? fallback
                                             : choice == LIBSPAWN_CHOICE_YES;
}

#endif
