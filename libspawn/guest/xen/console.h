/*
 * The consoles of a guest: terminals of dom0, made by QEMU ("serial") or by
 * xenconsoled ("pv"), whose names are in the store.
 */
#ifndef LIBSPAWN_GUEST_XEN_CONSOLE_H
#define LIBSPAWN_GUEST_XEN_CONSOLE_H

#include "guest/xen/xen.h"

/* Whether that kind (NULL: what its type has) is "serial". */
bool libspawn__xen_console_is_serial(struct libspawn__xen *xen, uint32_t domid,
                                     const char *kind);

/* Opens console 'number' of that kind (NULL: serial for an HVM guest, else
 * pv) in raw mode.  LIBSPAWN_ERR_NOT_FOUND when the guest has none such. */
int libspawn__xen_console_open(struct libspawn__xen *xen, uint32_t domid,
                               const char *kind, unsigned int number,
                               int *fd_r, struct libspawn_err *err);

#endif
