/*
 * Users and groups by name or number, in the caller's process: the databases
 * behind the names may be anywhere, and reading them may load libraries.
 */
#include "proc/plan.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

enum {
    ENTRY_SIZE = 1024, /* to begin with; a group may have many members */
    ENTRY_SIZE_MAX = 16 * 1024 * 1024,
    SOME_GROUPS = 64
};

/* (uid_t)-1 means "unchanged" to the kernel. */
#define ID_MAX (UINT32_MAX - 1)

static bool
is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

static int
to_id(const char *text, uint32_t *id_r, struct libspawn_err *err)
{
    uint64_t value;
    int rc = libspawn__str_to_u64(text, 0, ID_MAX, &value, err);

    if (!rc) {
        *id_r = (uint32_t)value;
    }
    return rc;
}

static int
fail_lookup(int r, const char *what, const char *name,
            struct libspawn_err *err)
{
    /* How "there is none" is told differs between databases. */
    if (!r || r == ENOENT || r == ESRCH || r == EBADF || r == EPERM) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "there is no %s '%.80s'", what, name);
    }
    return libspawn__fail_errno(err, r, "looking up %s '%.80s'", what, name);
}

/* ---- Users ------------------------------------------------------------- */

/* What is needed of an entry. */
struct user {
    uint32_t uid;
    uint32_t gid;
};

static int
ask_for_user(const char *name, const uint32_t *uid, char *bytes, size_t size,
             struct passwd *entry, struct passwd **found_r)
{
    return uid ? getpwuid_r(*uid, entry, bytes, size, found_r)
               : getpwnam_r(name, entry, bytes, size, found_r);
}

/* By name, or when 'uid' is given by that. */
static int
look_up_user(const char *name, const uint32_t *uid, struct user *user_r,
             struct libspawn_err *err)
{
    struct passwd entry;
    struct passwd *found = NULL;
    size_t size;
    int r = ERANGE;

    for (size = ENTRY_SIZE; r == ERANGE && size <= ENTRY_SIZE_MAX; size *= 4) {
        AUTO_FREE char *bytes = malloc(size);

        if (!bytes) {
            return libspawn__fail_nomem(err);
        }
        r = ask_for_user(name, uid, bytes, size, &entry, &found);
        if (!r && found) {
            *user_r = (struct user){ found->pw_uid, found->pw_gid };
            return 0;
        }
    }
    return fail_lookup(r, "user", name, err);
}

static int
find_user(const char *name, bool needs_gid, struct user *user_r,
          struct libspawn_err *err)
{
    int rc;

    if (!is_number(name)) {
        return look_up_user(name, NULL, user_r, err);
    }
    rc = to_id(name, &user_r->uid, err);
    if (!rc && needs_gid) {
        uint32_t uid = user_r->uid;

        rc = look_up_user(name, &uid, user_r, err);
    }
    return rc;
}

/* ---- Groups ------------------------------------------------------------ */

static int
look_up_group(const char *name, gid_t *gid_r, struct libspawn_err *err)
{
    struct group entry;
    struct group *found = NULL;
    size_t size;
    int r = ERANGE;

    for (size = ENTRY_SIZE; r == ERANGE && size <= ENTRY_SIZE_MAX; size *= 4) {
        AUTO_FREE char *bytes = malloc(size);

        if (!bytes) {
            return libspawn__fail_nomem(err);
        }
        r = getgrnam_r(name, &entry, bytes, size, &found);
        if (!r && found) {
            *gid_r = found->gr_gid;
            return 0;
        }
    }
    return fail_lookup(r, "group", name, err);
}

int
libspawn__plan_find_group(const char *name, gid_t *gid_r,
                          struct libspawn_err *err)
{
    if (!name) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "a group of the plan is NULL");
    }
    return is_number(name) ? to_id(name, gid_r, err)
                           : look_up_group(name, gid_r, err);
}

/* Asks for all groups of a user, the primary one among them. */
static int
list_groups_of(const char *user, gid_t gid, gid_t **gids_r, int *n_r,
               struct libspawn_err *err)
{
    int size;

    for (size = SOME_GROUPS; size <= LIBSPAWN__PLAN_GROUPS_MAX; size *= 2) {
        AUTO_FREE gid_t *gids = calloc((size_t)size, sizeof *gids);
        int n = size;

        if (!gids) {
            return libspawn__fail_nomem(err);
        }
        if (getgrouplist(user, gid, gids, &n) >= 0) {
            *gids_r = TAKE_PTR(gids);
            *n_r = n;
            return 0;
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                          "user '%.80s' is in more than %d groups", user,
                          LIBSPAWN__PLAN_GROUPS_MAX);
}

static int
add_groups_of(struct libspawn_plan *plan, const char *user, gid_t gid,
              struct libspawn_err *err)
{
    AUTO_FREE gid_t *gids = NULL;
    int n = 0;
    int rc = list_groups_of(user, gid, &gids, &n, err);
    int i;

    for (i = 0; !rc && i < n; i++) {
        rc = libspawn__plan_add_gid(plan, gids[i], err);
    }
    return rc;
}

int
libspawn__plan_find_user(struct libspawn_plan *plan, const char *user,
                         const char *group, struct libspawn_err *err)
{
    struct user found = { 0 };
    int rc = 0;

    if (!user && !group) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "neither a user nor a group is given");
    }
    if (user) {
        rc = find_user(user, !group, &found, err);
    }
    if (!rc && group) {
        rc = libspawn__plan_find_group(group, &found.gid, err);
    }
    plan->groups.n_items = 0;
    if (!rc && user && !is_number(user)) {
        rc = add_groups_of(plan, user, found.gid, err);
    }
    if (rc) {
        return rc;
    }
    plan->gid = found.gid;
    plan->options |= LIBSPAWN__PLAN_GROUP | LIBSPAWN__PLAN_GROUPS;
    if (user) {
        plan->uid = found.uid;
        plan->options |= LIBSPAWN__PLAN_USER;
    }
    return 0;
}
