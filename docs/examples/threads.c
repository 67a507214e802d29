/*
 * threads.c - starts a program four times with libspawn, from four threads
 *
 *     cc -pthread -o threads threads.c $(pkg-config --cflags --libs libspawn)
 *     ./threads /bin/sh -c 'echo hi; exit 3'
 *
 * A context is used by one thread at a time, and contexts know nothing of each
 * other: with one per thread there is nothing to lock.  A thread without an
 * event loop of its own blocks in libspawn_child_wait_ready and
 * libspawn_ctx_wait.
 *
 * We handle no signal.  Ctrl-C ends this process, and the watchers, who see
 * that, end the four programs.  The records are store/example/thread-N in the
 * current directory.
 */
#define _GNU_SOURCE
#include <libspawn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    N_THREADS = 4,
    READY_MS = 5000
};

struct job {
    pthread_t thread;
    int number;
    char *const *argv;
    char *text; /* how it ended */
    int status;
};

static struct libspawn_plan *
make_plan(const struct job *job)
{
    struct libspawn_plan *plan = libspawn_plan_new();
    char directory[4000], store[4096], label[32], path[64];
    char *const *arg;

    if (!plan || !getcwd(directory, sizeof directory)) {
        libspawn_plan_free(plan);
        return NULL;
    }
    snprintf(store, sizeof store, "dir:%s/store", directory);
    snprintf(label, sizeof label, "program %d", job->number);
    snprintf(path, sizeof path, "/example/thread-%d", job->number);
    libspawn_plan_set_label(plan, label, NULL);
    libspawn_plan_set_record(plan, store, path);
    libspawn_plan_set_program(plan, job->argv[0]);
    for (arg = job->argv; *arg; arg++) {
        libspawn_plan_add_arg(plan, *arg);
    }
    return plan;
}

/* From start to end, in one thread.  The state of the child is asked for, so
 * no callback is needed. */
static int
follow(struct job *job, struct libspawn_ctx *ctx,
       const struct libspawn_plan *plan, struct libspawn_err *err)
{
    const struct libspawn_report *report;
    struct libspawn_child *child;
    int rc = libspawn_child_start(ctx, plan, NULL, NULL, &child, err);

    if (rc) {
        return rc;
    }
    rc = libspawn_child_wait_ready(child, READY_MS, NULL, NULL, err);
    while (!rc && !libspawn_child_check(child, NULL)) {
        rc = libspawn_ctx_wait(ctx, -1, err);
    }
    if (libspawn_child_check(child, NULL) == LIBSPAWN_ERR_CHILD) {
        report = libspawn_child_report(child);
        job->text = libspawn_report_text(report);
        job->status = libspawn_report_exit_status(report);
        rc = 0;
    }
    libspawn_child_free(child);
    return rc;
}

static void *
run(void *user)
{
    /* Needed only where the library is not installed in its final place. */
    struct libspawn_ctx_options options = {
        .watcher_path = getenv("SPAWN_WATCHER"),
    };
    struct job *job = user;
    struct libspawn_plan *plan = make_plan(job);
    struct libspawn_ctx *ctx = NULL;
    struct libspawn_err err = { .text = "out of memory" };

    job->status = EXIT_FAILURE;
    if (!plan || libspawn_ctx_new(&options, &ctx, &err) ||
        follow(job, ctx, plan, &err)) {
        fprintf(stderr, "thread %d: %s\n", job->number, err.text);
    }
    libspawn_ctx_free(ctx);
    libspawn_plan_free(plan);
    return NULL;
}

int
main(int argc, char *argv[])
{
    struct job jobs[N_THREADS] = { 0 };
    int n, i, status = EXIT_SUCCESS;

    if (argc < 2) {
        fprintf(stderr, "usage: %s PROGRAM [ARGUMENT...]\n", argv[0]);
        return 2;
    }
    for (n = 0; n < N_THREADS; n++) {
        jobs[n].number = n + 1;
        jobs[n].argv = argv + 1;
        if (pthread_create(&jobs[n].thread, NULL, run, &jobs[n])) {
            fprintf(stderr, "%s: no thread %d\n", argv[0], n + 1);
            status = EXIT_FAILURE;
            break;
        }
    }
    for (i = 0; i < n; i++) {
        pthread_join(jobs[i].thread, NULL);
        if (jobs[i].text) {
            fputs(jobs[i].text, stdout);
        }
        free(jobs[i].text);
        status = jobs[i].status > status ? jobs[i].status : status;
    }
    return status;
}
