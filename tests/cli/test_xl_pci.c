/*
 * PCI devices of the host under the real xl, on a made-up device tree: guests
 * with the test device model in the place of QEMU, which takes any device.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "include/libspawn-guest.h"
#include "tests/cli/supervised_story.h"
#include "tests/lib/pci_tree.h"

#define G "tale"
#define ONE "0000:01:00.0"
#define TWO "0000:02:00.0"
#define THREE "0000:03:00.0"
#define FREE_LIST ONE "\n" TWO "\n" THREE "\n"

static void
begin(void)
{
    supervised_begin();
    pci_tree_begin();
    pci_tree_add(ONE, 0x020000, "vfio-pci");
    pci_tree_add(TWO, 0x020000, "vfio-pci");
    pci_tree_add(THREE, 0x030000, "vfio-pci");
    pci_tree_add("0000:00:1f.0", 0x060100, "lpc_ich");
}

#define run_ok(...)                                                           \
    do {                                                                      \
        AUTO_OUTPUT struct harness_output output_ = xl_run(__VA_ARGS__);      \
                                                                              \
        xl_assert_ok(&output_);                                               \
    } while (0)

/* xl with these arguments fails so. */
#define assert_fails(STATUS, WORDS, ...)                                      \
    do {                                                                      \
        AUTO_OUTPUT struct harness_output output_ = xl_run(__VA_ARGS__);      \
                                                                              \
        xl_assert_error(&output_, STATUS, WORDS);                             \
    } while (0)

static char *
list_devices(void)
{
    AUTO_OUTPUT struct harness_output output = xl_run("pci-assignable-list");

    xl_assert_ok(&output);
    return TAKE_PTR(output.out);
}

static void
assert_list(const char *expected)
{
    AUTO_FREE char *list = list_devices();

    ck_assert_str_eq(list, expected);
}

/* A configuration of the guest with these devices, and other lines. */
static void
write_config(const char *guest, const char *devices, const char *lines)
{
    AUTO_FREE char *text =
        libspawn__str_format("pci = [ %s ]\n%s", devices, lines);

    supervised_write_config(guest, text);
}

/* ---- One after the other ----------------------------------------------- */

/* Covers P1. */
TEST_TIMEOUT(guest_that_wants_anothers_device__is_told_whose_it_is, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output second = { 0 };
    AUTO_OUTPUT struct harness_output listed = { 0 };

    begin();
    write_config("a", "'01:00.0'",
                 "uuid = "
                 "'aaaaaaaa-0000-4000-8000-000000000000'");
    write_config("b", "'01:00.0'", "");
    run_ok("create", "a.cfg");
    second = xl_run("create", "b.cfg");
    xl_assert_error(&second, 1,
                    "PCI device " ONE " is reserved for guest 'a' "
                    "(aaaaaaaa-0000-4000-8000-000000000000) since 20");
    listed = xl_run("list");
    assert_contains(listed.out, "a  ");
    assert_lacks(listed.out, "\nb  ");
    ck_assert_uint_eq(supervised_count_lines("b", "starts", "start"), 0);
    supervised_await_state("a", "admitted");
    run_ok("destroy", "a");
    xl_assert_nothing_left();
}

/* Covers P2. */
TEST_TIMEOUT(device_reserved_twice_by_one_name__is_one_reservation, XL_TEST_S)
{
    AUTO_FREE char *before = NULL;

    begin();
    run_ok("pci-reserve", "a", ONE);
    before = list_devices();
    run_ok("pci-reserve", "a", "1:0.0");
    assert_list(before);
    assert_contains(before, ONE "  a ");
    run_ok("pci-release", "a", ONE);
    assert_list(FREE_LIST);
}

/* Covers P3. */
TEST_TIMEOUT(device_list__has_free_and_reserved_ones_in_one_order, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output before = { 0 };
    AUTO_OUTPUT struct harness_output after = { 0 };

    begin();
    assert_list(FREE_LIST);
    before = harness_run("sh", "-c",
                         "\"$0\" pci-assignable-list --json |"
                         " grep -E 'device|class'",
                         xl_path());
    assert_contains(before.out, "class:0200#1");
    run_ok("pci-reserve", "a", "class:0200#0");
    run_ok("pci-reserve", "b", "class:0200#1");
    after = harness_run("sh", "-c",
                        "\"$0\" pci-assignable-list --json |"
                        " grep -E 'device|class'",
                        xl_path());
    ck_assert_str_eq(before.out, after.out);
    assert_fails(1, "reserved for guests named 'a'", "pci-reserve", "c",
                 "class:0200#0");
    run_ok("pci-release", "a", ONE);
    run_ok("pci-release", "b", TWO);
}

/* Covers P4. */
TEST_TIMEOUT(guests_of_one_template__have_a_device_each, XL_TEST_S)
{
    AUTO_FREE char *list = NULL;

    begin();
    write_config(G, "'01:00.0|02:00.0'", "");
    run_ok("create", G ".cfg", "name='a'");
    run_ok("create", G ".cfg", "name='b'");
    assert_fails(1, "none of '01:00.0|02:00.0' can be had", "create", G ".cfg",
                 "name='c'");
    run_ok("destroy", "a");
    list = list_devices();
    assert_contains(list, ONE "\n" TWO "  b ");
    run_ok("create", G ".cfg", "name='c'");
    run_ok("destroy", "b");
    run_ok("destroy", "c");
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

/* Covers P6. */
TEST_TIMEOUT(device_of_a_destroyed_guest__is_the_next_ones_at_once, XL_TEST_S)
{
    begin();
    write_config("a", "'01:00.0'", "");
    write_config("b", "'01:00.0'", "");
    run_ok("create", "a.cfg");
    run_ok("destroy", "a");
    assert_list(FREE_LIST);
    run_ok("create", "b.cfg");
    run_ok("destroy", "b");
    run_ok("create", "-e", "a.cfg");
    assert_fails(1, "reserved for guest 'a'", "create", "-e", "b.cfg");
    run_ok("destroy", "a");
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

/* Covers P6. */
TEST_TIMEOUT(device_of_a_guest_that_did_not_start__is_free, XL_TEST_S)
{
    begin();
    write_config(G, "'01:00.0'", "");
    supervised_set_model(G, "--exit=3");
    assert_fails(3, "exited with status 3", "create", G ".cfg");
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

/* ---- Device models that die -------------------------------------------- */

/* Covers P5. */
TEST_TIMEOUT(device_model_started_again__has_the_devices_it_had, XL_TEST_S)
{
    AUTO_FREE char *before = NULL;

    begin();
    run_ok("pci-reserve", "other", ONE);
    write_config(G, "'01:00.0|02:00.0', 'class:0300#0'",
                 "on_dm_crash = 'restart'");
    run_ok("create", G ".cfg");
    run_ok("pci-release", "other", ONE);
    before = list_devices();
    assert_contains(before, ONE "\n" TWO "  " G " ");
    supervised_await_event(G, "admitted", 1);
    ck_assert_int_eq(kill(supervised_model_pid(G), SIGKILL), 0);
    supervised_await_event(G, "released", 1);
    assert_list(before);
    run_ok("destroy", G);
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

/* Covers P5: which device it is stands in QEMU's arguments. */
TEST_TIMEOUT(device_of_a_guest__is_an_argument_of_its_device_model, XL_TEST_S)
{
    AUTO_FREE char *script = NULL;
    AUTO_FREE char *arguments = NULL;

    begin();
    run_ok("pci-reserve", "other", ONE);
    write_config(G, "'01:00.0|02:00.0', '3:0.0'", "");
    script = libspawn__str_format("#!/bin/sh\necho \"$*\" >>%s/args\n"
                                  "exec %s \"$@\"\n",
                                  harness_dir(), xl_model_path());
    harness_write_file(G ".sh", script);
    run_ok("create", G ".cfg");
    arguments = harness_read_file("args");
    assert_contains(arguments, "-device vfio-pci,host=" TWO
                               " -device vfio-pci,host=" THREE " ");
    assert_lacks(arguments, ONE);
    run_ok("destroy", G);
}

/* Covers A12, P5, M8.  At true times: two seconds without a device model. */
TEST_TIMEOUT(devices_of_a_held_guest__stay_its_own_without_a_device_model,
             XL_TEST_S)
{
    AUTO_JSON struct libspawn__json *status = NULL;
    AUTO_FREE char *before = NULL;

    begin();
    unsetenv("XL_TIME_SCALE");
    write_config(G, "'01:00.0', '03:00.0'", "on_dm_crash = 'restart'");
    write_config("b", "'03:00.0'", "");
    run_ok("create", G ".cfg");
    before = list_devices();
    supervised_await_event(G, "admitted", 1);
    supervised_set_model(G, "--exit=1");
    ck_assert_int_eq(kill(supervised_model_pid(G), SIGKILL), 0);
    supervised_await_event(G, "device-model-died", 2);
    supervised_await_state(G, "backoff");
    status = supervised_status(G);
    ck_assert(!libspawn__json_member(status, "device_model_pid"));
    assert_list(before);
    assert_fails(1, "reserved for guest '" G "'", "create", "b.cfg");
    assert_fails(75, "in use by guest '" G "'", "pci-release", G, ONE);
    supervised_set_model(G, "");
    supervised_await_event(G, "released", 1);
    assert_list(before);
    run_ok("destroy", G);
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

/* Covers A12. */
TEST_TIMEOUT(devices_of_a_guest_kept_after_its_model__are_kept_until_destroyed,
             XL_TEST_S)
{
    AUTO_FREE char *before = NULL;

    begin();
    write_config(G, "'01:00.0'", "on_dm_crash = 'preserve'");
    run_ok("create", G ".cfg");
    before = list_devices();
    supervised_await_event(G, "admitted", 1);
    ck_assert_int_eq(kill(supervised_model_pid(G), SIGKILL), 0);
    supervised_await_event(G, "preserved", 1);
    assert_list(before);
    assert_fails(1, "reserved for guest '" G "'", "pci-reserve", "b", ONE);
    run_ok("destroy", G);
    assert_list(FREE_LIST);
}

/* ---- Supervisors that die ---------------------------------------------- */

/* Covers P7: a living owner is not robbed. */
TEST_TIMEOUT(device_of_a_guest_whose_supervisor_died__stays_its_own, XL_TEST_S)
{
    AUTO_FREE char *before = NULL;

    begin();
    write_config(G, "'01:00.0'", "");
    write_config("b", "'01:00.0'", "");
    run_ok("create", G ".cfg");
    before = list_devices();
    supervised_kill(G, SIGKILL);
    assert_fails(1, "reserved for guest '" G "'", "create", "b.cfg");
    assert_list(before);
    ck_assert_uint_eq(supervised_count_events(NULL, "pci-taken-over"), 0);
    run_ok("destroy", G);
    assert_list(FREE_LIST);
}

/* As somebody does who removes all guests by hand. */
static void
remove_traces(void)
{
    static const char *const parts[] = { "guests",         "store/local",
                                         "store/vm",       "store/libxl",
                                         "store/libspawn", "supervisors" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(parts); i++) {
        AUTO_FREE char *path =
            libspawn__str_format("%s/%s", getenv("XL_STATE_DIR"), parts[i]);

        assert_ok(libspawn__dir_remove_tree(path, NULL), NULL);
    }
}

/* Covers P7. */
TEST_TIMEOUT(device_of_a_guest_that_is_gone_without_a_word__is_taken_over,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output events = { 0 };
    AUTO_FREE char *list = NULL;
    pid_t model;

    begin();
    write_config(G, "'01:00.0'", "");
    write_config("b", "'01:00.0'", "");
    run_ok("create", G ".cfg");
    model = supervised_model_pid(G);
    supervised_kill(G, SIGKILL);
    ck_assert_int_eq(kill(model, SIGKILL), 0);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    remove_traces();
    assert_list(FREE_LIST);
    run_ok("create", "b.cfg");
    list = list_devices();
    assert_contains(list, ONE "  b ");
    events = xl_run("events", "b");
    assert_contains(events.out, "pci-taken-over");
    assert_contains(events.out, "PCI device " ONE " was reserved for guest "
                                "'" G "'");
    run_ok("destroy", "b");
    assert_list(FREE_LIST);
}

/* Covers P7: its creator died with it. */
TEST_TIMEOUT(device_of_a_creation_that_was_killed__is_free, XL_TEST_S)
{
    struct xl_process creation;

    begin();
    write_config(G, "'01:00.0'", "");
    write_config("b", "'01:00.0'", "");
    supervised_set_model(G, "--mute");
    creation = xl_start("-v", "create", "-e", G ".cfg");
    ck_assert(xl_await_step(&creation, "waiting for the device model"));
    assert_fails(1, "reserved for guest '" G "'", "create", "b.cfg");
    ck_assert_int_eq(kill(creation.pid, SIGKILL), 0);
    ck_assert_int_eq(xl_wait(&creation), 128 + SIGKILL);
    run_ok("create", "b.cfg");
    run_ok("destroy", "b");
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

/* ---- What is refused --------------------------------------------------- */

/* Covers P8. */
TEST_TIMEOUT(device_that_is_none__is_an_error_that_says_so, XL_TEST_S)
{
    static const struct {
        const char *device;
        const char *words;
    } cases[] = {
        { "x", "is not the address of a PCI device" },
        { "01:00.9", "is not the address of a PCI device" },
        { "ff:20.0", "is not the address of a PCI device" },
        { "class:0200", "does not have the form" },
        { "class:0200#7", "this machine has 2 of that class" },
        { "fe:00.0", "there is no PCI device 0000:fe:00.0" },
        { "ffffffff:ff:1f.7", "there is no PCI device ffffffff:ff:1f.7" },
    };
    size_t i;

    begin();
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *quoted = libspawn__str_format("'%s'", cases[i].device);

        assert_fails(1, cases[i].words, "pci-reserve", "a", cases[i].device);
        write_config(G, quoted, "");
        assert_fails(1, cases[i].words, "create", G ".cfg");
    }
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(pci_commands_without_their_arguments__explain_themselves,
             XL_TEST_S)
{
    begin();
    assert_fails(2, "which guest, and which device?", "pci-reserve", "a");
    assert_fails(2, "which guest, and which device?", "pci-release");
    assert_fails(2, "too many arguments", "pci-reserve", "a", ONE, TWO);
    assert_fails(2, "too many arguments", "pci-assignable-list", "a");
    assert_fails(1, "is not reserved", "pci-release", "a", ONE);
    assert_fails(1, "there is no guest", "pci-reserve", "77", ONE);
    setenv("XL_SYSFS_DIR", "sys", 1);
    assert_fails(1, "is not an absolute path", "pci-assignable-list");
}

/* Covers P6: what a real QEMU says of a device that is made up. */
TEST_TIMEOUT(device_that_qemu_cannot_have__is_its_error_and_free, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    begin();
    xl_write_config("pci = [ '01:00.0' ]");
    output = xl_run("create", XL_CONFIG);
    ck_assert_int_eq(output.status, 1);
    assert_contains(output.err, "exited with status 1");
    assert_contains(output.err, "vfio-pci,host=" ONE);
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

/* Covers P9. */
TEST_TIMEOUT(device_that_a_guest_may_not_have__is_denied, XL_TEST_S)
{
    begin();
    write_config(G, "'01:00.0|02:00.0'", "");
    run_ok("create", G ".cfg");
    assert_fails(1, "PCI device " THREE " is not for guest '" G "'",
                 "pci-reserve", G, THREE);
    assert_fails(1, "PCI device " THREE " is not for guest '" G "'",
                 "pci-reserve", "1", THREE);
    run_ok("pci-reserve", G, TWO);
    assert_fails(1, "is the host's own (driver 'lpc_ich')", "pci-reserve", "a",
                 "00:1f.0");
    run_ok("destroy", G);
    run_ok("pci-release", G, TWO);
    write_config(G, "'00:1f.0'", "");
    assert_fails(1, "is the host's own (driver 'lpc_ich')", "create",
                 G ".cfg");
    assert_list(FREE_LIST);
}

TEST_TIMEOUT(device_with_a_restricted_device_model__is_refused, XL_TEST_S)
{
    begin();
    write_config(G, "'01:00.0'", "dm_restrict = 1");
    assert_fails(1, "without dm_restrict", "create", G ".cfg");
    xl_assert_nothing_left();
}

/* Covers P10. */
TEST_TIMEOUT(device_that_twenty_want_at_once__is_one_ones, XL_TEST_S)
{
    enum {
        N = 20
    };
    struct xl_process processes[N];
    AUTO_FREE char *words = NULL;
    size_t winner = N;
    size_t i;

    begin();
    for (i = 0; i < N; i++) {
        AUTO_FREE char *name = libspawn__str_format("g%zu", i);

        processes[i] = xl_start("pci-reserve", name, ONE);
    }
    for (i = 0; i < N; i++) {
        int status = xl_wait(&processes[i]);

        ck_assert_msg(status == 0 || status == 1, "%d: %s", status,
                      processes[i].text);
        ck_assert_msg(status || winner == N, "two have it");
        winner = status ? winner : i;
    }
    ck_assert_uint_lt(winner, N);
    words = libspawn__str_format("PCI device " ONE
                                 " is reserved for guests named 'g%zu' since",
                                 winner);
    for (i = 0; i < N; i++) {
        if (i != winner) {
            assert_contains(processes[i].text, words);
        }
    }
}

/* Covers P11. */
TEST_TIMEOUT(guest_whose_third_device_is_taken__has_none, XL_TEST_S)
{
    AUTO_FREE char *list = NULL;

    begin();
    run_ok("pci-reserve", "other", THREE);
    write_config(G, "'01:00.0', '02:00.0', '03:00.0'", "");
    assert_fails(1,
                 "PCI device " THREE " is reserved for guests named "
                 "'other'",
                 "create", G ".cfg");
    list = list_devices();
    assert_contains(list, ONE "\n" TWO "\n" THREE "  other ");
    run_ok("pci-release", "other", THREE);
    run_ok("create", G ".cfg");
    run_ok("destroy", G);
    xl_assert_nothing_left();
}

/* Covers P12. */
TEST_TIMEOUT(guest_with_alternatives__leaves_those_that_it_does_not_use,
             XL_TEST_S)
{
    AUTO_FREE char *list = NULL;

    begin();
    write_config(G, "'09:00.0|02:00.0|01:00.0'", "");
    run_ok("create", G ".cfg");
    list = list_devices();
    assert_contains(list, ONE "\n" TWO "  " G " ");
    assert_contains(list, "\n" THREE "\n");
    run_ok("destroy", G);
}

/* ---- The library and xl ------------------------------------------------ */

/* Covers P13. */
TEST_TIMEOUT(device_refused_by_the_library__ends_xl_with_the_same_words,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_FREE char *said = NULL;
    AUTO_FREE char *watcher =
        libspawn__str_format("%s/bin/spawn-watcher", harness_build_dir());
    const struct libspawn_ctx_options options = { .watcher_path = watcher };
    struct libspawn_host *host;
    struct libspawn_ctx *ctx;
    struct libspawn_err err;

    begin();
    run_ok("pci-reserve", "a", ONE);
    assert_ok(libspawn_ctx_new(&options, &ctx, &err), &err);
    assert_ok(libspawn_host_open(ctx, NULL, &host, &err), &err);
    assert_code(libspawn_pci_reserve(host, "b", ONE, &err),
                LIBSPAWN_ERR_EXISTS);
    libspawn_host_close(host);
    libspawn_ctx_free(ctx);
    output = xl_run("pci-reserve", "b", ONE);
    said = libspawn__str_format("xl: %s\n", err.text);
    ck_assert_int_eq(output.status, 1);
    ck_assert_str_eq(output.err, said);
    ck_assert_str_eq(output.out, "");
}

/* Covers P14. */
TEST_TIMEOUT(devices_without_root__are_reserved_refused_and_given_back,
             XL_TEST_S)
{
    begin();
    write_config("a", "'01:00.0'", "");
    write_config("b", "'01:00.0'", "");
    if (!xl_become_somebody()) {
        return;
    }
    run_ok("create", "a.cfg");
    assert_fails(1, "reserved for guest 'a'", "create", "b.cfg");
    assert_fails(1, "reserved for guest 'a'", "pci-reserve", "b", ONE);
    run_ok("destroy", "a");
    assert_list(FREE_LIST);
    xl_assert_nothing_left();
}

TEST_MAIN("xl_pci")
