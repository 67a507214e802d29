#include "proc/lock_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"

enum { LINE_SIZE = 256 };

/* ---- Writing ----------------------------------------------------------- */

/* Looked up once per thread, and again in a fork; NULL when it cannot be. */
static const struct libspawn__identity *
get_self(void)
{
    static _Thread_local struct libspawn__identity self;

    return self.pid == getpid() || !libspawn__identity_self(&self, NULL)
               ? &self
               : NULL;
}

void
libspawn__lock_owner_write(int fd)
{
    const struct libspawn__identity *self = get_self();
    char line[LINE_SIZE];
    int len;

    if (!self) {
        return;
    }
    len = snprintf(line, sizeof line, "%d %" PRIu64 " %s %lld %.*s\n",
                   (int)self->pid, self->start_time, self->boot_id,
                   (long long)libspawn__clock_realtime_ms() / 1000,
                   LIBSPAWN__LOCK_PROGRAM_SIZE - 1,
                   program_invocation_short_name);
    /* A reader in between sees a line that has no end, or an old end. */
    if (ftruncate(fd, 0) < 0 || pwrite(fd, line, (size_t)len, 0) < 0) {
        return; /* a full disk: then nobody knows who we are */
    }
}

void
libspawn__lock_owner_erase(int fd)
{
    if (ftruncate(fd, 0) < 0) {
        return; /* the line then names a process that is gone, soon */
    }
}

/* ---- Reading ----------------------------------------------------------- */

/* What is shown to people has no control characters, wherever it is from. */
static void
set_program(struct libspawn__lock_owner *owner, const char *text)
{
    char *byte;

    snprintf(owner->program, sizeof owner->program, "%s", text);
    for (byte = owner->program; *byte; byte++) {
        if ((unsigned char)*byte < ' ' || *byte == 0x7f) {
            *byte = '?';
        }
    }
}

static bool
parse(char *line, struct libspawn__identity *id,
      struct libspawn__lock_owner *owner)
{
    char *end = strchr(line, '\n');
    int n_read = 0;
    int pid;

    if (!end) {
        return false;
    }
    *end = '\0';
    if (sscanf(line, "%d %" SCNu64 " %36s %" SCNd64 " %n", &pid,
               &id->start_time, id->boot_id, &owner->since_s, &n_read) != 4 ||
        pid <= 0 || owner->since_s <= 0 || !n_read) {
        return false;
    }
    id->pid = owner->pid = pid;
    set_program(owner, line + n_read);
    return true;
}

/* False when the line is none, or its process has ended. */
static bool
read_line(int fd, struct libspawn__lock_owner *owner_r)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn__lock_owner owner = { 0 };
    struct libspawn__identity id = { .pid = 0 };
    char line[LINE_SIZE];
    ssize_t n = pread(fd, line, sizeof line - 1, 0);

    if (n <= 0) {
        return false;
    }
    line[n] = '\0';
    if (!parse(line, &id, &owner) ||
        libspawn__pidref_open(&id, &ref, NULL)) {
        return false;
    }
    *owner_r = owner;
    return true;
}

static void
read_program(struct libspawn__lock_owner *owner)
{
    char path[sizeof "/proc//comm" + 3 * sizeof owner->pid];
    char name[LIBSPAWN__LOCK_PROGRAM_SIZE];
    AUTO_FD int fd = -1;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/comm", (int)owner->pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : libspawn__fd_read_full(fd, name, sizeof name - 1);
    if (n > 0) {
        name[n] = '\0';
        name[strcspn(name, "\n")] = '\0';
        set_program(owner, name);
    }
}

void
libspawn__lock_owner_read(int fd, struct libspawn__lock_owner *owner_r)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct libspawn__lock_owner owner = { 0 };
    bool has_line = read_line(fd, &owner);

    /* -1: a lock of an open file description, as ours are; 0: a process in
     * another pid namespace. */
    if (!fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK &&
        lock.l_pid != -1 && (!has_line || owner.pid != lock.l_pid)) {
        owner = (struct libspawn__lock_owner){ .pid = lock.l_pid };
        read_program(&owner);
    }
    *owner_r = owner;
}

/* ---- In words ---------------------------------------------------------- */

void
libspawn__lock_owner_describe(const struct libspawn__lock_owner *owner,
                              char *text, size_t size)
{
    char since[sizeof " since YYYYY-MM-DD hh:mm:ss"] = "";
    time_t seconds = (time_t)owner->since_s;
    struct tm tm;

    if (owner->pid <= 0) {
        snprintf(text, size, "held by an unknown owner");
        return;
    }
    if (owner->since_s && localtime_r(&seconds, &tm)) {
        strftime(since, sizeof since, " since %Y-%m-%d %H:%M:%S", &tm);
    }
    snprintf(text, size, "held by pid %d%s%s%s%s", (int)owner->pid,
             owner->program[0] ? " (" : "", owner->program,
             owner->program[0] ? ")" : "", since);
}
