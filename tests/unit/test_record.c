/*
 * proc/record.c: written, read back, and read when somebody else wrote it.
 */
#include <signal.h>
#include <string.h>

#include "base/util.h"
#include "proc/record.h"
#include "tests/lib/harness.h"

#define BOOT_ID "0b1e9a3c-7a55-4a44-9f65-2d8f6a1c0e11"
#define CHILD "child=42 1234567890123 " BOOT_ID "\n"

static struct libspawn__store *
open_store(void)
{
    struct libspawn__store *store;
    struct libspawn_err err;

    assert_ok(libspawn__store_open("dir:store", &store, &err), &err);
    return store;
}

static struct libspawn__record
full_record(void)
{
    struct libspawn__record record = {
        .state = LIBSPAWN__RECORD_RUNNING,
        .child = { BOOT_ID, 42, 1234567890123 },
        .watcher = { BOOT_ID, 41, 1 },
        .caller = { BOOT_ID, 2147483647, 0 },
        .started_at_ms = 1700000000123,
    };

    return record;
}

static int
parse(const char *text, struct libspawn__record *record,
      struct libspawn_err *err)
{
    return libspawn__record_parse(text, strlen(text), record, err);
}

static void
assert_same_identity(const struct libspawn__identity *a,
                     const struct libspawn__identity *b)
{
    ck_assert_int_eq(a->pid, b->pid);
    ck_assert(a->start_time == b->start_time);
    ck_assert_str_eq(a->boot_id, b->boot_id);
}

/* ---- Written and read -------------------------------------------------- */

TEST(record_written__is_read_back_the_same)
{
    struct libspawn__store *store = open_store();
    struct libspawn__record record = full_record();
    struct libspawn__record copy;
    struct libspawn_err err;

    assert_ok(libspawn__record_write(store, "/r", &record, &err), &err);
    assert_ok(libspawn__record_read(store, "/r", &copy, &err), &err);
    ck_assert_int_eq(copy.state, LIBSPAWN__RECORD_RUNNING);
    assert_same_identity(&copy.child, &record.child);
    assert_same_identity(&copy.watcher, &record.watcher);
    assert_same_identity(&copy.caller, &record.caller);
    ck_assert(copy.started_at_ms == record.started_at_ms);
    ck_assert(!copy.is_known);
    libspawn__store_close(store);
}

TEST(record_of_an_end__keeps_what_it_used)
{
    struct libspawn__store *store = open_store();
    struct libspawn__record record = full_record();
    struct libspawn__record copy;

    record.state = LIBSPAWN__RECORD_EXITED;
    record.lived_ms = 9876;
    record.oom = LIBSPAWN__OOM_YES;
    assert_ok(libspawn__record_write(store, "/r", &record, NULL), NULL);
    assert_ok(libspawn__record_read(store, "/r", &copy, NULL), NULL);
    ck_assert(!copy.has_usage);
    record.has_usage = true;
    record.user_us = 1;
    record.system_us = 2;
    record.max_rss_kib = 3;
    assert_ok(libspawn__record_write(store, "/r", &record, NULL), NULL);
    assert_ok(libspawn__record_read(store, "/r", &copy, NULL), NULL);
    ck_assert(copy.lived_ms == 9876 && copy.oom == LIBSPAWN__OOM_YES);
    ck_assert(copy.has_usage && copy.user_us == 1 && copy.system_us == 2 &&
              copy.max_rss_kib == 3);
    libspawn__store_close(store);
}

TEST(strings_of_a_record__are_kept_if_they_are_lines_and_fit)
{
    static char long_path[5000];
    char newline[] = "two\nlines";
    char guest[] = "win7";
    struct libspawn__record_text text = { .label = newline,
                                          .guest = guest,
                                          .log_path = long_path };
    AUTO_RECORD_TEXT struct libspawn__record_text copy = { 0 };
    struct libspawn__store *store = open_store();
    struct libspawn__record record = full_record();

    memset(long_path, 'x', sizeof long_path - 1);
    record.text = &text;
    assert_ok(libspawn__strv_add(&text.pid_nodes, "/a", NULL), NULL);
    assert_ok(libspawn__strv_add(&text.pid_nodes, "/b", NULL), NULL);
    assert_ok(libspawn__record_write(store, "/r", &record, NULL), NULL);
    assert_ok(
        libspawn__record_read_text(store, "/r", &record, &copy, NULL), NULL);
    ck_assert_str_eq(copy.guest, "win7");
    ck_assert_ptr_null(copy.label);
    ck_assert_ptr_null(copy.log_path);
    ck_assert_uint_eq(copy.pid_nodes.n_items, 2);
    libspawn__strv_dispose(&text.pid_nodes);
    libspawn__store_close(store);
}

/* Of another process, or ended: somebody knows better. */
TEST(end_of_a_record__is_written_once_and_only_for_its_process)
{
    struct libspawn__store *store = open_store();
    struct libspawn__record record = full_record();
    struct libspawn__record copy;

    record.is_known = true;
    assert_ok(libspawn__record_write(store, "/r", &record, NULL), NULL);
    record.state = LIBSPAWN__RECORD_EXITED;
    record.child.start_time++;
    assert_ok(libspawn__record_write_end(store, "/r", &record, NULL), NULL);
    assert_ok(libspawn__record_read(store, "/r", &copy, NULL), NULL);
    ck_assert_int_eq(copy.state, LIBSPAWN__RECORD_RUNNING);
    record.child.start_time--;
    record.wait_status = 7 << 8;
    assert_ok(libspawn__record_write_end(store, "/r", &record, NULL), NULL);
    record.is_known = false;
    assert_ok(libspawn__record_write_end(store, "/r", &record, NULL), NULL);
    assert_ok(libspawn__record_read(store, "/r", &copy, NULL), NULL);
    ck_assert_int_eq(copy.wait_status, 7 << 8);
    assert_ok(libspawn__record_write_end(store, "/none", &record, NULL), NULL);
    assert_code(libspawn__record_read(store, "/none", &copy, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    libspawn__store_close(store);
}

TEST(record_of_an_end__keeps_status_and_time)
{
    static const int statuses[] = { 0, 3 << 8, SIGKILL, SIGSEGV | 0x80 };
    struct libspawn__store *store = open_store();
    struct libspawn__record record = full_record();
    struct libspawn__record copy;
    size_t i;

    record.state = LIBSPAWN__RECORD_EXITED;
    record.is_known = true;
    record.ended_at_ms = 1700000009999;
    for (i = 0; i < ARRAY_SIZE(statuses); i++) {
        record.wait_status = statuses[i];
        assert_ok(libspawn__record_write(store, "/r", &record, NULL), NULL);
        assert_ok(libspawn__record_read(store, "/r", &copy, NULL), NULL);
        ck_assert(copy.is_known);
        ck_assert_int_eq(copy.wait_status, statuses[i]);
        ck_assert(copy.ended_at_ms == record.ended_at_ms);
    }
    libspawn__store_close(store);
}

TEST(record_of_an_unknown_end__says_so)
{
    struct libspawn__store *store = open_store();
    struct libspawn__record record = full_record();
    struct libspawn__record copy;

    record.state = LIBSPAWN__RECORD_EXITED;
    assert_ok(libspawn__record_write(store, "/r", &record, NULL), NULL);
    assert_ok(libspawn__record_read(store, "/r", &copy, NULL), NULL);
    ck_assert_int_eq(copy.state, LIBSPAWN__RECORD_EXITED);
    ck_assert(!copy.is_known);
    libspawn__store_close(store);
}

TEST(record_missing__is_not_found)
{
    struct libspawn__store *store = open_store();
    struct libspawn__record copy;

    assert_code(libspawn__record_read(store, "/r", &copy, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    libspawn__store_close(store);
}

/* ---- What somebody else wrote ------------------------------------------ */

TEST(record_of_a_later_version__is_read_as_far_as_known)
{
    struct libspawn__record record;
    struct libspawn_err err;

    assert_ok(parse("version=1\nstate=running\n" CHILD "mood=good\n", &record,
                    &err),
              &err);
    ck_assert_int_eq(record.child.pid, 42);
}

TEST(record_with_bad_lines__is_refused_and_the_line_is_named)
{
    static const char *const lines[] = {
        "version=2",
        "state=dancing",
        "state=",
        "no equals sign",
        "child=",
        "child=42",
        "child=42 1",
        "child=0 1 " BOOT_ID,
        "child=-42 1 " BOOT_ID,
        "child=2147483648 1 " BOOT_ID,
        "child=4294967338 1 " BOOT_ID,
        "child=42x 1 " BOOT_ID,
        "child=42 -1 " BOOT_ID,
        "child=42 99999999999999999999 " BOOT_ID,
        "child=42 1 short",
        "child=42 1 " BOOT_ID "x",
        "child=42 1 " BOOT_ID " more",
        "watcher=none",
        "wait-status=65536",
        "wait-status=-1",
        "wait-status=maybe",
        "started-at=yesterday",
        "started-at=9223372036854775808",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(lines); i++) {
        AUTO_FREE char *text = libspawn__str_format(CHILD "%s\n", lines[i]);
        struct libspawn__record record = { .started_at_ms = 77 };
        struct libspawn_err err;

        ck_assert_msg(parse(text, &record, &err) == LIBSPAWN_ERR_PROTOCOL,
                      "accepted: %s", lines[i]);
        assert_contains(err.text, "bad line");
        ck_assert_int_eq(record.started_at_ms, 77);
    }
}

TEST(record_without_child__is_refused)
{
    struct libspawn__record record;
    struct libspawn_err err;

    assert_code(parse("", &record, &err), LIBSPAWN_ERR_PROTOCOL);
    assert_code(parse("version=1\nstate=running\n", &record, &err),
                LIBSPAWN_ERR_PROTOCOL);
    assert_contains(err.text, "names no process");
}

/* A value in the store may hold anything. */
TEST(record_that_ends_in_the_middle__is_not_read_beyond)
{
    AUTO_FREE char *text = strdup("version=1\nstate=running\n" CHILD);
    size_t size = strlen(text);
    size_t i;

    for (i = 0; i < size; i++) {
        AUTO_FREE char *part = malloc(i ? i : 1);
        struct libspawn__record record;

        memcpy(part, text, i);
        libspawn__record_parse(part, i, &record, NULL);
    }
}

TEST_MAIN("record")
