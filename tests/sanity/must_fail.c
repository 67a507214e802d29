/*
 * Tests that must fail, one for each thing that the harness promises to
 * notice.  tests/sanity/test_harness.c runs them and reads what is reported.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "tests/lib/harness.h"

/* Writes the pid into the file that MUST_FAIL_PIDS names, for the tester to
 * see that the process was ended, and lives on. */
static void __attribute__((noreturn))
live_for_ever(void)
{
    const char *path = getenv("MUST_FAIL_PIDS");
    AUTO_FREE char *line = libspawn__str_format("%d\n", (int)getpid());

    if (path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

        if (fd < 0 || write(fd, line, strlen(line)) < 0) {
            _exit(EXIT_FAILURE);
        }
    }
    for (;;) {
        pause();
    }
}

TEST(descriptor_left_open)
{
    ck_assert_int_ge(open("/dev/zero", O_RDONLY | O_CLOEXEC), 0);
}

TEST(descriptor_closed)
{
    ck_assert_int_eq(close(STDIN_FILENO), 0);
}

TEST(child_left_running)
{
    if (!fork()) {
        live_for_ever();
    }
}

TEST(child_not_waited_for)
{
    if (!fork()) {
        _exit(EXIT_SUCCESS);
    }
}

TEST(orphan_in_own_session_left_running)
{
    pid_t pid = fork();

    if (!pid) {
        if (!fork()) {
            setsid();
            live_for_ever();
        }
        _exit(EXIT_SUCCESS);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

TEST_TIMEOUT(endless, 1)
{
    if (!fork()) {
        setsid();
        live_for_ever();
    }
    live_for_ever();
}

TEST(crashing)
{
    ck_assert(true);
    if (!fork()) {
        live_for_ever();
    }
    raise(SIGSEGV);
}

TEST(exiting_as_if_well)
{
    exit(EXIT_SUCCESS);
}

TEST(exiting)
{
    exit(3);
}

TEST(asserting)
{
    ck_assert_int_eq(6 * 9, 42);
}

TEST(asserting_ok)
{
    struct libspawn_err err;
    int rc = libspawn__fail(&err, LIBSPAWN_ERR_GONE, "the moon is gone");

    assert_ok(rc, &err);
}

TEST(asserting_a_code)
{
    assert_code(LIBSPAWN_ERR_GONE, LIBSPAWN_ERR_BUSY);
}

TEST(asserting_content)
{
    assert_contains("to be or not to be", "that is");
}

TEST(leaking_memory)
{
    char *volatile leaked = malloc(100);

    ck_assert(leaked != NULL);
    leaked = NULL;
}

TEST(skipping)
{
    TEST_SKIP("there is no %s here", "moon");
}

static const char *
obstacle(void)
{
    return getenv("MUST_FAIL_SKIP");
}

TEST_MAIN_UNLESS("must_fail", obstacle)
