/*
 * One start of a child as the tests of the spawn machinery tell it: context,
 * plan, directory store and child in one structure, and the events that came,
 * in words.
 *
 *     AUTO_STORY struct story story;
 *
 *     story_begin(&story);
 *     story_model(&story, "--exit=3");
 *     story_start(&story);
 *     story_await(&story, "started failed");
 *     ck_assert_int_eq(story_report(&story)->exit_code, 3);
 *
 * Everything lies in the test's directory: the store in "store", the record
 * at STORY_RECORD.
 */
#ifndef TESTS_FLOW_SPAWN_STORY_H
#define TESTS_FLOW_SPAWN_STORY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/pidref.h"
#include "base/str.h"
#include "include/libspawn.h"
#include "proc/record.h"
#include "store/store.h"
#include "tests/lib/harness.h"

#define STORY_RECORD "/libxl/1/libspawn/dm"
#define STORY_READY_NODE "/local/domain/0/device-model/1/state"

/* For one thing to happen; a busy machine is slow. */
enum { STORY_WAIT_MS = 8000 };

struct story {
    struct libspawn_ctx *ctx;
    struct libspawn_plan *plan;
    struct libspawn_child *child;
    struct libspawn__store *store;
    char *watcher;  /* path of spawn-watcher, or $STORY_WATCHER */
    char *address;  /* of the store */
    char trace[64]; /* the events so far: "started ready" */
    bool confirms;  /* confirm as soon as it is started */
};

/* A context and an empty plan that keeps a record.  'hooks' may be NULL. */
void story_begin_with(struct story *story,
                      const struct libspawn_hooks *hooks);
void story_begin(struct story *story);

/* Frees everything and waits until every process of the story is gone: a
 * child that was released is the test's to end before. */
void story_end(struct story *story);
#define AUTO_STORY AUTO(story_end)

/* The argument vector; its first is the path of the program. */
void story_set_argv(struct story *story, const char *const argv[]);
#define story_program(STORY, ...)                                             \
    story_set_argv(STORY, (const char *const[]){ __VA_ARGS__, NULL })

/* The same for the test device model. */
#define story_model(STORY, ...)                                               \
    story_program(STORY, story_model_path(), __VA_ARGS__)
const char *story_model_path(void);

/* story_run of /bin/sh with a script, whose descriptor 8 is a pipe.  Returns
 * our end. */
int story_run_script(struct story *story, const char *script);

/* The same with a script that does what the next line on the pipe says, and
 * ends. */
int story_run_obedient(struct story *story);

/* Writes into that pipe. */
void story_tell(int fd, const char *line);

/* Becomes ready when the story says so, and confirms by itself or not. */
void story_ready_on_confirm(struct story *story, bool confirms);

void story_start(struct story *story);
int story_try_start(struct story *story, struct libspawn_err *err);

/* Keeps the trace; 'user' is the story. */
libspawn_event_fn story_on_event;

/* Frees the child, and forgets its events. */
void story_forget(struct story *story);

/* A new child by the same plan: the old one is freed. */
void story_start_again(struct story *story);

/* Dispatches until exactly these events have come. */
void story_await(struct story *story, const char *trace);

/* story_start, and story_await of "started ready". */
void story_run(struct story *story);

const struct libspawn_report *story_report(const struct story *story);

/* The report as one sentence; valid until the next call. */
const char *story_sentence(const struct story *story);

/* A reference to the child, and to its watcher, by the record. */
struct libspawn__pidref story_pin_child(struct story *story);
struct libspawn__pidref story_pin_watcher(struct story *story);

/* Ends within STORY_WAIT_MS; disposes of the reference. */
void story_assert_gone(struct libspawn__pidref *ref);

/* The record; false when there is none. */
bool story_read_record(struct story *story, struct libspawn__record *record_r);
enum libspawn__record_state story_record_state(struct story *story);

/* Waits until the record says so. */
void story_await_record(struct story *story,
                        enum libspawn__record_state state);

/* Releases the child and ends it by the record at the end of the test. */
void story_release(struct story *story, enum libspawn_release how);
void story_end_released(struct story *story);

/* No record, no pid node, no process. */
void story_assert_nothing_left(struct story *story);

/* Stops the child of story_run, which leaves nothing. */
void story_stop_and_end(struct story *story);

#endif
