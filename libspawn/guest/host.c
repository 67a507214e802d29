#include "guest/host.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "guest/events.h"
#include "guest/intent.h"
#include "guest/plugin.h"
#include "guest/xen_detect.h"
#include "proc/lock.h"

/* ---- State directory --------------------------------------------------- */

static int
find_state_dir(const struct libspawn_host_options *options, char **path_r,
               struct libspawn_err *err)
{
    const char *given = options ? options->state_dir : NULL;
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
    int rc = find_state_dir(options, &host->state_dir, err);

    if (!rc) {
        rc = make_state_dir(host->state_dir, err);
    }
    if (!rc) {
        host->lock_path = libspawn__str_format("%s/lock", host->state_dir);
        rc = host->lock_path ? 0 : libspawn__fail_nomem(err);
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
        free(host->lock_path);
        free(host);
    }
}

const char *
libspawn_host_hypervisor(const struct libspawn_host *host)
{
    return host->hypervisor->name;
}

/* ---- The lock ---------------------------------------------------------- */

/* A record lock has no descriptor that one could wait for, F_OFD_SETLKW is
 * interrupted only by a signal handler, which a library does not install, and
 * a thread that waits in our place would have to be killed when the wait is
 * given up.  So the lock is tried again and again, as soon as anybody wants to
 * hear something meanwhile; each holder is done within a millisecond or two,
 * hence the short first pauses. */
static int
await_lock(struct libspawn_host *host, int *fd_r, struct libspawn_err *err)
{
    enum { MAX_PAUSE_MS = 50 };
    int64_t began_ms = libspawn__clock_now_ms();
    int pause_ms = 1;
    int rc;

    while ((rc = libspawn__lock_try(host->lock_path, fd_r, err)) ==
           LIBSPAWN_ERR_BUSY) {
        if (host->waiting(host->waiting_user,
                          libspawn__clock_now_ms() - began_ms)) {
            return libspawn__fail(err, LIBSPAWN_ERR_ABORTED,
                                  "waiting for the lock '%s' was given up",
                                  host->lock_path);
        }
        poll(NULL, 0, pause_ms);
        pause_ms = MIN(2 * pause_ms, MAX_PAUSE_MS);
    }
    return rc;
}

int
libspawn__host_lock(struct libspawn_host *host, int *fd_r,
                    struct libspawn_err *err)
{
    return host->waiting ? await_lock(host, fd_r, err)
                         : libspawn__lock_take(host->lock_path, fd_r, err);
}

/* ---- Cleaning up after the dead ---------------------------------------- */

/* Whether the owner has ended; a process that cannot be looked at (no
 * descriptor free, say) counts as alive. */
static bool
is_owner_gone(const struct libspawn__identity *owner)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    return libspawn__pidref_open(owner, &ref, NULL) == LIBSPAWN_ERR_GONE;
}

static void
note_abandoned(struct libspawn_host *host,
               const struct libspawn__intent *intent)
{
    const struct libspawn__event event = {
        .guest = intent->name,
        .domid = intent->domid,
        .uuid = intent->uuid,
        .kind = LIBSPAWN_GUEST_EVENT_CREATE_FAILED,
        .reason = libspawn_code_name(LIBSPAWN_ERR_GONE),
        .text = "its creator died",
    };

    libspawn__event_append(host, &event, NULL);
}

static int
sweep_intent(struct libspawn_host *host, const char *uuid,
             struct libspawn_err *err)
{
    AUTO_INTENT struct libspawn__intent intent = { 0 };
    AUTO_FD int lock = -1;
    int rc;

    /* Looked at once more under the lock: two commands may sweep at once. */
    rc = libspawn__host_lock(host, &lock, err);
    if (!rc) {
        rc = libspawn__intent_read(host, uuid, &intent, err);
    }
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return 0;
    }
    if (!rc && is_owner_gone(&intent.owner)) {
        rc = host->hypervisor->abandon(host, &intent, err);
        if (!rc) {
            libspawn__intent_remove(host, uuid);
            note_abandoned(host, &intent);
        }
    }
    return rc;
}

int
libspawn__host_sweep(struct libspawn_host *host, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv uuids = { 0 };
    int rc = libspawn__intent_list(host, &uuids, err);
    size_t i;

    for (i = 0; !rc && i < uuids.n_items; i++) {
        AUTO_INTENT struct libspawn__intent intent = { 0 };

        rc = libspawn__intent_read(host, uuids.items[i], &intent, err);
        if (rc == LIBSPAWN_ERR_NOT_FOUND) {
            rc = 0;
        } else if (!rc && is_owner_gone(&intent.owner)) {
            rc = sweep_intent(host, uuids.items[i], err);
        }
    }
    if (!rc && host->hypervisor->sweep) {
        rc = host->hypervisor->sweep(host, err);
    }
    return rc;
}
