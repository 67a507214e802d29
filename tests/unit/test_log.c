/*
 * proc/log.c: the bounded file and the last lines.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/log.h"
#include "proc/protocol.h"
#include "tests/lib/harness.h"

#define AUTO_LOG AUTO(libspawn__log_close)

static void
open_log(struct libspawn__log *log, const char *path, uint64_t max_size,
         unsigned int n_old)
{
    struct libspawn_err err;

    assert_ok(libspawn__log_open(log, path, max_size, n_old, &err), &err);
}

static void
put(struct libspawn__log *log, const char *text)
{
    libspawn__log_write(log, text, strlen(text));
}

static const char *
tail_of(const struct libspawn__log *log)
{
    static char tail[LIBSPAWN__TAIL_SIZE];
    size_t size = libspawn__log_copy_tail(log, tail, sizeof tail);

    ck_assert_uint_eq(size, strlen(tail));
    return tail;
}

static void
assert_content(const char *path, const char *text)
{
    AUTO_FREE char *content = harness_read_file(path);

    ck_assert_str_eq(content, text);
}

/* ---- The file ---------------------------------------------------------- */

TEST(log_file__has_what_was_written_and_is_not_for_others)
{
    AUTO_LOG struct libspawn__log log;
    struct stat st;

    open_log(&log, "l", 100, 2);
    put(&log, "one\n");
    put(&log, "two\n");
    assert_content("l", "one\ntwo\n");
    ck_assert_int_eq(stat("l", &st), 0);
    ck_assert_int_eq(st.st_mode & 07, 0);
}

TEST(log_full__begins_a_new_generation_and_drops_the_oldest)
{
    AUTO_LOG struct libspawn__log log;

    open_log(&log, "l", 8, 2);
    put(&log, "aaaaaaa\n");
    put(&log, "bbbbbbb\n");
    put(&log, "ccccccc\n");
    put(&log, "ddddddd\n");
    assert_content("l", "ddddddd\n");
    assert_content("l.1", "ccccccc\n");
    assert_content("l.2", "bbbbbbb\n");
    ck_assert_int_ne(access("l.3", F_OK), 0);
}

TEST(log_opened_again__keeps_the_old_one_as_a_generation)
{
    struct libspawn__log log;

    open_log(&log, "l", 100, 2);
    put(&log, "first\n");
    libspawn__log_close(&log);
    open_log(&log, "l", 100, 2);
    put(&log, "second\n");
    libspawn__log_close(&log);
    assert_content("l", "second\n");
    assert_content("l.1", "first\n");
}

/* A start that wrote nothing pushes nothing out. */
TEST(log_empty__is_no_generation)
{
    struct libspawn__log log;

    open_log(&log, "l", 100, 2);
    put(&log, "first\n");
    libspawn__log_close(&log);
    open_log(&log, "l", 100, 2);
    libspawn__log_close(&log);
    open_log(&log, "l", 100, 2);
    libspawn__log_close(&log);
    assert_content("l.1", "first\n");
    ck_assert_int_ne(access("l.2", F_OK), 0);
}

/* One that somebody removed by hand does not stop the others. */
TEST(log_generation_missing__takes_the_next)
{
    struct libspawn__log log;

    harness_write_file("l", "now\n");
    harness_write_file("l.2", "older\n");
    open_log(&log, "l", 100, 4);
    libspawn__log_close(&log);
    assert_content("l.1", "now\n");
    assert_content("l.2", "older\n");
}

TEST(log_with_countless_generations__opens_at_once)
{
    struct libspawn__log log;

    harness_write_file("l", "now\n");
    open_log(&log, "l", 100, 4294967295U);
    libspawn__log_close(&log);
    assert_content("l.1", "now\n");
}

TEST(log_piece_larger_than_the_file__is_split)
{
    AUTO_LOG struct libspawn__log log;

    open_log(&log, "l", 4, 3);
    put(&log, "0123456789");
    assert_content("l", "89");
    assert_content("l.1", "4567");
    assert_content("l.2", "0123");
}

TEST(log_without_room_at_all__is_still_written)
{
    AUTO_LOG struct libspawn__log log;

    open_log(&log, "l", 0, 1);
    put(&log, "abc");
    assert_content("l", "c");
    assert_content("l.1", "b");
}

TEST(log_that_cannot_be_opened__is_an_error)
{
    struct libspawn__log log;
    struct libspawn_err err;

    assert_code(libspawn__log_open(&log, "missing/l", 1, 1, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "'missing/l'");
    libspawn__log_close(&log);
}

TEST(log_that_vanishes__comes_back_with_the_next_file)
{
    AUTO_LOG struct libspawn__log log;

    open_log(&log, "l", 8, 1);
    put(&log, "aaaaaaa\n");
    ck_assert_int_eq(unlink("l"), 0);
    put(&log, "bbbbbbb\n");
    assert_content("l", "bbbbbbb\n");
}

/* ---- Time stamps ------------------------------------------------------- */

/* The file with each stamp as one T: what is not a stamp stays. */
static char *
read_stamped(const char *path)
{
    static const char form[] = "0000-00-00T00:00:00.000Z ";
    char *text = harness_read_file(path);
    char *from = text;
    char *to = text;

    while (*from) {
        size_t i;

        for (i = 0; form[i]; i++) {
            if (form[i] == '0' ? from[i] < '0' || from[i] > '9'
                               : from[i] != form[i]) {
                break;
            }
        }
        *to++ = form[i] ? *from : 'T';
        from += form[i] ? 1 : i;
    }
    *to = '\0';
    return text;
}

static void
assert_stamped(const char *path, const char *expected)
{
    AUTO_FREE char *text = read_stamped(path);

    ck_assert_str_eq(text, expected);
}

static void
open_stamped(struct libspawn__log *log, uint64_t max_size)
{
    open_log(log, "l", max_size, 2);
    log->is_stamped = true;
}

TEST(log_with_stamps__each_line_has_one_and_the_tail_none)
{
    AUTO_LOG struct libspawn__log log;

    open_stamped(&log, 1000);
    put(&log, "one\ntwo\n");
    put(&log, "\nfour\n");
    assert_stamped("l", "Tone\nTtwo\nT\nTfour\n");
    ck_assert_str_eq(tail_of(&log), "one\ntwo\n\nfour\n");
}

TEST(log_with_stamps__a_line_in_pieces_has_one)
{
    AUTO_LOG struct libspawn__log log;

    open_stamped(&log, 1000);
    put(&log, "a");
    put(&log, "b");
    put(&log, "c\nd");
    put(&log, "\n");
    put(&log, "e");
    assert_stamped("l", "Tabc\nTd\nTe");
}

/* A line of the watcher does not continue one of the child. */
TEST(log_note_in_the_middle_of_a_line__begins_another)
{
    AUTO_LOG struct libspawn__log log;

    open_stamped(&log, 1000);
    put(&log, "cut");
    libspawn__log_note(&log, "note\n", 5);
    put(&log, "more\n");
    assert_stamped("l", "Tcut\nTnote\nTmore\n");
    log.is_stamped = false;
    put(&log, "cut");
    libspawn__log_note(&log, "note\n", 5);
    assert_stamped("l", "Tcut\nTnote\nTmore\ncut\nnote\n");
    ck_assert_str_eq(tail_of(&log), "cutmore\ncut\n");
}

TEST(log_with_stamps_full__the_new_file_begins_with_one)
{
    AUTO_LOG struct libspawn__log log;

    open_stamped(&log, 60);
    put(&log, "one\n");
    put(&log, "two\n");
    put(&log, "three\n");
    assert_stamped("l.1", "Tone\nTtwo\n");
    assert_stamped("l", "Tthree\n");
}

TEST(log_with_stamps__a_long_text_is_complete)
{
    enum { SIZE = 20000 };
    AUTO_LOG struct libspawn__log log;
    AUTO_FREE char *text = NULL;
    static char lines[SIZE + 1];
    size_t n_lines = 1;
    size_t i;

    /* Lines of every length, one of them longer than any buffer. */
    memset(lines, 'x', SIZE);
    for (i = 0; i < 9000; i += 1 + i / 40) {
        lines[i] = '\n';
        n_lines++;
    }
    open_stamped(&log, 1000000);
    put(&log, lines);
    text = read_stamped("l");
    for (i = 0; text[i]; i++) {
        ck_assert((text[i] == 'T') == (!i || text[i - 1] == '\n'));
    }
    ck_assert_uint_eq(i, SIZE + n_lines);
}

/* Between two programs a line may be open. */
TEST(log_resumed_in_the_middle_of_a_line__does_not_stamp_its_rest)
{
    struct libspawn__log log;
    AUTO_LOG struct libspawn__log next;
    struct libspawn__log_state state;
    struct libspawn_err err;

    open_stamped(&log, 1000);
    put(&log, "be");
    libspawn__log_save(&log, &state);
    assert_ok(libspawn__log_resume(&next, "l", 1000, 2, TAKE_FD(log.fd),
                                   &state, &err),
              &err);
    next.is_stamped = true;
    put(&next, "gun\nnext\n");
    assert_stamped("l", "Tbegun\nTnext\n");
    libspawn__log_close(&log);
}

TEST(clock_format__is_iso_8601_in_utc)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { -1, "1970-01-01T00:00:00.000Z" },
        { INT64_C(951827696789), "2000-02-29T12:34:56.789Z" },
        { INT64_C(4107542400000), "2100-03-01T00:00:00.000Z" },
        { INT64_C(253402300799999), "9999-12-31T23:59:59.999Z" },
        { INT64_MAX, "9999-12-31T23:59:59.999Z" },
    };
    char text[LIBSPAWN__CLOCK_TEXT_SIZE];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        libspawn__clock_format(cases[i].ms, text);
        ck_assert_str_eq(text, cases[i].text);
    }
}

/* Every day of four centuries, against the C library. */
TEST(clock_format_of_any_day__is_that_of_gmtime)
{
    char text[LIBSPAWN__CLOCK_TEXT_SIZE];
    char expected[LIBSPAWN__CLOCK_TEXT_SIZE];
    time_t day;

    for (day = 0; day < 400 * 366; day++) {
        time_t seconds = day * 86400 + day % 86400;
        struct tm tm;

        ck_assert_ptr_nonnull(gmtime_r(&seconds, &tm));
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
        libspawn__clock_format((int64_t)seconds * 1000, text);
        ck_assert_str_eq(text, expected);
    }
}

/* ---- The tail ---------------------------------------------------------- */

TEST(tail_of_nothing__is_empty)
{
    AUTO_LOG struct libspawn__log log;

    open_log(&log, NULL, 0, 0);
    ck_assert_str_eq(tail_of(&log), "");
}

TEST(tail_of_few_lines__is_all_of_them)
{
    AUTO_LOG struct libspawn__log log;

    open_log(&log, NULL, 0, 0);
    put(&log, "one\n\nthree");
    ck_assert_str_eq(tail_of(&log), "one\n\nthree\n");
}

static void
put_lines(struct libspawn__log *log, unsigned int first, unsigned int last)
{
    for (; first <= last; first++) {
        AUTO_FREE char *line = libspawn__str_format("%u\n", first);

        put(log, line);
    }
}

TEST(tail_of_exactly_twenty_lines__is_all_of_them)
{
    AUTO_LOG struct libspawn__log log;

    open_log(&log, NULL, 0, 0);
    put_lines(&log, 1, 20);
    ck_assert(libspawn__str_has_prefix(tail_of(&log), "1\n2\n"));
    put_lines(&log, 21, 21);
    ck_assert(libspawn__str_has_prefix(tail_of(&log), "2\n3\n"));
}

/* The ring goes round many times, at every offset. */
TEST(tail_after_any_amount__is_the_last_twenty_lines)
{
    AUTO_LOG struct libspawn__log log;
    unsigned int n;

    open_log(&log, NULL, 0, 0);
    for (n = 1; n <= 6000; n++) {
        AUTO_FREE char *first = libspawn__str_format("%u\n", n - 19);
        AUTO_FREE char *last = libspawn__str_format("\n%u\n", n);

        put_lines(&log, n, n);
        if (n >= 20 && n % 7 == 0) {
            ck_assert(libspawn__str_has_prefix(tail_of(&log), first));
            ck_assert(libspawn__str_has_suffix(tail_of(&log), last));
        }
    }
}

TEST(tail_for_a_small_buffer__fits_and_is_the_end)
{
    AUTO_LOG struct libspawn__log log;
    char tail[16];
    size_t size;

    open_log(&log, NULL, 0, 0);
    put(&log, "a long line that does not fit\nlast line");
    size = libspawn__log_copy_tail(&log, tail, sizeof tail);
    ck_assert_uint_lt(size, sizeof tail);
    ck_assert_str_eq(tail, " fit\nlast line\n");
}

TEST(tail_of_control_characters__shows_question_marks)
{
    static const struct {
        const char *written;
        const char *shown;
    } cases[] = {
        { "a\033[31mb", "a?[31mb\n" },
        { "bell\a back\b", "bell? back?\n" },
        { "tab\tstays", "tab\tstays\n" },
        { "del\x7f", "del?\n" },
        { "\x9b" "31m", "?31m\n" },
        { "\xc2\x9b" "31m", "??31m\n" },
        { "\xc2\xa0ok", "\xc2\xa0ok\n" },
        { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac"
                                                  "\xf0\x9f\x98\x80\n" },
        { "\xc3", "?\n" },
        { "\xe2\x82x", "??x\n" },
        { "\xed\xa0\x80", "???\n" }, /* a surrogate */
        { "\xff\xfe", "??\n" },
        { "cr\r\n", "cr?\n" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_LOG struct libspawn__log log;

        open_log(&log, NULL, 0, 0);
        put(&log, cases[i].written);
        ck_assert_str_eq(tail_of(&log), cases[i].shown);
    }
}

TEST(tail_with_nul_bytes__shows_question_marks)
{
    AUTO_LOG struct libspawn__log log;

    open_log(&log, NULL, 0, 0);
    libspawn__log_write(&log, "a\0b\n", 4);
    ck_assert_str_eq(tail_of(&log), "a?b\n");
}

TEST_MAIN("log")
