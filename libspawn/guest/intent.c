#include "guest/intent.h"

#include <inttypes.h>
#include <string.h>

#include "store/paths.h"

void
libspawn__intent_dispose(struct libspawn__intent *intent)
{
    free(intent->name);
    intent->name = NULL;
}

int
libspawn__intent_write(struct libspawn_host *host,
                       const struct libspawn__intent *intent,
                       struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__path_create(intent->uuid);

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__store_printf(
        host->store, NULL, path, err, "%d %" PRIu64 " %s %" PRIu32 " %s",
        (int)intent->owner.pid, intent->owner.start_time,
        intent->owner.boot_id, intent->domid, intent->name);
}

int
libspawn__intent_read(struct libspawn_host *host, const char *uuid,
                      struct libspawn__intent *intent_r,
                      struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__path_create(uuid);
    AUTO_FREE char *text = NULL;
    struct libspawn__intent intent = { 0 };
    int name_at = 0;
    int pid;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_read(host->store, NULL, path, &text, NULL, err);
    if (rc) {
        return rc;
    }
    if (sscanf(text, "%d %" SCNu64 " %36s %" SCNu32 " %n", &pid,
               &intent.owner.start_time, intent.owner.boot_id, &intent.domid,
               &name_at) != 4 ||
        !name_at || strlen(uuid) >= sizeof intent.uuid) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "'%s' in the store makes no sense", path);
    }
    intent.owner.pid = pid;
    snprintf(intent.uuid, sizeof intent.uuid, "%s", uuid);
    intent.name = strdup(text + name_at);
    if (!intent.name) {
        return libspawn__fail_nomem(err);
    }
    *intent_r = intent;
    return 0;
}

void
libspawn__intent_remove(struct libspawn_host *host, const char *uuid)
{
    AUTO_FREE char *path = libspawn__path_create(uuid);

    if (path) {
        libspawn__store_remove(host->store, NULL, path, NULL);
    }
}

int
libspawn__intent_list(struct libspawn_host *host, struct libspawn__strv *uuids,
                      struct libspawn_err *err)
{
    int rc = libspawn__store_list(host->store, NULL, LIBSPAWN__PATH_CREATIONS,
                                  uuids, err);

    return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}
