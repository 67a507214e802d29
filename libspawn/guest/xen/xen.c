#include "guest/xen/xen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/str.h"

static void
keep_message(struct xentoollog_logger *logger, xentoollog_level level,
             int sys_errno, const char *context, const char *format,
             va_list args)
{
    struct libspawn__xen_logger *self = (void *)logger;
    int len;

    (void)context;
    if (level < XTL_ERROR) {
        return;
    }
    len = vsnprintf(self->last, sizeof self->last, format, args);
    if (sys_errno > 0 && len > 0 && (size_t)len < sizeof self->last) {
        snprintf(self->last + len, sizeof self->last - (size_t)len, ": %s",
                 strerror(sys_errno));
    }
    self->last[strcspn(self->last, "\n")] = '\0';
}

/* The logger is part of struct libspawn__xen. */
static void
keep_nothing(struct xentoollog_logger *logger)
{
    (void)logger;
}

static int
read_version(struct libspawn__xen *xen, struct libspawn_err *err)
{
    int version = xc_version(xen->xc, XENVER_version, NULL);

    if (version < 0) {
        return libspawn__xen_fail(xen, err, errno,
                                  "asking the hypervisor for its version");
    }
    xen->version_major = (unsigned int)version >> 16;
    xen->version_minor = (unsigned int)version & 0xffff;
    return 0;
}

/* The domctl interface changes with each version of Xen, and the hypervisor
 * answers a wrong one with EACCES. */
static int
check_interface(struct libspawn__xen *xen, struct libspawn_err *err)
{
    xc_domaininfo_t self;

    if (xc_domain_getinfolist(xen->xc, 0, 1, &self) >= 0) {
        return 0;
    }
    if (errno == EACCES) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "the hypervisor is Xen %u.%u, the Xen libraries "
                              "are of another version",
                              xen->version_major, xen->version_minor);
    }
    return libspawn__xen_fail(xen, err, errno,
                              "asking the hypervisor about its domains");
}

static int
open_handles(struct libspawn__xen *xen, struct libspawn_err *err)
{
    int rc;

    xen->xc = xc_interface_open(&xen->logger.vtable, &xen->logger.vtable, 0);
    if (!xen->xc) {
        return libspawn__xen_fail(xen, err, errno,
                                  "opening the hypervisor interface");
    }
    rc = read_version(xen, err);
    return rc ? rc : check_interface(xen, err);
}

int
libspawn__xen_open(struct libspawn__store *store, struct libspawn__xen **xen_r,
                   struct libspawn_err *err)
{
    struct libspawn__xen *xen = calloc(1, sizeof *xen);
    int rc;

    if (!xen) {
        return libspawn__fail_nomem(err);
    }
    xen->logger.vtable.vmessage = keep_message;
    xen->logger.vtable.destroy = keep_nothing;
    xen->store = store;
    rc = open_handles(xen, err);
    if (rc) {
        libspawn__xen_close(xen);
        return rc;
    }
    *xen_r = xen;
    return 0;
}

void
libspawn__xen_close(struct libspawn__xen *xen)
{
    if (!xen) {
        return;
    }
    if (xen->xc) {
        xc_interface_close(xen->xc);
    }
    free(xen);
}

void
libspawn__xen_clear(struct libspawn__xen *xen)
{
    xen->logger.last[0] = '\0';
}

int
libspawn__xen_fail(struct libspawn__xen *xen, struct libspawn_err *err,
                   int sys_errno, const char *format, ...)
{
    char text[sizeof err->text];
    const char *said = xen->logger.last;
    va_list args;
    int rc;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (sys_errno == 0) {
        return said[0] ? libspawn__fail(err, LIBSPAWN_ERR_SYSTEM, "%s (%s)",
                                        text, said)
                       : libspawn__fail(err, LIBSPAWN_ERR_SYSTEM, "%s failed",
                                        text);
    }
    rc = libspawn__fail_errno(err, sys_errno, "%s", text);
    if (err && said[0]) {
        size_t len = strlen(err->text);

        snprintf(err->text + len, sizeof err->text - len, " (%s)", said);
    }
    return rc;
}
