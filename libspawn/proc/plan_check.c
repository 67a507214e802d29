/*
 * Whether a plan can be started: what is missing, contradicts, or cannot be
 * had on this host.  What only the child can find out is left to its steps.
 */
#include "proc/plan.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/util.h"

static int
check_environment(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < plan->env.n_items; i++) {
        const char *equals = strchr(plan->env.items[i], '=');

        if (!equals || equals == plan->env.items[i]) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "'%.80s' in the environment is not "
                                  "NAME=value",
                                  plan->env.items[i]);
        }
    }
    return 0;
}

static int
check_descriptors(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    size_t i;

    if (plan->ready & LIBSPAWN_READY_NOTIFY &&
        libspawn__plan_has_child_fd(plan, (int)plan->notify_fd)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "descriptor %d is both passed on and used to "
                              "notify",
                              (int)plan->notify_fd);
    }
    for (i = 0; i < plan->n_fds; i++) {
        if (fcntl(plan->fds[i].fd, F_GETFD) < 0) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "descriptor %d of the plan is not open",
                                  plan->fds[i].fd);
        }
    }
    return 0;
}

static int
check_path(const char *what, const char *path, struct libspawn_err *err)
{
    if (path && strlen(path) >= PATH_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the path of the %s is %zu bytes long, more "
                              "than %d: '%.40s...'",
                              what, strlen(path), PATH_MAX - 1, path);
    }
    return 0;
}

static int
check_paths(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    const struct {
        const char *what;
        const char *path;
    } paths[] = {
        { "program", plan->program },     { "directory", plan->directory },
        { "new root", plan->chroot },     { "cgroup", plan->cgroup },
        { "log", plan->log_path },
    };
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < ARRAY_SIZE(paths); i++) {
        rc = check_path(paths[i].what, paths[i].path, err);
    }
    return rc;
}

/* What the child is told by its environment has to be true. */
static int
check_socket(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    size_t i;

    if (!(plan->ready & LIBSPAWN_READY_SOCKET)) {
        return 0;
    }
    if (plan->namespaces & LIBSPAWN_NAMESPACE_NET) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the notify socket cannot be reached from a "
                              "network namespace of its own");
    }
    for (i = 0; i < plan->env.n_items; i++) {
        if (libspawn__str_has_prefix(plan->env.items[i], "NOTIFY_SOCKET=")) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "NOTIFY_SOCKET is both in the environment "
                                  "of the plan and set by the watcher");
        }
    }
    return 0;
}

static int
check_store(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    if (!plan->store_address != !plan->record_path) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "a record needs both a store and a path");
    }
    if ((plan->ready & LIBSPAWN_READY_STORE || plan->pid_nodes.n_items) &&
        !plan->store_address) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the plan uses nodes but names no store");
    }
    if (plan->ready & LIBSPAWN_READY_STORE &&
        (!plan->ready_path || !plan->ready_value)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "readiness by a node needs both its path and "
                              "its value");
    }
    return 0;
}

static int
check_landlock(const struct libspawn_plan *plan, struct libspawn_err *err)
{
    bool is_used = plan->options & LIBSPAWN__PLAN_LANDLOCK;

    if (!is_used && (plan->read_paths.n_items || plan->write_paths.n_items)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the plan has Landlock paths but does not ask "
                              "for Landlock");
    }
    if (is_used && !(plan->options & LIBSPAWN__PLAN_LANDLOCK_BEST_EFFORT) &&
        syscall(SYS_landlock_create_ruleset, NULL, 0,
                LANDLOCK_CREATE_RULESET_VERSION) < 0) {
        libspawn__fail_errno(err, errno,
                             "the kernel has no Landlock, which the plan "
                             "requires");
        if (err) {
            err->code = LIBSPAWN_ERR_UNSUPPORTED;
        }
        return LIBSPAWN_ERR_UNSUPPORTED;
    }
    return 0;
}

int
libspawn__plan_check(const struct libspawn_plan *plan,
                     struct libspawn_err *err)
{
    static int (*const checks[])(const struct libspawn_plan *,
                                 struct libspawn_err *) = {
        check_environment, check_descriptors, check_paths,
        check_socket,      check_store,       check_landlock,
    };
    size_t i;
    int rc = 0;

    if (!plan) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID, "there is no plan");
    }
    if (plan->mark.code) {
        if (err) {
            *err = plan->mark;
        }
        return plan->mark.code;
    }
    if (!plan->program || !plan->program[0]) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the plan names no program");
    }
    if (!plan->argv.n_items) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the plan has no argument zero");
    }
    for (i = 0; !rc && i < ARRAY_SIZE(checks); i++) {
        rc = checks[i](plan, err);
    }
    return rc;
}
