#include "xl/cfg_combine.h"

#include <string.h>

#include "base/util.h"
#include "guest/config.h"

/* The text of a key, which is known to be no list; NULL when it is not set. */
static const char *
text_of(const struct xl__cfg_reader *reader, const char *key)
{
    const struct xl__cfg_setting *setting = xl__cfg_find(reader->cfg, key);

    return setting ? xl__cfg_text(&setting->value) : NULL;
}

static int
combine_type(const struct xl__cfg_reader *reader)
{
    const struct xl__cfg_setting *builder =
        xl__cfg_find(reader->cfg, "builder");
    enum libspawn_guest_type type = LIBSPAWN_GUEST_TYPE_PV;
    const char *text;

    if (!builder) {
        return 0;
    }
    text = xl__cfg_text(&builder->value);
    if (!strcmp(text, "hvm")) {
        type = LIBSPAWN_GUEST_TYPE_HVM;
    } else if (strcmp(text, "generic")) {
        return xl__cfg_fail(reader->err, &builder->value.place,
                            "'builder' is neither 'hvm' nor 'generic'");
    }
    if (reader->config->type && reader->config->type != type) {
        return xl__cfg_fail(reader->err, &builder->value.place,
                            "'builder' and 'type' contradict each other");
    }
    reader->config->type = type;
    return 0;
}

static int
combine_cmdline(const struct xl__cfg_reader *reader)
{
    const struct xl__cfg_setting *cmdline =
        xl__cfg_find(reader->cfg, "cmdline");
    const char *root = text_of(reader, "root");
    const char *extra = text_of(reader, "extra");
    AUTO_FREE char *text = NULL;
    int rc = 0;

    if (!cmdline && !root && !extra) {
        return 0;
    }
    if (cmdline && (root || extra)) {
        rc = xl__cfg_warn(reader->warnings, &cmdline->place, reader->err,
                          "'root' and 'extra' are ignored because there is "
                          "'cmdline'");
    }
    if (rc || cmdline) {
        return rc ? rc
                  : libspawn__str_assign(&reader->config->cmdline,
                                         xl__cfg_text(&cmdline->value),
                                         reader->err);
    }
    text = libspawn__str_format("%s%s%s%s", root ? "root=" : "",
                                root ? root : "", root && extra ? " " : "",
                                extra ? extra : "");
    if (!text) {
        return libspawn__fail_nomem(reader->err);
    }
    return libspawn__str_assign(&reader->config->cmdline, text, reader->err);
}

/* Old configurations name Xen's own loader as kernel of an HVM guest. */
static int
combine_kernel(const struct xl__cfg_reader *reader)
{
    struct libspawn_guest_config *config = reader->config;
    const struct xl__cfg_setting *kernel = xl__cfg_find(reader->cfg, "kernel");
    const char *slash;

    if (!kernel || !config->kernel || config->type == LIBSPAWN_GUEST_TYPE_PV ||
        config->type == LIBSPAWN_GUEST_TYPE_PVH) {
        return 0;
    }
    slash = strrchr(config->kernel, '/');
    if (strcmp(slash ? slash + 1 : config->kernel, "hvmloader")) {
        return 0;
    }
    free(TAKE_PTR(config->kernel));
    return xl__cfg_warn(reader->warnings, &kernel->place, reader->err,
                        "'kernel' is ignored: hvmloader is not the kernel of "
                        "a guest");
}

/* 'firmware' goes before 'bios', unless it only says "bios". */
static int
combine_firmware(const struct xl__cfg_reader *reader)
{
    const char *firmware = text_of(reader, "firmware");

    if (!firmware || !*firmware) {
        return 0;
    }
    if (!strcmp(firmware, "uefi")) {
        firmware = "ovmf";
    } else if (!strcmp(firmware, "bios") && reader->config->firmware) {
        return 0;
    }
    return libspawn__str_assign(&reader->config->firmware, firmware,
                                reader->err);
}

static int
combine_vga(const struct xl__cfg_reader *reader)
{
    static const struct xl__cfg_key stdvga_key = { .name = "stdvga",
                                                   .min = INT64_MIN,
                                                   .max = INT64_MAX };
    const struct xl__cfg_setting *stdvga = xl__cfg_find(reader->cfg, "stdvga");
    int64_t number;
    int rc;

    if (!stdvga || reader->config->vga) {
        return 0;
    }
    rc = xl__cfg_get_number(reader, &stdvga_key, stdvga, &number);
    return rc ? rc
              : libspawn__str_assign(&reader->config->vga,
                                     number ? "stdvga" : "cirrus",
                                     reader->err);
}

/* Whether a display follows the last colon: not in an IPv6 address without
 * brackets. */
static bool
has_display(const char *listen, const char *colon)
{
    return colon == strchr(listen, ':') ||
           (*listen == '[' && colon[-1] == ']');
}

/* Divides ADDRESS:DISPLAY, which came from 'vnclisten' or from 'vfb'. */
static int
combine_vnc(const struct xl__cfg_reader *reader)
{
    struct libspawn_vnc *vnc = &reader->config->vnc;
    const struct xl__cfg_setting *setting =
        xl__cfg_find(reader->cfg, "vnclisten");
    char *colon = vnc->listen ? strrchr(vnc->listen, ':') : NULL;
    uint64_t display;

    if (!setting) {
        setting = xl__cfg_find(reader->cfg, "vfb");
    }
    if (!setting || !colon || !has_display(vnc->listen, colon)) {
        return 0;
    }
    if (libspawn__str_to_u64(colon + 1, 0, LIBSPAWN__VNC_DISPLAY_MAX, &display,
                             NULL)) {
        return xl__cfg_fail(reader->err, &setting->value.place,
                            "'%.40s' is not the number of a VNC display",
                            colon + 1);
    }
    if (vnc->display && vnc->display != display) {
        return xl__cfg_fail(reader->err, &setting->value.place,
                            "'vnclisten' and 'vncdisplay' name different "
                            "displays");
    }
    vnc->display = (uint32_t)display;
    *colon = '\0';
    if (colon == vnc->listen) {
        free(TAKE_PTR(vnc->listen));
    }
    return 0;
}

int
xl__cfg_combine(const struct xl__cfg_reader *reader)
{
    static int (*const combinations[])(const struct xl__cfg_reader *reader) = {
        combine_type,     combine_cmdline, combine_kernel,
        combine_firmware, combine_vga,     combine_vnc,
    };
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < ARRAY_SIZE(combinations); i++) {
        rc = combinations[i](reader);
    }
    return rc;
}
