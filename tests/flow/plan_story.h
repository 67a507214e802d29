/*
 * What the tests of a plan's options share: a child to look at, what /proc
 * says of it, and ways to make a single step of it fail.
 */
#ifndef TESTS_FLOW_PLAN_STORY_H
#define TESTS_FLOW_PLAN_STORY_H

#include "tests/flow/spawn_story.h"

/* A story with a child that does nothing for a minute. */
void plan_begin(struct story *story);

/* What the child's /proc/PID/NAME says, and where such a link leads to, as new
 * strings.  A failed assertion when there is no such thing. */
char *plan_read(const struct story *story, const char *name);
char *plan_read_link(const struct story *story, const char *name);

/* /proc/PID/status has this line, such as "Umask:\t0027". */
void plan_assert_status(const struct story *story, const char *line);

/* The start fails by this step and errno, and leaves nothing behind. */
void plan_assert_step_fails(struct story *story, const char *step,
                            int sys_errno);

/* From now on a system call fails in this process and in all that it starts;
 * with 'first' not negative only when that is its first argument.  False when
 * this process may not ask for that. */
bool plan_deny_call(int call, int64_t first, int sys_errno);

/* From now on no program that is executed gets this capability. */
bool plan_lose_capability(int capability);

/* Why tests of privileged options cannot run here; NULL: they can. */
const char *plan_needs_root(void);

#endif
