#include "guest/qemu/list.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/look.h"
#include "guest/names.h"
#include "guest/qemu/qemu.h"
#include "guest/qemu/status.h"
#include "store/paths.h"

enum {
    STATUS_TIMEOUT_MS = 2000 /* for all guests together */
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

/* All that is known without asking the guest; '*must_ask_r' says whether it
 * could tell more.  One that is being started is still paused, and its monitor
 * serves its creator; a stopped process answers nobody. */
static void
look_at_device_model(struct libspawn_host *host,
                     struct libspawn_guest_info *info, bool *must_ask_r)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, info->domid);
    struct libspawn__process_state process;
    struct libspawn__record record;
    int rc;

    *must_ask_r = false;
    if (!path || libspawn__record_read(host->store, path, &record, NULL)) {
        return; /* being created */
    }
    rc = libspawn__identity_look(&record.child, &process, NULL);
    if (rc == LIBSPAWN_ERR_GONE) {
        libspawn__guest_info_take_end(info, &record);
    } else if (!rc) {
        bool is_stopped = process.letter == 'T' || process.letter == 't';

        *must_ask_r = !is_stopped && record.state == LIBSPAWN__RECORD_RUNNING;
        info->state = *must_ask_r ? LIBSPAWN_GUEST_RUNNING
                                  : LIBSPAWN_GUEST_PAUSED;
        info->cpu_time_ms = process.cpu_time_ms;
    }
}

/* ---- The list ---------------------------------------------------------- */

static int
fill_info(struct libspawn_host *host, uint32_t domid,
          struct libspawn_guest_info *info, bool *must_ask_r,
          struct libspawn_err *err)
{
    AUTO_FREE char *uuid = NULL;

    info->domid = domid;
    info->type = LIBSPAWN_GUEST_TYPE_HVM;
    info->name = read_node(host, domid, LIBSPAWN__PATH_DOMAIN_NAME);
    if (!info->name) {
        return libspawn__fail_nomem(err);
    }
    if (!libspawn__name_read_uuid(host->store, NULL, domid, &uuid, NULL) &&
        uuid) {
        snprintf(info->uuid, sizeof info->uuid, "%s", uuid);
    }
    info->memory_mib = read_number(host, domid, LIBSPAWN__PATH_DOMAIN_TARGET) /
                       1024;
    info->vcpus =
        (uint32_t)read_number(host, domid, LIBSPAWN__PATH_DOMAIN_VCPUS);
    look_at_device_model(host, info, must_ask_r);
    return 0;
}

int
libspawn__qemu_look(struct libspawn_host *host, uint32_t domid,
                    struct libspawn_guest_info *info_r,
                    struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__path_new(LIBSPAWN__PATH_DOMAIN, domid);
    struct libspawn__qemu_question question = { .domid = domid };
    struct libspawn_guest_info info = { 0 };
    AUTO_FREE char *value = NULL;
    bool must_ask;
    int rc = path ? libspawn__store_read(host->store, NULL, path, &value, NULL,
                                         err)
                  : libspawn__fail_nomem(err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return libspawn__fail(err, rc, "there is no guest with domain id %u",
                              (unsigned int)domid);
    }
    if (!rc) {
        rc = fill_info(host, domid, &info, &must_ask, err);
    }
    if (rc) {
        libspawn__guest_info_dispose(&info);
        return rc;
    }
    question.state = info.state;
    libspawn__qemu_ask(host, &question, must_ask, STATUS_TIMEOUT_MS);
    info.state = question.state;
    *info_r = info;
    return 0;
}

static int
compare_infos(const void *a, const void *b)
{
    const struct libspawn_guest_info *left = a;
    const struct libspawn_guest_info *right = b;

    return (left->domid > right->domid) - (left->domid < right->domid);
}

/* Asks those guests of the list that 'must_ask' is true for. */
static int
ask_guests(struct libspawn_host *host, struct libspawn_guest_info *list,
           const bool *must_ask, size_t n, struct libspawn_err *err)
{
    AUTO_FREE struct libspawn__qemu_question *questions =
        calloc(n + 1, sizeof *questions);
    size_t n_asked = 0;
    size_t next;
    size_t i;

    if (!questions) {
        return libspawn__fail_nomem(err);
    }
    for (i = 0; i < n; i++) {
        if (must_ask[i]) {
            questions[n_asked].domid = list[i].domid;
            questions[n_asked++].state = list[i].state;
        }
    }
    libspawn__qemu_ask(host, questions, n_asked, STATUS_TIMEOUT_MS);
    for (i = 0, next = 0; next < n_asked; i++) {
        if (must_ask[i]) {
            list[i].state = questions[next++].state;
        }
    }
    return 0;
}

static int
fill_list(struct libspawn_host *host, const struct libspawn__strv *domids,
          struct libspawn_guest_info *list, size_t *n,
          struct libspawn_err *err)
{
    AUTO_FREE bool *must_ask = calloc(domids->n_items + 1, sizeof *must_ask);
    int rc = must_ask ? 0 : libspawn__fail_nomem(err);
    size_t i;

    for (i = 0; !rc && i < domids->n_items; i++) {
        uint64_t domid;

        if (!libspawn__str_to_u64(domids->items[i], 0, UINT32_MAX, &domid,
                                  NULL)) {
            rc = fill_info(host, (uint32_t)domid, &list[*n], &must_ask[*n],
                           err);
            (*n)++;
        }
    }
    return rc ? rc : ask_guests(host, list, must_ask, *n, err);
}

int
libspawn__qemu_list(struct libspawn_host *host,
                    struct libspawn_guest_info **list_r, size_t *n_r,
                    struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv domids = { 0 };
    struct libspawn_guest_info *list;
    size_t n = 0;
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
    rc = fill_list(host, &domids, list, &n, err);
    if (rc) {
        libspawn_guest_list_free(list, n);
        return rc;
    }
    qsort(list, n, sizeof *list, compare_infos);
    *list_r = list;
    *n_r = n;
    return 0;
}
