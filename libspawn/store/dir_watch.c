/*
 * Watches of the directory store, by inotify.
 *
 * For each watch the kernel watches every directory from the root to the node
 * and every one below it.  A directory that appears is added before the watch
 * fires, so nothing in it is missed: what came into it earlier is there when
 * the callback looks, and what comes later is an event of its own.  A leaf is
 * watched through its directory.  That the root is lost shows in the directory
 * above it.
 *
 * inotify instances are scarce (fs.inotify.max_user_instances, 128 for all
 * processes of a user).  When the host has none left, the generation of the
 * store is looked at every POLL_MS, and a change fires every watch.
 */
#include "store/dir.h"

#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/auto.h"
#include "base/clock.h"

enum { POLL_MS = 50 };

enum {
    NODE_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                  IN_CLOSE_WRITE,
    PARENT_EVENTS = IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF |
                    IN_DELETE_SELF
};

/* A directory that the kernel watches. */
struct libspawn__dir_watched {
    int wd;
    char *path; /* of the node */
    bool is_wanted;
};

static struct libspawn__store_watch *
watch_of(struct libspawn__list *link)
{
    return CONTAINER_OF(link, struct libspawn__store_watch, link);
}

static void
fire_all(struct libspawn__dir *dir)
{
    struct libspawn__list *link;

    LIST_FOR_EACH (link, &dir->store.watches) {
        libspawn__store_watch_fire(watch_of(link));
    }
}

/* The watches of nodes above and at 'path'; with 'is_tree', because a whole
 * directory came or went, also those below. */
static void
fire(struct libspawn__dir *dir, const char *path, bool is_tree)
{
    struct libspawn__list *link;

    LIST_FOR_EACH (link, &dir->store.watches) {
        struct libspawn__store_watch *watch = watch_of(link);

        if (libspawn__store_path_is_within(path, watch->path) ||
            (is_tree && libspawn__store_path_is_within(watch->path, path))) {
            libspawn__store_watch_fire(watch);
        }
    }
}

static void
check_root(struct libspawn__dir *dir)
{
    if (libspawn__dir_check(dir, NULL) == LIBSPAWN_ERR_GONE) {
        libspawn__store_lose(&dir->store);
    }
}

/* ---- Polling ----------------------------------------------------------- */

static void
poll_store(struct libspawn__timer *timer)
{
    struct libspawn__dir_watches *watches =
        CONTAINER_OF(timer, struct libspawn__dir_watches, timer);
    struct libspawn__dir *dir =
        CONTAINER_OF(watches, struct libspawn__dir, watches);

    check_root(dir);
    /* It changes before the node does, which has changed once we have the
     * lock. */
    if (libspawn__dir_get_generation(dir) != watches->generation &&
        !libspawn__dir_lock(dir, NULL)) {
        watches->generation = libspawn__dir_get_generation(dir);
        libspawn__dir_unlock(dir);
        fire_all(dir);
    }
    libspawn__timer_set(timer, libspawn__clock_now_ms() + POLL_MS);
}

/* ---- The directories that the kernel watches --------------------------- */

static void
drop_item(struct libspawn__dir_watches *watches, size_t i)
{
    free(watches->items[i].path);
    watches->items[i] = watches->items[--watches->n_items];
}

static void
close_inotify(struct libspawn__dir_watches *watches)
{
    libspawn__io_remove(&watches->io);
    libspawn__auto_close(&watches->fd);
    watches->fd = -1;
    while (watches->n_items) {
        drop_item(watches, 0);
    }
}

static void
start_polling(struct libspawn__dir *dir)
{
    close_inotify(&dir->watches);
    dir->watches.generation = libspawn__dir_get_generation(dir);
    libspawn__timer_set(&dir->watches.timer,
                        libspawn__clock_now_ms() + POLL_MS);
    fire_all(dir);
}

static struct libspawn__dir_watched *
find_item(const struct libspawn__dir_watches *watches, int wd)
{
    size_t i;

    for (i = 0; i < watches->n_items; i++) {
        if (watches->items[i].wd == wd) {
            return &watches->items[i];
        }
    }
    return NULL;
}

/* A new item; NULL without memory. */
static struct libspawn__dir_watched *
add_item(struct libspawn__dir_watches *watches, int wd)
{
    struct libspawn__dir_watched *items = watches->items;

    if (watches->n_items == watches->n_allocated) {
        size_t n_wanted = MAX(8, 2 * watches->n_allocated);

        items = reallocarray(items, n_wanted, sizeof *items);
        if (!items) {
            return NULL;
        }
        watches->items = items;
        watches->n_allocated = n_wanted;
    }
    items += watches->n_items++;
    *items = (struct libspawn__dir_watched){ .wd = wd };
    return items;
}

/* 1: the node's directory is watched; 0: the node is none; or -errno. */
static int
want(struct libspawn__dir *dir, const char *path)
{
    AUTO_FREE char *file =
        libspawn__str_format("%s%s", dir->path, path[1] ? path : "");
    struct libspawn__dir_watched *item;
    int wd;

    if (!file) {
        return -ENOMEM;
    }
    wd = inotify_add_watch(dir->watches.fd, file,
                           NODE_EVENTS | IN_ONLYDIR | IN_DONT_FOLLOW);
    if (wd < 0) {
        return errno == ENOSPC || errno == ENOMEM ? -errno : 0;
    }
    item = find_item(&dir->watches, wd);
    if (!item) {
        item = add_item(&dir->watches, wd);
    }
    if (!item || libspawn__str_assign(&item->path, path, NULL)) {
        return -ENOMEM;
    }
    item->is_wanted = true;
    return 1;
}

/* The directories below a node, whose own is watched already. */
static int
want_below(struct libspawn__dir *dir, const char *path)
{
    int fd = libspawn__dir_node_open(dir, path, O_RDONLY | O_DIRECTORY);
    AUTO_DIR DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int r = 0;

    if (!stream) {
        libspawn__auto_close(&fd);
        return 0;
    }
    while (r >= 0 && (entry = readdir(stream))) {
        AUTO_FREE char *child = NULL;

        if (entry->d_name[0] == '.' ||
            (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)) {
            continue;
        }
        child =
            libspawn__str_format("%s/%s", path[1] ? path : "", entry->d_name);
        r = child ? want(dir, child) : -ENOMEM;
        if (r > 0) {
            r = want_below(dir, child);
        }
    }
    return MIN(r, 0);
}

/* The directories from the root to a node, as far as they exist, and those
 * below it. */
static int
want_path(struct libspawn__dir *dir, const char *path)
{
    const char *p = path;
    int r = want(dir, "/");

    while (r > 0 && p[1]) {
        AUTO_FREE char *upto = NULL;

        p = strchrnul(p + 1, '/');
        upto = strndup(path, (size_t)(p - path));
        r = upto ? want(dir, upto) : -ENOMEM;
        if (!*p) {
            break;
        }
    }
    return r > 0 ? want_below(dir, path) : r;
}

/* Makes the kernel watch what the present watches need, and nothing else. */
static void
rescan(struct libspawn__dir *dir)
{
    struct libspawn__dir_watches *watches = &dir->watches;
    struct libspawn__list *link;
    size_t i;
    int r;

    if (watches->fd < 0) {
        return;
    }
    for (i = 0; i < watches->n_items; i++) {
        watches->items[i].is_wanted = false;
    }
    LIST_FOR_EACH (link, &dir->store.watches) {
        r = want_path(dir, watch_of(link)->path);
        if (r < 0) {
            start_polling(dir);
            return;
        }
    }
    for (i = watches->n_items; i-- > 0;) {
        if (!watches->items[i].is_wanted) {
            inotify_rm_watch(watches->fd, watches->items[i].wd);
            drop_item(watches, i);
        }
    }
}

/* ---- Events ------------------------------------------------------------ */

/* Whether directories may have come or gone. */
static bool
handle_event(struct libspawn__dir *dir, const struct inotify_event *event)
{
    const struct libspawn__dir_watched *item =
        find_item(&dir->watches, event->wd);
    const char *name = event->len ? event->name : "";
    bool is_tree = event->mask & IN_ISDIR;
    AUTO_FREE char *path = NULL;

    if (event->mask & IN_Q_OVERFLOW) {
        check_root(dir);
        fire_all(dir);
        return true;
    }
    if (event->wd == dir->watches.parent_wd) {
        check_root(dir);
    }
    if (!item) {
        return false;
    }
    if (event->mask & IN_IGNORED) {
        drop_item(&dir->watches, (size_t)(item - dir->watches.items));
        return false;
    }
    if (!strcmp(name, ".value") || !strcmp(name, ".perms")) {
        fire(dir, item->path, false);
        return false;
    }
    if (!name[0] || name[0] == '.') {
        return false;
    }
    path =
        libspawn__str_format("%s/%s", item->path[1] ? item->path : "", name);
    if (path) {
        fire(dir, path, is_tree);
    } else {
        fire_all(dir);
    }
    return is_tree;
}

static void
read_events(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__dir_watches *watches =
        CONTAINER_OF(io, struct libspawn__dir_watches, io);
    struct libspawn__dir *dir =
        CONTAINER_OF(watches, struct libspawn__dir, watches);
    _Alignas(struct inotify_event) char buffer[16384];
    ssize_t n = read(io->fd, buffer, sizeof buffer);
    bool must_rescan = false;
    const char *p;

    (void)events;
    for (p = buffer; n > 0 && p < buffer + n;) {
        const struct inotify_event *event =
            (const struct inotify_event *)(const void *)p;

        must_rescan |= handle_event(dir, event);
        p += sizeof *event + event->len;
    }
    if (must_rescan) {
        rescan(dir);
    }
}

/* ---- Adding and removing ----------------------------------------------- */

static int
open_inotify(struct libspawn__dir *dir, struct libspawn_err *err)
{
    struct libspawn__dir_watches *watches = &dir->watches;
    AUTO_FREE char *parent = libspawn__str_format("%s/..", dir->path);
    int rc;

    if (!parent) {
        return libspawn__fail_nomem(err);
    }
    watches->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watches->fd < 0) {
        start_polling(dir);
        return 0;
    }
    rc = libspawn__io_add(watches->loop, &watches->io, watches->fd, EPOLLIN,
                          read_events, err);
    if (rc) {
        libspawn__auto_close(&watches->fd);
        watches->fd = -1;
        return rc;
    }
    /* Without the right to read that directory, the next call notices. */
    watches->parent_wd =
        inotify_add_watch(watches->fd, parent, PARENT_EVENTS | IN_ONLYDIR);
    return 0;
}

static void
stop(struct libspawn__dir_watches *watches)
{
    libspawn__timer_cancel(&watches->timer);
    close_inotify(watches);
    free(watches->items);
    *watches = (struct libspawn__dir_watches){ .fd = -1 };
}

int
libspawn__dir_watch_add(struct libspawn__store *store,
                        struct libspawn__loop *loop,
                        struct libspawn__store_watch *watch,
                        struct libspawn_err *err)
{
    struct libspawn__dir *dir =
        CONTAINER_OF(store, struct libspawn__dir, store);
    struct libspawn__dir_watches *watches = &dir->watches;
    int rc = libspawn__dir_check(dir, err);

    if (rc) {
        return rc;
    }
    if (watch->path[0] == '@') {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "watching '%s': only xenstore has that",
                              watch->path);
    }
    if (!watches->loop) {
        watches->loop = loop;
        libspawn__timer_init(loop, &watches->timer, poll_store);
        rc = open_inotify(dir, err);
        if (rc) {
            watches->loop = NULL;
            return rc;
        }
    } else if (watches->loop != loop) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "watching '%s': the store is watched from "
                              "another loop",
                              watch->path);
    }
    rescan(dir);
    libspawn__store_watch_fire(watch);
    return 0;
}

void
libspawn__dir_watch_remove(struct libspawn__store *store,
                           struct libspawn__store_watch *watch)
{
    struct libspawn__dir *dir =
        CONTAINER_OF(store, struct libspawn__dir, store);

    (void)watch;
    if (libspawn__list_is_empty(&store->watches)) {
        stop(&dir->watches);
    } else {
        rescan(dir);
    }
}
