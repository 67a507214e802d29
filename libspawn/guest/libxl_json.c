#include "guest/libxl_json.h"

#include <stddef.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "guest/config_fields.h"

/* ---- Members that only change their name ------------------------------- */

enum kind {
    STRING,
    STRINGS,
    CHOICE,
    NUMBER,  /* uint32_t, left out when 0 */
    SECONDS, /* int32_t in seconds, which stock keeps as a uint32_t */
    MIB_U32, /* becomes KiB */
    MIB_U64
};

struct row {
    const char *name;
    enum kind kind;
    size_t offset;
    size_t count_offset;
};

#define ROW(NAME, KIND, MEMBER)                                               \
    {                                                                         \
        (NAME), KIND, offsetof(OWNER, MEMBER), 0                              \
    }
#define STRINGS_ROW(NAME, MEMBER)                                             \
    {                                                                         \
        (NAME), STRINGS, offsetof(OWNER, MEMBER), offsetof(OWNER, n_##MEMBER) \
    }

#define OWNER struct libspawn_guest_config
static const struct row c_info_rows[] = {
    ROW("hap", CHOICE, hap),
    ROW("name", STRING, name),
    ROW("uuid", STRING, uuid),
};

static const struct row b_info_rows[] = {
    ROW("target_memkb", MIB_U64, memory_mib),
    ROW("shadow_memkb", MIB_U32, shadow_memory_mib),
    ROW("rtc_timeoffset", SECONDS, rtc_timeoffset),
    ROW("localtime", CHOICE, localtime),
    ROW("device_model", STRING, device_model_override),
    ROW("device_model_user", STRING, device_model_user),
    STRINGS_ROW("extra", device_model_args),
    STRINGS_ROW("extra_pv", device_model_args_pv),
    STRINGS_ROW("extra_hvm", device_model_args_hvm),
    ROW("kernel", STRING, kernel),
    ROW("cmdline", STRING, cmdline),
    ROW("ramdisk", STRING, ramdisk),
    ROW("acpi", CHOICE, acpi),
    ROW("bootloader", STRING, bootloader),
    STRINGS_ROW("bootloader_args", bootloader_args),
    ROW("dm_restrict", CHOICE, dm_restrict),
};

/* In b_info; stock reads this key for HVM guests only. */
static const struct row apic_row[] = { ROW("apic", CHOICE, apic) };

static const struct row sched_rows[] = { ROW("weight", NUMBER, cpu_weight) };

static const struct row hvm_rows[] = {
    ROW("pae", CHOICE, pae),
    ROW("nx", CHOICE, nx),
    ROW("viridian", CHOICE, viridian),
    ROW("hpet", CHOICE, hpet),
    ROW("keymap", STRING, keymap),
    ROW("boot", STRING, boot),
    ROW("usb", CHOICE, usb),
    ROW("soundhw", STRING, soundhw),
    ROW("xen_platform_pci", CHOICE, xen_platform_pci),
};

static const struct row vnc_rows[] = {
    ROW("enable", CHOICE, vnc.enable),
    ROW("listen", STRING, vnc.listen),
    ROW("passwd", STRING, vnc.password),
    ROW("display", NUMBER, vnc.display),
    ROW("findunused", CHOICE, vnc.find_unused),
};

static const struct row sdl_rows[] = { ROW("enable", CHOICE, sdl) };
static const struct row keymap_row[] = { ROW("keymap", STRING, keymap) };
#undef OWNER

#define OWNER struct libspawn_disk
static const struct row disk_rows[] = {
    ROW("vdev", STRING, vdev),
    ROW("backend", STRING, backendtype),
    ROW("script", STRING, script),
    ROW("discard_enable", CHOICE, discard),
};
#undef OWNER

#define OWNER struct libspawn_nic
static const struct row nic_rows[] = {
    ROW("model", STRING, model),
    ROW("mac", STRING, mac),
    ROW("ip", STRING, ip),
    ROW("bridge", STRING, bridge),
    ROW("ifname", STRING, vifname),
    ROW("script", STRING, script),
};
#undef OWNER

static void
put_strings(struct libspawn__json_writer *writer, const char *key,
            char *const *strings, size_t n)
{
    size_t i;

    if (!n) {
        return;
    }
    libspawn__json_begin_array(writer, key);
    for (i = 0; i < n; i++) {
        libspawn__json_put_string(writer, NULL, strings[i]);
    }
    libspawn__json_end_array(writer);
}

static void
put_nonzero(struct libspawn__json_writer *writer, const char *key,
            uint64_t value)
{
    if (value) {
        libspawn__json_put_integer(writer, key, (int64_t)value);
    }
}

static void
put_text(struct libspawn__json_writer *writer, const char *key,
         const char *text)
{
    if (text) {
        libspawn__json_put_string(writer, key, text);
    }
}

/* The stock form of a boolean with a default. */
static void
put_choice(struct libspawn__json_writer *writer, const char *key,
           enum libspawn_choice choice)
{
    if (choice) {
        put_text(writer, key,
                 choice == LIBSPAWN_CHOICE_YES ? "True" : "False");
    }
}

static void
put_row(struct libspawn__json_writer *writer, const struct row *row,
        const void *owner)
{
    const void *at = (const char *)owner + row->offset;
    const void *count = (const char *)owner + row->count_offset;

    switch (row->kind) {
    case STRING:
        put_text(writer, row->name, *(const char *const *)at);
        break;
    case STRINGS:
        put_strings(writer, row->name, *(char *const *const *)at,
                    *(const size_t *)count);
        break;
    case CHOICE:
        put_choice(writer, row->name, *(const enum libspawn_choice *)at);
        break;
    case NUMBER:
    case SECONDS:
        put_nonzero(writer, row->name, *(const uint32_t *)at);
        break;
    case MIB_U32:
        put_nonzero(writer, row->name,
                    (uint64_t)*(const uint32_t *)at * 1024);
        break;
    case MIB_U64:
        put_nonzero(writer, row->name, *(const uint64_t *)at * 1024);
        break;
    }
}

#define PUT_ROWS(WRITER, ROWS, RECORD)                                        \
    put_rows((WRITER), (ROWS), ARRAY_SIZE(ROWS), (RECORD))

static void
put_rows(struct libspawn__json_writer *writer, const struct row *rows,
         size_t n, const void *owner)
{
    size_t i;

    for (i = 0; i < n; i++) {
        put_row(writer, &rows[i], owner);
    }
}

/* ---- Members that change their form ------------------------------------ */

static const char *
type_word(const struct libspawn_guest_config *config)
{
    /* What Xen makes of a guest without a type. */
    unsigned int type = config->type ? config->type : LIBSPAWN_GUEST_TYPE_PV;

    return libspawn__words_name(&libspawn__words_guest_type, type);
}

static void
put_c_info(struct libspawn__json_writer *writer,
           const struct libspawn_guest_config *config)
{
    libspawn__json_begin_object(writer, "c_info");
    put_text(writer, "type", type_word(config));
    PUT_ROWS(writer, c_info_rows, config);
    put_text(writer, "run_hotplug_scripts", "True");
    libspawn__json_end_object(writer);
}

static void
put_display(struct libspawn__json_writer *writer,
            const struct libspawn_guest_config *config)
{
    libspawn__json_begin_object(writer, "vnc");
    PUT_ROWS(writer, vnc_rows, config);
    libspawn__json_end_object(writer);
    libspawn__json_begin_object(writer, "sdl");
    PUT_ROWS(writer, sdl_rows, config);
    libspawn__json_end_object(writer);
}

static void
put_firmware(struct libspawn__json_writer *writer, const char *firmware)
{
    if (!firmware || !strcmp(firmware, "bios")) {
        return;
    }
    /* Anything with a slash is the path of a loader. */
    put_text(writer, strchr(firmware, '/') ? "firmware" : "bios", firmware);
}

/* One string, or a list of several. */
static void
put_string_or_list(struct libspawn__json_writer *writer, const char *key,
                   const char *list_key, char *const *strings, size_t n)
{
    if (n == 1) {
        put_text(writer, key, strings[0]);
    } else {
        put_strings(writer, list_key, strings, n);
    }
}

static void
put_hvm(struct libspawn__json_writer *writer,
        const struct libspawn_guest_config *config)
{
    const char *vga = config->vga;

    PUT_ROWS(writer, hvm_rows, config);
    put_firmware(writer, config->firmware);
    libspawn__json_begin_object(writer, "vga");
    put_text(writer, "kind", vga && !strcmp(vga, "stdvga") ? "std" : vga);
    libspawn__json_end_object(writer);
    put_display(writer, config);
    put_string_or_list(writer, "serial", "serial_list", config->serials,
                       config->n_serials);
    put_string_or_list(writer, "usbdevice", "usbdevice_list",
                       config->usbdevices, config->n_usbdevices);
}

static void
put_vcpus(struct libspawn__json_writer *writer,
          const struct libspawn_guest_config *config)
{
    uint32_t i;

    put_nonzero(writer, "max_vcpus",
                config->max_vcpus ? config->max_vcpus : config->vcpus);
    libspawn__json_begin_array(writer, "avail_vcpus");
    for (i = 0; i < config->vcpus; i++) {
        libspawn__json_put_integer(writer, NULL, i);
    }
    libspawn__json_end_array(writer);
}

static void
put_b_info(struct libspawn__json_writer *writer,
           const struct libspawn_guest_config *config)
{
    uint64_t max_memory = config->max_memory_mib ? config->max_memory_mib
                                                 : config->memory_mib;
    char union_key[16];

    libspawn__json_begin_object(writer, "b_info");
    put_vcpus(writer, config);
    put_nonzero(writer, "max_memkb", max_memory * 1024);
    PUT_ROWS(writer, b_info_rows, config);
    /* Stock calculates with it, and its default would count as -1. */
    if (config->videoram_mib || config->type != LIBSPAWN_GUEST_TYPE_HVM) {
        libspawn__json_put_integer(writer, "video_memkb",
                                   (int64_t)config->videoram_mib * 1024);
    }
    if (config->device_model_override) {
        put_text(writer, "device_model_version", "qemu_xen");
    }
    libspawn__json_begin_object(writer, "sched_params");
    PUT_ROWS(writer, sched_rows, config);
    libspawn__json_end_object(writer);
    if (config->type == LIBSPAWN_GUEST_TYPE_HVM) {
        PUT_ROWS(writer, apic_row, config);
    }
    snprintf(union_key, sizeof union_key, "type.%s", type_word(config));
    libspawn__json_begin_object(writer, union_key);
    if (config->type == LIBSPAWN_GUEST_TYPE_HVM) {
        put_hvm(writer, config);
    }
    libspawn__json_end_object(writer);
    libspawn__json_end_object(writer);
}

/* ---- Devices ----------------------------------------------------------- */

static void
put_disk(struct libspawn__json_writer *writer,
         const struct libspawn_disk *disk)
{
    libspawn__json_begin_object(writer, NULL);
    put_text(writer, "pdev_path", disk->target ? disk->target : "");
    PUT_ROWS(writer, disk_rows, disk);
    put_text(writer, "format",
             libspawn__words_name(&libspawn__words_disk_format, disk->format));
    put_nonzero(writer, "removable", disk->is_cdrom);
    put_nonzero(writer, "readwrite", !disk->read_only);
    put_nonzero(writer, "is_cdrom", disk->is_cdrom);
    if (disk->direct_io_safe == LIBSPAWN_CHOICE_YES) {
        libspawn__json_put_bool(writer, "direct_io_safe", true);
    }
    libspawn__json_end_object(writer);
}

static void
put_nic(struct libspawn__json_writer *writer, const struct libspawn_nic *nic,
        size_t devid)
{
    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_integer(writer, "devid", (int64_t)devid);
    PUT_ROWS(writer, nic_rows, nic);
    if (nic->type) {
        put_text(writer, "nictype",
                 strcmp(nic->type, "ioemu") ? nic->type : "vif_ioemu");
    }
    libspawn__json_end_object(writer);
}

static void
put_devices(struct libspawn__json_writer *writer,
            const struct libspawn_guest_config *config)
{
    size_t i;

    if (config->n_disks) {
        libspawn__json_begin_array(writer, "disks");
        for (i = 0; i < config->n_disks; i++) {
            put_disk(writer, &config->disks[i]);
        }
        libspawn__json_end_array(writer);
    }
    if (config->n_nics) {
        libspawn__json_begin_array(writer, "nics");
        for (i = 0; i < config->n_nics; i++) {
            put_nic(writer, &config->nics[i], i);
        }
        libspawn__json_end_array(writer);
    }
}

/* The screen and keyboard of a guest without an emulated machine. */
static void
put_framebuffer(struct libspawn__json_writer *writer,
                const struct libspawn_guest_config *config)
{
    if (config->type == LIBSPAWN_GUEST_TYPE_HVM ||
        config->vnc.enable != LIBSPAWN_CHOICE_YES) {
        return;
    }
    libspawn__json_begin_array(writer, "vfbs");
    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_integer(writer, "devid", 0);
    put_display(writer, config);
    PUT_ROWS(writer, keymap_row, config);
    libspawn__json_end_object(writer);
    libspawn__json_end_array(writer);
    libspawn__json_begin_array(writer, "vkbs");
    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_integer(writer, "devid", 0);
    libspawn__json_end_object(writer);
    libspawn__json_end_array(writer);
}

/* ---- Actions ----------------------------------------------------------- */

static void
put_actions(struct libspawn__json_writer *writer,
            const struct libspawn_guest_config *config)
{
    static const char *const words[] = {
        [LIBSPAWN_ACTION_DESTROY] = "destroy",
        [LIBSPAWN_ACTION_RESTART] = "restart",
        [LIBSPAWN_ACTION_RENAME_RESTART] = "restart_rename",
        [LIBSPAWN_ACTION_PRESERVE] = "preserve",
        [LIBSPAWN_ACTION_COREDUMP_DESTROY] = "coredump_destroy",
        [LIBSPAWN_ACTION_COREDUMP_RESTART] = "coredump_restart",
        [LIBSPAWN_ACTION_SOFT_RESET] = "soft_reset",
    };
    const struct {
        const char *name;
        enum libspawn_action action;
        enum libspawn_action usual; /* of stock xl, for DEFAULT */
    } actions[] = {
        { "on_poweroff", config->on_poweroff, LIBSPAWN_ACTION_DESTROY },
        { "on_reboot", config->on_reboot, LIBSPAWN_ACTION_RESTART },
        { "on_watchdog", config->on_watchdog, LIBSPAWN_ACTION_DESTROY },
        { "on_crash", config->on_crash, LIBSPAWN_ACTION_DESTROY },
        { "on_soft_reset", config->on_soft_reset, LIBSPAWN_ACTION_SOFT_RESET },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(actions); i++) {
        put_text(
            writer, actions[i].name,
            words[actions[i].action ? actions[i].action : actions[i].usual]);
    }
}

void
libspawn__guest_config_put_libxl(struct libspawn__json_writer *writer,
                                 const char *key,
                                 const struct libspawn_guest_config *config)
{
    libspawn__json_begin_object(writer, key);
    put_c_info(writer, config);
    put_b_info(writer, config);
    put_devices(writer, config);
    put_framebuffer(writer, config);
    put_actions(writer, config);
    libspawn__json_end_object(writer);
}

int
libspawn__guest_config_to_libxl_json(
    const struct libspawn_guest_config *config, char **json_r,
    struct libspawn_err *err)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(true);
    char *json;

    if (!writer) {
        return libspawn__fail_nomem(err);
    }
    libspawn__guest_config_put_libxl(writer, NULL, config);
    json = libspawn__json_writer_take(writer);
    if (!json) {
        return libspawn__fail_nomem(err);
    }
    *json_r = json;
    return 0;
}
