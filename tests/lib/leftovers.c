#include "tests/lib/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/lib/processes.h"

enum { GRACE_MS = 2000 };

static bool
is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

void
leftovers_remember(struct leftovers *before)
{
    int fd;

    for (fd = 0; fd < LEFTOVERS_MAX_FDS; fd++) {
        before->open[fd] = is_open(fd);
    }
}

static void
describe_fd(struct libspawn__buf *text, int fd)
{
    char path[64];
    char target[256];
    ssize_t n;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof target - 1);
    target[MAX(n, 0)] = '\0';
    libspawn__buf_printf(text, "%sdescriptor %d (%s) is left open",
                         text->size ? "; " : "", fd, target);
}

static bool
no_process_is_left(void *user)
{
    (void)user;
    return !harness_child_pids(NULL, 0);
}

static void
describe_processes(struct libspawn__buf *text)
{
    pid_t pids[16];
    size_t n = MIN(harness_child_pids(pids, ARRAY_SIZE(pids)),
                   ARRAY_SIZE(pids));
    size_t i;

    for (i = 0; i < n; i++) {
        struct process process;

        if (process_read(pids[i], &process)) {
            libspawn__buf_printf(text, "%sprocess %d (%s) %s",
                                 text->size ? "; " : "", (int)pids[i],
                                 process.name,
                                 process.is_zombie
                                     ? "has ended but was not waited for"
                                     : "is left running");
        }
    }
}

bool
leftovers_check(const struct leftovers *before, char *text, size_t size)
{
    AUTO_BUF struct libspawn__buf found = { 0 };
    int fd;

    for (fd = 0; fd < LEFTOVERS_MAX_FDS; fd++) {
        bool now = is_open(fd);

        if (now && !before->open[fd]) {
            describe_fd(&found, fd);
        } else if (!now && before->open[fd]) {
            libspawn__buf_printf(&found, "%sdescriptor %d was closed, though "
                                 "not the test's", found.size ? "; " : "",
                                 fd);
        }
    }
    if (!harness_wait_until(no_process_is_left, NULL, GRACE_MS)) {
        describe_processes(&found);
    }
    if (found.size) {
        snprintf(text, size, "%s", found.data);
    }
    return !found.size;
}

/* Children that were not waited for keep their numbers, so nobody else is
 * killed; their own children become ours when they have ended. */
void
leftovers_end(void)
{
    pid_t pids[256];
    size_t n;

    while ((n = process_list_children(pids, ARRAY_SIZE(pids))) > 0) {
        size_t i;

        for (i = 0; i < MIN(n, ARRAY_SIZE(pids)); i++) {
            kill(pids[i], SIGKILL);
            while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR) {
            }
        }
    }
}
