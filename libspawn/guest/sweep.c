/*
 * Cleaning up after the dead, which every command does first: what is left of
 * a creation whose owner ended is removed; a removal whose owner ended is
 * told, if there was just that left to do.
 */
#include <string.h>

#include "guest/events.h"
#include "guest/events_reader.h"
#include "guest/host.h"
#include "guest/intent.h"
#include "guest/names.h"
#include "guest/removal.h"
#include "guest/supervised.h"

/* Told before the intent goes, and not again if the one who told it died in
 * between. */
static int
tell_once(struct libspawn_host *host, const struct libspawn__event *event,
          struct libspawn_err *err)
{
    return libspawn__events_have(host->state_dir, event)
               ? 0
               : libspawn__event_append(host, event, err);
}

/* ---- Creations --------------------------------------------------------- */

static void
note_abandoned(struct libspawn_host *host,
               const struct libspawn__intent *intent)
{
    const struct libspawn__event event = {
        .guest = intent->name,
        .domid = intent->domid,
        .uuid = intent->uuid,
        .kind = LIBSPAWN_GUEST_EVENT_CREATE_FAILED,
        .reason = libspawn_code_name(LIBSPAWN_ERR_GONE),
        .text = "its creator died",
    };

    tell_once(host, &event, NULL);
}

/* Somebody who has the lock of that number has to do with what is left of it:
 * the next command removes it. */
static int
remove_abandoned(struct libspawn_host *host,
                 const struct libspawn__intent *intent,
                 struct libspawn_err *err)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    int rc = intent->domid
                 ? libspawn__host_try_guest(host, intent->domid, &lock, err)
                 : 0;

    if (rc == LIBSPAWN_ERR_BUSY) {
        return 0;
    }
    if (!rc) {
        rc = host->hypervisor->abandon(host, intent, err);
    }
    if (!rc) {
        note_abandoned(host, intent);
        libspawn__intent_remove(host, intent->kind, intent->uuid);
        libspawn__supervised_tidy(host, intent->name);
    }
    libspawn__host_unlock(host, &lock);
    return rc;
}

/* ---- Removals ---------------------------------------------------------- */

/* One that is there still was not removed, or not wholly: its next removal
 * tells. */
static bool
is_there(struct libspawn_host *host, const struct libspawn__intent *intent)
{
    AUTO_FREE char *uuid = NULL;

    return libspawn__name_read_uuid(host->store, NULL, intent->domid, &uuid,
                                    NULL) ||
           (uuid && !strcmp(uuid, intent->uuid));
}

static int
tell_removal(struct libspawn_host *host,
             const struct libspawn__intent *intent, struct libspawn_err *err)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    int rc = libspawn__host_try_guest(host, intent->domid, &lock, err);
    const struct libspawn__event event = {
        .guest = intent->name,
        .domid = intent->domid,
        .uuid = intent->uuid,
        .kind = LIBSPAWN_GUEST_EVENT_DESTROYED,
    };

    if (!rc && !is_there(host, intent)) {
        rc = tell_once(host, &event, err);
    }
    if (!rc) {
        libspawn__intent_remove(host, intent->kind, intent->uuid);
    }
    libspawn__host_unlock(host, &lock);
    return rc == LIBSPAWN_ERR_BUSY ? 0 : rc;
}

/* ---- Both -------------------------------------------------------------- */

/* Looked at once more under the lock: two commands may sweep at once. */
static int
sweep_orphan(struct libspawn_host *host, enum libspawn__intent_kind kind,
             const char *uuid, struct libspawn_err *err)
{
    AUTO_INTENT struct libspawn__intent intent = { 0 };
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    int rc = libspawn__host_lock(host, &lock, err);

    if (!rc) {
        rc = libspawn__intent_read(host, kind, uuid, &intent, err);
    }
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        rc = 0;
    } else if (!rc && libspawn__intent_is_orphan(&intent)) {
        rc = kind == LIBSPAWN__INTENT_CREATE
                 ? remove_abandoned(host, &intent, err)
                 : tell_removal(host, &intent, err);
    }
    libspawn__host_unlock(host, &lock);
    return rc;
}

static int
sweep_intents(struct libspawn_host *host, enum libspawn__intent_kind kind,
              struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv uuids = { 0 };
    int rc = libspawn__intent_list(host, kind, &uuids, err);
    size_t i;

    for (i = 0; !rc && i < uuids.n_items; i++) {
        AUTO_INTENT struct libspawn__intent intent = { 0 };

        rc = libspawn__intent_read(host, kind, uuids.items[i], &intent, err);
        if (rc == LIBSPAWN_ERR_NOT_FOUND) {
            rc = 0;
        } else if (!rc && libspawn__intent_is_orphan(&intent)) {
            rc = sweep_orphan(host, kind, uuids.items[i], err);
        }
    }
    return rc;
}

/* What a removal left of its guest goes before its intent is looked at. */
int
libspawn__host_sweep(struct libspawn_host *host, struct libspawn_err *err)
{
    int rc = sweep_intents(host, LIBSPAWN__INTENT_CREATE, err);

    if (!rc && host->hypervisor->sweep) {
        rc = host->hypervisor->sweep(host, err);
    }
    return rc ? rc : sweep_intents(host, LIBSPAWN__INTENT_REMOVE, err);
}
