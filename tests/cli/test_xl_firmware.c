/*
 * What a guest without Xen begins with: it boots the firmware that was asked
 * for, or is refused, and never another.
 */
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/str.h"
#include "tests/cli/xl_story.h"

#define OVMF "/usr/share/OVMF"
#define ONE_FILE "/usr/share/ovmf/OVMF.fd"

/* UEFI of the package needs more memory than our guests, and its time. */
enum { TEST_S = 120 };

/* What the boot manager of UEFI says, which finds nothing but a shell. */
#define UEFI_WORDS "BdsDxe: "

static const char *
no_uefi(void)
{
    return access(OVMF, F_OK) ? "the package ovmf is not installed"
                              : xl_no_qemu();
}

static void
write_config(const char *lines)
{
    AUTO_FREE char *text = libspawn__str_format(
        "name = '" XL_GUEST "'\nmemory = 128\nserial = 'pty'\n"
        "accel = 'tcg'\n%s",
        lines);

    harness_write_file(XL_CONFIG, text);
}

/* Lives until the firmware talks on the serial port; its variables are a file
 * of this name then, or there is none. */
static void
assert_boots(const char *lines, const char *words, const char *variables)
{
    struct xl_process console;
    AUTO_OUTPUT struct harness_output destroyed = { 0 };
    struct stat st;

    xl_begin();
    write_config(lines);
    console = xl_start_talk("create", "-c", XL_CONFIG);
    ck_assert(xl_await_words(&console, words));
    ck_assert_int_eq(stat("state/guests/1/efi-vars", &st),
                     variables ? 0 : -1);
    if (variables) {
        struct stat original;

        ck_assert_int_eq(stat(variables, &original), 0);
        ck_assert_int_eq(st.st_size, original.st_size);
        ck_assert_int_eq(st.st_mode & 0777, 0600);
    }
    xl_say(&console, "\x1d");
    ck_assert_int_eq(xl_wait(&console), 0);
    destroyed = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&destroyed);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(firmware_uefi__boots_it_with_variables_of_its_own, TEST_S)
{
    assert_boots("firmware = 'uefi'\n", UEFI_WORDS, OVMF "/OVMF_VARS_4M.fd");
}

/* Also by the older key. */
TEST_TIMEOUT(firmware_uefi_of_a_restricted_guest__is_handed_to_it, TEST_S)
{
    assert_boots("bios = 'ovmf'\ndm_restrict = 1\n", UEFI_WORDS,
                 OVMF "/OVMF_VARS_4M.fd");
}

TEST_TIMEOUT(firmware_by_path_of_a_restricted_guest__boots_it, TEST_S)
{
    assert_boots("firmware = '" ONE_FILE "'\ndm_restrict = 1\n", UEFI_WORDS,
                 NULL);
}

/* ---- Refused ----------------------------------------------------------- */

/* On a host without the package: there it used to boot the BIOS. */
TEST_TIMEOUT(firmware_uefi_not_installed__says_what_to_install, XL_TEST_S)
{
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", OVMF, "tmpfs", 0, "size=64k") < 0) {
        TEST_SKIP("needs the right to mount");
    }
    xl_begin();
    write_config("firmware = 'uefi'\n");
    xl_assert_create_fails(1, "firmware 'ovmf' is not installed", XL_CONFIG);
    xl_assert_create_fails(1, "install the package ovmf", XL_CONFIG);
}

TEST_TIMEOUT(firmware_that_is_no_file__is_named, XL_TEST_S)
{
    xl_begin();
    write_config("firmware = '/none/firmware.bin'\n");
    xl_assert_create_fails(1, "firmware '/none/firmware.bin': No such file",
                           XL_CONFIG);
}

TEST_TIMEOUT(firmware_that_only_xen_has__is_refused, XL_TEST_S)
{
    xl_begin();
    write_config("bios = 'rombios'\n");
    xl_assert_create_fails(1, "firmware 'rombios' needs a Xen host",
                           XL_CONFIG);
    write_config("firmware = 'none-such'\n");
    xl_assert_create_fails(1, "firmware 'none-such'", XL_CONFIG);
}

TEST_TIMEOUT(firmware_bios__is_what_qemu_has, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output created = { 0 };
    AUTO_OUTPUT struct harness_output destroyed = { 0 };

    xl_begin();
    write_config("firmware = 'bios'\n");
    created = xl_run("create", XL_CONFIG);
    xl_assert_ok(&created);
    ck_assert_int_ne(access("state/guests/1/efi-vars", F_OK), 0);
    destroyed = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&destroyed);
    xl_assert_nothing_left();
}

TEST_MAIN_UNLESS("xl_firmware", no_uefi)
