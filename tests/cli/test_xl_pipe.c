/*
 * A broken pipe ends no process of the project.  Covers S18.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "tests/cli/xl_story.h"

enum { MAX_PROCESSES = 16 };

/* Runs xl with a standard output that nobody reads; its wait status. */
static int
run_unread(const char *command, const char *option)
{
    int fds[2];
    int status;
    pid_t pid;

    ck_assert_int_eq(pipe(fds), 0);
    close(fds[0]);
    pid = fork();
    if (!pid) {
        signal(SIGPIPE, SIG_DFL);
        dup2(fds[1], STDOUT_FILENO);
        dup2(STDIN_FILENO, STDERR_FILENO); /* it is /dev/null */
        execl(xl_path(), "xl", command, option, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

TEST_TIMEOUT(xl_whose_output_nobody_reads__exits, XL_TEST_S)
{
    static const struct {
        const char *command;
        const char *option;
        int status;
    } cases[] = {
        { "help", NULL, 1 },
        { "list", NULL, 1 },
        { "list", "--json", 1 },
        { "version", NULL, 1 },
        { "events", "-f", 0 },
    };
    size_t i;

    xl_begin();
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        int status = run_unread(cases[i].command, cases[i].option);

        ck_assert_msg(WIFEXITED(status) &&
                          WEXITSTATUS(status) == cases[i].status,
                      "xl %s: status %#x", cases[i].command, status);
    }
}

/* All of a guest: supervisor, watcher, device model. */
TEST_TIMEOUT(guest_whose_processes_get_a_broken_pipe__lives, XL_TEST_S)
{
    pid_t pids[MAX_PROCESSES];
    size_t n_pids;
    size_t i;

    xl_begin();
    xl_write_model_config("");
    {
        AUTO_OUTPUT struct harness_output output =
            xl_run("create", XL_CONFIG);

        xl_assert_ok(&output);
    }
    n_pids = harness_child_pids(pids, MAX_PROCESSES);
    ck_assert_uint_ge(n_pids, 2);
    ck_assert_uint_le(n_pids, MAX_PROCESSES);
    for (i = 0; i < n_pids; i++) {
        ck_assert_int_eq(kill(pids[i], SIGPIPE), 0);
    }
    {
        AUTO_OUTPUT struct harness_output output = xl_run("list", XL_GUEST);

        xl_assert_ok(&output);
        ck_assert_uint_eq(harness_child_pids(pids, MAX_PROCESSES), n_pids);
    }
    {
        AUTO_OUTPUT struct harness_output output = xl_run("destroy", XL_GUEST);

        xl_assert_ok(&output);
    }
    xl_assert_nothing_left();
}

TEST_MAIN("xl_pipe")
