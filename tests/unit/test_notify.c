/*
 * proc/notify.c: letters of sd_notify(3).
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "proc/notify.h"
#include "tests/lib/harness.h"

static struct libspawn__notify
parse(const char *letter)
{
    struct libspawn__notify notify;

    libspawn__notify_parse(letter, strlen(letter), &notify);
    return notify;
}

TEST(notify_ready__is_the_word_and_nothing_like_it)
{
    static const char *const not_ready[] = { "",        "READY",    "READY=",
                                             "READY=0", "READY=11", "ready=1",
                                             " READY=1", "READY=1 ",
                                             "XREADY=1" };
    size_t i;

    ck_assert(parse("READY=1").is_ready);
    ck_assert(parse("READY=1\n").is_ready);
    ck_assert(parse("STATUS=x\nREADY=1\nMAINPID=7").is_ready);
    for (i = 0; i < ARRAY_SIZE(not_ready); i++) {
        ck_assert(!parse(not_ready[i]).is_ready);
    }
}

TEST(notify_extension__is_rounded_up_and_bounded)
{
    static const struct {
        const char *value;
        uint32_t ms;
    } cases[] = {
        { "0", 0 },
        { "1", 1 },
        { "1000", 1 },
        { "1001", 2 },
        { "4294967295000", UINT32_MAX },
        { "18446744073709551615", UINT32_MAX },
    };
    char letter[64];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        struct libspawn__notify notify;

        snprintf(letter, sizeof letter, "EXTEND_TIMEOUT_USEC=%s",
                 cases[i].value);
        notify = parse(letter);
        ck_assert(notify.has_extension);
        ck_assert_uint_eq(notify.extend_ms, cases[i].ms);
    }
}

TEST(notify_extension_that_is_no_number__is_ignored)
{
    static const char *const values[] = {
        "", "-1", "+1", " 1", "1s", "0x10", "18446744073709551616", "1.5",
    };
    char letter[64];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(values); i++) {
        snprintf(letter, sizeof letter, "EXTEND_TIMEOUT_USEC=%s", values[i]);
        ck_assert(!parse(letter).has_extension);
    }
}

TEST(notify_status__is_printable_and_may_be_empty)
{
    ck_assert_str_eq(parse("STATUS=loading 3/7").status, "loading 3/7");
    ck_assert_str_eq(parse("STATUS=a\033[2Jb\tc").status, "a?[2Jb?c");
    ck_assert(parse("STATUS=").has_status);
    ck_assert_str_eq(parse("STATUS=").status, "");
    ck_assert(!parse("STATUS").has_status);
}

TEST(notify_long_status__is_cut_before_a_character)
{
    char letter[600] = "STATUS=";
    struct libspawn__notify notify;
    size_t i;

    /* 254 bytes, then characters of three. */
    memset(letter + 7, 'x', 254);
    for (i = 0; i < 10; i++) {
        memcpy(letter + 7 + 254 + 3 * i, "\xe2\x82\xac", 3);
    }
    notify = parse(letter);
    ck_assert_uint_eq(strlen(notify.status), 254);
}

TEST(notify_name_twice__the_last_counts)
{
    struct libspawn__notify notify =
        parse("STATUS=one\nEXTEND_TIMEOUT_USEC=1000\nSTATUS=two\n"
              "EXTEND_TIMEOUT_USEC=5000\n\n\n");

    ck_assert_str_eq(notify.status, "two");
    ck_assert_uint_eq(notify.extend_ms, 5);
}

TEST(notify_nul__ends_its_line_only)
{
    struct libspawn__notify notify;
    static const char letter[] = "STATUS=a\0b\nREADY=1";

    libspawn__notify_parse(letter, sizeof letter, &notify);
    ck_assert_str_eq(notify.status, "a");
    ck_assert(notify.is_ready);
}

TEST_MAIN("notify")
