/*
 * What is UTF-8 and what only looks like it.
 */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "base/util.h"
#include "tests/lib/harness.h"

static void
assert_prefix(const char *text, size_t size, size_t expected)
{
    /* A copy that ends where the text does, for the address sanitizer. */
    char copy[16];
    char *at = copy + sizeof copy - size;

    memcpy(at, text, size);
    ck_assert_uint_eq(libspawn__utf8_prefix(at, size), expected);
}

TEST(utf8_first_and_last_character_of_each_length__are_whole)
{
    static const char *const texts[] = {
        "\x01",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_prefix(texts[i], strlen(texts[i]), strlen(texts[i]));
    }
    assert_prefix("\0", 1, 1);
    assert_prefix("", 0, 0);
}

TEST(utf8_forms_that_are_not_allowed__end_the_prefix)
{
    static const char *const texts[] = {
        "\x80",             /* a continuation */
        "\xc0\x80",         /* overlong */
        "\xc1\xbf",         /* overlong */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc2\x41", /* not continued */
        "\xe1\x80\x41",
        "\xf1\x80\x80\xc0",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_prefix(texts[i], strlen(texts[i]), 0);
    }
}

TEST(utf8_character_cut_short__is_not_read_beyond_its_end)
{
    assert_prefix("\xc2", 1, 0);
    assert_prefix("\xe1\x80", 2, 0);
    assert_prefix("a\xf1\x80\x80", 4, 1);
}

TEST(utf8_rubbish_in_the_middle__ends_the_prefix_there)
{
    assert_prefix("\xc3\xa4x\xffy", 5, 3);
}

static void
assert_printable(const char *from, const char *kept, const char *to)
{
    char text[32];

    snprintf(text, sizeof text, "%s", from);
    libspawn__utf8_make_printable(text, strlen(text), kept);
    ck_assert_str_eq(text, to);
}

/* Terminals act on them, also on those above 0x7f. */
TEST(utf8_control_characters__become_question_marks)
{
    assert_printable("a\033[2Jb\n\177c", "", "a?[2Jb??c");
    assert_printable("a\tb\nc\rd", "\n\t", "a\tb\nc?d");
    assert_printable("\xc2\x80|\xc2\x9b|\xc2\x9f|\xc2\xa0", "",
                     "??|??|??|\xc2\xa0");
}

TEST(utf8_rubbish_to_be_shown__becomes_a_question_mark_for_each_byte)
{
    assert_printable("\xc3\xa4\x9b\xe2\x82\xac\xff", "",
                     "\xc3\xa4?\xe2\x82\xac?");
    assert_printable("cut \xe2\x82", "", "cut ??");
    assert_printable("\xc2", "", "?");
}

TEST(utf8_nul_to_be_shown__is_never_kept)
{
    char text[] = "a\0b";

    libspawn__utf8_make_printable(text, 3, "\n");
    ck_assert_str_eq(text, "a?b");
}

TEST_MAIN("utf8")
