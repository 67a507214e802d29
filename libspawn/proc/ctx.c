#include "proc/ctx.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "proc/child.h"
#include "proc/program.h"
#include "wire/stream.h"

/* Between two tries to watch one. */
enum {
    RETRY_MS = 100
};

/* A watcher that was started: reaped when its pidfd becomes readable. */
struct watcher {
    struct libspawn__list link;
    struct libspawn_ctx *ctx;
    struct libspawn__pidref ref;
    struct libspawn__io io;
    uint64_t started_before; /* clock ticks since boot, as its start time */
};

/* ---- Reaping ----------------------------------------------------------- */

static void
forget_watcher(struct watcher *watcher)
{
    libspawn__list_remove(&watcher->link);
    libspawn__io_remove(&watcher->io);
    libspawn__pidref_dispose(&watcher->ref);
    free(watcher);
}

/* Its status says nothing that its messages did not say before, so a caller
 * that reaps it first does no harm.  By its pidfd, since after that its number
 * may belong to another child of the caller. */
static void
reap_watcher(struct watcher *watcher)
{
    const struct libspawn_ctx *ctx = watcher->ctx;
    int status;

    if (ctx->has_hooks && ctx->hooks.waitpid) {
        ctx->hooks.waitpid(ctx->hooks.user, watcher->ref.id.pid, &status);
    } else {
        libspawn__pidref_reap(&watcher->ref);
    }
    forget_watcher(watcher);
}

static void
on_watcher_end(struct libspawn__io *io, uint32_t events)
{
    struct watcher *watcher = CONTAINER_OF(io, struct watcher, io);

    (void)events;
    if (libspawn__pidref_has_ended(&watcher->ref)) {
        reap_watcher(watcher);
    }
}

/* Everything that watching needs, before there is anything to watch: a child
 * that cannot be watched would never be reaped.  'fd' is any open descriptor;
 * a copy of it keeps the place of the pidfd. */
static int
new_watcher(struct libspawn_ctx *ctx, int fd, struct watcher **watcher_r,
            struct libspawn_err *err)
{
    struct watcher *watcher = calloc(1, sizeof *watcher);

    if (!watcher) {
        return libspawn__fail_nomem(err);
    }
    watcher->ctx = ctx;
    watcher->ref.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    libspawn__list_append(&ctx->watchers, &watcher->link);
    if (watcher->ref.fd < 0) {
        int rc = libspawn__fail_errno(err, errno, "watching a process");

        forget_watcher(watcher);
        return rc;
    }
    *watcher_r = watcher;
    return 0;
}

static int
add_to_loop(struct watcher *watcher, struct libspawn_err *err)
{
    return libspawn__io_add(watcher->ctx->loop, &watcher->io, watcher->ref.fd,
                            EPOLLIN, on_watcher_end, err);
}

static void
retry_soon(struct libspawn_ctx *ctx)
{
    libspawn__timer_set(&ctx->watch_timer,
                        libspawn__clock_now_ms() + RETRY_MS);
}

/* By its number once more: who has it now and is younger is another. */
static int
pin_again(struct watcher *watcher)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int rc;

    if (watcher->ref.fd >= 0) {
        return 0;
    }
    rc = libspawn__pidref_from_pid(watcher->ref.id.pid, &ref, NULL);
    if (rc) {
        return rc;
    }
    if (ref.id.start_time > watcher->started_before) {
        return LIBSPAWN_ERR_GONE;
    }
    watcher->ref = ref;
    ref.fd = -1;
    return 0;
}

/* One for which there was no memory or descriptor is to be reaped all the
 * same. */
static void
on_watch_timer(struct libspawn__timer *timer)
{
    struct libspawn_ctx *ctx =
        CONTAINER_OF(timer, struct libspawn_ctx, watch_timer);
    struct libspawn__list *link = ctx->watchers.next;

    while (link != &ctx->watchers) {
        struct watcher *watcher = CONTAINER_OF(link, struct watcher, link);
        int rc = watcher->io.loop ? 0 : pin_again(watcher);

        link = link->next;
        if (!rc && !watcher->io.loop) {
            rc = add_to_loop(watcher, NULL);
        }
        if (rc == LIBSPAWN_ERR_GONE) {
            forget_watcher(watcher);
        } else if (rc) {
            retry_soon(ctx);
        }
    }
}

static uint64_t
ticks_since_boot(void)
{
    struct timespec now;
    long per_s = sysconf(_SC_CLK_TCK);

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)(now.tv_sec * per_s + now.tv_nsec / (1000000000 / per_s));
}

/* LIBSPAWN_ERR_GONE when it has ended already and the caller's program, which
 * reaps everything, was faster. */
static int
watch_watcher(struct watcher *watcher, pid_t pid, struct libspawn_err *err)
{
    int rc;

    libspawn__pidref_dispose(&watcher->ref);
    watcher->ref.id.pid = pid;
    rc = libspawn__pidref_of_child(pid, &watcher->ref, err);
    if (!rc) {
        rc = add_to_loop(watcher, err);
    }
    if (rc && rc != LIBSPAWN_ERR_GONE) {
        watcher->started_before = ticks_since_boot();
        retry_soon(watcher->ctx);
    }
    return rc;
}

/* ---- Starting a watcher ------------------------------------------------ */

/* Each kind of store has its own program, so that the ordinary one is static
 * and small and only the other needs the Xen libraries. */
static bool
is_xenstore(const char *store_address)
{
    return store_address &&
           libspawn__str_has_prefix(store_address, "xenstore:");
}

/* The one that was given, or the one of that name. */
static int
find_program(const char *given, const char *name, char **path_r,
             struct libspawn_err *err)
{
    AUTO_FREE char *path = NULL;
    int rc = 0;

    if (!given) {
        return libspawn__program_find(name, path_r, err);
    }
    rc = libspawn__str_assign(&path, given, err);
    if (!rc && access(path, X_OK) < 0) {
        rc = libspawn__fail_errno(err, errno, "looking for the program '%s'",
                                  path);
    }
    if (!rc) {
        *path_r = TAKE_PTR(path);
    }
    return rc;
}

static int
find_watcher(const struct libspawn_ctx *ctx, const char *store_address,
             char **path_r, struct libspawn_err *err)
{
    return find_program(ctx->watcher_path,
                        is_xenstore(store_address) ? "spawn-watcher-xen"
                                                   : "spawn-watcher",
                        path_r, err);
}

int
libspawn__ctx_open_watcher(const struct libspawn_ctx *ctx,
                           const char *store_address, int *fd_r,
                           struct libspawn_err *err)
{
    AUTO_FREE char *path = NULL;
    int rc = find_watcher(ctx, store_address, &path, err);
    int fd;

    if (rc) {
        return rc;
    }
    fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    *fd_r = fd;
    return 0;
}

/* The context watches it from here on. */
static int
start(struct libspawn_ctx *ctx, const char *path, char *const argv[], int fd,
      pid_t *pid_r, struct libspawn_err *err)
{
    char *envp[] = { NULL };
    struct watcher *watcher = NULL;
    pid_t pid;
    int rc = new_watcher(ctx, fd, &watcher, err);
    int r;

    if (rc) {
        return rc;
    }
    r = ctx->has_hooks && ctx->hooks.spawn
            ? ctx->hooks.spawn(ctx->hooks.user, path, argv, envp, fd, &pid)
            : libspawn__program_spawn(path, argv, envp, fd, false, &pid);
    if (r) {
        forget_watcher(watcher);
        return libspawn__program_fail(err, r, path);
    }
    *pid_r = pid;
    rc = watch_watcher(watcher, pid, err);
    if (rc == LIBSPAWN_ERR_GONE) {
        /* What it had to say lies in the socket. */
        reap_watcher(watcher);
        return 0;
    }
    /* After another failure it ends by itself, as soon as the caller closes
     * the socket. */
    return rc;
}

int
libspawn__ctx_start_watcher(struct libspawn_ctx *ctx,
                            const char *store_address, const char *title,
                            int fd, pid_t *pid_r, struct libspawn_err *err)
{
    char name[] = "spawn-watcher";
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *title_copy = strdup(title ? title : "");
    char *argv[] = { name, title_copy, NULL };
    int rc;

    if (!title_copy) {
        return libspawn__fail_nomem(err);
    }
    rc = find_watcher(ctx, store_address, &path, err);
    return rc ? rc : start(ctx, path, argv, fd, pid_r, err);
}

int
libspawn__ctx_start_program(struct libspawn_ctx *ctx, const char *path,
                            char *const argv[], int fd, pid_t *pid_r,
                            struct libspawn_err *err)
{
    AUTO_FREE char *found = NULL;
    int rc = find_program(path, argv[0], &found, err);

    return rc ? rc : start(ctx, found, argv, fd, pid_r, err);
}

size_t
libspawn__ctx_list_watchers(const struct libspawn_ctx *ctx, pid_t pids[],
                            size_t max)
{
    struct libspawn__list *link;
    size_t n = 0;

    LIST_FOR_EACH (link, &ctx->watchers) {
        if (n < max) {
            pids[n++] = CONTAINER_OF(link, struct watcher, link)->ref.id.pid;
        }
    }
    return n;
}

void
libspawn__ctx_keep_watcher(struct libspawn_ctx *ctx, pid_t pid)
{
    struct watcher *watcher;

    if (!new_watcher(ctx, libspawn__loop_fd(ctx->loop), &watcher, NULL) &&
        watch_watcher(watcher, pid, NULL) == LIBSPAWN_ERR_GONE) {
        reap_watcher(watcher);
    }
}

/* One that is not reaped yet, or NULL. */
static struct watcher *
find_watcher_of(const struct libspawn_ctx *ctx, pid_t pid)
{
    struct libspawn__list *link;

    LIST_FOR_EACH (link, &ctx->watchers) {
        struct watcher *watcher = CONTAINER_OF(link, struct watcher, link);

        if (watcher->ref.id.pid == pid) {
            return watcher;
        }
    }
    return NULL;
}

void
libspawn__ctx_kill_watcher(struct libspawn_ctx *ctx, pid_t pid)
{
    struct watcher *watcher = find_watcher_of(ctx, pid);

    if (watcher) {
        libspawn__pidref_signal(&watcher->ref, SIGKILL, NULL);
    }
}

/* It is simply killed, and reaped: the caller's program need not know. */
void
libspawn__ctx_end_watcher(struct libspawn_ctx *ctx, pid_t pid)
{
    struct watcher *watcher = find_watcher_of(ctx, pid);

    if (watcher) {
        libspawn__pidref_signal(&watcher->ref, SIGKILL, NULL);
        libspawn__pidref_wait(&watcher->ref, -1, NULL);
        reap_watcher(watcher);
    }
}

/* ---- A spare one ------------------------------------------------------- */

int
libspawn_ctx_prepare(struct libspawn_ctx *ctx, const char *store_address,
                     const char *title, struct libspawn_err *err)
{
    AUTO_FD int theirs = -1;
    int fds[2];
    int rc;

    if (ctx->spare.fd >= 0) {
        return 0;
    }
    rc = libspawn__stream_pair(false, fds, err);
    if (rc) {
        return rc;
    }
    theirs = fds[1];
    rc = libspawn__ctx_start_watcher(ctx, store_address, title, theirs,
                                     &ctx->spare.pid, err);
    if (rc) {
        close(fds[0]);
        return rc;
    }
    ctx->spare.fd = fds[0];
    ctx->spare.is_xen = is_xenstore(store_address);
    return 0;
}

int
libspawn__ctx_take_spare(struct libspawn_ctx *ctx, const char *store_address,
                         pid_t *pid_r)
{
    int fd = ctx->spare.fd;

    if (fd < 0 || ctx->spare.is_xen != is_xenstore(store_address)) {
        return -1;
    }
    ctx->spare.fd = -1;
    *pid_r = ctx->spare.pid;
    return fd;
}

static void
drop_spare(struct libspawn_ctx *ctx)
{
    if (ctx->spare.fd >= 0) {
        close(TAKE_FD(ctx->spare.fd));
        libspawn__ctx_end_watcher(ctx, ctx->spare.pid);
    }
}

/* ---- The context ------------------------------------------------------- */

int
libspawn_ctx_new(const struct libspawn_ctx_options *options,
                 struct libspawn_ctx **ctx_r, struct libspawn_err *err)
{
    struct libspawn_ctx *ctx = calloc(1, sizeof *ctx);
    int rc;

    if (!ctx) {
        return libspawn__fail_nomem(err);
    }
    libspawn__list_init(&ctx->children);
    libspawn__list_init(&ctx->watchers);
    ctx->spare.fd = -1;
    rc = libspawn__loop_new(&ctx->loop, err);
    if (!rc) {
        libspawn__timer_init(ctx->loop, &ctx->watch_timer, on_watch_timer);
    }
    if (!rc && options) {
        rc = libspawn__str_assign(&ctx->watcher_path, options->watcher_path,
                                  err);
    }
    if (rc) {
        libspawn_ctx_free(ctx);
        return rc;
    }
    if (options && options->hooks) {
        ctx->has_hooks = true;
        ctx->hooks = *options->hooks;
    }
    *ctx_r = ctx;
    return 0;
}

void
libspawn_ctx_free(struct libspawn_ctx *ctx)
{
    if (!ctx) {
        return;
    }
    libspawn__children_orphan(&ctx->children);
    drop_spare(ctx);
    while (!libspawn__list_is_empty(&ctx->watchers)) {
        forget_watcher(CONTAINER_OF(ctx->watchers.next, struct watcher, link));
    }
    libspawn__loop_free(ctx->loop);
    free(ctx->watcher_path);
    free(ctx);
}

int
libspawn_ctx_fd(const struct libspawn_ctx *ctx)
{
    return libspawn__loop_fd(ctx->loop);
}

int
libspawn_ctx_dispatch(struct libspawn_ctx *ctx, struct libspawn_err *err)
{
    return libspawn__loop_dispatch(ctx->loop, err);
}

int
libspawn_ctx_wait(struct libspawn_ctx *ctx, int timeout_ms,
                  struct libspawn_err *err)
{
    return libspawn__loop_wait(ctx->loop, timeout_ms, err);
}
