/*
 * Taking away what a device model does not need: dm_restrict and
 * device_model_user of a configuration.
 *
 *   restrict_uid.c  whose rights it runs with
 *   restrict.c      what else the plan of its start says
 *
 * The user is, in this order,
 *
 *   device_model_user, if that is given, with dm_restrict or without;
 *   without dm_restrict the caller's own;
 *   where the caller is not root the caller's own: nobody else's can be had;
 *   the user id of "xen-qemuuser-range-base" + domid, where that user exists;
 *   "xen-qemuuser-shared", where that user exists, with a warning;
 *   LIBSPAWN__RESTRICT_BASE + domid.
 *
 * The first and the last but one may be others' too.  A user id out of a range
 * is reserved for one guest of this machine, by a file that lives until the
 * next boot at most, so that guests of several state directories keep apart.
 * Only then is it used to end what the device model may have left behind.
 */
#ifndef LIBSPAWN_DM_RESTRICT_H
#define LIBSPAWN_DM_RESTRICT_H

#include "include/libspawn-guest.h"

/* User ids that nobody has to set aside: "unused" in systemd's table, and
 * above what distributions give to containers. */
#define LIBSPAWN__RESTRICT_BASE 0x70000000u
#define LIBSPAWN__RESTRICT_RANGE 0x08000000u

#define LIBSPAWN__RESTRICT_RANGE_USER "xen-qemuuser-range-base"
#define LIBSPAWN__RESTRICT_SHARED_USER "xen-qemuuser-shared"

/* Where user ids are reserved: a file UID each, which names the owner. */
#define LIBSPAWN__RESTRICT_DIR "/run/libspawn-uids"

struct libspawn__restrict {
    bool is_on;    /* dm_restrict: everything else too */
    bool has_user; /* it runs as these and not as the caller */
    bool is_own;   /* the user id is reserved for this guest */
    bool writes_files; /* a disk is one; to be set before the plan is filled */
    uint32_t uid;
    uint32_t gid;
};

/* Which guest it is, among all of this machine. */
struct libspawn__restrict_owner {
    const char *place; /* its state directory, or "xen" */
    uint32_t domid;
    const char *uuid;
    bool is_only_domid; /* on this machine nobody else has that number, so
                           the user id follows from it and is never another */
};

/* ---- User -------------------------------------------------------------- */

/* Chooses, and reserves.  What a dead guest of the same place and number left
 * under the user id is ended.  LIBSPAWN_ERR_NOT_FOUND without that user,
 * LIBSPAWN_ERR_INVALID when dm_restrict would run it as root,
 * LIBSPAWN_ERR_DENIED when only root could.  '*warning_r' is a sentence, or
 * NULL; free with free(3). */
int libspawn__restrict_choose(const struct libspawn_guest_config *config,
                              const struct libspawn__restrict_owner *owner,
                              struct libspawn__restrict *restrict_r,
                              char **warning_r, struct libspawn_err *err);

/* Ends every process of 'uid' and gives the id back, if it is reserved for
 * this very owner; does nothing else.  The guest's device model must have
 * ended, and nobody may start another. */
int libspawn__restrict_release(const struct libspawn__restrict_owner *owner,
                               uint32_t uid, struct libspawn_err *err);

/* ---- Plan -------------------------------------------------------------- */

enum libspawn__restrict_how {
    /* Before it runs; what it opens by name is only what any QEMU reads. */
    LIBSPAWN__RESTRICT_BY_PLAN,
    /* It begins as root and gives that up itself, told so by arguments. */
    LIBSPAWN__RESTRICT_BY_ITSELF
};

/* Adds to 'plan' what dm_restrict and the user come to: ids, capabilities,
 * no-new-privs, namespaces, limits, and Landlock where it is the plan's
 * turn. */
void libspawn__restrict_fill_plan(const struct libspawn__restrict *restricted,
                                  const struct libspawn_guest_config *config,
                                  const char *program,
                                  enum libspawn__restrict_how how,
                                  struct libspawn_plan *plan);

#endif
