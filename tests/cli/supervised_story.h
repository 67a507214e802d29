/*
 * The supervisor of the guest of tests/cli/xl_story.h, as others see it; and
 * a device model that is another each time it is started.
 */
#ifndef TESTS_CLI_SUPERVISED_STORY_H
#define TESTS_CLI_SUPERVISED_STORY_H

#include <stdint.h>

#include "tests/cli/xl_story.h"
#include "wire/json.h"

/* Times are a hundredth, or with SWEEP=full the true ones; what a test should
 * then be given to run. */
enum { SUPERVISED_SCALE = 100 };
void supervised_begin(void);
/* Before that: they are a hundredth in every case, since another test waits
 * for the same time as it is. */
void supervised_stay_quick(void);
/* The same, with times that are divided by 'divisor' only. */
void supervised_begin_slowly(int divisor);
int64_t supervised_scaled(int64_t ms);
#define SUPERVISED_TEST_S 600

/* Its pid, from the pid file, which must be there; or 0 when there is none. */
pid_t supervised_pid(const char *guest);
pid_t supervised_find(const char *guest);

/* Whether there is one; its pid file is then locked. */
bool supervised_is(const char *guest);

/* That of who brings it back at once; 0: nobody does. */
pid_t supervised_monitor_pid(const char *guest);

/* What it answers; to be freed with libspawn__json_free. */
struct libspawn__json *supervised_status(const char *guest);
/* The code of what its method "monitor" answers to a QMP command. */
int supervised_command(const char *guest, const char *command);
int64_t supervised_number(const char *guest, const char *member);
pid_t supervised_model_pid(const char *guest);

/* Whether it answers, and is in this state. */
bool supervised_is_state(const char *guest, const char *state);

/* Waits until it is in this state. */
void supervised_await_state(const char *guest, const char *state);

/* How many events of this kind there are, of one guest or (NULL) all; "kind"
 * as in the event log. */
size_t supervised_count_events(const char *guest, const char *kind);
void supervised_await_event(const char *guest, const char *kind, size_t n);

/* How often it was admitted.  That is told as "released" instead of "admitted"
 * when it was held before; which also happens to whoever takes a guest over on
 * a busy machine, where the answer of its device model is late. */
size_t supervised_count_admissions(const char *guest);
void supervised_await_admissions(const char *guest, size_t n);

/* Kills it, or its monitor, as a test of what comes next. */
void supervised_kill(const char *guest, int signal);
void supervised_kill_monitor(const char *guest, int signal);

/* Another one in the foreground, for a guest that has none.  It has the pid
 * file: any command of xl would bring one of its own before that. */
struct xl_process supervised_adopt(const char *guest);

/* A configuration, with 'lines', whose device model is the test device model
 * with what supervised_set_model says at the time of each start; it logs its
 * monitor's commands in "GUEST.qmp", and adds a line to "GUEST.starts". */
void supervised_write_config(const char *guest, const char *lines);
void supervised_set_model(const char *guest, const char *arguments);
size_t supervised_count_lines(const char *guest, const char *file,
                              const char *line);

/* XL_GUEST, made by `xl create OPTION` with 'lines' in its configuration and
 * SUPERVISED_MODEL as its device model. */
#define SUPERVISED_MODEL "--stderr=x"
void supervised_create(const char *option, const char *lines);

/* A command that looks at guests, and so sees to their supervisors. */
void supervised_look(void);

/* Waits until XL_GUEST has another supervisor than that. */
void supervised_await_another(pid_t former);

/* How often the device model of XL_GUEST was started. */
size_t supervised_count_starts(void);

#endif
