/*
 * How a start fails: the program cannot be executed, or ends before it is
 * ready.  The caller learns at once which, with code or signal and the last
 * lines of output.
 */
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"

/* A failure known to the caller must not wait for any limit. */
enum { AT_ONCE_MS = 1000 };

/* ---- Exec -------------------------------------------------------------- */

static void
assert_no_exec(struct story *story, int sys_errno, int exit_status)
{
    const struct libspawn_report *report;
    int64_t began = libspawn__clock_now_ms();

    story_ready_on_confirm(story, true);
    story_start(story);
    story_await(story, "failed");
    ck_assert_int_lt(libspawn__clock_now_ms() - began, AT_ONCE_MS);
    report = story_report(story);
    ck_assert_int_eq(report->end, LIBSPAWN_END_NO_EXEC);
    ck_assert_str_eq(report->step, "exec");
    ck_assert_int_eq(report->sys_errno, sys_errno);
    ck_assert_int_eq(libspawn_report_exit_status(report), exit_status);
    assert_contains(story_sentence(story), report->program);
    assert_contains(story_sentence(story), strerror(sys_errno));
    story_assert_nothing_left(story);
}

/* Covers X1. */
TEST(spawn_missing_program__names_file_and_errno)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_program(&story, "/nonexistent/qemu");
    assert_no_exec(&story, ENOENT, 127);
}

/* Covers X1. */
TEST(spawn_program_without_execute_permission__is_permission_denied)
{
    AUTO_STORY struct story story;
    char path[4096];

    story_begin(&story);
    harness_write_file("plain", "#!/bin/sh\n");
    snprintf(path, sizeof path, "%s/plain", harness_dir());
    story_program(&story, path);
    assert_no_exec(&story, EACCES, 126);
}

/* Covers X1. */
TEST(spawn_directory_as_program__is_permission_denied)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_program(&story, harness_dir());
    assert_no_exec(&story, EACCES, 126);
}

static void
write_program(const char *path, const void *bytes, size_t size)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(libspawn__fd_write_full(fd, bytes, size), 0);
}

/* Covers X1. */
TEST(spawn_program_of_another_machine__is_exec_format_error)
{
    AUTO_STORY struct story story;
    Elf64_Ehdr header = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                     ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC,
        .e_machine = 0xfeed,
        .e_version = EV_CURRENT,
        .e_ehsize = sizeof header,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 1,
    };
    char path[4096];

    story_begin(&story);
    snprintf(path, sizeof path, "%s/alien", harness_dir());
    write_program(path, &header, sizeof header);
    story_program(&story, path);
    assert_no_exec(&story, ENOEXEC, 126);
}

TEST(spawn_script_without_interpreter__names_the_script)
{
    AUTO_STORY struct story story;
    static const char script[] = "#!/nonexistent/sh\n";
    char path[4096];

    story_begin(&story);
    snprintf(path, sizeof path, "%s/script", harness_dir());
    write_program(path, script, strlen(script));
    story_program(&story, path);
    assert_no_exec(&story, ENOENT, 127);
}

TEST(spawn_missing_directory__names_that_step_and_never_runs)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_set_directory(story.plan, "/nonexistent");
    story_program(&story, "/bin/touch", "ran");
    story_start(&story);
    story_await(&story, "failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_NO_EXEC);
    ck_assert_str_eq(story_report(&story)->step, "directory");
    assert_contains(story_sentence(&story), "(directory)");
    story_assert_nothing_left(&story);
}

TEST(spawn_after_failed_exec__works_with_the_same_plan)
{
    AUTO_STORY struct story story;
    char path[4096];

    story_begin(&story);
    snprintf(path, sizeof path, "%s/late", harness_dir());
    story_program(&story, path);
    story_start(&story);
    story_await(&story, "failed");
    ck_assert_int_eq(symlink("/bin/true", path), 0);
    story_start_again(&story);
    story_await(&story, "started ready exited");
}

/* ---- Exit -------------------------------------------------------------- */

static void
assert_exit(const char *option, int code, int exit_status)
{
    AUTO_STORY struct story story;
    const struct libspawn_report *report;
    int64_t began = libspawn__clock_now_ms();
    char words[64];

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, option);
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_lt(libspawn__clock_now_ms() - began, AT_ONCE_MS);
    report = story_report(&story);
    ck_assert_int_eq(report->end, LIBSPAWN_END_EXITED);
    ck_assert_int_eq(report->exit_code, code);
    ck_assert_int_eq(libspawn_report_exit_status(report), exit_status);
    snprintf(words, sizeof words, "exited with status %d after ", code);
    assert_contains(story_sentence(&story), words);
    assert_code(libspawn_child_check(story.child, NULL), LIBSPAWN_ERR_CHILD);
    story_assert_nothing_left(&story);
}

/* The code and not the raw wait status is told.  Covers X2, D10. */
TEST(spawn_child_exits_at_once__tells_its_own_code)
{
    assert_exit("--exit=1", 1, 1);
    assert_exit("--exit=37", 37, 37);
    assert_exit("--exit=125", 125, 125);
}

/* 126 and above would be taken for what a shell says of a program. */
TEST(spawn_child_exits_with_a_reserved_code__is_told_but_not_passed_on)
{
    assert_exit("--exit=126", 126, 1);
    assert_exit("--exit=127", 127, 1);
    assert_exit("--exit=255", 255, 1);
}

/* Covers X3, D11. */
TEST(spawn_child_exits_zero_before_ready__is_unexpected)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_program(&story, "/bin/true");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_EXITED);
    assert_contains(story_sentence(&story),
                    "unexpectedly exited with status 0");
    ck_assert_int_eq(libspawn_report_exit_status(story_report(&story)), 1);
}

/* Covers X2. */
TEST(spawn_child_complains_and_exits__its_last_words_are_in_the_report)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *text = NULL;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, "--stderr=cannot open disk image", "--exit=1");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_str_eq(story_report(&story)->tail, "cannot open disk image\n");
    text = libspawn_report_text(story_report(&story));
    assert_contains(text, "guest 'tale': device model '");
    assert_contains(text, "  | cannot open disk image\n");
}

TEST(spawn_child_lives_a_while__report_says_how_long)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_program(&story, "/bin/sh", "-c", "sleep 0.3; exit 4");
    story_start(&story);
    story_await(&story, "started ready exited");
    /* The watcher may be told late that it was executed. */
    ck_assert_int_ge(story_report(&story)->lived_ms, 150);
    ck_assert_int_lt(story_report(&story)->lived_ms, 2000);
}

/* ---- Signals ----------------------------------------------------------- */

/* Those that end a process by default. */
static const int deadly[] = { SIGHUP,    SIGINT,  SIGQUIT, SIGILL,  SIGTRAP,
                              SIGABRT,   SIGBUS,  SIGFPE,  SIGKILL, SIGUSR1,
                              SIGSEGV,   SIGUSR2, SIGPIPE, SIGALRM, SIGTERM,
                              SIGSTKFLT, SIGXCPU, SIGXFSZ, SIGVTALRM,
                              SIGPROF,   SIGIO,   SIGPWR,  SIGSYS };

static void
assert_signal(int number)
{
    AUTO_STORY struct story story;
    const struct libspawn_report *report;
    char option[32];
    char words[128];

    snprintf(option, sizeof option, "--signal=%d", number);
    snprintf(words, sizeof words, "was killed by SIG%s (%s) after ",
             sigabbrev_np(number), sigdescr_np(number));
    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_model(&story, option);
    story_start(&story);
    story_await(&story, "started failed");
    report = story_report(&story);
    ck_assert_int_eq(report->end, LIBSPAWN_END_SIGNALED);
    ck_assert_int_eq(report->signal, number);
    ck_assert(!report->core_dumped);
    ck_assert_int_eq(libspawn_report_exit_status(report), 128 + number);
    assert_contains(story_sentence(&story), words);
}

static bool
core_goes_to_a_program(void)
{
    AUTO_FREE char *pattern =
        harness_read_file("/proc/sys/kernel/core_pattern");

    return pattern[0] == '|';
}

/* Covers X4, D12, F3, F6. */
TEST_TIMEOUT(spawn_child_killed__names_every_signal_and_no_core, 30)
{
    size_t i;

    if (core_goes_to_a_program()) {
        TEST_SKIP("cores go to a program here, whatever the limit");
    }
    for (i = 0; i < ARRAY_SIZE(deadly); i++) {
        assert_signal(deadly[i]);
    }
}

TEST(spawn_child_killed_by_realtime_signal__has_its_number)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    story_program(&story, "/bin/sh", "-c", "kill -40 $$");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->signal, 40);
    assert_contains(story_sentence(&story), "was killed by signal 40 after");
}

/* Covers X4, F2. */
TEST(spawn_child_aborts_with_core_limit__report_says_core_dumped)
{
    AUTO_STORY struct story story;
    struct rlimit limit;

    if (core_goes_to_a_program()) {
        TEST_SKIP("cores go to a program here");
    }
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    if (!limit.rlim_max) {
        TEST_SKIP("the hard limit of the core size is 0");
    }
    story_begin(&story);
    story_ready_on_confirm(&story, false);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_model(&story, "--core");
    story_start(&story);
    story_await(&story, "started failed");
    ck_assert_int_eq(story_report(&story)->signal, SIGABRT);
    ck_assert(story_report(&story)->core_dumped);
    assert_contains(story_sentence(&story),
                    "SIGABRT (Aborted), core dumped, after");
}

/* ---- Refusals by the library ------------------------------------------- */

TEST(spawn_store_cannot_be_opened__fails_before_anything_runs)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_set_record(story.plan, "dir:/nonexistent/a/b",
                             STORY_RECORD);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_program(&story, "/bin/touch", "ran");
    story_start(&story);
    story_await(&story, "failed");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_REFUSED);
    assert_contains(story_sentence(&story), "/nonexistent/a/b");
    ck_assert_int_ne(access("ran", F_OK), 0);
}

TEST(spawn_log_cannot_be_opened__fails_before_anything_runs)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_set_log(story.plan, "/nonexistent/dm.log", 0, 0);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_program(&story, "/bin/touch", "ran");
    story_start(&story);
    story_await(&story, "failed");
    assert_contains(story_sentence(&story), "/nonexistent/dm.log");
    ck_assert_int_ne(access("ran", F_OK), 0);
}

TEST(spawn_without_watcher_program__says_which_is_missing)
{
    struct libspawn_ctx_options options = { .watcher_path = "/nonexistent/w" };
    struct libspawn_plan *plan = libspawn_plan_new();
    struct libspawn_child *child;
    struct libspawn_ctx *ctx;
    struct libspawn_err err;

    assert_ok(libspawn_ctx_new(&options, &ctx, &err), &err);
    libspawn_plan_set_program(plan, "/bin/true");
    libspawn_plan_add_arg(plan, "true");
    assert_code(libspawn_child_start(ctx, plan, NULL, NULL, &child, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "/nonexistent/w");
    libspawn_plan_free(plan);
    libspawn_ctx_free(ctx);
}

TEST_MAIN("spawn_exec")
