/*
 * What the hypervisor and the store know of the domains of this host.
 */
#ifndef LIBSPAWN_GUEST_XEN_INFO_H
#define LIBSPAWN_GUEST_XEN_INFO_H

#include "guest/xen/xen.h"
#include "include/libspawn-guest.h"

/* All domains, dom0 too, by number; freed with libspawn_guest_list_free.
 * What a device model does is left open ('dm_end' is NULL). */
int libspawn__xen_info_list(struct libspawn__xen *xen,
                            struct libspawn_guest_info **list_r, size_t *n_r,
                            struct libspawn_err *err);

/* The same as the hypervisor lists them, without a look at the store; the
 * caller frees it. */
int libspawn__xen_info_fetch(struct libspawn__xen *xen,
                             xc_domaininfo_t **domains_r, size_t *n_r,
                             struct libspawn_err *err);

/* One domain of the hypervisor; LIBSPAWN_ERR_NOT_FOUND. */
int libspawn__xen_info_get(struct libspawn__xen *xen, uint32_t domid,
                           xc_domaininfo_t *info_r, struct libspawn_err *err);

/* The domain with that uuid; LIBSPAWN_ERR_NOT_FOUND.  For a guest that the
 * store does not know yet. */
int libspawn__xen_info_find_uuid(struct libspawn__xen *xen, const char *uuid,
                                 uint32_t *domid_r, struct libspawn_err *err);

/* Its uuid as text. */
void libspawn__xen_info_uuid(const xc_domaininfo_t *info,
                             char uuid[static LIBSPAWN__XEN_UUID_SIZE]);

#endif
