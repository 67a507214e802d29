#include "guest/xen/hypervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <xen/hvm/params.h>

#include "base/fd.h"
#include "base/pidref.h"
#include "dm/dm.h"
#include "guest/create.h"
#include "guest/events.h"
#include "guest/host.h"
#include "guest/intent.h"
#include "guest/look.h"
#include "guest/monitor.h"
#include "guest/removal.h"
#include "guest/serials.h"
#include "guest/supervised.h"
#include "guest/xen/console.h"
#include "guest/xen/domain.h"
#include "guest/xen/end.h"
#include "guest/xen/files.h"
#include "guest/xen/info.h"
#include "store/paths.h"
#include "store/provider.h"

enum {
    CONFIG_MAX_SIZE = 1024 * 1024
};

/* ---- Host -------------------------------------------------------------- */

static int
open_xen(struct libspawn_host *host, struct libspawn_err *err)
{
    struct libspawn__xen *xen;
    int rc;

    libspawn__store_register(&libspawn__store_xenstore_class);
    rc = libspawn__store_open("xenstore:", &host->store, err);
    if (!rc) {
        rc = libspawn__xen_open(host->store, &xen, err);
    }
    if (!rc) {
        host->impl = xen;
    }
    return rc;
}

static void
close_xen(struct libspawn_host *host)
{
    libspawn__xen_close(host->impl);
    host->impl = NULL;
}

/* ---- Ending ------------------------------------------------------------ */

/* The creator may have died between the making of the domain and the note of
 * its number; the domain then is known by its uuid alone. */
static int
abandon(struct libspawn_host *host, const struct libspawn__intent *intent,
        struct libspawn_err *err)
{
    uint32_t domid = intent->domid;
    int rc = 0;

    if (!domid) {
        rc = libspawn__xen_info_find_uuid(host->impl, intent->uuid, &domid,
                                          err);
    }
    if (!rc) {
        rc = libspawn__xen_end_guest(host->impl, domid, 0, err);
    }
    return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}

/* A creation that is under way is its creator's to end, and so is the guest
 * whose place it takes. */
static int
check_not_being_created(struct libspawn_host *host, uint32_t domid,
                        struct libspawn_err *err)
{
    AUTO_INTENT struct libspawn__intent intent = { 0 };
    char uuid[LIBSPAWN__XEN_UUID_SIZE];
    xc_domaininfo_t info;

    if (libspawn__xen_info_get(host->impl, domid, &info, NULL)) {
        return 0; /* only nodes are left of it */
    }
    libspawn__xen_info_uuid(&info, uuid);
    if (!libspawn__intent_read(host, LIBSPAWN__INTENT_CREATE, uuid, &intent,
                               NULL) &&
        intent.owner.pid != getpid()) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "guest '%s' is being created by process %d",
                              intent.name, (int)intent.owner.pid);
    }
    return 0;
}

static int
destroy(struct libspawn_host *host, uint32_t domid, struct libspawn_err *err)
{
    int rc = check_not_being_created(host, domid, err);

    return rc ? rc
              : libspawn__xen_end_guest(host->impl, domid,
                                        LIBSPAWN__DM_STOP_MS, err);
}

static int
start_destroy(struct libspawn_host *host, uint32_t domid,
              libspawn__destroyed_fn *fn, void *user, struct libspawn_err *err)
{
    int rc;

    if (!host->probe_worker) {
        return destroy(host, domid, err);
    }
    rc = check_not_being_created(host, domid, err);
    return rc ? rc
              : libspawn__xen_start_end_guest(
                    host, domid, LIBSPAWN__DM_STOP_MS, fn, user, err);
}

/* ---- Listing ----------------------------------------------------------- */

static void
look_at_device_model(struct libspawn_host *host,
                     struct libspawn_guest_info *info)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, info->domid);
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn__record record;

    if (info->domid == 0 || !path ||
        libspawn__record_read(host->store, path, &record, NULL) ||
        libspawn__pidref_open(&record.child, &ref, NULL) !=
            LIBSPAWN_ERR_GONE) {
        return; /* dom0, not ours, alive, or not to be found out */
    }
    libspawn__guest_info_take_end(info, &record);
}

static int
list(struct libspawn_host *host, struct libspawn_guest_info **list_r,
     size_t *n_r, struct libspawn_err *err)
{
    int rc = libspawn__xen_info_list(host->impl, list_r, n_r, err);
    size_t i;

    for (i = 0; !rc && i < *n_r; i++) {
        look_at_device_model(host, &(*list_r)[i]);
    }
    return rc;
}

/* ---- Running ----------------------------------------------------------- */

static int
release_cpus(struct libspawn_host *host, uint32_t domid,
             struct libspawn_err *err)
{
    return libspawn__xen_domain_unpause(host->impl, domid, err);
}

static int
pause_guest(struct libspawn_host *host, uint32_t domid,
            struct libspawn_err *err)
{
    return libspawn__xen_domain_pause(host->impl, domid, err);
}

/* A device model that was told to stop has to go on too; one that is gone
 * must not keep the guest from running into it. */
static int
unpause_guest(struct libspawn_host *host, uint32_t domid,
              struct libspawn_err *err)
{
    (void)libspawn__monitor_run(host, domid, "cont", NULL, -1, NULL, NULL);
    return libspawn__xen_domain_unpause(host->impl, domid, err);
}

/* Whether something in the guest listens to its node "control/shutdown": a PV
 * guest's kernel always does, that of an HVM guest once it has told the
 * hypervisor how to reach it. */
static bool
has_drivers(struct libspawn__xen *xen, uint32_t domid)
{
    xc_domaininfo_t info;
    uint64_t callback = 0;

    if (libspawn__xen_info_get(xen, domid, &info, NULL)) {
        return false;
    }
    return !(info.flags & XEN_DOMINF_hvm_guest) ||
           (xc_hvm_param_get(xen->xc, domid, HVM_PARAM_CALLBACK_IRQ,
                             &callback) == 0 &&
            callback != 0);
}

static int
shut_down(struct libspawn_host *host, uint32_t domid, bool reboot,
          struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_DOMAIN_SHUTDOWN, domid);

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    if (has_drivers(host->impl, domid)) {
        return libspawn__store_puts(host->store, NULL, path,
                                    reboot ? "reboot" : "poweroff", err);
    }
    if (reboot) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "the guest has no Xen drivers, so it cannot be "
                              "asked to reboot");
    }
    return libspawn__xen_domain_press_power(host->impl, domid, err);
}

static int
open_console(struct libspawn_host *host, uint32_t domid, const char *kind,
             unsigned int number, int *fd_r, struct libspawn_err *err)
{
    AUTO_FREE char *address = NULL;

    if (libspawn__xen_console_is_serial(host->impl, domid, kind) &&
        !libspawn__serials_find(host->store, domid, number, &address, NULL)) {
        return libspawn__serials_open(host, domid, number, fd_r, err);
    }
    return libspawn__xen_console_open(host->impl, domid, kind, number, fd_r,
                                      err);
}

/* ---- Files ------------------------------------------------------------- */

static int
find_userdata(struct libspawn_host *host, uint32_t domid,
              char *(*name)(uint32_t domid, const char *uuid), char **path_r,
              struct libspawn_err *err)
{
    char uuid[LIBSPAWN__XEN_UUID_SIZE];
    xc_domaininfo_t info;
    char *path;
    int rc = libspawn__xen_info_get(host->impl, domid, &info, err);

    if (rc) {
        return rc;
    }
    libspawn__xen_info_uuid(&info, uuid);
    path = name(domid, uuid);
    if (!path) {
        return libspawn__fail_nomem(err);
    }
    *path_r = path;
    return 0;
}

static int
find_config(struct libspawn_host *host, uint32_t domid, char **path_r,
            struct libspawn_err *err)
{
    return find_userdata(host, domid, libspawn__xen_files_config_path, path_r,
                         err);
}

static int
read_libxl_json(struct libspawn_host *host, uint32_t domid, char **json_r,
                struct libspawn_err *err)
{
    AUTO_FREE char *path = NULL;
    int rc = find_userdata(host, domid, libspawn__xen_files_stock_config_path,
                           &path, err);

    return rc ? rc
              : libspawn__file_read(path, CONFIG_MAX_SIZE, json_r, NULL, err);
}

/* A guest that the stock tools made has theirs only. */
static char *
qmp_path(struct libspawn_host *host, uint32_t domid)
{
    AUTO_FREE char *own = libspawn__xen_files_qmp_path(domid);

    (void)host;
    if (own && access(own, F_OK) < 0) {
        return libspawn__str_format(
            LIBSPAWN__XEN_RUN_DIR "/qmp-libxl-%" PRIu32, domid);
    }
    return TAKE_PTR(own);
}

/* ---- Ends that nobody asked for ---------------------------------------- */

static enum libspawn__guest_end
end_of(const xc_domaininfo_t *domain)
{
    static const enum libspawn__guest_end ends[] = {
        [SHUTDOWN_poweroff] = LIBSPAWN__END_POWEROFF,
        [SHUTDOWN_reboot] = LIBSPAWN__END_REBOOT,
        [SHUTDOWN_suspend] = LIBSPAWN__END_NONE, /* for who saves it */
        [SHUTDOWN_crash] = LIBSPAWN__END_CRASH,
        [SHUTDOWN_watchdog] = LIBSPAWN__END_WATCHDOG,
    };
    unsigned int reason = (domain->flags >> XEN_DOMINF_shutdownshift) &
                          XEN_DOMINF_shutdownmask;

    return !(domain->flags & XEN_DOMINF_shutdown) ? LIBSPAWN__END_NONE
           : reason < ARRAY_SIZE(ends)            ? ends[reason]
                                                  : LIBSPAWN__END_CRASH;
}

/* Whether a domain is a guest of ours, powered off by itself, of which the
 * configuration does not say that it is to be kept. */
static bool
is_done(struct libspawn_host *host, const xc_domaininfo_t *domain)
{
    AUTO_FREE char *record =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, domain->domain);
    AUTO_FREE char *value = NULL;
    struct libspawn_guest_config config;
    bool is_kept;

    if (end_of(domain) != LIBSPAWN__END_POWEROFF || !record ||
        libspawn__store_read(host->store, NULL, record, &value, NULL, NULL)) {
        return false;
    }
    libspawn_guest_config_init(&config);
    is_kept = libspawn_guest_get_config(host, domain->domain, &config, NULL) ||
              (config.on_poweroff != LIBSPAWN_ACTION_DEFAULT &&
               config.on_poweroff != LIBSPAWN_ACTION_DESTROY);
    libspawn_guest_config_dispose(&config);
    return !is_kept;
}

/* Whoever has its lock will see for himself. */
static int
remove_done(struct libspawn_host *host, const xc_domaininfo_t *domain,
            struct libspawn_err *err)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    AUTO_EVENT_SUBJECT struct libspawn__event_subject subject = { 0 };
    int rc = libspawn__host_try_guest(host, domain->domain, &lock, err);

    if (!rc) {
        libspawn__event_subject_read(host, domain->domain, &subject);
        libspawn__removal_begin(host, &subject);
        rc = destroy(host, domain->domain, err);
        /* Without a name somebody else has removed it. */
        if (!rc && subject.name) {
            libspawn__event_note_found_off(host, &subject);
        }
        libspawn__removal_end(host, &subject, !rc && subject.name);
    }
    libspawn__host_unlock(host, &lock);
    return rc == LIBSPAWN_ERR_BUSY ? 0 : rc;
}

static int
sweep(struct libspawn_host *host, struct libspawn_err *err)
{
    AUTO_FREE xc_domaininfo_t *domains = NULL;
    size_t n = 0;
    size_t i;
    int rc = libspawn__xen_info_fetch(host->impl, &domains, &n, err);

    for (i = 0; !rc && i < n; i++) {
        if (is_done(host, &domains[i]) &&
            !libspawn__supervised_is_domain(host, domains[i].domain)) {
            rc = remove_done(host, &domains[i], err);
        }
    }
    return rc;
}

static int
find_end(struct libspawn_host *host, uint32_t domid,
         enum libspawn__guest_end *end_r, struct libspawn_err *err)
{
    xc_domaininfo_t info;
    int rc = libspawn__xen_info_get(host->impl, domid, &info, err);

    if (rc) {
        return rc;
    }
    if (info.flags & XEN_DOMINF_dying) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "domain %u is being destroyed",
                              (unsigned int)domid);
    }
    *end_r = end_of(&info);
    return 0;
}

const struct libspawn__hypervisor libspawn__hypervisor_xen = {
    .name = "xen",
    .version = LIBSPAWN_VERSION,
    .open = open_xen,
    .close = close_xen,
    .steps = libspawn__xen_steps,
    .release_cpus = release_cpus,
    .abandon = abandon,
    .sweep = sweep,
    .list = list,
    .destroy = destroy,
    .start_destroy = start_destroy,
    .pause = pause_guest,
    .unpause = unpause_guest,
    .shutdown = shut_down,
    .open_console = open_console,
    .find_end = find_end,
    .find_config = find_config,
    .read_libxl_json = read_libxl_json,
    .qmp_path = qmp_path,
};
