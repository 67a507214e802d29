/*
 * The device model of a Xen guest: its program and its arguments.
 */
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "guest/xen/arguments.h"
#include "tests/lib/harness.h"
#include "tests/unit/xen_scene.h"

static struct scene scene;

/* The arguments, each with a blank before and behind it. */
static char *
render(struct libspawn_err *err)
{
    AUTO_ARGS struct libspawn__args args = { .config = &scene.config,
                                             .domid = 7 };
    struct libspawn__buf text = { 0 };
    size_t i;

    libspawn__xen_dm_add_arguments(&scene.xen, &scene.guest, &args);
    if (args.err.code) {
        *err = args.err;
        return NULL;
    }
    libspawn__buf_puts(&text, " ");
    for (i = 0; i < args.argv.n_items; i++) {
        libspawn__buf_printf(&text, "%s ", args.argv.items[i]);
    }
    return libspawn__buf_take(&text);
}

static char *
render_ok(void)
{
    struct libspawn_err err = { 0 };
    char *text = render(&err);

    ck_assert_msg(text != NULL, "%s", err.text);
    return text;
}

static void
set_disks(struct libspawn_disk *disks, size_t n)
{
    struct libspawn_err err;
    size_t i;

    scene.config.disks = disks;
    scene.config.n_disks = n;
    scene.guest.disks = calloc(n, sizeof *scene.guest.disks);
    for (i = 0; i < n; i++) {
        assert_ok(libspawn__xen_disk_init(&disks[i], true,
                                          &scene.guest.disks[i], &err),
                  &err);
    }
}

TEST(arguments_of_a_plain_guest__are_those_of_the_stock_toolstack)
{
    static const char *const wanted[] = {
        " -xen-domid 7 ",
        " -no-shutdown ",
        " -nodefaults -no-user-config ",
        " -name scene ",
        " -chardev socket,id=libxl-cmd,path=/var/run/xen/qmp-libxl-7,"
        "server=on,wait=off -mon chardev=libxl-cmd,mode=control ",
        " socket,id=libxenstat-cmd,path=/var/run/xen/qmp-libxenstat-7,",
        " -vnc 127.0.0.1:0,to=99 -display none ",
        " -device cirrus-vga,vgamem_mb=8 ",
        " -boot order=cda ",
        " -smp 1,maxcpus=2 ",
        " -net none ",
        " -machine xenfv,suppress-vmdesc=on ",
        " -m 24 ",
    };
    AUTO_FREE char *text = NULL;
    size_t i;

    scene_open(&scene);
    text = render_ok();
    for (i = 0; i < ARRAY_SIZE(wanted); i++) {
        assert_contains(text, wanted[i]);
    }
    scene_close(&scene);
}

TEST(arguments_without_vnc__name_no_display_at_all)
{
    AUTO_FREE char *text = NULL;

    scene_open(&scene);
    scene.config.vnc.enable = LIBSPAWN_CHOICE_NO;
    text = render_ok();
    assert_contains(text, " -vnc none -display none ");
    scene_close(&scene);
}

/* It goes over the monitor. */
TEST(arguments_with_a_vnc_password__do_not_contain_it)
{
    static char password[] = "sesame";
    AUTO_FREE char *text = NULL;

    scene_open(&scene);
    scene.config.vnc.password = password;
    text = render_ok();
    assert_contains(text, ",password=on,to=99 ");
    assert_lacks(text, "sesame");
    scene_close(&scene);
}

TEST(arguments_of_disks__follow_their_bus)
{
    static char file[] = "d.img";
    static char names[][8] = { "hda", "xvdb", "sda", "xvde", "hdc" };
    struct libspawn_disk disks[ARRAY_SIZE(names)];
    AUTO_FREE char *text = NULL;
    size_t i;

    scene_open(&scene);
    harness_write_file(file, "x");
    memset(disks, 0, sizeof disks);
    for (i = 0; i < ARRAY_SIZE(names); i++) {
        disks[i].vdev = names[i];
        disks[i].target = file;
    }
    disks[1].format = LIBSPAWN_DISK_QCOW2;
    disks[4].is_cdrom = true;
    set_disks(disks, ARRAY_SIZE(names));
    text = render_ok();
    assert_contains(text, " -drive file=d.img,if=ide,index=0,media=disk,"
                          "format=raw,cache=writeback ");
    assert_contains(text, "if=ide,index=1,media=disk,format=qcow2,");
    assert_contains(text, " -device lsi53c895a ");
    assert_contains(text, " -device scsi-hd,drive=scsidisk-0,scsi-id=0 ");
    assert_contains(text, "if=none,readonly=on,id=ide-5632,file=d.img,"
                          "format=raw ");
    assert_contains(text, " ide-cd,id=ide-5632,drive=ide-5632,bus=ide.1,"
                          "unit=0 ");
    assert_lacks(text, "index=4");
    scene_close(&scene);
}

/* XSA-142: a read-only disk must be so for QEMU too. */
TEST(arguments_of_a_read_only_ide_disk__are_refused)
{
    static char file[] = "d.img";
    static char hda[] = "hda";
    static char sda[] = "sda";
    struct libspawn_disk disk = { .target = file,
                                  .vdev = hda,
                                  .read_only = true };
    AUTO_FREE char *text = NULL;
    struct libspawn_err err = { 0 };

    scene_open(&scene);
    harness_write_file(file, "x");
    set_disks(&disk, 1);
    ck_assert_ptr_null(render(&err));
    ck_assert_int_eq(err.code, LIBSPAWN_ERR_UNSUPPORTED);
    assert_contains(err.text, "disk 'hda'");
    libspawn__xen_guest_dispose(&scene.guest);
    disk.vdev = sda;
    set_disks(&disk, 1);
    text = render_ok();
    assert_contains(text, "readonly=on,cache=writeback ");
    scene_close(&scene);
}

TEST(arguments_with_commas__are_escaped)
{
    static char file[] = "a,readonly=off.img";
    static char hda[] = "hda";
    static char model[] = "e1000,addr=9";
    struct libspawn_disk disk = { .target = file, .vdev = hda };
    struct libspawn_nic nic = { .model = model };
    AUTO_FREE char *text = NULL;

    scene_open(&scene);
    harness_write_file(file, "x");
    set_disks(&disk, 1);
    scene.config.nics = &nic;
    scene.config.n_nics = 1;
    text = render_ok();
    assert_contains(text, "file=a,,readonly=off.img,if=ide");
    assert_contains(text, " -device e1000,,addr=9,id=nic0,");
    scene_close(&scene);
}

TEST(arguments_of_network_cards__name_the_interface_of_the_script)
{
    static char named[] = "web0";
    static char vif[] = "vif";
    struct libspawn_nic nics[] = {
        { .net = LIBSPAWN_NIC_NET_TAP },
        { .vifname = named },
        { .net = LIBSPAWN_NIC_NET_USER },
        { .type = vif },
    };
    AUTO_FREE char *text = NULL;

    scene_open(&scene);
    scene.config.nics = nics;
    scene.config.n_nics = ARRAY_SIZE(nics);
    text = render_ok();
    assert_contains(text, "type=tap,id=net0,ifname=vif7.0-emu,script=no,");
    assert_contains(text, "type=tap,id=net1,ifname=vif7.1-emu,");
    assert_contains(text, " -netdev type=user,id=net2 ");
    assert_contains(text, " -device rtl8139,id=nic0,netdev=net0,mac=00:16:3e");
    assert_lacks(text, "net3");
    assert_lacks(text, " -net none ");
    scene_close(&scene);
}

/* What is wrong with it shows when it is executed. */
TEST(program_that_is_named__is_taken_as_it_is)
{
    AUTO_FREE char *path = NULL;
    struct libspawn_err err;

    scene_open(&scene);
    assert_ok(
        libspawn__xen_dm_find_program(&scene.xen, "/none/dm", &path, &err),
        &err);
    ck_assert_str_eq(path, "/none/dm");
    scene_close(&scene);
}

/* ---- Restriction ------------------------------------------------------- */

/* What is added, each with a blank before and behind it; NULL on failure. */
static char *
render_restrictions(const struct libspawn__restrict *restricted,
                    const struct libspawn__dm_support *support)
{
    AUTO_ARGS struct libspawn__args args = { .config = &scene.config,
                                             .domid = 7 };
    struct libspawn__buf text = { 0 };
    size_t i;

    libspawn__xen_dm_add_restrictions(restricted, support, &args);
    if (args.err.code) {
        ck_assert_int_eq(args.err.code, LIBSPAWN_ERR_UNSUPPORTED);
        return NULL;
    }
    libspawn__buf_puts(&text, " ");
    for (i = 0; i < args.argv.n_items; i++) {
        libspawn__buf_printf(&text, "%s ", args.argv.items[i]);
    }
    return libspawn__buf_take(&text);
}

static const struct libspawn__restrict own_user = {
    .is_on = true, .has_user = true, .is_own = true, .uid = 1001, .gid = 1002
};

#define OLD_RESTRICTIONS                                                      \
    " -xen-domid-restrict -chroot /var/run/xen/qemu-root-7 "                  \
    "-runas 1001:1002 "

TEST(arguments_of_a_restricted_guest__are_those_that_the_program_knows)
{
    const struct libspawn__dm_support older = {
        .features = LIBSPAWN__DM_CHROOT | LIBSPAWN__DM_RUNAS |
                    LIBSPAWN__DM_XEN_DOMID_RESTRICT,
        .version = "7.2.22",
    };
    const struct libspawn__dm_support newer = {
        .features = LIBSPAWN__DM_RUN_WITH_CHROOT | LIBSPAWN__DM_RUN_WITH_USER |
                    LIBSPAWN__DM_XEN_DOMID_RESTRICT | LIBSPAWN__DM_SANDBOX,
        .version = "10.1.0",
    };
    AUTO_FREE char *old_text = render_restrictions(&own_user, &older);
    AUTO_FREE char *new_text = render_restrictions(&own_user, &newer);

    ck_assert_str_eq(old_text, OLD_RESTRICTIONS);
    ck_assert_str_eq(new_text, " -sandbox on,obsolete=deny,spawn=deny,"
                               "resourcecontrol=deny -xen-domid-restrict "
                               "-run-with chroot=/var/run/xen/qemu-root-7 "
                               "-run-with user=1001:1002 ");
}

TEST(arguments_of_a_restricted_guest__are_guessed_without_an_answer)
{
    const struct libspawn__dm_support unknown = { 0 };
    AUTO_FREE char *text = render_restrictions(&own_user, &unknown);

    ck_assert_str_eq(text, OLD_RESTRICTIONS);
}

TEST(arguments_of_a_restricted_guest__are_refused_to_a_program_without)
{
    const struct libspawn__dm_support none = { .version = "2.10.0" };

    ck_assert_ptr_null(render_restrictions(&own_user, &none));
}

TEST(arguments_of_a_guest_with_a_user__change_only_that)
{
    const struct libspawn__restrict restricted = { .has_user = true,
                                                   .uid = 5,
                                                   .gid = 6 };
    const struct libspawn__dm_support support = {
        .features = LIBSPAWN__DM_RUNAS, .version = "7.2.22"
    };
    AUTO_FREE char *text = render_restrictions(&restricted, &support);

    ck_assert_str_eq(text, " -runas 5:6 ");
}

TEST_MAIN("xen_arguments")
