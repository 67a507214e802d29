#include "tests/flow/spawn_story.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "dm/end.h"

/* ---- Begin and end ----------------------------------------------------- */

void
story_begin_with(struct story *story, const struct libspawn_hooks *hooks)
{
    struct libspawn_ctx_options options = { .hooks = hooks };
    const char *watcher = getenv("STORY_WATCHER");
    struct libspawn_err err;

    memset(story, 0, sizeof *story);
    story->watcher = libspawn__str_format(
        "%s/%s", harness_build_dir(), watcher ? watcher : "bin/spawn-watcher");
    story->address = libspawn__str_format("dir:%s/store", harness_dir());
    ck_assert(story->watcher && story->address);
    options.watcher_path = story->watcher;
    assert_ok(libspawn_ctx_new(&options, &story->ctx, &err), &err);
    assert_ok(libspawn__store_open(story->address, &story->store, &err),
              &err);
    story->plan = libspawn_plan_new();
    ck_assert_ptr_nonnull(story->plan);
    libspawn_plan_set_label(story->plan, "device model", "tale");
    libspawn_plan_set_record(story->plan, story->address, STORY_RECORD);
}

void
story_begin(struct story *story)
{
    story_begin_with(story, NULL);
}

void
story_end(struct story *story)
{
    libspawn_child_free(story->child);
    libspawn_plan_free(story->plan);
    libspawn_ctx_free(story->ctx);
    libspawn__store_close(story->store);
    free(story->watcher);
    free(story->address);
    ck_assert_msg(harness_wait_children(STORY_WAIT_MS),
                  "a process of the story lives on");
}

/* ---- What to start ----------------------------------------------------- */

const char *
story_model_path(void)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/bin/test-device-model",
             harness_build_dir());
    return path;
}

void
story_set_argv(struct story *story, const char *const argv[])
{
    libspawn_plan_set_program(story->plan, argv[0]);
    for (; *argv; argv++) {
        libspawn_plan_add_arg(story->plan, *argv);
    }
}

void
story_ready_on_confirm(struct story *story, bool confirms)
{
    libspawn_plan_ready_on_confirm(story->plan);
    story->confirms = confirms;
}

/* ---- Start and events -------------------------------------------------- */

void
story_on_event(struct libspawn_child *child, enum libspawn_event event,
               void *user)
{
    static const char *const names[] = {
        [LIBSPAWN_EVENT_STARTED] = "started",
        [LIBSPAWN_EVENT_READY] = "ready",
        [LIBSPAWN_EVENT_FAILED] = "failed",
        [LIBSPAWN_EVENT_EXITED] = "exited",
    };
    struct story *story = user;
    size_t len = strlen(story->trace);

    snprintf(story->trace + len, sizeof story->trace - len, "%s%s",
             len ? " " : "", names[event]);
    if (event == LIBSPAWN_EVENT_STARTED && story->confirms) {
        libspawn_child_confirm(child);
    }
}

int
story_try_start(struct story *story, struct libspawn_err *err)
{
    return libspawn_child_start(story->ctx, story->plan, story_on_event, story,
                                &story->child, err);
}

void
story_start(struct story *story)
{
    struct libspawn_err err;

    assert_ok(story_try_start(story, &err), &err);
}

void
story_forget(struct story *story)
{
    libspawn_child_free(TAKE_PTR(story->child));
    story->trace[0] = '\0';
}

void
story_start_again(struct story *story)
{
    story_forget(story);
    story_start(story);
}

void
story_await(struct story *story, const char *trace)
{
    int64_t deadline = libspawn__clock_now_ms() + STORY_WAIT_MS;

    while (strcmp(story->trace, trace) != 0) {
        int64_t left = deadline - libspawn__clock_now_ms();
        struct libspawn_err err;

        if (left <= 0 || strncmp(story->trace, trace, strlen(story->trace))) {
            ck_abort_msg("the events are '%s', not '%s': %s", story->trace,
                         trace, story_sentence(story));
        }
        assert_ok(libspawn_ctx_wait(story->ctx, (int)left, &err), &err);
    }
}

void
story_run(struct story *story)
{
    story_start(story);
    story_await(story, "started ready");
}

int
story_run_script(struct story *story, const char *script)
{
    enum { COMMAND_FD = 8 };
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    libspawn_plan_add_fd(story->plan, fds[0], COMMAND_FD);
    story_program(story, "/bin/sh", "-c", script);
    story_run(story);
    close(fds[0]);
    return fds[1];
}

int
story_run_obedient(struct story *story)
{
    return story_run_script(story, "read line <&8; eval \"$line\"");
}

void
story_tell(int fd, const char *line)
{
    ck_assert_int_eq(libspawn__fd_write_full(fd, line, strlen(line)), 0);
}

/* ---- What is known ----------------------------------------------------- */

const struct libspawn_report *
story_report(const struct story *story)
{
    return libspawn_child_report(story->child);
}

const char *
story_sentence(const struct story *story)
{
    static char text[4096];
    AUTO_FREE char *sentence = libspawn_report_sentence(story_report(story));

    snprintf(text, sizeof text, "%s", sentence ? sentence : "(no memory)");
    return text;
}

bool
story_read_record(struct story *story, struct libspawn__record *record_r)
{
    struct libspawn_err err;
    int rc = libspawn__record_read(story->store, STORY_RECORD, record_r, &err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return false;
    }
    assert_ok(rc, &err);
    return true;
}

enum libspawn__record_state
story_record_state(struct story *story)
{
    struct libspawn__record record;

    ck_assert_msg(story_read_record(story, &record), "there is no record");
    return record.state;
}

struct wanted_record {
    struct story *story;
    enum libspawn__record_state state;
};

static bool
record_is_wanted(void *user)
{
    const struct wanted_record *wanted = user;
    struct libspawn__record record;

    return story_read_record(wanted->story, &record) &&
           record.state == wanted->state;
}

void
story_await_record(struct story *story, enum libspawn__record_state state)
{
    struct wanted_record wanted = { story, state };

    ck_assert_msg(
        harness_wait_until(record_is_wanted, &wanted, STORY_WAIT_MS),
        "the record does not come to state %d", (int)state);
}

static struct libspawn__pidref
pin(const struct libspawn__identity *id)
{
    struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;

    assert_ok(libspawn__pidref_open(id, &ref, &err), &err);
    return ref;
}

struct libspawn__pidref
story_pin_child(struct story *story)
{
    struct libspawn__record record;

    ck_assert_msg(story_read_record(story, &record), "there is no record");
    return pin(&record.child);
}

struct libspawn__pidref
story_pin_watcher(struct story *story)
{
    struct libspawn__record record;

    ck_assert_msg(story_read_record(story, &record), "there is no record");
    return pin(&record.watcher);
}

void
story_assert_gone(struct libspawn__pidref *ref)
{
    struct libspawn_err err;

    assert_ok(libspawn__pidref_wait(ref, STORY_WAIT_MS, &err), &err);
    libspawn__pidref_dispose(ref);
}

/* ---- Release and the rest ---------------------------------------------- */

void
story_release(struct story *story, enum libspawn_release how)
{
    struct libspawn_err err;

    assert_ok(libspawn_child_release(story->child, how, &err), &err);
}

void
story_end_released(struct story *story)
{
    struct libspawn_err err;

    assert_ok(libspawn__dm_end(story->store, STORY_RECORD, STORY_WAIT_MS,
                               &err),
              &err);
}

void
story_assert_nothing_left(struct story *story)
{
    struct libspawn__record record;

    /* When the end was told the record is gone already. */
    if (!strstr(story->trace, "failed") && !strstr(story->trace, "exited")) {
        ck_assert_msg(harness_wait_children(STORY_WAIT_MS),
                      "a process is left");
    }
    ck_assert_msg(!story_read_record(story, &record), "a record is left");
    ck_assert_msg(harness_wait_children(STORY_WAIT_MS),
                  "a process is left");
}

void
story_stop_and_end(struct story *story)
{
    libspawn_child_stop(story->child);
    story_await(story, "started ready exited");
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_STOPPED);
    story_assert_nothing_left(story);
}
