/*
 * The paths that the child can reach, by Landlock.
 *
 * Each version of it ("ABI") knows more kinds of access; those that the kernel
 * does not know yet it can neither forbid nor allow.
 *
 * Knowledge: landlock(7).
 */
#include "proc/exec_steps.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

/* Newer than the headers of Debian 12. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

/* What there is from the first version on: the bits below the next. */
#define ACCESS_FIRST (LANDLOCK_ACCESS_FS_REFER - 1)

#define ACCESS_READ                                                           \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |              \
     LANDLOCK_ACCESS_FS_READ_DIR)

/* What means something for a file that is no directory. */
#define ACCESS_FILE                                                           \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |              \
     LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE |            \
     LANDLOCK_ACCESS_FS_IOCTL_DEV)

static const struct {
    long version;
    uint64_t access;
} additions[] = {
    { 1, ACCESS_FIRST },
    { 2, LANDLOCK_ACCESS_FS_REFER },
    { 3, LANDLOCK_ACCESS_FS_TRUNCATE },
    { 5, LANDLOCK_ACCESS_FS_IOCTL_DEV },
};

static uint64_t
known_access(long version)
{
    uint64_t access = 0;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(additions); i++) {
        if (additions[i].version <= version) {
            access |= additions[i].access;
        }
    }
    return access;
}

static int
allow_path(int ruleset, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = { .allowed_access = access };
    struct stat st;
    int r = -1;
    int saved_errno;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0) {
        return -1;
    }
    if (fstat(rule.parent_fd, &st) == 0) {
        if (!S_ISDIR(st.st_mode)) {
            rule.allowed_access &= ACCESS_FILE;
        }
        r = (int)syscall(SYS_landlock_add_rule, ruleset,
                         LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    saved_errno = errno;
    close(rule.parent_fd);
    errno = saved_errno;
    return r;
}

/* Counts on in 'item', for the report. */
static int
allow_paths(int ruleset, const struct libspawn__strv *paths, uint64_t access,
            uint32_t *item)
{
    size_t i;

    for (i = 0; i < paths->n_items; i++) {
        if (allow_path(ruleset, paths->items[i], access) < 0) {
            return -1;
        }
        ++*item;
    }
    return 0;
}

int
libspawn__exec_confine(struct libspawn__exec *exec)
{
    const struct libspawn_plan *plan = exec->plan;
    struct landlock_ruleset_attr attr = { 0 };
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
                           LANDLOCK_CREATE_RULESET_VERSION);
    uint64_t all = known_access(version);
    int ruleset;

    exec->item = UINT32_MAX; /* not about a path */
    if (version < 0) {
        return plan->options & LIBSPAWN__PLAN_LANDLOCK_BEST_EFFORT ? 0 : -1;
    }
    attr.handled_access_fs = all;
    /* Stays open until exec closes it. */
    ruleset =
        (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0) {
        return -1;
    }
    exec->item = 0;
    if (allow_paths(ruleset, &plan->read_paths, all & ACCESS_READ,
                    &exec->item) < 0 ||
        allow_paths(ruleset, &plan->write_paths, all, &exec->item) < 0) {
        return -1;
    }
    return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}
