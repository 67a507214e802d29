/*
 * poll.c - starts a program with libspawn, from a plain poll(2) loop
 *
 *     cc -o poll poll.c $(pkg-config --cflags --libs libspawn)
 *     ./poll /bin/sh -c 'echo hi; exit 3'
 *
 * The loop watches two descriptors: that of the context, behind which is all
 * that the library waits for, and one for signals.  Ctrl-C stops the program.
 * How it ended is printed, and our exit status is made from it.
 *
 * While the program runs, its record is store/example/poll in the current
 * directory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <libspawn.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What to start.  The plan keeps copies, so nothing here must live on. */
static struct libspawn_plan *
make_plan(char *const argv[])
{
    struct libspawn_plan *plan = libspawn_plan_new();
    char directory[4000], store[4096];
    char **variable;

    if (!plan || !getcwd(directory, sizeof directory)) {
        libspawn_plan_free(plan);
        return NULL;
    }
    snprintf(store, sizeof store, "dir:%s/store", directory);
    libspawn_plan_set_label(plan, "program", NULL);
    libspawn_plan_set_record(plan, store, "/example/poll");
    libspawn_plan_set_program(plan, argv[0]);
    for (; *argv; argv++) {
        libspawn_plan_add_arg(plan, *argv);
    }
    /* Nothing is inherited unless the plan says so. */
    for (variable = environ; *variable; variable++) {
        libspawn_plan_add_env(plan, *variable);
    }
    return plan;
}

/* Called from libspawn_ctx_dispatch and from nowhere else. */
static void
on_event(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    bool *has_ended = user;
    char *text;

    switch (event) {
    case LIBSPAWN_EVENT_STARTED:
        printf("process %d is started\n", (int)libspawn_child_pid(child));
        break;
    case LIBSPAWN_EVENT_READY:
        /* The plan has no condition of readiness: running is enough. */
        puts("it is ready");
        break;
    case LIBSPAWN_EVENT_FAILED:
    case LIBSPAWN_EVENT_EXITED:
        text = libspawn_report_text(libspawn_child_report(child));
        fputs(text ? text : "out of memory\n", stdout);
        free(text);
        *has_ended = true;
        break;
    }
    fflush(stdout);
}

/* SIGINT and SIGTERM as a descriptor.  That they are blocked is no concern of
 * the program: it begins with every signal at its default. */
static int
open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
        return -1;
    }
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
run(struct libspawn_ctx *ctx, struct libspawn_child *child,
    const bool *has_ended, struct libspawn_err *err)
{
    struct pollfd fds[] = {
        { .fd = libspawn_ctx_fd(ctx), .events = POLLIN },
        { .fd = open_signals(), .events = POLLIN },
    };
    struct signalfd_siginfo info;
    int rc = 0;

    while (!rc && !*has_ended) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            break;
        }
        if (read(fds[1].fd, &info, sizeof info) == sizeof info) {
            libspawn_child_stop(child); /* its event follows */
        }
        rc = libspawn_ctx_dispatch(ctx, err);
    }
    close(fds[1].fd);
    return rc;
}

int
main(int argc, char *argv[])
{
    /* Needed only where the library is not installed in its final place. */
    struct libspawn_ctx_options options = {
        .watcher_path = getenv("SPAWN_WATCHER"),
    };
    struct libspawn_child *child = NULL;
    struct libspawn_ctx *ctx = NULL;
    struct libspawn_plan *plan;
    struct libspawn_err err = { .text = "out of memory" };
    bool has_ended = false;
    int status = EXIT_FAILURE;

    if (argc < 2) {
        fprintf(stderr, "usage: %s PROGRAM [ARGUMENT...]\n", argv[0]);
        return 2;
    }
    plan = make_plan(argv + 1);
    if (!plan || libspawn_ctx_new(&options, &ctx, &err) ||
        libspawn_child_start(ctx, plan, on_event, &has_ended, &child, &err) ||
        run(ctx, child, &has_ended, &err)) {
        fprintf(stderr, "%s: %s\n", argv[0], err.text);
    } else {
        status = libspawn_report_exit_status(libspawn_child_report(child));
    }
    libspawn_child_free(child);
    libspawn_ctx_free(ctx);
    libspawn_plan_free(plan);
    return status;
}
