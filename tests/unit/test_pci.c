/*
 * guest/pci.c: who gets a device, who has it, and when it is free again.
 * Without a guest, its nodes stand for it; without root and without a device.
 */
/* Covers P14. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "guest/names.h"
#include "guest/pci.h"
#include "store/paths.h"
#include "tests/lib/harness.h"
#include "tests/lib/pci_tree.h"

#define ONE "0000:01:00.0"
#define TWO "0000:02:00.0"
#define THREE "0000:03:00.0"
#define UUID_A "aaaaaaaa-0000-4000-8000-000000000000"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000000"

static char state_dir[] = ".";
static char sysfs_dir[] = PCI_TREE;
static char warned[512];

static void
on_warning(void *user, const char *sentence)
{
    (void)user;
    snprintf(warned, sizeof warned, "%s", sentence);
}

static void
begin(struct libspawn_host *host)
{
    struct libspawn_err err;

    *host = (struct libspawn_host){ .hypervisor = &libspawn__hypervisor_qemu,
                                    .state_dir = state_dir,
                                    .sysfs_dir = sysfs_dir,
                                    .warning = on_warning };
    assert_ok(libspawn__store_open("dir:store", &host->store, &err), &err);
    ck_assert_int_eq(mkdir("locks", 0700), 0);
    pci_tree_begin();
    pci_tree_add(ONE, 0x020000, "vfio-pci");
    pci_tree_add(TWO, 0x020000, "vfio-pci");
    pci_tree_add(THREE, 0x030000, "mlx5-vfio-pci");
}

static void
end(struct libspawn_host *host)
{
    libspawn__store_close(host->store);
}

/* Its node, by which a guest is known to be there. */
static void
make_guest(struct libspawn_host *host, const char *uuid, const char *created)
{
    AUTO_FREE char *vm = libspawn__path_vm(uuid);
    AUTO_FREE char *path = libspawn__str_format("%s/start_time", vm);
    struct libspawn_err err;

    assert_ok(libspawn__store_puts(host->store, NULL, path, created, &err),
              &err);
}

static void
lose_guest(struct libspawn_host *host, const char *uuid)
{
    AUTO_FREE char *vm = libspawn__path_vm(uuid);

    libspawn__store_discard(host->store, NULL, vm, NULL);
}

/* For a guest that asks for these, NULL at the end; what it gets, with blanks
 * in between. */
static int
reserve(struct libspawn_host *host, const char *name, const char *uuid,
        const char *const items[], char **got_r, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv pci = { 0 };
    AUTO_STRV struct libspawn__strv got = { 0 };
    AUTO_BUF struct libspawn__buf buf = { 0 };
    AUTO_FREE char *copy = strdup(name);
    struct libspawn_guest_config config = { .name = copy };
    size_t i;
    int rc;

    for (i = 0; items[i]; i++) {
        assert_ok(libspawn__strv_add(&pci, items[i], NULL), NULL);
    }
    config.pci = pci.items;
    config.n_pci = pci.n_items;
    rc = libspawn__pci_reserve_for_guest(host, &config, uuid, &got, err);
    for (i = 0; i < got.n_items; i++) {
        libspawn__buf_printf(&buf, "%s%s", i ? " " : "", got.items[i]);
    }
    if (!rc && got_r) {
        *got_r = libspawn__buf_take(&buf);
    }
    return rc;
}

#define RESERVE(NAME, UUID, ERR, ...)                                         \
    reserve(&host, NAME, UUID, (const char *const[]){ __VA_ARGS__, NULL },    \
            NULL, ERR)

static void
assert_gets(struct libspawn_host *host, const char *name, const char *uuid,
            const char *item, const char *expected)
{
    const char *const items[] = { item, NULL };
    AUTO_FREE char *got = NULL;
    struct libspawn_err err;

    assert_ok(reserve(host, name, uuid, items, &got, &err), &err);
    ck_assert_str_eq(got, expected);
}

/* All devices with their owners: "1:a 2:- 3:-". */
static void
assert_list(struct libspawn_host *host, const char *expected)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    struct libspawn_pci_info *list;
    struct libspawn_err err;
    size_t n;
    size_t i;

    assert_ok(libspawn_pci_list(host, &list, &n, &err), &err);
    for (i = 0; i < n; i++) {
        libspawn__buf_printf(
            &buf, "%s%c:%s%s", i ? " " : "", list[i].address[6],
            list[i].guest ? list[i].guest : "-", list[i].is_kept ? "!" : "");
    }
    libspawn_pci_list_free(list, n);
    ck_assert_str_eq(buf.data, expected);
}

/* ---- Guests ------------------------------------------------------------ */

/* Covers P1. */
TEST(pci_device_of_another_guest__is_refused_with_its_name_uuid_and_time)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    make_guest(&host, UUID_B, "100");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    assert_code(RESERVE("b", UUID_B, &err, ONE), LIBSPAWN_ERR_EXISTS);
    assert_contains(err.text, "PCI device " ONE " is reserved for guest 'a' "
                              "(" UUID_A ") since 20");
    assert_list(&host, "1:a 2:- 3:-");
    end(&host);
}

/* Covers P2. */
TEST(pci_device_reserved_again_by_its_guest__is_the_same_reservation)
{
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *after = NULL;
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    before = harness_read_file("pci");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    after = harness_read_file("pci");
    ck_assert_str_eq(before, after);
    end(&host);
}

/* Covers P4. */
TEST(pci_devices_of_two_guests__are_given_back_one_guest_at_a_time)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    make_guest(&host, UUID_B, "100");
    assert_gets(&host, "a", UUID_A, ONE "|" TWO, ONE);
    assert_gets(&host, "b", UUID_B, ONE "|" TWO, TWO);
    libspawn__pci_release_guest(&host, UUID_A);
    assert_list(&host, "1:- 2:b 3:-");
    assert_ok(RESERVE("b", UUID_B, &err, TWO), &err);
    libspawn__pci_release_guest(&host, UUID_B);
    ck_assert_int_ne(access("pci", F_OK), 0);
    end(&host);
}

/* Covers P7. */
TEST(pci_device_of_a_guest_that_is_gone__is_taken_over_and_told)
{
    AUTO_FREE char *events = NULL;
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    make_guest(&host, UUID_B, "100");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    lose_guest(&host, UUID_A);
    assert_list(&host, "1:- 2:- 3:-");
    assert_ok(RESERVE("b", UUID_B, &err, ONE), &err);
    assert_list(&host, "1:b 2:- 3:-");
    events = harness_read_file("events");
    assert_contains(events, "\"guest\":\"b\"");
    assert_contains(events, "\"event\":\"pci-taken-over\"");
    assert_contains(events, "PCI device " ONE " was reserved for guest 'a' "
                            "(" UUID_A ")");
    end(&host);
}

/* Covers P7.  A uuid that the configuration gives comes again. */
TEST(pci_device_of_a_former_guest_of_that_uuid__is_taken_over_and_told)
{
    AUTO_FREE char *events = NULL;
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    make_guest(&host, UUID_A, "200");
    assert_list(&host, "1:- 2:- 3:-");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    assert_list(&host, "1:a 2:- 3:-");
    events = harness_read_file("events");
    assert_contains(events, "pci-taken-over");
    end(&host);
}

/* Two guests that were given one uuid, one after the other. */
TEST(pci_device_kept_for_a_name__is_not_another_names_of_the_same_uuid)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    assert_ok(libspawn_pci_reserve(&host, "a", ONE, &err), &err);
    make_guest(&host, UUID_A, "200");
    assert_code(RESERVE("b", UUID_A, &err, ONE), LIBSPAWN_ERR_EXISTS);
    assert_list(&host, "1:a! 2:- 3:-");
    end(&host);
}

/* Covers P7: what cannot be told is no end of a guest. */
TEST(pci_device_of_a_guest_that_cannot_be_looked_at__is_not_taken)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    make_guest(&host, UUID_B, "100");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    make_guest(&host, UUID_A, "rubbish");
    assert_code(RESERVE("b", UUID_B, &err, ONE), LIBSPAWN_ERR_EXISTS);
    end(&host);
}

/* Covers P11. */
TEST(pci_third_device_taken__leaves_the_first_two_free)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    make_guest(&host, UUID_B, "100");
    assert_ok(RESERVE("a", UUID_A, &err, THREE), &err);
    assert_code(RESERVE("b", UUID_B, &err, ONE, TWO, THREE),
                LIBSPAWN_ERR_EXISTS);
    assert_contains(err.text, "PCI device " THREE " is reserved");
    assert_list(&host, "1:- 2:- 3:a");
    end(&host);
}

/* Covers P12. */
TEST(pci_alternatives__take_one_and_the_same_again)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    make_guest(&host, UUID_B, "100");
    assert_ok(RESERVE("b", UUID_B, &err, ONE), &err);
    assert_gets(&host, "a", UUID_A, "09:00.0|" ONE "|" TWO "|" THREE, TWO);
    assert_list(&host, "1:b 2:a 3:-");
    libspawn__pci_release_guest(&host, UUID_B);
    assert_gets(&host, "a", UUID_A, "09:00.0|" ONE "|" TWO "|" THREE, TWO);
    assert_list(&host, "1:- 2:a 3:-");
    assert_code(RESERVE("b", UUID_B, &err, TWO "|09:00.0"),
                LIBSPAWN_ERR_EXISTS);
    assert_contains(err.text, "none of '" TWO "|09:00.0' can be had: ");
    end(&host);
}

TEST(pci_configuration_that_changed__gives_back_what_is_not_wanted)
{
    const char *const nothing[] = { NULL };
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    assert_ok(RESERVE("a", UUID_A, &err, ONE, TWO), &err);
    assert_ok(RESERVE("a", UUID_A, &err, TWO, THREE), &err);
    assert_list(&host, "1:- 2:a 3:a");
    assert_ok(reserve(&host, "a", UUID_A, nothing, NULL, &err), &err);
    assert_list(&host, "1:- 2:- 3:-");
    end(&host);
}

TEST(pci_device_asked_for_twice__is_invalid)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    assert_code(RESERVE("a", UUID_A, &err, ONE, "class:0200#0"),
                LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, ONE " is asked for twice");
    assert_gets(&host, "a", UUID_A, "class:0200#1|" ONE, TWO);
    end(&host);
}

/* Covers P9. */
TEST(pci_device_that_the_host_uses__is_denied)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    pci_tree_set_driver(ONE, "e1000e");
    pci_tree_set_driver(TWO, NULL);
    assert_code(RESERVE("a", UUID_A, &err, ONE), LIBSPAWN_ERR_DENIED);
    assert_contains(err.text, "driver 'e1000e'");
    assert_code(RESERVE("a", UUID_A, &err, TWO), LIBSPAWN_ERR_DENIED);
    assert_contains(err.text, "has no driver");
    assert_list(&host, "3:-");
    end(&host);
}

TEST(pci_table_that_makes_no_sense__gives_nothing_and_is_warned_of)
{
    struct libspawn_pci_info *list;
    struct libspawn_host host;
    struct libspawn_err err;
    size_t n;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    harness_write_file("pci", "{}");
    assert_code(RESERVE("a", UUID_A, &err, ONE), LIBSPAWN_ERR_PROTOCOL);
    assert_code(libspawn_pci_list(&host, &list, &n, &err),
                LIBSPAWN_ERR_PROTOCOL);
    libspawn__pci_release_guest(&host, UUID_A);
    assert_contains(warned, "makes no sense");
    end(&host);
}

/* ---- Names ------------------------------------------------------------- */

/* Covers P2. */
TEST(pci_device_kept_for_a_name__is_for_its_guests_and_nobody_else)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    make_guest(&host, UUID_B, "100");
    assert_ok(libspawn_pci_reserve(&host, "a", "01:00.0", &err), &err);
    assert_ok(libspawn_pci_reserve(&host, "a", "class:0200#0", &err), &err);
    assert_list(&host, "1:a! 2:- 3:-");
    assert_code(RESERVE("b", UUID_B, &err, ONE), LIBSPAWN_ERR_EXISTS);
    assert_contains(err.text, "reserved for guests named 'a' since 20");
    assert_code(libspawn_pci_reserve(&host, "b", ONE, &err),
                LIBSPAWN_ERR_EXISTS);
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    assert_code(RESERVE("b", UUID_B, &err, ONE), LIBSPAWN_ERR_EXISTS);
    assert_contains(err.text, UUID_A);
    libspawn__pci_release_guest(&host, UUID_A);
    assert_list(&host, "1:a! 2:- 3:-");
    assert_ok(libspawn_pci_release(&host, "a", ONE, &err), &err);
    assert_list(&host, "1:- 2:- 3:-");
    end(&host);
}

TEST(pci_release_of_what_a_guest_has__waits_for_its_end)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    make_guest(&host, UUID_A, "100");
    assert_ok(RESERVE("a", UUID_A, &err, ONE), &err);
    assert_code(libspawn_pci_release(&host, "a", ONE, &err),
                LIBSPAWN_ERR_BUSY);
    assert_contains(err.text, "in use by guest 'a'");
    assert_ok(libspawn_pci_reserve(&host, "a", ONE, &err), &err);
    assert_ok(libspawn_pci_release(&host, "a", ONE, &err), &err);
    assert_list(&host, "1:a 2:- 3:-");
    lose_guest(&host, UUID_A);
    assert_ok(libspawn_pci_release(&host, "a", ONE, &err), &err);
    assert_list(&host, "1:- 2:- 3:-");
    end(&host);
}

TEST(pci_release_of_what_is_free_or_anothers__fails)
{
    struct libspawn_host host;
    struct libspawn_err err;

    begin(&host);
    assert_code(libspawn_pci_release(&host, "a", ONE, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_ok(libspawn_pci_reserve(&host, "a", ONE, &err), &err);
    assert_code(libspawn_pci_release(&host, "b", ONE, &err),
                LIBSPAWN_ERR_EXISTS);
    assert_contains(err.text, "'a'");
    assert_list(&host, "1:a! 2:- 3:-");
    end(&host);
}

/* Covers P3: what was unplugged is still somebody's. */
TEST(pci_device_unplugged_while_reserved__is_listed_and_can_be_released)
{
    struct libspawn_pci_info *list;
    struct libspawn_host host;
    struct libspawn_err err;
    size_t n = 0;

    begin(&host);
    assert_ok(libspawn_pci_reserve(&host, "a", TWO, &err), &err);
    pci_tree_remove(TWO);
    assert_list(&host, "1:- 2:a! 3:-");
    assert_ok(libspawn_pci_list(&host, &list, &n, &err), &err);
    ck_assert(!list[1].is_assignable);
    ck_assert_str_eq(list[1].class_number, "");
    libspawn_pci_list_free(list, n);
    assert_ok(libspawn_pci_release(&host, "a", TWO, &err), &err);
    assert_list(&host, "1:- 3:-");
    end(&host);
}

/* Covers P3. */
TEST(pci_list__numbers_devices_alike_before_and_after_a_reservation)
{
    static const char *const numbers[] = { "class:0200#0", "class:0200#1",
                                           "class:0300#0" };
    struct libspawn_host host;
    struct libspawn_err err;
    int round;

    begin(&host);
    for (round = 0; round < 2; round++) {
        struct libspawn_pci_info *list;
        size_t n = 0;
        size_t i;

        assert_ok(libspawn_pci_list(&host, &list, &n, &err), &err);
        ck_assert_uint_eq(n, ARRAY_SIZE(numbers));
        for (i = 0; i < n; i++) {
            ck_assert_str_eq(list[i].class_number, numbers[i]);
        }
        libspawn_pci_list_free(list, n);
        assert_ok(libspawn_pci_reserve(&host, "a", ONE, &err), &err);
    }
    end(&host);
}

/* Covers P8. */
TEST(pci_reserve_of_nonsense__says_what_is_wrong_and_changes_nothing)
{
    static const struct {
        const char *name;
        const char *device;
        int code;
    } cases[] = {
        { "a", "", LIBSPAWN_ERR_INVALID },
        { "a", "01:00", LIBSPAWN_ERR_INVALID },
        { "a", "01:20.0", LIBSPAWN_ERR_INVALID },
        { "a", ONE "|" TWO, LIBSPAWN_ERR_INVALID },
        { "", ONE, LIBSPAWN_ERR_INVALID },
        { "a/b", ONE, LIBSPAWN_ERR_INVALID },
        { "1", ONE, LIBSPAWN_ERR_INVALID },
        { "a", "09:00.0", LIBSPAWN_ERR_NOT_FOUND },
        { "a", "class:0200#2", LIBSPAWN_ERR_NOT_FOUND },
    };
    struct libspawn_host host;
    struct libspawn_err err;
    size_t i;

    begin(&host);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_code(
            libspawn_pci_reserve(&host, cases[i].name, cases[i].device, &err),
            cases[i].code);
        assert_code(
            libspawn_pci_reserve(&host, cases[i].name, cases[i].device, NULL),
            cases[i].code);
    }
    ck_assert_int_ne(access("pci", F_OK), 0);
    end(&host);
}

TEST_MAIN("pci")
