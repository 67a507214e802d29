/*
 * base/str.c: strings, lists of strings, buffers.
 */
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"

/* ---- Strings ----------------------------------------------------------- */

TEST(str_equal__takes_null_for_nothing)
{
    ck_assert(libspawn__str_equal(NULL, NULL));
    ck_assert(!libspawn__str_equal(NULL, ""));
    ck_assert(!libspawn__str_equal("", NULL));
    ck_assert(libspawn__str_equal("a", "a"));
    ck_assert(!libspawn__str_equal("a", "b"));
}

TEST(str_prefix_and_suffix__may_be_the_whole_and_not_more)
{
    ck_assert(libspawn__str_has_prefix("dir:/x", "dir:"));
    ck_assert(libspawn__str_has_prefix("dir:", "dir:"));
    ck_assert(!libspawn__str_has_prefix("dir", "dir:"));
    ck_assert(libspawn__str_has_suffix("a.cfg", ".cfg"));
    ck_assert(libspawn__str_has_suffix(".cfg", ".cfg"));
    ck_assert(!libspawn__str_has_suffix("cfg", ".cfg"));
}

TEST(str_assign__replaces_and_clears)
{
    char *slot = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__str_assign(&slot, "one", &err), &err);
    assert_ok(libspawn__str_assign(&slot, slot, &err), &err); /* itself */
    ck_assert_str_eq(slot, "one");
    assert_ok(libspawn__str_assign(&slot, NULL, &err), &err);
    ck_assert_ptr_null(slot);
}

/* ---- Numbers ----------------------------------------------------------- */

TEST(str_to_u64_of_numbers__gives_them)
{
    uint64_t value = 0;

    assert_ok(libspawn__str_to_u64("0", 0, 9, &value, NULL), NULL);
    ck_assert_uint_eq(value, 0);
    assert_ok(libspawn__str_to_u64("007", 0, 9, &value, NULL), NULL);
    ck_assert_uint_eq(value, 7);
    assert_ok(libspawn__str_to_u64("18446744073709551615", 0, UINT64_MAX,
                                   &value, NULL),
              NULL);
    ck_assert(value == UINT64_MAX);
}

TEST(str_to_u64_of_anything_else__is_invalid_and_leaves_the_output)
{
    static const char *const texts[] = {
        "",   " 1",  "1 ",  "+1",   "-1", "0x10", "1e3", "1.0",
        "1k", "\t1", "abc", "1\n2", "--", "18446744073709551616",
    };
    struct libspawn_err err;
    uint64_t value = 42;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_code(
            libspawn__str_to_u64(texts[i], 0, UINT64_MAX, &value, &err),
            LIBSPAWN_ERR_INVALID);
        ck_assert_uint_eq(value, 42);
    }
    assert_code(libspawn__str_to_u64(NULL, 0, 1, &value, &err),
                LIBSPAWN_ERR_INVALID);
}

TEST(str_to_u64_beyond_its_limits__names_them)
{
    struct libspawn_err err;
    uint64_t value;

    assert_code(libspawn__str_to_u64("0", 1, 9, &value, &err),
                LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__str_to_u64("10", 1, 9, &value, &err),
                LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(err.text, "10 is not within 1 and 9");
    assert_ok(libspawn__str_to_u64("9", 1, 9, &value, &err), &err);
}

/* ---- Lists ------------------------------------------------------------- */

TEST(strv_of_many__ends_with_null_at_every_size)
{
    AUTO_STRV struct libspawn__strv list = { 0 };
    size_t i;

    for (i = 0; i < 100; i++) {
        assert_ok(libspawn__strv_addf(&list, NULL, "%zu", i), NULL);
        ck_assert_uint_eq(list.n_items, i + 1);
        ck_assert_ptr_null(list.items[i + 1]);
    }
    ck_assert_str_eq(list.items[0], "0");
    ck_assert_str_eq(list.items[99], "99");
    ck_assert(libspawn__strv_has(&list, "57"));
    ck_assert(!libspawn__strv_has(&list, "100"));
}

TEST(strv_empty__has_and_sorts_nothing)
{
    AUTO_STRV struct libspawn__strv list = { 0 };

    ck_assert(!libspawn__strv_has(&list, ""));
    libspawn__strv_sort(&list);
    libspawn__strv_dispose(&list);
    libspawn__strv_dispose(&list);
}

TEST(strv_sorted__is_in_the_order_of_bytes)
{
    AUTO_STRV struct libspawn__strv list = { 0 };
    static const char *const texts[] = { "b", "a", "B", "", "10", "9" };
    static const char *const sorted[] = { "", "10", "9", "B", "a", "b" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_ok(libspawn__strv_add(&list, texts[i], NULL), NULL);
    }
    libspawn__strv_sort(&list);
    for (i = 0; i < ARRAY_SIZE(sorted); i++) {
        ck_assert_str_eq(list.items[i], sorted[i]);
    }
}

/* ---- Buffers ----------------------------------------------------------- */

TEST(buf_of_appends__is_always_a_string)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    size_t i;

    for (i = 0; i < 1000; i++) {
        libspawn__buf_append(&buf, "x", 1);
        ck_assert_uint_eq(buf.size, i + 1);
        ck_assert_int_eq(buf.data[buf.size], '\0');
    }
    libspawn__buf_printf(&buf, "%d-%s", 7, "end");
    ck_assert(libspawn__str_has_suffix(buf.data, "x7-end"));
}

TEST(buf_of_bytes__keeps_nul)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };

    libspawn__buf_append(&buf, "a\0b", 3);
    ck_assert_uint_eq(buf.size, 3);
    ck_assert(!memcmp(buf.data, "a\0b", 4));
}

TEST(buf_empty__is_taken_as_an_empty_string)
{
    struct libspawn__buf buf = { 0 };
    AUTO_FREE char *text = libspawn__buf_take(&buf);

    ck_assert_str_eq(text, "");
    ck_assert_ptr_null(buf.data);
}

TEST(buf_consumed__begins_later)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };

    libspawn__buf_puts(&buf, "0123456789");
    libspawn__buf_consume(&buf, 4);
    ck_assert_str_eq(buf.data, "456789");
    libspawn__buf_consume(&buf, 6);
    ck_assert_uint_eq(buf.size, 0);
    ck_assert_str_eq(buf.data, "");
}

TEST(buf_printf_longer_than_its_room__is_complete)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };

    libspawn__buf_printf(&buf, "%5000s|", "right");
    ck_assert_uint_eq(buf.size, 5001);
    ck_assert(libspawn__str_has_suffix(buf.data, "right|"));
}

TEST_MAIN("str")
