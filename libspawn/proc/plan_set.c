/*
 * The setters of a plan.  What they cannot do is remembered in the plan's mark
 * and told by libspawn__plan_check.
 */
#include "proc/plan.h"

#include <string.h>
#include <sys/resource.h>

#include "base/util.h"

struct libspawn_plan *
libspawn_plan_new(void)
{
    struct libspawn_plan *plan = malloc(sizeof *plan);

    if (plan) {
        libspawn__plan_init(plan);
    }
    return plan;
}

void
libspawn_plan_free(struct libspawn_plan *plan)
{
    if (plan) {
        libspawn__plan_dispose(plan);
        free(plan);
    }
}

/* ---- Shared by all ----------------------------------------------------- */

/* The first mark counts: the others may follow from it. */
static void
mark(struct libspawn_plan *plan, const struct libspawn_err *err)
{
    if (!plan->mark.code) {
        plan->mark = *err;
    }
}

static void
set_string(struct libspawn_plan *plan, char **slot, const char *text)
{
    struct libspawn_err err;

    if (libspawn__str_assign(slot, text, &err)) {
        mark(plan, &err);
    }
}

/* 'what' is the name of the thing in the sentence. */
static void
add_string(struct libspawn_plan *plan, struct libspawn__strv *list,
           const char *what, const char *text)
{
    struct libspawn_err err;
    int rc = text ? libspawn__strv_add(list, text, &err)
                  : libspawn__fail(&err, LIBSPAWN_ERR_INVALID,
                                   "%s of the plan is NULL", what);

    if (rc) {
        mark(plan, &err);
    }
}

/* Marks the plan and returns false unless 'value' lies within. */
static bool
is_within(struct libspawn_plan *plan, const char *what, int64_t value,
          int64_t min, int64_t max)
{
    struct libspawn_err err;

    if (value >= min && value <= max) {
        return true;
    }
    libspawn__fail(&err, LIBSPAWN_ERR_INVALID,
                   "%s of %lld is not within %lld and %lld", what,
                   (long long)value, (long long)min, (long long)max);
    mark(plan, &err);
    return false;
}

static void
set_option(struct libspawn_plan *plan, enum libspawn__plan_option option,
           bool is_set)
{
    if (is_set) {
        plan->options |= (uint64_t)option;
    } else {
        plan->options &= ~(uint64_t)option;
    }
}

/* ---- What to start ----------------------------------------------------- */

void
libspawn_plan_set_label(struct libspawn_plan *plan, const char *label,
                        const char *guest)
{
    if (plan) {
        set_string(plan, &plan->label, label);
        set_string(plan, &plan->guest, guest);
    }
}

void
libspawn_plan_set_program(struct libspawn_plan *plan, const char *path)
{
    if (plan) {
        set_string(plan, &plan->program, path);
    }
}

void
libspawn_plan_add_arg(struct libspawn_plan *plan, const char *arg)
{
    if (plan) {
        add_string(plan, &plan->argv, "an argument", arg);
    }
}

void
libspawn_plan_add_env(struct libspawn_plan *plan, const char *assignment)
{
    if (plan) {
        add_string(plan, &plan->env, "an assignment", assignment);
    }
}

void
libspawn_plan_set_directory(struct libspawn_plan *plan, const char *directory)
{
    if (plan) {
        set_string(plan, &plan->directory, directory);
    }
}

void
libspawn_plan_add_fd(struct libspawn_plan *plan, int fd, int child_fd)
{
    struct libspawn_err err;

    if (plan && libspawn__plan_add_fd(plan, fd, child_fd, &err)) {
        mark(plan, &err);
    }
}

/* ---- Whose rights it has ----------------------------------------------- */

void
libspawn_plan_set_user(struct libspawn_plan *plan, const char *user,
                       const char *group)
{
    struct libspawn_err err;

    if (plan && libspawn__plan_find_user(plan, user, group, &err)) {
        mark(plan, &err);
    }
}

void
libspawn_plan_add_group(struct libspawn_plan *plan, const char *group)
{
    struct libspawn_err err;
    gid_t gid;

    if (!plan) {
        return;
    }
    if (libspawn__plan_find_group(group, &gid, &err) ||
        libspawn__plan_add_gid(plan, gid, &err)) {
        mark(plan, &err);
    } else {
        set_option(plan, LIBSPAWN__PLAN_GROUPS, true);
    }
}

void
libspawn_plan_set_capabilities(struct libspawn_plan *plan,
                               uint64_t capabilities)
{
    if (plan) {
        plan->capabilities = capabilities;
        set_option(plan, LIBSPAWN__PLAN_CAPABILITIES, true);
    }
}

void
libspawn_plan_set_securebits(struct libspawn_plan *plan, unsigned int bits)
{
    if (plan) {
        plan->securebits = bits;
        set_option(plan, LIBSPAWN__PLAN_SECUREBITS, true);
    }
}

void
libspawn_plan_set_no_new_privs(struct libspawn_plan *plan)
{
    if (plan) {
        set_option(plan, LIBSPAWN__PLAN_NO_NEW_PRIVS, true);
    }
}

void
libspawn_plan_set_chroot(struct libspawn_plan *plan, const char *directory)
{
    if (plan) {
        set_string(plan, &plan->chroot, directory);
        set_option(plan, LIBSPAWN__PLAN_CHROOT, directory);
    }
}

void
libspawn_plan_set_landlock(struct libspawn_plan *plan,
                           enum libspawn_landlock how)
{
    if (plan && is_within(plan, "a way of using Landlock", how,
                          LIBSPAWN_LANDLOCK_REQUIRED,
                          LIBSPAWN_LANDLOCK_BEST_EFFORT)) {
        set_option(plan, LIBSPAWN__PLAN_LANDLOCK, true);
        set_option(plan, LIBSPAWN__PLAN_LANDLOCK_BEST_EFFORT,
                   how == LIBSPAWN_LANDLOCK_BEST_EFFORT);
    }
}

void
libspawn_plan_add_landlock_path(struct libspawn_plan *plan, const char *path,
                                enum libspawn_access access)
{
    if (plan && is_within(plan, "an access to a path", access,
                          LIBSPAWN_ACCESS_READ, LIBSPAWN_ACCESS_WRITE)) {
        add_string(plan,
                   access == LIBSPAWN_ACCESS_READ ? &plan->read_paths
                                                  : &plan->write_paths,
                   "a Landlock path", path);
    }
}

/* ---- Where it runs, and how much it gets ------------------------------- */

void
libspawn_plan_set_namespaces(struct libspawn_plan *plan,
                             unsigned int namespaces)
{
    enum { ALL = 2 * LIBSPAWN_NAMESPACE_UTS - 1 };

    if (plan && is_within(plan, "a set of namespaces", namespaces, 0, ALL)) {
        plan->namespaces = namespaces;
        set_option(plan, LIBSPAWN__PLAN_NAMESPACES, namespaces);
    }
}

void
libspawn_plan_set_cgroup(struct libspawn_plan *plan, const char *directory)
{
    if (plan) {
        set_string(plan, &plan->cgroup, directory);
        set_option(plan, LIBSPAWN__PLAN_CGROUP, directory);
    }
}

void
libspawn_plan_set_limit(struct libspawn_plan *plan, int resource,
                        uint64_t soft, uint64_t hard)
{
    struct libspawn_err err;

    if (!plan || !is_within(plan, "a resource", resource, 0,
                            LIBSPAWN__PLAN_RESOURCES - 1)) {
        return;
    }
    if (soft > hard) {
        libspawn__fail(&err, LIBSPAWN_ERR_INVALID,
                       "the soft limit %llu of resource %d is above its hard "
                       "limit %llu",
                       (unsigned long long)soft, resource,
                       (unsigned long long)hard);
        mark(plan, &err);
        return;
    }
    plan->limits[resource] = (struct libspawn__plan_limit){ true, soft, hard };
    set_option(plan, LIBSPAWN__PLAN_LIMITS, true);
}

void
libspawn_plan_set_core_size(struct libspawn_plan *plan, uint64_t max_size)
{
    /* The one limit that the kernel also holds a core to that goes through a
     * pipe, and with which it writes no file either. */
    enum { NO_CORE = 1 };
    uint64_t size = max_size ? max_size : NO_CORE;

    libspawn_plan_set_limit(plan, RLIMIT_CORE, size, size);
}

void
libspawn_plan_set_umask(struct libspawn_plan *plan, unsigned int mask)
{
    if (plan && is_within(plan, "a file mode mask", mask, 0, 0777)) {
        plan->umask = mask;
        set_option(plan, LIBSPAWN__PLAN_UMASK, true);
    }
}

void
libspawn_plan_set_nice(struct libspawn_plan *plan, int nice)
{
    if (plan && is_within(plan, "a nice value", nice, -20, 19)) {
        plan->nice = (uint64_t)(int64_t)nice;
        set_option(plan, LIBSPAWN__PLAN_NICE, true);
    }
}

void
libspawn_plan_set_oom_score_adj(struct libspawn_plan *plan, int score)
{
    if (plan && is_within(plan, "an oom_score_adj", score, -1000, 1000)) {
        plan->oom_score_adj = (uint64_t)(int64_t)score;
        set_option(plan, LIBSPAWN__PLAN_OOM_SCORE_ADJ, true);
    }
}

void
libspawn_plan_set_scheduler(struct libspawn_plan *plan,
                            enum libspawn_scheduler scheduler)
{
    if (plan && is_within(plan, "a scheduler", scheduler,
                          LIBSPAWN_SCHEDULER_OTHER, LIBSPAWN_SCHEDULER_IDLE)) {
        plan->scheduler = scheduler;
        set_option(plan, LIBSPAWN__PLAN_SCHEDULER, true);
    }
}

void
libspawn_plan_set_io_priority(struct libspawn_plan *plan,
                              enum libspawn_io_class io_class,
                              unsigned int level)
{
    if (plan &&
        is_within(plan, "an I/O class", io_class, LIBSPAWN_IO_BEST_EFFORT,
                  LIBSPAWN_IO_IDLE) &&
        is_within(plan, "an I/O priority", level, 0,
                  io_class == LIBSPAWN_IO_IDLE ? 0 : 7)) {
        plan->io_class = io_class;
        plan->io_level = level;
        set_option(plan, LIBSPAWN__PLAN_IO_PRIORITY, true);
    }
}

/* ---- What is kept of it, and when it is ready -------------------------- */

void
libspawn_plan_set_log(struct libspawn_plan *plan, const char *path,
                      size_t max_size, unsigned int n_old)
{
    if (plan) {
        set_string(plan, &plan->log_path, path);
        plan->log_max_size =
            max_size ? max_size : LIBSPAWN__PLAN_LOG_MAX_SIZE;
        plan->n_old_logs = n_old ? n_old : LIBSPAWN__PLAN_OLD_LOGS;
    }
}

void
libspawn_plan_set_log_stamps(struct libspawn_plan *plan)
{
    if (plan) {
        set_option(plan, LIBSPAWN__PLAN_LOG_STAMPS, true);
    }
}

void
libspawn_plan_set_record(struct libspawn_plan *plan, const char *store_address,
                         const char *path)
{
    if (plan) {
        set_string(plan, &plan->store_address, store_address);
        set_string(plan, &plan->record_path, path);
    }
}

void
libspawn_plan_add_pid_node(struct libspawn_plan *plan, const char *path)
{
    if (plan) {
        add_string(plan, &plan->pid_nodes, "a pid node", path);
    }
}

void
libspawn_plan_remove_at_end(struct libspawn_plan *plan, const char *path)
{
    if (plan) {
        add_string(plan, &plan->end_files, "a file to remove", path);
    }
}

void
libspawn_plan_ready_on_store(struct libspawn_plan *plan, const char *path,
                             const char *value)
{
    if (plan) {
        set_string(plan, &plan->ready_path, path);
        set_string(plan, &plan->ready_value, value);
        plan->ready |= LIBSPAWN_READY_STORE;
    }
}

void
libspawn_plan_ready_on_notify(struct libspawn_plan *plan, int child_fd)
{
    if (plan && is_within(plan, "a descriptor to notify by", child_fd, 0,
                          LIBSPAWN__PLAN_CHILD_FD_MAX)) {
        plan->notify_fd = (uint64_t)child_fd;
        plan->ready |= LIBSPAWN_READY_NOTIFY;
    }
}

void
libspawn_plan_ready_on_socket(struct libspawn_plan *plan,
                              uint32_t max_start_ms)
{
    if (plan) {
        plan->max_start_ms = max_start_ms;
        plan->ready |= LIBSPAWN_READY_SOCKET;
    }
}

void
libspawn_plan_ready_on_confirm(struct libspawn_plan *plan)
{
    if (plan) {
        plan->ready |= LIBSPAWN_READY_CALLER;
    }
}

void
libspawn_plan_set_timeouts(struct libspawn_plan *plan, uint32_t start_ms,
                           uint32_t stop_ms)
{
    if (plan) {
        plan->start_ms = start_ms;
        plan->stop_ms = stop_ms;
    }
}
