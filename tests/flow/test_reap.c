/*
 * Ending every process of a user id.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "proc/reap.h"
#include "tests/lib/harness.h"

enum {
    VICTIM = 61301,
    WAIT_MS = 10000
};

/* A process of 'uid', or a tree of two. */
static pid_t
start(uid_t uid, bool has_child)
{
    AUTO_FD int ready = -1;
    int fds[2];
    pid_t pid;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ready = fds[0];
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        if (setresuid(uid, uid, uid) < 0 || (has_child && fork() < 0)) {
            _exit(1);
        }
        if (write(fds[1], "", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(fds[1]);
    ck_assert(harness_wait_readable(ready, WAIT_MS));
    return pid;
}

TEST(reap_of_a_user__ends_all_of_its_processes_and_no_others)
{
    struct libspawn_err err;
    pid_t victim;
    pid_t other;

    if (geteuid() != 0) {
        TEST_SKIP("needs root");
    }
    victim = start(VICTIM, true);
    other = start(VICTIM + 1, false);
    assert_ok(libspawn__reap_uid(VICTIM, &err), &err);
    harness_assert_killed(victim);
    ck_assert_int_eq(kill(other, 0), 0);
    ck_assert_int_eq(waitpid(other, NULL, WNOHANG), 0);
    kill(other, SIGKILL);
    harness_assert_killed(other);
    ck_assert(harness_wait_children(WAIT_MS));
}

TEST(reap_of_a_user_without_processes__is_fine)
{
    struct libspawn_err err;

    if (geteuid() != 0) {
        TEST_SKIP("needs root");
    }
    assert_ok(libspawn__reap_uid(VICTIM + 2, &err), &err);
}

/* A caller who waits for any child must not meet ours. */
TEST(reap_of_a_user__is_no_child_of_the_caller)
{
    struct libspawn_err err;

    if (geteuid() != 0) {
        TEST_SKIP("needs root");
    }
    signal(SIGCHLD, SIG_IGN);
    assert_ok(libspawn__reap_uid(VICTIM + 2, &err), &err);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    signal(SIGCHLD, SIG_DFL);
}

TEST(reap_of_root_or_of_nobody_in_particular__is_refused)
{
    assert_code(libspawn__reap_uid(0, NULL), LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__reap_uid(UINT32_MAX, NULL), LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__reap_uid(LIBSPAWN__REAPER_BASE, NULL),
                LIBSPAWN_ERR_INVALID);
}

TEST(reap_without_root__is_refused)
{
    if (geteuid() == 0) {
        ck_assert_int_eq(setresuid(VICTIM, VICTIM, VICTIM), 0);
    }
    assert_code(libspawn__reap_uid(VICTIM + 1, NULL), LIBSPAWN_ERR_DENIED);
}

TEST_MAIN("reap")
