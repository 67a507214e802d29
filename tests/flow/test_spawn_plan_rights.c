/*
 * Whose rights a child has: user, groups, capabilities, securebits,
 * no_new_privs; seen from outside while it runs, and what the report says when
 * one cannot be had.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/flow/plan_story.h"

#define BIT(CAPABILITY) (UINT64_C(1) << (CAPABILITY))

/* ---- User and groups --------------------------------------------------- */

TEST(plan_user_by_number__has_no_right_of_root_left)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_user(story.plan, "1234", "4321");
    story_run(&story);
    plan_assert_status(&story, "Uid:\t1234\t1234\t1234\t1234");
    plan_assert_status(&story, "Gid:\t4321\t4321\t4321\t4321");
    plan_assert_status(&story, "Groups:\t ");
    plan_assert_status(&story, "CapEff:\t0000000000000000");
    plan_assert_status(&story, "CapPrm:\t0000000000000000");
}

TEST(plan_user_by_name__has_its_group_from_the_database)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_user(story.plan, "daemon", NULL);
    story_run(&story);
    plan_assert_status(&story, "Uid:\t1\t1\t1\t1");
    plan_assert_status(&story, "Gid:\t1\t1\t1\t1");
    plan_assert_status(&story, "Groups:\t1 ");
}

TEST(plan_groups_added__are_there_in_any_number)
{
    enum { N_GROUPS = 100 };
    AUTO_STORY struct story story;
    AUTO_FREE char *status = NULL;
    char name[16];
    int i;

    plan_begin(&story);
    libspawn_plan_set_user(story.plan, "1234", "daemon");
    for (i = 0; i < N_GROUPS; i++) {
        snprintf(name, sizeof name, "%d", 1000 + i);
        libspawn_plan_add_group(story.plan, name);
    }
    story_run(&story);
    plan_assert_status(&story, "Gid:\t1\t1\t1\t1");
    status = plan_read(&story, "status");
    assert_contains(status, "\nGroups:\t1000 1001 ");
    assert_contains(status, " 1098 1099 \n");
}

TEST(plan_group_alone__leaves_the_user)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_user(story.plan, NULL, "4321");
    story_run(&story);
    plan_assert_status(&story, "Uid:\t0\t0\t0\t0");
    plan_assert_status(&story, "Gid:\t4321\t4321\t4321\t4321");
}

/* The directory is entered with the rights of the child and not of root. */
TEST(plan_user_without_right_to_the_directory__cannot_be_put_there)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *path = libspawn__str_format("%s/secret", harness_dir());

    plan_begin(&story);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(chmod(harness_dir(), 0755), 0);
    libspawn_plan_set_user(story.plan, "1234", "4321");
    libspawn_plan_set_directory(story.plan, path);
    plan_assert_step_fails(&story, "directory", EACCES);
}

static void
assert_user_fails(int call, const char *step)
{
    AUTO_STORY struct story story;

    ck_assert(plan_deny_call(call, -1, EPERM));
    plan_begin(&story);
    libspawn_plan_set_user(story.plan, "1234", "4321");
    plan_assert_step_fails(&story, step, EPERM);
}

TEST(plan_groups_refused__names_the_step)
{
    assert_user_fails(SYS_setgroups, "groups");
}

TEST(plan_group_refused__names_the_step)
{
    assert_user_fails(SYS_setresgid, "group");
}

/* Never a child that runs as root because the user could not be changed. */
TEST(plan_user_refused__names_the_step)
{
    assert_user_fails(SYS_setresuid, "user");
}

TEST(plan_user_without_the_right__names_the_step)
{
    AUTO_STORY struct story story;

    ck_assert(plan_lose_capability(CAP_SETUID));
    plan_begin(&story);
    libspawn_plan_set_user(story.plan, "1234", "4321");
    plan_assert_step_fails(&story, "user", EPERM);
}

/* ---- Capabilities ------------------------------------------------------ */

static void
assert_capabilities(const struct story *story, uint64_t set)
{
    static const char *const names[] = { "CapInh", "CapPrm", "CapEff",
                                         "CapBnd", "CapAmb" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_FREE char *line = libspawn__str_format(
            "%s:\t%016llx", names[i], (unsigned long long)set);

        plan_assert_status(story, line);
    }
}

TEST(plan_capabilities_of_a_user__are_in_all_sets_and_alone)
{
    const uint64_t set = BIT(CAP_NET_ADMIN) | BIT(CAP_NET_BIND_SERVICE);
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_user(story.plan, "1234", "4321");
    libspawn_plan_set_capabilities(story.plan, set);
    story_run(&story);
    assert_capabilities(&story, set);
    plan_assert_status(&story, "Uid:\t1234\t1234\t1234\t1234");
}

TEST(plan_capabilities_of_root__are_no_more_than_given)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_capabilities(story.plan, BIT(CAP_CHOWN));
    story_run(&story);
    assert_capabilities(&story, BIT(CAP_CHOWN));
}

TEST(plan_capabilities_none__leaves_none_to_root)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_capabilities(story.plan, 0);
    story_run(&story);
    assert_capabilities(&story, 0);
}

TEST(plan_capability_that_is_not_ours__names_the_step)
{
    AUTO_STORY struct story story;

    ck_assert(plan_lose_capability(CAP_SYS_MODULE));
    plan_begin(&story);
    libspawn_plan_set_capabilities(story.plan, BIT(CAP_SYS_MODULE));
    plan_assert_step_fails(&story, "capabilities", EPERM);
}

TEST(plan_capability_that_no_kernel_has__names_the_step)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_capabilities(story.plan, BIT(63));
    plan_assert_step_fails(&story, "capabilities", EINVAL);
}

TEST(plan_bounding_set_without_the_right__names_the_step)
{
    AUTO_STORY struct story story;

    ck_assert(plan_lose_capability(CAP_SETPCAP));
    plan_begin(&story);
    libspawn_plan_set_capabilities(story.plan, BIT(CAP_CHOWN));
    plan_assert_step_fails(&story, "bounding-set", EPERM);
}

/* ---- Securebits -------------------------------------------------------- */

/* Root has no capability by being root then. */
TEST(plan_securebits__hold_for_the_child)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_securebits(story.plan,
                                 SECBIT_NOROOT | SECBIT_NOROOT_LOCKED);
    story_run(&story);
    plan_assert_status(&story, "Uid:\t0\t0\t0\t0");
    plan_assert_status(&story, "CapEff:\t0000000000000000");
}

/* The lock must not keep us from carrying the capabilities over. */
TEST(plan_securebits_all_locked__still_lets_capabilities_through)
{
    const unsigned int bits =
        SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
        SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_user(story.plan, "1234", "4321");
    libspawn_plan_set_capabilities(story.plan, BIT(CAP_NET_ADMIN));
    libspawn_plan_set_securebits(story.plan, bits);
    story_run(&story);
    assert_capabilities(&story, BIT(CAP_NET_ADMIN));
}

TEST(plan_securebits_without_the_right__names_the_step)
{
    AUTO_STORY struct story story;

    ck_assert(plan_lose_capability(CAP_SETPCAP));
    plan_begin(&story);
    libspawn_plan_set_securebits(story.plan, SECBIT_NOROOT);
    plan_assert_step_fails(&story, "securebits", EPERM);
}

/* ---- No new privileges ------------------------------------------------- */

TEST(plan_no_new_privs__holds_for_the_child)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_no_new_privs(story.plan);
    story_run(&story);
    plan_assert_status(&story, "NoNewPrivs:\t1");
}

TEST(plan_without_no_new_privs__has_them)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    story_run(&story);
    plan_assert_status(&story, "NoNewPrivs:\t0");
}

TEST(plan_no_new_privs_refused__names_the_step)
{
    AUTO_STORY struct story story;

    ck_assert(plan_deny_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, EINVAL));
    plan_begin(&story);
    libspawn_plan_set_no_new_privs(story.plan);
    plan_assert_step_fails(&story, "no-new-privs", EINVAL);
}

TEST_MAIN_UNLESS("spawn_plan_rights", plan_needs_root)
