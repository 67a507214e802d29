#include "guest/xen/sched.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest/xen/cpuset.h"

/* The host's processors, and a set of them in the two forms it takes. */
struct host_cpus {
    uint32_t n;
    uint32_t *nodes; /* of each */
    bool *flags;
    xc_cpumap_t map;
};

static void
host_cpus_dispose(struct host_cpus *cpus)
{
    free(cpus->nodes);
    free(cpus->flags);
    free(cpus->map);
}

static int
count_cpus(struct libspawn__xen *xen, struct host_cpus *cpus,
           struct libspawn_err *err)
{
    AUTO_FREE xc_cputopo_t *topology = NULL;
    unsigned int n = 0;
    uint32_t i;

    if (xc_cputopoinfo(xen->xc, &n, NULL)) {
        return libspawn__xen_fail(xen, err, errno,
                                  "asking the hypervisor for its processors");
    }
    n = MIN(n, (unsigned int)MAX(xc_get_max_cpus(xen->xc), 0));
    topology = calloc(MAX(n, 1), sizeof *topology);
    cpus->nodes = calloc(MAX(n, 1), sizeof *cpus->nodes);
    cpus->flags = calloc(MAX(n, 1), sizeof *cpus->flags);
    cpus->map = xc_cpumap_alloc(xen->xc);
    if (!topology || !cpus->nodes || !cpus->flags || !cpus->map) {
        return libspawn__fail_nomem(err);
    }
    if (xc_cputopoinfo(xen->xc, &n, topology)) {
        return libspawn__xen_fail(xen, err, errno,
                                  "asking the hypervisor for its processors");
    }
    cpus->n = n;
    for (i = 0; i < n; i++) {
        cpus->nodes[i] = topology[i].node;
    }
    return 0;
}

static int
pin(struct libspawn__xen *xen, uint32_t domid, uint32_t vcpu, const char *set,
    struct host_cpus *cpus, struct libspawn_err *err)
{
    uint32_t i;
    int rc = libspawn__xen_cpuset_parse(set, cpus->nodes, cpus->n, cpus->flags,
                                        err);

    if (rc) {
        return rc;
    }
    for (i = 0; i < cpus->n; i++) {
        if (cpus->flags[i]) {
            xc_cpumap_setcpu((int)i, cpus->map);
        } else {
            xc_cpumap_clearcpu((int)i, cpus->map);
        }
    }
    /* The call writes the effective set back into the map. */
    if (xc_vcpu_setaffinity(xen->xc, domid, (int)vcpu, cpus->map, NULL,
                            XEN_VCPUAFFINITY_HARD)) {
        return libspawn__xen_fail(xen, err, errno,
                                  "pinning processor %" PRIu32 " to '%s'",
                                  vcpu, set);
    }
    return 0;
}

static int
pin_all(struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
        struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = guest->config;
    AUTO(host_cpus_dispose) struct host_cpus cpus = { 0 };
    uint32_t i;
    int rc;

    if (!config->cpus && config->n_vcpu_cpus == 0) {
        return 0;
    }
    rc = count_cpus(xen, &cpus, err);
    for (i = 0; !rc && i < guest->n_vcpus_max; i++) {
        const char *set = i < config->n_vcpu_cpus ? config->vcpu_cpus[i]
                                                  : config->cpus;

        if (set) {
            rc = pin(xen, guest->domid, i, set, &cpus, err);
        }
    }
    return rc;
}

static int
set_weight(struct libspawn__xen *xen, const struct libspawn__xen_guest *guest,
           struct libspawn_err *err)
{
    uint16_t weight = (uint16_t)guest->config->cpu_weight;
    struct xen_domctl_sched_credit credit;
    struct xen_domctl_sched_credit2 credit2;
    int scheduler = 0;
    int r;

    if (weight == 0) {
        return 0;
    }
    r = xc_sched_id(xen->xc, &scheduler);
    if (!r && scheduler == XEN_SCHEDULER_CREDIT2) {
        r = xc_sched_credit2_domain_get(xen->xc, guest->domid, &credit2);
        credit2.weight = weight;
        r = r ? r
              : xc_sched_credit2_domain_set(xen->xc, guest->domid, &credit2);
    } else if (!r && scheduler == XEN_SCHEDULER_CREDIT) {
        r = xc_sched_credit_domain_get(xen->xc, guest->domid, &credit);
        credit.weight = weight;
        r = r ? r : xc_sched_credit_domain_set(xen->xc, guest->domid, &credit);
    } else if (!r) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "the hypervisor's scheduler knows no weights");
    }
    return r ? libspawn__xen_fail(xen, err, errno,
                                  "giving the domain the weight %" PRIu16,
                                  weight)
             : 0;
}

int
libspawn__xen_sched_apply(struct libspawn__xen *xen,
                          const struct libspawn__xen_guest *guest,
                          struct libspawn_err *err)
{
    int rc;

    libspawn__xen_clear(xen);
    rc = pin_all(xen, guest, err);
    return rc ? rc : set_weight(xen, guest, err);
}
