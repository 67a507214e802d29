/*
 * What a machine without Xen begins with.  QEMU brings a BIOS along; UEFI is
 * two flash memories, as the packages of distributions have them: code, which
 * all guests share, and variables, of which each guest has a copy that lives
 * as long as it does.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "guest/qemu/qemu.h"

enum {
    VARIABLES_SIZE_MAX = 16 * 1024 * 1024
};

/* Without Secure Boot, which needs another machine. */
static const struct libspawn__qemu_firmware uefi[] = {
    { "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd" },
    { "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd" },
    { "/usr/share/edk2/ovmf/OVMF_CODE.fd",
      "/usr/share/edk2/ovmf/OVMF_VARS.fd" },
    { "/usr/share/qemu/edk2-x86_64-code.fd",
      "/usr/share/qemu/edk2-i386-vars.fd" },
};

static int
find_uefi(const char *name, struct libspawn__qemu_firmware *firmware_r,
          struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(uefi); i++) {
        if (!access(uefi[i].code, R_OK) && !access(uefi[i].variables, R_OK)) {
            *firmware_r = uefi[i];
            return 0;
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                          "firmware '%s' is not installed: looked for '%s' "
                          "and %zu more; install the package ovmf",
                          name, uefi[0].code, ARRAY_SIZE(uefi) - 1);
}

int
libspawn__qemu_find_firmware(const struct libspawn_guest_config *config,
                             struct libspawn__qemu_firmware *firmware_r,
                             struct libspawn_err *err)
{
    static const char *const own[] = { "bios", "seabios" };
    static const char *const others[] = { "uefi", "ovmf" };
    const char *name = config->firmware ? config->firmware : own[0];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(own); i++) {
        if (!strcmp(name, own[i])) {
            *firmware_r = (struct libspawn__qemu_firmware){ NULL, NULL };
            return 0;
        }
    }
    for (i = 0; i < ARRAY_SIZE(others); i++) {
        if (!strcmp(name, others[i])) {
            return find_uefi(name, firmware_r, err);
        }
    }
    if (strchr(name, '/')) {
        *firmware_r = (struct libspawn__qemu_firmware){ name, NULL };
        return 0;
    }
    return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                          "firmware '%s' needs a Xen host; here there are "
                          "bios, uefi, and the path of an image",
                          name);
}

int
libspawn__qemu_make_variables(const struct libspawn_host *host,
                              uint32_t domid,
                              const struct libspawn_guest_config *config,
                              struct libspawn_err *err)
{
    AUTO_FREE char *path =
        libspawn__qemu_guest_file(host, domid, LIBSPAWN__QEMU_VARIABLES);
    struct libspawn__qemu_firmware firmware = { NULL, NULL };
    AUTO_FREE char *bytes = NULL;
    size_t size;
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__qemu_find_firmware(config, &firmware, err);
    if (rc || !firmware.variables) {
        return rc;
    }
    rc = libspawn__file_read(firmware.variables, VARIABLES_SIZE_MAX, &bytes,
                             &size, err);
    return rc ? rc : libspawn__file_replace(path, bytes, size, 0600, err);
}
