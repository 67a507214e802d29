#include "guest/names.h"

#include <string.h>

#include "guest/intent.h"
#include "store/paths.h"

int
libspawn_guest_get_name(struct libspawn_host *host, uint32_t domid,
                        char **name_r, struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_DOMAIN_NAME, domid);
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_read(host->store, NULL, path, name_r, NULL, err);
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "domain %u has no name", (unsigned int)domid);
    }
    return rc;
}

/* "" for a domain without a name, which is one in the making or a stranger. */
static int
read_name(struct libspawn_host *host, uint32_t domid, char **name_r,
          struct libspawn_err *err)
{
    int rc = libspawn_guest_get_name(host, domid, name_r, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        *name_r = strdup("");
        rc = *name_r ? 0 : libspawn__fail_nomem(err);
    }
    return rc;
}

int
libspawn__name_find(struct libspawn_host *host, const char *name,
                    uint32_t *domid_r, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv domids = { 0 };
    size_t i;
    int rc;

    rc = libspawn__store_list(host->store, NULL, LIBSPAWN__PATH_DOMAINS,
                              &domids, err);
    if (rc && rc != LIBSPAWN_ERR_NOT_FOUND) {
        return rc;
    }
    for (i = 0; i < domids.n_items; i++) {
        AUTO_FREE char *other = NULL;
        uint64_t domid;

        if (libspawn__str_to_u64(domids.items[i], 0, UINT32_MAX, &domid,
                                 NULL)) {
            continue;
        }
        rc = read_name(host, (uint32_t)domid, &other, err);
        if (rc) {
            return rc;
        }
        if (!strcmp(other, name)) {
            *domid_r = (uint32_t)domid;
            return 0;
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                          "there is no guest '%s'", name);
}

static int
check_intents(struct libspawn_host *host, const char *name,
              struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv uuids = { 0 };
    int rc =
        libspawn__intent_list(host, LIBSPAWN__INTENT_CREATE, &uuids, err);
    size_t i;

    for (i = 0; !rc && i < uuids.n_items; i++) {
        AUTO_INTENT struct libspawn__intent intent = { 0 };

        rc = libspawn__intent_read(host, LIBSPAWN__INTENT_CREATE,
                                   uuids.items[i], &intent, err);
        if (rc == LIBSPAWN_ERR_NOT_FOUND) {
            rc = 0; /* it ended between the list and the look */
        } else if (!rc && !strcmp(intent.name, name)) {
            return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                                  "guest '%s' is being created by process %d",
                                  name, (int)intent.owner.pid);
        }
    }
    return rc;
}

int
libspawn__name_check_free(struct libspawn_host *host, const char *name,
                          struct libspawn_err *err)
{
    uint32_t domid;
    /* First, since one in the making may have its name already. */
    int rc = check_intents(host, name, err);

    if (rc) {
        return rc;
    }
    rc = libspawn__name_find(host, name, &domid, err);
    if (!rc) {
        return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                              "guest '%s' exists already, as domain %u", name,
                              (unsigned int)domid);
    }
    return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}

const char *
libspawn__name_uuid_of_vm(const char *vm)
{
    static const char prefix[] = "/vm/";

    return libspawn__str_has_prefix(vm, prefix) ? vm + strlen(prefix) : "";
}

int
libspawn__name_read_uuid(struct libspawn__store *store,
                         struct libspawn__store_txn *txn, uint32_t domid,
                         char **uuid_r, struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__path_new(LIBSPAWN__PATH_DOMAIN_VM, domid);
    AUTO_FREE char *vm = NULL;
    char *uuid = NULL;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_read(store, txn, path, &vm, NULL, err);
    if (!rc && libspawn__name_uuid_of_vm(vm)[0]) {
        rc = libspawn__str_assign(&uuid, libspawn__name_uuid_of_vm(vm), err);
    }
    if (rc && rc != LIBSPAWN_ERR_NOT_FOUND) {
        return rc;
    }
    *uuid_r = uuid;
    return 0;
}
