#include "base/pidref.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"

/* How soon the end of a process is noticed that no pidfd tells. */
enum { LOOK_MS = 20 };

void
libspawn__pidref_dispose(struct libspawn__pidref *ref)
{
    libspawn__auto_close(&ref->fd);
    ref->fd = -1;
    ref->is_by_number = false;
}

/* Read once in each thread: no process outlives a boot. */
static int
read_boot_id(char boot_id[LIBSPAWN__BOOT_ID_SIZE], struct libspawn_err *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    static _Thread_local char text[LIBSPAWN__BOOT_ID_SIZE];
    AUTO_FD int fd = -1;
    ssize_t n;

    if (text[LIBSPAWN__BOOT_ID_SIZE - 2]) {
        memcpy(boot_id, text, LIBSPAWN__BOOT_ID_SIZE);
        return 0;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    n = libspawn__fd_read_full(fd, text, sizeof text);
    if (n < (ssize_t)sizeof text - 1) {
        return libspawn__fail(err, LIBSPAWN_ERR_SYSTEM,
                              "'%s' holds no boot id", path);
    }
    text[sizeof text - 1] = '\0';
    memcpy(boot_id, text, sizeof text);
    return 0;
}

/* The command name in /proc/PID/stat may hold blanks and parentheses; fields
 * are counted from the last closing one, behind which comes field 3.  The
 * others are 14, 15 and 22. */
static bool
parse_state(const char *stat, struct libspawn__process_state *state_r)
{
    const char *p = strrchr(stat, ')');
    uint64_t user_ticks;
    uint64_t system_ticks;

    if (!p || sscanf(p,
                     ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                     "%" SCNu64 " %" SCNu64 " %*s %*s %*s %*s %*s %*s "
                     "%" SCNu64,
                     &state_r->letter, &user_ticks, &system_ticks,
                     &state_r->start_time) != 4) {
        return false;
    }
    state_r->cpu_time_ms = (int64_t)(user_ticks + system_ticks) * 1000 /
                           sysconf(_SC_CLK_TCK);
    return true;
}

static int
read_state(pid_t pid, struct libspawn__process_state *state_r,
           struct libspawn_err *err)
{
    char path[sizeof "/proc//stat" + 3 * sizeof pid];
    char stat[1024];
    AUTO_FD int fd = -1;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int code = errno == ENOENT ? ESRCH : errno;

        return libspawn__fail_errno(err, code, "looking for process %d",
                                    (int)pid);
    }
    /* The kernel makes the line at one moment, for one read.  ESRCH when the
     * process was reaped since. */
    do {
        n = read(fd, stat, sizeof stat - 1);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return libspawn__fail_errno(err, errno, "reading '%s'", path);
    }
    stat[n] = '\0';
    if (!parse_state(stat, state_r)) {
        return libspawn__fail(err, LIBSPAWN_ERR_SYSTEM,
                              "'%s' holds no start time", path);
    }
    return 0;
}

static int
read_start_time(pid_t pid, uint64_t *start_time_r, struct libspawn_err *err)
{
    struct libspawn__process_state state;
    int rc = read_state(pid, &state, err);

    if (!rc) {
        *start_time_r = state.start_time;
    }
    return rc;
}

/* Also of one whose first thread has ended before the others. */
static bool
is_zombie(const struct libspawn__process_state *state)
{
    return strchr("ZXx", state->letter);
}

/* ---- Without pidfds ---------------------------------------------------- */

static int
open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Linux 5.2 and older, or a filter of system calls that does not know it.  Our
 * own number cannot be wrong, so that EINVAL for it is a refusal, too. */
static bool
lacks_pidfds(int sys_errno)
{
    int fd;

    if (sys_errno != EINVAL) {
        return sys_errno == ENOSYS || sys_errno == EPERM;
    }
    fd = open_pidfd(getpid());
    if (fd >= 0) {
        close(fd);
    }
    return fd < 0;
}

/* Nothing tells its end, so the descriptor becomes readable now and then. */
static int
pin_by_number(struct libspawn__pidref *ref, struct libspawn_err *err)
{
    const struct timespec look = { 0, LOOK_MS * 1000000 };
    const struct itimerspec spec = { look, look };

    ref->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (ref->fd < 0 || timerfd_settime(ref->fd, 0, &spec, NULL) < 0) {
        return libspawn__fail_errno(err, errno, "watching process %d",
                                    (int)ref->id.pid);
    }
    ref->is_by_number = true;
    return read_start_time(ref->id.pid, &ref->id.start_time, err);
}

/* Whether its number is its own still: a zombie keeps it. */
static bool
has_number(const struct libspawn__pidref *ref)
{
    uint64_t start_time;

    return !read_start_time(ref->id.pid, &start_time, NULL) &&
           start_time == ref->id.start_time;
}

/* Also when there is no descriptor or memory left to look. */
static bool
lives_by_number(const struct libspawn__pidref *ref)
{
    struct libspawn__process_state state;
    int rc = read_state(ref->id.pid, &state, NULL);

    return rc ? rc != LIBSPAWN_ERR_GONE
              : state.start_time == ref->id.start_time && !is_zombie(&state);
}

static void
drain_timer(const struct libspawn__pidref *ref)
{
    uint64_t n_expired;

    while (read(ref->fd, &n_expired, sizeof n_expired) > 0) {
    }
}

static int
signal_by_number(const struct libspawn__pidref *ref, int signal,
                 struct libspawn_err *err)
{
    bool is_there = libspawn__pidref_is_alive(ref) &&
                    (!ref->is_by_number || has_number(ref));

    if (!is_there || kill(ref->id.pid, signal) < 0) {
        return libspawn__fail_errno(err, is_there ? errno : ESRCH,
                                    "sending signal %d to process %d", signal,
                                    (int)ref->id.pid);
    }
    return 0;
}

/* ---- References -------------------------------------------------------- */

int
libspawn__pidref_of_child(pid_t pid, struct libspawn__pidref *ref_r,
                          struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = { .id.pid = pid };
    int rc = 0;

    ref.fd = open_pidfd(pid);
    if (ref.fd < 0) {
        int sys_errno = errno;

        rc = lacks_pidfds(sys_errno)
                 ? pin_by_number(&ref, err)
                 : libspawn__fail_errno(err, sys_errno, "opening process %d",
                                        (int)pid);
    }
    if (!rc) {
        *ref_r = ref;
        ref.fd = -1;
    }
    return rc;
}

int
libspawn__pidref_from_pid(pid_t pid, struct libspawn__pidref *ref_r,
                          struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int rc = libspawn__pidref_of_child(pid, &ref, err);

    if (!rc) {
        rc = read_boot_id(ref.id.boot_id, err);
    }
    if (!rc && !ref.is_by_number) {
        rc = read_start_time(pid, &ref.id.start_time, err);
    }
    if (rc) {
        return rc;
    }
    *ref_r = ref;
    ref.fd = -1;
    return 0;
}

static int
fail_gone(const struct libspawn__identity *id, struct libspawn_err *err)
{
    return libspawn__fail(err, LIBSPAWN_ERR_GONE, "process %d is gone",
                          (int)id->pid);
}

int
libspawn__pidref_open(const struct libspawn__identity *id,
                      struct libspawn__pidref *ref_r, struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int rc;

    rc = id->pid > 0 ? libspawn__pidref_from_pid(id->pid, &ref, err) : 0;
    if (rc && rc != LIBSPAWN_ERR_GONE) {
        return rc;
    }
    /* The start time was read by number.  It belongs to the process that the
     * pidfd pins only if that one was not reaped in between, and while it is
     * alive, or a zombie, its number is not given to another. */
    if (rc || ref.id.pid != id->pid ||
        strcmp(ref.id.boot_id, id->boot_id) != 0 ||
        ref.id.start_time != id->start_time ||
        !libspawn__pidref_is_alive(&ref)) {
        return fail_gone(id, err);
    }
    *ref_r = ref;
    ref.fd = -1;
    return 0;
}

int
libspawn__pidref_wait(const struct libspawn__pidref *ref, int timeout_ms,
                      struct libspawn_err *err)
{
    int64_t deadline = timeout_ms < 0 ? LIBSPAWN__NEVER
                                      : libspawn__clock_now_ms() + timeout_ms;
    struct pollfd pollfd = { .fd = ref->fd, .events = POLLIN };

    for (;;) {
        int64_t left = deadline == LIBSPAWN__NEVER
                           ? -1
                           : MAX(deadline - libspawn__clock_now_ms(), 0);
        int r = poll(&pollfd, 1, (int)left);

        if (ref->is_by_number && r >= 0 && !lives_by_number(ref)) {
            return 0;
        } else if (r > 0 && !ref->is_by_number) {
            return 0;
        } else if (r > 0) {
            drain_timer(ref);
        } else if (!r) {
            return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                                  "process %d still lives after %d ms",
                                  (int)ref->id.pid, timeout_ms);
        } else if (errno != EINTR) {
            return libspawn__fail_errno(err, errno, "waiting for process %d",
                                        (int)ref->id.pid);
        }
    }
}

bool
libspawn__pidref_is_alive(const struct libspawn__pidref *ref)
{
    return ref->fd >= 0 &&
           libspawn__pidref_wait(ref, 0, NULL) == LIBSPAWN_ERR_TIMEOUT;
}

bool
libspawn__pidref_has_ended(const struct libspawn__pidref *ref)
{
    if (ref->is_by_number) {
        drain_timer(ref);
        return !lives_by_number(ref);
    }
    return true;
}

int
libspawn__pidref_signal(const struct libspawn__pidref *ref, int signal,
                        struct libspawn_err *err)
{
    if (ref->is_by_number) {
        return signal_by_number(ref, signal, err);
    }
    if (syscall(SYS_pidfd_send_signal, ref->fd, signal, NULL, 0) < 0) {
        if (errno == ENOSYS || errno == EPERM || errno == EINVAL) {
            return signal_by_number(ref, signal, err);
        }
        return libspawn__fail_errno(err, errno,
                                    "sending signal %d to process %d", signal,
                                    (int)ref->id.pid);
    }
    return 0;
}

/* Linux 5.3 has pidfds, but only 5.4 waits for them.  What pidfd or start time
 * says is still there was not reaped, and so has its number. */
void
libspawn__pidref_reap(const struct libspawn__pidref *ref)
{
    siginfo_t info;

    if (ref->fd < 0) {
        return;
    }
    if (ref->is_by_number) {
        if (has_number(ref)) {
            waitpid(ref->id.pid, NULL, WNOHANG);
        }
    } else if (waitid(P_PIDFD, (id_t)ref->fd, &info, WEXITED | WNOHANG) < 0 &&
               errno != ECHILD &&
               !syscall(SYS_pidfd_send_signal, ref->fd, 0, NULL, 0)) {
        waitpid(ref->id.pid, NULL, WNOHANG);
    }
}

int
libspawn__identity_self(struct libspawn__identity *id_r,
                        struct libspawn_err *err)
{
    struct libspawn__identity id = { .pid = getpid() };
    int rc = read_boot_id(id.boot_id, err);

    if (!rc) {
        rc = read_start_time(id.pid, &id.start_time, err);
    }
    if (!rc) {
        *id_r = id;
    }
    return rc;
}

int
libspawn__identity_look(const struct libspawn__identity *id,
                        struct libspawn__process_state *state_r,
                        struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn__process_state state;
    char boot_id[LIBSPAWN__BOOT_ID_SIZE];
    int rc = read_boot_id(boot_id, err);

    if (!rc && id->pid > 0) {
        rc = read_state(id->pid, &state, err);
    }
    if (rc && rc != LIBSPAWN_ERR_GONE) {
        return rc;
    }
    if (rc || id->pid <= 0 || strcmp(boot_id, id->boot_id) != 0 ||
        state.start_time != id->start_time) {
        return fail_gone(id, err);
    }
    if (is_zombie(&state)) {
        rc = libspawn__pidref_open(id, &ref, err);
    }
    if (!rc) {
        *state_r = state;
    }
    return rc;
}
