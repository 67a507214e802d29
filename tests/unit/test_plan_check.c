/*
 * proc/plan_set.c, proc/plan_user.c, proc/plan_check.c: which plans cannot be
 * started, and the code and sentence of each.
 */
#include <string.h>
#include <sys/resource.h>

#include "base/util.h"
#include "proc/plan.h"
#include "tests/lib/harness.h"

static struct libspawn_plan *
new_plan(void)
{
    struct libspawn_plan *plan = libspawn_plan_new();

    ck_assert_ptr_nonnull(plan);
    libspawn_plan_set_program(plan, "/bin/true");
    libspawn_plan_add_arg(plan, "true");
    return plan;
}

static void
assert_refused_with(struct libspawn_plan *plan, int code, const char *words)
{
    struct libspawn_err err;

    assert_code(libspawn__plan_check(plan, &err), code);
    assert_code(err.code, code);
    assert_contains(err.text, words);
    assert_lacks(err.text, "\n");
    libspawn_plan_free(plan);
}

static void
assert_refused(struct libspawn_plan *plan, const char *words)
{
    assert_refused_with(plan, LIBSPAWN_ERR_INVALID, words);
}

/* ---- Check ------------------------------------------------------------- */

TEST(plan_minimal__can_be_started)
{
    struct libspawn_plan *plan = new_plan();
    struct libspawn_err err;

    assert_ok(libspawn__plan_check(plan, &err), &err);
    libspawn_plan_free(plan);
    libspawn_plan_free(NULL);
}

TEST(plan_without_program__is_refused)
{
    struct libspawn_plan *plan = libspawn_plan_new();

    libspawn_plan_add_arg(plan, "true");
    assert_refused(plan, "no program");
    plan = new_plan();
    libspawn_plan_set_program(plan, "");
    assert_refused(plan, "no program");
}

TEST(plan_without_argument_zero__is_refused)
{
    struct libspawn_plan *plan = libspawn_plan_new();

    libspawn_plan_set_program(plan, "/bin/true");
    assert_refused(plan, "argument zero");
}

TEST(plan_with_half_a_record__is_refused)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_set_record(plan, "dir:/x", NULL);
    assert_refused(plan, "both a store and a path");
    plan = new_plan();
    libspawn_plan_set_record(plan, NULL, "/x");
    assert_refused(plan, "both a store and a path");
}

TEST(plan_with_nodes_but_no_store__is_refused)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_add_pid_node(plan, "/x");
    assert_refused(plan, "names no store");
    plan = new_plan();
    libspawn_plan_ready_on_store(plan, "/x", "running");
    assert_refused(plan, "names no store");
}

TEST(plan_with_a_bad_environment__is_refused)
{
    static const char *const bad[] = { "NAME", "=value", "", "a\nb" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        struct libspawn_plan *plan = new_plan();

        libspawn_plan_add_env(plan, bad[i]);
        assert_refused(plan, "is not NAME=value");
    }
}

TEST(plan_with_a_descriptor_that_is_not_open__is_refused)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_add_fd(plan, 99, 3);
    assert_refused(plan, "descriptor 99 of the plan is not open");
    plan = new_plan();
    libspawn_plan_add_fd(plan, -1, 3);
    assert_refused(plan, "is not open");
}

TEST(plan_with_bad_numbers_for_the_child__is_refused)
{
    static const int numbers[] = { -1, LIBSPAWN__PLAN_CHILD_FD_MAX + 1 };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct libspawn_plan *plan = new_plan();

        libspawn_plan_add_fd(plan, 0, numbers[i]);
        assert_refused(plan, "out of range");
        plan = new_plan();
        libspawn_plan_ready_on_notify(plan, numbers[i]);
        assert_refused(plan, "is not within 0 and 1000");
    }
}

TEST(plan_with_one_number_twice__is_refused)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_add_fd(plan, 0, 5);
    libspawn_plan_add_fd(plan, 1, 5);
    assert_refused_with(plan, LIBSPAWN_ERR_EXISTS,
                        "descriptor 5 of the child is given twice");
    plan = new_plan();
    libspawn_plan_add_fd(plan, 0, 5);
    libspawn_plan_ready_on_notify(plan, 5);
    assert_refused(plan, "both passed on and used to notify");
}

TEST(plan_with_too_many_descriptors__is_refused)
{
    struct libspawn_plan *plan = new_plan();
    int i;

    for (i = 0; i <= LIBSPAWN__PLAN_FDS_MAX; i++) {
        libspawn_plan_add_fd(plan, 0, i);
    }
    assert_refused_with(plan, LIBSPAWN_ERR_LIMIT,
                        "at most 200 descriptors");
}

TEST(plan_null__is_refused_and_setters_do_nothing)
{
    libspawn_plan_set_program(NULL, "/bin/true");
    libspawn_plan_add_arg(NULL, "true");
    libspawn_plan_add_fd(NULL, 0, 0);
    libspawn_plan_set_user(NULL, "root", NULL);
    libspawn_plan_set_limit(NULL, 0, 0, 0);
    assert_refused(NULL, "there is no plan");
}

TEST(plan_with_null_strings__says_which)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_add_arg(plan, NULL);
    assert_refused(plan, "an argument of the plan is NULL");
    plan = new_plan();
    libspawn_plan_add_env(plan, NULL);
    assert_refused(plan, "an assignment of the plan is NULL");
    plan = new_plan();
    libspawn_plan_add_pid_node(plan, NULL);
    assert_refused(plan, "a pid node of the plan is NULL");
    plan = new_plan();
    libspawn_plan_add_group(plan, NULL);
    assert_refused(plan, "a group of the plan is NULL");
    plan = new_plan();
    libspawn_plan_set_record(plan, "dir:/x", "/x");
    libspawn_plan_ready_on_store(plan, "/x", NULL);
    assert_refused(plan, "both its path and its value");
}

/* The first mark counts. */
TEST(plan_with_several_mistakes__tells_the_first)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_set_nice(plan, 20);
    libspawn_plan_add_arg(plan, NULL);
    assert_refused(plan, "a nice value of 20 is not within -20 and 19");
}

/* One value beyond each end. */
TEST(plan_with_a_value_out_of_range__says_the_range)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_set_nice(plan, -21);
    assert_refused(plan, "-21 is not within -20 and 19");
    plan = new_plan();
    libspawn_plan_set_oom_score_adj(plan, -1001);
    assert_refused(plan, "-1001 is not within -1000 and 1000");
    plan = new_plan();
    libspawn_plan_set_umask(plan, 01000);
    assert_refused(plan, "a file mode mask of 512");
    plan = new_plan();
    libspawn_plan_set_io_priority(plan, LIBSPAWN_IO_BEST_EFFORT, 8);
    assert_refused(plan, "an I/O priority of 8 is not within 0 and 7");
    plan = new_plan();
    libspawn_plan_set_io_priority(plan, LIBSPAWN_IO_IDLE, 1);
    assert_refused(plan, "is not within 0 and 0");
    plan = new_plan();
    libspawn_plan_set_scheduler(plan, (enum libspawn_scheduler)3);
    assert_refused(plan, "a scheduler of 3");
    plan = new_plan();
    libspawn_plan_set_namespaces(plan, 1 << 5);
    assert_refused(plan, "a set of namespaces of 32");
    plan = new_plan();
    libspawn_plan_set_limit(plan, LIBSPAWN__PLAN_RESOURCES, 0, 0);
    assert_refused(plan, "a resource of 16");
    plan = new_plan();
    libspawn_plan_set_limit(plan, RLIMIT_NOFILE, 2, 1);
    assert_refused(plan, "the soft limit 2 of resource 7 is above");
}

TEST(plan_with_long_paths__says_which_and_how_long)
{
    static char path[5001];
    struct libspawn_plan *plan = new_plan();

    memset(path, '/', sizeof path - 1);
    libspawn_plan_set_program(plan, path);
    assert_refused(plan, "the path of the program is 5000 bytes long");
    plan = new_plan();
    libspawn_plan_set_directory(plan, path);
    assert_refused(plan, "the path of the directory is 5000");
    plan = new_plan();
    libspawn_plan_set_chroot(plan, path);
    assert_refused(plan, "the path of the new root is 5000");
    plan = new_plan();
    libspawn_plan_set_cgroup(plan, path);
    assert_refused(plan, "the path of the cgroup is 5000");
    plan = new_plan();
    libspawn_plan_set_log(plan, path, 0, 0);
    assert_refused(plan, "the path of the log is 5000");
}

TEST(plan_with_landlock_paths_alone__is_refused)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_add_landlock_path(plan, "/", LIBSPAWN_ACCESS_READ);
    assert_refused(plan, "does not ask for Landlock");
}

/* ---- Users and groups -------------------------------------------------- */

TEST(plan_with_unknown_user_or_group__names_it)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_set_user(plan, "no\nbody", NULL);
    assert_refused_with(plan, LIBSPAWN_ERR_NOT_FOUND,
                        "there is no user 'no?body'");
    plan = new_plan();
    libspawn_plan_set_user(plan, "root", "nogroup?");
    assert_refused_with(plan, LIBSPAWN_ERR_NOT_FOUND,
                        "there is no group 'nogroup?'");
    plan = new_plan();
    libspawn_plan_add_group(plan, "");
    assert_refused_with(plan, LIBSPAWN_ERR_NOT_FOUND, "there is no group ''");
    plan = new_plan();
    libspawn_plan_set_user(plan, "1234567", NULL);
    assert_refused_with(plan, LIBSPAWN_ERR_NOT_FOUND,
                        "there is no user '1234567'");
}

/* All ones means "unchanged" to the kernel: the child would stay root. */
TEST(plan_with_an_impossible_number_of_a_user__is_refused)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_set_user(plan, "4294967295", "1");
    assert_refused(plan, "4294967295 is not within");
    plan = new_plan();
    libspawn_plan_set_user(plan, "1", "4294967295");
    assert_refused(plan, "4294967295 is not within");
    plan = new_plan();
    libspawn_plan_set_user(plan, NULL, NULL);
    assert_refused(plan, "neither a user nor a group");
}

TEST(plan_with_numbers_of_a_user__needs_no_entry_and_has_no_groups)
{
    struct libspawn_plan *plan = new_plan();
    struct libspawn_err err;

    libspawn_plan_set_user(plan, "1234567", "7654321");
    assert_ok(libspawn__plan_check(plan, &err), &err);
    ck_assert_uint_eq(plan->uid, 1234567);
    ck_assert_uint_eq(plan->gid, 7654321);
    ck_assert_uint_eq(plan->groups.n_items, 0);
    ck_assert(plan->options & LIBSPAWN__PLAN_GROUPS);
    libspawn_plan_free(plan);
}

TEST(plan_with_name_of_a_user__has_its_group_and_groups)
{
    struct libspawn_plan *plan = new_plan();
    struct libspawn_err err;

    libspawn_plan_set_user(plan, "root", NULL);
    libspawn_plan_add_group(plan, "4242");
    assert_ok(libspawn__plan_check(plan, &err), &err);
    ck_assert_uint_eq(plan->uid, 0);
    ck_assert_uint_eq(plan->gid, 0);
    ck_assert_uint_ge(plan->groups.n_items, 2);
    ck_assert_uint_eq(plan->groups.items[plan->groups.n_items - 1], 4242);
    libspawn_plan_free(plan);
}

/* Groups of the first user must not stay with the second. */
TEST(plan_with_another_user__forgets_the_groups_of_the_first)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_set_user(plan, "root", NULL);
    libspawn_plan_set_user(plan, "1234567", "1");
    ck_assert_uint_eq(plan->groups.n_items, 0);
    libspawn_plan_free(plan);
}

TEST(plan_with_too_many_groups__is_refused)
{
    struct libspawn_plan *plan = new_plan();
    int i;

    for (i = 0; i <= LIBSPAWN__PLAN_GROUPS_MAX; i++) {
        libspawn_plan_add_group(plan, "1");
    }
    assert_refused_with(plan, LIBSPAWN_ERR_LIMIT, "at most 65536");
}

TEST(plan_with_notify_socket_twice_or_out_of_reach__is_refused)
{
    struct libspawn_plan *plan = new_plan();

    libspawn_plan_ready_on_socket(plan, 0);
    libspawn_plan_add_env(plan, "NOTIFY_SOCKET=/run/systemd/notify");
    assert_refused(plan, "NOTIFY_SOCKET is both");
    plan = new_plan();
    libspawn_plan_ready_on_socket(plan, 0);
    libspawn_plan_set_namespaces(plan, LIBSPAWN_NAMESPACE_NET);
    assert_refused(plan, "cannot be reached");
    libspawn_plan_ready_on_socket(NULL, 0);
}

TEST_MAIN("plan_check")
