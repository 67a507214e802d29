/*
 * guest/events.c: lines that are appended by many, and a file that is full,
 * on a disk that is full, or no file at all.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/events.h"
#include "guest/events_reader.h"
#include "proc/lock.h"
#include "tests/lib/harness.h"

static int
append_in(const char *dir, const struct libspawn__event *event,
          struct libspawn_err *err)
{
    AUTO_FREE char *state_dir = strdup(dir);
    struct libspawn_host host = { .state_dir = state_dir };

    return libspawn__event_append(&host, event, err);
}

static int
append_text(const char *text, struct libspawn_err *err)
{
    const struct libspawn__event event = {
        .guest = "win7",
        .domid = 3,
        .kind = LIBSPAWN_GUEST_EVENT_DM_DIED,
        .reason = "killed",
        .text = text,
    };

    return append_in(".", &event, err);
}

static void
put_text(const char *text)
{
    struct libspawn_err err;

    assert_ok(append_text(text, &err), &err);
}

/* How many lines of the two files make sense, and how many do not. */
static size_t
count_lines(const char *dir, uint64_t *n_bad_r)
{
    AUTO_EVENTS_READER struct libspawn__events_reader reader;
    struct libspawn_guest_event event;
    struct libspawn_err err;
    size_t n = 0;

    assert_ok(libspawn__events_reader_open(&reader, dir, true, &err), &err);
    while (libspawn__events_reader_next(&reader, &event)) {
        n++;
    }
    *n_bad_r = reader.n_skipped;
    return n;
}

static void
assert_lines(const char *dir, size_t n_good, uint64_t n_bad)
{
    uint64_t n;

    ck_assert_uint_eq(count_lines(dir, &n), n_good);
    ck_assert_uint_eq(n, n_bad);
}

/* A file of 'size' bytes of good lines, or a little less. */
static size_t
fill_file(const char *path, size_t size)
{
    static const char line[] =
        "{\"time\":\"2026-11-21T12:00:00.123Z\",\"guest\":\"old\","
        "\"event\":\"paused\"}\n";
    AUTO_BUF struct libspawn__buf buf = { 0 };
    size_t n = 0;

    while (buf.size + sizeof line <= size) {
        libspawn__buf_puts(&buf, line);
        n++;
    }
    harness_write_file(path, buf.data);
    return n;
}

/* ---- A line ------------------------------------------------------------ */

TEST(event_line__has_every_member_in_order_and_ends)
{
    const struct libspawn__event event = {
        .guest = "a\nb",
        .domid = 7,
        .uuid = "dc7fc62c-6cdb-4713-836b-9f2472350fd1",
        .kind = LIBSPAWN_GUEST_EVENT_SHUTDOWN,
        .reason = "poweroff",
        .text = "\x1b[31mred",
    };
    AUTO_FREE char *text = NULL;
    struct libspawn_err err;

    assert_ok(append_in(".", &event, &err), &err);
    text = harness_read_file("events");
    assert_contains(text, "{\"time\":\"2");
    ck_assert_str_eq(strstr(text, "Z\",") + 3,
                     "\"guest\":\"a\\nb\",\"domid\":7,"
                     "\"uuid\":\"dc7fc62c-6cdb-4713-836b-9f2472350fd1\","
                     "\"event\":\"shutdown\",\"reason\":\"poweroff\","
                     "\"text\":\"\\u001B[31mred\"}\n");
}

TEST(event_without_the_rest__has_guest_and_event_only)
{
    const struct libspawn__event event = {
        .guest = "a", .kind = LIBSPAWN_GUEST_EVENT_CREATE_FAILED
    };
    AUTO_FREE char *text = NULL;
    struct libspawn_err err;

    assert_ok(append_in(".", &event, &err), &err);
    text = harness_read_file("events");
    ck_assert_str_eq(strstr(text, "Z\",") + 3,
                     "\"guest\":\"a\",\"event\":\"create-failed\"}\n");
}

TEST(event_kinds__have_names_that_lead_back)
{
    int kind;

    for (kind = LIBSPAWN_GUEST_EVENT_CREATED;
         kind <= LIBSPAWN_GUEST_EVENT_SCRIPT_ENDED; kind++) {
        const char *name =
            libspawn__event_name((enum libspawn_guest_event_kind)kind);

        ck_assert_ptr_nonnull(name);
        ck_assert_int_eq(libspawn__event_kind(name), kind);
    }
    ck_assert_ptr_null(
        libspawn__event_name((enum libspawn_guest_event_kind)kind));
    ck_assert_int_eq(libspawn__event_kind("?"), LIBSPAWN_GUEST_EVENT_OTHER);
}

/* Each of its characters takes six bytes in the line. */
TEST(event_text_too_long__is_cut_and_the_line_is_whole)
{
    AUTO_FREE char *line = NULL;
    char text[6000];
    int i;

    for (i = 0; i < (int)sizeof text - 1; i++) {
        text[i] = (char)(i % 3 ? 0x01 : 'x');
    }
    text[i] = '\0';
    put_text(text);
    line = harness_read_file("events");
    ck_assert_uint_le(strlen(line), LIBSPAWN__EVENT_LINE_MAX);
    assert_lines(".", 1, 0);
}

/* 'a' and then characters of two bytes: one would be cut in two. */
TEST(event_text_cut__ends_with_a_whole_character)
{
    AUTO_FREE char *line = NULL;
    char text[2][6001];
    int i;

    for (i = 0; i < 3000; i++) {
        memcpy(&text[0][2 * i], "\xc3\xa4", 2);
    }
    text[0][6000] = '\0';
    snprintf(text[1], sizeof text[1], "a%.5998s", text[0]);
    put_text(text[0]);
    put_text(text[1]);
    line = harness_read_file("events");
    assert_lacks(line, "\xef\xbf\xbd");
    assert_lines(".", 2, 0);
}

TEST(event_name_too_long__is_refused_and_nothing_written)
{
    char name[5000];
    const struct libspawn__event event = { .guest = name,
                                           .kind = LIBSPAWN_GUEST_EVENT_PAUSED,
                                           .text = "why" };

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_code(append_in(".", &event, NULL), LIBSPAWN_ERR_LIMIT);
    ck_assert_int_lt(access("events", F_OK), 0);
}

/* ---- The file ---------------------------------------------------------- */

TEST(event_file__is_for_nobody_else)
{
    struct stat st;

    put_text("x");
    ck_assert_int_eq(stat("events", &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
}

TEST(event_file_full__becomes_the_older_one_and_nothing_is_lost)
{
    size_t n = fill_file("events", LIBSPAWN__EVENT_FILE_MAX);
    struct stat st;

    put_text("x");
    assert_lines(".", n + 1, 0);
    ck_assert_int_eq(stat("events", &st), 0);
    ck_assert_int_lt(st.st_size, LIBSPAWN__EVENT_LINE_MAX);
}

TEST(event_file_full_again__keeps_one_older_one)
{
    fill_file("events.1", 1000);
    fill_file("events", LIBSPAWN__EVENT_FILE_MAX);
    put_text("x");
    ck_assert_int_lt(access("events.2", F_OK), 0);
    ck_assert_int_eq(access("events.1", F_OK), 0);
}

/* The lock may be held by somebody who was stopped: nobody waits for it. */
TEST(event_file_full_while_locked__grows_on)
{
    static const struct libspawn__lock_request request = {
        .path = "locks/events", .name = "the lock"
    };
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    size_t n = fill_file("events", LIBSPAWN__EVENT_FILE_MAX);
    struct libspawn_err err;

    ck_assert_int_eq(mkdir("locks", 0700), 0);
    if (!fork()) {
        _exit(libspawn__lock_try(&request, &lock, NULL) || raise(SIGSTOP));
    }
    ck_assert_int_gt(waitpid(-1, NULL, WUNTRACED), 0);
    put_text("x");
    ck_assert_int_lt(access("events.1", F_OK), 0);
    assert_lines(".", n + 1, 0);
    harness_end_children();
    assert_ok(libspawn__lock_try(&request, &lock, &err), &err);
}

TEST(event_file_is_something_else__is_an_error_at_once)
{
    ck_assert_int_eq(mkfifo("events", 0600), 0);
    ck_assert_int_lt(append_text("x", NULL), 0);
    ck_assert_int_eq(unlink("events"), 0);
    ck_assert_int_eq(mkdir("events", 0700), 0);
    assert_code(append_text("x", NULL), LIBSPAWN_ERR_INVALID);
    ck_assert_int_eq(rmdir("events"), 0);
    ck_assert_int_eq(symlink("elsewhere", "events"), 0);
    ck_assert_int_lt(append_text("x", NULL), 0);
    ck_assert_int_lt(access("elsewhere", F_OK), 0);
}

TEST(event_directory_missing__is_an_error_that_names_the_file)
{
    const struct libspawn__event event = {
        .guest = "a", .kind = LIBSPAWN_GUEST_EVENT_PAUSED
    };
    struct libspawn_err err;

    assert_code(append_in("nowhere", &event, &err), LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "'nowhere/events'");
}

/* ---- A disk that is full ----------------------------------------------- */

/* The next line must not be joined to what is left of that one. */
TEST(event_behind_a_torn_line__is_a_line_of_its_own)
{
    harness_write_file("events", "{\"time\":\"2026-");
    put_text("x");
    put_text("y");
    assert_lines(".", 2, 1);
}

/* The signal of that limit would end a process that does not expect it. */
TEST(event_beyond_the_file_size_limit__is_an_error_and_no_signal)
{
    struct rlimit limit;
    size_t n = fill_file("events", 1000);
    struct libspawn_err err;
    struct stat st;
    sigset_t pending;

    ck_assert_int_eq(stat("events", &st), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = (rlim_t)st.st_size;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_code(append_text("x", &err), LIBSPAWN_ERR_LIMIT);
    assert_contains(err.text, "writing './events'");
    limit.rlim_cur += 10;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_code(append_text("x", &err), LIBSPAWN_ERR_LIMIT);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(sigpending(&pending), 0);
    ck_assert_int_eq(sigismember(&pending, SIGXFSZ), 0);
    put_text("y");
    assert_lines(".", n + 1, 1);
}

TEST(event_on_a_full_disk__is_an_error_and_later_ones_are_whole)
{
    const struct libspawn__event event = { .guest = "a",
                                           .kind = LIBSPAWN_GUEST_EVENT_PAUSED,
                                           .text = "why" };
    struct libspawn_err err;
    int n = 0;

    if (unshare(CLONE_NEWNS) < 0 || mkdir("small", 0755) < 0 ||
        mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "small", "tmpfs", 0, "size=16k") < 0) {
        TEST_SKIP("no file system of our own can be mounted here");
    }
    harness_write_file("small/ballast", "x");
    while (!append_in("small", &event, &err)) {
        ck_assert_int_lt(++n, 16384 / 64);
    }
    ck_assert_int_eq(err.code, LIBSPAWN_ERR_LIMIT);
    assert_contains(err.text, "No space left on device");
    ck_assert_int_lt(append_in("small", &event, NULL), 0);
    ck_assert_int_eq(unlink("small/ballast"), 0);
    assert_ok(append_in("small", &event, &err), &err);
    assert_lines("small", (size_t)n + 1, 1);
    ck_assert_int_eq(umount("small"), 0);
}

TEST_MAIN("events")
