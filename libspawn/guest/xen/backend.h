/*
 * The states of backends in dom0's kernel, and waiting for them.
 *
 * There are two ways to wait, since a watch makes libxenstore start a thread
 * in the caller's process (store.h): a caller of the library blocks, and looks
 * again and again in growing pauses; the programs of the project watch, on
 * their loop.
 */
#ifndef LIBSPAWN_GUEST_XEN_BACKEND_H
#define LIBSPAWN_GUEST_XEN_BACKEND_H

#include "base/str.h"
#include "guest/xen/device.h"
#include "guest/xen/xen.h"

#define LIBSPAWN__XEN_BACKENDS "/local/domain/0/backend"

/* Value of DIR/NAME, or NULL. */
char *libspawn__xen_read_node(struct libspawn__xen *xen, const char *dir,
                              const char *name);

/* Waits until each of the backends, by their directories, is in that state, or
 * gone.  LIBSPAWN_ERR_TIMEOUT names one that is in another after 10 s. */
int libspawn__xen_backends_await(struct libspawn__xen *xen,
                                 const struct libspawn__strv *dirs,
                                 enum libspawn__xen_device_state state,
                                 struct libspawn_err *err);

/* 'err' as above, or NULL. */
typedef void libspawn__xen_backends_fn(void *user,
                                       const struct libspawn_err *err);

/* The same on the loop: 'fn' comes once, only from dispatch, unless this
 * fails.  There is at least one. */
int libspawn__xen_backends_await_start(struct libspawn__xen *xen,
                                       struct libspawn__loop *loop,
                                       const struct libspawn__strv *dirs,
                                       enum libspawn__xen_device_state state,
                                       libspawn__xen_backends_fn *fn,
                                       void *user, struct libspawn_err *err);

#endif
