/*
 * Plans that cannot work: each is refused with its own code and sentence, or
 * fails by a step that is named; none crashes or leaves anything behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "proc/plan.h"
#include "proc/protocol.h"
#include "tests/flow/plan_story.h"

enum { N_ARGS = 100000 };

/* The start fails with this before there is any process. */
static void
assert_refused(struct story *story, int code, const char *words)
{
    size_t n_fds = harness_count_fds(0);
    struct libspawn_err err;
    pid_t pid;

    assert_code(story_try_start(story, &err), code);
    assert_contains(err.text, words);
    assert_lacks(err.text, "\n");
    ck_assert_ptr_null(story->child);
    ck_assert_uint_eq(harness_child_pids(&pid, 1), 0);
    ck_assert_uint_eq(harness_count_fds(0), n_fds);
}

/* ---- Refused ----------------------------------------------------------- */

TEST(plan_null__is_refused)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    libspawn_plan_free(TAKE_PTR(story.plan));
    assert_refused(&story, LIBSPAWN_ERR_INVALID, "there is no plan");
}

TEST(plan_half_filled__is_refused_and_can_be_completed)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    assert_refused(&story, LIBSPAWN_ERR_INVALID, "names no program");
    libspawn_plan_set_program(story.plan, "/bin/true");
    assert_refused(&story, LIBSPAWN_ERR_INVALID, "no argument zero");
    libspawn_plan_add_arg(story.plan, "true");
    story_start(&story);
    story_await(&story, "started ready exited");
}

TEST(plan_with_a_closed_descriptor__is_refused)
{
    AUTO_STORY struct story story;
    int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);

    plan_begin(&story);
    libspawn_plan_add_fd(story.plan, fd, 5);
    close(fd);
    assert_refused(&story, LIBSPAWN_ERR_INVALID, "is not open");
}

TEST(plan_with_a_descriptor_given_twice__is_refused)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_add_fd(story.plan, 0, 5);
    libspawn_plan_add_fd(story.plan, 1, 5);
    assert_refused(&story, LIBSPAWN_ERR_EXISTS, "descriptor 5");
}

TEST(plan_with_an_assignment_without_equals__is_refused)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_add_env(story.plan, "PATH");
    assert_refused(&story, LIBSPAWN_ERR_INVALID, "'PATH'");
}

TEST(plan_with_an_unknown_user__is_refused)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_user(story.plan, "no-such-user", NULL);
    assert_refused(&story, LIBSPAWN_ERR_NOT_FOUND,
                   "there is no user 'no-such-user'");
}

TEST(plan_with_paths_of_5000_bytes__is_refused)
{
    AUTO_STORY struct story story;
    char path[5001];

    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    story_begin(&story);
    story_program(&story, path);
    assert_refused(&story, LIBSPAWN_ERR_INVALID, "5000 bytes long");
}

/* A component too long is for the kernel to say. */
TEST(plan_with_a_name_of_300_bytes__fails_by_exec)
{
    AUTO_STORY struct story story;
    char path[301];

    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    story_begin(&story);
    story_program(&story, path);
    story_start(&story);
    story_await(&story, "failed");
    ck_assert_str_eq(story_report(&story)->step, "exec");
    ck_assert_int_eq(story_report(&story)->sys_errno, ENAMETOOLONG);
    story_assert_nothing_left(&story);
}

TEST(plan_larger_than_16_mib__is_refused)
{
    AUTO_STORY struct story story;
    size_t size = 1 << 20;
    AUTO_FREE char *large = malloc(size + 1);
    int i;

    plan_begin(&story);
    memset(large, 'x', size);
    large[size] = '\0';
    for (i = 0; i < 17; i++) {
        libspawn_plan_add_arg(story.plan, large);
    }
    assert_refused(&story, LIBSPAWN_ERR_LIMIT, "larger than 16777216 bytes");
}

/* Smaller ones need none. */
TEST(plan_too_large_for_a_message_without_memfds__is_refused)
{
    AUTO_STORY struct story story;
    char arg[LIBSPAWN__TAIL_SIZE + 1];

    memset(arg, 'x', sizeof arg - 1);
    arg[sizeof arg - 1] = '\0';
    plan_begin(&story);
    libspawn_plan_add_arg(story.plan, arg);
    ck_assert(plan_deny_call(SYS_memfd_create, -1, ENOSYS));
    assert_refused(&story, LIBSPAWN_ERR_UNSUPPORTED, "memory file");
}

/* ---- Odd, but fine ----------------------------------------------------- */

/* Its packed form is this large, and has descriptors besides. */
static void
assert_arrives(size_t size)
{
    AUTO_STORY struct story story;
    AUTO_BUF struct libspawn__buf packed = { 0 };
    AUTO_FD int fd = open("/proc/self/comm", O_RDONLY);
    AUTO_FREE char *text = NULL;
    char arg[2 * LIBSPAWN__TAIL_SIZE] = "";
    char words[32];
    size_t arg_size;

    story_begin(&story);
    libspawn_plan_set_directory(story.plan, harness_dir());
    libspawn_plan_add_fd(story.plan, fd, 7);
    story_program(&story, "/bin/sh", "-c", "cat <&7 >told; echo ${#1} >>told",
                  "sh");
    assert_ok(libspawn__plan_pack_bytes(story.plan, &packed, NULL), NULL);
    arg_size = size - packed.size - 2 * sizeof(uint32_t);
    memset(arg, 'x', arg_size);
    libspawn_plan_add_arg(story.plan, arg);
    story_start(&story);
    story_await(&story, "started ready exited");
    text = harness_read_file("told");
    snprintf(words, sizeof words, "\n%zu\n", arg_size);
    assert_contains(text, words);
}

TEST(plan_as_large_as_a_message__arrives_whole)
{
    assert_arrives(LIBSPAWN__TAIL_SIZE);
}

TEST(plan_larger_than_a_message__arrives_whole)
{
    assert_arrives(LIBSPAWN__TAIL_SIZE + 1);
}

/* Runs it, which writes the number of its arguments. */
TEST_TIMEOUT(plan_with_100000_arguments__runs_with_all_of_them, 30)
{
    AUTO_STORY struct story story = { 0 };
    AUTO_FREE char *text = NULL;
    struct rlimit limit;
    int i;

    ck_assert_int_eq(getrlimit(RLIMIT_STACK, &limit), 0);
    if (limit.rlim_cur < 8 * 1024 * 1024) {
        TEST_SKIP("the limit of the stack allows less arguments");
    }
    story_begin(&story);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_program(&story, "/bin/sh", "-c", "echo $# > count", "sh");
    for (i = 0; i < N_ARGS; i++) {
        libspawn_plan_add_arg(story.plan, "x");
    }
    story_start(&story);
    story_await(&story, "started ready exited");
    text = harness_read_file("count");
    ck_assert_str_eq(text, "100000\n");
}

TEST_TIMEOUT(plan_with_more_arguments_than_the_kernel_takes__fails_by_exec, 30)
{
    AUTO_STORY struct story story;
    char arg[101];
    int i;

    memset(arg, 'x', sizeof arg - 1);
    arg[sizeof arg - 1] = '\0';
    story_begin(&story);
    story_program(&story, "/bin/true");
    for (i = 0; i < N_ARGS; i++) {
        libspawn_plan_add_arg(story.plan, arg);
    }
    story_start(&story);
    story_await(&story, "failed");
    ck_assert_str_eq(story_report(&story)->step, "exec");
    ck_assert_int_eq(story_report(&story)->sys_errno, E2BIG);
    story_assert_nothing_left(&story);
}

TEST(plan_with_newlines_in_paths__works_and_reports_on_one_line)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *program = NULL;
    AUTO_FREE char *directory = NULL;
    AUTO_FREE char *target = NULL;

    directory = libspawn__str_format("%s/a\nb", harness_dir());
    program = libspawn__str_format("%s/sleep\n60", directory);
    ck_assert_int_eq(mkdir(directory, 0755), 0);
    ck_assert_int_eq(symlink("/bin/sleep", program), 0);
    story_begin(&story);
    libspawn_plan_set_directory(story.plan, directory);
    story_program(&story, program, "60");
    story_run(&story);
    target = plan_read_link(&story, "cwd");
    ck_assert_str_eq(target, directory);
    ck_assert_str_eq(story_report(&story)->program, program);
    assert_lacks(story_sentence(&story), "\n");
    assert_contains(story_sentence(&story), "/a?b/sleep?60'");
}

TEST(plan_refused_once__starts_after_a_new_one_is_made)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_nice(story.plan, 100);
    assert_refused(&story, LIBSPAWN_ERR_INVALID, "nice");
    libspawn_plan_free(story.plan);
    story.plan = libspawn_plan_new();
    story_program(&story, "/bin/true");
    story_start(&story);
    story_await(&story, "started ready exited");
}

TEST_MAIN("spawn_plan_bad")
