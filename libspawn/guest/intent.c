#include "guest/intent.h"

#include <inttypes.h>
#include <string.h>

#include "store/paths.h"

static const char *const dirs[] = {
    [LIBSPAWN__INTENT_CREATE] = LIBSPAWN__PATH_CREATIONS,
    [LIBSPAWN__INTENT_REMOVE] = LIBSPAWN__PATH_REMOVALS,
};

static char *
path_of(enum libspawn__intent_kind kind, const char *uuid)
{
    return libspawn__str_format("%s/%s", dirs[kind], uuid);
}

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
    AUTO_FREE char *path = path_of(intent->kind, intent->uuid);

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__store_printf(
        host->store, NULL, path, err, "%d %" PRIu64 " %s %" PRIu32 " %s",
        (int)intent->owner.pid, intent->owner.start_time,
        intent->owner.boot_id, intent->domid, intent->name);
}

/* ---- Reading ----------------------------------------------------------- */

/* Cuts off what stands before the next blank; "" at the end. */
static const char *
next_word(char **at)
{
    const char *word = *at;

    *at += strcspn(*at, " ");
    if (**at) {
        *(*at)++ = '\0';
    }
    return word;
}

/* "PID START_TIME BOOT_ID DOMID NAME"; 'text' is cut into words.  What is
 * wrong with it, or NULL; intent->name then points into 'text'. */
static const char *
parse(char *text, struct libspawn__intent *intent)
{
    struct libspawn__identity *owner = &intent->owner;
    uint64_t number;
    const char *boot_id;

    if (libspawn__str_to_u64(next_word(&text), 1, INT32_MAX, &number, NULL)) {
        return "its first word is not the number of a process";
    }
    owner->pid = (pid_t)number;
    if (libspawn__str_to_u64(next_word(&text), 0, UINT64_MAX,
                             &owner->start_time, NULL)) {
        return "its second word is not the start time of a process";
    }
    boot_id = next_word(&text);
    if (strlen(boot_id) != sizeof owner->boot_id - 1) {
        return "its third word is not a boot id";
    }
    memcpy(owner->boot_id, boot_id, sizeof owner->boot_id);
    if (libspawn__str_to_u64(next_word(&text), 0, UINT32_MAX, &number, NULL)) {
        return "its fourth word is not a domain id";
    }
    intent->domid = (uint32_t)number;
    if (!text[0] || strchr(text, '\n')) {
        return "behind its fourth word there is no name, or more than a name";
    }
    intent->name = text;
    return NULL;
}

int
libspawn__intent_read(struct libspawn_host *host,
                      enum libspawn__intent_kind kind, const char *uuid,
                      struct libspawn__intent *intent_r,
                      struct libspawn_err *err)
{
    AUTO_FREE char *path = path_of(kind, uuid);
    AUTO_FREE char *text = NULL;
    struct libspawn__intent intent = { .kind = kind };
    const char *complaint;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_read(host->store, NULL, path, &text, NULL, err);
    if (rc) {
        return rc;
    }
    complaint = strlen(uuid) < sizeof intent.uuid
                    ? parse(text, &intent)
                    : "its own name is longer than a uuid";
    if (complaint) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the intent '%s' in the store makes no sense: "
                              "%s",
                              path, complaint);
    }
    snprintf(intent.uuid, sizeof intent.uuid, "%s", uuid);
    intent.name = strdup(intent.name);
    if (!intent.name) {
        return libspawn__fail_nomem(err);
    }
    *intent_r = intent;
    return 0;
}

void
libspawn__intent_remove(struct libspawn_host *host,
                        enum libspawn__intent_kind kind, const char *uuid)
{
    AUTO_FREE char *path = path_of(kind, uuid);

    if (path) {
        libspawn__store_discard(host->store, NULL, path, NULL);
    }
}

bool
libspawn__intent_is_orphan(const struct libspawn__intent *intent)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    return libspawn__pidref_open(&intent->owner, &ref, NULL) ==
           LIBSPAWN_ERR_GONE;
}

int
libspawn__intent_list(struct libspawn_host *host,
                      enum libspawn__intent_kind kind,
                      struct libspawn__strv *uuids, struct libspawn_err *err)
{
    int rc =
        libspawn__store_list(host->store, NULL, dirs[kind], uuids, err);

    return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}

int
libspawn__intent_check_none(struct libspawn_host *host, uint32_t domid,
                            struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv uuids = { 0 };
    int rc =
        libspawn__intent_list(host, LIBSPAWN__INTENT_CREATE, &uuids, err);
    size_t i;

    for (i = 0; !rc && i < uuids.n_items; i++) {
        AUTO_INTENT struct libspawn__intent intent = { 0 };

        if (!libspawn__intent_read(host, LIBSPAWN__INTENT_CREATE,
                                   uuids.items[i], &intent, NULL) &&
            intent.domid == domid) {
            rc = libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                                "guest '%s' is being created by process %d",
                                intent.name, (int)intent.owner.pid);
        }
    }
    return rc;
}
