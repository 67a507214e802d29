/*
 * Runs of the real xl, as its users meet it: in the test's directory, with
 * the state directory "state" in it.
 */
#ifndef TESTS_CLI_XL_STORY_H
#define TESTS_CLI_XL_STORY_H

#include <stdbool.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/auto.h"
#include "tests/lib/harness.h"

/* The name of the guest in the configurations written here, and their file. */
#define XL_GUEST "tale"
#define XL_CONFIG "guest.cfg"

/* For one run of xl; a busy machine is slow. */
enum { XL_WAIT_MS = 20000, XL_TEST_S = 60 };

/* Sets the environment; the first call of a test. */
void xl_begin(void);

/* The programs of the build. */
const char *xl_path(void);
const char *xl_model_path(void);

#define xl_run(...) harness_run(xl_path(), __VA_ARGS__)

/* Writes a small complete configuration and 'lines' behind it. */
void xl_write_config(const char *lines);

/* The same with the test device model, which gets these arguments: a list as
 * in the file, such as "'--exit=3'". */
void xl_write_model_config(const char *arguments);

/* Why a guest cannot be run by the real QEMU here, or NULL. */
const char *xl_no_qemu(void);

/* ---- What a run must say ----------------------------------------------- */

/* Success without a word on stderr. */
void xl_assert_ok(const struct harness_output *output);

/* This status, nothing on stdout, and on stderr one error, "xl: ...", whose
 * first line has these words. */
void xl_assert_error(const struct harness_output *output, int status,
                     const char *words);

/* No process, node, socket or temporary file; only the empty state directory
 * and logs. */
void xl_assert_nothing_left(void);

/* Runs xl create with these arguments, which must fail so and leave nothing.
 * What is left is looked at before the next xl could clean up. */
#define xl_assert_create_fails(STATUS, WORDS, ...)                            \
    xl_assert_create_fails_argv(                                              \
        STATUS, WORDS,                                                        \
        (const char *const[]){ xl_path(), "create", __VA_ARGS__, NULL })
void xl_assert_create_fails_argv(int status, const char *words,
                                 const char *const argv[]);

/* A run that must succeed without a word on stderr. */
#define xl_ok(...)                                                            \
    xl_ok_argv((const char *const[]){ xl_path(), __VA_ARGS__, NULL })
void xl_ok_argv(const char *const argv[]);

/* Destroys the guest of the configuration, of which nothing is left. */
void xl_destroy_guest(void);

/* xl create of the configuration works, and destroy. */
void xl_assert_create_works(void);

/* ---- A run that is watched --------------------------------------------- */

struct xl_process {
    pid_t pid;
    int in;          /* to its stdin; -1: not ours */
    int out;         /* what is read of it: stderr, or stdout */
    char text[8192]; /* what it said there so far */
    size_t size;
};

/* Its stderr is read. */
#define xl_start(...)                                                         \
    xl_start_argv((const char *const[]){ xl_path(), __VA_ARGS__, NULL })
struct xl_process xl_start_argv(const char *const argv[]);

/* Its stdout is read, and its stdin can be written. */
#define xl_start_talk(...)                                                    \
    xl_start_talk_argv((const char *const[]){ xl_path(), __VA_ARGS__, NULL })
struct xl_process xl_start_talk_argv(const char *const argv[]);
void xl_say(struct xl_process *process, const char *text);

/* Waits until it has said these words; false when it ends before. */
bool xl_await_words(struct xl_process *process, const char *words);

/* Waits for its end: exit code, or 128 + signal. */
int xl_wait(struct xl_process *process);

/* Waits until the trace of an operation of xl create appears: "xl: STEP". */
bool xl_await_step(struct xl_process *process, const char *step);

/* The steps of a creation in order, as -v shows them, ended by NULL. */
extern const char *const xl_steps[];

/* Becomes a user with no other process, who owns the test's directory; false
 * (and a skipped test) where that cannot be. */
bool xl_become_somebody(void);

#endif
