/*
 * One device of a guest as the store has it: two directories that watch each
 * other (the frontend, which the guest writes, and the backend, which whoever
 * serves it writes), and a third that only the toolstack writes.
 *
 *   /local/domain/D/device/KIND/ID              frontend
 *   /local/domain/0/backend/BACKEND_KIND/D/ID   backend
 *   /libxl/D/device/KIND/ID                     what was asked for
 *
 * Only the third is trusted afterwards.  A guest's first console is an
 * exception: its frontend is /local/domain/D/console, which a guest can only
 * read.
 */
#ifndef LIBSPAWN_GUEST_XEN_DEVICE_H
#define LIBSPAWN_GUEST_XEN_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "guest/xen/tree.h"

/* What both ends tell each other in their node "state". */
enum libspawn__xen_device_state {
    LIBSPAWN__XEN_DEVICE_UNKNOWN = 0,
    LIBSPAWN__XEN_DEVICE_INITIALISING = 1,
    LIBSPAWN__XEN_DEVICE_WAITING = 2,
    LIBSPAWN__XEN_DEVICE_CONNECTED = 4,
    LIBSPAWN__XEN_DEVICE_CLOSING = 5,
    LIBSPAWN__XEN_DEVICE_CLOSED = 6
};

/* Nodes are name, value, name, value, ... */
struct libspawn__xen_device {
    uint32_t domid;
    const char *kind;         /* static, "vbd" */
    const char *backend_kind; /* static, "qdisk" */
    uint32_t devid;
    struct libspawn__strv front;
    struct libspawn__strv front_fixed; /* which the guest cannot change */
    struct libspawn__strv back;
    bool is_own_brief; /* nobody asks for more of it than where it is */
    bool failed;       /* no memory for a node */
};

void libspawn__xen_device_dispose(struct libspawn__xen_device *device);
#define AUTO_XEN_DEVICE AUTO(libspawn__xen_device_dispose)

/* Adds a node to one of the three lists of 'device'. */
void libspawn__xen_device_add(struct libspawn__xen_device *device,
                              struct libspawn__strv *nodes, const char *name,
                              const char *format, ...) LIBSPAWN__PRINTF(4, 5);

/* Writes the device's three directories, which must not exist. */
void libspawn__xen_device_write(struct libspawn__tree *tree,
                                const struct libspawn__xen_device *device);

#endif
