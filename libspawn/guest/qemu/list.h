/*
 * The guests of this state directory.
 */
#ifndef LIBSPAWN_GUEST_QEMU_LIST_H
#define LIBSPAWN_GUEST_QEMU_LIST_H

#include "guest/hypervisor.h"

/* See libspawn_guest_list.  Asks each device model whether its guest runs; one
 * that does not answer at once is listed without a state. */
int libspawn__qemu_list(struct libspawn_host *host,
                        struct libspawn_guest_info **list_r, size_t *n_r,
                        struct libspawn_err *err);

#endif
