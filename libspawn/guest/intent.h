/*
 * The intent to create a guest, written to the store before anything of the
 * guest exists and removed when it is complete or undone.  It reserves the
 * name and the uuid, and tells whoever comes later, if the creator died, what
 * there is to remove.
 *
 * The intent to remove one, written before anything of it is removed: if its
 * owner dies, whoever comes later knows of which guest the end was not told
 * (guest/removal.h).
 *
 * Paths: /libspawn/create/UUID and /libspawn/remove/UUID; docs/PROTOCOLS.md,
 * "Intent", has the format.
 */
#ifndef LIBSPAWN_GUEST_INTENT_H
#define LIBSPAWN_GUEST_INTENT_H

#include "base/pidref.h"
#include "guest/hypervisor.h"

enum libspawn__intent_kind {
    LIBSPAWN__INTENT_CREATE,
    LIBSPAWN__INTENT_REMOVE
};

struct libspawn__intent {
    enum libspawn__intent_kind kind;
    char uuid[37];
    char *name;
    struct libspawn__identity owner;
    uint32_t domid; /* 0: not known yet */
};

void libspawn__intent_dispose(struct libspawn__intent *intent);
#define AUTO_INTENT AUTO(libspawn__intent_dispose)

int libspawn__intent_write(struct libspawn_host *host,
                           const struct libspawn__intent *intent,
                           struct libspawn_err *err);
/* LIBSPAWN_ERR_NOT_FOUND; LIBSPAWN_ERR_PROTOCOL for one that was not written
 * by libspawn__intent_write, since what it names would be destroyed. */
int libspawn__intent_read(struct libspawn_host *host,
                          enum libspawn__intent_kind kind, const char *uuid,
                          struct libspawn__intent *intent_r,
                          struct libspawn_err *err);
void libspawn__intent_remove(struct libspawn_host *host,
                             enum libspawn__intent_kind kind,
                             const char *uuid);

/* Whether its owner has ended; a process that cannot be looked at (no
 * descriptor free, say) counts as alive. */
bool libspawn__intent_is_orphan(const struct libspawn__intent *intent);

/* LIBSPAWN_ERR_BUSY when the guest with this number is being created. */
int libspawn__intent_check_none(struct libspawn_host *host, uint32_t domid,
                                struct libspawn_err *err);

/* The uuids of all intents of a kind; an empty list when there are none. */
int libspawn__intent_list(struct libspawn_host *host,
                          enum libspawn__intent_kind kind,
                          struct libspawn__strv *uuids,
                          struct libspawn_err *err);

#endif
