#include "xl/cfg_keys.h"

#include <ctype.h>
#include <string.h>

#include "base/util.h"
#include "guest/config.h"
#include "guest/config_fields.h"
#include "xl/cfg_combine.h"
#include "xl/cfg_disk.h"
#include "xl/cfg_nic.h"
#include "xl/cfg_part.h"
#include "xl/cfg_pci.h"
#include "xl/cfg_set.h"
#include "xl/cfg_unsupported.h"

/* ---- Keys with ways of their own --------------------------------------- */

static int
set_uuid(const struct xl__cfg_reader *reader, const struct xl__cfg_key *key,
         const struct xl__cfg_setting *setting)
{
    int rc = xl__cfg_set_string(reader, key, setting);
    char *at;

    for (at = reader->config->uuid; !rc && at && *at; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    return rc;
}

/* One set of CPUs for all vCPUs, or a list with one for each. */
static int
set_cpus(const struct xl__cfg_reader *reader, const struct xl__cfg_key *key,
         const struct xl__cfg_setting *setting)
{
    static const struct xl__cfg_key of_vcpus = {
        .name = "cpus",
        .offset = offsetof(struct libspawn_guest_config, vcpu_cpus),
        .count_offset = offsetof(struct libspawn_guest_config, n_vcpu_cpus),
    };

    return setting->value.is_list
               ? xl__cfg_set_strings(reader, &of_vcpus, setting)
               : xl__cfg_set_string(reader, key, setting);
}

/* A boolean, or a list of groups of enlightenments, which is more than can be
 * said to the hypervisor yet. */
static int
set_viridian(const struct xl__cfg_reader *reader,
             const struct xl__cfg_key *key,
             const struct xl__cfg_setting *setting)
{
    AUTO_STRV struct libspawn__strv groups = { 0 };
    int rc;

    if (!setting->value.is_list) {
        return xl__cfg_set_choice(reader, key, setting);
    }
    rc = xl__cfg_get_strings(reader, key, &setting->value, &groups);
    if (rc || !groups.n_items) {
        return rc;
    }
    reader->config->viridian = LIBSPAWN_CHOICE_YES;
    return xl__cfg_warn(reader->warnings, &setting->place, reader->err,
                        "the list of '%s' is taken for the default groups",
                        key->name);
}

static int
warn_of_dm_version(const struct xl__cfg_reader *reader,
                   const struct xl__cfg_key *key,
                   const struct xl__cfg_setting *setting)
{
    const char *text;
    unsigned int version;
    int rc = xl__cfg_get_text(reader, key, setting, &text);

    if (rc) {
        return rc;
    }
    if (!libspawn__words_find(key->words, text, &version)) {
        return xl__cfg_fail_words(reader, key, setting, text);
    }
    if (!version) {
        return 0;
    }
    return xl__cfg_warn(reader->warnings, &setting->place, reader->err,
                        "'%s' of '%s' is not supported; the guest gets '%s'",
                        key->name, text, key->words->words[0]);
}

/* ---- Devices ----------------------------------------------------------- */

/* The items of a list of device descriptions, which are strings. */
static int
check_descriptions(const struct xl__cfg_reader *reader,
                   const struct xl__cfg_key *key,
                   const struct xl__cfg_setting *setting)
{
    const struct xl__cfg_value *value = &setting->value;
    size_t i;

    if (!value->is_list) {
        return xl__cfg_fail(reader->err, &value->place, "'%s' must be a list",
                            key->name);
    }
    for (i = 0; i < value->n_items; i++) {
        if (value->items[i].is_list) {
            return xl__cfg_fail(reader->err, &value->items[i].place,
                                "an item of '%s' must be a string", key->name);
        }
    }
    return 0;
}

static int
set_disks(const struct xl__cfg_reader *reader, const struct xl__cfg_key *key,
          const struct xl__cfg_setting *setting)
{
    struct libspawn_guest_config *config = reader->config;
    const struct xl__cfg_value *value = &setting->value;
    size_t i;
    int rc;

    rc = check_descriptions(reader, key, setting);
    if (rc || !value->n_items) {
        return rc;
    }
    config->disks = calloc(value->n_items, sizeof *config->disks);
    if (!config->disks) {
        return libspawn__fail_nomem(reader->err);
    }
    config->n_disks = value->n_items;
    for (i = 0; !rc && i < value->n_items; i++) {
        rc = xl__cfg_disk_parse(xl__cfg_text(&value->items[i]),
                                &value->items[i].place, &config->disks[i],
                                reader->err);
    }
    return rc;
}

static int
set_nics(const struct xl__cfg_reader *reader, const struct xl__cfg_key *key,
         const struct xl__cfg_setting *setting)
{
    struct libspawn_guest_config *config = reader->config;
    const struct xl__cfg_value *value = &setting->value;
    size_t i;
    int rc;

    rc = check_descriptions(reader, key, setting);
    if (rc || !value->n_items) {
        return rc;
    }
    config->nics = calloc(value->n_items, sizeof *config->nics);
    if (!config->nics) {
        return libspawn__fail_nomem(reader->err);
    }
    config->n_nics = value->n_items;
    for (i = 0; !rc && i < value->n_items; i++) {
        rc = xl__cfg_nic_parse(xl__cfg_text(&value->items[i]),
                               &value->items[i].place, &config->nics[i],
                               reader->warnings, reader->err);
    }
    return rc;
}

static int
set_pci(const struct xl__cfg_reader *reader, const struct xl__cfg_key *key,
        const struct xl__cfg_setting *setting)
{
    AUTO_STRV struct libspawn__strv list = { 0 };
    const struct xl__cfg_value *value = &setting->value;
    size_t i;
    int rc = check_descriptions(reader, key, setting);

    for (i = 0; !rc && i < value->n_items; i++) {
        rc = xl__cfg_pci_parse(xl__cfg_text(&value->items[i]),
                               &value->items[i].place, &list, reader->warnings,
                               reader->err);
    }
    if (!rc) {
        reader->config->pci = TAKE_PTR(list.items);
        reader->config->n_pci = list.n_items;
        list.n_items = 0;
    }
    return rc;
}

static xl__cfg_set_fn set_vfb;

/* ---- The table --------------------------------------------------------- */

#define AT(MEMBER) .offset = offsetof(struct libspawn_guest_config, MEMBER)
#define LIST_AT(MEMBER)                                                       \
    AT(MEMBER),                                                               \
        .count_offset = offsetof(struct libspawn_guest_config, n_##MEMBER)

#define STRING(NAME, MEMBER)                                                  \
    {                                                                         \
        .name = (NAME), .set = xl__cfg_set_string, AT(MEMBER)                 \
    }
#define STRING_OF(NAME, MEMBER, WORDS)                                        \
    {                                                                         \
        .name = (NAME), .set = xl__cfg_set_string, AT(MEMBER),                \
        .words = &(WORDS)                                                     \
    }
#define STRINGS(NAME, SET, MEMBER)                                            \
    {                                                                         \
        .name = (NAME), .set = xl__cfg_set_##SET, LIST_AT(MEMBER)             \
    }
#define NUMBER(NAME, SET, MEMBER, MIN_VALUE, MAX_VALUE)                       \
    {                                                                         \
        .name = (NAME), .set = xl__cfg_set_##SET, AT(MEMBER),                 \
        .min = (MIN_VALUE), .max = (MAX_VALUE)                                \
    }
#define CHOICE(NAME, MEMBER) NUMBER(NAME, choice, MEMBER, INT64_MIN, INT64_MAX)
#define WORD(NAME, MEMBER, WORDS)                                             \
    {                                                                         \
        .name = (NAME), .set = xl__cfg_set_word, AT(MEMBER),                  \
        .words = &libspawn__words_##WORDS                                     \
    }
#define OTHER(NAME, SET)                                                      \
    {                                                                         \
        .name = (NAME), .set = (SET)                                          \
    }

enum {
    START_TIMEOUT_MAX = 24 * 60 * 60
};

static const struct libspawn__words vga_words = {
    (const char *const[]){ "stdvga", "cirrus", "qxl", "none" }, 4
};
static const struct libspawn__words bios_words = {
    (const char *const[]){ "seabios", "ovmf", "rombios" }, 3
};
static const struct libspawn__words dm_version_words = {
    (const char *const[]){ "qemu-xen", "qemu-xen-traditional" }, 2
};

static const struct xl__cfg_key keys[] = {
    WORD("accel", accel, accel),
    CHOICE("acpi", acpi),
    CHOICE("apic", apic),
    STRING_OF("bios", firmware, bios_words),
    STRING("boot", boot),
    STRING("bootloader", bootloader),
    STRINGS("bootloader_args", words, bootloader_args),
    OTHER("builder", xl__cfg_set_later),
    OTHER("cmdline", xl__cfg_set_later),
    NUMBER("cpu_weight", u32, cpu_weight, 1, LIBSPAWN__CPU_WEIGHT_MAX),
    { .name = "cpus", .set = set_cpus, AT(cpus) },
    STRINGS("device_model_args", strings, device_model_args),
    STRINGS("device_model_args_hvm", strings, device_model_args_hvm),
    STRINGS("device_model_args_pv", strings, device_model_args_pv),
    STRING("device_model_override", device_model_override),
    STRING("device_model_user", device_model_user),
    { .name = "device_model_version",
      .set = warn_of_dm_version,
      .words = &dm_version_words },
    OTHER("disk", set_disks),
    CHOICE("dm_restrict", dm_restrict),
    OTHER("extra", xl__cfg_set_later),
    OTHER("firmware", xl__cfg_set_later),
    CHOICE("hap", hap),
    CHOICE("hpet", hpet),
    STRING("kernel", kernel),
    STRING("keymap", keymap),
    CHOICE("localtime", localtime),
    NUMBER("maxmem", u64, max_memory_mib, 1, LIBSPAWN__MEMORY_MIB_MAX),
    NUMBER("maxvcpus", u32, max_vcpus, 1, LIBSPAWN__VCPUS_MAX),
    NUMBER("memory", u64, memory_mib, 1, LIBSPAWN__MEMORY_MIB_MAX),
    STRING("name", name),
    CHOICE("nx", nx),
    WORD("on_crash", on_crash, action),
    WORD("on_dm_crash", on_dm_crash, dm_action),
    STRING("on_dm_crash_script", on_dm_crash_script),
    WORD("on_poweroff", on_poweroff, action),
    WORD("on_reboot", on_reboot, action),
    WORD("on_soft_reset", on_soft_reset, action),
    WORD("on_watchdog", on_watchdog, action),
    CHOICE("pae", pae),
    OTHER("pci", set_pci),
    STRING("ramdisk", ramdisk),
    OTHER("root", xl__cfg_set_later),
    NUMBER("rtc_timeoffset", i32, rtc_timeoffset, INT32_MIN, INT32_MAX),
    CHOICE("sdl", sdl),
    STRINGS("serial", string_or_strings, serials),
    NUMBER("shadow_memory", u32, shadow_memory_mib, 0,
           LIBSPAWN__MEMORY_MIB_MAX),
    STRING("soundhw", soundhw),
    NUMBER("start_timeout", seconds, start_timeout_ms, 1, START_TIMEOUT_MAX),
    OTHER("stdvga", xl__cfg_set_later),
    WORD("type", type, guest_type),
    CHOICE("usb", usb),
    STRINGS("usbdevice", string_or_strings, usbdevices),
    { .name = "uuid", .set = set_uuid, AT(uuid) },
    NUMBER("vcpus", u32, vcpus, 1, LIBSPAWN__VCPUS_MAX),
    OTHER("vfb", set_vfb),
    STRING_OF("vga", vga, vga_words),
    NUMBER("videoram", u32, videoram_mib, 0, LIBSPAWN__VIDEORAM_MIB_MAX),
    OTHER("vif", set_nics),
    { .name = "viridian",
      .set = set_viridian,
      AT(viridian),
      .min = INT64_MIN,
      .max = INT64_MAX },
    CHOICE("vnc", vnc.enable),
    NUMBER("vncdisplay", u32, vnc.display, 0, LIBSPAWN__VNC_DISPLAY_MAX),
    STRING("vnclisten", vnc.listen),
    STRING("vncpasswd", vnc.password),
    CHOICE("vncunused", vnc.find_unused),
    CHOICE("xen_platform_pci", xen_platform_pci),
};

const char *
xl__cfg_key_name(size_t i)
{
    return i < ARRAY_SIZE(keys) ? keys[i].name : NULL;
}

static const struct xl__cfg_key *
find_key(const char *name)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!strcmp(keys[i].name, name)) {
            return &keys[i];
        }
    }
    return NULL;
}

/* ---- Virtual framebuffers ---------------------------------------------- */

/* Parts of an item of 'vfb' mean what the keys of these names do. */
static int
set_vfb_part(const struct xl__cfg_reader *reader,
             const struct xl__cfg_part *part,
             const struct xl__cfg_place *place)
{
    static const char *const names[] = {
        "keymap",    "sdl",       "vnc",      "vncdisplay",
        "vnclisten", "vncpasswd", "vncunused"
    };
    struct xl__cfg_setting setting = { .key = part->name, .place = *place };
    const struct xl__cfg_key *key;
    size_t i;

    setting.value.place = *place;
    setting.value.text.data = part->value;
    for (i = 0; part->value && i < ARRAY_SIZE(names); i++) {
        if (!strcmp(names[i], part->name)) {
            key = find_key(names[i]);
            return key ? key->set(reader, key, &setting) : 0;
        }
    }
    if (part->value && !strcmp(part->name, "type")) {
        return 0; /* "vnc" or "sdl", which the other parts say too */
    }
    return xl__cfg_warn(reader->warnings, place, reader->err,
                        "'%.40s' of a vfb is not supported yet and is ignored",
                        part->name);
}

static int
set_vfb(const struct xl__cfg_reader *reader, const struct xl__cfg_key *key,
        const struct xl__cfg_setting *setting)
{
    AUTO(xl__cfg_part_dispose) struct xl__cfg_part part = { 0 };
    const struct xl__cfg_value *value = &setting->value;
    const char *at;
    bool more;
    int rc;

    rc = check_descriptions(reader, key, setting);
    if (rc || !value->n_items) {
        return rc;
    }
    if (value->n_items > 1) {
        return xl__cfg_fail(reader->err, &value->items[1].place,
                            "a second virtual framebuffer is not supported "
                            "yet");
    }
    reader->config->vnc.enable = LIBSPAWN_CHOICE_YES;
    at = xl__cfg_text(&value->items[0]);
    do {
        rc = xl__cfg_part_next(&at, &part, &more, reader->err);
        if (!rc && more) {
            rc = set_vfb_part(reader, &part, &value->items[0].place);
        }
    } while (!rc && more);
    return rc;
}

int
xl__cfg_apply(const struct xl__cfg *cfg, struct libspawn_guest_config *config,
              struct libspawn__strv *warnings, struct libspawn_err *err)
{
    struct xl__cfg_reader reader = { cfg, config, warnings, err };
    size_t i;
    int rc;

    for (i = 0; i < cfg->n_settings; i++) {
        const struct xl__cfg_setting *setting = &cfg->settings[i];
        const struct xl__cfg_key *key = find_key(setting->key);

        rc = key ? key->set(&reader, key, setting)
                 : xl__cfg_warn_unsupported(setting, warnings, err);
        if (rc) {
            return rc;
        }
    }
    return xl__cfg_combine(&reader);
}
