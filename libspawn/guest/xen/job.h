/*
 * What is done, outside the store, for devices that dom0's kernel serves: all
 * of a kind are waited for, then their hotplug scripts are run in rounds.
 *
 * Which devices, and when, is the business of devices.h and close.h.
 */
#ifndef LIBSPAWN_GUEST_XEN_JOB_H
#define LIBSPAWN_GUEST_XEN_JOB_H

#include "guest/xen/device.h"
#include "guest/xen/nic.h"
#include "guest/xen/script.h"
#include "guest/xen/xen.h"

/* Who helps those that must not wait: then what takes one of these returns
 * LIBSPAWN__STEP_PENDING unless nothing has to be waited for, and 'fn' is
 * called once, only from dispatch.  It cannot be stopped, and comes to its end
 * within the limits of backends and scripts. */
struct libspawn__xen_helper {
    struct libspawn__loop *loop;
    struct libspawn__worker *worker; /* runs the scripts */
    libspawn__xen_scripts_fn *fn;
    void *user;
};

/* One device; the strings are owned here. */
struct libspawn__xen_job {
    char *backend; /* KIND/D/ID */
    char *kind;
    char *path; /* of the script; NULL: none */
    /* Names of interfaces; "" when there is none. */
    char vif[LIBSPAWN__XEN_INTERFACE_SIZE];
    char emulated[LIBSPAWN__XEN_INTERFACE_SIZE];
};

struct libspawn__xen_jobs {
    struct libspawn__xen_job *items;
    size_t n;
};

void libspawn__xen_jobs_dispose(struct libspawn__xen_jobs *jobs);
#define AUTO_XEN_JOBS AUTO(libspawn__xen_jobs_dispose)

/* NULL: no memory. */
struct libspawn__xen_job *
libspawn__xen_jobs_add(struct libspawn__xen_jobs *jobs, const char *kind,
                       uint32_t domid, uint32_t devid);

/* Interfaces of a network card. */
void libspawn__xen_job_name_interfaces(struct libspawn__xen_job *job,
                                       uint32_t domid, uint32_t devid,
                                       bool is_emulated);

/* A card of two interfaces has its script run for each, in two rounds. */
struct libspawn__xen_round {
    const char *action; /* NULL: behind the last one */
    const char *argument;
    bool is_emulated;
};

struct libspawn__xen_procedure {
    /* Of all backends, before the first round. */
    enum libspawn__xen_device_state state;
    bool goes_on; /* after a failure; the first is returned */
    const struct libspawn__xen_round *rounds;
};

/* Takes the jobs.  'by' is NULL where all is to be waited for. */
int libspawn__xen_jobs_run(struct libspawn__xen *xen,
                           struct libspawn__xen_jobs *jobs,
                           const struct libspawn__xen_procedure *procedure,
                           const struct libspawn__xen_helper *by,
                           struct libspawn_err *err);

#endif
