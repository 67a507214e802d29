/*
 * The guests of this state directory.
 */
#ifndef LIBSPAWN_GUEST_QEMU_LIST_H
#define LIBSPAWN_GUEST_QEMU_LIST_H

#include "guest/hypervisor.h"

/* See libspawn_guest_list.  Asks all device models at once whether their
 * guests run.  Of one that does not answer within two seconds the state is
 * what the record and the kernel tell: paused while it is being started or its
 * process is stopped, else running. */
int libspawn__qemu_list(struct libspawn_host *host,
                        struct libspawn_guest_info **list_r, size_t *n_r,
                        struct libspawn_err *err);

/* The same of one guest, into *info_r; LIBSPAWN_ERR_NOT_FOUND. */
int libspawn__qemu_look(struct libspawn_host *host, uint32_t domid,
                        struct libspawn_guest_info *info_r,
                        struct libspawn_err *err);

#endif
