/*
 * Where a configuration comes from: files that are none, standard input,
 * and what is left behind after a failure.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/lib/harness.h"
#include "xl/cfg.h"

enum { NOBODY = 65534 };

static int
load(const char *path, struct libspawn_guest_config *config,
     struct libspawn_err *err)
{
    return xl__config_load(path, NULL, 0, config, NULL, err);
}

static void
assert_load_fails(const char *path, int code, const char *sentence)
{
    struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };

    assert_code(load(path, &config, &err), code);
    ck_assert_str_eq(err.text, sentence);
    ck_assert_ptr_null(config.name);
}

/* Lets standard input be the reading end of a pipe that has had 'text'. */
static void
feed_stdin(const char *text)
{
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(libspawn__fd_write_full(fds[1], text, strlen(text)), 0);
    close(fds[1]);
    ck_assert_int_eq(dup3(fds[0], STDIN_FILENO, O_CLOEXEC), STDIN_FILENO);
    close(fds[0]);
}

TEST(load_missing_file__says_so)
{
    assert_load_fails("nowhere.cfg", LIBSPAWN_ERR_NOT_FOUND,
                      "reading 'nowhere.cfg': No such file or directory");
}

TEST(load_directory__says_so)
{
    ck_assert_int_eq(mkdir("d.cfg", 0755), 0);
    assert_load_fails("d.cfg", LIBSPAWN_ERR_INVALID,
                      "'d.cfg' is a directory");
}

TEST(load_unreadable_file__says_so)
{
    uid_t user = geteuid();

    harness_write_file("secret.cfg", "name = 'a'\n");
    ck_assert_int_eq(chmod("secret.cfg", 0), 0);
    if (!user) {
        ck_assert_int_eq(seteuid(NOBODY), 0); /* root may read everything */
    }
    assert_load_fails("secret.cfg", LIBSPAWN_ERR_DENIED,
                      "reading 'secret.cfg': Permission denied");
    ck_assert_int_eq(seteuid(user), 0);
}

TEST(load_largest_file__is_read)
{
    struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };
    int fd = open("large.cfg", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    AUTO_FREE char *text = malloc(XL__CONFIG_SIZE_MAX);

    ck_assert_ptr_nonnull(text);
    memset(text, '\n', XL__CONFIG_SIZE_MAX);
    memcpy(text, "name='a'", 8);
    ck_assert_int_eq(libspawn__fd_write_full(fd, text, XL__CONFIG_SIZE_MAX),
                     0);
    close(fd);
    assert_ok(load("large.cfg", &config, &err), &err);
    ck_assert_str_eq(config.name, "a");
    libspawn_guest_config_dispose(&config);
}

TEST_TIMEOUT(load_file_of_100_mb__is_refused_without_reading_it, 2)
{
    int fd = open("huge.cfg", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(ftruncate(fd, 100 << 20), 0);
    close(fd);
    assert_load_fails("huge.cfg", LIBSPAWN_ERR_LIMIT,
                      "'huge.cfg' is larger than 1048576 bytes: no "
                      "configuration");
}

TEST_TIMEOUT(load_endless_device__is_refused, 2)
{
    assert_load_fails("/dev/zero", LIBSPAWN_ERR_LIMIT,
                      "'/dev/zero' is larger than 1048576 bytes: no "
                      "configuration");
}

TEST_TIMEOUT(load_fifo_without_a_writer__does_not_hang, 2)
{
    ck_assert_int_eq(mkfifo("fifo.cfg", 0600), 0);
    assert_load_fails("fifo.cfg", LIBSPAWN_ERR_INVALID,
                      "fifo.cfg: the guest has no name");
}

TEST(load_dash__reads_standard_input)
{
    struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };

    feed_stdin("name = 'piped'\n");
    assert_ok(load("-", &config, &err), &err);
    ck_assert_str_eq(config.name, "piped");
    libspawn_guest_config_dispose(&config);
}

TEST(load_error_in_standard_input__names_it)
{
    feed_stdin("name = 'a'\nvcpus = x\n");
    assert_load_fails("-", LIBSPAWN_ERR_INVALID,
                      "standard input:2:9: 'x' stands where a number, a "
                      "string in quotes or a list should be");
}

TEST(load_file_that_a_descriptor_stands_for__is_read)
{
    struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };

    /* As a shell's process substitution gives it. */
    feed_stdin("name = 'substituted'\n");
    assert_ok(load("/dev/fd/0", &config, &err), &err);
    ck_assert_str_eq(config.name, "substituted");
    libspawn_guest_config_dispose(&config);
}

TEST(load_failure__leaves_the_old_configuration)
{
    struct libspawn_guest_config config;
    struct libspawn_err err = { 0 };

    libspawn_guest_config_init(&config);
    harness_write_file("good.cfg", "name = 'good'\ndisk = ['/a,raw,hda']\n");
    harness_write_file("bad.cfg", "name = 'bad'\ndisk = ['/a,raw']\n");
    assert_ok(load("good.cfg", &config, &err), &err);
    assert_code(load("bad.cfg", &config, &err), LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(config.name, "good");
    ck_assert_uint_eq(config.n_disks, 1);
    assert_ok(load("good.cfg", &config, &err), &err);
    libspawn_guest_config_dispose(&config);
}

TEST(load_failure__keeps_the_warnings_before_it)
{
    AUTO_STRV struct libspawn__strv warnings = { 0 };
    struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };

    harness_write_file("a.cfg", "memroy = 5\nmemory = 0\n");
    assert_code(xl__config_load("a.cfg", NULL, 0, &config, &warnings, &err),
                LIBSPAWN_ERR_INVALID);
    ck_assert_uint_eq(warnings.n_items, 1);
    ck_assert_str_eq(warnings.items[0], "a.cfg:1: unknown key 'memroy' "
                                        "ignored; did you mean 'memory'?");
}

TEST(load_without_a_place_for_errors__still_fails)
{
    struct libspawn_guest_config config = { 0 };

    assert_code(load("nowhere.cfg", &config, NULL), LIBSPAWN_ERR_NOT_FOUND);
    harness_write_file("a.cfg", "name = 'a'\nmaxmem = 1\n");
    assert_code(load("a.cfg", &config, NULL), LIBSPAWN_ERR_INVALID);
    harness_write_file("b.cfg", "name = \n");
    assert_code(load("b.cfg", &config, NULL), LIBSPAWN_ERR_INVALID);
}

TEST(load_long_path__leaves_room_for_the_sentence)
{
    struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };
    char path[4000];

    memset(path, 'd', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_code(xl__config_parse(path, "name = 'a'\nvcpus = 0\n", 21, NULL, 0,
                                 &config, NULL, &err),
                LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "ddd:2:9: 'vcpus' must be from 1 to 4096");
}

TEST(load_control_characters_in_a_value__stay_out_of_the_sentence)
{
    struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };
    static const char text[] = "name = 'a'\nvcpus = '1\\n\\x1b[2J'\n";

    assert_code(xl__config_parse("c", text, strlen(text), NULL, 0, &config,
                                 NULL, &err),
                LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(err.text,
                     "c:2:9: 'vcpus' must be a number, not '1??[2J'");
}

TEST_MAIN("cfg_load")
