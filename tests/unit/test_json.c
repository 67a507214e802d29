/*
 * JSON: what the reader takes, what it refuses, and that memory running out
 * inside yajl is an error like any other.
 */
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "wire/json.h"

enum {
    MAX_SIZE = 1024 * 1024
};

static struct libspawn__json *
parse(const char *text)
{
    struct libspawn__json *json = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__json_parse(text, strlen(text), MAX_SIZE, &json, &err),
              &err);
    return json;
}

/* In a block of exactly its size, for the address sanitizer. */
static void
assert_refused_bytes(const char *bytes, size_t size, const char *reason)
{
    AUTO_FREE char *copy = malloc(size ? size : 1);
    struct libspawn__json *json = NULL;
    struct libspawn_err err;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, size);
    assert_code(libspawn__json_parse(copy, size, MAX_SIZE, &json, &err),
                LIBSPAWN_ERR_PROTOCOL);
    ck_assert_ptr_null(json);
    assert_contains(err.text, reason);
}

static void
assert_refused(const char *text, const char *reason)
{
    assert_refused_bytes(text, strlen(text), reason);
}

/* ---- Values ------------------------------------------------------------ */

TEST(json_each_type__is_read)
{
    static const struct {
        const char *text;
        enum libspawn__json_type type;
    } cases[] = {
        { "null", LIBSPAWN__JSON_NULL },      { "true", LIBSPAWN__JSON_BOOL },
        { " 1\r\n", LIBSPAWN__JSON_INTEGER }, { "1.5", LIBSPAWN__JSON_DOUBLE },
        { "\"x\"", LIBSPAWN__JSON_STRING },   { "[]", LIBSPAWN__JSON_ARRAY },
        { "{}", LIBSPAWN__JSON_OBJECT },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_JSON struct libspawn__json *json = parse(cases[i].text);

        ck_assert_int_eq(libspawn__json_get_type(json), cases[i].type);
    }
}

TEST(json_members_and_items__are_found)
{
    AUTO_JSON struct libspawn__json *json =
        parse("{\"a\": [true, 7, \"x\"], \"\": {\"b\": false}}");
    const struct libspawn__json *array = libspawn__json_member(json, "a");
    int64_t value = 0;

    ck_assert_uint_eq(libspawn__json_n_items(json), 2);
    ck_assert_str_eq(libspawn__json_key(json, 0), "a");
    ck_assert_str_eq(libspawn__json_key(json, 1), "");
    ck_assert_ptr_null(libspawn__json_key(json, 2));
    ck_assert_uint_eq(libspawn__json_n_items(array), 3);
    ck_assert(libspawn__json_bool(libspawn__json_item(array, 0), false));
    ck_assert(libspawn__json_integer(libspawn__json_item(array, 1), &value));
    ck_assert_int_eq(value, 7);
    ck_assert_str_eq(libspawn__json_string(libspawn__json_item(array, 2)),
                     "x");
    ck_assert_ptr_null(libspawn__json_item(array, 3));
    ck_assert(!libspawn__json_bool(
        libspawn__json_member(libspawn__json_member(json, ""), "b"), true));
}

TEST(json_accessors_of_wrong_type_or_nothing__say_not_there)
{
    AUTO_JSON struct libspawn__json *json = parse("[\"1\", 1.0]");
    const struct libspawn__json *string = libspawn__json_item(json, 0);
    double real = 7;
    int64_t value = 7;

    ck_assert(!libspawn__json_integer(string, &value));
    ck_assert(!libspawn__json_integer(libspawn__json_item(json, 1), &value));
    ck_assert(!libspawn__json_integer(NULL, &value));
    ck_assert(!libspawn__json_double(string, &real));
    ck_assert_int_eq(value, 7);
    ck_assert_double_eq(real, 7);
    ck_assert_ptr_null(libspawn__json_string(json));
    ck_assert_ptr_null(libspawn__json_string(NULL));
    ck_assert_ptr_null(libspawn__json_member(json, "a"));
    ck_assert_ptr_null(libspawn__json_member(NULL, "a"));
    ck_assert_ptr_null(libspawn__json_item(string, 0));
    ck_assert_ptr_null(libspawn__json_key(json, 0));
    ck_assert_uint_eq(libspawn__json_n_items(NULL), 0);
    ck_assert(libspawn__json_bool(string, true));
    ck_assert_int_eq(libspawn__json_get_type(NULL), LIBSPAWN__JSON_NULL);
    libspawn__json_free(NULL);
}

TEST(json_integers_at_the_edge__stay_exact_or_become_double)
{
    AUTO_JSON struct libspawn__json *json =
        parse("[9223372036854775807, -9223372036854775808,"
              " 18446744073709551615, -0, 1e2]");
    int64_t value = 0;
    double real = 0;

    ck_assert(libspawn__json_integer(libspawn__json_item(json, 0), &value));
    ck_assert_int_eq(value, INT64_MAX);
    ck_assert(libspawn__json_integer(libspawn__json_item(json, 1), &value));
    ck_assert_int_eq(value, INT64_MIN);
    ck_assert(!libspawn__json_integer(libspawn__json_item(json, 2), &value));
    ck_assert(libspawn__json_double(libspawn__json_item(json, 2), &real));
    ck_assert_double_eq(real, 18446744073709551615.0);
    ck_assert(libspawn__json_integer(libspawn__json_item(json, 3), &value));
    ck_assert_int_eq(value, 0);
    ck_assert(libspawn__json_double(libspawn__json_item(json, 4), &real));
    ck_assert_double_eq(real, 100);
}

TEST(json_escapes__are_decoded)
{
    AUTO_JSON struct libspawn__json *json =
        parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\"");

    ck_assert_str_eq(libspawn__json_string(json),
                     "\"\\/\b\f\n\r\t\xc3\xa4\xf0\x9f\x98\x80");
}

/* ---- What is refused --------------------------------------------------- */

TEST(json_malformed_text__is_refused_with_its_place)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "[1,",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{1:1}",
        "tru",
        "01",
        "[01]",
        "1.",
        "-",
        "+1",
        "1e",
        ".5",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\n\"",
        "// x\n1",
        "[1}",
        "NaN",
        "Infinity",
        "\xef\xbb\xbf"
        "1",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_refused(texts[i], " at byte ");
    }
}

TEST(json_more_than_one_value__is_refused)
{
    assert_refused("1 2", "trailing garbage");
    assert_refused("{} {}", "trailing garbage");
    assert_refused("[]]", "trailing garbage");
    assert_refused("null,", "trailing garbage");
}

TEST(json_bytes_that_are_no_text__are_refused)
{
    assert_refused_bytes("1\0", 2, "trailing garbage");
    assert_refused_bytes("\0", 1, " at byte ");
    assert_refused_bytes("\"a\0b\"", 5, "invalid character inside string");
    assert_refused("\"\\u0000\"", "a string holds a NUL");
    assert_refused("{\"\\u0000\":1}", "a string holds a NUL");
}

TEST(json_strings_that_are_not_utf8__are_refused)
{
    static const char *const texts[] = {
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf5\x80\x80\x80\"",
        "{\"\xc0\x80\":1}",
        "\"\\udc00\"",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_refused(texts[i], "reading JSON: ");
    }
}

static void
check_nesting(size_t depth, bool accepted)
{
    AUTO_BUF struct libspawn__buf text = { 0 };
    AUTO_JSON struct libspawn__json *json = NULL;
    size_t i;

    for (i = 0; i < depth; i++) {
        libspawn__buf_puts(&text, i % 2 ? "{\"a\":" : "[");
    }
    libspawn__buf_puts(&text, "1");
    while (i-- > 0) {
        libspawn__buf_puts(&text, i % 2 ? "}" : "]");
    }
    if (accepted) {
        json = parse(text.data);
    } else {
        assert_refused(text.data, "too deep nesting");
    }
}

TEST(json_nesting__has_a_limit)
{
    check_nesting(LIBSPAWN__JSON_DEPTH_MAX, true);
    check_nesting(LIBSPAWN__JSON_DEPTH_MAX + 1, false);
    check_nesting(100000, false);
}

TEST(json_size__has_a_limit)
{
    AUTO_JSON struct libspawn__json *json = NULL;
    struct libspawn_err err;

    assert_code(libspawn__json_parse("[1]", 3, 2, &json, &err),
                LIBSPAWN_ERR_PROTOCOL);
    assert_contains(err.text, "more than 2 bytes");
    assert_ok(libspawn__json_parse("[1]", 3, 3, &json, &err), &err);
}

TEST(json_key_length__has_a_limit)
{
    AUTO_FREE char *good =
        libspawn__str_format("{\"%0*d\":1}", LIBSPAWN__JSON_KEY_MAX, 1);
    AUTO_FREE char *bad =
        libspawn__str_format("{\"%0*d\":1}", LIBSPAWN__JSON_KEY_MAX + 1, 1);
    AUTO_JSON struct libspawn__json *json = parse(good);

    assert_refused(bad, "a key is too long");
}

TEST(json_key_that_comes_twice__is_refused)
{
    AUTO_JSON struct libspawn__json *json =
        parse("{\"a\":{\"a\":1,\"b\":{\"a\":2}},\"b\":1}");

    assert_refused("{\"a\":1,\"b\":2,\"a\":3}", "a key appears twice");
    assert_refused("[{\"a\":1,\"\\u0061\":3}]", "a key appears twice");
}

TEST(json_number_out_of_range__is_refused)
{
    AUTO_FREE char *digits = libspawn__str_format("1%0500d", 0);

    assert_refused("1e999", "a number is out of range");
    assert_refused("[-1e999]", "a number is out of range");
    assert_refused(digits, "a number is too long");
}

/* Comparing each key with all before it would take minutes here. */
TEST(json_object_of_very_many_members__is_read_in_time)
{
    AUTO_BUF struct libspawn__buf text = { 0 };
    AUTO_JSON struct libspawn__json *json = NULL;
    int i;

    for (i = 0; i < 80000; i++) {
        libspawn__buf_printf(&text, "%s\"%d\":0", i ? "," : "{", i);
    }
    libspawn__buf_puts(&text, "}");
    json = parse(text.data);
    ck_assert_uint_eq(libspawn__json_n_items(json), 80000);
}

/* ---- Writing ----------------------------------------------------------- */

static void
assert_written(struct libspawn__json_writer *writer, const char *expected)
{
    AUTO_FREE char *text = libspawn__json_writer_take(writer);

    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, expected);
}

TEST(json_writer__writes_each_type)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);

    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_string(writer, "s", "a\"\\\n\x01\xc3\xa4");
    libspawn__json_put_string(writer, "none", NULL);
    libspawn__json_begin_array(writer, "a");
    libspawn__json_put_integer(writer, NULL, INT64_MIN);
    libspawn__json_put_bool(writer, NULL, true);
    libspawn__json_put_null(writer, NULL);
    libspawn__json_begin_object(writer, NULL);
    libspawn__json_end_object(writer);
    libspawn__json_end_array(writer);
    libspawn__json_put_double(writer, "d", 0.1);
    libspawn__json_end_object(writer);
    assert_written(writer,
                   "{\"s\":\"a\\\"\\\\\\n\\u0001\xc3\xa4\",\"none\":null,"
                   "\"a\":[-9223372036854775808,true,null,{}],\"d\":0.1}");
}

TEST(json_writer_pretty__indents)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(true);

    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_integer(writer, "a", 1);
    libspawn__json_end_object(writer);
    assert_written(writer, "{\n    \"a\": 1\n}\n");
}

TEST(json_writer_of_what_is_not_utf8__replaces_it)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);

    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_string(writer, "\xff", "a\xe1\x80z\xff");
    libspawn__json_end_object(writer);
    assert_written(writer, "{\"\xef\xbf\xbd\":\"a\xef\xbf\xbd\xef\xbf\xbdz"
                           "\xef\xbf\xbd\"}");
}

TEST(json_writer_doubles__read_back_as_the_same_doubles)
{
    static const double values[] = { 0.1,    1,       -0.0,          1e300,
                                     5e-324, 1.0 / 3, -123456789.125 };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(values); i++) {
        struct libspawn__json_writer *writer =
            libspawn__json_writer_new(false);
        AUTO_JSON struct libspawn__json *json = NULL;
        AUTO_FREE char *text = NULL;
        double value = 7;

        libspawn__json_put_double(writer, NULL, values[i]);
        text = libspawn__json_writer_take(writer);
        json = parse(text);
        ck_assert_int_eq(libspawn__json_get_type(json), LIBSPAWN__JSON_DOUBLE);
        ck_assert(libspawn__json_double(json, &value));
        ck_assert_double_eq(value, values[i]);
    }
}

/* Every wrong use ends in NULL from libspawn__json_writer_take. */
static void
misuse(struct libspawn__json_writer *writer, int which)
{
    int i;

    switch (which) {
    case 0: /* nothing at all */
        break;
    case 1: /* two values */
        libspawn__json_put_null(writer, NULL);
        libspawn__json_put_null(writer, NULL);
        break;
    case 2: /* a key outside an object */
        libspawn__json_put_null(writer, "a");
        break;
    case 3: /* no key inside one */
        libspawn__json_begin_object(writer, NULL);
        libspawn__json_put_string(writer, NULL, "a");
        libspawn__json_put_string(writer, NULL, "b");
        libspawn__json_end_object(writer);
        break;
    case 4: /* not closed */
        libspawn__json_begin_array(writer, NULL);
        break;
    case 5: /* closed by the wrong bracket */
        libspawn__json_begin_array(writer, NULL);
        libspawn__json_end_object(writer);
        break;
    case 6: /* closed once too often */
        libspawn__json_begin_array(writer, NULL);
        libspawn__json_end_array(writer);
        libspawn__json_end_array(writer);
        break;
    case 7: /* too deep */
        for (i = 0; i < 128; i++) {
            libspawn__json_begin_array(writer, NULL);
        }
        while (i-- > 0) {
            libspawn__json_end_array(writer);
        }
        break;
    case 8: /* no number that JSON knows */
        libspawn__json_put_double(writer, NULL, 1.0 / 0.0);
        break;
    }
}

TEST(json_writer_misused__gives_nothing)
{
    int which;

    for (which = 0; which <= 8; which++) {
        struct libspawn__json_writer *writer =
            libspawn__json_writer_new(which % 2);

        misuse(writer, which);
        ck_assert_msg(!libspawn__json_writer_take(writer), "misuse %d", which);
        misuse(NULL, which);
    }
    ck_assert_ptr_null(libspawn__json_writer_take(NULL));
    libspawn__json_writer_free(NULL);
}

TEST(json_tree_written_again__is_the_same_text)
{
    static const char text[] = "{\"a\":[1,-2.5,\"x\",null,{}],\"b\":{\"c\":"
                               "true,\"d\":[[]]}}";
    AUTO_JSON struct libspawn__json *json = parse(text);
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);

    libspawn__json_put(writer, NULL, json);
    assert_written(writer, text);
}

TEST(json_in_a_locale_with_a_decimal_comma__still_has_points)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);
    AUTO_JSON struct libspawn__json *json = NULL;
    double value = 0;

    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "de_DE")) {
        libspawn__json_writer_free(writer);
        TEST_SKIP("no German locale is installed");
    }
    libspawn__json_put_double(writer, NULL, 2.5);
    assert_written(writer, "2.5");
    json = parse("2.5");
    ck_assert(libspawn__json_double(json, &value));
    ck_assert_double_eq(value, 2.5);
}

TEST_MAIN("json")
