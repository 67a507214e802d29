#include "xl/cfg_unsupported.h"

#include <string.h>

#include "base/util.h"
#include "xl/cfg_keys.h"

static const struct {
    const char *name;
    const char *note; /* what to do; NULL: nothing but waiting */
} unsupported[] = {
    { "acpi_firmware", NULL },
    { "acpi_laptop_slate", NULL },
    { "acpi_s3", NULL },
    { "acpi_s4", NULL },
    { "altp2m", NULL },
    { "altp2m_count", NULL },
    { "altp2mhvm", NULL },
    { "arm_sci", NULL },
    { "bios_path_override", NULL },
    { "bootloader_restrict", NULL },
    { "bootloader_user", NULL },
    { "cap", NULL },
    { "channel", NULL },
    { "cpuid", NULL },
    { "cpus_soft", NULL },
    { "device_model", "use 'device_model_override'" },
    { "device_model_stubdomain_override", NULL },
    { "device_model_stubdomain_seclabel", NULL },
    { "device_tree", NULL },
    { "display", NULL },
    { "driver_domain", NULL },
    { "dtdev", NULL },
    { "e820_host", NULL },
    { "extratime", NULL },
    { "firmware_override", NULL },
    { "gfx_passthru", NULL },
    { "gic_version", NULL },
    { "hdtype", NULL },
    { "hvm_pirq", NULL },
    { "init_seclabel", NULL },
    { "iomem", NULL },
    { "ioports", NULL },
    { "irqs", NULL },
    { "latency", NULL },
    { "llc_colors", NULL },
    { "max_event_channels", NULL },
    { "max_grant_frames", NULL },
    { "max_grant_version", NULL },
    { "max_maptrack_frames", NULL },
    { "mca_caps", NULL },
    { "mmio_hole", NULL },
    { "ms_vm_genid", NULL },
    { "msr_relaxed", NULL },
    { "nestedhvm", NULL },
    { "nographic", NULL },
    { "nomigrate", NULL },
    { "nr_spis", NULL },
    { "oos", NULL },
    { "opengl", NULL },
    { "p9", NULL },
    { "passthrough", NULL },
    { "pci_msitranslate", NULL },
    { "pci_permissive", NULL },
    { "pci_power_mgmt", NULL },
    { "pci_seize", NULL },
    { "period", NULL },
    { "pool", NULL },
    { "pvcalls", NULL },
    { "pvshim", NULL },
    { "pvshim_cmdline", NULL },
    { "pvshim_extra", NULL },
    { "pvshim_path", NULL },
    { "rdm", NULL },
    { "rdm_mem_boundary", NULL },
    { "seclabel", NULL },
    { "slice", NULL },
    { "smbios", NULL },
    { "smbios_firmware", NULL },
    { "spice", NULL },
    { "spice_clipboard_sharing", NULL },
    { "spice_image_compression", NULL },
    { "spice_streaming_video", NULL },
    { "spiceagent_mouse", NULL },
    { "spicedisable_ticketing", NULL },
    { "spicehost", NULL },
    { "spicepasswd", NULL },
    { "spiceport", NULL },
    { "spicetls_port", NULL },
    { "spiceusbredirection", NULL },
    { "spicevdagent", NULL },
    { "stubdomain_cmdline", NULL },
    { "stubdomain_kernel", NULL },
    { "stubdomain_memory", NULL },
    { "stubdomain_ramdisk", NULL },
    { "sve", NULL },
    { "tee", NULL },
    { "timer_mode", NULL },
    { "trap_unmapped_accesses", NULL },
    { "tsc_mode", NULL },
    { "usbctrl", NULL },
    { "usbdev", NULL },
    { "usbversion", NULL },
    { "vdispl", NULL },
    { "vendor_device", NULL },
    { "vif2", "it was withdrawn from Xen long ago" },
    { "virtio", NULL },
    { "vkb", NULL },
    { "vkb_device", NULL },
    { "vmtrace_buf_kb", NULL },
    { "vncviewer", "use option -V of xl create" },
    { "vnuma", NULL },
    { "vpmu", NULL },
    { "vpt_align", NULL },
    { "vsnd", NULL },
    { "vtpm", NULL },
    { "vuart", NULL },
    { "xauthority", NULL },
    { "xen_platform_pci_bar_uc", NULL },
    { "xend_suspend_evtchn_compat", NULL },
    { "xenstore_feature_mask", NULL },
    { "xenstore_quota", NULL },
};

const char *
xl__cfg_unsupported_name(size_t i)
{
    return i < ARRAY_SIZE(unsupported) ? unsupported[i].name : NULL;
}

/* ---- What was meant ---------------------------------------------------- */

enum {
    KEY_LEN_MAX = 40
};

/* How many letters must be inserted, dropped, replaced or swapped with their
 * neighbour to make one word of the other; both have at most KEY_LEN_MAX. */
static size_t
distance(const char *a, const char *b)
{
    size_t rows[3][KEY_LEN_MAX + 1];
    size_t *last = rows[0]; /* the row of i - 1 */
    size_t *before_last = rows[1];
    size_t *row = rows[2];
    size_t *spare;
    size_t n = strlen(b);
    size_t i;
    size_t k;

    for (k = 0; k <= n; k++) {
        last[k] = k;
    }
    for (i = 1; a[i - 1]; i++) {
        row[0] = i;
        for (k = 1; k <= n; k++) {
            row[k] = MIN(last[k] + 1, row[k - 1] + 1);
            row[k] = MIN(row[k], last[k - 1] + (a[i - 1] != b[k - 1]));
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] &&
                a[i - 2] == b[k - 1]) {
                row[k] = MIN(row[k], before_last[k - 2] + 1);
            }
        }
        spare = before_last;
        before_last = last;
        last = row;
        row = spare;
    }
    return last[n];
}

/* The nearest of the names, when it is nearer than '*distance'. */
static void
find_nearest(const char *key, const char *(*name)(size_t i),
             const char **nearest, size_t *nearest_distance)
{
    size_t i;

    for (i = 0; name(i); i++) {
        size_t d = distance(key, name(i));

        if (d < *nearest_distance) {
            *nearest_distance = d;
            *nearest = name(i);
        }
    }
}

/* NULL when nothing is near; a supported key is preferred. */
static const char *
suggest(const char *key)
{
    const char *nearest = NULL;
    size_t len = strlen(key);
    size_t limit = len / 3 + 1; /* further away it is another word */

    if (len < 3 || len > KEY_LEN_MAX) {
        return NULL;
    }
    find_nearest(key, xl__cfg_key_name, &nearest, &limit);
    find_nearest(key, xl__cfg_unsupported_name, &nearest, &limit);
    return nearest;
}

int
xl__cfg_warn_unsupported(const struct xl__cfg_setting *setting,
                         struct libspawn__strv *warnings,
                         struct libspawn_err *err)
{
    const char *nearest;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(unsupported); i++) {
        if (strcmp(unsupported[i].name, setting->key)) {
            continue;
        }
        if (unsupported[i].note) {
            return xl__cfg_warn(warnings, &setting->place, err,
                                "key '%s' is ignored: %s", setting->key,
                                unsupported[i].note);
        }
        return xl__cfg_warn(warnings, &setting->place, err,
                            "key '%s' is not supported yet and is ignored",
                            setting->key);
    }
    nearest = suggest(setting->key);
    if (nearest) {
        return xl__cfg_warn(warnings, &setting->place, err,
                            "unknown key '%s' ignored; did you mean '%s'?",
                            setting->key, nearest);
    }
    return xl__cfg_warn(warnings, &setting->place, err,
                        "unknown key '%.80s' ignored", setting->key);
}
