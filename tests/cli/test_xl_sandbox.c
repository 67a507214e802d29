/*
 * QEMU's own filter of system calls: on wherever the program knows it, and
 * never in the way of a program that does not.
 */
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/str.h"
#include "dm/probe.h"
#include "proc/record.h"
#include "store/paths.h"
#include "tests/cli/xl_story.h"

#define QEMU "/usr/bin/qemu-system-x86_64"
#define CACHE "state/cache/device-models"

/* /proc/PID/status of the guest's device model. */
static char *
read_status(void)
{
    AUTO_OUTPUT struct harness_output domid = xl_run("domid", XL_GUEST);
    AUTO_FREE char *node = NULL;
    AUTO_FREE char *path = NULL;
    struct libspawn__store *store = NULL;
    struct libspawn__record record;
    struct libspawn_err err;

    xl_assert_ok(&domid);
    node = libspawn__path_new(LIBSPAWN__PATH_RECORD,
                              (unsigned int)strtoul(domid.out, NULL, 10));
    assert_ok(libspawn__store_open("dir:state/store", &store, &err), &err);
    assert_ok(libspawn__record_read(store, node, &record, &err), &err);
    libspawn__store_close(store);
    path = libspawn__str_format("/proc/%d/status", (int)record.child.pid);
    return harness_read_file(path);
}

static void
create(void)
{
    AUTO_OUTPUT struct harness_output output = xl_run("create", XL_CONFIG);

    xl_assert_ok(&output);
}

/* Runs the guest of XL_CONFIG for a moment: is its QEMU under a filter? */
static bool
is_filtered(void)
{
    AUTO_FREE char *status = NULL;
    bool ok;

    create();
    status = read_status();
    ok = strstr(status, "\nSeccomp:\t2\n");
    ck_assert(ok || strstr(status, "\nSeccomp:\t0\n"));
    xl_destroy_guest();
    return ok;
}

/* A program that runs QEMU; 'lines' come before that. */
static void
write_wrapper(const char *lines)
{
    AUTO_FREE char *text =
        libspawn__str_format("#!/bin/sh\n%sexec " QEMU " \"$@\"\n", lines);
    AUTO_FREE char *config = libspawn__str_format(
        "device_model_override = \"%s/wrapper\"\n", harness_dir());

    harness_write_file("wrapper", text);
    ck_assert_int_eq(chmod("wrapper", 0700), 0);
    xl_write_config(config);
}

/* ---- With --------------------------------------------------------------- */

TEST_TIMEOUT(sandbox_of_qemu__is_on_after_one_probe, XL_TEST_S)
{
    AUTO_FREE char *cache = NULL;
    struct stat first;
    struct stat second;

    xl_begin();
    xl_write_config("");
    ck_assert(is_filtered());
    cache = harness_read_file(CACHE);
    assert_contains(cache, " 0 sandbox");
    ck_assert_int_eq(stat(CACHE, &first), 0);
    ck_assert(is_filtered());
    /* A second answer would have made another file. */
    ck_assert_int_eq(stat(CACHE, &second), 0);
    ck_assert_uint_eq(second.st_ino, first.st_ino);
}

/* What a guest may have: each needs what a filter could take away. */
TEST_TIMEOUT(sandbox_of_a_guest_with_everything__lets_it_work, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output picture = { 0 };

    xl_begin();
    harness_write_file(XL_CONFIG,
                       "name = '" XL_GUEST "'\nmemory = 32\nvcpus = 2\n"
                       "vnc = 1\nvncunused = 1\nserial = 'pty'\n"
                       "vif = [ '' ]\nusb = 1\nusbdevice = 'tablet'\n"
                       "soundhw = 'ac97'\n");
    create();
    picture = xl_run("screenshot", XL_GUEST, "picture.png");
    xl_assert_ok(&picture);
    xl_destroy_guest();
}

/* ---- Without ------------------------------------------------------------ */

TEST_TIMEOUT(sandbox_of_qemu_built_without__is_not_asked_for, XL_TEST_S)
{
    AUTO_FREE char *cache = NULL;

    xl_begin();
    write_wrapper("[ \"$1\" != -sandbox ] || {\n"
                  "echo \"-sandbox support is not enabled\" >&2; exit 1; }\n");
    ck_assert(!is_filtered());
    cache = harness_read_file(CACHE);
    assert_lacks(cache, "sandbox");
    assert_contains(cache, "chroot");
}

TEST_TIMEOUT(sandbox_of_the_configuration__replaces_ours, XL_TEST_S)
{
    xl_begin();
    xl_write_config("device_model_args_hvm = [ '-sandbox', 'off' ]\n");
    ck_assert(!is_filtered());
    xl_write_config("device_model_args_hvm = [ '--sandbox', 'off' ]\n");
    ck_assert(!is_filtered());
}

TEST_TIMEOUT(sandbox_with_a_change_of_user__allows_that, XL_TEST_S)
{
    if (geteuid() != 0) {
        TEST_SKIP("only root can change the user");
    }
    xl_begin();
    xl_write_config("device_model_args_hvm = [ '-runas', 'nobody' ]\n");
    ck_assert(is_filtered());
}

/* ---- What does not answer ---------------------------------------------- */

/* The cause is what the start meets, not what the question did. */
TEST_TIMEOUT(sandbox_of_a_program_that_fails__is_no_other_failure, XL_TEST_S)
{
    xl_begin();
    xl_write_config("device_model_override = \"/bin/false\"\n");
    xl_assert_create_fails(1, "device model '/bin/false' exited with status 1",
                           XL_CONFIG);
    xl_assert_create_fails(1, "device model '/bin/false' exited with status 1",
                           XL_CONFIG);
    xl_write_config("device_model_override = \"/no/such/program\"\n");
    xl_assert_create_fails(127, "'/no/such/program'", XL_CONFIG);
}

TEST_TIMEOUT(sandbox_of_a_program_that_hangs__takes_half_of_the_time_more,
             XL_TEST_S)
{
    AUTO_FREE char *config = libspawn__str_format(
        "device_model_override = \"%s/hang\"\nstart_timeout = 1\n",
        harness_dir());
    AUTO_OUTPUT struct harness_output output = { 0 };
    int64_t began;

    xl_begin();
    harness_write_file("hang", "#!/bin/sh\nexec tail -f /dev/null\n");
    ck_assert_int_eq(chmod("hang", 0700), 0);
    xl_write_config(config);
    began = libspawn__clock_now_ms();
    output = xl_run("create", XL_CONFIG);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 4000);
    ck_assert_int_eq(output.status, 124);
    assert_contains(output.err, "did not say within 500 ms");
    assert_contains(output.err, "was not ready within 1 s");
    xl_assert_nothing_left();
}

/* Not silently, and only this once. */
TEST_TIMEOUT(sandbox_of_qemu_that_answers_late__is_off_with_a_warning,
             XL_TEST_S)
{
    AUTO_FREE char *lines = libspawn__str_format(
        "[ -e %s/asked ] || { touch %s/asked; exec tail -f /dev/null; }\n",
        harness_dir(), harness_dir());
    AUTO_OUTPUT struct harness_output late = { 0 };
    AUTO_OUTPUT struct harness_output again = { 0 };

    xl_begin();
    write_wrapper(lines);
    late = xl_run("create", XL_CONFIG);
    ck_assert_int_eq(late.status, 0);
    assert_contains(late.err, "did not say within 2000 ms");
    assert_contains(late.err, "without its sandbox");
    xl_destroy_guest();
    again = xl_run("create", XL_CONFIG);
    xl_assert_ok(&again);
    xl_destroy_guest();
}

/* Neither the program nor its deadline, half of a long one, is waited for. */
TEST_TIMEOUT(interrupt_while_it_is_asked__undoes_all_at_once, XL_TEST_S)
{
    struct xl_process process;
    int64_t began;

    xl_begin();
    write_wrapper("[ \"$1\" != -sandbox ] || exec tail -f /dev/null\n");
    process = xl_start("-v", "create", XL_CONFIG);
    ck_assert(xl_await_step(&process, "starting the device model"));
    began = libspawn__clock_now_ms();
    kill(process.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&process), 128 + SIGINT);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 1000);
    xl_assert_nothing_left();
}

TEST_MAIN_UNLESS("xl_sandbox", xl_no_qemu)
