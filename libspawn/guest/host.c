#include "guest/host.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/plugin.h"
#include "guest/xen_detect.h"

/* ---- State directory --------------------------------------------------- */

int
libspawn__host_find_state_dir(const char *given, char **path_r,
                              struct libspawn_err *err)
{
    const char *runtime;
    char *path;

    if (!given || !given[0]) {
        given = secure_getenv("XL_STATE_DIR");
    }
    if (given && given[0]) {
        /* Sockets and logs below it are named to processes with another
         * working directory. */
        AUTO_FREE char *cwd = given[0] == '/' ? NULL : getcwd(NULL, 0);

        path = given[0] == '/' ? strdup(given)
               : cwd           ? libspawn__str_format("%s/%s", cwd, given)
                               : NULL;
    } else if (!geteuid()) {
        path = strdup("/run/xl");
    } else {
        runtime = secure_getenv("XDG_RUNTIME_DIR");
        if (!runtime || runtime[0] != '/') {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "no state directory: give --state-dir, or "
                                  "set XL_STATE_DIR or XDG_RUNTIME_DIR");
        }
        path = libspawn__str_format("%s/xl", runtime);
    }
    if (!path) {
        return libspawn__fail_nomem(err);
    }
    *path_r = path;
    return 0;
}

/* The default directory is made, with its parents; one that somebody named
 * must have a parent, so that a slip of the pen is noticed. */
static int
make_state_dir(const char *path, struct libspawn_err *err)
{
    struct stat st;
    int r = 0;

    if ((mkdir(path, 0700) < 0 && errno != EEXIST) || stat(path, &st) < 0) {
        r = errno;
    } else if (!S_ISDIR(st.st_mode)) {
        r = ENOTDIR;
    } else if (access(path, R_OK | W_OK | X_OK) < 0) {
        r = errno;
    }
    return r ? libspawn__fail_errno(err, r, "state directory '%s'", path) : 0;
}

int
libspawn__host_make_state_dir(const char *given, char **path_r,
                              struct libspawn_err *err)
{
    AUTO_FREE char *path = NULL;
    int rc = libspawn__host_find_state_dir(given, &path, err);

    if (!rc) {
        rc = make_state_dir(path, err);
    }
    if (!rc) {
        *path_r = TAKE_PTR(path);
    }
    return rc;
}

static int
make_lock_dir(const char *state_dir, struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__str_format("%s/locks", state_dir);

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return libspawn__fail_errno(err, errno, "making the directory '%s'",
                                    path);
    }
    return 0;
}

static int
find_sysfs(const char *given, char **path_r, struct libspawn_err *err)
{
    if (!given || !given[0]) {
        given = secure_getenv("XL_SYSFS_DIR");
    }
    if (!given || !given[0]) {
        given = "/sys";
    }
    if (given[0] != '/') {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the place of sysfs, '%s', is not an absolute "
                              "path",
                              given);
    }
    return libspawn__str_assign(path_r, given, err);
}

/* ---- Hypervisor -------------------------------------------------------- */

/* A watcher starts while we do.  That it cannot is nothing to talk of now: a
 * creation tries again, and then says why. */
static void
prepare(struct libspawn_host *host,
        const struct libspawn_host_options *options, const char *store_address)
{
    if (options && options->next_guest) {
        libspawn_ctx_prepare(host->ctx, store_address, options->next_guest,
                             NULL);
    }
}

static int
choose_hypervisor(struct libspawn_host *host,
                  const struct libspawn_host_options *options,
                  struct libspawn_err *err)
{
    void *plugin;
    int rc;

    if (libspawn__xen_detect("/") != LIBSPAWN__XEN_CONTROL) {
        prepare(host, options, NULL);
        host->hypervisor = &libspawn__hypervisor_qemu;
        return 0;
    }
    prepare(host, options, "xenstore:");
    rc = libspawn__plugin_open(LIBSPAWN__PLUGIN_FILE, &plugin, err);
    if (rc) {
        libspawn__err_prefix(err, "this is a Xen host");
        return rc;
    }
    host->hypervisor = dlsym(plugin, LIBSPAWN__PLUGIN_SYMBOL);
    if (!host->hypervisor ||
        strcmp(host->hypervisor->version, LIBSPAWN_VERSION) != 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "the Xen plugin is of another version than this "
                              "program (%s)",
                              LIBSPAWN_VERSION);
    }
    return 0;
}

/* ---- Open and close ---------------------------------------------------- */

static int
open_host(struct libspawn_host *host,
          const struct libspawn_host_options *options,
          struct libspawn_err *err)
{
    int rc = libspawn__host_make_state_dir(options ? options->state_dir : NULL,
                                           &host->state_dir, err);

    if (!rc) {
        rc = find_sysfs(options ? options->sysfs_dir : NULL, &host->sysfs_dir,
                        err);
    }
    if (!rc) {
        rc = make_lock_dir(host->state_dir, err);
    }
    if (!rc) {
        rc = choose_hypervisor(host, options, err);
    }
    if (!rc) {
        rc = host->hypervisor->open(host, err);
    }
    return rc ? rc : libspawn__host_sweep(host, err);
}

int
libspawn_host_open(struct libspawn_ctx *ctx,
                   const struct libspawn_host_options *options,
                   struct libspawn_host **host_r, struct libspawn_err *err)
{
    struct libspawn_host *host = calloc(1, sizeof *host);
    int rc;

    if (!host) {
        return libspawn__fail_nomem(err);
    }
    host->ctx = ctx;
    if (options) {
        host->waiting = options->waiting;
        host->waiting_user = options->waiting_user;
        host->warning = options->warning;
        host->warning_user = options->warning_user;
    }
    rc = open_host(host, options, err);
    if (rc) {
        libspawn_host_close(host);
        return rc;
    }
    *host_r = host;
    return 0;
}

void
libspawn_host_close(struct libspawn_host *host)
{
    if (host) {
        if (host->hypervisor) {
            host->hypervisor->close(host);
        }
        libspawn__store_close(host->store);
        free(host->state_dir);
        free(host->sysfs_dir);
        free(host);
    }
}

const char *
libspawn_host_hypervisor(const struct libspawn_host *host)
{
    return host->hypervisor->name;
}

/* ---- Locks ------------------------------------------------------------- */

int
libspawn__host_find_lock(const struct libspawn_host_options *options,
                         char **path_r, struct libspawn_err *err)
{
    AUTO_FREE char *state_dir = NULL;
    int rc = libspawn__host_make_state_dir(options ? options->state_dir : NULL,
                                           &state_dir, err);

    if (!rc) {
        rc = make_lock_dir(state_dir, err);
    }
    if (!rc) {
        *path_r = libspawn__str_format("%s/locks/host", state_dir);
        rc = *path_r ? 0 : libspawn__fail_nomem(err);
    }
    return rc;
}

char *
libspawn__host_guest_lock_path(const struct libspawn_host *host,
                               uint32_t domid)
{
    return libspawn__str_format("%s/locks/guest-%u", host->state_dir,
                                (unsigned int)domid);
}

/* A lock as it is asked for: the strings belong to this. */
struct lock_name {
    struct libspawn__lock_request request;
    char *path;
    char *name;
};

static void
dispose_name(struct lock_name *name)
{
    free(name->path);
    free(name->name);
}

static int
name_lock(struct lock_name *lock, struct libspawn_err *err)
{
    lock->request.path = lock->path;
    lock->request.name = lock->name;
    return lock->path && lock->name ? 0 : libspawn__fail_nomem(err);
}

static int
name_host(const struct libspawn_host *host, struct lock_name *lock,
          struct libspawn_err *err)
{
    lock->path = libspawn__str_format("%s/locks/host", host->state_dir);
    lock->name = strdup("the host lock");
    lock->request.rank = LIBSPAWN__LOCK_RANK_HOST;
    return name_lock(lock, err);
}

static int
name_guest(const struct libspawn_host *host, uint32_t domid,
           struct lock_name *lock, struct libspawn_err *err)
{
    lock->path = libspawn__host_guest_lock_path(host, domid);
    lock->name =
        libspawn__str_format("the lock of guest %u", (unsigned int)domid);
    lock->request.rank = LIBSPAWN__LOCK_RANK_GUEST(domid);
    return name_lock(lock, err);
}

/* Nobody wants to hear anything meanwhile: then the kernel wakes us itself. */
static int
take_lock(struct libspawn_host *host,
          const struct libspawn__lock_request *request,
          struct libspawn__lock *lock_r, struct libspawn_err *err)
{
    const struct libspawn__lock_patience patience = {
        .timeout_ms = -1,
        .waiting = host->waiting,
        .waiting_user = host->waiting_user,
    };

    return host->waiting ? libspawn__lock_await(host->ctx, request, &patience,
                                                lock_r, err)
                         : libspawn__lock_take(request, lock_r, err);
}

int
libspawn__host_lock(struct libspawn_host *host, struct libspawn__lock *lock_r,
                    struct libspawn_err *err)
{
    AUTO(dispose_name) struct lock_name lock = { .path = NULL };
    int rc = name_host(host, &lock, err);

    return rc ? rc : take_lock(host, &lock.request, lock_r, err);
}

int
libspawn__host_lock_guest(struct libspawn_host *host, uint32_t domid,
                          struct libspawn__lock *lock_r,
                          struct libspawn_err *err)
{
    AUTO(dispose_name) struct lock_name lock = { .path = NULL };
    int rc = name_guest(host, domid, &lock, err);

    return rc ? rc : take_lock(host, &lock.request, lock_r, err);
}

int
libspawn__host_try_guest(struct libspawn_host *host, uint32_t domid,
                         struct libspawn__lock *lock_r,
                         struct libspawn_err *err)
{
    AUTO(dispose_name) struct lock_name lock = { .path = NULL };
    int rc = name_guest(host, domid, &lock, err);

    return rc ? rc : libspawn__lock_try(&lock.request, lock_r, err);
}

int
libspawn__host_lock_guest_start(struct libspawn_host *host, uint32_t domid,
                                libspawn__lock_wait_fn *fn, void *user,
                                struct libspawn__lock *lock_r,
                                struct libspawn__lock_wait **wait_r,
                                struct libspawn_err *err)
{
    const struct libspawn__lock_patience patience = { .timeout_ms = -1 };
    AUTO(dispose_name) struct lock_name lock = { .path = NULL };
    int rc = name_guest(host, domid, &lock, err);

    return rc ? rc
              : libspawn__lock_wait_start(host->ctx, &lock.request, &patience,
                                          fn, user, lock_r, wait_r, err);
}

int
libspawn__host_lock_start(struct libspawn_host *host,
                          const struct libspawn__lock *holding,
                          libspawn__lock_wait_fn *fn, void *user,
                          struct libspawn__lock *lock_r,
                          struct libspawn__lock_wait **wait_r,
                          struct libspawn_err *err)
{
    const struct libspawn__lock_patience patience = {
        .timeout_ms = -1,
        .waiting = host->waiting,
        .waiting_user = host->waiting_user,
    };
    AUTO(dispose_name) struct lock_name lock = { .path = NULL };
    int rc = name_host(host, &lock, err);

    lock.request.holding = holding;
    return rc ? rc
              : libspawn__lock_wait_start(host->ctx, &lock.request, &patience,
                                          fn, user, lock_r, wait_r, err);
}

int
libspawn__host_lock_pci(struct libspawn_host *host,
                        struct libspawn__lock *lock_r,
                        struct libspawn_err *err)
{
    AUTO(dispose_name)
    struct lock_name lock = {
        .path = libspawn__str_format("%s/locks/pci", host->state_dir),
        .name = strdup("the lock of PCI devices"),
        .request.rank = LIBSPAWN__LOCK_RANK_PCI,
    };
    int rc = name_lock(&lock, err);

    return rc ? rc : libspawn__lock_take(&lock.request, lock_r, err);
}

void
libspawn__host_unlock(struct libspawn_host *host, struct libspawn__lock *lock)
{
    struct libspawn_err err;

    if (libspawn__lock_release(lock, &err) && host->warning) {
        host->warning(host->warning_user, err.text);
    }
}
