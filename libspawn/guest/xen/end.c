#include "guest/xen/end.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "dm/end.h"
#include "guest/confine.h"
#include "guest/xen/devices.h"
#include "guest/xen/domain.h"
#include "guest/xen/files.h"
#include "guest/xen/nodes.h"
#include "store/paths.h"

enum {
    ARGUMENTS_MAX = 1024 * 1024
};

/* ---- The device model of others ---------------------------------------- */

/* Whether the arguments of a process contain "-xen-domid" "D". */
static bool
serves_domain(pid_t pid, uint32_t domid)
{
    static const char option[] = "-xen-domid";
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/cmdline", (int)pid);
    AUTO_FREE char *wanted = libspawn__str_format("%" PRIu32, domid);
    AUTO_FREE char *arguments = NULL;
    const char *at;
    const char *end;
    size_t size;

    if (!path || !wanted ||
        libspawn__file_read(path, ARGUMENTS_MAX, &arguments, &size, NULL)) {
        return false;
    }
    end = arguments + size;
    for (at = arguments; at < end; at += strlen(at) + 1) {
        const char *value = at + sizeof option;

        if (strcmp(at, option) == 0 && value < end) {
            return strcmp(value, wanted) == 0;
        }
    }
    return false;
}

/* The reference pins the process before anything is looked at, so that what
 * was looked at is what is signalled. */
static int
end_stock_device_model(struct libspawn__xen *xen, uint32_t domid, int grace_ms,
                       struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    AUTO_FREE char *path = libspawn__path_new(LIBSPAWN__PATH_DM_PID, domid);
    AUTO_FREE char *text = NULL;
    uint64_t pid;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_read(xen->store, NULL, path, &text, NULL, err);
    if (rc) {
        return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
    }
    if (libspawn__str_to_u64(text, 1, INT32_MAX, &pid, NULL) ||
        libspawn__pidref_from_pid((pid_t)pid, &ref, NULL) ||
        !serves_domain((pid_t)pid, domid)) {
        return 0; /* gone, or somebody else's number now */
    }
    return libspawn__dm_end_process(&ref, grace_ms, err);
}

int
libspawn__xen_end_device_model(struct libspawn__xen *xen, uint32_t domid,
                               int grace_ms, struct libspawn_err *err)
{
    AUTO_FREE char *record = libspawn__path_new(LIBSPAWN__PATH_RECORD, domid);
    int rc;

    if (!record) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__dm_end(xen->store, record, grace_ms, err);
    return rc ? rc : end_stock_device_model(xen, domid, grace_ms, err);
}

/* ---- The guest --------------------------------------------------------- */

static bool
has_nodes(struct libspawn__xen *xen, uint32_t domid)
{
    static const enum libspawn__path roots[] = { LIBSPAWN__PATH_DOMAIN,
                                                 LIBSPAWN__PATH_LIBXL };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(roots); i++) {
        AUTO_FREE char *path = libspawn__path_new(roots[i], domid);
        AUTO_FREE char *value = NULL;

        if (path && !libspawn__store_read(xen->store, NULL, path, &value, NULL,
                                          NULL)) {
            return true;
        }
    }
    return false;
}

/* A domain that somebody else has destroyed may be there for the pause and
 * gone a moment later. */
static int
destroy_domain(struct libspawn__xen *xen, uint32_t domid,
               struct libspawn_err *err)
{
    int rc = libspawn__xen_domain_destroy(xen, domid, err);

    return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}

int
libspawn__xen_end_guest(struct libspawn__xen *xen, uint32_t domid,
                        int grace_ms, struct libspawn_err *err)
{
    int rc = libspawn__xen_domain_pause(xen, domid, err);
    bool has_domain = rc != LIBSPAWN_ERR_NOT_FOUND;
    int one;

    if (!has_domain) {
        if (!has_nodes(xen, domid)) {
            return rc;
        }
        rc = 0;
    }
    if (!rc) {
        rc = libspawn__xen_end_device_model(xen, domid, grace_ms, err);
    }
    if (!rc) {
        rc = libspawn__confine_release_domid(xen->store, domid, err);
    }
    if (rc) {
        return rc;
    }
    rc = libspawn__xen_devices_close(xen, domid, err);
    if (has_domain) {
        one = destroy_domain(xen, domid, rc ? NULL : err);
        rc = rc ? rc : one;
    }
    libspawn__xen_files_remove(domid);
    one = libspawn__xen_nodes_remove(xen, domid, rc ? NULL : err);
    return rc ? rc : one;
}
