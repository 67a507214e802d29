/*
 * Sources: xenctrl.h; xen/include/public/hvm/params.h; xl.cfg(5) for the
 * defaults.
 */
#include "guest/xen/prepare.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include <xen/hvm/params.h>

#include "base/util.h"

enum {
    TIMER_NO_DELAY_FOR_MISSED_TICKS = 1
};

/* What "viridian=1" stands for. */
#define VIRIDIAN_DEFAULTS                                                     \
    (HVMPV_base_freq | HVMPV_time_ref_count | HVMPV_apic_assist |             \
     HVMPV_crash_ctl | HVMPV_no_vp_limit | HVMPV_cpu_hotplug)

static int
set_limits(struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
           struct libspawn_err *err)
{
    if (xc_domain_max_vcpus(xen->xc, guest->domid, guest->n_vcpus_max)) {
        return libspawn__xen_fail(xen, err, errno,
                                  "giving the domain %" PRIu32 " processors",
                                  guest->n_vcpus_max);
    }
    if (xc_domain_setmaxmem(xen->xc, guest->domid, guest->memory.limit_kib)) {
        return libspawn__xen_fail(xen, err, errno,
                                  "limiting the domain to %" PRIu64
                                  " KiB of memory",
                                  guest->memory.limit_kib);
    }
    if (guest->type != LIBSPAWN_GUEST_TYPE_PV &&
        xc_set_paging_mempool_size(xen->xc, guest->domid,
                                   guest->memory.paging_kib * 1024)) {
        return libspawn__xen_fail(xen, err, errno,
                                  "setting aside %" PRIu64
                                  " KiB for the domain's page tables",
                                  guest->memory.paging_kib);
    }
    return 0;
}

/* Which domain serves stores or consoles: normally this one, so the node is
 * missing. */
static int
read_server(struct libspawn__xen *xen, const char *path, uint32_t *domid_r,
            struct libspawn_err *err)
{
    AUTO_FREE char *text = NULL;
    uint64_t domid;
    int rc = libspawn__store_read(xen->store, NULL, path, &text, NULL, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        *domid_r = 0;
        return 0;
    }
    if (!rc) {
        rc = libspawn__str_to_u64(text, 0, LIBSPAWN__XEN_DOMID_MAX, &domid,
                                  err);
    }
    if (!rc) {
        *domid_r = (uint32_t)domid;
    }
    return rc;
}

static int
open_port(struct libspawn__xen *xen, uint32_t domid, uint32_t server,
          const char *what, uint32_t *port_r, struct libspawn_err *err)
{
    xc_evtchn_port_or_error_t port =
        xc_evtchn_alloc_unbound(xen->xc, domid, server);

    if (port < 0) {
        return libspawn__xen_fail(xen, err, errno,
                                  "making the event channel of its %s", what);
    }
    *port_r = (uint32_t)port;
    return 0;
}

static int
open_ports(struct libspawn__xen *xen, struct libspawn__xen_guest *guest,
           struct libspawn_err *err)
{
    int rc =
        read_server(xen, "/tool/xenstored/domid", &guest->store_domid, err);

    if (!rc) {
        rc = read_server(xen, "/tool/xenconsoled/domid", &guest->console_domid,
                         err);
    }
    if (!rc) {
        rc = open_port(xen, guest->domid, guest->store_domid, "store",
                       &guest->store_port, err);
    }
    if (!rc) {
        rc = open_port(xen, guest->domid, guest->console_domid, "console",
                       &guest->console_port, err);
    }
    return rc;
}

static int
set_hvm_params(struct libspawn__xen *xen,
               const struct libspawn__xen_guest *guest,
               struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = guest->config;
    bool is_hvm = guest->type == LIBSPAWN_GUEST_TYPE_HVM;
    const struct {
        bool wanted;
        uint32_t param;
        uint64_t value;
    } params[] = {
        { is_hvm, HVM_PARAM_HPET_ENABLED,
          libspawn__xen_choice(config->hpet, true) },
        { is_hvm, HVM_PARAM_VPT_ALIGN, 1 },
        { is_hvm && libspawn__xen_choice(config->viridian, false),
          HVM_PARAM_VIRIDIAN, VIRIDIAN_DEFAULTS },
        { true, HVM_PARAM_TIMER_MODE, TIMER_NO_DELAY_FOR_MISSED_TICKS },
        { true, HVM_PARAM_ALTP2M, XEN_ALTP2M_disabled },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(params); i++) {
        if (params[i].wanted &&
            xc_hvm_param_set(xen->xc, guest->domid, params[i].param,
                             params[i].value)) {
            return libspawn__xen_fail(xen, err, errno,
                                      "setting HVM parameter %" PRIu32,
                                      params[i].param);
        }
    }
    return 0;
}

static int
set_clocks(struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
           struct libspawn_err *err)
{
    int32_t offset = guest->config->rtc_timeoffset;
    time_t now = time(NULL);
    struct tm local;

    if (libspawn__xen_choice(guest->config->localtime, false) &&
        localtime_r(&now, &local)) {
        offset += (int32_t)local.tm_gmtoff;
    }
    if (xc_domain_set_tsc_info(xen->xc, guest->domid, 0, 0, 0, 0)) {
        return libspawn__xen_fail(xen, err, errno,
                                  "setting the time stamp counter");
    }
    if (offset && xc_domain_set_time_offset(xen->xc, guest->domid, offset)) {
        return libspawn__xen_fail(xen, err, errno, "setting the clock");
    }
    return 0;
}

int
libspawn__xen_domain_prepare(struct libspawn__xen *xen,
                             struct libspawn__xen_guest *guest,
                             struct libspawn_err *err)
{
    int rc;

    libspawn__xen_clear(xen);
    rc = set_limits(xen, guest, err);
    if (!rc) {
        rc = open_ports(xen, guest, err);
    }
    if (!rc && guest->type != LIBSPAWN_GUEST_TYPE_PV) {
        rc = set_hvm_params(xen, guest, err);
    }
    return rc ? rc : set_clocks(xen, guest, err);
}
