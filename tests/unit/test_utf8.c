/*
 * What is UTF-8 and what only looks like it.
 */
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

TEST(utf8_printable_copy__has_nothing_that_a_terminal_obeys)
{
    static const char text[] =
        "a\t\xc3\xa4\n\x1b[0m\x7f\xc2\x9b\xff\xf0\x9f\x98\x80\xe1";
    char copy[sizeof text] = "";
    size_t size = libspawn__utf8_copy_printable(copy, text, sizeof text - 1);

    ck_assert_uint_eq(size, strlen(copy));
    ck_assert_str_eq(copy,
                     "a\t\xc3\xa4\n?[0m????\xf0\x9f\x98\x80?");
}

TEST_MAIN("utf8")
