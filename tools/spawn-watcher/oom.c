/*
 * Whether the kernel killed the child to free memory.  The wait status says
 * SIGKILL and no more, so it is found out from counters, of which a look at
 * the start is compared with one at the end:
 *
 *  - "oom_kill" in memory.events of the child's own cgroup, if the plan has
 *    one: an increase is a yes, none is a no;
 *  - else "oom_kill" in /proc/vmstat, of the whole host: no increase is a no,
 *    and after an increase the kernel's log has to name the child, which is a
 *    yes; otherwise it is unknown.
 *
 * The first look comes when the program runs already, since it would cost each
 * start some time.  What was counted just before is missed by it, so a child
 * that was killed within a second of its start is not denied it by a counter,
 * but by one that was looked at before there was a child: by a watcher that
 * was prepared, and had the time.
 */
#include "tools/spawn-watcher/watcher.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"

/* The number behind "oom_kill " at the beginning of a line.  The buffer is so
 * large that free(3) gives it back to the kernel: on the stack it would stay
 * with each of many watchers for life. */
static bool
read_counter(const char *path, uint64_t *count_r)
{
    enum {
        SIZE = 256 * 1024
    };
    static const char name[] = "oom_kill ";
    AUTO_FREE char *text = malloc(SIZE);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *line = text;
    ssize_t n = fd < 0 || !text ? -1
                                : libspawn__fd_read_full(fd, text, SIZE - 1);

    if (n < 0) {
        return false;
    }
    text[n] = '\0';
    while (line && strncmp(line, name, sizeof name - 1) != 0) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    if (!line) {
        return false;
    }
    *count_r = strtoull(line + sizeof name - 1, NULL, 10);
    return true;
}

/* Its own events, not those of cgroups below it; the file is there since
 * Linux 5.2. */
static bool
read_cgroup_counter(const struct watcher *w, uint64_t *count_r)
{
    AUTO_FREE char *path = NULL;

    if (!(w->plan.options & LIBSPAWN__PLAN_CGROUP)) {
        return false;
    }
    path = libspawn__str_format("%s/memory.events.local", w->plan.cgroup);
    return path && read_counter(path, count_r);
}

static bool
read_host_counter(uint64_t *count_r)
{
    return read_counter("/proc/vmstat", count_r);
}

/* "Killed process 42 (name)", in a message of the kernel's own: what others
 * write into its log has another facility. */
static bool
is_kill_of(const char *message, pid_t pid)
{
    static const char words[] = "Killed process ";
    enum {
        FACILITIES = 8
    }; /* priorities below are of the kernel */
    const char *found = strstr(message, words);

    return strtoul(message, NULL, 10) < FACILITIES && found &&
           strtol(found + sizeof words - 1, NULL, 10) == pid;
}

/* The number may have belonged to another process before.  The log's clock
 * runs beside ours since the boot, and some minutes away from it. */
static bool
is_since_start(const char *message, const struct watcher *w)
{
    enum {
        DRIFT_MS = 600000
    };
    int64_t us = 0;

    return sscanf(message, "%*u,%*u,%" SCNd64, &us) == 1 &&
           us / 1000 + DRIFT_MS >= w->executed_at_ms;
}

static bool
is_in_kernel_log(const struct watcher *w)
{
    AUTO_FD int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char message[8192];
    ssize_t n;

    while (fd >= 0) {
        n = read(fd, message, sizeof message - 1);
        if (n < 0 && (errno == EPIPE || errno == EINTR)) {
            continue; /* EPIPE: some were overwritten before we read them */
        }
        if (n <= 0) {
            return false;
        }
        message[n] = '\0';
        if (is_kill_of(message, w->child.id.pid) &&
            is_since_start(message, w)) {
            return true;
        }
    }
    return false;
}

void
watcher_oom_prepare(struct watcher *w)
{
    w->oom.is_host_known = read_host_counter(&w->oom.on_host);
    w->oom.is_before_child = w->oom.is_host_known;
}

void
watcher_oom_begin(struct watcher *w)
{
    w->oom.is_cgroup_known = read_cgroup_counter(w, &w->oom.in_cgroup);
    if (!w->oom.is_before_child) {
        w->oom.is_host_known = !w->oom.is_cgroup_known &&
                               read_host_counter(&w->oom.on_host);
    }
}

enum libspawn__oom
watcher_oom_end(const struct watcher *w, int wait_status)
{
    enum {
        SURE_MS = 1000
    };
    bool is_no_sure =
        libspawn__clock_now_ms() - w->executed_at_ms > SURE_MS;
    uint64_t now;

    if (!WIFSIGNALED(wait_status) || WTERMSIG(wait_status) != SIGKILL) {
        return LIBSPAWN__OOM_NO;
    }
    if (w->oom.is_cgroup_known && read_cgroup_counter(w, &now)) {
        if (now > w->oom.in_cgroup) {
            return LIBSPAWN__OOM_YES;
        }
        if (is_no_sure) {
            return LIBSPAWN__OOM_NO;
        }
    }
    if (w->oom.is_host_known && (is_no_sure || w->oom.is_before_child) &&
        read_host_counter(&now) && now == w->oom.on_host) {
        return LIBSPAWN__OOM_NO;
    }
    return is_in_kernel_log(w) ? LIBSPAWN__OOM_YES : LIBSPAWN__OOM_UNKNOWN;
}
