#include "guest/qemu/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "guest/look.h"
#include "guest/names.h"
#include "guest/qemu/qemu.h"
#include "guest/qemu/status.h"
#include "store/paths.h"

enum {
    STATUS_TIMEOUT_MS = 2000 /* for all guests together */
};

/* ---- What the store has ------------------------------------------------ */

enum node {
    NAME,
    VM,
    TARGET,
    VCPUS,
    RECORD,
    N_NODES
};

static const enum libspawn__path node_paths[N_NODES] = {
    [NAME] = LIBSPAWN__PATH_DOMAIN_NAME,
    [VM] = LIBSPAWN__PATH_DOMAIN_VM,
    [TARGET] = LIBSPAWN__PATH_DOMAIN_TARGET,
    [VCPUS] = LIBSPAWN__PATH_DOMAIN_VCPUS,
    [RECORD] = LIBSPAWN__PATH_RECORD,
};

struct nodes {
    char *paths[N_NODES];
    struct libspawn__store_item items[N_NODES];
};

static void
nodes_dispose(struct nodes *nodes)
{
    size_t i;

    for (i = 0; i < N_NODES; i++) {
        free(nodes->paths[i]);
    }
    libspawn__store_items_dispose(nodes->items, N_NODES);
}

/* '*nodes' is empty before, and to be disposed of in every case. */
static int
nodes_read(struct libspawn_host *host, uint32_t domid, struct nodes *nodes,
           struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < N_NODES; i++) {
        nodes->paths[i] = libspawn__path_new(node_paths[i], domid);
        if (!nodes->paths[i]) {
            return libspawn__fail_nomem(err);
        }
        nodes->items[i].path = nodes->paths[i];
    }
    libspawn__store_read_each(host->store, nodes->items, N_NODES);
    for (i = 0; i < N_NODES; i++) {
        if (nodes->items[i].rc == LIBSPAWN_ERR_NO_MEMORY) {
            return libspawn__fail_nomem(err);
        }
    }
    return 0;
}

/* "" for one that is missing. */
static const char *
text_of(const struct nodes *nodes, enum node node)
{
    const char *value = nodes->items[node].value;

    return value ? value : "";
}

static uint64_t
number_of(const struct nodes *nodes, enum node node)
{
    uint64_t number = 0;

    libspawn__str_to_u64(text_of(nodes, node), 0, UINT64_MAX, &number, NULL);
    return number;
}

/* ---- State ------------------------------------------------------------- */

/* All that is known without asking the guest; '*must_ask_r' says whether it
 * could tell more.  One that is being started is still paused, and its monitor
 * serves its creator; a stopped process answers nobody. */
static void
look_at_device_model(const struct libspawn__store_item *item,
                     struct libspawn_guest_info *info, bool *must_ask_r)
{
    struct libspawn__process_state process;
    struct libspawn__record record;
    int rc;

    *must_ask_r = false;
    if (item->rc ||
        libspawn__record_parse(item->value, item->size, &record, NULL)) {
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
    AUTO(nodes_dispose) struct nodes nodes = { .paths = { NULL } };
    int rc = nodes_read(host, domid, &nodes, err);

    if (!rc) {
        rc = libspawn__str_assign(&info->name, text_of(&nodes, NAME), err);
    }
    if (rc) {
        return rc;
    }
    info->domid = domid;
    info->type = LIBSPAWN_GUEST_TYPE_HVM;
    snprintf(info->uuid, sizeof info->uuid, "%s",
             libspawn__name_uuid_of_vm(text_of(&nodes, VM)));
    info->memory_mib = number_of(&nodes, TARGET) / 1024;
    info->vcpus = (uint32_t)number_of(&nodes, VCPUS);
    look_at_device_model(&nodes.items[RECORD], info, must_ask_r);
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
