/*
 * Names of guests: who has which, and whether one is free; and their uuids.
 */
#ifndef LIBSPAWN_GUEST_NAMES_H
#define LIBSPAWN_GUEST_NAMES_H

#include "guest/hypervisor.h"

/* The domid of the guest with this name; LIBSPAWN_ERR_NOT_FOUND. */
int libspawn__name_find(struct libspawn_host *host, const char *name,
                        uint32_t *domid_r, struct libspawn_err *err);

/* LIBSPAWN_ERR_EXISTS with a sentence that says who has it, a guest or a
 * creation that is under way. */
int libspawn__name_check_free(struct libspawn_host *host, const char *name,
                              struct libspawn_err *err);

/* The uuid in the value of that node, "/vm/UUID"; "" when there is none. */
const char *libspawn__name_uuid_of_vm(const char *vm);

/* The uuid of domain 'domid', by its node in the store, which leads to
 * "/vm/UUID"; new, or NULL when there is none.  'txn' may be NULL. */
int libspawn__name_read_uuid(struct libspawn__store *store,
                             struct libspawn__store_txn *txn, uint32_t domid,
                             char **uuid_r, struct libspawn_err *err);

#endif
