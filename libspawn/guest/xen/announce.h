/*
 * What is known only once the device model runs, written where the stock
 * tools look for it: the terminals behind the serial ports and the port of
 * the VNC server.
 *
 * The answers come from QEMU, which is not trusted: a name that is no
 * terminal's, or a number that is no port's, is not written.
 */
#ifndef LIBSPAWN_GUEST_XEN_ANNOUNCE_H
#define LIBSPAWN_GUEST_XEN_ANNOUNCE_H

#include "guest/xen/xen.h"
#include "wire/json.h"

/* 'chardevs' is the answer to "query-chardev".  A serial port that is no
 * terminal has no node. */
int libspawn__xen_announce_serials(struct libspawn__xen *xen, uint32_t domid,
                                   const struct libspawn__json *chardevs,
                                   struct libspawn_err *err);

/* 'vnc' is the answer to "query-vnc"; 'password' (NULL: none) goes where only
 * dom0 reads it. */
int libspawn__xen_announce_vnc(struct libspawn__xen *xen, uint32_t domid,
                               const struct libspawn__json *vnc,
                               const char *password, struct libspawn_err *err);

#endif
