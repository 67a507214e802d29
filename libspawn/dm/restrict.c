/*
 * Knowledge: Xen's docs/features/qemu-deprivilege.pandoc, for the limits and
 * namespaces; capabilities(7), landlock(7), setrlimit(2).
 */
#include "dm/restrict.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "dm/serial.h"

enum {
    /* Beside its processors: what serves disks, up to 64 at a time, and
     * displays. */
    OTHER_THREADS = 160,
    DESCRIPTORS_MAX = 1024
};

/* More than a picture of its screen, which it writes for us. */
#define FILE_SIZE_MAX (64ull * 1024 * 1024)

/* ---- User -------------------------------------------------------------- */

/* KVM is for the group of its device, where not for all. */
static void
add_kvm_group(struct libspawn_plan *plan)
{
    char text[24];
    struct stat st;

    if (stat("/dev/kvm", &st) < 0 || !(st.st_mode & S_IWGRP) ||
        st.st_mode & S_IWOTH || !st.st_gid) {
        return;
    }
    snprintf(text, sizeof text, "%u", (unsigned int)st.st_gid);
    libspawn_plan_add_group(plan, text);
}

static void
set_user(const struct libspawn__restrict *restricted,
         const struct libspawn_guest_config *config,
         struct libspawn_plan *plan)
{
    char uid[24];
    char gid[24];

    if (config->device_model_user) {
        libspawn_plan_set_user(plan, config->device_model_user, NULL);
    } else {
        snprintf(uid, sizeof uid, "%u", (unsigned int)restricted->uid);
        snprintf(gid, sizeof gid, "%u", (unsigned int)restricted->gid);
        libspawn_plan_set_user(plan, uid, gid);
    }
    add_kvm_group(plan);
    libspawn_plan_set_capabilities(plan, 0);
}

/* ---- Namespaces -------------------------------------------------------- */

/* Whether what it listens on or sends to is the host's network.  Nobody knows
 * what arguments of the configuration are for. */
static bool
needs_network(const struct libspawn_guest_config *config)
{
    size_t i;

    for (i = 0; i < config->n_serials; i++) {
        if (libspawn__serial_needs_network(config->serials[i])) {
            return true;
        }
    }
    return config->n_nics || config->vnc.enable != LIBSPAWN_CHOICE_NO ||
           config->n_device_model_args || config->n_device_model_args_hvm;
}

static void
set_namespaces(const struct libspawn_guest_config *config,
               struct libspawn_plan *plan)
{
    unsigned int namespaces = LIBSPAWN_NAMESPACE_MOUNT |
                              LIBSPAWN_NAMESPACE_IPC;

    if (!needs_network(config)) {
        namespaces |= LIBSPAWN_NAMESPACE_NET;
    }
    libspawn_plan_set_namespaces(plan, namespaces);
}

/* ---- Limits ------------------------------------------------------------ */

static void
set_limits(const struct libspawn__restrict *restricted,
           const struct libspawn_guest_config *config,
           struct libspawn_plan *plan)
{
    uint64_t n_processes = MAX(config->vcpus, config->max_vcpus) +
                           OTHER_THREADS;

    libspawn_plan_set_core_size(plan, 0);
    libspawn_plan_set_limit(plan, RLIMIT_MSGQUEUE, 0, 0);
    libspawn_plan_set_limit(plan, RLIMIT_LOCKS, 0, 0);
    libspawn_plan_set_limit(plan, RLIMIT_MEMLOCK, 0, 0);
    /* It is on how far a file may be written, also one that is long enough
     * already; block devices have none. */
    if (!restricted->writes_files) {
        libspawn_plan_set_limit(plan, RLIMIT_FSIZE, FILE_SIZE_MAX,
                                FILE_SIZE_MAX);
    }
    libspawn_plan_set_limit(plan, RLIMIT_NOFILE, DESCRIPTORS_MAX,
                            DESCRIPTORS_MAX);
    /* Counts the threads of a user, so only for one of its own. */
    if (restricted->is_own) {
        libspawn_plan_set_limit(plan, RLIMIT_NPROC, n_processes, n_processes);
    }
}

/* ---- Files ------------------------------------------------------------- */

/* What a QEMU reads that is not the guest's: libraries, firmware, keymaps,
 * the host's name servers.  Nothing of it is a secret or a user's. */
static const struct {
    const char *path;
    enum libspawn_access access;
} system_paths[] = {
    { "/usr", LIBSPAWN_ACCESS_READ },
    { "/bin", LIBSPAWN_ACCESS_READ },
    { "/lib", LIBSPAWN_ACCESS_READ },
    { "/lib64", LIBSPAWN_ACCESS_READ },
    { "/etc", LIBSPAWN_ACCESS_READ },
    { "/run/systemd/resolve", LIBSPAWN_ACCESS_READ },
    { "/sys/devices/system", LIBSPAWN_ACCESS_READ },
    { "/dev/null", LIBSPAWN_ACCESS_WRITE },
    { "/dev/zero", LIBSPAWN_ACCESS_READ },
    { "/dev/random", LIBSPAWN_ACCESS_READ },
    { "/dev/urandom", LIBSPAWN_ACCESS_READ },
    { "/dev/kvm", LIBSPAWN_ACCESS_WRITE },
};

/* A QEMU that is not below /usr brings its firmware along: beside it, or for
 * PREFIX/bin below PREFIX. */
static void
add_program_paths(const char *program, struct libspawn_plan *plan)
{
    AUTO_FREE char *path = realpath(program, NULL);
    char *slash = path ? strrchr(path, '/') : NULL;

    if (!slash || libspawn__str_has_prefix(path, "/usr/")) {
        return;
    }
    *slash = '\0';
    if (libspawn__str_has_suffix(path, "/bin")) {
        *strrchr(path, '/') = '\0';
    }
    if (*path) {
        libspawn_plan_add_landlock_path(plan, path, LIBSPAWN_ACCESS_READ);
    }
}

/* Where nothing but Landlock keeps it from the caller's own files it has to
 * be there. */
static void
confine_files(const struct libspawn__restrict *restricted, const char *program,
              struct libspawn_plan *plan)
{
    size_t i;

    libspawn_plan_set_landlock(plan, restricted->has_user
                                         ? LIBSPAWN_LANDLOCK_BEST_EFFORT
                                         : LIBSPAWN_LANDLOCK_REQUIRED);
    for (i = 0; i < ARRAY_SIZE(system_paths); i++) {
        if (!access(system_paths[i].path, F_OK)) {
            libspawn_plan_add_landlock_path(plan, system_paths[i].path,
                                            system_paths[i].access);
        }
    }
    add_program_paths(program, plan);
}

/* ---- All of it --------------------------------------------------------- */

void
libspawn__restrict_fill_plan(const struct libspawn__restrict *restricted,
                             const struct libspawn_guest_config *config,
                             const char *program,
                             enum libspawn__restrict_how how,
                             struct libspawn_plan *plan)
{
    bool is_by_plan = how == LIBSPAWN__RESTRICT_BY_PLAN;

    if (restricted->has_user && is_by_plan) {
        set_user(restricted, config, plan);
    }
    if (!restricted->is_on) {
        return;
    }
    libspawn_plan_set_no_new_privs(plan);
    set_limits(restricted, config, plan);
    if (restricted->has_user) {
        set_namespaces(config, plan); /* which only root can */
    }
    if (is_by_plan) {
        confine_files(restricted, program, plan);
    }
}
