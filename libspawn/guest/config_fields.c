#include "guest/config_fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* ---- Words ------------------------------------------------------------- */

#define WORDS(NAME)                                                           \
    const struct libspawn__words libspawn__words_##NAME = {                   \
        NAME##_words, ARRAY_SIZE(NAME##_words)                                \
    }

static const char *const guest_type_words[] = {
    [LIBSPAWN_GUEST_TYPE_HVM] = "hvm",
    [LIBSPAWN_GUEST_TYPE_PVH] = "pvh",
    [LIBSPAWN_GUEST_TYPE_PV] = "pv",
};
WORDS(guest_type);

static const char *const disk_format_words[] = {
    [LIBSPAWN_DISK_RAW] = "raw",     [LIBSPAWN_DISK_QCOW] = "qcow",
    [LIBSPAWN_DISK_QCOW2] = "qcow2", [LIBSPAWN_DISK_QED] = "qed",
    [LIBSPAWN_DISK_VHD] = "vhd",     [LIBSPAWN_DISK_EMPTY] = "empty",
};
WORDS(disk_format);

static const char *const nic_net_words[] = {
    [LIBSPAWN_NIC_NET_USER] = "user",
    [LIBSPAWN_NIC_NET_TAP] = "tap",
};
WORDS(nic_net);

/* Of the device model's end; the last is no word for that of the guest. */
static const char *const dm_action_words[] = {
    [LIBSPAWN_ACTION_DESTROY] = "destroy",
    [LIBSPAWN_ACTION_RESTART] = "restart",
    [LIBSPAWN_ACTION_RENAME_RESTART] = "rename-restart",
    [LIBSPAWN_ACTION_PRESERVE] = "preserve",
    [LIBSPAWN_ACTION_COREDUMP_DESTROY] = "coredump-destroy",
    [LIBSPAWN_ACTION_COREDUMP_RESTART] = "coredump-restart",
    [LIBSPAWN_ACTION_SOFT_RESET] = "soft-reset",
    [LIBSPAWN_ACTION_SCRIPT] = "script",
};
WORDS(dm_action);
const struct libspawn__words libspawn__words_action = {
    dm_action_words, LIBSPAWN_ACTION_SCRIPT
};

static const char *const accel_words[] = {
    [LIBSPAWN_ACCEL_KVM] = "kvm",
    [LIBSPAWN_ACCEL_TCG] = "tcg",
};
WORDS(accel);

const char *
libspawn__words_name(const struct libspawn__words *words, unsigned int value)
{
    return value < words->n_words ? words->words[value] : NULL;
}

bool
libspawn__words_find(const struct libspawn__words *words, const char *word,
                     unsigned int *value_r)
{
    unsigned int i;

    for (i = 0; i < words->n_words; i++) {
        if (words->words[i] && !strcmp(words->words[i], word)) {
            *value_r = i;
            return true;
        }
    }
    return false;
}

/* ---- Members ----------------------------------------------------------- */

#define RECORD(NAME, TYPE)                                                    \
    const struct libspawn__record libspawn__record_##NAME = {                 \
        sizeof(TYPE), NAME##_fields, ARRAY_SIZE(NAME##_fields)                \
    }

#define FIELD(KIND, MEMBER)                                                   \
    {                                                                         \
        .name = #MEMBER, .kind = LIBSPAWN__FIELD_##KIND,                      \
        .offset = offsetof(OWNER, MEMBER)                                     \
    }
#define WORD_FIELD(MEMBER, WORDS_NAME)                                        \
    {                                                                         \
        .name = #MEMBER, .kind = LIBSPAWN__FIELD_WORD,                        \
        .offset = offsetof(OWNER, MEMBER),                                    \
        .words = &libspawn__words_##WORDS_NAME                                \
    }
#define STRINGS_FIELD(MEMBER)                                                 \
    {                                                                         \
        .name = #MEMBER, .kind = LIBSPAWN__FIELD_STRINGS,                     \
        .offset = offsetof(OWNER, MEMBER),                                    \
        .count_offset = offsetof(OWNER, n_##MEMBER)                           \
    }
#define RECORD_FIELD(MEMBER, RECORD_NAME)                                     \
    {                                                                         \
        .name = #MEMBER, .kind = LIBSPAWN__FIELD_RECORD,                      \
        .offset = offsetof(OWNER, MEMBER),                                    \
        .record = &libspawn__record_##RECORD_NAME                             \
    }
#define RECORDS_FIELD(MEMBER, RECORD_NAME)                                    \
    {                                                                         \
        .name = #MEMBER, .kind = LIBSPAWN__FIELD_RECORDS,                     \
        .offset = offsetof(OWNER, MEMBER),                                    \
        .count_offset = offsetof(OWNER, n_##MEMBER),                          \
        .record = &libspawn__record_##RECORD_NAME                             \
    }

#define OWNER struct libspawn_disk
static const struct libspawn__field disk_fields[] = {
    FIELD(STRING, target),
    WORD_FIELD(format, disk_format),
    FIELD(STRING, vdev),
    FIELD(BOOL, is_cdrom),
    FIELD(BOOL, read_only),
    FIELD(STRING, backendtype),
    FIELD(STRING, script),
    FIELD(CHOICE, discard),
    FIELD(CHOICE, direct_io_safe),
};
RECORD(disk, OWNER);
#undef OWNER

#define OWNER struct libspawn_nic
static const struct libspawn__field nic_fields[] = {
    FIELD(STRING, mac),
    FIELD(STRING, bridge),
    FIELD(STRING, model),
    FIELD(STRING, type),
    FIELD(STRING, script),
    FIELD(STRING, vifname),
    FIELD(STRING, ip),
    WORD_FIELD(net, nic_net),
};
RECORD(nic, OWNER);
#undef OWNER

#define OWNER struct libspawn_vnc
static const struct libspawn__field vnc_fields[] = {
    FIELD(CHOICE, enable),
    FIELD(STRING, listen),
    FIELD(U32, display),
    FIELD(CHOICE, find_unused),
    FIELD(STRING, password),
};
RECORD(vnc, OWNER);
#undef OWNER

#define OWNER struct libspawn_guest_config
static const struct libspawn__field guest_config_fields[] = {
    FIELD(STRING, name),
    FIELD(STRING, uuid),
    WORD_FIELD(type, guest_type),
    FIELD(U64, memory_mib),
    FIELD(U64, max_memory_mib),
    FIELD(U32, vcpus),
    FIELD(U32, max_vcpus),
    FIELD(STRING, cpus),
    STRINGS_FIELD(vcpu_cpus),
    FIELD(U32, cpu_weight),
    FIELD(STRING, kernel),
    FIELD(STRING, ramdisk),
    FIELD(STRING, cmdline),
    FIELD(STRING, bootloader),
    STRINGS_FIELD(bootloader_args),
    FIELD(STRING, firmware),
    FIELD(STRING, boot),
    RECORDS_FIELD(disks, disk),
    RECORDS_FIELD(nics, nic),
    STRINGS_FIELD(pci),
    STRINGS_FIELD(serials),
    RECORD_FIELD(vnc, vnc),
    FIELD(CHOICE, sdl),
    FIELD(STRING, keymap),
    FIELD(STRING, vga),
    FIELD(U32, videoram_mib),
    FIELD(CHOICE, usb),
    STRINGS_FIELD(usbdevices),
    FIELD(STRING, soundhw),
    FIELD(CHOICE, acpi),
    FIELD(CHOICE, apic),
    FIELD(CHOICE, pae),
    FIELD(CHOICE, nx),
    FIELD(CHOICE, hpet),
    FIELD(CHOICE, hap),
    FIELD(CHOICE, viridian),
    FIELD(CHOICE, xen_platform_pci),
    FIELD(CHOICE, localtime),
    FIELD(I32, rtc_timeoffset),
    FIELD(U32, shadow_memory_mib),
    WORD_FIELD(on_poweroff, action),
    WORD_FIELD(on_reboot, action),
    WORD_FIELD(on_watchdog, action),
    WORD_FIELD(on_crash, action),
    WORD_FIELD(on_soft_reset, action),
    WORD_FIELD(on_dm_crash, dm_action),
    FIELD(STRING, on_dm_crash_script),
    FIELD(STRING, device_model_override),
    STRINGS_FIELD(device_model_args),
    STRINGS_FIELD(device_model_args_hvm),
    STRINGS_FIELD(device_model_args_pv),
    FIELD(STRING, device_model_user),
    FIELD(CHOICE, dm_restrict),
    WORD_FIELD(accel, accel),
    FIELD(U32, start_timeout_ms),
};
RECORD(guest_config, OWNER);
#undef OWNER

/* ---- Disposal ---------------------------------------------------------- */

static void
dispose_strings(char **strings, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        free(strings[i]);
    }
    free(strings);
}

static void
dispose_records(const struct libspawn__record *record, char *records, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        libspawn__record_dispose(record, records + i * record->size);
    }
    free(records);
}

static void
dispose_field(const struct libspawn__field *field, void *owner)
{
    void *at = libspawn__field_in(field, owner);

    switch (field->kind) {
    case LIBSPAWN__FIELD_STRING:
        free(*(char **)at);
        break;
    case LIBSPAWN__FIELD_STRINGS:
        dispose_strings(*(char ***)at, libspawn__field_count(field, owner));
        break;
    case LIBSPAWN__FIELD_RECORD:
        libspawn__record_dispose(field->record, at);
        break;
    case LIBSPAWN__FIELD_RECORDS:
        dispose_records(field->record, *(void **)at,
                        libspawn__field_count(field, owner));
        break;
    case LIBSPAWN__FIELD_BOOL:
    case LIBSPAWN__FIELD_CHOICE:
    case LIBSPAWN__FIELD_I32:
    case LIBSPAWN__FIELD_U32:
    case LIBSPAWN__FIELD_U64:
    case LIBSPAWN__FIELD_WORD:
        break;
    }
}

void
libspawn__record_dispose(const struct libspawn__record *record, void *owner)
{
    size_t i;

    for (i = 0; i < record->n_fields; i++) {
        dispose_field(&record->fields[i], owner);
    }
    memset(owner, 0, record->size);
}
