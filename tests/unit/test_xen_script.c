/*
 * guest/xen/script.c where a worker runs the scripts.
 */
#include "guest/xen/script.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "proc/ctx.h"
#include "tests/lib/harness.h"
#include "tests/unit/xen_scene.h"

enum {
    LIMIT_MS = 8000
};

struct script_scene {
    struct scene scene;
    struct libspawn_ctx *ctx;
    struct libspawn__worker *worker;
    bool is_done;
    struct libspawn_err err; /* code 0: all went well */
};

static void
begin(struct script_scene *s)
{
    AUTO_FREE char *program =
        libspawn__str_format("%s/bin/guest-worker", harness_build_dir());
    const struct libspawn__worker_options options = { .program = program,
                                                      .class = "probe",
                                                      .guest = "scene" };

    *s = (struct script_scene){ .is_done = false };
    scene_open(&s->scene);
    assert_ok(libspawn_ctx_new(NULL, &s->ctx, NULL), NULL);
    assert_ok(libspawn__worker_new(s->ctx, &options, &s->worker, NULL), NULL);
}

static void
end(struct script_scene *s)
{
    libspawn__worker_free(s->worker);
    libspawn_ctx_free(s->ctx);
    scene_close(&s->scene);
    ck_assert(harness_wait_children(LIMIT_MS));
}

static void
on_done(void *user, const struct libspawn_err *err)
{
    struct script_scene *s = user;

    ck_assert(!s->is_done);
    s->is_done = true;
    if (err) {
        s->err = *err;
    }
}

static void
run(struct script_scene *s, struct libspawn__xen_script *scripts, size_t n,
    int limit_ms)
{
    struct libspawn_err err;

    assert_ok(libspawn__xen_scripts_start(s->worker, s->scene.xen.store,
                                          scripts, n, limit_ms, on_done, s,
                                          &err),
              &err);
    ck_assert(!s->is_done); /* never inside the call */
    while (!s->is_done) {
        assert_ok(libspawn_ctx_wait(s->ctx, LIMIT_MS, &err), &err);
    }
}

static char *
write_script(const char *name, const char *lines)
{
    AUTO_FREE char *text = libspawn__str_format("#!/bin/sh\n%s\n", lines);
    char *path = libspawn__str_format("%s/%s", harness_dir(), name);

    harness_write_file(path, text);
    ck_assert_int_eq(chmod(path, 0755), 0);
    return path;
}

static struct libspawn__xen_script
describe(const char *path, const char *action)
{
    return (struct libspawn__xen_script){ .path = path,
                                          .action = action,
                                          .backend = "vbd/7/51712",
                                          .kind = "vbd" };
}

TEST(scripts_of_a_worker__run_one_after_the_other_as_they_are_told)
{
    AUTO_FREE char *line = libspawn__str_format(
        "echo \"$1 $XENBUS_PATH $XENBUS_TYPE\" >>%s/log", harness_dir());
    AUTO_FREE char *path = write_script("script", line);
    AUTO_FREE char *log = NULL;
    struct libspawn__xen_script scripts[] = { describe(path, "add"),
                                              describe(path, "remove") };
    struct script_scene s;

    begin(&s);
    run(&s, scripts, 2, LIMIT_MS);
    assert_ok(s.err.code, &s.err);
    log = harness_read_file("log");
    ck_assert_str_eq(log, "add backend/vbd/7/51712 vbd\n"
                          "remove backend/vbd/7/51712 vbd\n");
    end(&s);
}

/* The others are run all the same. */
TEST(script_of_a_worker_that_fails__is_told_in_its_own_words)
{
    AUTO_FREE char *bad = write_script("bad", "exit 3");
    AUTO_FREE char *line =
        libspawn__str_format("echo ran >>%s/log", harness_dir());
    AUTO_FREE char *good = write_script("good", line);
    struct libspawn__xen_script scripts[] = { describe(bad, "add"),
                                              describe(good, "add") };
    struct script_scene s;

    begin(&s);
    run(&s, scripts, 2, LIMIT_MS);
    assert_contains(s.err.text, "bad' add failed with exit code 3");
    ck_assert_int_eq(access("log", F_OK), 0);
    s.is_done = false;
    assert_ok(libspawn__store_puts(
                  s.scene.xen.store, NULL,
                  "/local/domain/0/backend/vbd/7/51712/hotplug-error",
                  "no such loop", NULL),
              NULL);
    s.err.code = 0;
    run(&s, scripts, 1, LIMIT_MS);
    assert_contains(s.err.text, "bad' add: no such loop");
    end(&s);
}

/* Covers W10. */
TEST(script_of_a_worker_that_hangs__is_ended_at_the_limit)
{
    AUTO_FREE char *path = write_script("script", "exec tail -f /dev/null");
    struct libspawn__xen_script script = describe(path, "add");
    struct script_scene s;

    begin(&s);
    run(&s, &script, 1, 1000);
    assert_code(s.err.code, LIBSPAWN_ERR_TIMEOUT);
    assert_contains(s.err.text, "took longer than 1 seconds and was ended");
    ck_assert(libspawn__worker_is_running(s.worker));
    end(&s);
}

TEST_MAIN("xen_script")
