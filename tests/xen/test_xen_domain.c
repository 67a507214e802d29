/*
 * The steps of which a guest on Xen is made, one by one, on a real hypervisor
 * and xenstored: what each does, what it says when it cannot, and that its
 * undoing leaves nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "guest/xen/close.h"
#include "guest/xen/devices.h"
#include "guest/xen/domain.h"
#include "guest/xen/end.h"
#include "guest/xen/files.h"
#include "guest/xen/image.h"
#include "guest/xen/info.h"
#include "guest/xen/nodes.h"
#include "guest/xen/prepare.h"
#include "guest/xen/sched.h"
#include "guest/xen_detect.h"
#include "store/provider.h"
#include "tests/lib/harness.h"

enum {
    LONG_S = 60,
    WAIT_MS = 60000,
    VGA_HOLE_PAGES = 32
};

static struct libspawn__store *store;
static struct libspawn__xen *xen;
static struct libspawn_guest_config config;
static struct libspawn__xen_guest guest;
static struct libspawn_err err;

static char name[] = "steps";
static char hda[] = "hda";
static const char uuid[] = "01234567-89ab-cdef-0123-456789abcdef";

/* ---- Before and after -------------------------------------------------- */

static void
open_host(void)
{
    libspawn__store_register(&libspawn__store_xenstore_class);
    assert_ok(libspawn__store_open("xenstore:", &store, &err), &err);
    assert_ok(libspawn__xen_open(store, &xen, &err), &err);
    config = (struct libspawn_guest_config){
        .name = name,
        .type = LIBSPAWN_GUEST_TYPE_HVM,
        .memory_mib = 32,
        .vcpus = 1,
        .max_vcpus = 2,
    };
}

static void
close_host(void)
{
    libspawn__xen_guest_dispose(&guest);
    libspawn__xen_close(xen);
    libspawn__store_close(store);
}

static size_t
count_domains(void)
{
    struct libspawn_guest_info *list;
    size_t n;

    assert_ok(libspawn__xen_info_list(xen, &list, &n, &err), &err);
    libspawn_guest_list_free(list, n);
    return n;
}

/* All paths in the store, a line each, but for dom0's changing ones. */
static void
list_nodes(const char *dir, struct libspawn__buf *text)
{
    AUTO_STRV struct libspawn__strv names = { 0 };
    size_t i;

    if (libspawn__store_list(store, NULL, dir, &names, NULL)) {
        return;
    }
    for (i = 0; i < names.n_items; i++) {
        AUTO_FREE char *path = libspawn__str_format(
            "%s/%s", strcmp(dir, "/") ? dir : "", names.items[i]);

        libspawn__buf_printf(text, "%s\n", path);
        list_nodes(path, text);
    }
}

static char *
take_nodes(void)
{
    struct libspawn__buf text = { 0 };

    /* Directories that stay once they were made. */
    libspawn__store_mkdir(store, NULL, "/vm", NULL);
    libspawn__store_mkdir(store, NULL, "/libxl", NULL);
    libspawn__store_mkdir(store, NULL, "/local/domain/0/device-model", NULL);
    list_nodes("/vm", &text);
    list_nodes("/libxl", &text);
    list_nodes("/local/domain/0/backend", &text);
    list_nodes("/local/domain/0/device-model", &text);
    list_nodes("/local/domain", &text);
    return libspawn__buf_take(&text);
}

static size_t
count_files(const char *dir)
{
    AUTO_DIR DIR *handle = opendir(dir);
    size_t n = 0;

    ck_assert_ptr_nonnull(handle);
    while (readdir(handle)) {
        n++;
    }
    return n;
}

/* A node whose value is to begin so. */
struct wish {
    char path[96];
    const char *prefix;
};

static bool
is_fulfilled(void *user)
{
    const struct wish *wish = user;
    AUTO_FREE char *value = NULL;

    return !libspawn__store_read(store, NULL, wish->path, &value, NULL,
                                 NULL) &&
           libspawn__str_has_prefix(value, wish->prefix);
}

/* ---- Up to a step ------------------------------------------------------ */

static void
make_domain(void)
{
    assert_ok(libspawn__xen_guest_init(xen, &config, uuid, &guest, &err),
              &err);
    assert_ok(libspawn__xen_domain_create(xen, &guest, &err), &err);
}

static void
build_guest(void)
{
    make_domain();
    assert_ok(libspawn__xen_domain_prepare(xen, &guest, &err), &err);
    assert_ok(libspawn__xen_image_build(xen, &guest, &err), &err);
}

static void
write_guest(void)
{
    build_guest();
    assert_ok(libspawn__xen_nodes_make(xen, &guest, &err), &err);
    assert_ok(libspawn__xen_nodes_write(xen, &guest, &err), &err);
    assert_ok(libspawn__xen_nodes_introduce(xen, &guest, &err), &err);
}

static void
destroy_domain(void)
{
    assert_ok(libspawn__xen_domain_destroy(xen, guest.domid, &err), &err);
}

/* ---- Configuration against the host ------------------------------------ */

TEST(guest_larger_than_free_memory__is_refused_with_both_numbers)
{
    open_host();
    config.memory_mib = 1024 * 1024;
    assert_code(libspawn__xen_guest_init(xen, &config, uuid, &guest, &err),
                LIBSPAWN_ERR_NO_MEMORY);
    assert_contains(err.text, "the guest needs 105"); /* 1.05 million MiB */
    assert_contains(err.text, "MiB are free");
    close_host();
}

TEST(guest_without_what_the_host_lacks__is_refused_by_key)
{
    open_host();
    config.hap = LIBSPAWN_CHOICE_NO; /* Debian's Xen has no shadow paging */
    assert_code(libspawn__xen_guest_init(xen, &config, uuid, &guest, &err),
                LIBSPAWN_ERR_UNSUPPORTED);
    assert_contains(err.text, "no shadow paging (key 'hap')");
    close_host();
}

TEST(guest_with_a_disk_that_is_missing__is_refused_by_name)
{
    static char missing[] = "/none/disk.img";
    struct libspawn_disk disk = { .target = missing, .vdev = hda };

    open_host();
    config.disks = &disk;
    config.n_disks = 1;
    assert_code(libspawn__xen_guest_init(xen, &config, uuid, &guest, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "'/none/disk.img'");
    close_host();
}

/* ---- Domain ------------------------------------------------------------ */

TEST_TIMEOUT(domain_made__is_paused_has_its_uuid_and_goes_away, LONG_S)
{
    xc_domaininfo_t info;
    uint32_t found;
    char text[LIBSPAWN__XEN_UUID_SIZE];
    size_t before;

    open_host();
    before = count_domains();
    make_domain();
    assert_ok(libspawn__xen_info_get(xen, guest.domid, &info, &err), &err);
    ck_assert(info.flags & XEN_DOMINF_paused);
    ck_assert(info.flags & XEN_DOMINF_hap);
    libspawn__xen_info_uuid(&info, text);
    ck_assert_str_eq(text, uuid);
    assert_ok(libspawn__xen_info_find_uuid(xen, uuid, &found, &err), &err);
    ck_assert_uint_eq(found, guest.domid);
    destroy_domain();
    ck_assert_uint_eq(count_domains(), before);
    assert_code(libspawn__xen_info_get(xen, guest.domid, &info, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_code(libspawn__xen_info_find_uuid(xen, uuid, &found, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
    close_host();
}

TEST_TIMEOUT(domain_after_another__has_a_number_that_was_not_just_in_use,
             LONG_S)
{
    uint32_t first;

    open_host();
    make_domain();
    first = guest.domid;
    destroy_domain();
    libspawn__xen_guest_dispose(&guest);
    make_domain();
    ck_assert_uint_ne(guest.domid, first);
    destroy_domain();
    close_host();
}

TEST(domain_that_is_missing__is_named_by_every_operation)
{
    enum {
        NOBODY = 30000
    };

    open_host();
    assert_code(libspawn__xen_domain_pause(xen, NOBODY, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "there is no domain 30000");
    assert_code(libspawn__xen_domain_unpause(xen, NOBODY, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_code(libspawn__xen_end_guest(xen, NOBODY, 0, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    close_host();
}

TEST_TIMEOUT(domain_pinned_and_weighted__takes_only_what_the_host_has, LONG_S)
{
    static char one[] = "0";
    static char none[] = "500-501";

    open_host();
    config.cpus = one;
    config.cpu_weight = 512;
    make_domain();
    assert_ok(libspawn__xen_domain_prepare(xen, &guest, &err), &err);
    assert_ok(libspawn__xen_sched_apply(xen, &guest, &err), &err);
    config.cpus = none;
    assert_code(libspawn__xen_sched_apply(xen, &guest, &err),
                LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "no processor of this host is in '500-501'");
    destroy_domain();
    close_host();
}

/* ---- Image ------------------------------------------------------------- */

TEST_TIMEOUT(image_built__fills_the_memory_of_the_domain, LONG_S)
{
    xc_domaininfo_t info;

    open_host();
    build_guest();
    assert_ok(libspawn__xen_info_get(xen, guest.domid, &info, &err), &err);
    /* The rest is the graphics card's. */
    ck_assert_uint_ge(info.tot_pages, 24 * 256 - VGA_HOLE_PAGES);
    ck_assert_uint_le(info.tot_pages, 25 * 256);
    ck_assert_uint_gt(guest.store_frame, 0);
    ck_assert_uint_ne(guest.store_frame, guest.console_frame);
    destroy_domain();
    close_host();
}

TEST_TIMEOUT(image_whose_firmware_is_missing__says_which, LONG_S)
{
    static char path[] = "/none/firmware.bin";
    static char unknown[] = "coreboot";
    static char ovmf[] = "ovmf";

    open_host();
    make_domain();
    assert_ok(libspawn__xen_domain_prepare(xen, &guest, &err), &err);
    config.firmware = path;
    assert_code(libspawn__xen_image_build(xen, &guest, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "'/none/firmware.bin'");
    config.firmware = unknown;
    assert_code(libspawn__xen_image_build(xen, &guest, &err),
                LIBSPAWN_ERR_INVALID);
    config.firmware = ovmf;
    assert_code(libspawn__xen_image_build(xen, &guest, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "'ovmf' is not installed");
    config.firmware = NULL;
    assert_ok(libspawn__xen_image_build(xen, &guest, &err), &err);
    destroy_domain();
    close_host();
}

/* The limit stands for a host that ran out of memory meanwhile. */
TEST_TIMEOUT(image_beyond_the_domains_limit__quotes_the_xen_library, LONG_S)
{
    open_host();
    make_domain();
    assert_ok(libspawn__xen_domain_prepare(xen, &guest, &err), &err);
    ck_assert_int_eq(xc_domain_setmaxmem(xen->xc, guest.domid, 8192), 0);
    assert_code(libspawn__xen_image_build(xen, &guest, &err),
                LIBSPAWN_ERR_NO_MEMORY);
    assert_contains(err.text, "giving the domain 24 MiB of memory: Cannot "
                              "allocate memory (");
    destroy_domain();
    close_host();
}

/* ---- Nodes and files --------------------------------------------------- */

TEST_TIMEOUT(nodes_written_and_removed__leave_the_store_as_it_was, LONG_S)
{
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *during = NULL;
    AUTO_FREE char *after = NULL;

    open_host();
    before = take_nodes();
    write_guest();
    during = take_nodes();
    assert_contains(during, "/console/ring-ref\n");
    assert_ok(libspawn__xen_nodes_remove(xen, guest.domid, &err), &err);
    destroy_domain();
    after = take_nodes();
    ck_assert_str_eq(after, before);
    close_host();
}

TEST_TIMEOUT(nodes_introduced__xenconsoled_makes_the_console, LONG_S)
{
    struct wish wish = { .prefix = "/dev/pts/" };

    open_host();
    write_guest();
    snprintf(wish.path, sizeof wish.path, "/local/domain/%u/console/tty",
             guest.domid);
    ck_assert(harness_wait_until(is_fulfilled, &wish, WAIT_MS));
    assert_ok(libspawn__xen_end_guest(xen, guest.domid, 0, &err), &err);
    close_host();
}

TEST_TIMEOUT(files_written_and_removed__leave_the_directory_as_it_was, LONG_S)
{
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *json = NULL;
    size_t before;

    open_host();
    make_domain();
    before = count_files(LIBSPAWN__XEN_LIB_DIR);
    assert_ok(libspawn__xen_files_write(&guest, &err), &err);
    ck_assert_uint_eq(count_files(LIBSPAWN__XEN_LIB_DIR), before + 2);
    path = libspawn__xen_files_stock_config_path(guest.domid, uuid);
    json = harness_read_file(path);
    assert_contains(json, "\"video_memkb\"");
    assert_contains(json, uuid);
    libspawn__xen_files_remove(guest.domid);
    ck_assert_uint_eq(count_files(LIBSPAWN__XEN_LIB_DIR), before);
    destroy_domain();
    close_host();
}

/* ---- Devices ----------------------------------------------------------- */

/* A block device of 1 MiB, and what has to be closed after it was used. */
static char *
make_block_device(int *fd_r)
{
    AUTO_FD int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    AUTO_FD int file = open("disk.img", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    struct loop_info64 info = { .lo_flags = LO_FLAGS_AUTOCLEAR };
    char *path = libspawn__str_format("/dev/loop%d", number);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    ck_assert_int_eq(ftruncate(file, 1048576), 0);
    ck_assert_int_eq(ioctl(fd, LOOP_SET_FD, file), 0);
    ck_assert_int_eq(ioctl(fd, LOOP_SET_STATUS64, &info), 0);
    *fd_r = fd;
    return path;
}

TEST_TIMEOUT(disk_on_a_block_device__is_served_by_the_kernel_and_given_back,
             LONG_S)
{
    AUTO_FREE char *path = NULL;
    AUTO_FD int fd = -1;
    struct libspawn_disk disk = { .vdev = hda };
    struct wish wish = { .prefix = "2" }; /* the kernel's backend took it */

    open_host();
    path = make_block_device(&fd);
    disk.target = path;
    config.disks = &disk;
    config.n_disks = 1;
    write_guest();
    snprintf(wish.path, sizeof wish.path,
             "/local/domain/0/backend/vbd/%u/768/state", guest.domid);
    ck_assert(harness_wait_until(is_fulfilled, &wish, WAIT_MS));
    assert_ok(libspawn__xen_devices_connect_disks(xen, &guest, NULL, &err),
              &err);
    assert_ok(libspawn__xen_devices_close(xen, guest.domid, NULL, &err), &err);
    wish.prefix = "6";
    ck_assert(is_fulfilled(&wish));
    assert_ok(libspawn__xen_end_guest(xen, guest.domid, 0, &err), &err);
    close_host();
}

TEST_TIMEOUT(disk_that_another_guest_writes__is_refused_before_it_is_harmed,
             LONG_S)
{
    static char other_name[] = "other";
    struct libspawn__xen_guest other;
    AUTO_FREE char *path = NULL;
    AUTO_FD int fd = -1;
    struct libspawn_disk disk = { .vdev = hda };

    open_host();
    path = make_block_device(&fd);
    disk.target = path;
    config.disks = &disk;
    config.n_disks = 1;
    write_guest();

    config.name = other_name;
    assert_ok(libspawn__xen_guest_init(xen, &config,
                                       "11234567-89ab-cdef-0123-456789abcdef",
                                       &other, &err),
              &err);
    assert_ok(libspawn__xen_domain_create(xen, &other, &err), &err);
    assert_code(libspawn__xen_nodes_write(xen, &other, &err),
                LIBSPAWN_ERR_BUSY);
    assert_contains(err.text, "disk 'hda': guest ");
    assert_contains(err.text, path);
    assert_ok(libspawn__xen_end_guest(xen, other.domid, 0, &err), &err);
    libspawn__xen_guest_dispose(&other);
    assert_ok(libspawn__xen_end_guest(xen, guest.domid, 0, &err), &err);
    close_host();
}

/* The stock script makes a block device of a file. */
TEST_TIMEOUT(disk_whose_script_works__has_a_device_and_gives_it_back, LONG_S)
{
    static char phy[] = "phy";
    AUTO_FREE char *path = libspawn__str_format("%s/disk.img", harness_dir());
    AUTO_FREE char *node = NULL;
    AUTO_FREE char *device = NULL;
    struct libspawn_disk disk = { .vdev = hda,
                                  .target = path,
                                  .backendtype = phy };
    AUTO_OUTPUT struct harness_output left = { 0 };

    open_host();
    harness_write_file(path, "x");
    ck_assert_int_eq(truncate(path, 1048576), 0);
    config.disks = &disk;
    config.n_disks = 1;
    write_guest();
    assert_ok(libspawn__xen_devices_connect_disks(xen, &guest, NULL, &err),
              &err);
    node = libspawn__str_format(
        "/local/domain/0/backend/vbd/%u/768/physical-device-path",
        guest.domid);
    assert_ok(libspawn__store_read(store, NULL, node, &device, NULL, &err),
              &err);
    assert_contains(device, "/dev/loop");
    assert_ok(libspawn__xen_end_guest(xen, guest.domid, 0, &err), &err);
    left = harness_run("losetup", "-a");
    assert_lacks(left.out, path);
    close_host();
}

TEST_TIMEOUT(disk_whose_script_fails__says_what_the_script_said, LONG_S)
{
    AUTO_FREE char *script = libspawn__str_format("%s/script", harness_dir());
    struct libspawn_disk disk = { .vdev = hda,
                                  .target = script,
                                  .script = script };

    open_host();
    harness_write_file(script, "#!/bin/sh\n"
                               "[ \"$1\" = remove ] && exit 0\n"
                               "xenstore-write \"$XENBUS_PATH/hotplug-error\" "
                               "'no such volume'\n"
                               "exit 3\n");
    chmod(script, 0755);
    config.disks = &disk;
    config.n_disks = 1;
    write_guest();
    assert_code(libspawn__xen_devices_connect_disks(xen, &guest, NULL, &err),
                LIBSPAWN_ERR_SYSTEM);
    assert_contains(err.text, "add: no such volume");
    assert_ok(libspawn__xen_end_guest(xen, guest.domid, 0, &err), &err);
    close_host();
}

/* ---- Ending ------------------------------------------------------------ */

TEST_TIMEOUT(end_of_a_half_made_guest__works_from_every_step, LONG_S)
{
    void (*const until[])(void) = { make_domain, build_guest, write_guest };
    AUTO_FREE char *before = NULL;
    size_t n_before;
    size_t i;

    open_host();
    before = take_nodes();
    n_before = count_domains();
    for (i = 0; i < ARRAY_SIZE(until); i++) {
        AUTO_FREE char *after = NULL;

        until[i]();
        assert_ok(libspawn__xen_end_guest(xen, guest.domid, 0, &err), &err);
        after = take_nodes();
        ck_assert_str_eq(after, before);
        ck_assert_uint_eq(count_domains(), n_before);
        libspawn__xen_guest_dispose(&guest);
    }
    close_host();
}

TEST_TIMEOUT(end_after_the_domain_is_gone__removes_its_nodes, LONG_S)
{
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *after = NULL;

    open_host();
    before = take_nodes();
    write_guest();
    destroy_domain();
    assert_ok(libspawn__xen_end_guest(xen, guest.domid, 0, &err), &err);
    after = take_nodes();
    ck_assert_str_eq(after, before);
    assert_code(libspawn__xen_end_guest(xen, guest.domid, 0, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    close_host();
}

/* The pid in the store is of a process that is no device model of this
 * domain; it must live. */
TEST_TIMEOUT(end_with_the_pid_of_a_stranger__does_not_touch_it, LONG_S)
{
    AUTO_FREE char *node = NULL;

    open_host();
    write_guest();
    node = libspawn__str_format("/local/domain/%u/image/device-model-pid",
                                guest.domid);
    assert_ok(
        libspawn__store_printf(store, NULL, node, &err, "%d", (int)getpid()),
        &err);
    assert_ok(libspawn__xen_end_guest(xen, guest.domid, 1000, &err), &err);
    close_host();
}

static const char *
why_not(void)
{
    return libspawn__xen_is_control_domain() ? NULL : "not on a Xen host";
}

TEST_MAIN_UNLESS("xen_domain", why_not)
