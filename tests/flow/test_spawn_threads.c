/*
 * Several threads at once, each with a context of its own, and nothing shared
 * but the store: what a daemon with threads does.  Under VARIANT=tsan a race
 * in the library ends the test.
 */
#include <pthread.h>
#include <stdio.h>

#include "base/util.h"
#include "tests/flow/spawn_story.h"

enum {
    N_THREADS = 4,
    ROUNDS = 5,
    THREADS_TEST_S = 60
};

/* Assertions belong to the thread of the test: the others keep their error. */
struct job {
    pthread_t thread;
    const struct story *story; /* read only: watcher and store */
    int number;
    struct libspawn_ctx *ctx;
    char record[64];
    struct libspawn_err err;
};

/* ---- One child --------------------------------------------------------- */

static struct libspawn_plan *
make_plan(const struct job *job, const char *program)
{
    struct libspawn_plan *plan = libspawn_plan_new();

    libspawn_plan_set_label(plan, "program", "thread");
    libspawn_plan_set_program(plan, program);
    libspawn_plan_add_arg(plan, "sleep");
    libspawn_plan_add_arg(plan, "1000");
    libspawn_plan_set_record(plan, job->story->address, job->record);
    return plan;
}

static int
start(struct job *job, const char *program, struct libspawn_child **child_r)
{
    struct libspawn_plan *plan = make_plan(job, program);
    int rc = plan ? libspawn_child_start(job->ctx, plan, NULL, NULL, child_r,
                                         &job->err)
                  : LIBSPAWN_ERR_NO_MEMORY;

    libspawn_plan_free(plan);
    return rc;
}

/* The report as any caller may use it. */
static int
await_end(struct job *job, struct libspawn_child *child,
          enum libspawn_end wanted)
{
    AUTO_FREE char *json = NULL;
    AUTO_FREE char *text = NULL;
    int rc = 0;

    while (!rc && !libspawn_child_check(child, NULL)) {
        rc = libspawn_ctx_wait(job->ctx, STORY_WAIT_MS, &job->err);
    }
    json = libspawn_report_json(libspawn_child_report(child));
    text = libspawn_report_text(libspawn_child_report(child));
    if (!rc && (!json || !text ||
                libspawn_child_report(child)->end != wanted)) {
        rc = libspawn__fail(&job->err, LIBSPAWN_ERR_CHILD, "it ended so: %s",
                            text ? text : "no memory");
    }
    return rc;
}

/* ---- What is done with it ---------------------------------------------- */

static int
stop(struct job *job)
{
    struct libspawn_child *child;
    int rc = start(job, "/bin/sleep", &child);

    if (rc) {
        return rc;
    }
    rc = libspawn_child_wait_ready(child, STORY_WAIT_MS, NULL, NULL,
                                   &job->err);
    if (!rc) {
        libspawn_child_stop(child);
        rc = await_end(job, child, LIBSPAWN_END_STOPPED);
    }
    libspawn_child_free(child);
    return rc;
}

static int
start_nothing(struct job *job)
{
    struct libspawn_child *child;
    int rc = start(job, "/nonexistent/program", &child);

    if (!rc) {
        rc = await_end(job, child, LIBSPAWN_END_NO_EXEC);
        libspawn_child_free(child);
    }
    return rc;
}

static int
release(struct job *job)
{
    struct libspawn_child *child;
    int rc = start(job, "/bin/sleep", &child);

    if (rc) {
        return rc;
    }
    rc = libspawn_child_wait_ready(child, STORY_WAIT_MS, NULL, NULL,
                                   &job->err);
    if (!rc) {
        rc = libspawn_child_release(child, LIBSPAWN_RELEASE_WATCHED,
                                    &job->err);
    }
    libspawn_child_free(child);
    return rc;
}

static int
release_and_adopt(struct job *job)
{
    struct libspawn_child *child;
    int rc = release(job);

    if (!rc) {
        rc = libspawn_child_adopt(job->ctx, job->story->address, job->record,
                                  NULL, NULL, &child, &job->err);
    }
    if (!rc) {
        libspawn_child_stop(child);
        rc = await_end(job, child, LIBSPAWN_END_STOPPED);
        libspawn_child_free(child);
    }
    return rc;
}

/* ---- Threads ----------------------------------------------------------- */

static int (*const deeds[])(struct job *job) = { stop, start_nothing,
                                                 release_and_adopt };

static void *
run(void *user)
{
    struct job *job = user;
    const struct libspawn_ctx_options options = {
        .watcher_path = job->story->watcher,
    };
    int rc = libspawn_ctx_new(&options, &job->ctx, &job->err);
    size_t i;

    for (i = 0; !rc && i < ROUNDS * ARRAY_SIZE(deeds); i++) {
        /* At any time each does something else. */
        rc = deeds[(i + (size_t)job->number) % ARRAY_SIZE(deeds)](job);
    }
    libspawn_ctx_free(job->ctx);
    job->err.code = rc;
    return NULL;
}

TEST_TIMEOUT(threads_with_a_context_each__do_not_meet, THREADS_TEST_S)
{
    AUTO_STORY struct story story;
    struct job jobs[N_THREADS] = { 0 };
    struct libspawn_err err;
    size_t i;

    story_begin(&story);
    for (i = 0; i < N_THREADS; i++) {
        jobs[i].story = &story;
        jobs[i].number = (int)i;
        snprintf(jobs[i].record, sizeof jobs[i].record,
                 "/libxl/%zu/libspawn/dm", i + 1);
        ck_assert_int_eq(
            pthread_create(&jobs[i].thread, NULL, run, &jobs[i]), 0);
    }
    for (i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(pthread_join(jobs[i].thread, NULL), 0);
    }
    for (i = 0; i < N_THREADS; i++) {
        assert_ok(jobs[i].err.code, &jobs[i].err);
        assert_ok(libspawn__store_discard(story.store, NULL, jobs[i].record,
                                          &err), &err);
    }
}

/* ---- A context changes hands ------------------------------------------- */

static void *
stop_by_another_thread(void *user)
{
    struct story *story = user;

    libspawn_child_stop(story->child);
    while (!libspawn_child_check(story->child, NULL) &&
           !libspawn_ctx_wait(story->ctx, STORY_WAIT_MS, NULL)) {
    }
    return NULL;
}

TEST(threads_hand_over_a_context__it_goes_on)
{
    AUTO_STORY struct story story;
    pthread_t thread;

    story_begin(&story);
    story_program(&story, "/bin/sleep", "1000");
    story_run(&story);
    ck_assert_int_eq(
        pthread_create(&thread, NULL, stop_by_another_thread, &story), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    story_await(&story, "started ready exited");
    story_assert_nothing_left(&story);
}

TEST_MAIN("spawn_threads")
