/*
 * Sources: xenctrl.h; xen/include/public/domctl.h for the fields of a new
 * domain, arch-x86/xen.h for the devices that the hypervisor emulates.
 */
#include "guest/xen/domain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "guest/xen/history.h"

enum {
    EVENT_CHANNELS_MAX = 1023,
    SECURITY_LABEL = 12, /* the policy's "domU"; ignored without a policy */
    N_RECENT_MAX = 4096  /* domains tried until one has a fresh number */
};

static uint32_t
emulated_devices(enum libspawn_guest_type type)
{
    switch (type) {
    case LIBSPAWN_GUEST_TYPE_HVM:
        return XEN_X86_EMU_ALL & ~XEN_X86_EMU_VPCI;
    case LIBSPAWN_GUEST_TYPE_PVH:
        return XEN_X86_EMU_LAPIC;
    case LIBSPAWN_GUEST_TYPE_DEFAULT:
    case LIBSPAWN_GUEST_TYPE_PV:
        break;
    }
    return 0;
}

/* Sixteen bytes from the text that libspawn__xen_guest_init has checked. */
static void
parse_uuid(const char *text, xen_domain_handle_t handle)
{
    size_t n = 0;

    while (*text) {
        unsigned int byte;

        if (*text == '-') {
            text++;
            continue;
        }
        if (sscanf(text, "%2x", &byte) != 1) {
            return;
        }
        handle[n++] = (uint8_t)byte;
        text += 2;
    }
}

static void
describe(const struct libspawn__xen_guest *guest,
         struct xen_domctl_createdomain *domain)
{
    memset(domain, 0, sizeof *domain);
    domain->ssidref = SECURITY_LABEL;
    domain->max_vcpus = guest->n_vcpus_max;
    domain->max_evtchn_port = EVENT_CHANNELS_MAX;
    domain->max_grant_frames = -1; /* the hypervisor's own defaults */
    domain->max_maptrack_frames = -1;
    domain->grant_opts = XEN_DOMCTL_GRANT_version(guest->grant_version);
    domain->arch.emulation_flags = emulated_devices(guest->type);
    if (guest->type != LIBSPAWN_GUEST_TYPE_PV) {
        domain->flags = XEN_DOMCTL_CDF_hvm;
    }
    if (guest->hap) {
        domain->flags |= XEN_DOMCTL_CDF_hap;
    }
    parse_uuid(guest->uuid, domain->handle);
}

/* The hypervisor gives the next free number after the last one it gave, so
 * the domain with a recent number only has to go again. */
static int
create_fresh(struct libspawn__xen *xen, struct xen_domctl_createdomain *domain,
             uint32_t *domid_r, struct libspawn_err *err)
{
    int i;

    for (i = 0; i < N_RECENT_MAX; i++) {
        uint32_t domid = 0; /* any */
        bool recent;
        int rc;

        if (xc_domain_create(xen->xc, &domid, domain)) {
            return libspawn__xen_fail(xen, err, errno, "making a domain");
        }
        rc = libspawn__xen_history_has(LIBSPAWN__XEN_RUN_DIR, domid, &recent,
                                       err);
        if (!rc && !recent) {
            *domid_r = domid;
            return 0;
        }
        xc_domain_destroy(xen->xc, domid);
        if (rc) {
            return rc;
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                          "making a domain: every number was in use within "
                          "the last minute");
}

int
libspawn__xen_domain_create(struct libspawn__xen *xen,
                            struct libspawn__xen_guest *guest,
                            struct libspawn_err *err)
{
    struct xen_domctl_createdomain domain;

    libspawn__xen_clear(xen);
    describe(guest, &domain);
    return create_fresh(xen, &domain, &guest->domid, err);
}

static int
report(struct libspawn__xen *xen, int r, uint32_t domid, const char *what,
       struct libspawn_err *err)
{
    int sys_errno = errno;

    if (r == 0) {
        return 0;
    }
    if (sys_errno == ESRCH) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "there is no domain %" PRIu32, domid);
    }
    return libspawn__xen_fail(xen, err, sys_errno, "%s domain %" PRIu32, what,
                              domid);
}

int
libspawn__xen_domain_destroy(struct libspawn__xen *xen, uint32_t domid,
                             struct libspawn_err *err)
{
    libspawn__xen_clear(xen);
    /* A number that comes back too soon is a smaller evil than a domain that
     * cannot be ended, so a failure here does not count. */
    (void)libspawn__xen_history_add(LIBSPAWN__XEN_RUN_DIR, domid, NULL);
    return report(xen, xc_domain_destroy(xen->xc, domid), domid, "destroying",
                  err);
}

int
libspawn__xen_domain_pause(struct libspawn__xen *xen, uint32_t domid,
                           struct libspawn_err *err)
{
    libspawn__xen_clear(xen);
    return report(xen, xc_domain_pause(xen->xc, domid), domid, "pausing", err);
}

int
libspawn__xen_domain_unpause(struct libspawn__xen *xen, uint32_t domid,
                             struct libspawn_err *err)
{
    libspawn__xen_clear(xen);
    return report(xen, xc_domain_unpause(xen->xc, domid), domid, "unpausing",
                  err);
}

int
libspawn__xen_domain_press_power(struct libspawn__xen *xen, uint32_t domid,
                                 struct libspawn_err *err)
{
    libspawn__xen_clear(xen);
    return report(xen,
                  xc_domain_send_trigger(xen->xc, domid,
                                         XEN_DOMCTL_SENDTRIGGER_POWER, 0),
                  domid, "pressing the power button of", err);
}

int
libspawn__xen_domain_crash(struct libspawn__xen *xen, uint32_t domid,
                           struct libspawn_err *err)
{
    libspawn__xen_clear(xen);
    return report(xen, xc_domain_shutdown(xen->xc, domid, SHUTDOWN_crash),
                  domid, "stopping", err);
}
