/*
 * An open Xen host: a handle of libxenctrl, the store,
 * and the last complaint of those libraries.
 *
 * Everything below guest/xen takes one of these.  It is not the hypervisor
 * contract of the guest layer (that uses the functions of this folder), and
 * it never touches a device model.
 *
 * The Xen libraries report through a logger; ours keeps the last error line
 * and prints nothing, so that a failure's sentence can say what they said.
 */
#ifndef LIBSPAWN_GUEST_XEN_XEN_H
#define LIBSPAWN_GUEST_XEN_XEN_H

#include <stdint.h>

#include <xenctrl.h>
#include <xentoollog.h>

#include "base/err.h"
#include "store/store.h"

/* The directories that the stock tools use too. */
#define LIBSPAWN__XEN_RUN_DIR "/var/run/xen"
#define LIBSPAWN__XEN_LIB_DIR "/var/lib/xen"
#define LIBSPAWN__XEN_LOG_DIR "/var/log/xen"
#define LIBSPAWN__XEN_SCRIPT_DIR "/etc/xen/scripts"

enum {
    LIBSPAWN__XEN_DOMID_MAX = 0x7fef, /* DOMID_FIRST_RESERVED - 1 */
    LIBSPAWN__XEN_UUID_SIZE = 37,
    LIBSPAWN__XEN_COMPLAINT_MAX = 256
};

struct libspawn__xen_logger {
    xentoollog_logger vtable; /* first: the libraries know only this */
    char last[LIBSPAWN__XEN_COMPLAINT_MAX]; /* "" when nothing was said */
};

struct libspawn__xen {
    xc_interface *xc;
    struct libspawn__store *store; /* borrowed */
    struct libspawn__xen_logger logger;
    unsigned int version_major; /* of the hypervisor, e.g. 4 and 17 */
    unsigned int version_minor;
};

/* Opens the hypervisor.  LIBSPAWN_ERR_UNSUPPORTED when it is not the version
 * that the libraries were made for, LIBSPAWN_ERR_DENIED without the right. */
int libspawn__xen_open(struct libspawn__store *store,
                       struct libspawn__xen **xen_r, struct libspawn_err *err);
void libspawn__xen_close(struct libspawn__xen *xen);

/* Forgets what the libraries said; call before a step whose failure is to be
 * explained by libspawn__xen_fail. */
void libspawn__xen_clear(struct libspawn__xen *xen);

/* A call of the libraries failed: the sentence, the text of 'sys_errno' (0:
 * unknown), and in brackets what they said last. */
int libspawn__xen_fail(struct libspawn__xen *xen, struct libspawn_err *err,
                       int sys_errno, const char *format, ...)
    LIBSPAWN__PRINTF(4, 5);

#endif
