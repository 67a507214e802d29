#include "guest/events.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/names.h"
#include "proc/lock.h"
#include "wire/json.h"

/* ---- Kinds ------------------------------------------------------------- */

static const char *const kind_names[] = {
    [LIBSPAWN_GUEST_EVENT_CREATED] = "created",
    [LIBSPAWN_GUEST_EVENT_RUNNING] = "running",
    [LIBSPAWN_GUEST_EVENT_ADMITTED] = "admitted",
    [LIBSPAWN_GUEST_EVENT_PAUSED] = "paused",
    [LIBSPAWN_GUEST_EVENT_RESUMED] = "resumed",
    [LIBSPAWN_GUEST_EVENT_SHUTDOWN] = "shutdown",
    [LIBSPAWN_GUEST_EVENT_DM_DIED] = "device-model-died",
    [LIBSPAWN_GUEST_EVENT_HOLDING] = "holding",
    [LIBSPAWN_GUEST_EVENT_RELEASED] = "released",
    [LIBSPAWN_GUEST_EVENT_RESTARTING] = "restarting",
    [LIBSPAWN_GUEST_EVENT_RESTARTED] = "restarted",
    [LIBSPAWN_GUEST_EVENT_PRESERVED] = "preserved",
    [LIBSPAWN_GUEST_EVENT_DESTROYED] = "destroyed",
    [LIBSPAWN_GUEST_EVENT_CREATE_FAILED] = "create-failed",
    [LIBSPAWN_GUEST_EVENT_POST_MORTEM] = "post-mortem",
    [LIBSPAWN_GUEST_EVENT_WORKER_DEGRADED] = "worker-degraded",
    [LIBSPAWN_GUEST_EVENT_SUPERVISOR_STARTED] = "supervisor-started",
    [LIBSPAWN_GUEST_EVENT_SUPERVISOR_LEFT] = "supervisor-left",
    [LIBSPAWN_GUEST_EVENT_SUPERVISOR_LOST] = "supervisor-lost",
    [LIBSPAWN_GUEST_EVENT_PCI_TAKEN_OVER] = "pci-taken-over",
    [LIBSPAWN_GUEST_EVENT_SCRIPT_STARTED] = "script-started",
    [LIBSPAWN_GUEST_EVENT_SCRIPT_ENDED] = "script-ended",
};

const char *
libspawn__event_name(enum libspawn_guest_event_kind kind)
{
    return (size_t)kind < ARRAY_SIZE(kind_names) ? kind_names[kind] : NULL;
}

enum libspawn_guest_event_kind
libspawn__event_kind(const char *name)
{
    size_t i;

    for (i = LIBSPAWN_GUEST_EVENT_OTHER + 1; i < ARRAY_SIZE(kind_names); i++) {
        if (!strcmp(name, kind_names[i])) {
            return (enum libspawn_guest_event_kind)i;
        }
    }
    return LIBSPAWN_GUEST_EVENT_OTHER;
}

/* ---- The line ---------------------------------------------------------- */

static void
put_time(struct libspawn__json_writer *w, int64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    char date[32] = "";
    char text[40];
    struct tm tm;

    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    snprintf(text, sizeof text, "%s.%03dZ", date, (int)(time_ms % 1000));
    libspawn__json_put_string(w, "time", text);
}

static void
put_if_known(struct libspawn__json_writer *w, const char *key,
             const char *value)
{
    if (value) {
        libspawn__json_put_string(w, key, value);
    }
}

/* NULL without memory. */
static char *
format_json(const struct libspawn__event *event, int64_t time_ms,
            const char *text)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);

    libspawn__json_begin_object(w, NULL);
    put_time(w, time_ms);
    libspawn__json_put_string(w, "guest", event->guest);
    if (event->domid) {
        libspawn__json_put_integer(w, "domid", event->domid);
    }
    put_if_known(w, "uuid", event->uuid);
    libspawn__json_put_string(w, "event", libspawn__event_name(event->kind));
    put_if_known(w, "reason", event->reason);
    put_if_known(w, "text", text);
    libspawn__json_end_object(w);
    return libspawn__json_writer_take(w);
}

/* Takes at least 'excess' bytes off the end of the text; false when it has
 * none left. */
static bool
cut_text(char *text, size_t excess)
{
    size_t len = text ? strlen(text) : 0;
    size_t left = len > excess ? len - excess : 0;

    if (!len) {
        return false;
    }
    while (left && ((unsigned char)text[left] & 0xc0) == 0x80) {
        left--; /* not in the middle of a character */
    }
    text[left] = '\0';
    return true;
}

/* The object between two newlines; the first is written only behind a line
 * that has none. */
static int
make_line(const struct libspawn__event *event, struct libspawn__buf *line,
          struct libspawn_err *err)
{
    enum {
        JSON_MAX = LIBSPAWN__EVENT_LINE_MAX - 2
    };
    AUTO_FREE char *text = event->text ? strdup(event->text) : NULL;
    int64_t time_ms = libspawn__clock_realtime_ms();

    if (event->text && !text) {
        return libspawn__fail_nomem(err);
    }
    for (;;) {
        AUTO_FREE char *json = format_json(event, time_ms, text);
        size_t len = json ? strlen(json) : 0;

        if (len && len <= JSON_MAX) {
            libspawn__buf_printf(line, "\n%s\n", json);
        }
        if (!json || line->failed) {
            return libspawn__fail_nomem(err);
        }
        if (line->size) {
            return 0;
        }
        if (!cut_text(text, len - JSON_MAX)) {
            return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                                  "an event of guest '%.64s' is too long",
                                  event->guest);
        }
    }
}

/* ---- The file ---------------------------------------------------------- */

/* While somebody else is at it, or when the file cannot be renamed, it grows
 * on. */
static void
rotate(const struct libspawn_host *host, const char *path,
       const struct stat *seen)
{
    AUTO_FREE char *old = libspawn__str_format("%s.1", path);
    AUTO_FREE char *locks = libspawn__str_format("%s/locks", host->state_dir);
    AUTO_FREE char *lock_path =
        locks ? libspawn__str_format("%s/events", locks) : NULL;
    const struct libspawn__lock_request request = {
        .path = lock_path, .name = "the lock of the event log"
    };
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct stat now;

    if (!old || !lock_path || (mkdir(locks, 0700) < 0 && errno != EEXIST) ||
        libspawn__lock_try(&request, &lock, NULL)) {
        return;
    }
    /* Somebody may have been quicker. */
    if (!stat(path, &now) && now.st_dev == seen->st_dev &&
        now.st_ino == seen->st_ino) {
        rename(path, old);
    }
}

/* Whatever else a fool may put there, it does not hang us. */
static int
open_file(const char *path, struct stat *st, struct libspawn_err *err)
{
    AUTO_FD int fd =
        open(path,
             O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
             0600);

    if (fd < 0 || fstat(fd, st) < 0) {
        return libspawn__fail_errno(err, errno, "opening '%s'", path);
    }
    if (!S_ISREG(st->st_mode)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%s' is not a regular file", path);
    }
    return TAKE_FD(fd);
}

/* The limit of a process on the size of files is no reason to end it: its
 * signal comes at once, to the thread that writes. */
static ssize_t
write_once(int fd, const char *bytes, size_t size)
{
    static const struct timespec at_once = { 0 };
    sigset_t too_large;
    sigset_t old;
    ssize_t n;

    sigemptyset(&too_large);
    sigaddset(&too_large, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &too_large, &old);
    do {
        n = write(fd, bytes, size);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EFBIG && !sigismember(&old, SIGXFSZ)) {
        sigtimedwait(&too_large, NULL, &at_once);
        errno = EFBIG;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return n;
}

/* A disk that was full left a part of a line, which ours shall not end. */
static bool
ends_with_newline(int fd, const struct stat *st)
{
    char last = '\n';

    return !st->st_size || pread(fd, &last, 1, st->st_size - 1) < 1 ||
           last == '\n';
}

static int
write_line(int fd, const struct stat *st, const struct libspawn__buf *line,
           const char *path, struct libspawn_err *err)
{
    size_t skipped = ends_with_newline(fd, st) ? 1 : 0;
    size_t size = line->size - skipped;
    ssize_t n = write_once(fd, line->data + skipped, size);

    return n == (ssize_t)size
               ? 0
               : libspawn__fail_errno(err, n < 0 ? errno : ENOSPC,
                                      "writing '%s'", path);
}

/* 1: the file was removed meanwhile, which nobody may have noticed. */
static int
append_once(const struct libspawn_host *host, const char *path,
            const struct libspawn__buf *line, struct libspawn_err *err)
{
    struct stat st;
    AUTO_FD int fd = open_file(path, &st, err);
    int rc;

    if (fd >= 0 && st.st_size + (off_t)line->size > LIBSPAWN__EVENT_FILE_MAX) {
        rotate(host, path, &st);
        close(TAKE_FD(fd));
        fd = open_file(path, &st, err);
    }
    if (fd < 0) {
        return fd;
    }
    rc = write_line(fd, &st, line, path, err);
    return rc ? rc : !fstat(fd, &st) && !st.st_nlink;
}

int
libspawn__event_append(struct libspawn_host *host,
                       const struct libspawn__event *event,
                       struct libspawn_err *err)
{
    enum {
        MAX_TRIES = 3
    };
    AUTO_FREE char *path = libspawn__str_format("%s/events", host->state_dir);
    AUTO_BUF struct libspawn__buf line = { 0 };
    int rc = path ? make_line(event, &line, err) : libspawn__fail_nomem(err);
    int n_tries = 0;

    if (rc) {
        return rc;
    }
    do {
        rc = append_once(host, path, &line, err);
    } while (rc > 0 && ++n_tries < MAX_TRIES);
    return rc > 0 ? libspawn__fail(err, LIBSPAWN_ERR_CONFLICT,
                                   "'%s' is removed again and again", path)
                  : rc;
}

/* ---- About a guest that exists ----------------------------------------- */

/* What an interrupted destruction has left has lost its name already. */
static void
read_stored_name(struct libspawn_host *host, uint32_t domid, char **name_r)
{
    struct libspawn_guest_config config;

    libspawn_guest_config_init(&config);
    if (!libspawn_guest_get_config(host, domid, &config, NULL)) {
        *name_r = TAKE_PTR(config.name);
    }
    libspawn_guest_config_dispose(&config);
}

void
libspawn__event_subject_read(struct libspawn_host *host, uint32_t domid,
                             struct libspawn__event_subject *subject_r)
{
    *subject_r = (struct libspawn__event_subject){ .domid = domid };
    if (libspawn_guest_get_name(host, domid, &subject_r->name, NULL)) {
        read_stored_name(host, domid, &subject_r->name);
    }
    libspawn__name_read_uuid(host->store, NULL, domid, &subject_r->uuid, NULL);
}

void
libspawn__event_subject_dispose(struct libspawn__event_subject *subject)
{
    free(subject->name);
    free(subject->uuid);
    *subject = (struct libspawn__event_subject){ .domid = 0 };
}

void
libspawn__event_note(struct libspawn_host *host,
                     const struct libspawn__event_subject *subject,
                     enum libspawn_guest_event_kind kind, const char *reason,
                     const char *text)
{
    const struct libspawn__event event = {
        .guest = subject->name ? subject->name : "",
        .domid = subject->domid,
        .uuid = subject->uuid,
        .kind = kind,
        .reason = reason,
        .text = text,
    };

    libspawn__event_append(host, &event, NULL);
}

void
libspawn__event_note_found_off(struct libspawn_host *host,
                               const struct libspawn__event_subject *subject)
{
    libspawn__event_note(host, subject, LIBSPAWN_GUEST_EVENT_SHUTDOWN,
                         "poweroff", "was found powered off");
}
