#include "guest/config.h"

#include <ctype.h>
#include <net/if.h>
#include <string.h>

#include "base/str.h"
#include "base/utf8.h"
#include "base/util.h"
#include "dm/serial.h"
#include "guest/config_fields.h"
#include "guest/pci_address.h"
#include "guest/vdev.h"

enum {
    DEFAULT_MEMORY_MIB = 32, /* stock xl's, when the key is missing */
    BOOT_LEN_MAX = 4,
    IDE_DISKS = 4
};

void
libspawn_guest_config_init(struct libspawn_guest_config *config)
{
    memset(config, 0, sizeof *config);
    config->memory_mib = DEFAULT_MEMORY_MIB;
    config->vcpus = 1;
}

void
libspawn_guest_config_dispose(struct libspawn_guest_config *config)
{
    libspawn__record_dispose(&libspawn__record_guest_config, config);
}

/* ---- The check ---------------------------------------------------------
 *
 * Each function checks one aspect; the table at the end has their order.
 */
struct check {
    const struct libspawn_guest_config *config;
    struct libspawn__config_fault fault;
    struct libspawn_err *err;
};

#define FAIL(CHECK, KEY, INDEX, ...)                                          \
    ((CHECK)->fault = (struct libspawn__config_fault){ (KEY), (INDEX) },      \
     libspawn__fail((CHECK)->err, LIBSPAWN_ERR_INVALID, __VA_ARGS__))

static bool
has_control_character(const char *text)
{
    for (; *text; text++) {
        if (iscntrl((unsigned char)*text)) {
            return true;
        }
    }
    return false;
}

static int
check_name(struct check *check)
{
    const char *name = check->config->name;
    size_t len;

    if (!name || !*name) {
        return FAIL(check, "name", 0, "the guest has no name");
    }
    len = strlen(name);
    if (len > LIBSPAWN__NAME_LEN_MAX) {
        return FAIL(check, "name", 0, "the name has %zu bytes, more than %d",
                    len, LIBSPAWN__NAME_LEN_MAX);
    }
    if (has_control_character(name)) {
        return FAIL(check, "name", 0, "the name has a control character");
    }
    if (strchr(name, '/')) {
        return FAIL(check, "name", 0, "the name '%s' has a slash", name);
    }
    if (*name == '.' || *name == '-') {
        return FAIL(check, "name", 0, "the name '%s' begins with '%c'", name,
                    *name);
    }
    if (strspn(name, "0123456789") == len) {
        return FAIL(check, "name", 0,
                    "the name '%s' would be taken for a number", name);
    }
    return 0;
}

static int
check_uuid(struct check *check)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    const char *uuid = check->config->uuid;
    size_t i;

    if (!uuid) {
        return 0;
    }
    for (i = 0; form[i] == '-' ? uuid[i] == '-'
                               : form[i] && uuid[i] &&
                                     strchr("0123456789abcdef", uuid[i]);
         i++) {
    }
    if (form[i] || uuid[i]) {
        return FAIL(check, "uuid", 0,
                    "the uuid '%.60s' does not have the form %s in lower case",
                    uuid, form);
    }
    return 0;
}

static int
check_memory(struct check *check)
{
    const struct libspawn_guest_config *config = check->config;

    if (!config->memory_mib || config->memory_mib > LIBSPAWN__MEMORY_MIB_MAX) {
        return FAIL(
            check, "memory", 0, "memory of %llu MiB is not within 1 and %d",
            (unsigned long long)config->memory_mib, LIBSPAWN__MEMORY_MIB_MAX);
    }
    if (config->max_memory_mib > LIBSPAWN__MEMORY_MIB_MAX) {
        return FAIL(check, "maxmem", 0, "maxmem of %llu MiB is more than %d",
                    (unsigned long long)config->max_memory_mib,
                    LIBSPAWN__MEMORY_MIB_MAX);
    }
    if (config->max_memory_mib &&
        config->max_memory_mib < config->memory_mib) {
        return FAIL(check, "maxmem", 0,
                    "maxmem of %llu MiB is less than memory of %llu MiB",
                    (unsigned long long)config->max_memory_mib,
                    (unsigned long long)config->memory_mib);
    }
    if (config->videoram_mib > LIBSPAWN__VIDEORAM_MIB_MAX) {
        return FAIL(check, "videoram", 0, "videoram of %u MiB is more than %d",
                    config->videoram_mib, LIBSPAWN__VIDEORAM_MIB_MAX);
    }
    return 0;
}

/* Moves '*at' behind a number of at most five digits. */
static bool
skip_number(const char **at)
{
    size_t n = strspn(*at, "0123456789");

    *at += n;
    return n && n <= 5;
}

static bool
skip_prefix(const char **at, const char *prefix)
{
    if (!libspawn__str_has_prefix(*at, prefix)) {
        return false;
    }
    *at += strlen(prefix);
    return true;
}

/* [^][node:|nodes:]NUMBER[-NUMBER], or "all" in place of the numbers unless
 * it is excluded. */
static bool
skip_cpus(const char **at)
{
    bool excluded = skip_prefix(at, "^");

    if (!skip_prefix(at, "node:")) {
        skip_prefix(at, "nodes:");
    }
    if (!excluded && skip_prefix(at, "all")) {
        return true;
    }
    return skip_number(at) && (!skip_prefix(at, "-") || skip_number(at));
}

bool
libspawn__cpu_set_is_valid(const char *text)
{
    do {
        if (!skip_cpus(&text)) {
            return false;
        }
    } while (skip_prefix(&text, ","));
    return !*text;
}

static int
check_vcpus(struct check *check)
{
    const struct libspawn_guest_config *config = check->config;
    size_t i;

    if (!config->vcpus || config->vcpus > LIBSPAWN__VCPUS_MAX) {
        return FAIL(check, "vcpus", 0, "%u vcpus is not within 1 and %d",
                    config->vcpus, LIBSPAWN__VCPUS_MAX);
    }
    if (config->max_vcpus > LIBSPAWN__VCPUS_MAX) {
        return FAIL(check, "maxvcpus", 0, "maxvcpus of %u is more than %d",
                    config->max_vcpus, LIBSPAWN__VCPUS_MAX);
    }
    if (config->max_vcpus && config->max_vcpus < config->vcpus) {
        return FAIL(check, "maxvcpus", 0,
                    "maxvcpus of %u is less than %u, "
                    "the number of vcpus",
                    config->max_vcpus, config->vcpus);
    }
    if (config->cpus && !libspawn__cpu_set_is_valid(config->cpus)) {
        return FAIL(check, "cpus", 0, "'%.60s' is not a set of CPUs",
                    config->cpus);
    }
    for (i = 0; i < config->n_vcpu_cpus; i++) {
        if (!libspawn__cpu_set_is_valid(config->vcpu_cpus[i])) {
            return FAIL(check, "cpus", i, "'%.60s' is not a set of CPUs",
                        config->vcpu_cpus[i]);
        }
    }
    if (config->cpu_weight > LIBSPAWN__CPU_WEIGHT_MAX) {
        return FAIL(check, "cpu_weight", 0, "cpu_weight of %u is more than %d",
                    config->cpu_weight, LIBSPAWN__CPU_WEIGHT_MAX);
    }
    return 0;
}

/* Firmware for such a guest is a kernel, too: pvgrub32 or pvgrub64. */
static bool
lacks_kernel(const struct libspawn_guest_config *config)
{
    const char *firmware = config->firmware;

    return (config->type == LIBSPAWN_GUEST_TYPE_PV ||
            config->type == LIBSPAWN_GUEST_TYPE_PVH) &&
           !config->kernel && !config->bootloader &&
           !(firmware && libspawn__str_has_prefix(firmware, "pvgrub"));
}

static int
check_boot(struct check *check)
{
    const struct libspawn_guest_config *config = check->config;
    const char *boot = config->boot;
    size_t i;

    if (lacks_kernel(config)) {
        return FAIL(check, "type", 0,
                    "a guest of type pv or pvh needs a kernel or a "
                    "bootloader");
    }
    if (config->ramdisk && !config->kernel && !config->bootloader) {
        return FAIL(check, "ramdisk", 0, "a ramdisk needs a kernel");
    }
    if (!boot) {
        return 0;
    }
    if (strlen(boot) > BOOT_LEN_MAX) {
        return FAIL(check, "boot", 0, "boot order '%.20s' is too long", boot);
    }
    for (i = 0; boot[i]; i++) {
        if (!strchr("acdn", boot[i]) || strchr(boot + i + 1, boot[i])) {
            return FAIL(check, "boot", 0,
                        "boot order '%s' is not made of a (floppy), c (disk), "
                        "d (CD) and n (network), each at most once",
                        boot);
        }
    }
    return 0;
}

static int
check_disk(struct check *check, size_t i)
{
    const struct libspawn_disk *disk = &check->config->disks[i];
    struct libspawn__vdev vdev;
    bool is_empty = disk->format == LIBSPAWN_DISK_EMPTY;

    if (!disk->vdev) {
        return FAIL(check, "disk", i, "the disk has no vdev");
    }
    check->fault = (struct libspawn__config_fault){ "disk", i };
    if (libspawn__vdev_parse(disk->vdev, &vdev, check->err)) {
        return LIBSPAWN_ERR_INVALID;
    }
    if (is_empty && !disk->is_cdrom) {
        return FAIL(check, "disk", i, "disk '%s' is empty but no CD-ROM drive",
                    disk->vdev);
    }
    if (!is_empty && (!disk->target || !*disk->target)) {
        return FAIL(check, "disk", i, "disk '%s' has no target", disk->vdev);
    }
    return 0;
}

/* In a guest with emulated disks, hdX and the first xvdX are one drive. */
static bool
disks_clash(const struct libspawn_guest_config *config, size_t a, size_t b)
{
    struct libspawn__vdev vdev_a = { 0 };
    struct libspawn__vdev vdev_b = { 0 };

    if (libspawn__vdev_parse(config->disks[a].vdev, &vdev_a, NULL) ||
        libspawn__vdev_parse(config->disks[b].vdev, &vdev_b, NULL)) {
        return false;
    }
    if (vdev_a.bus == vdev_b.bus) {
        return vdev_a.xen_id == vdev_b.xen_id && vdev_a.disk == vdev_b.disk &&
               vdev_a.partition == vdev_b.partition;
    }
    return config->type == LIBSPAWN_GUEST_TYPE_HVM &&
           vdev_a.disk == vdev_b.disk && vdev_a.disk < IDE_DISKS &&
           vdev_a.bus <= LIBSPAWN__VDEV_IDE &&
           vdev_b.bus <= LIBSPAWN__VDEV_IDE;
}

static int
check_disks(struct check *check)
{
    const struct libspawn_guest_config *config = check->config;
    size_t i;
    size_t k;
    int rc;

    if (config->n_disks > LIBSPAWN__DISKS_MAX) {
        return FAIL(check, "disk", LIBSPAWN__DISKS_MAX,
                    "there are more than %d disks", LIBSPAWN__DISKS_MAX);
    }
    for (i = 0; i < config->n_disks; i++) {
        rc = check_disk(check, i);
        if (rc) {
            return rc;
        }
        for (k = 0; k < i; k++) {
            if (disks_clash(config, i, k)) {
                return FAIL(check, "disk", i,
                            "disk '%s' is the same drive as disk '%s'",
                            config->disks[i].vdev, config->disks[k].vdev);
            }
        }
    }
    return 0;
}

static bool
is_mac(const char *text)
{
    size_t i;

    for (i = 0; i < 17; i++) {
        if (i % 3 == 2 ? text[i] != ':' : !isxdigit((unsigned char)text[i])) {
            return false;
        }
    }
    return !text[i];
}

static bool
is_multicast(const char *mac)
{
    return strchr("13579bBdDfF", mac[1]);
}

/* As the kernel has it, or "" and NULL, which mean a default. */
static bool
is_interface(const char *name)
{
    return !name || (strlen(name) < IFNAMSIZ && strcmp(name, ".") &&
                     strcmp(name, "..") && !strpbrk(name, "/: \t\n\v\f\r"));
}

static int
check_nics(struct check *check)
{
    const struct libspawn_guest_config *config = check->config;
    size_t i;

    if (config->n_nics > LIBSPAWN__NICS_MAX) {
        return FAIL(check, "vif", LIBSPAWN__NICS_MAX,
                    "there are more than %d network interfaces",
                    LIBSPAWN__NICS_MAX);
    }
    for (i = 0; i < config->n_nics; i++) {
        const struct libspawn_nic *nic = &config->nics[i];

        if (nic->mac && !is_mac(nic->mac)) {
            return FAIL(check, "vif", i, "'%.40s' is not a MAC address",
                        nic->mac);
        }
        if (nic->mac && is_multicast(nic->mac)) {
            return FAIL(check, "vif", i,
                        "the MAC address %s is a multicast "
                        "address",
                        nic->mac);
        }
        if (!is_interface(nic->bridge) || !is_interface(nic->vifname)) {
            return FAIL(
                check, "vif", i, "'%.40s' cannot be the name of an interface",
                is_interface(nic->bridge) ? nic->vifname : nic->bridge);
        }
        if (nic->type && strcmp(nic->type, "ioemu") &&
            strcmp(nic->type, "vif")) {
            return FAIL(check, "vif", i,
                        "type '%.40s' is neither 'ioemu' nor 'vif'",
                        nic->type);
        }
    }
    return 0;
}

static int
check_pci(struct check *check)
{
    const struct libspawn_guest_config *config = check->config;
    size_t i;

    if (config->n_pci > LIBSPAWN__PCI_MAX) {
        return FAIL(check, "pci", LIBSPAWN__PCI_MAX,
                    "there are more than %d PCI devices", LIBSPAWN__PCI_MAX);
    }
    for (i = 0; i < config->n_pci; i++) {
        const char *at = config->pci[i];

        do {
            struct libspawn__pci_choice choice;

            check->fault = (struct libspawn__config_fault){ "pci", i };
            if (libspawn__pci_choice_next(&at, &choice, check->err)) {
                return LIBSPAWN_ERR_INVALID;
            }
        } while (*at);
    }
    return 0;
}

static int
check_display(struct check *check)
{
    static const char *const vga_words[] = { "stdvga", "cirrus", "qxl",
                                             "none" };
    const struct libspawn_guest_config *config = check->config;
    size_t i;

    if (config->vnc.display > LIBSPAWN__VNC_DISPLAY_MAX) {
        return FAIL(check, "vncdisplay", 0, "VNC display %u is more than %d",
                    config->vnc.display, LIBSPAWN__VNC_DISPLAY_MAX);
    }
    for (i = 0; config->vga && strcmp(config->vga, vga_words[i]);) {
        i++;
        if (i == ARRAY_SIZE(vga_words)) {
            return FAIL(check, "vga", 0,
                        "vga '%.40s' is none of stdvga, cirrus, qxl, none",
                        config->vga);
        }
    }
    return 0;
}

static int
check_serials(struct check *check)
{
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < check->config->n_serials; i++) {
        rc = libspawn__serial_check(check->config->serials[i], check->err);
        if (rc) {
            check->fault = (struct libspawn__config_fault){ "serial", i };
            libspawn__err_prefix(check->err, "serial port %zu", i);
        }
    }
    return rc;
}

/* ---- What follows its end ---------------------------------------------- */

static int
check_actions(struct check *check)
{
    const struct libspawn_guest_config *config = check->config;
    const struct {
        const char *key;
        enum libspawn_action action;
    } others[] = {
        { "on_poweroff", config->on_poweroff },
        { "on_reboot", config->on_reboot },
        { "on_watchdog", config->on_watchdog },
        { "on_crash", config->on_crash },
        { "on_soft_reset", config->on_soft_reset },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(others); i++) {
        if (others[i].action == LIBSPAWN_ACTION_SCRIPT) {
            return FAIL(check, others[i].key, 0,
                        "a script is for 'on_dm_crash' only");
        }
    }
    if (config->on_dm_crash == LIBSPAWN_ACTION_SCRIPT &&
        (!config->on_dm_crash_script || !*config->on_dm_crash_script)) {
        return FAIL(check, "on_dm_crash", 0,
                    "'on_dm_crash_script' has to name the script");
    }
    return 0;
}

/* ---- Text must survive JSON -------------------------------------------- */

static bool
is_utf8(const char *text)
{
    size_t size = strlen(text);

    return libspawn__utf8_prefix(text, size) == size;
}

static bool record_is_utf8(const struct libspawn__record *record,
                           const void *owner);

static bool
field_is_utf8(const struct libspawn__field *field, const void *owner)
{
    const void *at = libspawn__field_of(field, owner);
    const char *text;
    size_t i;
    size_t n;

    if (field->kind == LIBSPAWN__FIELD_STRING) {
        text = *(const char *const *)at;
        return !text || is_utf8(text);
    }
    if (field->kind == LIBSPAWN__FIELD_RECORD) {
        return record_is_utf8(field->record, at);
    }
    if (field->kind != LIBSPAWN__FIELD_STRINGS &&
        field->kind != LIBSPAWN__FIELD_RECORDS) {
        return true;
    }
    n = libspawn__field_count(field, owner);
    for (i = 0; i < n; i++) {
        if (field->kind == LIBSPAWN__FIELD_STRINGS
                ? !is_utf8((*(const char *const *const *)at)[i])
                : !record_is_utf8(field->record,
                                  *(const char *const *)at +
                                      i * field->record->size)) {
            return false;
        }
    }
    return true;
}

static bool
record_is_utf8(const struct libspawn__record *record, const void *owner)
{
    size_t i;

    for (i = 0; i < record->n_fields; i++) {
        if (!field_is_utf8(&record->fields[i], owner)) {
            return false;
        }
    }
    return true;
}

static int
check_text(struct check *check)
{
    const struct libspawn__record *record = &libspawn__record_guest_config;
    size_t i;

    for (i = 0; i < record->n_fields; i++) {
        if (!field_is_utf8(&record->fields[i], check->config)) {
            return FAIL(check, NULL, 0, "'%s' is not UTF-8",
                        record->fields[i].name);
        }
    }
    return 0;
}

int
libspawn__guest_config_check(const struct libspawn_guest_config *config,
                             struct libspawn__config_fault *fault_r,
                             struct libspawn_err *err)
{
    static int (*const checks[])(struct check * check) = {
        check_text, check_name, check_uuid, check_memory,  check_vcpus,
        check_boot, check_disks, check_nics, check_pci, check_display,
        check_actions, check_serials,
    };
    struct check check = { .config = config, .err = err };
    size_t i;
    int rc;

    for (i = 0; i < ARRAY_SIZE(checks); i++) {
        rc = checks[i](&check);
        if (rc) {
            *fault_r = check.fault;
            return rc;
        }
    }
    return 0;
}

int
libspawn_guest_config_check(const struct libspawn_guest_config *config,
                            struct libspawn_err *err)
{
    struct libspawn__config_fault fault;

    return libspawn__guest_config_check(config, &fault, err);
}
