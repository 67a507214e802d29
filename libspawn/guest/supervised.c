#include "guest/supervised.h"

#include <signal.h>
#include <unistd.h>

#include "base/str.h"
#include "proc/pidfile.h"
#include "wire/rpc_client.h"

enum {
    ANSWER_MS = 2000, /* its loop does not block */
    END_MS = 5000,
    SETTLE_MS = 10000
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

/* ---- Finding ----------------------------------------------------------- */

/* The number is that of a living process as long as its file is locked, so it
 * is looked at once more when the process is pinned. */
int
libspawn__supervised_find(const struct libspawn_host *host, const char *name,
                          struct libspawn__pidref *ref_r,
                          struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__supervised_pid_path(host, name);
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    pid_t again = 0;
    pid_t pid = 0;
    int rc = path ? libspawn__pidfile_owner(path, &pid, err)
                  : libspawn__fail_nomem(err);

    if (!rc) {
        rc = libspawn__pidref_from_pid(pid, &ref, err);
    }
    if (!rc) {
        rc = libspawn__pidfile_owner(path, &again, err);
    }
    if (!rc && again != pid) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                            "the supervisor of guest '%s' is being replaced",
                            name);
    }
    if (!rc) {
        *ref_r = ref;
        ref.fd = -1;
    }
    return rc;
}

bool
libspawn__supervised_is(const struct libspawn_host *host, const char *name)
{
    AUTO_FREE char *path = libspawn__supervised_pid_path(host, name);
    pid_t pid;

    return path && !libspawn__pidfile_owner(path, &pid, NULL);
}

bool
libspawn__supervised_is_domain(struct libspawn_host *host, uint32_t domid)
{
    AUTO_FREE char *name = NULL;

    return !libspawn_guest_get_name(host, domid, &name, NULL) &&
           libspawn__supervised_is(host, name);
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

int
libspawn__supervised_dismiss(const struct libspawn_host *host,
                             const char *name, struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int rc = libspawn__supervised_find(host, name, &ref, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND || rc == LIBSPAWN_ERR_GONE ||
        (!rc && ref.id.pid == getpid())) {
        return 0;
    }
    if (rc) {
        return rc;
    }
    rc = libspawn__supervised_call(host, name, "leave", NULL, ANSWER_MS, NULL,
                                   err);
    if (rc == LIBSPAWN_ERR_BUSY) {
        return rc;
    }
    if (!rc && !libspawn__pidref_wait(&ref, END_MS, NULL)) {
        return 0;
    }
    /* It hangs, or is no longer what it was.  The guest does not notice. */
    libspawn__pidref_signal(&ref, SIGKILL, NULL);
    return libspawn__pidref_wait(&ref, END_MS, err);
}
