/*
 * Sources: the stock hotplug scripts.
 */
#include "guest/xen/devices.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest/xen/backend.h"

/* A script that comes before the kernel's backend gives up. */
static int
add_job(struct libspawn__xen *xen, struct libspawn__xen_jobs *jobs,
        const char *kind, uint32_t domid, uint32_t devid,
        struct libspawn__xen_job **job_r, struct libspawn_err *err)
{
    struct libspawn__xen_job *job =
        libspawn__xen_jobs_add(jobs, kind, domid, devid);
    AUTO_FREE char *dir = libspawn__str_format(
        LIBSPAWN__XEN_BACKENDS "/%s/%" PRIu32 "/%" PRIu32, kind, domid, devid);

    if (!job || !dir) {
        return libspawn__fail_nomem(err);
    }
    job->path = libspawn__xen_read_node(xen, dir, "script");
    *job_r = job;
    return 0;
}

int
libspawn__xen_devices_connect_disks(struct libspawn__xen *xen,
                                    const struct libspawn__xen_guest *guest,
                                    const struct libspawn__xen_helper *by,
                                    struct libspawn_err *err)
{
    static const struct libspawn__xen_round rounds[] = {
        { "add", NULL, false },
        { NULL, NULL, false },
    };
    static const struct libspawn__xen_procedure procedure = {
        .state = LIBSPAWN__XEN_DEVICE_WAITING, .rounds = rounds
    };
    AUTO_XEN_JOBS struct libspawn__xen_jobs jobs = { 0 };
    struct libspawn__xen_job *job;
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < guest->config->n_disks; i++) {
        if (guest->disks[i].needs_script) {
            rc = add_job(xen, &jobs, "vbd", guest->domid,
                         guest->disks[i].vdev.xen_id, &job, err);
        }
    }
    return rc ? rc : libspawn__xen_jobs_run(xen, &jobs, &procedure, by, err);
}

int
libspawn__xen_devices_connect_nics(struct libspawn__xen *xen,
                                   const struct libspawn__xen_guest *guest,
                                   const struct libspawn__xen_helper *by,
                                   struct libspawn_err *err)
{
    static const struct libspawn__xen_round rounds[] = {
        { "online", "type_if=vif", false },
        { "add", "type_if=tap", true },
        { NULL, NULL, false },
    };
    static const struct libspawn__xen_procedure procedure = {
        .state = LIBSPAWN__XEN_DEVICE_WAITING, .rounds = rounds
    };
    AUTO_XEN_JOBS struct libspawn__xen_jobs jobs = { 0 };
    bool is_hvm = guest->type == LIBSPAWN_GUEST_TYPE_HVM;
    struct libspawn__xen_job *job;
    uint32_t i;
    int rc = 0;

    for (i = 0; !rc && i < guest->config->n_nics; i++) {
        const struct libspawn_nic *nic = &guest->config->nics[i];

        if (!libspawn__xen_nic_has_backend(nic)) {
            continue;
        }
        rc = add_job(xen, &jobs, "vif", guest->domid, i, &job, err);
        if (!rc) {
            libspawn__xen_job_name_interfaces(
                job, guest->domid, i,
                libspawn__xen_nic_is_emulated(nic, is_hvm));
        }
    }
    return rc ? rc : libspawn__xen_jobs_run(xen, &jobs, &procedure, by, err);
}
