/*
 * A look at one guest, whichever hypervisor it has.
 */
#ifndef LIBSPAWN_GUEST_LOOK_H
#define LIBSPAWN_GUEST_LOOK_H

#include "guest/hypervisor.h"
#include "proc/record.h"

/* What libspawn_guest_list says of it, also of one without a name;
 * LIBSPAWN_ERR_NOT_FOUND.  May wait for its monitor, as the list does. */
int libspawn__guest_look(struct libspawn_host *host, uint32_t domid,
                         struct libspawn_guest_info *info_r,
                         struct libspawn_err *err);

/* Its device model is gone: how it ended, as far as 'record' knows. */
void
libspawn__guest_info_take_end(struct libspawn_guest_info *info,
                              const struct libspawn__record *record);

void libspawn__guest_info_dispose(struct libspawn_guest_info *info);
#define AUTO_GUEST_INFO AUTO(libspawn__guest_info_dispose)

#endif
