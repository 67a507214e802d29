#include "dm/args.h"

#include <string.h>

#include "base/util.h"
#include "dm/dm.h"
#include "dm/serial.h"

void
libspawn__args_dispose(struct libspawn__args *args)
{
    libspawn__strv_dispose(&args->argv);
}

void
libspawn__args_add(struct libspawn__args *args, const char *arg)
{
    if (!args->err.code) {
        libspawn__strv_add(&args->argv, arg, &args->err);
    }
}

void
libspawn__args_option(struct libspawn__args *args, const char *option,
                      const char *format, ...)
{
    AUTO_BUF struct libspawn__buf value = { 0 };
    va_list list;

    va_start(list, format);
    libspawn__buf_vprintf(&value, format, list);
    va_end(list);
    if (value.failed) {
        libspawn__fail_nomem(&args->err);
        return;
    }
    libspawn__args_add(args, option);
    libspawn__args_add(args, value.data);
}

char *
libspawn__args_escape(const char *text)
{
    struct libspawn__buf buf = { 0 };

    for (; *text; text++) {
        libspawn__buf_append(&buf, text, 1);
        if (*text == ',') {
            libspawn__buf_append(&buf, text, 1);
        }
    }
    return libspawn__buf_take(&buf);
}

/* ---- Groups ------------------------------------------------------------ */

void
libspawn__args_base(struct libspawn__args *args)
{
    AUTO_FREE char *name = libspawn__args_escape(args->config->name);

    libspawn__args_option(args, "-name", "%s", name ? name : "");
    libspawn__args_add(args, "-nodefaults");
    libspawn__args_add(args, "-no-user-config");
    libspawn__args_option(args, "-chardev",
                          "socket,id=own,fd=%d,server=on,wait=%s",
                          LIBSPAWN__DM_OWN_FD, args->is_held ? "on" : "off");
    libspawn__args_option(args, "-mon", "chardev=own,mode=control");
    libspawn__args_option(args, "-chardev",
                          "socket,id=qmp,fd=%d,server=on,wait=off",
                          LIBSPAWN__DM_QMP_FD);
    libspawn__args_option(args, "-mon", "chardev=qmp,mode=control");
}

/* xl.cfg's names of graphics cards and QEMU's. */
static const struct {
    const char *name;
    const char *qemu;
} vga_cards[] = {
    { "stdvga", "std" },    { "cirrus", "cirrus" }, { "qxl", "qxl" },
    { "virtio", "virtio" }, { "none", "none" },
};

static const char *
find_vga_card(const char *name)
{
    size_t i;

    for (i = 0; name && i < ARRAY_SIZE(vga_cards); i++) {
        if (!strcmp(vga_cards[i].name, name)) {
            return vga_cards[i].qemu;
        }
    }
    return "cirrus"; /* what xl.cfg promises */
}

/* XSA-119: QEMU must never choose a display by itself. */
void
libspawn__args_display(struct libspawn__args *args)
{
    const struct libspawn_vnc *vnc = &args->config->vnc;
    AUTO_FREE char *address =
        libspawn__args_escape(vnc->listen ? vnc->listen : "127.0.0.1");

    if (vnc->enable == LIBSPAWN_CHOICE_NO) {
        libspawn__args_option(args, "-vnc", "none");
    } else {
        libspawn__args_option(
            args, "-vnc", "%s:%u%s%s", address ? address : "", vnc->display,
            vnc->password ? ",password=on" : "",
            vnc->find_unused == LIBSPAWN_CHOICE_NO ? "" : ",to=99");
    }
    libspawn__args_option(args, "-display", "none");
    libspawn__args_option(args, "-vga", "%s",
                          find_vga_card(args->config->vga));
    if (args->config->videoram_mib && args->config->vga &&
        !strcmp(args->config->vga, "stdvga")) {
        libspawn__args_option(args, "-global", "VGA.vgamem_mb=%u",
                              args->config->videoram_mib);
    }
    if (args->config->keymap) {
        libspawn__args_option(args, "-k", "%s", args->config->keymap);
    }
}

void
libspawn__args_serials(struct libspawn__args *args)
{
    size_t i;

    if (!args->config->n_serials) {
        libspawn__args_option(args, "-serial", "none");
    }
    for (i = 0; i < args->config->n_serials; i++) {
        libspawn__serial_add_args(args, i, true);
    }
}

/* QEMU knows sets of descriptors for disks only. */
static void
add_boot_file(struct libspawn__args *args, const char *option,
              const char *path, int fd)
{
    if (args->is_handed) {
        libspawn__args_option(args, option, "/proc/self/fd/%d", fd);
    } else {
        libspawn__args_option(args, option, "%s", path);
    }
}

void
libspawn__args_boot(struct libspawn__args *args)
{
    const struct libspawn_guest_config *config = args->config;

    if (config->kernel) {
        add_boot_file(args, "-kernel", config->kernel, LIBSPAWN__DM_KERNEL_FD);
    }
    if (config->kernel && config->ramdisk) {
        add_boot_file(args, "-initrd", config->ramdisk,
                      LIBSPAWN__DM_RAMDISK_FD);
    }
    if (config->kernel && config->cmdline) {
        libspawn__args_option(args, "-append", "%s", config->cmdline);
    }
    libspawn__args_option(args, "-boot", "order=%s",
                          config->boot ? config->boot : "cda");
}

void
libspawn__args_usb(struct libspawn__args *args)
{
    static const struct {
        const char *name;
        const char *qemu;
    } devices[] = {
        { "tablet", "usb-tablet" },
        { "mouse", "usb-mouse" },
        { "keyboard", "usb-kbd" },
    };
    const struct libspawn_guest_config *config = args->config;
    size_t i;
    size_t k;

    if (config->usb == LIBSPAWN_CHOICE_YES || config->n_usbdevices) {
        libspawn__args_add(args, "-usb");
    }
    for (i = 0; i < config->n_usbdevices; i++) {
        const char *device = config->usbdevices[i];

        for (k = 0; k < ARRAY_SIZE(devices); k++) {
            if (!strcmp(devices[k].name, device)) {
                device = devices[k].qemu;
            }
        }
        libspawn__args_option(args, "-device", "%s", device);
    }
}

void
libspawn__args_sound(struct libspawn__args *args)
{
    static const struct {
        const char *name;
        const char *devices[3];
    } cards[] = {
        { "ac97", { "AC97" } },
        { "es1370", { "ES1370" } },
        { "sb16", { "sb16" } },
        { "hda", { "intel-hda", "hda-duplex" } },
    };
    const char *const *device;
    size_t i;

    if (!args->config->soundhw) {
        return;
    }
    for (i = 0; i < ARRAY_SIZE(cards); i++) {
        if (!strcasecmp(cards[i].name, args->config->soundhw)) {
            for (device = cards[i].devices; *device; device++) {
                libspawn__args_option(args, "-device", "%s", *device);
            }
            return;
        }
    }
    libspawn__fail(&args->err, LIBSPAWN_ERR_INVALID,
                   "soundhw '%s' is not known; one of ac97, es1370, sb16, hda",
                   args->config->soundhw);
}

void
libspawn__args_clock(struct libspawn__args *args)
{
    if (args->config->localtime == LIBSPAWN_CHOICE_YES) {
        libspawn__args_option(args, "-rtc", "base=localtime");
    }
}

/* Those for HVM guests too: every guest with a device model is one. */
void
libspawn__args_user(struct libspawn__args *args)
{
    const struct libspawn_guest_config *config = args->config;
    size_t i;

    for (i = 0; i < config->n_device_model_args; i++) {
        libspawn__args_add(args, config->device_model_args[i]);
    }
    for (i = 0; i < config->n_device_model_args_hvm; i++) {
        libspawn__args_add(args, config->device_model_args_hvm[i]);
    }
}
