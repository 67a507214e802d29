/*
 * A device model as tests start it: a story (spawn_story.h) whose child is
 * ready when its monitor answers.
 */
#ifndef TESTS_FLOW_DM_STORY_H
#define TESTS_FLOW_DM_STORY_H

#include "dm/dm.h"
#include "tests/flow/spawn_story.h"

#define DM_STORY_QEMU "/usr/bin/qemu-system-x86_64"

/* QEMU on a busy machine is slow to start. */
enum { DM_STORY_WAIT_MS = 20000, DM_STORY_TEST_S = 30 };

struct dm_story {
    struct story story;
    struct libspawn__dm *dm;
    bool is_ready;
    bool is_ended;
};

/* 'args' are added to a command line with a monitor and no machine. */
void dm_story_start(struct dm_story *model, const char *program,
                    uint32_t start_ms, const char *const args[]);

/* The same without connecting to its monitor. */
void dm_story_start_alone(struct dm_story *model, const char *program,
                          uint32_t start_ms, const char *const args[]);
void dm_story_end(struct dm_story *model);
#define AUTO_DM_STORY AUTO(dm_story_end)

/* Dispatches until is_ready, or is_ended. */
void dm_story_await(struct dm_story *model, const bool *flag);

/* Dispatches until the program was executed. */
void dm_story_await_exec(struct dm_story *model);

const struct libspawn_report *dm_story_report(const struct dm_story *model);

/* A signal to the device model itself. */
void dm_story_signal(struct dm_story *model, int number);

/* Why the real one cannot be started here, or NULL. */
const char *dm_story_no_qemu(void);

#endif
