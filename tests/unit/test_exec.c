/*
 * proc/exec.c: what happens between fork and exec, and how the parent learns
 * of it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "proc/exec.h"
#include "proc/protocol.h"
#include "tests/lib/harness.h"

/* A plan, its preparation, and the child that was forked by it. */
struct scene {
    struct libspawn_plan plan;
    struct libspawn__exec exec;
    int output[2];
    pid_t pid;
};

static void
scene_begin(struct scene *scene, const char *program)
{
    signal(SIGPIPE, SIG_IGN); /* as the watcher does */
    libspawn__plan_init(&scene->plan);
    libspawn_plan_set_program(&scene->plan, program);
    libspawn_plan_add_arg(&scene->plan, program);
    ck_assert_int_eq(pipe2(scene->output, O_CLOEXEC), 0);
}

static void
scene_fork(struct scene *scene)
{
    struct libspawn_err err;

    assert_ok(libspawn__exec_prepare(&scene->exec, &scene->plan,
                                     scene->output[1], -1, &err),
              &err);
    scene->pid = fork();
    if (!scene->pid) {
        libspawn__exec_child(&scene->exec);
    }
    libspawn__exec_in_parent(&scene->exec);
    close(scene->output[1]);
}

static int
scene_end(struct scene *scene)
{
    int status;

    libspawn__exec_dispose(&scene->exec);
    libspawn__plan_dispose(&scene->plan);
    close(scene->output[0]);
    ck_assert_int_eq(waitpid(scene->pid, &status, 0), scene->pid);
    return status;
}

static void
release(struct scene *scene)
{
    struct libspawn_err err;

    assert_ok(libspawn__exec_release(&scene->exec, &err), &err);
}

TEST(exec_held__runs_nothing_until_released)
{
    struct scene scene;
    struct libspawn__exec_result result;
    char text[64] = "";

    scene_begin(&scene, "/bin/echo");
    libspawn_plan_add_arg(&scene.plan, "it runs");
    scene_fork(&scene);
    ck_assert(!harness_wait_readable(scene.output[0], 50));
    ck_assert(!harness_wait_readable(scene.exec.result_fds[0], 0));
    release(&scene);
    ck_assert_int_eq(libspawn__exec_read_result(&scene.exec, &result), 0);
    ck_assert_int_eq(
        libspawn__fd_read_full(scene.output[0], text, sizeof text - 1), 8);
    ck_assert_str_eq(text, "it runs\n");
    ck_assert_int_eq(scene_end(&scene), 0);
}

/* Its parent died, so nobody would know of it. */
TEST(exec_held_and_parent_gone__ends_without_having_run)
{
    struct scene scene;
    char byte;
    int status;

    scene_begin(&scene, "/bin/echo");
    scene_fork(&scene);
    libspawn__exec_dispose(&scene.exec);
    ck_assert_int_eq(libspawn__fd_read_full(scene.output[0], &byte, 1), 0);
    status = scene_end(&scene);
    ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 126);
}

TEST(exec_that_fails__reports_step_and_errno)
{
    struct scene scene;
    struct libspawn__exec_result result;

    scene_begin(&scene, "/nonexistent");
    scene_fork(&scene);
    release(&scene);
    ck_assert_int_eq(libspawn__exec_read_result(&scene.exec, &result), 1);
    ck_assert_str_eq(libspawn__exec_step_name(result.step), "exec");
    ck_assert_int_eq(result.sys_errno, ENOENT);
    ck_assert_int_eq(WEXITSTATUS(scene_end(&scene)), 126);
}

/* What fails before is told without waiting for the release. */
TEST(exec_step_that_fails__is_reported_while_held)
{
    struct scene scene;
    struct libspawn__exec_result result;

    scene_begin(&scene, "/bin/true");
    libspawn_plan_set_directory(&scene.plan, "/nonexistent");
    scene_fork(&scene);
    ck_assert_int_eq(libspawn__exec_read_result(&scene.exec, &result), 1);
    ck_assert_str_eq(libspawn__exec_step_name(result.step), "directory");
    ck_assert_int_eq(result.sys_errno, ENOENT);
    release(&scene); /* to nobody */
    scene_end(&scene);
}

/* The reason must not get lost for want of a descriptor to tell it by. */
TEST(exec_without_descriptors_left__still_reports_that)
{
    rlim_t room;

    for (room = 4; room < 24; room++) {
        struct scene scene;
        struct libspawn__exec_result result;
        struct libspawn_err err;
        int status;

        scene_begin(&scene, "/bin/true");
        assert_ok(libspawn__exec_prepare(&scene.exec, &scene.plan,
                                         scene.output[1], -1, &err),
                  &err);
        scene.pid = fork();
        if (!scene.pid) {
            const struct rlimit limit = { room, room };

            setrlimit(RLIMIT_NOFILE, &limit);
            libspawn__exec_child(&scene.exec);
        }
        libspawn__exec_in_parent(&scene.exec);
        close(scene.output[1]);
        release(&scene);
        if (libspawn__exec_read_result(&scene.exec, &result)) {
            ck_assert_str_eq(libspawn__exec_step_name(result.step),
                             "descriptors");
            ck_assert_int_eq(result.sys_errno, EMFILE);
            ck_assert_int_eq(WEXITSTATUS(scene_end(&scene)), 126);
        } else {
            /* It was executed; a program may fail for the same reason. */
            status = scene_end(&scene);
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 126);
        }
    }
}

TEST(exec_prepare_without_descriptors__is_a_limit_and_leaks_none)
{
    struct libspawn_plan plan;
    struct libspawn__exec exec;
    struct libspawn_err err;
    struct rlimit before;
    struct rlimit limit;
    size_t n_fds = harness_count_fds(0);
    int lowest = fcntl(0, F_DUPFD_CLOEXEC, 0);
    int room;

    close(lowest);
    libspawn__plan_init(&plan);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    for (room = 0; room < 4; room++) {
        limit.rlim_cur = (rlim_t)(lowest + room);
        setrlimit(RLIMIT_NOFILE, &limit);
        assert_code(libspawn__exec_prepare(&exec, &plan, -1, -1, &err),
                    LIBSPAWN_ERR_LIMIT);
        setrlimit(RLIMIT_NOFILE, &before);
        ck_assert_uint_eq(harness_count_fds(0), n_fds);
    }
}

static void *
wait_for_end(void *fd)
{
    char byte;

    return read(*(int *)fd, &byte, 1) ? NULL : fd;
}

/* As spawn-watcher-xen, in which libxenstore has a thread: glibc does not
 * notice that clone3(2) left the child without it. */
TEST(exec_fork_beside_a_thread__changes_the_user_and_does_not_hang)
{
    struct scene scene;
    struct libspawn_err err;
    char text[64] = "";
    pthread_t thread;
    int fds[2];

    if (geteuid()) {
        TEST_SKIP("only root may do this");
    }
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_end, fds), 0);
    scene_begin(&scene, "/usr/bin/id");
    libspawn_plan_add_arg(&scene.plan, "-u");
    libspawn_plan_set_user(&scene.plan, "1234", "4321");
    libspawn_plan_set_namespaces(&scene.plan, LIBSPAWN_NAMESPACE_UTS);
    assert_ok(libspawn__exec_prepare(&scene.exec, &scene.plan,
                                     scene.output[1], -1, &err),
              &err);
    assert_ok(libspawn__exec_fork(&scene.exec, &scene.pid, &err), &err);
    close(scene.output[1]);
    release(&scene);
    libspawn__fd_read_full(scene.output[0], text, sizeof text - 1);
    ck_assert_str_eq(text, "1234\n");
    ck_assert_int_eq(scene_end(&scene), 0);
    close(fds[1]);
    pthread_join(thread, NULL);
    close(fds[0]);
}

TEST(exec_step_names__fit_into_the_message)
{
    struct libspawn__watcher_message message;
    unsigned int step;

    for (step = 0; step <= LIBSPAWN__EXEC_PROGRAM; step++) {
        const char *name = libspawn__exec_step_name(step);

        ck_assert_ptr_nonnull(name);
        ck_assert_uint_gt(strlen(name), 2);
        ck_assert_uint_lt(strlen(name), sizeof message.u.failed.step);
    }
    ck_assert_str_eq(libspawn__exec_step_name(step), "unknown");
}

/* The public header promises the order. */
TEST(exec_steps__are_those_of_the_header_in_its_order)
{
    AUTO_FREE char *path = libspawn__str_format(
        "%s/libspawn/include/libspawn.h", harness_source_dir());
    AUTO_FREE char *text = harness_read_file(path);
    const char *at = strstr(text, "    session signals ");
    unsigned int step;

    ck_assert_ptr_nonnull(at);
    for (step = 0; step <= LIBSPAWN__EXEC_PROGRAM; step++) {
        const char *name = libspawn__exec_step_name(step);

        at += strspn(at, " *\n");
        ck_assert_msg(libspawn__str_has_prefix(at, name),
                      "'%.20s' is not '%s'", at, name);
        at += strlen(name);
    }
    ck_assert(libspawn__str_has_prefix(at, "\n *\n"));
}

TEST(exec_reset_signals__puts_back_every_one)
{
    AUTO_FREE char *text = NULL;
    sigset_t all;
    int number;

    for (number = 1; number < NSIG; number++) {
        signal(number, SIG_IGN);
    }
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    ck_assert_int_eq(libspawn__exec_reset_signals(), 0);
    text = harness_read_file("/proc/self/status");
    assert_contains(text, "SigBlk:\t0000000000000000");
    assert_contains(text, "SigIgn:\t0000000000000000");
}

TEST_MAIN("exec")
