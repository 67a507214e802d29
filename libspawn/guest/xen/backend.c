/*
 * Sources: drivers/xen/xenbus and the backends there in the Linux tree.
 */
#include "guest/xen/backend.h"

#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"

enum {
    BACKEND_TIMEOUT_MS = 10000, /* as the stock toolstack; for all of them */
    PAUSE_MAX_MS = 50
};

/* ---- One --------------------------------------------------------------- */

char *
libspawn__xen_read_node(struct libspawn__xen *xen, const char *dir,
                        const char *name)
{
    AUTO_FREE char *path = libspawn__str_format("%s/%s", dir, name);
    char *value = NULL;

    if (path) {
        (void)libspawn__store_read(xen->store, NULL, path, &value, NULL, NULL);
    }
    return value;
}

/* UNKNOWN when the backend is gone. */
static enum libspawn__xen_device_state
read_state(struct libspawn__xen *xen, const char *dir)
{
    AUTO_FREE char *text = libspawn__xen_read_node(xen, dir, "state");
    uint64_t state;

    if (!text || libspawn__str_to_u64(text, 0, 8, &state, NULL)) {
        return LIBSPAWN__XEN_DEVICE_UNKNOWN;
    }
    return (enum libspawn__xen_device_state)state;
}

/* In that state, or gone. */
static bool
is_there(struct libspawn__xen *xen, const char *dir,
         enum libspawn__xen_device_state wanted,
         enum libspawn__xen_device_state *state_r)
{
    *state_r = read_state(xen, dir);
    return *state_r == wanted || *state_r == LIBSPAWN__XEN_DEVICE_UNKNOWN;
}

static int
fail_late(const char *dir, enum libspawn__xen_device_state state,
          enum libspawn__xen_device_state wanted, struct libspawn_err *err)
{
    return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                          "the backend '%s' stays in state %d in place of %d",
                          dir, (int)state, (int)wanted);
}

/* ---- Blocking ---------------------------------------------------------- */

static int
await(struct libspawn__xen *xen, const char *dir,
      enum libspawn__xen_device_state wanted, int64_t deadline,
      struct libspawn_err *err)
{
    enum libspawn__xen_device_state state;
    int pause_ms = 1;

    while (!is_there(xen, dir, wanted, &state)) {
        if (libspawn__clock_now_ms() >= deadline) {
            return fail_late(dir, state, wanted, err);
        }
        poll(NULL, 0, pause_ms);
        pause_ms = MIN(pause_ms * 2, PAUSE_MAX_MS);
    }
    return 0;
}

int
libspawn__xen_backends_await(struct libspawn__xen *xen,
                             const struct libspawn__strv *dirs,
                             enum libspawn__xen_device_state state,
                             struct libspawn_err *err)
{
    int64_t deadline = libspawn__clock_now_ms() + BACKEND_TIMEOUT_MS;
    int rc = 0;
    size_t i;

    for (i = 0; i < dirs->n_items; i++) {
        int one = await(xen, dirs->items[i], state, deadline, rc ? NULL : err);

        rc = rc ? rc : one;
    }
    return rc;
}

/* ---- On the loop ------------------------------------------------------- */

struct wait;

struct watched {
    struct wait *wait;
    char *dir;
    struct libspawn__store_watch watch; /* inactive: it is there */
};

struct wait {
    struct libspawn__xen *xen;
    enum libspawn__xen_device_state wanted;
    struct watched *backends;
    size_t n;
    size_t n_missing;
    struct libspawn__timer timer;
    libspawn__xen_backends_fn *fn;
    void *user;
};

static void
wait_free(struct wait *wait)
{
    size_t i;

    for (i = 0; i < wait->n; i++) {
        libspawn__store_watch_remove(&wait->backends[i].watch);
        free(wait->backends[i].dir);
    }
    libspawn__timer_cancel(&wait->timer);
    free(wait->backends);
    free(wait);
}

static void
finish(struct wait *wait, const struct libspawn_err *err)
{
    libspawn__xen_backends_fn *fn = wait->fn;
    void *user = wait->user;

    wait_free(wait);
    fn(user, err);
}

/* One that cannot be read any more, as when the store is lost, is not waited
 * for. */
static void
on_change(struct libspawn__store_watch *watch, const char *path)
{
    struct watched *backend = CONTAINER_OF(watch, struct watched, watch);
    struct wait *wait = backend->wait;
    enum libspawn__xen_device_state state;

    (void)path;
    if (is_there(wait->xen, backend->dir, wait->wanted, &state)) {
        libspawn__store_watch_remove(watch);
        if (--wait->n_missing == 0) {
            finish(wait, NULL);
        }
    }
}

/* Each is looked at once more: its watch may just be about to fire. */
static void
on_late(struct libspawn__timer *timer)
{
    struct wait *wait = CONTAINER_OF(timer, struct wait, timer);
    enum libspawn__xen_device_state state;
    struct libspawn_err err = { 0 };
    size_t i;

    for (i = 0; i < wait->n && !err.code; i++) {
        if (!is_there(wait->xen, wait->backends[i].dir, wait->wanted,
                      &state)) {
            fail_late(wait->backends[i].dir, state, wait->wanted, &err);
        }
    }
    finish(wait, err.code ? &err : NULL);
}

static int
watch_one(struct wait *wait, struct libspawn__loop *loop, const char *dir,
          struct libspawn_err *err)
{
    struct watched *backend = &wait->backends[wait->n];
    AUTO_FREE char *path = libspawn__str_format("%s/state", dir);
    int rc = path ? libspawn__str_assign(&backend->dir, dir, err)
                  : libspawn__fail_nomem(err);

    if (rc) {
        return rc;
    }
    backend->wait = wait;
    wait->n++;
    return libspawn__store_watch_add(wait->xen->store, loop, &backend->watch,
                                     path, on_change, err);
}

int
libspawn__xen_backends_await_start(struct libspawn__xen *xen,
                                   struct libspawn__loop *loop,
                                   const struct libspawn__strv *dirs,
                                   enum libspawn__xen_device_state state,
                                   libspawn__xen_backends_fn *fn, void *user,
                                   struct libspawn_err *err)
{
    struct wait *wait = calloc(1, sizeof *wait);
    int rc = 0;
    size_t i;

    if (!wait) {
        return libspawn__fail_nomem(err);
    }
    *wait = (struct wait){ .xen = xen,
                           .wanted = state,
                           .n_missing = dirs->n_items,
                           .fn = fn,
                           .user = user };
    libspawn__timer_init(loop, &wait->timer, on_late);
    wait->backends = calloc(dirs->n_items, sizeof *wait->backends);
    rc = wait->backends ? 0 : libspawn__fail_nomem(err);
    for (i = 0; !rc && i < dirs->n_items; i++) {
        rc = watch_one(wait, loop, dirs->items[i], err);
    }
    if (rc) {
        wait_free(wait);
        return rc;
    }
    libspawn__timer_set(&wait->timer,
                        libspawn__clock_now_ms() + BACKEND_TIMEOUT_MS);
    return 0;
}
