/*
 * What a configuration names on disk, and is not there or not usable: disks,
 * kernels, the device model.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/xl_story.h"

static void
write_bytes(const char *path, const void *bytes, size_t size, mode_t mode)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(libspawn__fd_write_full(fd, bytes, size), 0);
}

/* xl create, with one disk as in the file. */
static void
assert_disk_fails(const char *disk, const char *words)
{
    AUTO_FREE char *override = libspawn__str_format("disk=['%s']", disk);

    xl_write_config("");
    xl_assert_create_fails(1, words, XL_CONFIG, override);
}

/* ---- Disks ------------------------------------------------------------- */

TEST_TIMEOUT(disk_missing__is_named, XL_TEST_S)
{
    xl_begin();
    assert_disk_fails("missing.img,raw,hda,rw", "missing.img");
    assert_disk_fails("missing.img,raw,hda,rw", "No such file or directory");
}

TEST_TIMEOUT(disk_unreadable__is_permission_denied, XL_TEST_S)
{
    xl_begin();
    if (!xl_become_somebody()) {
        return;
    }
    write_bytes("secret.img", "x", 1, 0);
    assert_disk_fails("secret.img,raw,hda,rw", "Permission denied");
}

TEST_TIMEOUT(disk_read_only_but_written__is_permission_denied, XL_TEST_S)
{
    xl_begin();
    if (!xl_become_somebody()) {
        return;
    }
    write_bytes("old.img", "x", 1, 0444);
    assert_disk_fails("old.img,raw,hda,rw", "Permission denied");
}

TEST_TIMEOUT(disk_is_a_directory__says_so, XL_TEST_S)
{
    xl_begin();
    ck_assert_int_eq(mkdir("dir", 0755), 0);
    assert_disk_fails("dir,raw,hda,rw", "irectory");
    assert_disk_fails("dir,raw,sda,r", "irectory");
    assert_disk_fails("dir,raw,hda,r", "cannot be read-only");
}

TEST_TIMEOUT(disk_is_a_fifo__does_not_hang, XL_TEST_S)
{
    xl_begin();
    ck_assert_int_eq(mkfifo("fifo", 0644), 0);
    assert_disk_fails("fifo,raw,hda,rw", "fifo");
}

TEST_TIMEOUT(disk_in_another_format__is_named_with_the_format, XL_TEST_S)
{
    char zeros[4096] = { 0 };

    xl_begin();
    write_bytes("raw.img", zeros, sizeof zeros, 0644);
    assert_disk_fails("raw.img,qcow2,hda,rw", "is not in format qcow2");
    assert_disk_fails("raw.img,qed,hda,rw", "is not in format qed");
}

/* The header is there, but what it says is impossible; only QEMU sees it. */
TEST_TIMEOUT(disk_with_a_broken_header__is_qemus_word, XL_TEST_S)
{
    char image[4096] = "QFI\xfb\0\0\0\3";
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    write_bytes("broken.img", image, sizeof image, 0644);
    xl_write_config("disk = [ 'broken.img,qcow2,hda,rw' ]");
    output = xl_run("create", XL_CONFIG);
    xl_assert_error(&output, 1, "exited with status 1 after ");
    assert_contains(output.err, "  | ");
    assert_contains(output.err, "broken.img");
    xl_assert_nothing_left();
}

/* Only the writable one takes the lock of the image. */
TEST_TIMEOUT(disk_used_by_another_guest__is_qemus_word, XL_TEST_S)
{
    char zeros[65536] = { 0 };
    AUTO_OUTPUT struct harness_output first = { 0 };
    AUTO_OUTPUT struct harness_output second = { 0 };
    AUTO_OUTPUT struct harness_output destroy = { 0 };

    xl_begin();
    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    write_bytes("disk.img", zeros, sizeof zeros, 0644);
    xl_write_config("disk = [ 'disk.img,raw,hda,rw' ]");
    first = xl_run("create", XL_CONFIG);
    second = xl_run("create", XL_CONFIG, "name=\"other\"");
    destroy = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&first);
    xl_assert_error(&second, 1, "guest 'other'");
    assert_contains(second.err, "lock");
    xl_assert_ok(&destroy);
    xl_assert_nothing_left();
}

/* ---- Kernel ------------------------------------------------------------ */

TEST_TIMEOUT(kernel_missing__is_named, XL_TEST_S)
{
    xl_begin();
    xl_write_config("");
    xl_assert_create_fails(1, "kernel", XL_CONFIG, "kernel=\"vmlinuz\"");
}

TEST_TIMEOUT(ramdisk_missing__is_named, XL_TEST_S)
{
    xl_begin();
    xl_write_config("");
    harness_write_file("vmlinuz", "x");
    xl_assert_create_fails(1, "ramdisk", XL_CONFIG, "kernel=\"vmlinuz\"",
                           "ramdisk=\"initrd\"");
}

/* ---- Device model ------------------------------------------------------ */

static void
assert_model_fails(const char *name, int status, const char *words)
{
    AUTO_FREE char *override = libspawn__str_format(
        "device_model_override=\"%s/%s\"", harness_dir(), name);
    int64_t began = libspawn__clock_now_ms();

    xl_write_config("");
    xl_assert_create_fails(status, words, XL_CONFIG, override);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 3000);
    xl_assert_create_fails(status, name, XL_CONFIG, override);
}

/* Covers X1. */
TEST_TIMEOUT(model_missing__is_127_and_named, XL_TEST_S)
{
    xl_begin();
    assert_model_fails("qemu", 127, "No such file or directory");
}

/* Covers X1. */
TEST_TIMEOUT(model_not_executable__is_126_and_named, XL_TEST_S)
{
    xl_begin();
    write_bytes("qemu", "#!/bin/sh\n", 10, 0644);
    assert_model_fails("qemu", 126, "Permission denied");
}

/* Covers X1. */
TEST_TIMEOUT(model_is_a_directory__is_126, XL_TEST_S)
{
    xl_begin();
    ck_assert_int_eq(mkdir("qemu", 0755), 0);
    assert_model_fails("qemu", 126, "Permission denied");
}

/* Covers X1. */
TEST_TIMEOUT(model_of_another_machine__is_126_and_says_format, XL_TEST_S)
{
    Elf64_Ehdr header = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                     ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC,
        .e_machine = 0xfeed,
        .e_version = EV_CURRENT,
    };

    xl_begin();
    write_bytes("qemu", &header, sizeof header, 0755);
    assert_model_fails("qemu", 126, "Exec format error");
}

/* As another user, whose directories we may not enter. */
TEST_TIMEOUT(model_in_a_closed_directory__is_permission_denied, XL_TEST_S)
{
    xl_begin();
    if (!xl_become_somebody()) {
        return;
    }
    ck_assert_int_eq(mkdir("closed", 0), 0);
    assert_model_fails("closed/qemu", 126, "Permission denied");
}

TEST_MAIN("xl_files")
