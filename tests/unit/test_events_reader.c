/*
 * guest/events_reader.c and events_follow.c: reading the event log while
 * others write to it, rename its files, or remove them.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/events.h"
#include "guest/events_reader.h"
#include "tests/lib/harness.h"

enum {
    WAIT_MS = 5000
};

#define LINE(GUEST)                                                           \
    "{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"" GUEST "\","         \
    "\"event\":\"paused\"}\n"

/* ---- Helpers ----------------------------------------------------------- */

/* As another process would, in the state directory 'dir'. */
static int
append_to(const char *dir, uint32_t domid, const char *text)
{
    AUTO_FREE char *state_dir = strdup(dir);
    struct libspawn_host host = { .state_dir = state_dir };
    const struct libspawn__event event = {
        .guest = "g",
        .domid = domid,
        .kind = LIBSPAWN_GUEST_EVENT_PAUSED,
        .text = text,
    };

    return libspawn__event_append(&host, &event, NULL);
}

static void
put(const char *text)
{
    ck_assert_int_eq(append_to(".", 1, text), 0);
}

static void
put_raw(const char *bytes)
{
    AUTO_FD int fd =
        open("events", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(libspawn__fd_write_full(fd, bytes, strlen(bytes)), 0);
}

static void
open_reader(struct libspawn__events_reader *reader, const char *dir,
            bool from_start)
{
    struct libspawn_err err;

    assert_ok(libspawn__events_reader_open(reader, dir, from_start, &err),
              &err);
    ck_assert(!reader->is_blind);
}

/* Waits for the next event; its strings are valid until the next call. */
static struct libspawn_guest_event
await(struct libspawn__events_reader *reader)
{
    struct libspawn_guest_event event = { 0 };

    while (!libspawn__events_reader_next(reader, &event)) {
        ck_assert_msg(harness_wait_readable(reader->fd, WAIT_MS),
                      "nothing comes");
    }
    return event;
}

static void
assert_text(struct libspawn__events_reader *reader, const char *text)
{
    struct libspawn_guest_event event = await(reader);

    ck_assert_str_eq(event.text, text);
}

/* Nothing is left to read, and nobody is woken up by that. */
static void
assert_none(struct libspawn__events_reader *reader)
{
    enum {
        QUIET_MS = 50
    };
    struct libspawn_guest_event event;

    ck_assert(!libspawn__events_reader_next(reader, &event));
    ck_assert(!harness_wait_readable(reader->fd, QUIET_MS));
}

static void
rotate(void)
{
    ck_assert_int_eq(rename("events", "events.1"), 0);
}

/* ---- Lines ------------------------------------------------------------- */

TEST(reader_line__has_every_member)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    struct libspawn_guest_event event;

    put_raw("{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"win7\","
            "\"domid\":3,\"uuid\":\"u\",\"event\":\"device-model-died\","
            "\"reason\":\"killed\",\"text\":\"how\"}\n");
    open_reader(&reader, ".", true);
    event = await(&reader);
    ck_assert_int_eq(event.time_ms, 1795262400123);
    ck_assert_str_eq(event.guest, "win7");
    ck_assert_uint_eq(event.domid, 3);
    ck_assert_str_eq(event.uuid, "u");
    ck_assert_int_eq(event.kind, LIBSPAWN_GUEST_EVENT_DM_DIED);
    ck_assert_str_eq(event.name, "device-model-died");
    ck_assert_str_eq(event.reason, "killed");
    ck_assert_str_eq(event.text, "how");
    ck_assert_int_eq(event.json[strlen(event.json) - 1], '}');
    assert_none(&reader);
}

TEST(reader_kind_of_a_later_version__is_told_by_its_name)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    struct libspawn_guest_event event;

    put_raw("{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"g\","
            "\"event\":\"migrated\",\"to\":[\"elsewhere\"]}\n");
    open_reader(&reader, ".", true);
    event = await(&reader);
    ck_assert_int_eq(event.kind, LIBSPAWN_GUEST_EVENT_OTHER);
    ck_assert_str_eq(event.name, "migrated");
}

TEST(reader_lines_that_make_no_sense__are_skipped_and_counted)
{
    static const char *const bad[] = {
        "nonsense",
        "[]",
        "{}",
        "{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"g\"}",
        "{\"time\":\"2026-11-21T12:00:00.123Z\",\"event\":\"paused\"}",
        "{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":5,"
        "\"event\":\"paused\"}",
        "{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"g\","
        "\"event\":\"paused\",\"domid\":-1}",
        "{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"g\","
        "\"event\":\"paused\",\"text\":null}",
        "{\"time\":\"2026-02-30T12:00:00.123Z\",\"guest\":\"g\","
        "\"event\":\"paused\"}",
        "{\"time\":\"2026-11-21T12:00:00.12Z\",\"guest\":\"g\","
        "\"event\":\"paused\"}",
        "{\"time\":\"2026-11-21T12:00:00.-12Z\",\"guest\":\"g\","
        "\"event\":\"paused\"}",
        "{\"time\":\"2026-11-21 12:00:00.123Z\",\"guest\":\"g\","
        "\"event\":\"paused\"}",
    };
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        put_raw(bad[i]);
        put_raw("\n\n"); /* a blank line is nothing */
    }
    put("good");
    open_reader(&reader, ".", true);
    assert_text(&reader, "good");
    ck_assert_uint_eq(reader.n_skipped, ARRAY_SIZE(bad));
}

TEST(reader_line_without_end__costs_a_bounded_buffer_and_itself)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    AUTO_FREE char *bytes = calloc(1, 1000001);
    struct libspawn_guest_event event;

    memset(bytes, 'x', 1000000);
    put_raw(bytes);
    open_reader(&reader, ".", true);
    ck_assert(!libspawn__events_reader_next(&reader, &event));
    ck_assert_uint_lt(reader.files[0].buf.n_allocated, 65536);
    put("next");
    assert_text(&reader, "next");
    ck_assert_uint_eq(reader.n_skipped, 1);
}

TEST(reader_half_a_line__is_read_when_it_is_whole)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    AUTO_FREE char *first = strndup(LINE("a"), 20);
    struct libspawn_guest_event event;

    open_reader(&reader, ".", false);
    put_raw(first);
    ck_assert(!libspawn__events_reader_next(&reader, &event));
    put_raw(LINE("a") + 20);
    ck_assert_str_eq(await(&reader).guest, "a");
    assert_none(&reader);
}

/* It is being written while the reader comes. */
TEST(reader_opened_behind_half_a_line__reads_it_when_it_is_whole)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    AUTO_FREE char *first = strndup(LINE("a"), 20);
    struct libspawn_guest_event event;

    put_raw(LINE("before"));
    put_raw(first);
    open_reader(&reader, ".", false);
    put_raw(LINE("a") + 20);
    event = await(&reader);
    ck_assert_str_eq(event.guest, "a");
    assert_none(&reader);
}

/* ---- Where it begins --------------------------------------------------- */

TEST(reader_from_start__reads_both_files_in_order)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;

    put("one");
    rotate();
    put("two");
    open_reader(&reader, ".", true);
    assert_text(&reader, "one");
    assert_text(&reader, "two");
    assert_none(&reader);
}

TEST(reader_from_the_end__reads_what_comes_only)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;

    put("one");
    rotate();
    put("two");
    open_reader(&reader, ".", false);
    assert_none(&reader);
    put("three");
    assert_text(&reader, "three");
    assert_none(&reader);
}

static void
append_kind(uint32_t domid, enum libspawn_guest_event_kind kind)
{
    AUTO_FREE char *state_dir = strdup(harness_dir());
    struct libspawn_host host = { .state_dir = state_dir };
    const struct libspawn__event event = {
        .guest = "g", .domid = domid, .uuid = "u", .kind = kind
    };
    struct libspawn_err err;

    assert_ok(libspawn__event_append(&host, &event, &err), &err);
}

static bool
has_end(uint32_t domid)
{
    const struct libspawn__event event = {
        .guest = "g",
        .domid = domid,
        .uuid = "u",
        .kind = LIBSPAWN_GUEST_EVENT_DESTROYED,
    };

    return libspawn__events_have(harness_dir(), &event);
}

/* A uuid may be that of a configuration, and numbers begin again when the host
 * does. */
TEST(event_was_told__is_of_this_guest_and_not_of_one_before)
{
    ck_assert(!has_end(1));
    append_kind(1, LIBSPAWN_GUEST_EVENT_CREATED);
    ck_assert(!has_end(1));
    append_kind(1, LIBSPAWN_GUEST_EVENT_DESTROYED);
    ck_assert(has_end(1));
    append_kind(2, LIBSPAWN_GUEST_EVENT_CREATED);
    ck_assert(has_end(1));
    ck_assert(!has_end(2));
    append_kind(1, LIBSPAWN_GUEST_EVENT_CREATED);
    ck_assert(!has_end(1));
}

TEST(reader_before_there_is_a_file__reads_its_first_line)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;

    open_reader(&reader, ".", false);
    assert_none(&reader);
    put("first");
    assert_text(&reader, "first");
}

TEST(reader_before_there_is_a_directory__reads_its_first_line)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    AUTO_FREE char *dir =
        libspawn__str_format("%s/run/xl/state", harness_dir());

    open_reader(&reader, dir, false);
    assert_none(&reader);
    ck_assert_int_eq(mkdir("run", 0700), 0);
    assert_none(&reader);
    ck_assert_int_eq(mkdir("run/xl", 0700), 0);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(append_to(dir, 1, "first"), 0);
    assert_text(&reader, "first");
    ck_assert_int_eq(append_to(dir, 1, "second"), 0);
    assert_text(&reader, "second");
    assert_none(&reader);
}

/* ---- Files that change ------------------------------------------------- */

TEST(reader_when_a_file_is_renamed__loses_and_repeats_nothing)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;

    put("one");
    open_reader(&reader, ".", true);
    assert_text(&reader, "one");
    put("two");
    rotate();
    put("three");
    assert_text(&reader, "two");
    assert_text(&reader, "three");
    assert_none(&reader);
}

/* A writer that had it open when it was renamed. */
TEST(reader_line_in_the_older_file__is_read)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    AUTO_FD int late = -1;

    put("one");
    late = open("events", O_WRONLY | O_APPEND | O_CLOEXEC);
    open_reader(&reader, ".", true);
    rotate();
    put("two");
    assert_text(&reader, "one");
    assert_text(&reader, "two");
    assert_none(&reader);
    ck_assert_int_eq(
        libspawn__fd_write_full(late, LINE("late"), strlen(LINE("late"))), 0);
    ck_assert_str_eq(await(&reader).guest, "late");
    assert_none(&reader);
}

/* The first file has no name any more when the reader looks. */
TEST(reader_that_is_late_by_two_renames__reads_all_three_files)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;

    put("one");
    open_reader(&reader, ".", true);
    rotate();
    put("two");
    rotate();
    put("three");
    assert_text(&reader, "one");
    assert_text(&reader, "two");
    assert_text(&reader, "three");
    assert_none(&reader);
}

TEST(reader_of_many_renames__holds_two_files)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    int i;

    open_reader(&reader, ".", true);
    for (i = 0; i < 50; i++) {
        char text[16];

        snprintf(text, sizeof text, "%d", i);
        put(text);
        assert_text(&reader, text);
        rotate();
        assert_none(&reader);
        ck_assert_uint_le(reader.n_files, 2);
    }
    ck_assert_uint_eq(reader.n_skipped, 0);
}

TEST(reader_when_the_files_are_removed__goes_on_with_the_next)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;

    put("one");
    rotate();
    put("two");
    open_reader(&reader, ".", true);
    assert_text(&reader, "one");
    ck_assert_int_eq(unlink("events"), 0);
    ck_assert_int_eq(unlink("events.1"), 0);
    assert_text(&reader, "two");
    put("three");
    assert_text(&reader, "three");
    assert_none(&reader);
}

TEST(reader_when_the_file_is_emptied__reads_what_comes)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;

    put("one, which is longer");
    open_reader(&reader, ".", true);
    assert_text(&reader, "one, which is longer");
    ck_assert_int_eq(truncate("events", 0), 0);
    assert_none(&reader);
    put("two");
    assert_text(&reader, "two");
    assert_none(&reader);
}

TEST(reader_when_the_directory_goes_and_comes__goes_on)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    AUTO_FREE char *dir = libspawn__str_format("%s/state", harness_dir());
    struct libspawn_err err;

    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(append_to(dir, 1, "one"), 0);
    open_reader(&reader, dir, true);
    assert_text(&reader, "one");
    assert_ok(libspawn__dir_remove_tree(dir, &err), &err);
    assert_none(&reader);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(append_to(dir, 1, "two"), 0);
    assert_text(&reader, "two");
    ck_assert_int_eq(rename(dir, "moved"), 0);
    assert_none(&reader);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(append_to(dir, 1, "three"), 0);
    assert_text(&reader, "three");
    assert_none(&reader);
}

/* They are read once there is a descriptor, and none of them twice. */
TEST(reader_without_descriptors__goes_on_when_there_are_some)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    struct libspawn_guest_event event;
    struct rlimit limit;
    rlim_t usual;

    put("one");
    open_reader(&reader, ".", true);
    assert_text(&reader, "one");
    rotate();
    put("two");
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    usual = limit.rlim_cur;
    limit.rlim_cur = 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert(!libspawn__events_reader_next(&reader, &event));
    limit.rlim_cur = usual;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    put("three");
    assert_text(&reader, "two");
    assert_text(&reader, "three");
    assert_none(&reader);
}

/* ---- Many writers ------------------------------------------------------ */

enum {
    N_WRITERS = 8,
    N_LINES = 500
};

/* Lines of different lengths: together more than a file, less than two. */
static void
write_many(uint32_t writer)
{
    char padding[401];
    int i;

    memset(padding, 'p', sizeof padding - 1);
    padding[sizeof padding - 1] = '\0';
    for (i = 0; i < N_LINES; i++) {
        char text[500];

        snprintf(text, sizeof text, "%d %.*s", i, i * 37 % 400, padding);
        if (append_to(".", writer, text)) {
            _exit(1);
        }
    }
    _exit(0);
}

static void
start_writers(void)
{
    uint32_t i;

    for (i = 1; i <= N_WRITERS; i++) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (!pid) {
            write_many(i);
        }
    }
}

/* Each line of each writer once, and in its order. */
static void
read_many(struct libspawn__events_reader *reader)
{
    int next[N_WRITERS + 1] = { 0 };
    int n;

    for (n = 0; n < N_WRITERS * N_LINES; n++) {
        struct libspawn_guest_event event = await(reader);

        ck_assert_uint_ge(event.domid, 1);
        ck_assert_uint_le(event.domid, N_WRITERS);
        ck_assert_int_eq(strtol(event.text, NULL, 10), next[event.domid]);
        next[event.domid]++;
    }
    ck_assert_uint_eq(reader->n_skipped, 0);
}

TEST_TIMEOUT(reader_of_many_writers__has_every_line_once_over_a_rename, 60)
{
    AUTO_EVENTS_READER struct libspawn__events_reader follower;
    AUTO_EVENTS_READER struct libspawn__events_reader later;

    open_reader(&follower, ".", false);
    start_writers();
    read_many(&follower);
    ck_assert(harness_wait_children(WAIT_MS));
    assert_none(&follower);
    ck_assert_int_eq(access("events.1", F_OK), 0);
    open_reader(&later, ".", true);
    read_many(&later);
    assert_none(&later);
}

/* ---- Time -------------------------------------------------------------- */

/* A line with the time before each byte that comes. */
static void
write_when_asked(int fd)
{
    char byte;

    while (read(fd, &byte, 1) == 1) {
        char text[32];

        snprintf(text, sizeof text, "%lld", (long long)harness_now_us());
        if (append_to(".", 1, text)) {
            _exit(1);
        }
    }
    _exit(0);
}

/* The median: a busy machine makes some of them late. */
TEST_TIMEOUT(reader_event_of_another_process__is_there_within_5_ms, 60)
{
    enum {
        N = 101,
        MAX_US = 5000
    };
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    int64_t took[N];
    int fds[2];
    int i;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    if (!fork()) {
        close(fds[1]);
        write_when_asked(fds[0]);
    }
    close(fds[0]);
    open_reader(&reader, ".", false);
    for (i = 0; i < N; i++) {
        struct libspawn_guest_event event;

        ck_assert_int_eq(write(fds[1], "x", 1), 1);
        event = await(&reader);
        took[i] = harness_now_us() - strtoll(event.text, NULL, 10);
    }
    close(fds[1]);
    ck_assert(harness_wait_children(WAIT_MS));
    ck_assert_int_le(harness_median(took, N), MAX_US);
}

/* ---- On the loop of a context ------------------------------------------ */

struct followed {
    struct libspawn_host host;
    struct libspawn_events *events;
    char texts[256]; /* one behind the other, each with a blank */
    size_t n;
    size_t n_close; /* after so many it closes them */
};

static void
on_event(void *user, const struct libspawn_guest_event *event)
{
    struct followed *followed = user;
    size_t len = strlen(followed->texts);

    followed->n++;
    if (event->text && len < 200) {
        snprintf(followed->texts + len, sizeof followed->texts - len, "%s ",
                 event->text);
    }
    if (followed->n == followed->n_close) {
        libspawn_events_close(followed->events);
        followed->events = NULL;
    }
}

static void
begin_following(struct followed *followed, bool from_start)
{
    static char dir[] = ".";
    struct libspawn_err err;

    followed->host.state_dir = dir;
    assert_ok(libspawn_ctx_new(NULL, &followed->host.ctx, &err), &err);
    assert_ok(libspawn_events_open(&followed->host, from_start, on_event,
                                   followed, &followed->events, &err),
              &err);
}

static void
await_events(struct followed *followed, size_t n)
{
    struct libspawn_err err;
    int64_t deadline = libspawn__clock_now_ms() + WAIT_MS;

    while (followed->n < n) {
        ck_assert_int_lt(libspawn__clock_now_ms(), deadline);
        assert_ok(libspawn_ctx_wait(followed->host.ctx, WAIT_MS, &err), &err);
    }
    ck_assert_uint_eq(followed->n, n);
}

static void
end_following(struct followed *followed)
{
    libspawn_events_close(followed->events);
    libspawn_ctx_free(followed->host.ctx);
}

TEST(events_on_a_context__come_from_dispatch_in_order)
{
    struct followed followed = { .n = 0 };

    put("one");
    begin_following(&followed, true);
    ck_assert_uint_eq(followed.n, 0);
    await_events(&followed, 1);
    put("two");
    rotate();
    put("three");
    await_events(&followed, 3);
    ck_assert_str_eq(followed.texts, "one two three ");
    ck_assert(!harness_wait_readable(libspawn_ctx_fd(followed.host.ctx), 50));
    end_following(&followed);
}

TEST(events_closed_by_their_callback__come_no_more)
{
    struct followed followed = { .n_close = 2 };
    struct libspawn_err err;

    put("one");
    put("two");
    put("three");
    begin_following(&followed, true);
    await_events(&followed, 2);
    put("four");
    assert_ok(libspawn_ctx_dispatch(followed.host.ctx, &err), &err);
    ck_assert_str_eq(followed.texts, "one two ");
    end_following(&followed);
}

TEST(events_in_a_crowd__leave_turns_to_others)
{
    struct followed followed = { .n = 0 };
    struct libspawn_err err;
    int i;

    for (i = 0; i < 1000; i++) {
        put_raw(LINE("g"));
    }
    begin_following(&followed, true);
    assert_ok(libspawn_ctx_dispatch(followed.host.ctx, &err), &err);
    ck_assert_uint_gt(followed.n, 0);
    ck_assert_uint_lt(followed.n, 1000);
    await_events(&followed, 1000);
    end_following(&followed);
}

TEST(events_null__is_closed_already)
{
    libspawn_events_close(NULL);
}

/* Where the host has no inotify instance left, they are late, but come. */
TEST(events_without_inotify__come_too)
{
    struct followed followed = { .n = 0 };
    struct rlimit limit;
    rlim_t usual;
    struct libspawn_err err;
    static char dir[] = ".";

    followed.host.state_dir = dir;
    assert_ok(libspawn_ctx_new(NULL, &followed.host.ctx, &err), &err);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    usual = limit.rlim_cur;
    limit.rlim_cur = 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_ok(libspawn_events_open(&followed.host, false, on_event, &followed,
                                   &followed.events, &err),
              &err);
    limit.rlim_cur = usual;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    put("one");
    await_events(&followed, 1);
    put("two");
    await_events(&followed, 2);
    end_following(&followed);
}

TEST_MAIN("events_reader")
