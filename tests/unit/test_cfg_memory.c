/*
 * Memory running out at each allocation in turn, once or from then on, while
 * a configuration is read and stored: an error that says so, nothing leaked
 * (the sanitizers look), no crash.  The linker puts these functions in place
 * of libc's.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/libxl_json.h"
#include "tests/lib/harness.h"
#include "xl/cfg.h"

#define AUTO_CONFIG AUTO(libspawn_guest_config_dispose)

static long n_until_failure; /* 0: none fails */
static bool fails_for_good;
static bool failed;

static bool
fails(void)
{
    if (!n_until_failure) {
        return false;
    }
    if (n_until_failure > 1) {
        n_until_failure--;
        return false;
    }
    n_until_failure = fails_for_good;
    failed = true;
    return true;
}

#define WRAP(TYPE, NAME, PARAMETERS, ARGUMENTS, FAILURE)                      \
    TYPE __real_##NAME PARAMETERS;                                            \
    TYPE __wrap_##NAME PARAMETERS;                                            \
    TYPE __wrap_##NAME PARAMETERS                                             \
    {                                                                         \
        return fails() ? FAILURE : __real_##NAME ARGUMENTS;                   \
    }
WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, realloc, (void *old, size_t size), (old, size), NULL)
WRAP(void *, reallocarray, (void *old, size_t n, size_t size), (old, n, size),
     NULL)
WRAP(char *, strdup, (const char *text), (text), NULL)
WRAP(char *, strndup, (const char *text, size_t size), (text, size), NULL)
WRAP(int, vasprintf, (char **text_r, const char *format, va_list args),
     (text_r, format, args), -1)

/* Runs 'story' with the first allocation failing, then with the second, and
 * so on until none fails any more. */
static void
check_story(int (*story)(void))
{
    enum {
        MAX_ALLOCATIONS = 5000
    };
    int mode;
    long n;

    assert_code(story(), 0);
    for (mode = 0; mode < 2; mode++) {
        failed = true;
        for (n = 1; failed; n++) {
            int rc;

            ck_assert_int_lt(n, MAX_ALLOCATIONS);
            failed = false;
            fails_for_good = mode;
            n_until_failure = n;
            rc = story();
            n_until_failure = 0;
            assert_code(rc, failed ? LIBSPAWN_ERR_NO_MEMORY : 0);
        }
        ck_assert_int_gt(n, 20);
    }
}

static const char text[] =
    "name = 'a'; type = 'hvm'; memroy = 1; vncviewer = 1\n"
    "pci = [ '1:0.0|2:0.0,x=1' ]; p9 = [ 'x' ]\n"
    "uuid = '06ED00FE-1162-4FC4-B5D8-11993EE4A8B9'; memory = 64\n"
    "disk = [ 'tap:qcow2:/a,hda,w', ',hdc:cdrom,r', 'nbd:h,sda' ]\n"
    "disk += [ 'vdev=sdb,format=raw,script=s,backendtype=phy,target=/b' ]\n"
    "vif = [ 'mac=0:16:3e:a:b:c,bridge=b,rate=1Mb/s,what=5', '' ]\n"
    "vfb = [ 'type=vnc,vncdisplay=1,vnclisten=::1,keymap=de,x=y' ]\n"
    "kernel = '/x/hvmloader'; bootloader_args = 'a b'; firmware = 'uefi'\n"
    "root = 'r'; extra = 'e'; extra += 'f'; vnclisten = '[::1]:1'\n"
    "serial = [ 'pty', [ ]\n";

static int
read_config(struct libspawn_guest_config *config)
{
    static char override[] = "serial = 'pty'; stdvga = 1; boot = 'c'";
    static char *const overrides[] = { override };
    AUTO_STRV struct libspawn__strv warnings = { 0 };

    /* The last line, which is wrong, is for the story about errors. */
    return xl__config_parse("c", text, (size_t)(strstr(text, "serial") - text),
                            overrides, 1, config, &warnings, NULL);
}

static int
read_good_text(void)
{
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };

    return read_config(&config);
}

static int
read_bad_text(void)
{
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };
    AUTO_STRV struct libspawn__strv warnings = { 0 };
    int rc = xl__config_parse("c", text, strlen(text), NULL, 0, &config,
                              &warnings, NULL);

    return rc == LIBSPAWN_ERR_INVALID ? 0 : rc;
}

static int
store_and_read_back(void)
{
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };
    AUTO_CONFIG struct libspawn_guest_config copy = { 0 };
    AUTO_FREE char *json = NULL;
    AUTO_FREE char *libxl_json = NULL;
    int rc = read_config(&config);

    if (!rc) {
        rc = libspawn_guest_config_to_json(&config, &json, NULL);
    }
    if (!rc) {
        rc = libspawn_guest_config_from_json(json, &copy, NULL);
    }
    if (!rc) {
        rc = libspawn__guest_config_to_libxl_json(&copy, &libxl_json, NULL);
    }
    return rc;
}

TEST(cfg_memory_runs_out_while_a_good_file_is_read__fails_cleanly)
{
    check_story(read_good_text);
}

TEST(cfg_memory_runs_out_while_a_bad_file_is_read__fails_cleanly)
{
    check_story(read_bad_text);
}

TEST(cfg_memory_runs_out_while_a_configuration_is_stored__fails_cleanly)
{
    check_story(store_and_read_back);
}

TEST_MAIN("cfg_memory")
