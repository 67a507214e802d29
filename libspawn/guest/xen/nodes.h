/*
 * What a guest is in the store: the tree that it, the stock tools and its
 * device model read.
 *
 *   /local/domain/D      what the guest sees
 *   /vm/UUID             what outlives a domain number
 *   /libxl/D             what only the toolstack sees, and trusts
 *   /local/domain/0/device-model/D, /local/domain/0/backend/KIND/D
 *
 * The first directories come before, so that a device model that is being
 * started can be recorded in them; the rest at once, in one transaction, its
 * devices included.
 */
#ifndef LIBSPAWN_GUEST_XEN_NODES_H
#define LIBSPAWN_GUEST_XEN_NODES_H

#include "guest/xen/guest.h"

/* Makes the first directories of a guest, in place of whatever there was of
 * its domain: its name, and where its device model is recorded. */
int libspawn__xen_nodes_make(struct libspawn__xen *xen,
                             const struct libspawn__xen_guest *guest,
                             struct libspawn_err *err);

/* Writes what is in them, of a guest whose image is built.
 * LIBSPAWN_ERR_BUSY when somebody else uses one of its disks. */
int libspawn__xen_nodes_write(struct libspawn__xen *xen,
                              const struct libspawn__xen_guest *guest,
                              struct libspawn_err *err);

/* Removes whatever there is of domain 'domid'; a missing tree is fine.  Undo
 * of both, and a part of ending a guest; its devices must be closed. */
int libspawn__xen_nodes_remove(struct libspawn__xen *xen, uint32_t domid,
                               struct libspawn_err *err);

/* Makes the store serve the guest, and xenconsoled its console.  Undone by
 * destroying the domain. */
int libspawn__xen_nodes_introduce(struct libspawn__xen *xen,
                                  const struct libspawn__xen_guest *guest,
                                  struct libspawn_err *err);

/* The word of the store for a type, "hvm". */
const char *libspawn__xen_nodes_type_word(enum libspawn_guest_type type);

#endif
