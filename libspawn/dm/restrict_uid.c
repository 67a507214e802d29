/*
 * Reservations: a file of one line, "PLACE DOMID UUID", locked by whoever
 * looks at it, and removed under that lock.  So whoever waited for the lock
 * finds that the file has no name any more, and that what it stood for is
 * done; a new one of the same name belongs to somebody else.
 */
#include "dm/restrict.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "proc/plan.h"
#include "proc/reap.h"

enum {
    OWNER_MAX = 8192,
    XEN_RANGE = 32752, /* the ids that go with LIBSPAWN__RESTRICT_RANGE_USER */
    ATTEMPTS = 1000    /* that many guests elsewhere have the same number */
};

/* A range of user ids; number 0 of it is never a guest's. */
struct range {
    uint32_t base;
    uint32_t size;
    bool has_gid; /* one for all; else each id is a group too */
    uint32_t gid;
};

/* ---- Reservations ------------------------------------------------------ */

/* What a reservation begins with: everything but the uuid. */
static char *
format_prefix(const struct libspawn__restrict_owner *owner)
{
    return libspawn__str_format("%s %u ", owner->place,
                                (unsigned int)owner->domid);
}

/* Opens and locks; -1 in '*fd_r' when there is none and none is to be made. */
static int
open_locked(uint32_t uid, int flags, int *fd_r, char **text_r,
            struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__str_format(LIBSPAWN__RESTRICT_DIR "/%u", (unsigned int)uid);
    AUTO_FREE char *text = NULL;
    AUTO_FD int fd = -1;
    ssize_t n;

    text = calloc(1, OWNER_MAX + 1);
    if (!path || !text) {
        return libspawn__fail_nomem(err);
    }
    for (;;) {
        struct stat st;

        libspawn__auto_close(&fd);
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
        if (fd < 0 && errno == ENOENT && !(flags & O_CREAT)) {
            break;
        }
        if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0) {
            return libspawn__fail_errno(err, errno, "locking '%s'", path);
        }
        if (st.st_nlink) {
            break;
        }
        /* Removed while we waited: what has the name now is another one. */
    }
    n = fd < 0 ? 0 : libspawn__fd_read_full(fd, text, OWNER_MAX);
    if (n < 0) {
        return libspawn__fail_errno(err, (int)-n, "reading '%s'", path);
    }
    *fd_r = TAKE_FD(fd);
    *text_r = TAKE_PTR(text);
    return 0;
}

static int
write_owner(int fd, const struct libspawn__restrict_owner *owner,
            const char *prefix, struct libspawn_err *err)
{
    AUTO_FREE char *text = libspawn__str_format("%s%s\n", prefix, owner->uuid);
    int r;

    if (!text) {
        return libspawn__fail_nomem(err);
    }
    r = ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0
            ? -errno
            : libspawn__fd_write_full(fd, text, strlen(text));
    return r ? libspawn__fail_errno(err, -r, "reserving a user id") : 0;
}

/* LIBSPAWN_ERR_EXISTS when it is another's. */
static int
reserve(uint32_t uid, const struct libspawn__restrict_owner *owner,
        struct libspawn_err *err)
{
    AUTO_FREE char *prefix = format_prefix(owner);
    AUTO_FREE char *text = NULL;
    AUTO_FD int fd = -1;
    int rc = prefix ? open_locked(uid, O_CREAT, &fd, &text, err)
                    : libspawn__fail_nomem(err);

    if (rc) {
        return rc;
    }
    if (*text && !libspawn__str_has_prefix(text, prefix)) {
        return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                              "user id %u belongs to another guest",
                              (unsigned int)uid);
    }
    /* Of the same place and number, so its guest is gone; whoever removed
     * that did not know of this. */
    rc = *text ? libspawn__reap_uid(uid, err) : 0;
    return rc ? rc : write_owner(fd, owner, prefix, err);
}

int
libspawn__restrict_release(const struct libspawn__restrict_owner *owner,
                           uint32_t uid, struct libspawn_err *err)
{
    AUTO_FREE char *prefix = format_prefix(owner);
    AUTO_FREE char *wanted =
        prefix ? libspawn__str_format("%s%s\n", prefix, owner->uuid) : NULL;
    AUTO_FREE char *path =
        libspawn__str_format(LIBSPAWN__RESTRICT_DIR "/%u", (unsigned int)uid);
    AUTO_FREE char *text = NULL;
    AUTO_FD int fd = -1;
    int rc = wanted && path ? open_locked(uid, 0, &fd, &text, err)
                            : libspawn__fail_nomem(err);

    if (rc || fd < 0 || strcmp(text, wanted) != 0) {
        return rc;
    }
    rc = libspawn__reap_uid(uid, err);
    if (!rc && unlink(path) < 0) {
        rc = libspawn__fail_errno(err, errno, "removing '%s'", path);
    }
    return rc;
}

/* ---- Accounts ---------------------------------------------------------- */

static int
find_user(const char *name, uint32_t *uid_r, uint32_t *gid_r,
          struct libspawn_err *err)
{
    struct libspawn_plan *plan = libspawn_plan_new();
    int rc = plan ? libspawn__plan_find_user(plan, name, NULL, err)
                  : libspawn__fail_nomem(err);

    if (!rc) {
        *uid_r = (uint32_t)plan->uid;
        *gid_r = (uint32_t)plan->gid;
    }
    libspawn_plan_free(plan);
    return rc;
}

/* ---- Ranges ------------------------------------------------------------ */

/* Nobody's account, nor another guest's. */
static int
reserve_unused(uint32_t uid, const struct libspawn__restrict_owner *owner,
               struct libspawn_err *err)
{
    char name[24];
    uint32_t found_uid;
    uint32_t found_gid;
    int rc;

    snprintf(name, sizeof name, "%u", (unsigned int)uid);
    rc = find_user(name, &found_uid, &found_gid, err);
    if (!rc) {
        return libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                              "user id %s, which dm_restrict would use, is "
                              "that of an account",
                              name);
    }
    return rc == LIBSPAWN_ERR_NOT_FOUND ? reserve(uid, owner, err) : rc;
}

/* The one of the domid, or the next free one. */
static int
reserve_in_range(const struct range *range,
                 const struct libspawn__restrict_owner *owner,
                 struct libspawn__restrict *restricted,
                 struct libspawn_err *err)
{
    uint32_t n_attempts = owner->is_only_domid ? 1 : ATTEMPTS;
    int rc = libspawn__dir_make(LIBSPAWN__RESTRICT_DIR, 0700, err);
    uint32_t i;

    for (i = 0; !rc && i < n_attempts; i++) {
        uint32_t offset = 1 + (owner->domid - 1 + i) % (range->size - 1);

        rc = reserve_unused(range->base + offset, owner, err);
        if (!rc) {
            restricted->has_user = true;
            restricted->is_own = true;
            restricted->uid = range->base + offset;
            restricted->gid = range->has_gid ? range->gid : restricted->uid;
            return 0;
        }
        rc = rc == LIBSPAWN_ERR_EXISTS && i + 1 < n_attempts ? 0 : rc;
    }
    return rc;
}

/* ---- Users ------------------------------------------------------------- */

static int
choose_named(const char *name, struct libspawn__restrict *restricted,
             struct libspawn_err *err)
{
    int rc = find_user(name, &restricted->uid, &restricted->gid, err);

    if (rc) {
        libspawn__err_prefix(err, "device_model_user");
        return rc;
    }
    if (!restricted->uid && restricted->is_on) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "device_model_user '%s' is root, whose rights "
                              "dm_restrict is to take away",
                              name);
    }
    if (geteuid() != 0 && restricted->uid != geteuid()) {
        return libspawn__fail(err, LIBSPAWN_ERR_DENIED,
                              "only root can run the device model as user "
                              "'%s' (device_model_user)",
                              name);
    }
    restricted->has_user = geteuid() == 0 && restricted->uid;
    return 0;
}

static int
choose_shared(struct libspawn__restrict *restricted, char **warning_r,
              struct libspawn_err *err)
{
    int rc = find_user(LIBSPAWN__RESTRICT_SHARED_USER, &restricted->uid,
                       &restricted->gid, err);

    if (!rc && !restricted->uid) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "user '" LIBSPAWN__RESTRICT_SHARED_USER
                            "' is root");
    }
    if (rc) {
        return rc;
    }
    restricted->has_user = true;
    *warning_r = strdup("the device model runs as "
                        "'" LIBSPAWN__RESTRICT_SHARED_USER "', as others may, "
                        "which it is not protected against; remove that user, "
                        "or add '" LIBSPAWN__RESTRICT_RANGE_USER "'");
    return *warning_r ? 0 : libspawn__fail_nomem(err);
}

/* The last resort of dm_restrict, where the caller is root. */
static int
choose_unnamed(const struct libspawn__restrict_owner *owner,
               struct libspawn__restrict *restricted, char **warning_r,
               struct libspawn_err *err)
{
    struct range range = { .size = XEN_RANGE, .has_gid = true };
    int rc =
        find_user(LIBSPAWN__RESTRICT_RANGE_USER, &range.base, &range.gid, err);

    if (!rc && (!range.base || !range.gid)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "user '" LIBSPAWN__RESTRICT_RANGE_USER
                              "', or its group, is root");
    }
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        rc = choose_shared(restricted, warning_r, err);
        if (rc != LIBSPAWN_ERR_NOT_FOUND) {
            return rc;
        }
        range = (struct range){ .base = LIBSPAWN__RESTRICT_BASE,
                                .size = LIBSPAWN__RESTRICT_RANGE };
        rc = 0;
    }
    return rc ? rc : reserve_in_range(&range, owner, restricted, err);
}

int
libspawn__restrict_choose(const struct libspawn_guest_config *config,
                          const struct libspawn__restrict_owner *owner,
                          struct libspawn__restrict *restrict_r,
                          char **warning_r, struct libspawn_err *err)
{
    struct libspawn__restrict restricted = {
        .is_on = config->dm_restrict == LIBSPAWN_CHOICE_YES,
    };
    char *warning = NULL;
    int rc = 0;

    if (config->device_model_user) {
        rc = choose_named(config->device_model_user, &restricted, err);
    } else if (restricted.is_on && geteuid() == 0) {
        rc = choose_unnamed(owner, &restricted, &warning, err);
    }
    if (!rc) {
        *restrict_r = restricted;
        *warning_r = warning;
    }
    return rc;
}
