/*
 * A worker as tests have it: a context, the worker, and what was heard of it.
 *
 *     AUTO_WORKER_STORY struct worker_story story;
 *
 *     worker_story_begin(&story, "trial");
 *     worker_story_ask(&story, TRIAL_ECHO, "one");
 *     worker_story_await_replies(&story, 1);
 *     ck_assert_str_eq(story.replies[0].data, "one");
 *
 * "trial" and all else is done by trial_worker, which does what guest-worker
 * does and more.
 */
#ifndef TESTS_FLOW_WORKER_STORY_H
#define TESTS_FLOW_WORKER_STORY_H

#include "base/auto.h"
#include "proc/worker.h"
#include "tests/fake/trial.h"
#include "tests/lib/harness.h"

enum {
    WORKER_STORY_WAIT_MS = 8000,
    WORKER_STORY_REPLIES = 64 /* the first ones are kept */
};

struct worker_story_reply {
    int code;
    int sys_errno;
    char *text; /* of an error */
    char *data;
    size_t size;
    int fds[LIBSPAWN__WORKER_FDS_MAX];
    size_t n_fds;
};

struct worker_story {
    struct libspawn_ctx *ctx;
    struct libspawn__worker *worker;
    struct worker_story_reply replies[WORKER_STORY_REPLIES];
    size_t n_replies; /* also of those that are not kept */
    bool ignores_fds; /* leaves descriptors to the library */
    char trace[512];  /* events: "killed replaced" */
    char error[512];  /* the sentence of the last one that had any */
    char *program;
};

/* Nothing is started; 'options' lacks the program and what is called back. */
void worker_story_begin_with(struct worker_story *story,
                             struct libspawn__worker_options options,
                             const struct libspawn_hooks *hooks);
void worker_story_begin(struct worker_story *story, const char *class);

/* Frees everything and waits until every process is gone. */
void worker_story_end(struct worker_story *story);
#define AUTO_WORKER_STORY AUTO(worker_story_end)

/* With the text as payload; "" is none. */
void worker_story_ask(struct worker_story *story, uint32_t type,
                      const char *text);

/* The same with one descriptor and a limit; 'replies': whether it asks. */
void worker_story_ask_fd(struct worker_story *story, uint32_t type, int fd,
                         uint32_t limit_ms, bool replies);

/* Any request whose reply is kept; returns what the call does. */
int worker_story_try(struct worker_story *story,
                     struct libspawn__worker_request request);

/* The reply of any request: story is 'user'. */
void worker_story_on_reply(struct libspawn__worker *worker,
                           struct libspawn__worker_reply *reply, void *user);

/* Until so many have come, or the trace is this. */
void worker_story_await_replies(struct worker_story *story, size_t n);
void worker_story_await(struct worker_story *story, const char *trace);

/* One turn of the loop, of at most so long. */
void worker_story_turn(struct worker_story *story, int timeout_ms);

/* A pipe: [0] goes to TRIAL_WAIT, and writing to [1] ends it. */
void worker_story_pipe(int fds[2]);

/* Like 'ms', but a hundredth of it unless SWEEP=full. */
uint32_t worker_story_scaled(uint32_t ms);

#endif
