/*
 * glib.c - starts a program with libspawn, from the main loop of GLib
 *
 *     cc -o glib glib.c $(pkg-config --cflags --libs libspawn glib-2.0)
 *     ./glib /bin/sh -c 'echo hi; exit 3'
 *     ./glib /bin/sleep 60
 *
 * A context is a GSource with one descriptor.  The program counts as ready
 * when it has lived for a second: that is our own condition, which we confirm.
 * A program that ends earlier has failed to start, and the report is printed.
 * One that is ready is released: it outlives us, and how it ends will be in
 * its record, store/example/glib in the current directory.
 */
#include <glib-unix.h>
#include <glib.h>
#include <libspawn.h>
#include <stdlib.h>

enum { SETTLE_MS = 1000 };

/* All that we have, and a GSource for the context. */
struct app {
    GSource source; /* first, as GLib wants it */
    GMainLoop *loop;
    struct libspawn_ctx *ctx;
    struct libspawn_child *child;
    int status;
};

/* Nobody asks the source whether it is ready: its descriptor, which GLib polls
 * level-triggered, tells all. */
static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer user)
{
    struct app *app = (struct app *)source;
    struct libspawn_err err;

    (void)callback;
    (void)user;
    if (libspawn_ctx_dispatch(app->ctx, &err)) {
        g_printerr("%s\n", err.text);
        g_main_loop_quit(app->loop);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static gboolean
on_settled(gpointer child)
{
    libspawn_child_confirm(child);
    return G_SOURCE_REMOVE;
}

static gboolean
on_interrupt(gpointer child)
{
    libspawn_child_stop(child); /* its event follows */
    return G_SOURCE_CONTINUE;
}

static void
on_event(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    const struct libspawn_report *report = libspawn_child_report(child);
    struct app *app = user;
    struct libspawn_err err;
    char *text;

    switch (event) {
    case LIBSPAWN_EVENT_STARTED:
        g_print("process %d is started\n", (int)libspawn_child_pid(child));
        g_timeout_add(SETTLE_MS, on_settled, child);
        return;
    case LIBSPAWN_EVENT_READY:
        if (libspawn_child_release(child, LIBSPAWN_RELEASE_WATCHED, &err)) {
            g_printerr("%s\n", err.text);
        } else {
            g_print("it is ready, and goes on without us\n");
            app->status = EXIT_SUCCESS;
        }
        break;
    case LIBSPAWN_EVENT_FAILED:
    case LIBSPAWN_EVENT_EXITED:
        text = libspawn_report_text(report);
        g_print("%s", text ? text : "out of memory\n");
        free(text);
        app->status = libspawn_report_exit_status(report);
        break;
    }
    g_main_loop_quit(app->loop);
}

static struct libspawn_plan *
make_plan(char *const argv[])
{
    struct libspawn_plan *plan = libspawn_plan_new();
    g_autofree char *directory = g_get_current_dir();
    g_autofree char *store = g_strdup_printf("dir:%s/store", directory);

    if (!plan) {
        g_error("out of memory"); /* as GLib itself */
    }
    libspawn_plan_set_record(plan, store, "/example/glib");
    libspawn_plan_set_program(plan, argv[0]);
    for (; *argv; argv++) {
        libspawn_plan_add_arg(plan, *argv);
    }
    libspawn_plan_ready_on_confirm(plan);
    return plan;
}

int
main(int argc, char *argv[])
{
    /* Needed only where the library is not installed in its final place. */
    struct libspawn_ctx_options options = {
        .watcher_path = g_getenv("SPAWN_WATCHER"),
    };
    static GSourceFuncs functions = { .dispatch = dispatch };
    GSource *source = g_source_new(&functions, sizeof(struct app));
    struct app *app = (struct app *)source; /* zeroed */
    struct libspawn_plan *plan = argc > 1 ? make_plan(argv + 1) : NULL;
    struct libspawn_err err;
    int status;

    app->loop = g_main_loop_new(NULL, FALSE);
    app->status = EXIT_FAILURE;
    if (!plan) {
        g_printerr("usage: %s PROGRAM [ARGUMENT...]\n", argv[0]);
        app->status = 2;
    } else if (libspawn_ctx_new(&options, &app->ctx, &err) ||
               libspawn_child_start(app->ctx, plan, on_event, app, &app->child,
                                    &err)) {
        g_printerr("%s: %s\n", argv[0], err.text);
    } else {
        g_source_add_unix_fd(source, libspawn_ctx_fd(app->ctx), G_IO_IN);
        g_source_attach(source, NULL);
        g_unix_signal_add(SIGINT, on_interrupt, app->child);
        g_main_loop_run(app->loop);
    }
    status = app->status;
    libspawn_child_free(app->child);
    libspawn_ctx_free(app->ctx);
    libspawn_plan_free(plan);
    g_main_loop_unref(app->loop);
    g_source_destroy(source);
    g_source_unref(source);
    return status;
}
