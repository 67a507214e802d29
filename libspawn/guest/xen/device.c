/*
 * Sources: docs/misc/xenstore-paths.pandoc and xen/include/public/io/ in the
 * Xen tree; what the stock tools leave in the store.
 */
#include "guest/xen/device.h"

#include <stdarg.h>
#include <string.h>

#include "store/paths.h"

void
libspawn__xen_device_dispose(struct libspawn__xen_device *device)
{
    libspawn__strv_dispose(&device->front);
    libspawn__strv_dispose(&device->front_fixed);
    libspawn__strv_dispose(&device->back);
}

void
libspawn__xen_device_add(struct libspawn__xen_device *device,
                         struct libspawn__strv *nodes, const char *name,
                         const char *format, ...)
{
    AUTO_BUF struct libspawn__buf value = { 0 };
    va_list args;

    va_start(args, format);
    libspawn__buf_vprintf(&value, format, args);
    va_end(args);
    if (value.failed || libspawn__strv_add(nodes, name, NULL) ||
        libspawn__strv_add(nodes, value.data ? value.data : "", NULL)) {
        device->failed = true;
    }
}

static bool
is_first_console(const struct libspawn__xen_device *d)
{
    return d->devid == 0 && strcmp(d->kind, "console") == 0;
}

static void
put_all(struct libspawn__tree *tree, const char *dir,
        const struct libspawn__strv *nodes)
{
    size_t i;

    for (i = 0; i + 1 < nodes->n_items; i += 2) {
        libspawn__tree_put(tree, dir, nodes->items[i], nodes->items[i + 1]);
    }
}

static void
write_front(struct libspawn__tree *tree, const struct libspawn__xen_device *d,
            const char *front, const char *back)
{
    size_t i;

    libspawn__tree_make(tree, front, NULL,
                        is_first_console(d) ? LIBSPAWN__TREE_READABLE
                                            : LIBSPAWN__TREE_FRONTEND);
    libspawn__tree_put(tree, front, "backend", back);
    for (i = 0; i + 1 < d->front_fixed.n_items; i += 2) {
        /* Below the console the rights are these already. */
        if (!is_first_console(d)) {
            libspawn__tree_make(tree, front, d->front_fixed.items[i],
                                LIBSPAWN__TREE_READABLE);
        }
        libspawn__tree_put(tree, front, d->front_fixed.items[i],
                           d->front_fixed.items[i + 1]);
    }
    put_all(tree, front, &d->front);
}

void
libspawn__xen_device_write(struct libspawn__tree *tree,
                           const struct libspawn__xen_device *d)
{
    AUTO_FREE char *front =
        is_first_console(d)
            ? libspawn__path_new(LIBSPAWN__PATH_CONSOLE, d->domid)
            : libspawn__path_frontend(d->domid, d->kind, d->devid);
    AUTO_FREE char *back =
        libspawn__path_backend(0, d->backend_kind, d->domid, d->devid);
    AUTO_FREE char *own =
        libspawn__path_libxl_device(d->domid, d->kind, d->devid);

    if (tree->rc) {
        return;
    }
    if (d->failed || !front || !back || !own) {
        tree->rc = libspawn__fail_nomem(tree->err);
        return;
    }
    libspawn__tree_put(tree, own, "frontend", front);
    libspawn__tree_put(tree, own, "backend", back);
    if (!d->is_own_brief) {
        put_all(tree, own, &d->back);
    }

    write_front(tree, d, front, back);

    libspawn__tree_make(tree, back, NULL, LIBSPAWN__TREE_READABLE);
    libspawn__tree_put(tree, back, "frontend", front);
    put_all(tree, back, &d->back);
}
