/*
 * What the configuration names on disk.  QEMU would find most of this out
 * too, but only after a start, and one cause per start.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/qemu/qemu.h"

static const char *const programs[] = {
    "/usr/bin/qemu-system-x86_64",
    "/usr/local/bin/qemu-system-x86_64",
    "/usr/libexec/qemu-kvm",
};

int
libspawn__qemu_find_program(const struct libspawn_guest_config *config,
                            char **path_r, struct libspawn_err *err)
{
    const char *found = config->device_model_override;
    size_t i;

    for (i = 0; !found && i < ARRAY_SIZE(programs); i++) {
        if (!access(programs[i], X_OK)) {
            found = programs[i];
        }
    }
    if (!found) {
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "no QEMU is installed: looked for '%s' and %zu "
                              "more; install the package qemu-system-x86, or "
                              "set device_model_override",
                              programs[0], ARRAY_SIZE(programs) - 1);
    }
    *path_r = strdup(found);
    return *path_r ? 0 : libspawn__fail_nomem(err);
}

/* Opens without waiting for anybody: a FIFO has no place here. */
static int
open_checked(const char *what, const char *path, int flags, int *fd_r,
             struct libspawn_err *err)
{
    AUTO_FD int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "%s '%s'", what, path);
    }
    if (fstat(fd, &st) < 0) {
        return libspawn__fail_errno(err, errno, "%s '%s'", what, path);
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        return libspawn__fail(
            err, LIBSPAWN_ERR_INVALID,
            "%s '%s' is %s, not a file or block device", what, path,
            S_ISDIR(st.st_mode) ? "a directory" : "something else");
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

/* First bytes of the formats that have any (QEMU's docs/interop). */
static const struct {
    enum libspawn_disk_format format;
    const char *name;
    const char *magic;
} formats[] = {
    { LIBSPAWN_DISK_QCOW, "qcow", "QFI\xfb" },
    { LIBSPAWN_DISK_QCOW2, "qcow2", "QFI\xfb" },
    { LIBSPAWN_DISK_QED, "qed", "QED" },
};

static int
check_format(const struct libspawn_disk *disk, int fd,
             struct libspawn_err *err)
{
    char head[8] = "";
    size_t i;

    if (libspawn__fd_read_full(fd, head, sizeof head) < 0) {
        return libspawn__fail_errno(err, errno, "reading disk '%s'",
                                    disk->target);
    }
    for (i = 0; i < ARRAY_SIZE(formats); i++) {
        if (formats[i].format == disk->format &&
            memcmp(head, formats[i].magic, strlen(formats[i].magic)) != 0) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "disk '%s' is not in format %s",
                                  disk->target, formats[i].name);
        }
    }
    return 0;
}

static int
check_disk(const struct libspawn_disk *disk, struct libspawn_err *err)
{
    bool is_read_only = disk->read_only || disk->is_cdrom;
    AUTO_FD int fd = -1;
    int rc;

    if (!disk->target || disk->format == LIBSPAWN_DISK_EMPTY) {
        return 0;
    }
    if (disk->read_only && !disk->is_cdrom &&
        libspawn__str_has_prefix(disk->vdev, "hd")) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "disk '%s': an emulated IDE disk cannot be "
                              "read-only; name it 'sda' or 'xvda'",
                              disk->vdev);
    }
    rc = open_checked("disk", disk->target, is_read_only ? O_RDONLY : O_RDWR,
                      &fd, err);
    return rc ? rc : check_format(disk, fd, err);
}

static int
check_readable(const char *what, const char *path, struct libspawn_err *err)
{
    AUTO_FD int fd = -1;

    return path ? open_checked(what, path, O_RDONLY, &fd, err) : 0;
}

int
libspawn__qemu_check_files(const struct libspawn_guest_config *config,
                           struct libspawn_err *err)
{
    struct libspawn__qemu_firmware firmware = { NULL, NULL };
    int rc = check_readable("kernel", config->kernel, err);
    size_t i;

    if (!rc) {
        rc = libspawn__qemu_find_firmware(config, &firmware, err);
    }
    if (!rc) {
        rc = check_readable("firmware", firmware.code, err);
    }
    if (!rc && config->kernel) {
        rc = check_readable("ramdisk", config->ramdisk, err);
    }
    for (i = 0; !rc && i < config->n_disks; i++) {
        rc = check_disk(&config->disks[i], err);
    }
    return rc;
}
