#include "tests/flow/dm_story.h"

#include <string.h>

#include "base/clock.h"

static void
on_ready(void *user)
{
    struct dm_story *model = user;

    model->is_ready = true;
}

static void
on_ended(void *user)
{
    struct dm_story *model = user;

    model->is_ended = true;
}

void
dm_story_start_alone(struct dm_story *model, const char *program,
                     uint32_t start_ms, const char *const args[])
{
    static const char *const common[] = {
        "-nodefaults",
        "-display", "none",
        "-accel",   "tcg",
        "-machine", "none",
        "-chardev", "socket,id=own,fd=4,server=on,wait=off",
        "-mon",     "chardev=own,mode=control",
        "-chardev", "socket,id=qmp,fd=3,server=on,wait=off",
        "-mon",     "chardev=qmp,mode=control",
        NULL,
    };
    AUTO_FREE char *path = libspawn__str_format("%s/qmp", harness_dir());
    const struct libspawn__dm_listener listener = { .ready = on_ready,
                                                    .ended = on_ended,
                                                    .user = model };
    struct libspawn_err err;
    size_t i;

    memset(model, 0, sizeof *model);
    story_begin(&model->story);
    story_program(&model->story, program);
    for (i = 0; common[i]; i++) {
        libspawn_plan_add_arg(model->story.plan, common[i]);
    }
    for (; *args; args++) {
        libspawn_plan_add_arg(model->story.plan, *args);
    }
    libspawn_plan_set_timeouts(model->story.plan, start_ms, 10000);
    assert_ok(libspawn__dm_start(model->story.ctx, model->story.plan, path,
                                 &listener, &model->dm, &err),
              &err);
}

void
dm_story_start(struct dm_story *model, const char *program, uint32_t start_ms,
               const char *const args[])
{
    struct libspawn_err err;

    dm_story_start_alone(model, program, start_ms, args);
    assert_ok(libspawn__dm_connect(model->dm, &err), &err);
}

void
dm_story_end(struct dm_story *model)
{
    libspawn__dm_free(model->dm);
    story_end(&model->story);
}

void
dm_story_await(struct dm_story *model, const bool *flag)
{
    int64_t deadline = libspawn__clock_now_ms() + DM_STORY_WAIT_MS;

    while (!*flag) {
        struct libspawn_err err;

        ck_assert_int_lt(libspawn__clock_now_ms(), deadline);
        assert_ok(libspawn_ctx_wait(model->story.ctx, 100, &err), &err);
        ck_assert_msg(flag == &model->is_ended || !model->is_ended,
                      "it ended (%d, %s): %s", dm_story_report(model)->end,
                      dm_story_report(model)->detail,
                      dm_story_report(model)->tail);
    }
}

static int
is_executed(void *user)
{
    struct dm_story *model = user;

    return libspawn_child_pid(libspawn__dm_child(model->dm)) > 0;
}

void
dm_story_await_exec(struct dm_story *model)
{
    ck_assert_int_eq(
        libspawn_child_wait_ready(libspawn__dm_child(model->dm), -1,
                                  is_executed, model, NULL),
        1);
}

const struct libspawn_report *
dm_story_report(const struct dm_story *model)
{
    return libspawn_child_report(libspawn__dm_child(model->dm));
}

void
dm_story_signal(struct dm_story *model, int number)
{
    struct libspawn__pidref ref = story_pin_child(&model->story);
    struct libspawn_err err;

    assert_ok(libspawn__pidref_signal(&ref, number, &err), &err);
    libspawn__pidref_dispose(&ref);
}

const char *
dm_story_no_qemu(void)
{
    return access(DM_STORY_QEMU, X_OK) ? DM_STORY_QEMU " is not installed"
                                       : NULL;
}
