/*
 * Where a child runs: namespaces, cgroup, root directory; by clone3(2) and
 * where that is refused, and what the report says when it cannot be had.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/flow/plan_story.h"

/* ---- Namespaces -------------------------------------------------------- */

enum { ALL_NAMESPACES = LIBSPAWN_NAMESPACE_MOUNT | LIBSPAWN_NAMESPACE_IPC |
                        LIBSPAWN_NAMESPACE_NET | LIBSPAWN_NAMESPACE_PID |
                        LIBSPAWN_NAMESPACE_UTS };

static const struct {
    unsigned int namespace;
    const char *name;
} names[] = {
    { LIBSPAWN_NAMESPACE_MOUNT, "mnt" }, { LIBSPAWN_NAMESPACE_IPC, "ipc" },
    { LIBSPAWN_NAMESPACE_NET, "net" },   { LIBSPAWN_NAMESPACE_PID, "pid" },
    { LIBSPAWN_NAMESPACE_UTS, "uts" },
};

/* Whether the child is in the same namespace as this process. */
static bool
shares(const struct story *story, const char *name)
{
    AUTO_FREE char *path = libspawn__str_format("ns/%s", name);
    AUTO_FREE char *own_path = libspawn__str_format("/proc/self/%s", path);
    AUTO_FREE char *link = plan_read_link(story, path);
    char own[256] = "";

    ck_assert_int_gt(readlink(own_path, own, sizeof own - 1), 0);
    return !strcmp(link, own);
}

static void
assert_namespaces_with(const struct libspawn_hooks *hooks,
                       unsigned int namespaces)
{
    AUTO_STORY struct story story;
    size_t i;

    story_begin_with(&story, hooks);
    story_model(&story, "--never-ready"); /* also as process 1 it ends */
    libspawn_plan_set_namespaces(story.plan, namespaces);
    story_run(&story);
    for (i = 0; i < ARRAY_SIZE(names); i++) {
        ck_assert_msg(shares(&story, names[i].name) ==
                          !(namespaces & names[i].namespace),
                      "namespace %s with plan %u", names[i].name, namespaces);
    }
    ck_assert(shares(&story, "user"));
    if (namespaces & LIBSPAWN_NAMESPACE_PID) {
        AUTO_FREE char *line =
            libspawn__str_format("NSpid:\t%d\t1",
                                 (int)libspawn_child_pid(story.child));

        plan_assert_status(&story, line);
    }
}

static void
assert_namespaces(unsigned int namespaces)
{
    assert_namespaces_with(NULL, namespaces);
}

TEST_TIMEOUT(plan_namespaces__are_new_where_asked_for_and_only_there, 30)
{
    size_t i;

    assert_namespaces(0);
    for (i = 0; i < ARRAY_SIZE(names); i++) {
        assert_namespaces(names[i].namespace);
    }
    assert_namespaces(ALL_NAMESPACES);
}

/* As before Linux 5.3. */
TEST_TIMEOUT(plan_namespaces_without_clone3__are_the_same, 20)
{
    ck_assert(plan_deny_call(SYS_clone3, -1, ENOSYS));
    assert_namespaces(ALL_NAMESPACES);
    assert_namespaces(LIBSPAWN_NAMESPACE_PID);
    assert_namespaces(LIBSPAWN_NAMESPACE_MOUNT);
}

/* The watcher only: posix_spawn(3) itself could not do without. */
static int
spawn_with_clone3_forbidden(void *user, const char *path, char *const argv[],
                            char *const envp[], int fd, pid_t *pid_r)
{
    pid_t pid = fork();

    (void)user;
    if (!pid) {
        if (fd == 3 ? fcntl(fd, F_SETFD, 0) >= 0 : dup2(fd, 3) >= 0) {
            plan_deny_call(SYS_clone3, -1, EPERM);
            dup2(0, 2); /* LeakSanitizer cannot look at such a process */
            execve(path, argv, envp);
        }
        _exit(126);
    }
    *pid_r = pid;
    return pid < 0 ? errno : 0;
}

/* As under a container's seccomp filter. */
TEST_TIMEOUT(plan_namespaces_with_clone3_forbidden__are_the_same, 20)
{
    const struct libspawn_hooks hooks = {
        .spawn = spawn_with_clone3_forbidden
    };

    assert_namespaces_with(&hooks, ALL_NAMESPACES);
    assert_namespaces_with(&hooks, LIBSPAWN_NAMESPACE_PID);
}

/* The watcher stays in the pid namespace of its caller, also when it had to
 * unshare for the child. */
TEST(plan_pid_namespace_without_clone3__is_not_the_watchers)
{
    AUTO_STORY struct story story;
    struct libspawn__record record;
    AUTO_FREE char *path = NULL;
    char own[256] = "";
    char watchers[256] = "";

    ck_assert(plan_deny_call(SYS_clone3, -1, ENOSYS));
    story_begin(&story);
    story_model(&story, "--never-ready");
    libspawn_plan_set_namespaces(story.plan, LIBSPAWN_NAMESPACE_PID);
    story_run(&story);
    ck_assert(story_read_record(&story, &record));
    path = libspawn__str_format("/proc/%d/ns/pid", (int)record.watcher.pid);
    ck_assert_int_gt(readlink("/proc/self/ns/pid", own, sizeof own - 1), 0);
    ck_assert_int_gt(readlink(path, watchers, sizeof watchers - 1), 0);
    ck_assert_str_eq(watchers, own);
}

/* Process 1 of a pid namespace takes no SIGTERM that it does not handle. */
TEST(plan_pid_namespace_child_stopped__is_killed_after_the_grace)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_namespaces(story.plan, LIBSPAWN_NAMESPACE_PID);
    libspawn_plan_set_timeouts(story.plan, 0, 100);
    story_run(&story);
    libspawn_child_stop(story.child);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_STOPPED);
}

/* What is mounted in there must not show on the host. */
TEST(plan_mount_namespace__passes_nothing_on)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *mounts = NULL;

    plan_begin(&story);
    libspawn_plan_set_namespaces(story.plan, LIBSPAWN_NAMESPACE_MOUNT);
    story_run(&story);
    mounts = plan_read(&story, "mountinfo");
    assert_lacks(mounts, " shared:");
}

static void
assert_namespace_fails(unsigned int namespaces)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_namespaces(story.plan, namespaces);
    plan_assert_step_fails(&story, "namespaces", EPERM);
}

TEST(plan_namespaces_refused__names_the_step)
{
    ck_assert(plan_deny_call(SYS_clone3, -1, ENOSYS));
    ck_assert(plan_deny_call(SYS_unshare, -1, EPERM));
    assert_namespace_fails(LIBSPAWN_NAMESPACE_NET);
    assert_namespace_fails(LIBSPAWN_NAMESPACE_PID);
    assert_namespace_fails(ALL_NAMESPACES);
}

TEST(plan_mounts_refused__names_the_step)
{
    AUTO_STORY struct story story;

    ck_assert(plan_deny_call(SYS_mount, -1, EPERM));
    plan_begin(&story);
    libspawn_plan_set_namespaces(story.plan, LIBSPAWN_NAMESPACE_MOUNT);
    plan_assert_step_fails(&story, "mounts", EPERM);
}

/* ---- Cgroup ------------------------------------------------------------ */

/* Where the second version of cgroups is mounted; "" when nowhere. */
static const char *
cgroup_root(void)
{
    static char root[256];
    AUTO_FREE char *mounts = harness_read_file("/proc/self/mounts");
    char *save = NULL;
    char *line;

    for (line = strtok_r(mounts, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char type[32];

        if (sscanf(line, "%*s %255s %31s", root, type) == 2 &&
            !strcmp(type, "cgroup2")) {
            return root;
        }
    }
    return "";
}

/* A leaf of this test, or NULL where none can be made. */
static char *
make_cgroup(void)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/libspawn-%d", cgroup_root(), (int)getpid());

    return *cgroup_root() && !mkdir(path, 0755) ? TAKE_PTR(path) : NULL;
}

/* Once its processes are gone. */
static void
remove_cgroup(char **path)
{
    if (*path) {
        rmdir(*path);
        free(*path);
    }
}
#define AUTO_CGROUP AUTO(remove_cgroup)

static void
assert_cgroup(unsigned int namespaces)
{
    AUTO_CGROUP char *path = make_cgroup();
    AUTO_STORY struct story story = { 0 };
    AUTO_FREE char *groups = NULL;
    AUTO_FREE char *line = NULL;

    ck_assert_ptr_nonnull(path);
    plan_begin(&story);
    libspawn_plan_set_cgroup(story.plan, path);
    libspawn_plan_set_namespaces(story.plan, namespaces);
    story_run(&story);
    groups = plan_read(&story, "cgroup");
    line = libspawn__str_format("0::/libspawn-%d\n", (int)getpid());
    assert_contains(groups, line);
}

static bool
has_cgroups(void)
{
    AUTO_CGROUP char *path = make_cgroup();

    return path != NULL;
}

TEST(plan_cgroup__is_that_of_the_child)
{
    if (!has_cgroups()) {
        TEST_SKIP("no cgroup can be made here");
    }
    assert_cgroup(0);
    assert_cgroup(LIBSPAWN_NAMESPACE_IPC | LIBSPAWN_NAMESPACE_UTS);
}

TEST(plan_cgroup_without_clone3__is_the_same)
{
    if (!has_cgroups()) {
        TEST_SKIP("no cgroup can be made here");
    }
    ck_assert(plan_deny_call(SYS_clone3, -1, ENOSYS));
    assert_cgroup(0);
    assert_cgroup(LIBSPAWN_NAMESPACE_UTS);
}

/* The watcher must not count as the guest's. */
TEST(plan_cgroup__has_the_child_alone)
{
    AUTO_CGROUP char *path = NULL;
    AUTO_STORY struct story story = { 0 };
    AUTO_FREE char *procs = NULL;
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *pid = NULL;

    plan_begin(&story);
    path = make_cgroup();
    if (!path) {
        TEST_SKIP("no cgroup can be made here");
    }
    libspawn_plan_set_cgroup(story.plan, path);
    story_run(&story);
    procs = libspawn__str_format("%s/cgroup.procs", path);
    text = harness_read_file(procs);
    pid = libspawn__str_format("%d\n", (int)libspawn_child_pid(story.child));
    ck_assert_str_eq(text, pid);
}

static void
assert_cgroup_fails(const char *path, int sys_errno)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_cgroup(story.plan, path);
    plan_assert_step_fails(&story, "cgroup", sys_errno);
    ck_assert_str_eq(story_report(&story)->detail, path);
}

TEST(plan_cgroup_that_is_none__names_the_step)
{
    assert_cgroup_fails("/nonexistent/cgroup", ENOENT);
    assert_cgroup_fails("/etc/passwd", ENOTDIR);
    assert_cgroup_fails("/tmp", ENOENT);
}

/* What failed first is told, also when the child is not there any more. */
TEST(plan_cgroup_with_a_step_that_fails_before__names_that_step)
{
    AUTO_CGROUP char *path = make_cgroup();
    AUTO_STORY struct story story = { 0 };

    plan_begin(&story);
    if (!path) {
        TEST_SKIP("no cgroup can be made here");
    }
    ck_assert(plan_deny_call(SYS_clone3, -1, ENOSYS));
    libspawn_plan_set_cgroup(story.plan, path);
    libspawn_plan_set_directory(story.plan, "/nonexistent");
    plan_assert_step_fails(&story, "directory", ENOENT);
}

/* ---- Root directory ---------------------------------------------------- */

TEST(plan_chroot__is_the_root_of_the_child)
{
    AUTO_STORY struct story story = { 0 };
    AUTO_FREE char *root = NULL;
    AUTO_FREE char *directory = NULL;

    if (access("/usr/bin/sleep", X_OK) < 0 ||
        access("/usr/lib64/ld-linux-x86-64.so.2", X_OK) < 0) {
        TEST_SKIP("/usr is no root directory that a program can run in");
    }
    plan_begin(&story);
    libspawn_plan_set_chroot(story.plan, "/usr");
    libspawn_plan_set_directory(story.plan, "/lib");
    libspawn_plan_set_user(story.plan, "1234", "4321");
    story_run(&story);
    root = plan_read_link(&story, "root");
    directory = plan_read_link(&story, "cwd");
    ck_assert_str_eq(root, "/usr");
    ck_assert_str_eq(directory, "/usr/lib");
}

TEST(plan_chroot_that_is_missing__names_the_step)
{
    AUTO_STORY struct story story;

    plan_begin(&story);
    libspawn_plan_set_chroot(story.plan, "/nonexistent");
    plan_assert_step_fails(&story, "chroot", ENOENT);
    assert_contains(story_sentence(&story), "(chroot): '/nonexistent': ");
}

/* ---- All of it --------------------------------------------------------- */

#define QEMU "/usr/bin/qemu-system-x86_64"
#define PID_FILE "run/pid"

static void
take_all_rights(struct story *story, const char *run_directory)
{
    static const char *const system[] = { "/usr", "/bin", "/lib", "/lib64",
                                          "/etc" };
    size_t i;

    libspawn_plan_set_user(story->plan, "1234", "4321");
    libspawn_plan_set_capabilities(story->plan, 0);
    libspawn_plan_set_no_new_privs(story->plan);
    libspawn_plan_set_namespaces(story->plan, ALL_NAMESPACES);
    libspawn_plan_set_landlock(story->plan, LIBSPAWN_LANDLOCK_BEST_EFFORT);
    for (i = 0; i < ARRAY_SIZE(system); i++) {
        if (access(system[i], F_OK) == 0) {
            libspawn_plan_add_landlock_path(story->plan, system[i],
                                            LIBSPAWN_ACCESS_READ);
        }
    }
    libspawn_plan_add_landlock_path(story->plan, run_directory,
                                    LIBSPAWN_ACCESS_WRITE);
    libspawn_plan_set_directory(story->plan, run_directory);
    libspawn_plan_set_limit(story->plan, RLIMIT_NOFILE, 256, 256);
    libspawn_plan_set_core_size(story->plan, 0);
    libspawn_plan_set_umask(story->plan, 0077);
    libspawn_plan_set_nice(story->plan, 1);
    libspawn_plan_set_oom_score_adj(story->plan, 500);
    libspawn_plan_set_scheduler(story->plan, LIBSPAWN_SCHEDULER_BATCH);
    libspawn_plan_set_io_priority(story->plan, LIBSPAWN_IO_BEST_EFFORT, 7);
}

static bool
has_pid_file(void *user)
{
    struct stat st;

    (void)user;
    return !stat(PID_FILE, &st) && st.st_size > 0;
}

/* It writes the file when it is nearly initialised, as process 1 of its
 * namespace; perhaps before it handles SIGTERM. */
TEST_TIMEOUT(plan_with_all_options__runs_a_real_qemu, 20)
{
    AUTO_STORY struct story story = { 0 };
    AUTO_FREE char *path = libspawn__str_format("%s/run", harness_dir());
    AUTO_FREE char *text = NULL;

    if (access(QEMU, X_OK) < 0) {
        TEST_SKIP("there is no " QEMU);
    }
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(chown(path, 1234, 4321), 0);
    ck_assert_int_eq(chmod(harness_dir(), 0755), 0);
    story_begin(&story);
    story_program(&story, QEMU, "-machine", "none", "-nodefaults", "-display",
                  "none", "-S", "-pidfile", "pid");
    take_all_rights(&story, path);
    libspawn_plan_set_timeouts(story.plan, 0, 500);
    story_run(&story);
    ck_assert_msg(harness_wait_until(has_pid_file, NULL, STORY_WAIT_MS), "%s",
                  story_sentence(&story));
    text = harness_read_file(PID_FILE);
    ck_assert_str_eq(text, "1\n");
    libspawn_child_stop(story.child);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_report(&story)->end, LIBSPAWN_END_STOPPED);
}

TEST_MAIN_UNLESS("spawn_plan_place", plan_needs_root)
