#include "guest/xen/info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "store/paths.h"

enum {
    PAGE_DOMAINS = 256
}; /* asked for in one call */

int
libspawn__xen_info_fetch(struct libspawn__xen *xen,
                         xc_domaininfo_t **domains_r, size_t *n_r,
                         struct libspawn_err *err)
{
    AUTO_FREE xc_domaininfo_t *domains = NULL;
    uint32_t first = 0;
    size_t n = 0;
    int got;

    libspawn__xen_clear(xen);
    do {
        xc_domaininfo_t *more =
            reallocarray(domains, n + PAGE_DOMAINS, sizeof *domains);

        if (!more) {
            return libspawn__fail_nomem(err);
        }
        domains = more;
        got = xc_domain_getinfolist(xen->xc, first, PAGE_DOMAINS, domains + n);
        if (got < 0) {
            return libspawn__xen_fail(xen, err, errno,
                                      "asking the hypervisor for its domains");
        }
        n += (size_t)got;
        if (got > 0) {
            first = domains[n - 1].domain + 1u;
        }
    } while (got == PAGE_DOMAINS);
    *domains_r = TAKE_PTR(domains);
    *n_r = n;
    return 0;
}

void
libspawn__xen_info_uuid(const xc_domaininfo_t *info,
                        char uuid[static LIBSPAWN__XEN_UUID_SIZE])
{
    const uint8_t *b = info->handle;

    snprintf(uuid, LIBSPAWN__XEN_UUID_SIZE,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
             "%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
             b[11], b[12], b[13], b[14], b[15]);
}

int
libspawn__xen_info_get(struct libspawn__xen *xen, uint32_t domid,
                       xc_domaininfo_t *info_r, struct libspawn_err *err)
{
    xc_domaininfo_t info;
    int got;

    libspawn__xen_clear(xen);
    got = xc_domain_getinfolist(xen->xc, domid, 1, &info);
    if (got < 0) {
        return libspawn__xen_fail(xen, err, errno,
                                  "asking the hypervisor about domain "
                                  "%" PRIu32,
                                  domid);
    }
    if (got == 0 || info.domain != domid) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "there is no domain %" PRIu32, domid);
    }
    *info_r = info;
    return 0;
}

int
libspawn__xen_info_find_uuid(struct libspawn__xen *xen, const char *uuid,
                             uint32_t *domid_r, struct libspawn_err *err)
{
    AUTO_FREE xc_domaininfo_t *domains = NULL;
    size_t n = 0;
    size_t i;
    int rc = libspawn__xen_info_fetch(xen, &domains, &n, err);

    for (i = 0; !rc && i < n; i++) {
        char its[LIBSPAWN__XEN_UUID_SIZE];

        libspawn__xen_info_uuid(&domains[i], its);
        if (strcmp(its, uuid) == 0) {
            *domid_r = domains[i].domain;
            return 0;
        }
    }
    return rc ? rc
              : libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                               "there is no domain with uuid %s", uuid);
}

/* ---- For people -------------------------------------------------------- */

static unsigned int
state_of(uint32_t flags)
{
    static const struct {
        uint32_t flag;
        unsigned int state;
    } states[] = {
        { XEN_DOMINF_running, LIBSPAWN_GUEST_RUNNING },
        { XEN_DOMINF_blocked, LIBSPAWN_GUEST_BLOCKED },
        { XEN_DOMINF_paused, LIBSPAWN_GUEST_PAUSED },
        { XEN_DOMINF_shutdown, LIBSPAWN_GUEST_SHUTDOWN },
        { XEN_DOMINF_dying, LIBSPAWN_GUEST_DYING },
    };
    unsigned int reason = (flags >> XEN_DOMINF_shutdownshift) &
                          XEN_DOMINF_shutdownmask;
    unsigned int state = 0;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(states); i++) {
        if (flags & states[i].flag) {
            state |= states[i].state;
        }
    }
    if ((flags & XEN_DOMINF_shutdown) && reason == SHUTDOWN_crash) {
        state |= LIBSPAWN_GUEST_CRASHED;
    }
    return state;
}

/* "" when the domain has none (yet); NULL without memory. */
static char *
read_name(struct libspawn__xen *xen, uint32_t domid)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_DOMAIN_NAME, domid);
    char *name = NULL;

    if (!path ||
        libspawn__store_read(xen->store, NULL, path, &name, NULL, NULL)) {
        return path ? strdup("") : NULL;
    }
    return name;
}

/* What is emulated for a guest tells the types of hardware guest apart: a PC
 * has a real time clock. */
static enum libspawn_guest_type
type_of(const xc_domaininfo_t *domain)
{
    if (!(domain->flags & XEN_DOMINF_hvm_guest)) {
        return LIBSPAWN_GUEST_TYPE_PV;
    }
    return domain->arch_config.emulation_flags & XEN_X86_EMU_RTC
               ? LIBSPAWN_GUEST_TYPE_HVM
               : LIBSPAWN_GUEST_TYPE_PVH;
}

static int
describe(struct libspawn__xen *xen, const xc_domaininfo_t *domain,
         struct libspawn_guest_info *info, struct libspawn_err *err)
{
    uint64_t pages = domain->tot_pages + domain->outstanding_pages;

    info->domid = domain->domain;
    info->name = read_name(xen, domain->domain);
    if (!info->name) {
        return libspawn__fail_nomem(err);
    }
    libspawn__xen_info_uuid(domain, info->uuid);
    info->type = type_of(domain);
    info->memory_mib = pages * (XC_PAGE_SIZE / 1024) / 1024;
    info->vcpus = domain->nr_online_vcpus;
    info->state = state_of(domain->flags);
    info->cpu_time_ms = (int64_t)(domain->cpu_time / 1000000);
    return 0;
}

int
libspawn__xen_info_list(struct libspawn__xen *xen,
                        struct libspawn_guest_info **list_r, size_t *n_r,
                        struct libspawn_err *err)
{
    AUTO_FREE xc_domaininfo_t *domains = NULL;
    struct libspawn_guest_info *list;
    size_t n = 0;
    size_t i;
    int rc = libspawn__xen_info_fetch(xen, &domains, &n, err);

    if (rc) {
        return rc;
    }
    list = calloc(MAX(n, 1), sizeof *list);
    if (!list) {
        return libspawn__fail_nomem(err);
    }
    for (i = 0; !rc && i < n; i++) {
        rc = describe(xen, &domains[i], &list[i], err);
    }
    if (rc) {
        libspawn_guest_list_free(list, n);
        return rc;
    }
    *list_r = list;
    *n_r = n;
    return 0;
}
