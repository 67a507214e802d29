/*
 * PCI devices and memory running out at each allocation in turn, once or from
 * then on: an error that says so, nothing leaked (the sanitizers look), and
 * never another device than the guest would have had.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "guest/pci.h"
#include "store/paths.h"
#include "tests/lib/harness.h"
#include "tests/lib/memory.h"
#include "tests/lib/pci_tree.h"

#define UUID "aaaaaaaa-0000-4000-8000-000000000000"

static char state_dir[] = ".";
static char sysfs_dir[] = PCI_TREE;

/* Assertions need memory, too. */
static bool has_failed;

static void
begin(struct libspawn_host *host)
{
    struct libspawn_err err;

    *host = (struct libspawn_host){ .hypervisor = &libspawn__hypervisor_qemu,
                                    .state_dir = state_dir,
                                    .sysfs_dir = sysfs_dir };
    assert_ok(libspawn__store_open("dir:store", &host->store, &err), &err);
    assert_ok(libspawn__store_puts(host->store, NULL,
                                   "/vm/" UUID "/start_time", "100", &err),
              &err);
    ck_assert_int_eq(mkdir("locks", 0700), 0);
    pci_tree_begin();
    pci_tree_add("0000:01:00.0", 0x020000, "vfio-pci");
    pci_tree_add("0000:02:00.0", 0x020000, "vfio-pci");
}

static int
reserve(struct libspawn_host *host)
{
    static char name[] = "a";
    static char item[] = "class:0200#0|02:00.0";
    char *items[] = { item, NULL };
    const struct libspawn_guest_config config = { .name = name,
                                                  .pci = items,
                                                  .n_pci = 1 };
    AUTO_STRV struct libspawn__strv devices = { 0 };
    int rc =
        libspawn__pci_reserve_for_guest(host, &config, UUID, &devices, NULL);

    has_failed = memory_stop_failing();
    if (!rc) {
        ck_assert_str_eq(devices.items[0], "0000:01:00.0");
    }
    return rc;
}

static int
list(struct libspawn_host *host)
{
    struct libspawn_pci_info *list;
    size_t n = 0;
    int rc = libspawn_pci_list(host, &list, &n, NULL);

    has_failed = memory_stop_failing();
    if (!rc) {
        ck_assert_uint_eq(n, 2);
        ck_assert_str_eq(list[0].guest, "a");
        libspawn_pci_list_free(list, n);
    }
    return rc;
}

static int
keep(struct libspawn_host *host)
{
    int rc = libspawn_pci_reserve(host, "a", "class:0200#1", NULL);

    has_failed = memory_stop_failing();
    return rc;
}

static int
stop_keeping(struct libspawn_host *host)
{
    int rc = libspawn_pci_release(host, "a", "class:0200#1", NULL);

    has_failed = memory_stop_failing();
    return rc;
}

/* Runs the part with the first allocation failing, then with the second, and
 * so on until none fails any more. */
static void
check_part(struct libspawn_host *host, int (*part)(struct libspawn_host *host),
           bool for_good)
{
    long n = 0;

    do {
        int rc;

        if (part == stop_keeping) {
            assert_ok(libspawn_pci_reserve(host, "a", "02:00.0", NULL), NULL);
        }
        memory_fail_at(++n, for_good);
        rc = part(host);
        if (rc != LIBSPAWN_ERR_NO_MEMORY || !has_failed) {
            assert_ok(rc, NULL);
        }
    } while (has_failed);
    ck_assert_int_gt(n, 10);
}

TEST(pci_without_memory__is_an_error_and_no_other_device)
{
    int (*const parts[])(struct libspawn_host * host) = { reserve, list, keep,
                                                          stop_keeping };
    struct libspawn_host host;
    size_t i;
    int mode;

    begin(&host);
    for (mode = 0; mode < 2; mode++) {
        for (i = 0; i < ARRAY_SIZE(parts); i++) {
            check_part(&host, parts[i], mode);
        }
        libspawn__pci_release_guest(&host, UUID);
    }
    libspawn__store_close(host.store);
}

TEST_MAIN("pci_memory")
