/*
 * What only the making of a guest needs, in a plugin of its own:
 * libxenguest, and the decompressors that come with it, would double the time
 * that every other command takes to be loaded.
 */
#ifndef LIBSPAWN_GUEST_XEN_BUILDER_H
#define LIBSPAWN_GUEST_XEN_BUILDER_H

#include "guest/xen/guest.h"

#define LIBSPAWN__XEN_BUILDER_FILE "libspawn-xen-build.so"
#define LIBSPAWN__XEN_BUILDER_SYMBOL "libspawn__xen_builder"

struct libspawn__xen_builder {
    const char *version; /* LIBSPAWN_VERSION: must be that of who loads it */

    /* Chooses the features of the guest's processors, which must exist, and
     * fills its memory as libspawn__xen_image_build does. */
    int (*build)(struct libspawn__xen *xen, struct libspawn__xen_guest *guest,
                 struct libspawn_err *err);
};

extern LIBSPAWN_EXPORT const struct libspawn__xen_builder
    libspawn__xen_builder;

#endif
