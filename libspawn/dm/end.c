#include "dm/end.h"

#include <signal.h>

enum {
    KILL_TIMEOUT_MS = 10000,  /* a process may hang in the kernel */
    WATCHER_TIMEOUT_MS = 5000 /* it also ends what the child left behind */
};

int
libspawn__dm_end_process(const struct libspawn__pidref *ref, int grace_ms,
                         struct libspawn_err *err)
{
    int rc = LIBSPAWN_ERR_TIMEOUT;

    if (grace_ms > 0) {
        rc = libspawn__pidref_signal(ref, SIGTERM, err);
        if (!rc) {
            /* A stopped process takes SIGTERM only when it goes on. */
            libspawn__pidref_signal(ref, SIGCONT, NULL);
            rc = libspawn__pidref_wait(ref, grace_ms, err);
        }
    }
    if (rc == LIBSPAWN_ERR_TIMEOUT) {
        rc = libspawn__pidref_signal(ref, SIGKILL, err);
        if (!rc) {
            rc = libspawn__pidref_wait(ref, KILL_TIMEOUT_MS, err);
        }
    }
    return rc == LIBSPAWN_ERR_GONE ? 0 : rc;
}

/* It ends by itself once the child has; until then it may still write. */
static void
await_watcher(const struct libspawn__identity *watcher)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    if (watcher->pid && !libspawn__pidref_open(watcher, &ref, NULL)) {
        libspawn__pidref_wait(&ref, WATCHER_TIMEOUT_MS, NULL);
    }
}

int
libspawn__dm_end(struct libspawn__store *store, const char *path, int grace_ms,
                 struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn__record record;
    int rc;

    rc = libspawn__record_read(store, path, &record, err);
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return 0;
    } else if (rc) {
        return rc;
    }
    rc = libspawn__pidref_open(&record.child, &ref, err);
    if (!rc) {
        rc = libspawn__dm_end_process(&ref, grace_ms, err);
    } else if (rc == LIBSPAWN_ERR_GONE) {
        rc = 0;
    }
    if (!rc) {
        await_watcher(&record.watcher);
    }
    return rc;
}
