/*
 * Two generations have a name, "events" and "events.1".  In a round, all files
 * held are read to their ends; then it is seen which files have the names now;
 * then what inotify told meanwhile is dropped, and if it told anything there
 * is another round.  So what happens later is told by the descriptor.
 */
#include "guest/events_reader.h"

#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#include "base/auto.h"
#include "base/util.h"
#include "guest/events.h"
#include "wire/json.h"

#define TIME_FORMAT "%Y-%m-%dT%H:%M:%S"

enum {
    READ_SIZE = 16384,
    TIME_LEN = 24 /* "2026-11-21T12:00:00.123Z" */
};

/* ---- One line ---------------------------------------------------------- */

static bool
parse_time(const char *text, int64_t *time_ms_r)
{
    struct tm tm = { 0 };
    const char *end;
    char again[32];
    char digits[4] = "";
    uint64_t ms;

    if (!text || strlen(text) != TIME_LEN || text[TIME_LEN - 1] != 'Z') {
        return false;
    }
    end = strptime(text, TIME_FORMAT, &tm);
    memcpy(digits, text + TIME_LEN - 4, 3);
    if (end != text + TIME_LEN - 5 || *end != '.' ||
        libspawn__str_to_u64(digits, 0, 999, &ms, NULL)) {
        return false;
    }
    *time_ms_r = (int64_t)timegm(&tm) * 1000 + (int64_t)ms;
    /* A day that the month does not have became one of the next. */
    return strftime(again, sizeof again, TIME_FORMAT, &tm) &&
           libspawn__str_has_prefix(text, again);
}

/* Absent is fine; false for what is there but no string. */
static bool
get_string(const struct libspawn__json *json, const char *key,
           const char **text_r)
{
    const struct libspawn__json *member = libspawn__json_member(json, key);

    *text_r = libspawn__json_string(member);
    return !member || *text_r;
}

static bool
get_domid(const struct libspawn__json *json, uint32_t *domid_r)
{
    const struct libspawn__json *member = libspawn__json_member(json, "domid");
    int64_t domid = 0;

    if (member && (!libspawn__json_integer(member, &domid) || domid < 0 ||
                   domid > UINT32_MAX)) {
        return false;
    }
    *domid_r = (uint32_t)domid;
    return true;
}

/* Other members are fine: a later version may write more. */
static bool
parse_event(const struct libspawn__json *json,
            struct libspawn_guest_event *event)
{
    const char *time =
        libspawn__json_string(libspawn__json_member(json, "time"));

    if (!parse_time(time, &event->time_ms) ||
        !get_string(json, "guest", &event->guest) ||
        !get_string(json, "uuid", &event->uuid) ||
        !get_string(json, "event", &event->name) ||
        !get_string(json, "reason", &event->reason) ||
        !get_string(json, "text", &event->text) ||
        !get_domid(json, &event->domid) || !event->guest || !event->name) {
        return false;
    }
    event->kind = libspawn__event_kind(event->name);
    return true;
}

static bool
parse_line(struct libspawn__events_reader *reader, const char *line,
           size_t size, struct libspawn_guest_event *event_r)
{
    struct libspawn_guest_event event = { .json = line };

    libspawn__json_free(reader->json);
    reader->json = NULL;
    if (libspawn__json_parse(line, size, LIBSPAWN__EVENT_LINE_MAX,
                             &reader->json, NULL) ||
        !parse_event(reader->json, &event)) {
        return false;
    }
    *event_r = event;
    return true;
}

/* ---- One file ---------------------------------------------------------- */

static void
close_file(struct libspawn__events_file *file)
{
    libspawn__auto_close(&file->fd);
    libspawn__buf_dispose(&file->buf);
}

static bool
is_file(const struct libspawn__events_file *file, const struct stat *st)
{
    return file->dev == st->st_dev && file->ino == st->st_ino;
}

/* The next line, whose newline becomes a NUL; NULL when there is no whole one
 * in the buffer. */
static char *
take_line(struct libspawn__events_file *file, size_t *size_r)
{
    size_t left = file->buf.size - file->n_taken;
    char *line = left ? file->buf.data + file->n_taken : NULL;
    char *newline = left ? memchr(line, '\n', left) : NULL;

    if (!newline) {
        if (left >= LIBSPAWN__EVENT_LINE_MAX) {
            file->is_overlong = true;
            file->n_taken = file->buf.size;
        }
        return NULL;
    }
    *newline = '\0';
    *size_r = (size_t)(newline - line);
    file->n_taken += *size_r + 1;
    return line;
}

/* A blank line is what ended a torn one. */
static bool
take_event(struct libspawn__events_reader *reader,
           struct libspawn__events_file *file,
           struct libspawn_guest_event *event_r)
{
    size_t size;
    char *line;

    while ((line = take_line(file, &size))) {
        bool is_overlong = file->is_overlong;

        file->is_overlong = false;
        if (!is_overlong && !size) {
            continue;
        }
        if (!is_overlong && parse_line(reader, line, size, event_r)) {
            return true;
        }
        reader->n_skipped++;
    }
    return false;
}

/* Somebody made it shorter: what it has now is new. */
static void
check_size(struct libspawn__events_file *file)
{
    off_t at = lseek(file->fd, 0, SEEK_CUR);
    struct stat st;

    if (!fstat(file->fd, &st) && st.st_size < at) {
        lseek(file->fd, 0, SEEK_SET);
        libspawn__buf_consume(&file->buf, file->buf.size);
        file->is_overlong = false;
    }
}

/* More bytes into the buffer; false at the end of the file. */
static bool
fill_file(struct libspawn__events_file *file)
{
    struct libspawn__buf *buf = &file->buf;
    ssize_t n;

    libspawn__buf_consume(buf, file->n_taken);
    file->n_taken = 0;
    if (!libspawn__buf_reserve(buf, READ_SIZE)) {
        buf->failed = false; /* another time */
        return false;
    }
    n = read(file->fd, buf->data + buf->size, READ_SIZE);
    if (n <= 0) {
        check_size(file);
        return false;
    }
    buf->size += (size_t)n;
    return true;
}

/* Behind the last line that is whole, so that one that is just being written
 * is read when it is. */
static void
seek_end(struct libspawn__events_file *file)
{
    char tail[LIBSPAWN__EVENT_LINE_MAX];
    off_t end = lseek(file->fd, 0, SEEK_END);
    off_t from = MAX(end - (off_t)sizeof tail, 0);
    ssize_t n = pread(file->fd, tail, (size_t)(end - from), from);
    const char *newline = n > 0 ? memrchr(tail, '\n', (size_t)n) : NULL;

    if (newline) {
        lseek(file->fd, from + (newline + 1 - tail), SEEK_SET);
    } else if (!from) {
        lseek(file->fd, 0, SEEK_SET);
    }
}

/* ---- Which files ------------------------------------------------------- */

/* Zeroes for nothing; whatever is no regular file is nothing. */
static void
look(const char *path, struct stat *st)
{
    if (lstat(path, st) < 0 || !S_ISREG(st->st_mode)) {
        memset(st, 0, sizeof *st);
    }
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool
is_held(const struct libspawn__events_reader *reader, const struct stat *st)
{
    size_t i;

    for (i = 0; i < reader->n_files; i++) {
        if (is_file(&reader->files[i], st)) {
            return true;
        }
    }
    return false;
}

/* Holds a file that was seen, if it is there and is not held yet: 1.  Without
 * descriptors or room it has to come later: 0.  -1: another has its name. */
static int
hold_file(struct libspawn__events_reader *reader, const char *path,
          const struct stat *seen)
{
    AUTO_FD int fd = -1;
    struct stat st;

    if (!seen->st_ino || is_held(reader, seen) ||
        reader->n_files == ARRAY_SIZE(reader->files)) {
        return 0;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return errno == ENOENT ? -1 : 0;
    }
    if (!is_same(&st, seen)) {
        return -1;
    }
    reader->files[reader->n_files++] = (struct libspawn__events_file){
        .fd = TAKE_FD(fd), .dev = st.st_dev, .ino = st.st_ino
    };
    return 1;
}

/* What has the two names at one moment; false when they changed meanwhile. */
static bool
look_at_both(const struct libspawn__events_reader *reader, struct stat *old,
             struct stat *now)
{
    struct stat again;

    look(reader->path, now);
    look(reader->old_path, old);
    look(reader->path, &again);
    return is_same(now, &again);
}

/* Sees which files have the names now; true when one was not known, so that
 * there is something to read.  Called when all that are held were read to
 * their ends. */
static bool
find_files(struct libspawn__events_reader *reader)
{
    enum {
        MAX_TRIES = 100
    };
    bool has_new = false;
    int n_tries;

    for (n_tries = 0; n_tries < MAX_TRIES; n_tries++) {
        struct stat old;
        struct stat now;
        size_t i;
        int r;

        if (!look_at_both(reader, &old, &now)) {
            continue;
        }
        for (i = 0; i < reader->n_files; i++) {
            struct libspawn__events_file *file = &reader->files[i];

            /* A file that is held keeps its number from others. */
            file->is_gone = !is_file(file, &old) && !is_file(file, &now);
        }
        r = hold_file(reader, reader->old_path, &old);
        has_new |= r > 0;
        if (r >= 0) {
            r = hold_file(reader, reader->path, &now);
            has_new |= r > 0;
        }
        if (r >= 0) {
            break;
        }
    }
    return has_new;
}

static void
drop_file(struct libspawn__events_reader *reader, size_t i)
{
    close_file(&reader->files[i]);
    reader->n_files--;
    memmove(&reader->files[i], &reader->files[i + 1],
            (reader->n_files - i) * sizeof reader->files[i]);
}

/* ---- Being told -------------------------------------------------------- */

/* The directory, or as long as it is missing the nearest one above it. */
static int
watch_nearest(const struct libspawn__events_reader *reader)
{
    enum {
        ABOVE = IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                IN_ONLYDIR,
        HERE = IN_MODIFY | ABOVE
    };
    AUTO_FREE char *path = strdup(reader->dir);
    int wd = path ? inotify_add_watch(reader->fd, path, HERE) : -1;

    while (wd < 0 && path && (errno == ENOENT || errno == ENOTDIR)) {
        char *slash = strrchr(path, '/');

        if (!slash || !path[1]) {
            break;
        }
        slash[slash == path] = '\0';
        wd = inotify_add_watch(reader->fd, path, ABOVE);
    }
    return wd;
}

/* Until it is the same as before: what came while a directory above was not
 * watched yet is seen the second time. */
static void
watch(struct libspawn__events_reader *reader)
{
    int wd = reader->fd < 0 ? -1 : watch_nearest(reader);

    while (wd != reader->wd) {
        if (reader->wd >= 0) {
            inotify_rm_watch(reader->fd, reader->wd);
        }
        reader->wd = wd;
        wd = watch_nearest(reader);
    }
    reader->is_blind = wd < 0;
}

/* True when anything happened since it was asked last: what, is seen in the
 * files. */
static bool
drop_news(struct libspawn__events_reader *reader)
{
    char buffer[4096] __attribute__((aligned(8)));
    bool has_news = false;

    while (reader->fd >= 0 && read(reader->fd, buffer, sizeof buffer) > 0) {
        has_news = true;
    }
    if (has_news || reader->is_blind) {
        watch(reader);
    }
    return has_news;
}

/* ---- Public ------------------------------------------------------------ */

int
libspawn__events_reader_open(struct libspawn__events_reader *reader,
                             const char *state_dir, bool from_start,
                             struct libspawn_err *err)
{
    size_t i;

    *reader = (struct libspawn__events_reader){
        .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC),
        .wd = -1,
        .dir = strdup(state_dir),
        .path = libspawn__str_format("%s/events", state_dir),
        .old_path = libspawn__str_format("%s/events.1", state_dir),
    };
    if (!reader->dir || !reader->path || !reader->old_path) {
        libspawn__events_reader_dispose(reader);
        return libspawn__fail_nomem(err);
    }
    watch(reader);
    find_files(reader);
    for (i = 0; !from_start && i < reader->n_files; i++) {
        seek_end(&reader->files[i]);
    }
    return 0;
}

void
libspawn__events_reader_dispose(struct libspawn__events_reader *reader)
{
    while (reader->n_files) {
        drop_file(reader, reader->n_files - 1);
    }
    libspawn__json_free(reader->json);
    libspawn__auto_close(&reader->fd);
    free(reader->dir);
    free(reader->path);
    free(reader->old_path);
    *reader = (struct libspawn__events_reader){ .fd = -1, .wd = -1 };
}

bool
libspawn__events_reader_next(struct libspawn__events_reader *reader,
                             struct libspawn_guest_event *event_r)
{
    do {
        size_t i = 0;

        while (i < reader->n_files) {
            struct libspawn__events_file *file = &reader->files[i];

            if (take_event(reader, file, event_r)) {
                return true;
            }
            if (fill_file(file)) {
                continue;
            }
            if (file->is_gone) {
                drop_file(reader, i);
            } else {
                i++;
            }
        }
    } while (find_files(reader) || drop_news(reader));
    return false;
}

static bool
is_about(const struct libspawn_guest_event *event,
         const struct libspawn__event *other)
{
    return event->domid == other->domid && event->uuid &&
           !strcmp(event->uuid, other->uuid);
}

/* What comes before it is no news of the life that it begins. */
static bool
is_beginning(enum libspawn_guest_event_kind kind)
{
    return kind == LIBSPAWN_GUEST_EVENT_CREATED ||
           kind == LIBSPAWN_GUEST_EVENT_RESTARTED ||
           kind == LIBSPAWN_GUEST_EVENT_ADMITTED ||
           kind == LIBSPAWN_GUEST_EVENT_RELEASED;
}

bool
libspawn__events_have(const char *state_dir,
                      const struct libspawn__event *event)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader = { .fd = -1 };
    struct libspawn_guest_event other;
    bool is_told = false;

    if (libspawn__events_reader_open(&reader, state_dir, true, NULL)) {
        return false;
    }
    while (libspawn__events_reader_next(&reader, &other)) {
        if (is_about(&other, event)) {
            is_told = other.kind == event->kind ||
                      (is_told && !is_beginning(other.kind));
        }
    }
    return is_told;
}
