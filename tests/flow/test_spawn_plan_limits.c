/*
 * How much a child gets: limits, core dumps, umask, priorities; seen from
 * outside while it runs, and what the report says when one cannot be had.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/flow/plan_story.h"

/* ---- Limits ------------------------------------------------------------ */

static struct rlimit
limit_of(const struct story *story, __rlimit_resource_t resource)
{
    struct rlimit limit;

    ck_assert_int_eq(prlimit(libspawn_child_pid(story->child), resource, NULL,
                             &limit),
                     0);
    return limit;
}

TEST(plan_limits__are_those_of_the_child_and_no_others)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *text = NULL;
    struct rlimit own;

    plan_begin(&story);
    libspawn_plan_set_limit(story.plan, RLIMIT_NOFILE, 64, 128);
    libspawn_plan_set_limit(story.plan, RLIMIT_MEMLOCK, 0, 4096);
    story_run(&story);
    text = plan_read(&story, "limits");
    assert_contains(text, "Max open files            64                   "
                          "128                  files");
    assert_contains(text, "Max locked memory         0                    "
                          "4096                 bytes");
    ck_assert_int_eq(getrlimit(RLIMIT_STACK, &own), 0);
    ck_assert(limit_of(&story, RLIMIT_STACK).rlim_cur == own.rlim_cur);
    ck_assert(limit_of(&story, RLIMIT_STACK).rlim_max == own.rlim_max);
}

/* Descriptors above the limit are those that were given on purpose. */
TEST(plan_limit_of_descriptors_below_a_given_one__still_passes_it_on)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *target = NULL;

    plan_begin(&story);
    libspawn_plan_set_limit(story.plan, RLIMIT_NOFILE, 16, 16);
    libspawn_plan_add_fd(story.plan, 0, 1000);
    story_run(&story);
    target = plan_read_link(&story, "fd/1000");
    ck_assert_str_eq(target, "/dev/null");
}

TEST(plan_limit_above_the_hard_one_without_the_right__names_the_step)
{
    AUTO_STORY struct story story = { 0 };
    struct rlimit limit;

    if (geteuid() == 0 && !plan_lose_capability(CAP_SYS_RESOURCE)) {
        TEST_SKIP("CAP_SYS_RESOURCE cannot be given up here");
    }
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    plan_begin(&story);
    libspawn_plan_set_limit(story.plan, RLIMIT_NOFILE, 64,
                            limit.rlim_max + 1);
    plan_assert_step_fails(&story, "limits", EPERM);
    assert_contains(story_sentence(&story), "(limits): 'RLIMIT_NOFILE': ");
}

/* ---- Core dumps -------------------------------------------------------- */

TEST(plan_core_size_of_zero__is_the_limit_that_stops_pipes_too)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_core_size(story.plan, 0);
    story_run(&story);
    ck_assert(limit_of(&story, RLIMIT_CORE).rlim_cur == 1);
    ck_assert(limit_of(&story, RLIMIT_CORE).rlim_max == 1);
}

static bool
abort_dumps_core(uint64_t core_size)
{
    AUTO_STORY struct story story;

    story_begin(&story);
    story_ready_on_confirm(&story, false);
    libspawn_plan_set_directory(story.plan, harness_dir());
    libspawn_plan_set_core_size(story.plan, core_size);
    story_model(&story, "--core");
    story_start(&story);
    story_await(&story, "started failed");
    return story_report(&story)->core_dumped;
}

/* Covers F2. */
TEST(plan_core_size__decides_whether_there_is_a_core)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    if (limit.rlim_max != RLIM_INFINITY) {
        TEST_SKIP("the hard limit of the core size is not unlimited");
    }
    ck_assert(!abort_dumps_core(0));
    ck_assert(abort_dumps_core(LIBSPAWN_UNLIMITED));
}

/* ---- Umask and priorities ---------------------------------------------- */

TEST(plan_umask__is_that_of_the_child)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_umask(story.plan, 0027);
    story_run(&story);
    plan_assert_status(&story, "Umask:\t0027");
}

TEST(plan_nice__is_that_of_the_child)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_nice(story.plan, 7);
    story_run(&story);
    ck_assert_int_eq(getpriority(PRIO_PROCESS,
                                 (id_t)libspawn_child_pid(story.child)),
                     7);
}

TEST(plan_nice_refused__names_the_step)
{
    AUTO_STORY struct story story = { 0 };
    const struct rlimit none = { 0, 0 };

    if (geteuid() == 0 && !plan_lose_capability(CAP_SYS_NICE)) {
        TEST_SKIP("CAP_SYS_NICE cannot be given up here");
    }
    plan_begin(&story);
    ck_assert_int_eq(setrlimit(RLIMIT_NICE, &none), 0);
    libspawn_plan_set_nice(story.plan, -5);
    plan_assert_step_fails(&story, "nice", EACCES);
}

TEST(plan_oom_score_adj__is_that_of_the_child_alone)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *score = NULL;
    AUTO_FREE char *own = harness_read_file("/proc/self/oom_score_adj");
    AUTO_FREE char *own_after = NULL;

    plan_begin(&story);
    libspawn_plan_set_oom_score_adj(story.plan, 567);
    story_run(&story);
    score = plan_read(&story, "oom_score_adj");
    ck_assert_str_eq(score, "567\n");
    own_after = harness_read_file("/proc/self/oom_score_adj");
    ck_assert_str_eq(own, own_after);
}

TEST(plan_oom_score_adj_refused__names_the_step)
{
    AUTO_STORY struct story story = { 0 };

    if (geteuid() == 0 && !plan_lose_capability(CAP_SYS_RESOURCE)) {
        TEST_SKIP("CAP_SYS_RESOURCE cannot be given up here");
    }
    plan_begin(&story);
    libspawn_plan_set_oom_score_adj(story.plan, -999);
    plan_assert_step_fails(&story, "oom_score_adj", EACCES);
}

/* The nice value stays beside it. */
TEST(plan_scheduler__is_that_of_the_child)
{
    static const struct {
        enum libspawn_scheduler scheduler;
        int policy;
    } rows[] = { { LIBSPAWN_SCHEDULER_OTHER, SCHED_OTHER },
                 { LIBSPAWN_SCHEDULER_BATCH, SCHED_BATCH },
                 { LIBSPAWN_SCHEDULER_IDLE, SCHED_IDLE } };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(rows); i++) {
        AUTO_STORY struct story story;
        pid_t pid;

        plan_begin(&story);
        libspawn_plan_set_scheduler(story.plan, rows[i].scheduler);
        libspawn_plan_set_nice(story.plan, 3);
        story_run(&story);
        pid = libspawn_child_pid(story.child);
        ck_assert_int_eq(sched_getscheduler(pid), rows[i].policy);
        ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)pid), 3);
    }
}

TEST(plan_scheduler_refused__names_the_step)
{
    AUTO_STORY struct story story = { 0 };

    if (!plan_deny_call(SYS_sched_setscheduler, -1, EPERM)) {
        TEST_SKIP("seccomp filters are not allowed");
    }
    plan_begin(&story);
    libspawn_plan_set_scheduler(story.plan, LIBSPAWN_SCHEDULER_BATCH);
    plan_assert_step_fails(&story, "scheduler", EPERM);
}

static long
io_priority_of(const struct story *story)
{
    return syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS,
                   libspawn_child_pid(story->child));
}

TEST(plan_io_priority__is_that_of_the_child)
{
    AUTO_STORY struct story best;
    AUTO_STORY struct story idle;

    plan_begin(&best);
    libspawn_plan_set_io_priority(best.plan, LIBSPAWN_IO_BEST_EFFORT, 6);
    story_run(&best);
    ck_assert_int_eq(io_priority_of(&best),
                     IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
    libspawn_child_free(TAKE_PTR(best.child));
    ck_assert(harness_wait_children(STORY_WAIT_MS));
    plan_begin(&idle);
    libspawn_plan_set_io_priority(idle.plan, LIBSPAWN_IO_IDLE, 0);
    story_run(&idle);
    ck_assert_int_eq(io_priority_of(&idle),
                     IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

TEST(plan_io_priority_refused__names_the_step)
{
    AUTO_STORY struct story story = { 0 };

    if (!plan_deny_call(SYS_ioprio_set, -1, EPERM)) {
        TEST_SKIP("seccomp filters are not allowed");
    }
    plan_begin(&story);
    libspawn_plan_set_io_priority(story.plan, LIBSPAWN_IO_BEST_EFFORT, 0);
    plan_assert_step_fails(&story, "io-priority", EPERM);
}

TEST_MAIN("spawn_plan_limits")
