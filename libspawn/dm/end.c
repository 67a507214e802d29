#include "dm/end.h"

#include <signal.h>

#include "base/clock.h"
#include "base/util.h"

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

/* ---- On the loop ------------------------------------------------------- */

void
libspawn__dm_ending_stop(struct libspawn__dm_ending *ending)
{
    libspawn__io_remove(&ending->io);
    libspawn__timer_cancel(&ending->timer);
    libspawn__pidref_dispose(&ending->process);
    libspawn__pidref_dispose(&ending->watcher);
}

static void
finish(struct libspawn__dm_ending *ending, const struct libspawn_err *err)
{
    libspawn__dm_ending_stop(ending);
    ending->fn(ending->user, err);
}

static libspawn__io_fn on_ended;

static int
watch(struct libspawn__dm_ending *ending, enum libspawn__dm_ending_state state,
      const struct libspawn__pidref *ref, int timeout_ms,
      struct libspawn_err *err)
{
    int rc = libspawn__io_add(ending->loop, &ending->io, ref->fd, EPOLLIN,
                              on_ended, err);

    ending->state = state;
    libspawn__timer_set(&ending->timer, libspawn__clock_now_ms() + timeout_ms);
    return rc;
}

static void
on_ended(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__dm_ending *ending =
        CONTAINER_OF(io, struct libspawn__dm_ending, io);
    bool is_watcher = ending->state == LIBSPAWN__DM_ENDING_WATCHER;

    (void)events;
    if (!libspawn__pidref_has_ended(is_watcher ? &ending->watcher
                                               : &ending->process)) {
        return;
    }
    libspawn__io_remove(io);
    if (is_watcher || ending->watcher.fd < 0 ||
        watch(ending, LIBSPAWN__DM_ENDING_WATCHER, &ending->watcher,
              WATCHER_TIMEOUT_MS, NULL)) {
        finish(ending, NULL);
    }
}

/* A process that is gone by now is as good as one that was ended. */
static int
kill_process(struct libspawn__dm_ending *ending, struct libspawn_err *err)
{
    int rc = libspawn__pidref_signal(&ending->process, SIGKILL, err);

    ending->state = LIBSPAWN__DM_ENDING_KILL;
    libspawn__timer_set(&ending->timer,
                        libspawn__clock_now_ms() + KILL_TIMEOUT_MS);
    return rc == LIBSPAWN_ERR_GONE ? 0 : rc;
}

static void
on_late(struct libspawn__timer *timer)
{
    struct libspawn__dm_ending *ending =
        CONTAINER_OF(timer, struct libspawn__dm_ending, timer);
    struct libspawn_err err;

    switch (ending->state) {
    case LIBSPAWN__DM_ENDING_TERM:
        if (kill_process(ending, &err)) {
            finish(ending, &err);
        }
        break;
    case LIBSPAWN__DM_ENDING_KILL:
        libspawn__fail(&err, LIBSPAWN_ERR_TIMEOUT,
                       "process %d does not end, not even by SIGKILL",
                       (int)ending->process.id.pid);
        finish(ending, &err);
        break;
    case LIBSPAWN__DM_ENDING_WATCHER:
        finish(ending, NULL);
        break;
    }
}

void
libspawn__dm_ending_init(struct libspawn__dm_ending *ending,
                         struct libspawn__loop *loop,
                         libspawn__dm_ending_fn *fn, void *user)
{
    *ending = (struct libspawn__dm_ending){
        .loop = loop,
        .fn = fn,
        .user = user,
        .process = LIBSPAWN__PIDREF_INIT,
        .watcher = LIBSPAWN__PIDREF_INIT,
    };
    libspawn__timer_init(loop, &ending->timer, on_late);
}

static int
begin(struct libspawn__dm_ending *ending, int grace_ms,
      struct libspawn_err *err)
{
    int rc = watch(ending, LIBSPAWN__DM_ENDING_TERM, &ending->process,
                   grace_ms, err);

    if (!rc && grace_ms > 0) {
        rc = libspawn__pidref_signal(&ending->process, SIGTERM, err);
        libspawn__pidref_signal(&ending->process, SIGCONT, NULL);
    } else if (!rc) {
        rc = kill_process(ending, err);
    }
    return rc == LIBSPAWN_ERR_GONE ? 0 : rc;
}

int
libspawn__dm_ending_start_process(struct libspawn__dm_ending *ending,
                                  struct libspawn__pidref *process,
                                  int grace_ms, struct libspawn_err *err)
{
    int rc;

    ending->process = *process;
    process->fd = -1;
    rc = begin(ending, grace_ms, err);
    if (rc) {
        libspawn__dm_ending_stop(ending);
    }
    return rc;
}

/* There is no process: that is told from dispatch too. */
static int
finish_soon(struct libspawn__dm_ending *ending)
{
    ending->state = LIBSPAWN__DM_ENDING_WATCHER;
    libspawn__timer_set(&ending->timer, libspawn__clock_now_ms());
    return 0;
}

static int
start_watcher_only(struct libspawn__dm_ending *ending,
                   struct libspawn_err *err)
{
    return ending->watcher.fd < 0
               ? finish_soon(ending)
               : watch(ending, LIBSPAWN__DM_ENDING_WATCHER, &ending->watcher,
                       WATCHER_TIMEOUT_MS, err);
}

int
libspawn__dm_ending_start(struct libspawn__dm_ending *ending,
                          struct libspawn__store *store, const char *path,
                          int grace_ms, struct libspawn_err *err)
{
    struct libspawn__record record;
    int rc = libspawn__record_read(store, path, &record, err);

    if (rc) {
        return rc == LIBSPAWN_ERR_NOT_FOUND ? finish_soon(ending) : rc;
    }
    if (record.watcher.pid) {
        libspawn__pidref_open(&record.watcher, &ending->watcher, NULL);
    }
    rc = libspawn__pidref_open(&record.child, &ending->process, err);
    if (!rc) {
        rc = begin(ending, grace_ms, err);
    } else if (rc == LIBSPAWN_ERR_GONE) {
        rc = start_watcher_only(ending, err);
    }
    if (rc) {
        libspawn__dm_ending_stop(ending);
    }
    return rc;
}
