/*
 * uv.c - starts a program with libspawn, from the loop of libuv
 *
 *     cc -o uv uv.c $(pkg-config --cflags --libs libspawn libuv)
 *     ./uv /bin/sh -c 'echo hi; echo >&3; exit 3'
 *
 * The descriptor of the context is a uv_poll_t.  The program says that it is
 * ready by a newline on descriptor 3; if it does not within two seconds it is
 * ended, and the report says so.  Ctrl-C stops it, ready or not.
 *
 * While the program runs, its record is store/example/uv in the current
 * directory.
 */
#include <libspawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { NOTIFY_FD = 3, START_MS = 2000, STOP_MS = 1000 };

struct app {
    uv_poll_t poll;
    uv_signal_t interrupt;
    struct libspawn_ctx *ctx;
    struct libspawn_child *child;
    int status;
};

/* Without open handles uv_run returns. */
static void
finish(struct app *app, int status)
{
    app->status = status;
    if (!uv_is_closing((uv_handle_t *)&app->poll)) {
        uv_close((uv_handle_t *)&app->poll, NULL);
        uv_close((uv_handle_t *)&app->interrupt, NULL);
    }
}

static void
on_event(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    const struct libspawn_report *report = libspawn_child_report(child);
    char *text;

    switch (event) {
    case LIBSPAWN_EVENT_STARTED:
        printf("process %d is started\n", (int)libspawn_child_pid(child));
        break;
    case LIBSPAWN_EVENT_READY:
        puts("it is ready");
        break;
    case LIBSPAWN_EVENT_FAILED:
    case LIBSPAWN_EVENT_EXITED:
        text = libspawn_report_text(report);
        fputs(text ? text : "out of memory\n", stdout);
        free(text);
        finish(user, libspawn_report_exit_status(report));
        break;
    }
    fflush(stdout);
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
    struct app *app = poll->data;
    struct libspawn_err err;

    (void)events;
    if (status < 0 || libspawn_ctx_dispatch(app->ctx, &err)) {
        fprintf(stderr, "%s\n", status < 0 ? uv_strerror(status) : err.text);
        finish(app, EXIT_FAILURE);
    }
}

static void
on_interrupt(uv_signal_t *interrupt, int number)
{
    struct app *app = interrupt->data;

    (void)number;
    libspawn_child_stop(app->child); /* its event follows */
}

static void
watch(struct app *app, uv_loop_t *loop)
{
    app->poll.data = app->interrupt.data = app;
    uv_poll_init(loop, &app->poll, libspawn_ctx_fd(app->ctx));
    uv_poll_start(&app->poll, UV_READABLE, on_readable);
    uv_signal_init(loop, &app->interrupt);
    uv_signal_start(&app->interrupt, on_interrupt, SIGINT);
}

static struct libspawn_plan *
make_plan(char *const argv[])
{
    struct libspawn_plan *plan = libspawn_plan_new();
    char directory[4000], store[4096];
    size_t size = sizeof directory;

    if (!plan || uv_cwd(directory, &size)) {
        libspawn_plan_free(plan);
        return NULL;
    }
    snprintf(store, sizeof store, "dir:%s/store", directory);
    libspawn_plan_set_record(plan, store, "/example/uv");
    libspawn_plan_set_program(plan, argv[0]);
    for (; *argv; argv++) {
        libspawn_plan_add_arg(plan, *argv);
    }
    libspawn_plan_ready_on_notify(plan, NOTIFY_FD);
    libspawn_plan_set_timeouts(plan, START_MS, STOP_MS);
    return plan;
}

int
main(int argc, char *argv[])
{
    /* Needed only where the library is not installed in its final place. */
    struct libspawn_ctx_options options = {
        .watcher_path = getenv("SPAWN_WATCHER"),
    };
    struct app app = { .status = EXIT_FAILURE };
    struct libspawn_err err = { .text = "out of memory" };
    struct libspawn_plan *plan;

    if (argc < 2) {
        fprintf(stderr, "usage: %s PROGRAM [ARGUMENT...]\n", argv[0]);
        return 2;
    }
    plan = make_plan(argv + 1);
    if (!plan || libspawn_ctx_new(&options, &app.ctx, &err) ||
        libspawn_child_start(app.ctx, plan, on_event, &app, &app.child,
                             &err)) {
        fprintf(stderr, "%s: %s\n", argv[0], err.text);
    } else {
        watch(&app, uv_default_loop());
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        uv_loop_close(uv_default_loop());
    }
    libspawn_child_free(app.child);
    libspawn_ctx_free(app.ctx);
    libspawn_plan_free(plan);
    return app.status;
}
