/*
 * Which paths a child can reach under Landlock, and what happens on a kernel
 * without it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/flow/plan_story.h"

static bool
has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0,
                   LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

/* What a shell and its commands need of the system, and no more. */
static void
confine(struct story *story)
{
    static const char *const needed[] = { "/usr", "/bin", "/lib", "/lib64",
                                          "/etc" };
    size_t i;

    libspawn_plan_set_landlock(story->plan, LIBSPAWN_LANDLOCK_REQUIRED);
    for (i = 0; i < ARRAY_SIZE(needed); i++) {
        if (access(needed[i], F_OK) == 0) {
            libspawn_plan_add_landlock_path(story->plan, needed[i],
                                            LIBSPAWN_ACCESS_READ);
        }
    }
}

/* Runs a shell command in the directory of the test, which has a file and the
 * directories "read" and "write"; returns its exit code. */
static int
run_confined(const char *command)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *read_path = NULL;
    AUTO_FREE char *write_path = NULL;
    AUTO_FREE char *whole = NULL;

    story_begin(&story);
    mkdir("read", 0755);
    mkdir("write", 0755);
    harness_write_file("secret", "x\n");
    harness_write_file("read/file", "x\n");
    read_path = libspawn__str_format("%s/read", harness_dir());
    write_path = libspawn__str_format("%s/write", harness_dir());
    whole = libspawn__str_format("cd %s; %s", harness_dir(), command);
    confine(&story);
    libspawn_plan_add_landlock_path(story.plan, read_path,
                                    LIBSPAWN_ACCESS_READ);
    libspawn_plan_add_landlock_path(story.plan, write_path,
                                    LIBSPAWN_ACCESS_WRITE);
    libspawn_plan_add_landlock_path(story.plan, "/dev/null",
                                    LIBSPAWN_ACCESS_WRITE);
    story_program(&story, "/bin/sh", "-c", whole);
    story_start(&story);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_EXITED);
    return story_report(&story)->exit_code;
}

TEST(plan_landlock_paths__can_be_used_as_they_were_allowed)
{
    if (!has_landlock()) {
        TEST_SKIP("this kernel has no Landlock");
    }
    ck_assert_int_eq(run_confined("read x < read/file"), 0);
    ck_assert_int_eq(run_confined("echo y > write/file && rm write/file"), 0);
    ck_assert_int_eq(run_confined("mkdir write/d && rmdir write/d"), 0);
    ck_assert_int_eq(run_confined("echo y > /dev/null"), 0);
}

TEST(plan_landlock_other_paths__cannot_be_used)
{
    if (!has_landlock()) {
        TEST_SKIP("this kernel has no Landlock");
    }
    ck_assert_int_ne(run_confined("read x < secret"), 0);
    ck_assert_int_ne(run_confined("echo y > read/file"), 0);
    ck_assert_int_ne(run_confined("echo y > made"), 0);
    ck_assert_int_ne(run_confined("rm read/file"), 0);
    ck_assert_int_eq(access("read/file", F_OK), 0);
    ck_assert_int_ne(access("made", F_OK), 0);
}

TEST(plan_landlock__implies_no_new_privs)
{
    AUTO_STORY struct story story = { 0 };

    if (!has_landlock()) {
        TEST_SKIP("this kernel has no Landlock");
    }
    plan_begin(&story);
    confine(&story);
    story_run(&story);
    plan_assert_status(&story, "NoNewPrivs:\t1");
}

TEST(plan_landlock_path_missing__names_the_step)
{
    AUTO_STORY struct story story = { 0 };

    if (!has_landlock()) {
        TEST_SKIP("this kernel has no Landlock");
    }
    plan_begin(&story);
    confine(&story);
    libspawn_plan_add_landlock_path(story.plan, "/nonexistent",
                                    LIBSPAWN_ACCESS_READ);
    plan_assert_step_fails(&story, "landlock", ENOENT);
    assert_contains(story_sentence(&story),
                    "(landlock): '/nonexistent': No such file");
}

/* The program itself has to be reachable. */
TEST(plan_landlock_without_the_program__cannot_be_executed)
{
    AUTO_STORY struct story story = { 0 };

    if (!has_landlock()) {
        TEST_SKIP("this kernel has no Landlock");
    }
    plan_begin(&story);
    libspawn_plan_set_landlock(story.plan, LIBSPAWN_LANDLOCK_REQUIRED);
    story_start(&story);
    story_await(&story, "failed");
    ck_assert_str_eq(story_report(&story)->step, "exec");
    ck_assert_int_eq(story_report(&story)->sys_errno, EACCES);
}

/* ---- A kernel without it ----------------------------------------------- */

TEST(plan_landlock_required_on_a_kernel_without__is_refused_at_once)
{
    AUTO_STORY struct story story = { 0 };
    struct libspawn_err err;

    if (!plan_deny_call(SYS_landlock_create_ruleset, -1, EOPNOTSUPP)) {
        TEST_SKIP("seccomp filters are not allowed");
    }
    plan_begin(&story);
    confine(&story);
    assert_code(story_try_start(&story, &err), LIBSPAWN_ERR_UNSUPPORTED);
    assert_contains(err.text, "the kernel has no Landlock");
}

TEST(plan_landlock_best_effort_on_a_kernel_without__starts)
{
    AUTO_STORY struct story story = { 0 };

    if (!plan_deny_call(SYS_landlock_create_ruleset, -1, ENOSYS)) {
        TEST_SKIP("seccomp filters are not allowed");
    }
    plan_begin(&story);
    confine(&story);
    libspawn_plan_set_landlock(story.plan, LIBSPAWN_LANDLOCK_BEST_EFFORT);
    story_run(&story);
    plan_assert_status(&story, "NoNewPrivs:\t1");
}

TEST_MAIN("spawn_plan_landlock")
