#include "guest/qemu/qemu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "dm/end.h"
#include "guest/confine.h"
#include "guest/events.h"
#include "guest/host.h"
#include "guest/intent.h"
#include "guest/libxl_json.h"
#include "guest/monitor.h"
#include "guest/names.h"
#include "guest/pci.h"
#include "guest/qemu/list.h"
#include "guest/removal.h"
#include "guest/serials.h"
#include "guest/supervised.h"
#include "proc/ctx.h"
#include "proc/record.h"
#include "store/paths.h"
#include "wire/qmp.h"

/* ---- Host -------------------------------------------------------------- */

static int
open_qemu(struct libspawn_host *host, struct libspawn_err *err)
{
    AUTO_FREE char *address =
        libspawn__str_format("dir:%s/store", host->state_dir);

    if (!address) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__store_open(address, &host->store, err);
}

static void
close_qemu(struct libspawn_host *host)
{
    (void)host;
}

/* ---- Removing ---------------------------------------------------------- */

static int
remove_node(struct libspawn_host *host, char *path, struct libspawn_err *err)
{
    int rc = path ? libspawn__store_discard(host->store, NULL, path, err)
                  : libspawn__fail_nomem(err);

    free(path);
    return rc;
}

/* The name goes last, so that whatever is left when this is interrupted can
 * still be found, and destroyed, by it. */
int
libspawn__qemu_remove(struct libspawn_host *host, uint32_t domid,
                      const char *uuid, struct libspawn_err *err)
{
    AUTO_FREE char *dir = libspawn__qemu_guest_dir(host, domid);
    int rc;

    if (!dir) {
        return libspawn__fail_nomem(err);
    }
    libspawn__serials_remove(host->store, domid);
    rc = libspawn__confine_release(host, domid, uuid, err);
    if (!rc && uuid) {
        libspawn__pci_release_guest(host, uuid);
    }
    if (!rc) {
        rc = libspawn__dir_remove_tree(dir, err);
    }
    if (!rc && uuid) {
        rc = remove_node(host, libspawn__path_vm(uuid), err);
    }
    if (!rc) {
        rc = remove_node(host, libspawn__path_new(LIBSPAWN__PATH_LIBXL, domid),
                         err);
    }
    if (!rc) {
        rc = remove_node(
            host, libspawn__path_new(LIBSPAWN__PATH_DOMAIN, domid), err);
    }
    return rc;
}

static int
end_device_model(struct libspawn_host *host, uint32_t domid, int grace_ms,
                 struct libspawn_err *err)
{
    AUTO_FREE char *record = libspawn__path_new(LIBSPAWN__PATH_RECORD, domid);

    return record ? libspawn__dm_end(host->store, record, grace_ms, err)
                  : libspawn__fail_nomem(err);
}

/* Its watcher ends the device model as soon as the creator is gone; here that
 * is only made sure of. */
static int
abandon(struct libspawn_host *host, const struct libspawn__intent *intent,
        struct libspawn_err *err)
{
    int rc;

    if (!intent->domid) {
        return 0;
    }
    rc = end_device_model(host, intent->domid, 0, err);
    return rc ? rc
              : libspawn__qemu_remove(host, intent->domid, intent->uuid, err);
}

/* A creation that is under way is its creator's to end. */
static int
check_not_being_created(struct libspawn_host *host, const char *uuid,
                        struct libspawn_err *err)
{
    AUTO_INTENT struct libspawn__intent intent = { 0 };

    if (uuid && !libspawn__intent_read(host, LIBSPAWN__INTENT_CREATE, uuid,
                                       &intent, NULL)) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "guest '%s' is being created by process %d",
                              intent.name, (int)intent.owner.pid);
    }
    return 0;
}

/* Somebody else may have destroyed it while its lock was waited for. */
static int
check_is_there(struct libspawn_host *host, uint32_t domid,
               struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__path_new(LIBSPAWN__PATH_DOMAIN, domid);
    AUTO_FREE char *value = NULL;
    int rc =
        path ? libspawn__store_read(host->store, NULL, path, &value, NULL, err)
             : libspawn__fail_nomem(err);

    return rc == LIBSPAWN_ERR_NOT_FOUND
               ? libspawn__fail(err, rc, "there is no guest %u any more",
                                (unsigned int)domid)
               : rc;
}

/* 'uuid_r' may be NULL then. */
static int
check_can_destroy(struct libspawn_host *host, uint32_t domid, char **uuid_r,
                  struct libspawn_err *err)
{
    int rc = check_is_there(host, domid, err);

    if (!rc) {
        rc = libspawn__name_read_uuid(host->store, NULL, domid, uuid_r, err);
    }
    return rc ? rc : check_not_being_created(host, *uuid_r, err);
}

static int
destroy(struct libspawn_host *host, uint32_t domid, struct libspawn_err *err)
{
    AUTO_FREE char *uuid = NULL;
    int rc = check_can_destroy(host, domid, &uuid, err);

    if (!rc) {
        rc = end_device_model(host, domid, LIBSPAWN__DM_STOP_MS, err);
    }
    return rc ? rc : libspawn__qemu_remove(host, domid, uuid, err);
}

/* ---- The same on the loop ---------------------------------------------- */

struct destroying {
    struct libspawn_host *host;
    uint32_t domid;
    char *uuid;
    struct libspawn__dm_ending model;
    libspawn__destroyed_fn *fn;
    void *user;
};

static void
destroying_free(struct destroying *destroying)
{
    free(destroying->uuid);
    free(destroying);
}

static void
on_model_ended(void *user, const struct libspawn_err *err)
{
    struct destroying *destroying = user;
    libspawn__destroyed_fn *fn = destroying->fn;
    void *its_user = destroying->user;
    struct libspawn_err late;
    int rc = err ? err->code
                 : libspawn__qemu_remove(destroying->host, destroying->domid,
                                         destroying->uuid, &late);

    destroying_free(destroying);
    fn(its_user, err ? err : (rc ? &late : NULL));
}

static int
end_on_loop(struct destroying *destroying, struct libspawn_err *err)
{
    AUTO_FREE char *record =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, destroying->domid);
    struct libspawn_host *host = destroying->host;
    int rc = record ? check_can_destroy(host, destroying->domid,
                                        &destroying->uuid, err)
                    : libspawn__fail_nomem(err);

    if (rc) {
        return rc;
    }
    libspawn__dm_ending_init(&destroying->model, host->ctx->loop,
                             on_model_ended, destroying);
    rc = libspawn__dm_ending_start(&destroying->model, host->store, record,
                                   LIBSPAWN__DM_STOP_MS, err);
    return rc ? rc : LIBSPAWN__STEP_PENDING;
}

static int
start_destroy(struct libspawn_host *host, uint32_t domid,
              libspawn__destroyed_fn *fn, void *user, struct libspawn_err *err)
{
    struct destroying *destroying = calloc(1, sizeof *destroying);
    int rc;

    if (!destroying) {
        return libspawn__fail_nomem(err);
    }
    destroying->host = host;
    destroying->domid = domid;
    destroying->fn = fn;
    destroying->user = user;
    rc = end_on_loop(destroying, err);
    if (rc < 0) {
        destroying_free(destroying);
    }
    return rc;
}

/* A guest that powered off takes its device model with it, which then exits
 * with status 0 (on_poweroff = "preserve" keeps it running, see args.c).
 * One that ended in any other way stays, for somebody to look at. */
static bool
has_powered_off(struct libspawn_host *host, uint32_t domid)
{
    AUTO_FREE char *path = libspawn__path_new(LIBSPAWN__PATH_RECORD, domid);
    struct libspawn__record record;

    return path && !libspawn__record_read(host->store, path, &record, NULL) &&
           record.state == LIBSPAWN__RECORD_EXITED && record.is_known &&
           record.wait_status == 0;
}

/* Whoever has its lock, or created it and is still at it, will see for
 * himself. */
static int
remove_powered_off(struct libspawn_host *host, uint32_t domid,
                   struct libspawn_err *err)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    AUTO_EVENT_SUBJECT struct libspawn__event_subject subject = { 0 };
    int rc = libspawn__host_try_guest(host, domid, &lock, err);

    if (!rc && has_powered_off(host, domid)) {
        libspawn__event_subject_read(host, domid, &subject);
        libspawn__removal_begin(host, &subject);
        rc = destroy(host, domid, err);
        if (!rc) {
            libspawn__event_note_found_off(host, &subject);
        }
        libspawn__removal_end(host, &subject, !rc);
    }
    libspawn__host_unlock(host, &lock);
    return rc == LIBSPAWN_ERR_BUSY ? 0 : rc;
}

/* Its directory goes first, its name last; so whoever removed it has died. */
static bool
is_half_removed(struct libspawn_host *host, uint32_t domid)
{
    AUTO_FREE char *dir = libspawn__qemu_guest_dir(host, domid);

    return dir && access(dir, F_OK) < 0 && errno == ENOENT;
}

/* Whoever has its lock is still at it. */
static int
finish_removal(struct libspawn_host *host, uint32_t domid,
               struct libspawn_err *err)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    int rc = libspawn__host_try_guest(host, domid, &lock, err);

    if (!rc && is_half_removed(host, domid)) {
        rc = libspawn__guest_destroy_locked(host, domid, err);
    }
    libspawn__host_unlock(host, &lock);
    return rc == LIBSPAWN_ERR_BUSY || rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}

static int
sweep_guest(struct libspawn_host *host, uint32_t domid,
            struct libspawn_err *err)
{
    if (is_half_removed(host, domid)) {
        return finish_removal(host, domid, err);
    }
    return has_powered_off(host, domid) &&
                   !libspawn__supervised_is_domain(host, domid)
               ? remove_powered_off(host, domid, err)
               : 0;
}

static int
sweep(struct libspawn_host *host, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv domids = { 0 };
    int rc = libspawn__store_list(host->store, NULL, LIBSPAWN__PATH_DOMAINS,
                                  &domids, err);
    size_t i;

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return 0;
    }
    for (i = 0; !rc && i < domids.n_items; i++) {
        uint64_t domid;

        if (!libspawn__str_to_u64(domids.items[i], 1, UINT32_MAX - 1, &domid,
                                  NULL)) {
            rc = sweep_guest(host, (uint32_t)domid, err);
        }
    }
    return rc;
}

/* ---- Running ----------------------------------------------------------- */

static int
run_command(struct libspawn_host *host, uint32_t domid, const char *command,
            struct libspawn_err *err)
{
    return libspawn__monitor_run(host, domid, command, NULL, -1, NULL, err);
}

static int
pause_guest(struct libspawn_host *host, uint32_t domid,
            struct libspawn_err *err)
{
    return run_command(host, domid, "stop", err);
}

static int
unpause_guest(struct libspawn_host *host, uint32_t domid,
              struct libspawn_err *err)
{
    return run_command(host, domid, "cont", err);
}

static int
shut_down(struct libspawn_host *host, uint32_t domid, bool reboot,
          struct libspawn_err *err)
{
    return run_command(host, domid,
                       reboot ? "system_reset" : "system_powerdown", err);
}

static int
open_console(struct libspawn_host *host, uint32_t domid, const char *kind,
             unsigned int number, int *fd_r, struct libspawn_err *err)
{
    return kind && strcmp(kind, "serial") != 0
               ? libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                                "without Xen a guest has serial consoles only")
               : libspawn__serials_open(host, domid, number, fd_r, err);
}

static int
find_config(struct libspawn_host *host, uint32_t domid, char **path_r,
            struct libspawn_err *err)
{
    *path_r = libspawn__qemu_guest_file(host, domid, "config.json");
    return *path_r ? 0 : libspawn__fail_nomem(err);
}

static int
read_libxl_json(struct libspawn_host *host, uint32_t domid, char **json_r,
                struct libspawn_err *err)
{
    struct libspawn_guest_config config;
    int rc;

    libspawn_guest_config_init(&config);
    rc = libspawn_guest_get_config(host, domid, &config, err);
    if (!rc) {
        rc = libspawn__guest_config_to_libxl_json(&config, json_r, err);
    }
    libspawn_guest_config_dispose(&config);
    return rc;
}

static char *
work_dir(struct libspawn_host *host, uint32_t domid)
{
    return libspawn__qemu_guest_dir(host, domid);
}

static char *
qmp_path(struct libspawn_host *host, uint32_t domid)
{
    return libspawn__qemu_guest_file(host, domid, "qmp");
}

const struct libspawn__hypervisor libspawn__hypervisor_qemu = {
    .name = "qemu",
    .version = LIBSPAWN_VERSION,
    .open = open_qemu,
    .close = close_qemu,
    .steps = libspawn__qemu_steps,
    .steps_again = libspawn__qemu_steps_again,
    .abandon = abandon,
    .sweep = sweep,
    .list = libspawn__qemu_list,
    .look = libspawn__qemu_look,
    .destroy = destroy,
    .start_destroy = start_destroy,
    .pause = pause_guest,
    .unpause = unpause_guest,
    .shutdown = shut_down,
    .open_console = open_console,
    .find_config = find_config,
    .read_libxl_json = read_libxl_json,
    .qmp_path = qmp_path,
    .work_dir = work_dir,
};
