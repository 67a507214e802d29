#include "guest/qemu/list.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/qemu/qemu.h"
#include "proc/record.h"
#include "proc/status.h"
#include "store/paths.h"
#include "wire/qmp.h"

enum {
    STATUS_TIMEOUT_MS = 200
};

/* A node's value, or "" when it is missing; NULL without memory. */
static char *
read_node(struct libspawn_host *host, uint32_t domid, enum libspawn__path node)
{
    AUTO_FREE char *path = libspawn__path_new(node, domid);
    char *value = NULL;

    if (!path ||
        libspawn__store_read(host->store, NULL, path, &value, NULL, NULL)) {
        return path ? strdup("") : NULL;
    }
    return value;
}

static uint64_t
read_number(struct libspawn_host *host, uint32_t domid,
            enum libspawn__path node)
{
    AUTO_FREE char *text = read_node(host, domid, node);
    uint64_t number = 0;

    libspawn__str_to_u64(text, 0, UINT64_MAX, &number, NULL);
    return number;
}

/* ---- State ------------------------------------------------------------- */

static const struct {
    const char *status; /* of query-status, qapi/run-state.json */
    unsigned int state;
} states[] = {
    { "running", LIBSPAWN_GUEST_RUNNING },
    { "prelaunch", LIBSPAWN_GUEST_PAUSED },
    { "paused", LIBSPAWN_GUEST_PAUSED },
    { "suspended", LIBSPAWN_GUEST_BLOCKED },
    { "io-error", LIBSPAWN_GUEST_PAUSED },
    { "shutdown", LIBSPAWN_GUEST_SHUTDOWN },
    { "guest-panicked", LIBSPAWN_GUEST_CRASHED },
    { "internal-error", LIBSPAWN_GUEST_CRASHED },
};

static unsigned int
query_state(struct libspawn_host *host, uint32_t domid)
{
    AUTO_FREE char *path = libspawn__qemu_guest_file(host, domid, "qmp");
    AUTO_JSON struct libspawn__json *result = NULL;
    struct libspawn__qmp_session *session;
    const char *status = NULL;
    size_t i;

    if (!path ||
        libspawn__qmp_session_open(path, STATUS_TIMEOUT_MS, &session, NULL)) {
        return 0;
    }
    if (!libspawn__qmp_session_run(session, "query-status", NULL, -1, &result,
                                   NULL)) {
        status =
            libspawn__json_string(libspawn__json_member(result, "status"));
    }
    libspawn__qmp_session_close(session);
    for (i = 0; status && i < ARRAY_SIZE(states); i++) {
        if (!strcmp(states[i].status, status)) {
            return states[i].state;
        }
    }
    return 0;
}

/* utime and stime of QEMU: fields 14 and 15 of proc(5)'s stat. */
static int64_t
read_cpu_time_ms(pid_t pid)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/stat", (int)pid);
    AUTO_FREE char *text = NULL;
    uint64_t user = 0;
    uint64_t system = 0;
    const char *p;

    if (!path || libspawn__file_read(path, 4096, &text, NULL, NULL)) {
        return 0;
    }
    p = strrchr(text, ')');
    if (!p || sscanf(p,
                     ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64
                     " %" SCNu64,
                     &user, &system) != 2) {
        return 0;
    }
    return (int64_t)((user + system) * 1000) / sysconf(_SC_CLK_TCK);
}

/* How a device model that is gone ended, if that is known. */
static void
describe_end(const struct libspawn__record *record,
             struct libspawn_guest_info *info)
{
    char text[LIBSPAWN__STATUS_TEXT_SIZE];

    info->state = LIBSPAWN_GUEST_DM_DEAD;
    libspawn__status_describe(record->state == LIBSPAWN__RECORD_EXITED &&
                                  record->is_known,
                              record->wait_status, text);
    info->dm_end = strdup(text);
}

static void
look_at_device_model(struct libspawn_host *host,
                     struct libspawn_guest_info *info)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, info->domid);
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn__record record;
    int rc;

    if (!path || libspawn__record_read(host->store, path, &record, NULL)) {
        return; /* being created */
    }
    rc = libspawn__pidref_open(&record.child, &ref, NULL);
    if (rc == LIBSPAWN_ERR_GONE) {
        describe_end(&record, info);
    } else if (!rc) {
        info->state = query_state(host, info->domid);
        info->cpu_time_ms = read_cpu_time_ms(record.child.pid);
    }
}

/* ---- The list ---------------------------------------------------------- */

static int
fill_info(struct libspawn_host *host, uint32_t domid,
          struct libspawn_guest_info *info, struct libspawn_err *err)
{
    AUTO_FREE char *vm = read_node(host, domid, LIBSPAWN__PATH_DOMAIN_VM);

    info->domid = domid;
    info->type = LIBSPAWN_GUEST_TYPE_HVM;
    info->name = read_node(host, domid, LIBSPAWN__PATH_DOMAIN_NAME);
    if (!info->name || !vm) {
        return libspawn__fail_nomem(err);
    }
    if (libspawn__str_has_prefix(vm, "/vm/")) {
        snprintf(info->uuid, sizeof info->uuid, "%s", vm + strlen("/vm/"));
    }
    info->memory_mib = read_number(host, domid, LIBSPAWN__PATH_DOMAIN_TARGET) /
                       1024;
    info->vcpus =
        (uint32_t)read_number(host, domid, LIBSPAWN__PATH_DOMAIN_VCPUS);
    look_at_device_model(host, info);
    return 0;
}

static int
compare_infos(const void *a, const void *b)
{
    const struct libspawn_guest_info *left = a;
    const struct libspawn_guest_info *right = b;

    return (left->domid > right->domid) - (left->domid < right->domid);
}

int
libspawn__qemu_list(struct libspawn_host *host,
                    struct libspawn_guest_info **list_r, size_t *n_r,
                    struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv domids = { 0 };
    struct libspawn_guest_info *list;
    size_t n = 0;
    size_t i;
    int rc;

    rc = libspawn__store_list(host->store, NULL, LIBSPAWN__PATH_DOMAINS,
                              &domids, err);
    if (rc && rc != LIBSPAWN_ERR_NOT_FOUND) {
        return rc;
    }
    list = calloc(domids.n_items + 1, sizeof *list);
    if (!list) {
        return libspawn__fail_nomem(err);
    }
    for (i = 0; i < domids.n_items; i++) {
        uint64_t domid;

        if (libspawn__str_to_u64(domids.items[i], 0, UINT32_MAX, &domid,
                                 NULL)) {
            continue;
        }
        rc = fill_info(host, (uint32_t)domid, &list[n++], err);
        if (rc) {
            libspawn_guest_list_free(list, n);
            return rc;
        }
    }
    qsort(list, n, sizeof *list, compare_infos);
    *list_r = list;
    *n_r = n;
    return 0;
}
