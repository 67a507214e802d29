#include "guest/xen/guest.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/util.h"

enum {
    HVM_VCPUS_MAX = 128,
    PV_VCPUS_MAX = 512
};

static int
check_uuid(const char *uuid, struct libspawn_err *err)
{
    size_t i;

    for (i = 0; uuid[i]; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (is_dash ? uuid[i] != '-' : !strchr("0123456789abcdef", uuid[i])) {
            break;
        }
    }
    if (uuid[i] || i != LIBSPAWN__XEN_UUID_SIZE - 1) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%s' is not a UUID in lower case", uuid);
    }
    return 0;
}

static int
decide_paging(struct libspawn__xen_guest *guest, uint32_t capabilities,
              struct libspawn_err *err)
{
    bool can_hap = capabilities & XEN_SYSCTL_PHYSCAP_hap;
    bool can_shadow = capabilities & XEN_SYSCTL_PHYSCAP_shadow;

    if (guest->type == LIBSPAWN_GUEST_TYPE_PV) {
        guest->hap = false;
        return 0;
    }
    if (!(capabilities & XEN_SYSCTL_PHYSCAP_hvm)) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "this processor or its firmware settings allow "
                              "only PV guests");
    }
    guest->hap = libspawn__xen_choice(guest->config->hap, can_hap);
    if (guest->hap ? !can_hap : !can_shadow) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "this host has no %s paging (key 'hap')",
                              guest->hap ? "hardware assisted" : "shadow");
    }
    return 0;
}

static uint32_t
newest_grants(uint32_t capabilities)
{
    if (capabilities & XEN_SYSCTL_PHYSCAP_gnttab_v2) {
        return 2;
    }
    return capabilities & XEN_SYSCTL_PHYSCAP_gnttab_v1 ? 1 : 0;
}

static int
decide_vcpus(struct libspawn__xen_guest *guest, struct libspawn_err *err)
{
    uint32_t most = guest->type == LIBSPAWN_GUEST_TYPE_PV ? PV_VCPUS_MAX
                                                          : HVM_VCPUS_MAX;

    guest->n_vcpus = MAX(guest->config->vcpus, 1);
    guest->n_vcpus_max = guest->config->max_vcpus ? guest->config->max_vcpus
                                                  : guest->n_vcpus;
    if (guest->n_vcpus > guest->n_vcpus_max || guest->n_vcpus_max > most) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "%" PRIu32 " of at most %" PRIu32
                              " processors is out of range (1 to %" PRIu32 ")",
                              guest->n_vcpus, guest->n_vcpus_max, most);
    }
    return 0;
}

static int
check_free_memory(const struct libspawn__xen_guest *guest,
                  const xc_physinfo_t *host, struct libspawn_err *err)
{
    uint64_t pages = host->free_pages + host->scrub_pages;
    uint64_t free_kib = pages * (XC_PAGE_SIZE / 1024);

    if (host->outstanding_pages <= pages) {
        free_kib = (pages - host->outstanding_pages) * (XC_PAGE_SIZE / 1024);
    }
    if (guest->memory.needed_kib > free_kib) {
        return libspawn__fail(err, LIBSPAWN_ERR_NO_MEMORY,
                              "not enough memory on the host: the guest needs "
                              "%" PRIu64 " MiB, %" PRIu64 " MiB are free",
                              (guest->memory.needed_kib + 1023) / 1024,
                              free_kib / 1024);
    }
    return 0;
}

static int
examine_disks(struct libspawn__xen_guest *guest, struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = guest->config;
    bool is_hvm = guest->type == LIBSPAWN_GUEST_TYPE_HVM;
    size_t i;
    int rc = 0;

    if (config->n_disks == 0) {
        return 0;
    }
    guest->disks = calloc(config->n_disks, sizeof *guest->disks);
    if (!guest->disks) {
        return libspawn__fail_nomem(err);
    }
    for (i = 0; !rc && i < config->n_disks; i++) {
        rc = libspawn__xen_disk_init(&config->disks[i], is_hvm,
                                     &guest->disks[i], err);
    }
    return rc;
}

static int
examine(struct libspawn__xen *xen, struct libspawn__xen_guest *guest,
        struct libspawn_err *err)
{
    xc_physinfo_t host = { 0 };
    int rc;

    libspawn__xen_clear(xen);
    if (xc_physinfo(xen->xc, &host)) {
        return libspawn__xen_fail(xen, err, errno,
                                  "asking the hypervisor about the host");
    }
    guest->grant_version = newest_grants(host.capabilities);
    rc = decide_paging(guest, host.capabilities, err);
    if (!rc) {
        rc = decide_vcpus(guest, err);
    }
    if (!rc) {
        rc = libspawn__xen_memory_plan(guest->config, guest->type, guest->hap,
                                       &guest->memory, err);
    }
    if (!rc) {
        rc = check_free_memory(guest, &host, err);
    }
    return rc ? rc : examine_disks(guest, err);
}

int
libspawn__xen_guest_init(struct libspawn__xen *xen,
                         const struct libspawn_guest_config *config,
                         const char *uuid, struct libspawn__xen_guest *guest_r,
                         struct libspawn_err *err)
{
    struct libspawn__xen_guest guest = { .config = config };
    int rc = check_uuid(uuid, err);

    if (rc) {
        return rc;
    }
    memcpy(guest.uuid, uuid, sizeof guest.uuid);
    guest.type = config->type == LIBSPAWN_GUEST_TYPE_DEFAULT
                     ? LIBSPAWN_GUEST_TYPE_PV
                     : config->type;
    rc = examine(xen, &guest, err);
    if (rc) {
        libspawn__xen_guest_dispose(&guest);
        return rc;
    }
    *guest_r = guest;
    return 0;
}

void
libspawn__xen_guest_dispose(struct libspawn__xen_guest *guest)
{
    free(guest->disks);
    guest->disks = NULL;
}
