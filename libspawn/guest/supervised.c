#include "guest/supervised.h"

#include <signal.h>
#include <unistd.h>

#include "base/str.h"
#include "guest/host.h"
#include "guest/supervision.h"
#include "proc/pidfile.h"
#include "wire/rpc_client.h"

enum {
    ANSWER_MS = 2000, /* its loop does not block */
    END_MS = 5000,
    FINISH_MS = 120000, /* scripts may be slow */
    SETTLE_MS = 10000,
    LISTEN_MS = 20,
    LISTEN_TRIES = 50
};

/* ---- Paths ------------------------------------------------------------- */

char *
libspawn__supervised_dir(const struct libspawn_host *host)
{
    return libspawn__str_format("%s/supervisors", host->state_dir);
}

char *
libspawn__supervised_pid_path(const struct libspawn_host *host,
                              const char *name)
{
    return libspawn__str_format("%s/supervisors/%s.pid", host->state_dir,
                                name);
}

char *
libspawn__supervised_control_path(const struct libspawn_host *host,
                                  const char *name)
{
    return libspawn__str_format("%s/supervisors/%s.sock", host->state_dir,
                                name);
}

char *
libspawn__supervised_monitor_path(const struct libspawn_host *host,
                                  const char *name)
{
    return libspawn__str_format("%s/supervisors/%s.monitor", host->state_dir,
                                name);
}

/* ---- Finding ----------------------------------------------------------- */

/* The number is that of a living process as long as its file is locked, so it
 * is looked at once more when the process is pinned.  LIBSPAWN_ERR_CONFLICT:
 * it was another by then. */
static int
find_once(const char *path, struct libspawn__pidref *ref,
          struct libspawn_err *err)
{
    pid_t again = 0;
    pid_t pid = 0;
    int rc = libspawn__pidfile_owner(path, &pid, err);

    if (!rc) {
        rc = libspawn__pidref_from_pid(pid, ref, err);
    }
    if (!rc) {
        rc = libspawn__pidfile_owner(path, &again, err);
    }
    if (!rc && again != pid) {
        libspawn__pidref_dispose(ref);
        rc = libspawn__fail(err, LIBSPAWN_ERR_CONFLICT,
                            "the owners of '%s' follow each other", path);
    }
    return rc;
}

static int
find(const char *path, struct libspawn__pidref *ref_r,
     struct libspawn_err *err)
{
    enum {
        TRIES = 10
    };
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int rc = path ? LIBSPAWN_ERR_CONFLICT : libspawn__fail_nomem(err);
    int tries;

    for (tries = 0; rc == LIBSPAWN_ERR_CONFLICT && tries < TRIES; tries++) {
        rc = find_once(path, &ref, err);
    }
    if (!rc) {
        *ref_r = ref;
        ref.fd = -1;
    }
    return rc;
}

int
libspawn__supervised_find(const struct libspawn_host *host, const char *name,
                          struct libspawn__pidref *ref_r,
                          struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__supervised_pid_path(host, name);

    return find(path, ref_r, err);
}

int
libspawn__supervised_find_monitor(const struct libspawn_host *host,
                                  const char *name,
                                  struct libspawn__pidref *ref_r,
                                  struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__supervised_monitor_path(host, name);

    return find(path, ref_r, err);
}

bool
libspawn__supervised_has_left(const struct libspawn_host *host,
                              const char *name)
{
    AUTO_FREE char *path = libspawn__supervised_pid_path(host, name);

    return path && access(path, F_OK) < 0;
}

bool
libspawn__supervised_is(const struct libspawn_host *host, const char *name)
{
    AUTO_FREE char *path = libspawn__supervised_pid_path(host, name);

    return path && !libspawn__pidfile_owner(path, NULL, NULL);
}

bool
libspawn__supervised_is_domain(struct libspawn_host *host, uint32_t domid)
{
    struct libspawn__supervision supervision;

    return !libspawn__supervision_read(host, domid, &supervision, NULL);
}

/* ---- Asking ------------------------------------------------------------ */

int
libspawn__supervised_call(const struct libspawn_host *host, const char *name,
                          const char *method, const char *params_json,
                          int timeout_ms, struct libspawn__json **result_r,
                          struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__supervised_control_path(host, name);
    AUTO_FREE char *address = path ? libspawn__str_format("unix:%s", path)
                                   : NULL;
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    int rc;

    if (!address) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__rpc_session_open(address, timeout_ms, &session, err);
    if (rc == LIBSPAWN_ERR_NOT_FOUND || rc == LIBSPAWN_ERR_GONE) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "guest '%s' has no supervisor", name);
    }
    return rc ? rc
              : libspawn__rpc_session_call(session, method, params_json,
                                           timeout_ms, result_r, err);
}

int
libspawn__supervised_settle(const struct libspawn_host *host, const char *name,
                            pid_t pid, struct libspawn_err *err)
{
    AUTO_FREE char *params = libspawn__str_format("{\"pid\":%d}", (int)pid);
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int rc = libspawn__supervised_find(host, name, &ref, err);

    if (!rc && !params) {
        rc = libspawn__fail_nomem(err);
    }
    if (!rc) {
        rc = libspawn__supervised_call(host, name, "settle", params, SETTLE_MS,
                                       NULL, err);
    }
    if (rc == LIBSPAWN_ERR_GONE) {
        /* It removed the guest, and ends. */
        libspawn__pidref_wait(&ref, END_MS, NULL);
    }
    return rc == LIBSPAWN_ERR_NOT_FOUND || rc == LIBSPAWN_ERR_GONE ? 0 : rc;
}

/* ---- Dismissing -------------------------------------------------------- */

/* One that has just locked its pid file listens in a moment.  One that removes
 * a guest finishes that first. */
static int
ask_to_leave(const struct libspawn_host *host, const char *name,
             const struct libspawn__pidref *ref, bool *is_finishing_r,
             struct libspawn_err *err)
{
    AUTO_JSON struct libspawn__json *answer = NULL;
    int rc = LIBSPAWN_ERR_NOT_FOUND;
    int tries;

    for (tries = 0; rc == LIBSPAWN_ERR_NOT_FOUND && tries < LISTEN_TRIES;
         tries++) {
        rc = libspawn__supervised_call(host, name, "leave", NULL, ANSWER_MS,
                                       &answer, err);
        if (rc == LIBSPAWN_ERR_NOT_FOUND &&
            !libspawn__pidref_wait(ref, LISTEN_MS, NULL)) {
            return 0;
        }
    }
    *is_finishing_r =
        libspawn__json_bool(libspawn__json_member(answer, "finishing"), false);
    return rc;
}

/* It hangs, or is no longer what it was.  The guest does not notice; one that
 * it was creating goes with it. */
static int
end_hanging(struct libspawn_host *host, const char *name,
            const struct libspawn__pidref *ref, struct libspawn_err *err)
{
    int rc;

    libspawn__pidref_signal(ref, SIGKILL, NULL);
    rc = libspawn__pidref_wait(ref, END_MS, err);
    libspawn__supervised_tidy(host, name);
    return rc ? rc : libspawn__host_sweep(host, err);
}

static int
dismiss(struct libspawn_host *host, const char *name, struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    bool is_finishing = false;
    int rc = libspawn__supervised_find(host, name, &ref, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND || rc == LIBSPAWN_ERR_GONE) {
        libspawn__supervised_tidy(host, name);
        return 0;
    }
    if (rc) {
        return rc;
    }
    rc = ask_to_leave(host, name, &ref, &is_finishing, err);
    if (rc == LIBSPAWN_ERR_BUSY) {
        return rc;
    }
    if (!rc && !libspawn__pidref_wait(&ref, is_finishing ? FINISH_MS : END_MS,
                                      NULL)) {
        return 0;
    }
    return end_hanging(host, name, &ref, err);
}

/* It follows its supervisor, unless it hangs, or waits to start another. */
static void
dismiss_monitor(const struct libspawn_host *host, const char *name)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    if (!libspawn__supervised_find_monitor(host, name, &ref, NULL)) {
        libspawn__pidref_signal(&ref, SIGTERM, NULL);
        if (libspawn__pidref_wait(&ref, END_MS, NULL)) {
            libspawn__pidref_signal(&ref, SIGKILL, NULL);
            libspawn__pidref_wait(&ref, END_MS, NULL);
        }
    }
    libspawn__supervised_tidy(host, name);
}

static bool
is_own(const struct libspawn_host *host, const char *name)
{
    AUTO_FREE char *path = libspawn__supervised_pid_path(host, name);
    pid_t pid;

    return path && !libspawn__pidfile_owner(path, &pid, NULL) &&
           pid == getpid();
}

/* The node goes first: whoever wants to take over from a dead one, and has the
 * pid file by then, looks for it.  While the supervisor itself removes the
 * guest, the node stays: should it die, another goes on. */
int
libspawn__supervised_dismiss(struct libspawn_host *host, uint32_t domid,
                             const char *name, struct libspawn_err *err)
{
    struct libspawn__supervision supervision;
    bool is_to_be;
    int rc;

    if (is_own(host, name)) {
        return 0;
    }
    is_to_be = !libspawn__supervision_read(host, domid, &supervision, NULL);
    rc = is_to_be ? libspawn__supervision_remove(host, domid, err) : 0;
    if (!rc) {
        rc = dismiss(host, name, err);
        if (rc && is_to_be) {
            libspawn__supervision_write(host, domid, &supervision, NULL);
        } else if (!rc) {
            dismiss_monitor(host, name);
        }
    }
    return rc;
}
