#include "base/pidref.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"

void
libspawn__pidref_dispose(struct libspawn__pidref *ref)
{
    libspawn__auto_close(&ref->fd);
    ref->fd = -1;
}

static int
read_boot_id(char boot_id[LIBSPAWN__BOOT_ID_SIZE], struct libspawn_err *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    char text[LIBSPAWN__BOOT_ID_SIZE];
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    n = libspawn__fd_read_full(fd, text, sizeof text);
    if (n < (ssize_t)sizeof text - 1) {
        return libspawn__fail(err, LIBSPAWN_ERR_SYSTEM,
                              "'%s' holds no boot id", path);
    }
    memcpy(boot_id, text, sizeof text - 1);
    boot_id[sizeof text - 1] = '\0';
    return 0;
}

/* The command name in /proc/PID/stat may hold blanks and parentheses; fields
 * are counted from the last closing one, behind which comes field 3. */
static bool
parse_start_time(const char *stat, uint64_t *start_time_r)
{
    enum {
        FIRST_FIELD = 3,
        START_TIME_FIELD = 22
    };
    const char *p = strrchr(stat, ')');
    int field;

    for (field = FIRST_FIELD - 1; p && field < START_TIME_FIELD; field++) {
        p = strchr(p + 1, ' ');
    }
    return p && sscanf(p, " %" SCNu64, start_time_r) == 1;
}

static int
read_start_time(pid_t pid, uint64_t *start_time_r, struct libspawn_err *err)
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
    n = libspawn__fd_read_full(fd, stat, sizeof stat - 1);
    if (n < 0) {
        return libspawn__fail_errno(err, (int)-n, "reading '%s'", path);
    }
    stat[n] = '\0';
    if (!parse_start_time(stat, start_time_r)) {
        return libspawn__fail(err, LIBSPAWN_ERR_SYSTEM,
                              "'%s' holds no start time", path);
    }
    return 0;
}

int
libspawn__pidref_from_pid(pid_t pid, struct libspawn__pidref *ref_r,
                          struct libspawn_err *err)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int rc;

    ref.id.pid = pid;
    ref.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (ref.fd < 0) {
        return libspawn__fail_errno(err, errno, "opening process %d",
                                    (int)pid);
    }
    rc = read_boot_id(ref.id.boot_id, err);
    if (!rc) {
        rc = read_start_time(pid, &ref.id.start_time, err);
    }
    if (rc) {
        return rc;
    }
    *ref_r = ref;
    ref.fd = -1;
    return 0;
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
        return libspawn__fail(err, LIBSPAWN_ERR_GONE, "process %d is gone",
                              (int)id->pid);
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

        if (r > 0) {
            return 0;
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

int
libspawn__pidref_signal(const struct libspawn__pidref *ref, int signal,
                        struct libspawn_err *err)
{
    if (syscall(SYS_pidfd_send_signal, ref->fd, signal, NULL, 0) < 0) {
        return libspawn__fail_errno(err, errno,
                                    "sending signal %d to process %d", signal,
                                    (int)ref->id.pid);
    }
    return 0;
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
