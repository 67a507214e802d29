#include "guest/xen/firmware.h"

#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"

/* A kind has several names and places; the first name is hvmloader's word. */
static const struct kind {
    const char *names[3];
    const char *paths[4];
} kinds[] = {
    { { "seabios", "bios" },
      { "/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/bios.bin",
        "/usr/share/qemu/bios-256k.bin" } },
    { { "ovmf", "uefi" },
      { "/usr/share/ovmf/OVMF.fd", "/usr/share/edk2/xen/OVMF.fd",
        "/usr/share/qemu/OVMF.fd" } },
};

/* Behind the directory of the hypervisor's own version. */
static const char *const other_loader_dirs[] = {
    "/usr/lib/xen/boot",
    "/usr/libexec/xen/boot",
    "/usr/local/lib/xen/boot",
};

static bool
try_file(const char *dir, const char *name, char **path_r)
{
    AUTO_FREE char *path = libspawn__str_format("%s/%s", dir, name);

    if (!path || access(path, R_OK) < 0) {
        return false;
    }
    *path_r = TAKE_PTR(path);
    return true;
}

int
libspawn__xen_firmware_find_loader(const struct libspawn__xen *xen,
                                   const char *name, char **path_r,
                                   struct libspawn_err *err)
{
    AUTO_FREE char *dir = libspawn__str_format(
        "/usr/lib/xen-%u.%u/boot", xen->version_major, xen->version_minor);
    size_t i;

    if (!dir) {
        return libspawn__fail_nomem(err);
    }
    if (try_file(dir, name, path_r)) {
        return 0;
    }
    for (i = 0; i < ARRAY_SIZE(other_loader_dirs); i++) {
        if (try_file(other_loader_dirs[i], name, path_r)) {
            return 0;
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                          "'%s' is neither in '%s' nor in '%s': are the tools "
                          "of Xen %u.%u installed?",
                          name, dir, other_loader_dirs[0], xen->version_major,
                          xen->version_minor);
}

/* The kind of that name; for a path the one that its name speaks of. */
static const struct kind *
find_kind(const char *firmware)
{
    size_t i, j;

    if (!firmware) {
        return &kinds[0];
    }
    if (strchr(firmware, '/')) {
        return strcasestr(firmware, "ovmf") ? &kinds[1] : &kinds[0];
    }
    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (j = 0; kinds[i].names[j]; j++) {
            if (strcmp(kinds[i].names[j], firmware) == 0) {
                return &kinds[i];
            }
        }
    }
    return NULL;
}

const char *
libspawn__xen_firmware_kind(const char *firmware)
{
    const struct kind *kind = find_kind(firmware);

    return kind ? kind->names[0] : kinds[0].names[0];
}

int
libspawn__xen_firmware_find(const char *firmware, char **path_r,
                            struct libspawn_err *err)
{
    const struct kind *kind = find_kind(firmware);
    size_t i;

    if (!kind) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "unknown firmware '%s'", firmware);
    }
    if (firmware && strchr(firmware, '/')) {
        return libspawn__str_assign(path_r, firmware, err);
    }
    for (i = 0; kind->paths[i]; i++) {
        if (access(kind->paths[i], R_OK) == 0) {
            return libspawn__str_assign(path_r, kind->paths[i], err);
        }
    }
    return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                          "firmware '%s' is not installed: there is no '%s'",
                          kind->names[0], kind->paths[0]);
}
