/*
 * A state directory that cannot be used, and a host that runs out of things:
 * disk space, descriptors, processes, memory.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/xl_story.h"

/* What the model does when everything before it works. */
enum {
    EXIT_OF_MODEL = 3
};

static void
begin_with_model(void)
{
    xl_begin();
    xl_write_model_config("'--exit=3'");
}

/* ---- The directory ----------------------------------------------------- */

TEST_TIMEOUT(state_directory_without_parent__is_an_error_and_is_not_made,
             XL_TEST_S)
{
    begin_with_model();
    setenv("XL_STATE_DIR", "/nonexistent/a", 1);
    xl_assert_create_fails(1, "/nonexistent/a", XL_CONFIG);
    ck_assert_int_ne(access("/nonexistent", F_OK), 0);
}

TEST_TIMEOUT(state_directory_that_is_a_file__is_an_error, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_model();
    harness_write_file("state", "");
    output = xl_run("create", XL_CONFIG);
    xl_assert_error(&output, 1, "Not a directory");
}

TEST_TIMEOUT(state_directory_as_an_option__goes_before_the_environment,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_model();
    output = xl_run("--state-dir=other", "create", XL_CONFIG);
    ck_assert_int_eq(output.status, EXIT_OF_MODEL);
    ck_assert_int_eq(access("other/log/qemu-dm-" XL_GUEST ".log", F_OK), 0);
    ck_assert_int_ne(access("state", F_OK), 0);
}

TEST_TIMEOUT(state_directory_read_only__is_permission_denied, XL_TEST_S)
{
    begin_with_model();
    if (!xl_become_somebody()) {
        return;
    }
    ck_assert_int_eq(mkdir("state", 0555), 0);
    xl_assert_create_fails(1, "Permission denied", XL_CONFIG);
}

/* A mount that only this test sees. */
static bool
mount_state(const char *options, unsigned long flags)
{
    mkdir("state", 0755);
    return unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "state", "tmpfs", flags, options) == 0;
}

TEST_TIMEOUT(state_directory_on_a_read_only_disk__says_so, XL_TEST_S)
{
    begin_with_model();
    if (!mount_state("", MS_RDONLY)) {
        TEST_SKIP("needs the right to mount");
    }
    xl_assert_create_fails(1, "Read-only file system", XL_CONFIG);
}

/* ---- The store --------------------------------------------------------- */

TEST_TIMEOUT(store_that_is_a_file__is_one_error, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_model();
    ck_assert_int_eq(mkdir("state", 0755), 0);
    harness_write_file("state/store", "");
    output = xl_run("create", XL_CONFIG);
    xl_assert_error(&output, 1, "state/store");
    ck_assert(harness_wait_children(XL_WAIT_MS));
}

TEST_TIMEOUT(store_that_may_not_be_read__is_permission_denied, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    begin_with_model();
    if (!xl_become_somebody()) {
        return;
    }
    ck_assert_int_eq(mkdir("state", 0755), 0);
    ck_assert_int_eq(mkdir("state/store", 0), 0);
    output = xl_run("create", XL_CONFIG);
    xl_assert_error(&output, 1, "Permission denied");
}

/* ---- Out of disk space ------------------------------------------------- */

static void
assert_fails_for_space_or_model(const char *options)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    ck_assert_int_eq(mount("none", "state", "tmpfs", 0, options), 0);
    output = xl_run("create", XL_CONFIG);
    if (output.status != EXIT_OF_MODEL) {
        /* The store has its own words for it. */
        xl_assert_error(&output, 1,
                        strstr(output.err, "No space left on device")
                            ? "No space left on device"
                            : "the file system is full");
    }
    xl_assert_nothing_left();
    ck_assert_int_eq(umount2("state", MNT_DETACH), 0);
}

/* Each size lets the creation get a little further. */
TEST_TIMEOUT(disk_full_at_any_point__is_one_error_and_nothing_left, XL_TEST_S)
{
    int n;

    begin_with_model();
    if (!mount_state("size=4k", 0)) {
        TEST_SKIP("needs the right to mount");
    }
    umount2("state", MNT_DETACH);
    for (n = 1; n <= 24; n++) {
        AUTO_FREE char *options = libspawn__str_format("size=%dk", 4 * n);

        assert_fails_for_space_or_model(options);
    }
}

/* Every file and directory needs one. */
TEST_TIMEOUT(inodes_used_up_at_any_point__is_one_error_and_nothing_left,
             XL_TEST_S)
{
    int n;

    begin_with_model();
    if (!mount_state("size=4k", 0)) {
        TEST_SKIP("needs the right to mount");
    }
    umount2("state", MNT_DETACH);
    for (n = 2; n <= 48; n++) {
        AUTO_FREE char *options =
            libspawn__str_format("size=1m,nr_inodes=%d", n);

        assert_fails_for_space_or_model(options);
    }
}

static void
fill_disk(void)
{
    char zeros[4096] = { 0 };
    AUTO_FD int fd = open("state/log/full", O_WRONLY | O_CREAT, 0644);

    ck_assert_int_ge(fd, 0);
    while (!libspawn__fd_write_full(fd, zeros, sizeof zeros)) {
    }
}

/* Space must not be needed to get rid of something. */
TEST_TIMEOUT(disk_full_while_a_guest_runs__it_can_be_destroyed, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output create = { 0 };
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_OUTPUT struct harness_output destroy = { 0 };

    xl_begin();
    xl_write_config("");
    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    if (!mount_state("size=512k", 0)) {
        TEST_SKIP("needs the right to mount");
    }
    create = xl_run("create", XL_CONFIG);
    xl_assert_ok(&create);
    fill_disk();
    list = xl_run("list");
    xl_assert_ok(&list);
    destroy = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&destroy);
    xl_assert_nothing_left();
}

/* ---- Out of other things ----------------------------------------------- */

static void
limit(int resource, rlim_t n)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(resource, &limit), 0);
    limit.rlim_cur = n;
    ck_assert_int_eq(setrlimit(resource, &limit), 0);
}

/* Runs xl with fewer descriptors than the test itself has. */
static struct harness_output
create_with_descriptors(int n)
{
    AUTO_FREE char *script =
        libspawn__str_format("ulimit -n %d; exec \"$0\" create " XL_CONFIG, n);

    return harness_run("/bin/sh", "-c", script, xl_path());
}

TEST_TIMEOUT(descriptors_used_up_at_any_point__is_one_error, XL_TEST_S)
{
    int n;

    begin_with_model();
    for (n = 5; n <= 40; n++) {
        AUTO_OUTPUT struct harness_output output = create_with_descriptors(n);

        if (output.status != EXIT_OF_MODEL) {
            xl_assert_error(&output, 1, "Too many open files");
        }
        xl_assert_nothing_left();
    }
}

/* Covers X16. */
TEST_TIMEOUT(processes_used_up__is_one_error, XL_TEST_S)
{
    enum {
        OURS = 2,  /* this test and xl */
        NEEDED = 3 /* supervisor, watcher, child */
    };
    AUTO_OUTPUT struct harness_output enough = { 0 };
    unsigned int n;

    begin_with_model();
    /* The leak checker of a sanitized program needs a process, too. */
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    if (!xl_become_somebody()) {
        return;
    }
    for (n = OURS; n < OURS + NEEDED; n++) {
        AUTO_OUTPUT struct harness_output output = { 0 };

        limit(RLIMIT_NPROC, n);
        output = xl_run("create", XL_CONFIG);
        xl_assert_error(&output, 1, "Resource temporarily unavailable");
        xl_assert_nothing_left();
    }
    limit(RLIMIT_NPROC, 16);
    enough = xl_run("create", XL_CONFIG);
    ck_assert_int_eq(enough.status, EXIT_OF_MODEL);
}

/* It needs more addresses than any limit that would mean something. */
static bool
is_address_sanitized(void)
{
    return strstr(harness_build_dir(), "/asan") != NULL;
}

TEST_TIMEOUT(memory_for_the_guest_is_not_there__is_qemus_word, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    if (is_address_sanitized()) {
        TEST_SKIP("the address sanitizer needs all addresses");
    }
    xl_begin();
    xl_write_config("");
    output = harness_run("/bin/sh", "-c",
                         "ulimit -v 3000000; exec \"$0\" create " XL_CONFIG
                         " memory=16384",
                         xl_path());
    xl_assert_error(&output, 1, "exited with status 1 after ");
    assert_contains(output.err, "Cannot allocate memory");
    xl_assert_nothing_left();
}

/* xl itself gets less and less; it may fail, but not crash. */
TEST_TIMEOUT(memory_for_xl_is_not_there__is_an_error, XL_TEST_S)
{
    int mib;

    if (is_address_sanitized()) {
        TEST_SKIP("the address sanitizer needs all addresses");
    }
    begin_with_model();
    for (mib = 3; mib <= 16; mib++) {
        AUTO_FREE char *script = libspawn__str_format(
            "ulimit -v %d; exec \"$0\" create " XL_CONFIG, mib * 512);
        AUTO_OUTPUT struct harness_output output =
            harness_run("/bin/sh", "-c", script, xl_path());

        /* 127: not even the dynamic loader had enough. */
        ck_assert_msg(output.status == 1 || output.status == EXIT_OF_MODEL ||
                          output.status == 127,
                      "with %d KiB the status is %d:\n%s", mib * 512,
                      output.status, output.err);
        xl_assert_nothing_left();
    }
}

TEST_MAIN("xl_state")
