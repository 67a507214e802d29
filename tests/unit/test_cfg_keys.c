/*
 * The tables of keys: complete, in order, apart from each other, and in the
 * manual.
 */
#include <string.h>

#include "tests/lib/harness.h"
#include "xl/cfg.h"
#include "xl/cfg_keys.h"
#include "xl/cfg_unsupported.h"

static void
assert_sorted(const char *(*name)(size_t i))
{
    size_t i;

    ck_assert_ptr_nonnull(name(0));
    for (i = 1; name(i); i++) {
        ck_assert_str_lt(name(i - 1), name(i));
    }
}

TEST(cfg_supported_keys__are_sorted_and_each_there_once)
{
    assert_sorted(xl__cfg_key_name);
}

TEST(cfg_unsupported_keys__are_sorted_and_each_there_once)
{
    assert_sorted(xl__cfg_unsupported_name);
}

TEST(cfg_key__is_not_both_supported_and_unsupported)
{
    size_t i;
    size_t k;

    for (i = 0; xl__cfg_key_name(i); i++) {
        for (k = 0; xl__cfg_unsupported_name(k); k++) {
            ck_assert_str_ne(xl__cfg_key_name(i), xl__cfg_unsupported_name(k));
        }
    }
}

TEST(cfg_manual__describes_exactly_the_supported_keys)
{
    AUTO_FREE char *path = libspawn__str_format("%s/docs/man/xl.cfg.5",
                                                harness_source_dir());
    AUTO_FREE char *manual = harness_read_file(path);
    const char *at;
    size_t n_described = 0;
    size_t i;

    for (i = 0; xl__cfg_key_name(i); i++) {
        AUTO_FREE char *item =
            libspawn__str_format("\n.It Ic %s\n", xl__cfg_key_name(i));
        AUTO_FREE char *item_with_value =
            libspawn__str_format("\n.It Ic %s No ", xl__cfg_key_name(i));

        if (!strstr(manual, item) && !strstr(manual, item_with_value)) {
            ck_abort_msg("xl.cfg.5 does not describe '%s'",
                         xl__cfg_key_name(i));
        }
    }
    for (at = manual; (at = strstr(at, "\n.It Ic ")); at++) {
        n_described++;
    }
    ck_assert_uint_eq(n_described, i);
}

static void
assert_warning(const char *text, const char *warning)
{
    AUTO_STRV struct libspawn__strv warnings = { 0 };
    struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };

    (void)xl__config_parse("c", text, strlen(text), NULL, 0, &config,
                           &warnings, &err);
    ck_assert_uint_eq(warnings.n_items, 1);
    ck_assert_str_eq(warnings.items[0], warning);
    libspawn_guest_config_dispose(&config);
}

TEST(cfg_unknown_key__suggests_the_one_with_swapped_letters)
{
    assert_warning("naem = 'a'",
                   "c:1: unknown key 'naem' ignored; did you mean 'name'?");
}

TEST(cfg_unknown_key__suggests_the_one_with_a_letter_more)
{
    assert_warning("on_reboots = 'x'", "c:1: unknown key 'on_reboots' "
                                       "ignored; did you mean 'on_reboot'?");
}

TEST(cfg_unknown_key__suggests_a_supported_one_first)
{
    /* As near to "usbdev", which is not supported. */
    assert_warning("usbdevi = 1",
                   "c:1: unknown key 'usbdevi' ignored; did you mean "
                   "'usbdev'?");
    assert_warning("vcpu = 1",
                   "c:1: unknown key 'vcpu' ignored; did you mean 'vcpus'?");
}

TEST(cfg_unknown_key_like_no_other__suggests_nothing)
{
    assert_warning("frobnicate = 1", "c:1: unknown key 'frobnicate' ignored");
    assert_warning("q = 1", "c:1: unknown key 'q' ignored");
}

TEST(cfg_unknown_key_of_great_length__is_cut)
{
    char text[600];
    char warning[200];

    memset(text, 'k', 500);
    strncpy(text + 500, " = 1", sizeof text - 500);
    snprintf(warning, sizeof warning, "c:1: unknown key '%.80s' ignored",
             text);
    assert_warning(text, warning);
}

TEST_MAIN("cfg_keys")
