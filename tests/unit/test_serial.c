/*
 * What a configuration has behind a serial port, and what QEMU is told.
 */
#include <string.h>

#include "base/util.h"
#include "dm/serial.h"
#include "tests/lib/harness.h"

/* The arguments of one port, with blanks between them. */
static char *
arguments_of(const char *serial, const char *version, bool has_sockets)
{
    char *serials[] = { strdup(serial), NULL };
    const struct libspawn_guest_config config = { .serials = serials,
                                                  .n_serials = 1 };
    AUTO_ARGS struct libspawn__args args = { .config = &config,
                                             .version = version };
    AUTO_BUF struct libspawn__buf text = { 0 };
    size_t i;

    libspawn__serial_add_args(&args, 0, has_sockets);
    assert_ok(args.err.code, &args.err);
    for (i = 0; i < args.argv.n_items; i++) {
        libspawn__buf_printf(&text, "%s%s", i ? " " : "", args.argv.items[i]);
    }
    free(serials[0]);
    return libspawn__buf_take(&text);
}

static void
assert_arguments(const char *serial, bool has_sockets, const char *expected)
{
    AUTO_FREE char *text = arguments_of(serial, "7.2.22", has_sockets);

    ck_assert_str_eq(text, expected);
}

#define LISTENER                                                              \
    "-chardev socket,id=serial0,fd=5,server=on,wait=off "                     \
    "-serial chardev:serial0"

TEST(serial_that_listens__is_a_descriptor)
{
    assert_arguments("punix:/a,b", false, LISTENER);
    assert_arguments("ptcp:4444", false, LISTENER);
    assert_arguments("pty", true, LISTENER);
    assert_arguments("unix", true, LISTENER);
}

TEST(serial_that_connects__does_so_again)
{
    assert_arguments("unix:/a", true,
                     "-chardev socket,id=serial0,path=/a,reconnect=1 "
                     "-serial chardev:serial0");
    assert_arguments("tcp:host:1", true,
                     "-chardev socket,id=serial0,host=host,port=1,"
                     "reconnect=1 -serial chardev:serial0");
    assert_arguments("tcp:[::1]:1", true,
                     "-chardev socket,id=serial0,host=::1,port=1,"
                     "reconnect=1 -serial chardev:serial0");
}

TEST(serial_in_the_words_of_qemu__is_left_as_it_is)
{
    static const char *const serials[] = {
        "none",      "null",   "file:/x",           "/dev/ttyS0",
        "tcp::4444", "udp::1", "unix:/a,server=on", "tcp:h:1,nodelay=on",
        "stdio",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(serials); i++) {
        AUTO_FREE char *expected =
            libspawn__str_format("-serial %s", serials[i]);

        assert_arguments(serials[i], true, expected);
        assert_ok(libspawn__serial_check(serials[i], NULL), NULL);
    }
    assert_arguments("pty", false, "-serial pty");
}

TEST(serial_that_connects__knows_the_word_of_the_version)
{
    static const struct {
        const char *version;
        const char *word;
    } cases[] = {
        { NULL, ",reconnect=1 " },
        { "", ",reconnect=1 " },
        { "7.2.22", ",reconnect=1 " },
        { "9.1.3", ",reconnect=1 " },
        { "9.2.0", ",reconnect-ms=1000 " },
        { "10.0.0", ",reconnect-ms=1000 " },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *text = arguments_of("unix:/a", cases[i].version, true);

        assert_contains(text, cases[i].word);
    }
}

TEST(serial_that_needs_the_network__is_not_one_of_ours)
{
    static const struct {
        const char *serial;
        bool needs_network;
    } cases[] = {
        { "pty", false },    { "none", false },    { "punix:/a", false },
        { "ptcp:1", false }, { "unix:/a", false }, { "tcp:h:1", true },
        { "file:/a", true }, { "tcp::1", true },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        ck_assert_int_eq(libspawn__serial_needs_network(cases[i].serial),
                         cases[i].needs_network);
    }
}

/* Covers S11. */
TEST(serial_with_the_number_of_a_descriptor__is_denied)
{
    assert_code(libspawn__serial_check("fd:3", NULL), LIBSPAWN_ERR_DENIED);
    assert_code(libspawn__serial_check("pfd:3", NULL), LIBSPAWN_ERR_DENIED);
    assert_code(libspawn__serial_check("fd:3,x", NULL), LIBSPAWN_ERR_DENIED);
}

TEST_MAIN("serial")
