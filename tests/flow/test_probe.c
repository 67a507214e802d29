/*
 * Asking device models what they support: QEMU itself, what only plays it,
 * and what is none.
 */
#include "dm/probe.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "tests/lib/harness.h"

#define QEMU "/usr/bin/qemu-system-x86_64"
#define VERSION_LINE "echo 'QEMU emulator version 7.2.1 (like one)'\n"

enum {
    ANSWER_MS = 20000,
    TEST_S = 30
};

struct asking {
    struct libspawn_ctx *ctx;
    struct libspawn__probe *probe;
    struct libspawn__dm_support support;
    char warning[256]; /* "" without */
    int64_t took_ms;
    bool is_answered;
};

static void
on_answer(void *user, const struct libspawn__dm_support *support,
          const char *warning)
{
    struct asking *asking = user;

    ck_assert(!asking->is_answered);
    asking->support = *support;
    snprintf(asking->warning, sizeof asking->warning, "%s",
             warning ? warning : "");
    asking->is_answered = true;
    libspawn__probe_free(asking->probe);
}

static void
begin(struct asking *asking, const char *program, uint32_t start_timeout_ms)
{
    AUTO_FREE char *watcher =
        libspawn__str_format("%s/bin/spawn-watcher", harness_build_dir());
    const struct libspawn_ctx_options options = { .watcher_path = watcher };
    const struct libspawn__probe_request request = {
        .state_dir = "state",
        .program = program,
        .start_timeout_ms = start_timeout_ms,
        .fn = on_answer,
        .user = asking,
    };
    struct libspawn_err err;

    memset(asking, 0, sizeof *asking);
    assert_ok(libspawn_ctx_new(&options, &asking->ctx, &err), &err);
    assert_ok(
        libspawn__probe_start(asking->ctx, &request, &asking->probe, &err),
        &err);
    ck_assert(!asking->is_answered);
}

static void
end(struct asking *asking)
{
    libspawn_ctx_free(asking->ctx);
    ck_assert(harness_wait_children(ANSWER_MS));
}

static struct asking
ask(const char *program, uint32_t start_timeout_ms)
{
    struct asking asking;
    int64_t began = libspawn__clock_now_ms();

    begin(&asking, program, start_timeout_ms);
    while (!asking.is_answered) {
        struct libspawn_err err;

        ck_assert_int_lt(libspawn__clock_now_ms() - began, ANSWER_MS);
        assert_ok(libspawn_ctx_wait(asking.ctx, 100, &err), &err);
    }
    asking.took_ms = libspawn__clock_now_ms() - began;
    end(&asking);
    return asking;
}

static bool
is_known(const char *program)
{
    struct libspawn__dm_support support;

    return libspawn__probe_is_known("state", program, &support);
}

/* A program that counts how often it was run, in "runs". */
static void
write_script(const char *lines)
{
    AUTO_FREE char *text = libspawn__str_format(
        "#!/bin/sh\necho run >> %s/runs\n%s", harness_dir(), lines);

    harness_write_file("script", text);
    ck_assert_int_eq(chmod("script", 0700), 0);
    harness_write_file("runs", "");
}

/* The directory of a child is "/". */
static struct asking
ask_script(const char *lines)
{
    AUTO_FREE char *path = NULL;

    write_script(lines);
    path = libspawn__str_format("%s/script", harness_dir());
    return ask(path, 0);
}

static void
assert_runs(const char *runs)
{
    AUTO_FREE char *text = harness_read_file("runs");

    ck_assert_str_eq(text, runs);
}

static void
assert_nothing(const struct asking *asking)
{
    ck_assert_uint_eq(asking->support.features, 0);
    ck_assert_str_eq(asking->support.version, "");
    ck_assert_str_eq(asking->warning, "");
}

/* ---- QEMU -------------------------------------------------------------- */

TEST_TIMEOUT(probe_of_qemu__knows_its_version_and_options, TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_FREE char *words = NULL;
    struct libspawn__dm_support support;
    struct asking asking;

    if (access(QEMU, X_OK)) {
        TEST_SKIP(QEMU " is not installed");
    }
    asking = ask(QEMU, 0);
    output = harness_run(QEMU, "-version");
    words = libspawn__str_format("version %s", asking.support.version);
    ck_assert_str_ne(asking.support.version, "");
    assert_contains(output.out, words);
    ck_assert(asking.support.features & LIBSPAWN__DM_SANDBOX);
    ck_assert(libspawn__probe_is_known("state", QEMU, &support));
    ck_assert_uint_eq(support.features, asking.support.features);
    ck_assert_str_eq(support.version, asking.support.version);
}

/* As QEMU says it that was built without seccomp. */
#define REJECT_SANDBOX                                                        \
    "if [ \"$1\" = -sandbox ]; then\n"                                        \
    "    echo \"$0: -sandbox $2: There is no option group 'sandbox'\" >&2\n"  \
    "    exit 1\nfi\n"

TEST_TIMEOUT(probe_without_sandbox__still_knows_the_rest, TEST_S)
{
    struct asking asking =
        ask_script(REJECT_SANDBOX VERSION_LINE
                   "echo '-sandbox on[,obsolete=allow|deny]'\n"
                   "echo '-chroot dir     chroot to dir'\n"
                   "echo '-runaspirant    another one'\n"
                   "echo '-run-with [async-teardown=on|off]'\n"
                   "echo '          [,user=username|uid:gid]'\n"
                   "echo '-other [chroot=dir]'\n");

    ck_assert_str_eq(asking.support.version, "7.2.1");
    ck_assert_uint_eq(asking.support.features,
                      LIBSPAWN__DM_CHROOT | LIBSPAWN__DM_RUN_WITH_USER);
    assert_runs("run\nrun\n");
}

TEST_TIMEOUT(probe_of_the_test_device_model__ends_at_once, TEST_S)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/test-device-model", harness_build_dir());
    struct asking asking = ask(path, 0);

    ck_assert_uint_eq(asking.support.features, LIBSPAWN__DM_SANDBOX);
}

/* ---- What is none ------------------------------------------------------ */

TEST_TIMEOUT(probe_exits_with_an_error__supports_nothing, TEST_S)
{
    struct asking asking = ask_script("exit 1");

    assert_nothing(&asking);
    assert_runs("run\n");
}

TEST_TIMEOUT(probe_succeeds_without_a_version__supports_nothing, TEST_S)
{
    struct asking asking =
        ask_script("echo '-chroot'; echo QEMU emulator version evil");

    assert_nothing(&asking);
}

TEST_TIMEOUT(probe_dies_by_a_signal__supports_nothing, TEST_S)
{
    struct asking asking = ask_script(VERSION_LINE "kill -SEGV $$");

    assert_nothing(&asking);
}

TEST_TIMEOUT(probe_cannot_be_executed__supports_nothing, TEST_S)
{
    AUTO_FREE char *path = libspawn__str_format("%s/qemu", harness_dir());
    struct asking asking;

    harness_write_file("qemu", "not a program");
    ck_assert_int_eq(chmod("qemu", 0700), 0);
    asking = ask(path, 0);
    assert_nothing(&asking);
}

TEST_TIMEOUT(probe_hangs__ends_with_its_part_of_the_deadline, TEST_S)
{
    AUTO_FREE char *path = libspawn__str_format("%s/script", harness_dir());
    struct asking asking;

    write_script(VERSION_LINE "exec tail -f /dev/null");
    asking = ask(path, 400);
    ck_assert_uint_eq(asking.support.features, 0);
    ck_assert_int_ge(asking.took_ms, 200);
    ck_assert_int_lt(asking.took_ms, 2000);
    assert_contains(asking.warning, "did not say within 200 ms");
    assert_contains(asking.warning, "without its sandbox");
}

/* A machine that was busy for a moment must not leave QEMU without its filter
 * for longer. */
TEST_TIMEOUT(probe_hangs__is_asked_again_by_the_next_start, TEST_S)
{
    AUTO_FREE char *path = libspawn__str_format("%s/script", harness_dir());
    AUTO_FREE char *lines = libspawn__str_format(
        "[ -e %s/hung ] || { touch %s/hung; exec tail -f /dev/null; }\n"
        VERSION_LINE, harness_dir(), harness_dir());
    struct asking asking;

    write_script(lines);
    ask(path, 400);
    ck_assert(!is_known(path));
    asking = ask(path, 4000);
    ck_assert_str_eq(asking.warning, "");
    ck_assert_uint_eq(asking.support.features, LIBSPAWN__DM_SANDBOX);
    ck_assert(is_known(path));
}

/* Who writes without end is ended before the deadline. */
TEST_TIMEOUT(probe_writes_without_end__is_ended, TEST_S)
{
    struct asking asking = ask_script(VERSION_LINE "exec cat /dev/zero");

    assert_nothing(&asking);
    ck_assert_int_lt(asking.took_ms, 1900);
}

/* ---- Remembering ------------------------------------------------------- */

TEST_TIMEOUT(probe_of_what_cannot_run__is_not_made, TEST_S)
{
    ck_assert(is_known("missing"));
    ck_assert(is_known("."));
    harness_write_file("plain", "");
    ck_assert(is_known("plain"));
}

TEST_TIMEOUT(probe_without_an_answer__is_remembered_for_now, TEST_S)
{
    ck_assert(!is_known("/bin/false"));
    ask("/bin/false", 0);
    ck_assert(is_known("/bin/false"));
}

TEST_TIMEOUT(probe_of_a_program_that_changes__is_not_remembered, TEST_S)
{
    AUTO_FREE char *change = libspawn__str_format(
        VERSION_LINE "echo '# more' >> %s/script\n", harness_dir());
    struct asking asking = ask_script(change);

    ck_assert_uint_eq(asking.support.features, LIBSPAWN__DM_SANDBOX);
    ck_assert(!is_known("script"));
}

TEST_TIMEOUT(probe_cannot_be_remembered__answers_all_the_same, TEST_S)
{
    struct asking asking;

    harness_write_file("state", "in the way");
    asking = ask_script(VERSION_LINE);
    ck_assert_str_eq(asking.support.version, "7.2.1");
    ck_assert(!is_known("script"));
}

TEST_TIMEOUT(probe_freed_while_it_runs__ends_the_program, TEST_S)
{
    AUTO_FREE char *path = libspawn__str_format("%s/script", harness_dir());
    struct asking asking;

    write_script("exec tail -f /dev/null");
    begin(&asking, path, 0);
    libspawn_ctx_wait(asking.ctx, 100, NULL);
    libspawn__probe_free(asking.probe);
    end(&asking);
    ck_assert(!asking.is_answered);
}

TEST_MAIN("probe")
