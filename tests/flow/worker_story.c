#include "tests/flow/worker_story.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

enum { LONGEST_LIMIT_MS = 60000 };

/* ---- What is heard ----------------------------------------------------- */

static void
on_event(struct libspawn__worker *worker, enum libspawn__worker_event event,
         const struct libspawn_err *err, void *user)
{
    static const char *const names[] = {
        [LIBSPAWN__WORKER_EVENT_REPLACED] = "replaced",
        [LIBSPAWN__WORKER_EVENT_DIED] = "died",
        [LIBSPAWN__WORKER_EVENT_KILLED] = "killed",
        [LIBSPAWN__WORKER_EVENT_DEGRADED] = "degraded",
        [LIBSPAWN__WORKER_EVENT_ABANDONED] = "abandoned",
        [LIBSPAWN__WORKER_EVENT_REFUSES] = "refuses",
        [LIBSPAWN__WORKER_EVENT_FAULTY] = "faulty",
        [LIBSPAWN__WORKER_EVENT_UNHEARD] = "unheard",
        [LIBSPAWN__WORKER_EVENT_STOPPED] = "stopped",
    };
    struct worker_story *story = user;
    size_t len = strlen(story->trace);

    (void)worker;
    snprintf(story->trace + len, sizeof story->trace - len, "%s%s",
             len ? " " : "", names[event]);
    if (err) {
        ck_assert_int_lt(err->code, 0);
        snprintf(story->error, sizeof story->error, "%s", err->text);
    }
}

static void
keep_fds(struct worker_story_reply *kept, struct libspawn__worker_reply *reply)
{
    size_t i;

    kept->n_fds = reply->n_fds;
    for (i = 0; i < reply->n_fds; i++) {
        kept->fds[i] = TAKE_FD(reply->fds[i]);
    }
}

void
worker_story_on_reply(struct libspawn__worker *worker,
                      struct libspawn__worker_reply *reply, void *user)
{
    struct worker_story *story = user;
    struct worker_story_reply *kept = &story->replies[story->n_replies];

    (void)worker;
    story->n_replies++;
    if (story->n_replies > WORKER_STORY_REPLIES) {
        return;
    }
    kept->code = reply->code;
    ck_assert_int_eq(!reply->code, !reply->err);
    if (reply->err) {
        kept->sys_errno = reply->err->sys_errno;
        kept->text = strdup(reply->err->text);
    }
    kept->size = reply->size;
    kept->data = (char *)malloc(reply->size + 1);
    ck_assert_ptr_nonnull(kept->data);
    memcpy(kept->data, reply->size ? reply->data : "", reply->size);
    kept->data[reply->size] = '\0';
    if (!story->ignores_fds) {
        keep_fds(kept, reply);
    }
}

/* ---- Begin and end ----------------------------------------------------- */

void
worker_story_begin_with(struct worker_story *story,
                        struct libspawn__worker_options options,
                        const struct libspawn_hooks *hooks)
{
    struct libspawn_ctx_options ctx_options = { .hooks = hooks };
    struct libspawn_err err;

    memset(story, 0, sizeof *story);
    story->program = libspawn__str_format("%s/tests/fake/trial_worker",
                                          harness_build_dir());
    ck_assert_ptr_nonnull(story->program);
    options.program = story->program;
    options.guest = "tale";
    options.fn = on_event;
    options.user = story;
    assert_ok(libspawn_ctx_new(&ctx_options, &story->ctx, &err), &err);
    assert_ok(
        libspawn__worker_new(story->ctx, &options, &story->worker, &err),
        &err);
}

void
worker_story_begin(struct worker_story *story, const char *class)
{
    const struct libspawn__worker_options options = { .class = class };

    worker_story_begin_with(story, options, NULL);
}

void
worker_story_end(struct worker_story *story)
{
    size_t i;
    size_t j;

    for (i = 0; i < MIN(story->n_replies, WORKER_STORY_REPLIES); i++) {
        for (j = 0; j < story->replies[i].n_fds; j++) {
            libspawn__auto_close(&story->replies[i].fds[j]);
        }
        free(story->replies[i].text);
        free(story->replies[i].data);
    }
    libspawn__worker_free(story->worker);
    libspawn_ctx_free(story->ctx);
    free(story->program);
    ck_assert_msg(harness_wait_children(WORKER_STORY_WAIT_MS),
                  "a process of the story lives on");
}

/* ---- Asking ------------------------------------------------------------ */

int
worker_story_try(struct worker_story *story,
                 struct libspawn__worker_request request)
{
    request.fn = worker_story_on_reply;
    request.user = story;
    return libspawn__worker_request(story->worker, &request, NULL);
}

void
worker_story_ask(struct worker_story *story, uint32_t type, const char *text)
{
    /* The cast takes away a const that iovec has no way to say. */
    const struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
    const struct libspawn__worker_request request = { .type = type,
                                                      .iov = &iov,
                                                      .n_iov = 1 };

    assert_ok(worker_story_try(story, request), NULL);
}

void
worker_story_ask_fd(struct worker_story *story, uint32_t type, int fd,
                    uint32_t limit_ms, bool replies)
{
    const struct libspawn__worker_request request = {
        .type = type,
        .fds = &fd,
        .n_fds = 1,
        .limit_ms = limit_ms,
        .fn = replies ? worker_story_on_reply : NULL,
        .user = story,
    };
    struct libspawn_err err;

    assert_ok(libspawn__worker_request(story->worker, &request, &err), &err);
}

/* ---- Waiting ----------------------------------------------------------- */

void
worker_story_turn(struct worker_story *story, int timeout_ms)
{
    struct libspawn_err err;

    assert_ok(libspawn_ctx_wait(story->ctx, timeout_ms, &err), &err);
}

void
worker_story_await_replies(struct worker_story *story, size_t n)
{
    int64_t deadline_ms = libspawn__clock_now_ms() + WORKER_STORY_WAIT_MS +
                          worker_story_scaled(LONGEST_LIMIT_MS);

    while (story->n_replies < n && libspawn__clock_now_ms() < deadline_ms) {
        worker_story_turn(story, WORKER_STORY_WAIT_MS);
    }
    ck_assert_uint_eq(story->n_replies, n);
}

void
worker_story_await(struct worker_story *story, const char *trace)
{
    int64_t deadline_ms = libspawn__clock_now_ms() + WORKER_STORY_WAIT_MS;

    while (strcmp(story->trace, trace) != 0 &&
           libspawn__clock_now_ms() < deadline_ms) {
        worker_story_turn(story, WORKER_STORY_WAIT_MS);
    }
    ck_assert_str_eq(story->trace, trace);
}

void
worker_story_pipe(int fds[2])
{
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
}

uint32_t
worker_story_scaled(uint32_t ms)
{
    return harness_is_full() ? ms : ms / 100;
}
