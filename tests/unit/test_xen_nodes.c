/*
 * What a Xen guest is in the store.  The values are those that the stock
 * toolstack 4.17 leaves for the same configuration.
 */
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "guest/xen/nodes.h"
#include "tests/lib/harness.h"
#include "tests/unit/xen_scene.h"

static struct scene scene;

static char hda[] = "hda";
static char hdc[] = "hdc";
static char image[] = "disk.img";

static void
write_guest(void)
{
    struct libspawn_err err;

    assert_ok(libspawn__xen_nodes_make(&scene.xen, &scene.guest, &err), &err);
    assert_ok(libspawn__xen_nodes_write(&scene.xen, &scene.guest, &err), &err);
}

static void
add_disk(struct libspawn_disk *config)
{
    struct libspawn__xen_disk *disk = malloc(sizeof *disk);
    struct libspawn_err err;

    assert_ok(libspawn__xen_disk_init(config, true, disk, &err), &err);
    scene.config.disks = config;
    scene.config.n_disks = 1;
    scene.guest.disks = disk;
}

TEST(nodes_of_an_hvm_guest__are_those_of_the_stock_toolstack)
{
    scene_open(&scene);
    write_guest();
    assert_node(&scene, "/local/domain/7/name", "scene");
    assert_node(&scene, "/local/domain/7/domid", "7");
    assert_node(&scene, "/local/domain/7/vm",
                "/vm/01234567-89ab-cdef-0123-456789abcdef");
    assert_node(&scene, "/local/domain/7/cpu/0/availability", "online");
    assert_node(&scene, "/local/domain/7/cpu/1/availability", "offline");
    assert_node(&scene, "/local/domain/7/memory/static-max", "32768");
    assert_node(&scene, "/local/domain/7/memory/target", "24576");
    assert_node(&scene, "/local/domain/7/memory/videoram", "8192");
    assert_node(&scene, "/local/domain/7/store/port", "1");
    assert_node(&scene, "/local/domain/7/store/ring-ref", "1044476");
    assert_node(&scene, "/local/domain/7/console/port", "2");
    assert_node(&scene, "/local/domain/7/console/ring-ref", "1044479");
    assert_node(&scene, "/local/domain/7/console/type", "xenconsoled");
    assert_node(&scene, "/local/domain/7/hvmloader/bios", "seabios");
    assert_node(&scene, "/local/domain/7/platform/acpi", "1");
    assert_node(&scene, "/local/domain/7/control/shutdown", "");
    assert_node(&scene, "/libxl/7/type", "hvm");
    assert_node(&scene, "/libxl/7/dm-version", "qemu_xen");
    assert_node(&scene, "/libxl/7/device/vkbd/0/backend",
                "/local/domain/0/backend/vkbd/7/0");
    assert_node(&scene, "/local/domain/0/device-model/7", "");
    assert_node(&scene,
                "/vm/01234567-89ab-cdef-0123-456789abcdef/image/ostype",
                "hvm");
    scene_close(&scene);
}

/* XSA-57, XSA-175 and XSA-178: a guest writes what is its own, and reads
 * nothing of the toolstack's. */
TEST(nodes_rights__let_the_guest_write_only_its_own)
{
    static const struct {
        const char *path;
        const char *perms;
    } cases[] = {
        { "/local/domain/7", "n0,r7" },
        { "/local/domain/7/name", "n0,r7" },
        { "/local/domain/7/memory/target", "n0,r7" },
        { "/local/domain/7/control", "n0,r7" },
        { "/local/domain/7/control/shutdown", "n7" },
        { "/local/domain/7/control/platform-feature-xs_reset_watches",
          "n0,r7" },
        { "/local/domain/7/data", "n7" },
        { "/local/domain/7/device", "n0,r7" },
        { "/local/domain/7/device/vkbd/0", "n7,r0" },
        { "/local/domain/7/device/vkbd/0/state", "n7,r0" },
        { "/local/domain/7/device/suspend/event-channel", "n7" },
        { "/local/domain/7/console", "n0,r7" },
        { "/local/domain/7/console/tty", "n0,r7" },
        { "/local/domain/0/backend/vkbd/7/0", "n0,r7" },
        { "/local/domain/0/backend/vkbd/7/0/state", "n0,r7" },
        { "/vm/01234567-89ab-cdef-0123-456789abcdef", "n0,r7" },
        { "/libxl/7", "n0" },
        { "/libxl/7/device/vkbd/0/backend", "n0" },
        { "/local/domain/0/device-model/7", "n0" },
    };
    size_t i;

    scene_open(&scene);
    write_guest();
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        char perms[64];

        scene_perms(&scene, cases[i].path, perms);
        ck_assert_msg(strcmp(perms, cases[i].perms) == 0, "%s: %s",
                      cases[i].path, perms);
    }
    scene_close(&scene);
}

TEST(nodes_removed__leave_nothing_but_the_neighbours)
{
    AUTO_STRV struct libspawn__strv left = { 0 };

    scene_open(&scene);
    assert_ok(libspawn__store_puts(scene.xen.store, NULL,
                                   "/local/domain/0/backend/vkbd/8/0/state",
                                   "1", NULL),
              NULL);
    write_guest();
    assert_ok(libspawn__xen_nodes_remove(&scene.xen, 7, NULL), NULL);
    assert_node(&scene, "/local/domain/7", NULL);
    assert_node(&scene, "/libxl/7", NULL);
    assert_node(&scene, "/local/domain/0/device-model/7", NULL);
    assert_node(&scene, "/vm/01234567-89ab-cdef-0123-456789abcdef", NULL);
    assert_node(&scene, "/local/domain/0/backend/vkbd/8/0/state", "1");
    assert_ok(libspawn__store_list(scene.xen.store, NULL,
                                   "/local/domain/0/backend", &left, NULL),
              NULL);
    ck_assert_uint_eq(left.n_items, 1);
    scene_close(&scene);
}

TEST(nodes_of_a_guest_that_never_was__are_removed_without_complaint)
{
    struct libspawn_err err;

    scene_open(&scene);
    assert_ok(libspawn__xen_nodes_remove(&scene.xen, 9, &err), &err);
    scene_close(&scene);
}

/* What is in that node was written by dom0, but a removal that follows it
 * blindly could take anything away. */
TEST(nodes_vm_that_is_no_path_of_a_guest__is_not_followed)
{
    scene_open(&scene);
    write_guest();
    assert_ok(libspawn__store_puts(scene.xen.store, NULL, "/local/domain/7/vm",
                                   "/vm/", NULL),
              NULL);
    assert_ok(libspawn__xen_nodes_remove(&scene.xen, 7, NULL), NULL);
    assert_node(&scene, "/vm/01234567-89ab-cdef-0123-456789abcdef/name",
                "scene");
    scene_close(&scene);
}

TEST(nodes_left_by_a_dead_namesake__are_replaced)
{
    scene_open(&scene);
    assert_ok(libspawn__store_puts(scene.xen.store, NULL,
                                   "/local/domain/7/device/vbd/768/state", "4",
                                   NULL),
              NULL);
    assert_ok(libspawn__store_puts(scene.xen.store, NULL,
                                   "/local/domain/0/backend/vkbd/7/0/stale",
                                   "1", NULL),
              NULL);
    write_guest();
    assert_node(&scene, "/local/domain/7/device/vbd/768/state", NULL);
    assert_node(&scene, "/local/domain/0/backend/vkbd/7/0/stale", NULL);
    scene_close(&scene);
}

TEST(nodes_of_an_image_file__are_for_the_device_model_to_serve)
{
    struct libspawn_disk disk = { .target = image, .vdev = hda };

    scene_open(&scene);
    harness_write_file(image, "x");
    add_disk(&disk);
    write_guest();
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/768/params",
                "aio:disk.img");
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/768/type", "qdisk");
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/768/mode", "w");
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/768/online", "1");
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/768/frontend",
                "/local/domain/7/device/vbd/768");
    assert_node(&scene, "/local/domain/7/device/vbd/768/backend",
                "/local/domain/0/backend/qdisk/7/768");
    assert_node(&scene, "/local/domain/7/device/vbd/768/virtual-device",
                "768");
    assert_node(&scene, "/libxl/7/device/vbd/768/params", "aio:disk.img");
    assert_node(&scene, "/libxl/7/device/vbd/768/dev", "hda");
    scene_close(&scene);
}

TEST(nodes_of_an_empty_cd_drive__do_not_make_the_device_model_complain)
{
    struct libspawn_disk disk = { .vdev = hdc,
                                  .format = LIBSPAWN_DISK_EMPTY,
                                  .is_cdrom = true };

    scene_open(&scene);
    add_disk(&disk);
    write_guest();
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/5632/params", "aio:");
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/5632/online", "0");
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/5632/mode", "r");
    assert_node(&scene, "/local/domain/0/backend/qdisk/7/5632/device-type",
                "cdrom");
    assert_node(&scene, "/libxl/7/device/vbd/5632/removable", "1");
    scene_close(&scene);
}

TEST(nodes_of_a_network_card__have_an_address_that_stays)
{
    struct libspawn_nic nic = { .bridge = image };
    char mac[sizeof "00:16:3e:00:00:00"];
    AUTO_FREE char *first = NULL;

    scene_open(&scene);
    scene.config.nics = &nic;
    scene.config.n_nics = 1;
    write_guest();
    first = scene_read(&scene, "/local/domain/0/backend/vif/7/0/mac");
    ck_assert_ptr_nonnull(first);
    ck_assert_uint_eq(strlen(first), sizeof mac - 1);
    assert_contains(first, "00:16:3e:");
    assert_node(&scene, "/local/domain/7/device/vif/0/mac", first);
    assert_node(&scene, "/local/domain/0/backend/vif/7/0/script",
                "/etc/xen/scripts/vif-bridge");
    assert_node(&scene, "/local/domain/0/backend/vif/7/0/type", "vif_ioemu");
    assert_perms(&scene, "/local/domain/7/device/vif/0/mtu", "n0,r7");
    write_guest();
    assert_node(&scene, "/local/domain/7/device/vif/0/mac", first);
    scene_close(&scene);
}

TEST(nodes_of_a_card_on_qemus_own_network__are_none)
{
    struct libspawn_nic nic = { .net = LIBSPAWN_NIC_NET_USER };

    scene_open(&scene);
    scene.config.nics = &nic;
    scene.config.n_nics = 1;
    write_guest();
    assert_node(&scene, "/local/domain/0/backend/vif/7/0/mac", NULL);
    scene_close(&scene);
}

/* ---- Disks that cannot be had ------------------------------------------ */

static int
init_disk(const struct libspawn_disk *config, struct libspawn_err *err)
{
    struct libspawn__xen_disk disk;

    return libspawn__xen_disk_init(config, true, &disk, err);
}

TEST(disk_target_missing__is_named)
{
    struct libspawn_disk disk = { .target = image, .vdev = hda };
    struct libspawn_err err;

    assert_code(init_disk(&disk, &err), LIBSPAWN_ERR_NOT_FOUND);
    assert_contains(err.text, "disk 'hda'");
    assert_contains(err.text, "'disk.img'");
}

TEST(disk_that_nobody_can_serve__is_refused_with_the_reason)
{
    static char phy[] = "phy";
    static char qdisk[] = "qdisk";
    static char tap[] = "tap";
    static char script[] = "block-iscsi";
    static char vda[] = "vda";
    const struct {
        struct libspawn_disk disk;
        const char *text;
    } cases[] = {
        { { .target = image,
            .vdev = hda,
            .backendtype = phy,
            .format = LIBSPAWN_DISK_QCOW2 },
          "only the device model serves a format other than raw" },
        { { .target = image,
            .vdev = hdc,
            .backendtype = phy,
            .is_cdrom = true },
          "the CD drive of an HVM guest" },
        { { .target = image, .vdev = hda, .backendtype = tap },
          "nobody serves backend type 'tap'" },
        { { .target = image,
            .vdev = hda,
            .backendtype = qdisk,
            .script = script },
          "a script makes block devices" },
        { { .target = image, .vdev = vda }, "no virtio disks" },
    };
    size_t i;

    harness_write_file(image, "x");
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        struct libspawn_err err;

        assert_code(init_disk(&cases[i].disk, &err), LIBSPAWN_ERR_UNSUPPORTED);
        assert_contains(err.text, cases[i].text);
    }
}

TEST_MAIN("xen_nodes")
