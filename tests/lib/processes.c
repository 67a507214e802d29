#include "tests/lib/processes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"
#include "tests/lib/harness.h"

enum { MAX_PROCESSES = 8192 };

static pid_t guard_pid;

void
process_set_guard(pid_t guard)
{
    guard_pid = guard;
}

bool
process_read(pid_t pid, struct process *process_r)
{
    char path[64];
    char stat[512];
    char *name;
    char *end;
    char state;
    int parent;
    ssize_t n;
    AUTO_FD int fd = -1;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? libspawn__fd_read_full(fd, stat, sizeof stat - 1) : -1;
    if (n <= 0) {
        return false;
    }
    stat[n] = '\0';
    /* "PID (NAME) STATE PARENT ...", where NAME may hold anything. */
    name = strchr(stat, '(');
    end = strrchr(stat, ')');
    if (!name || !end || sscanf(end, ") %c %d", &state, &parent) != 2) {
        return false;
    }
    *end = '\0';
    process_r->pid = pid;
    process_r->parent = parent;
    process_r->is_zombie = state == 'Z' || state == 'X';
    snprintf(process_r->name, sizeof process_r->name, "%s", name + 1);
    return true;
}

/* Every process of the system; the caller frees it. */
static struct process *
list_all(size_t *n_r)
{
    struct process *all = calloc(MAX_PROCESSES, sizeof *all);
    AUTO_DIR DIR *proc = opendir("/proc");
    struct dirent *entry;
    size_t n = 0;

    while (all && proc && n < MAX_PROCESSES && (entry = readdir(proc))) {
        if (isdigit((unsigned char)entry->d_name[0]) &&
            process_read((pid_t)strtol(entry->d_name, NULL, 10), &all[n])) {
            n++;
        }
    }
    *n_r = n;
    return all;
}

static const struct process *
find(const struct process *all, size_t n, pid_t pid)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (all[i].pid == pid) {
            return &all[i];
        }
    }
    return NULL;
}

/* Whether 'process' comes, over any number of parents, from 'ancestor'.  The
 * list was not read in one instant, so a loop in it is possible. */
static bool
descends(const struct process *process, pid_t ancestor,
         const struct process *all, size_t n)
{
    size_t depth;

    for (depth = 0; process && depth < n; depth++) {
        if (process->parent == ancestor) {
            return true;
        }
        process = find(all, n, process->parent);
    }
    return false;
}

static size_t
list_matching(bool direct_only, pid_t *pids, size_t max)
{
    size_t n;
    AUTO_FREE struct process *all = list_all(&n);
    pid_t self = getpid();
    pid_t ancestor = guard_pid && !direct_only ? guard_pid : self;
    size_t n_found = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        if (all[i].pid == self ||
            (direct_only ? all[i].parent != self
                         : !descends(&all[i], ancestor, all, n))) {
            continue;
        }
        if (n_found < max) {
            pids[n_found] = all[i].pid;
        }
        n_found++;
    }
    return n_found;
}

size_t
process_list_children(pid_t *pids, size_t max)
{
    return list_matching(true, pids, max);
}

size_t
harness_child_pids(pid_t *pids, size_t max)
{
    return list_matching(false, pids, max);
}

pid_t
harness_parent(pid_t pid)
{
    struct process process;

    ck_assert(process_read(pid, &process));
    return process.parent;
}

void
harness_assert_killed(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}

static bool
reap_until_none(void *user)
{
    (void)user;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    return !harness_child_pids(NULL, 0);
}

bool
harness_wait_children(int deadline_ms)
{
    return harness_wait_until(reap_until_none, NULL, deadline_ms);
}

/* Signals 'pid' if it still descends from the test once it is pinned. */
static void
end_descendant(pid_t pid)
{
    AUTO_FD int fd = pidfd_open(pid, 0);
    bool is_by_number = fd < 0 && errno == ENOSYS; /* under valgrind */
    size_t n;
    AUTO_FREE struct process *all =
        fd >= 0 || is_by_number ? list_all(&n) : NULL;
    const struct process *process = all ? find(all, n, pid) : NULL;

    if (!process ||
        !descends(process, guard_pid ? guard_pid : getpid(), all, n)) {
        return;
    }
    if (is_by_number) {
        kill(pid, SIGKILL);
    } else {
        pidfd_send_signal(fd, SIGKILL, NULL, 0);
    }
}

static bool
end_until_none(void *user)
{
    pid_t pids[64];
    size_t n = harness_child_pids(pids, ARRAY_SIZE(pids));
    size_t i;

    for (i = 0; i < n && i < ARRAY_SIZE(pids); i++) {
        end_descendant(pids[i]);
    }
    return reap_until_none(user);
}

void
harness_end_children(void)
{
    enum { DEADLINE_MS = 5000 };

    ck_assert_msg(harness_wait_until(end_until_none, NULL, DEADLINE_MS),
                  "processes of the test could not be ended");
}
