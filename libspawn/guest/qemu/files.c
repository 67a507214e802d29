/*
 * What the configuration names on disk.  QEMU would find most of this out
 * too, but only after a start, and one cause per start.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
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

/* ---- What will do ------------------------------------------------------ */

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
check_format(const struct libspawn_disk *disk,
             const struct libspawn__worker_image *image,
             struct libspawn_err *err)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(formats); i++) {
        if (formats[i].format == disk->format &&
            memcmp(image->head, formats[i].magic,
                   strlen(formats[i].magic)) != 0) {
            return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                  "disk '%s' is not in format %s",
                                  disk->target, formats[i].name);
        }
    }
    return 0;
}

/* Where the formats say that there is another file beneath (QEMU's
 * docs/interop): a number that is not 0, or a bit that is set. */
static const struct {
    enum libspawn_disk_format format;
    unsigned int offset;
    unsigned int size;
    unsigned char mask; /* of each byte */
} backing_marks[] = {
    { LIBSPAWN_DISK_QCOW, 8, 8, 0xff },
    { LIBSPAWN_DISK_QCOW2, 8, 8, 0xff },
    { LIBSPAWN_DISK_QED, 16, 1, 0x01 },
};

/* QEMU would open that one by its name, and may not. */
static int
check_backing(const struct libspawn_disk *disk,
              const struct libspawn__worker_image *image,
              struct libspawn_err *err)
{
    size_t i;
    size_t k;

    for (i = 0; i < ARRAY_SIZE(backing_marks); i++) {
        const unsigned char *mark = image->head + backing_marks[i].offset;

        for (k = 0; k < backing_marks[i].size; k++) {
            if (backing_marks[i].format == disk->format &&
                mark[k] & backing_marks[i].mask) {
                return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                                      "disk '%s' has a backing file, which "
                                      "dm_restrict puts out of reach",
                                      disk->target);
            }
        }
    }
    return 0;
}

static int
judge(const struct libspawn_create *create,
      const struct libspawn__examined *file, struct libspawn_err *err)
{
    const struct libspawn__worker_image *image = &file->image;
    const struct libspawn_disk *disk = file->about;
    int rc;

    if (!S_ISREG(image->mode) && !S_ISBLK(image->mode)) {
        return libspawn__fail(
            err, LIBSPAWN_ERR_INVALID,
            "%s '%s' is %s, not a file or block device", file->what,
            file->path,
            S_ISDIR(image->mode) ? "a directory" : "something else");
    }
    if (!disk) {
        return 0;
    }
    rc = check_format(disk, image, err);
    if (!rc && create->config->dm_restrict == LIBSPAWN_CHOICE_YES) {
        rc = check_backing(disk, image, err);
    }
    return rc;
}

/* ---- What there is ----------------------------------------------------- */

/* It may come to run as somebody who can open nothing of its guest. */
static bool
may_be_handed(const struct libspawn_guest_config *config)
{
    return config->dm_restrict == LIBSPAWN_CHOICE_YES ||
           config->device_model_user;
}

/* QEMU opens a disk for reading first, and for writing when it is used. */
static int
add_disk(struct libspawn_create *create, const struct libspawn_disk *disk,
         struct libspawn_err *err)
{
    struct libspawn__examined file = {
        .what = "disk",
        .path = disk->target,
        .flags = LIBSPAWN__QEMU_OPEN_WRITE,
        .about = disk,
        .is_kept = may_be_handed(create->config),
    };
    bool is_read_only = disk->read_only || disk->is_cdrom;
    int rc = 0;

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
    if (!is_read_only) {
        rc = libspawn__examine_add(create, &file, err);
    }
    if (!rc && (is_read_only || file.is_kept)) {
        file.flags = LIBSPAWN__QEMU_OPEN_READ;
        rc = libspawn__examine_add(create, &file, err);
    }
    return rc;
}

/* QEMU opens a kernel by its name, so it gets a copy. */
static int
add_file(struct libspawn_create *create, const char *what, const char *path,
         bool is_copied, struct libspawn_err *err)
{
    bool is_kept = may_be_handed(create->config);
    const struct libspawn__examined file = {
        .what = what,
        .path = path,
        .flags = is_copied && is_kept ? LIBSPAWN__QEMU_OPEN_COPY
                                      : LIBSPAWN__QEMU_OPEN_READ,
        .is_kept = is_kept,
    };

    return path ? libspawn__examine_add(create, &file, err) : 0;
}

bool
libspawn__qemu_writes_files(const struct libspawn_create *create)
{
    const struct libspawn__examination *x = &create->examination;
    size_t i;

    for (i = 0; i < x->n_files; i++) {
        if (x->files[i].flags & LIBSPAWN__WORKER_IMAGE_WRITE &&
            S_ISREG(x->files[i].image.mode)) {
            return true;
        }
    }
    return false;
}

int
libspawn__qemu_check_files(struct libspawn_create *create,
                           struct libspawn_err *err)
{
    const struct libspawn_guest_config *config = create->config;
    struct libspawn__qemu_firmware firmware = { NULL, NULL };
    int rc = add_file(create, "kernel", config->kernel, true, err);
    size_t i;

    if (!rc) {
        rc = libspawn__qemu_find_firmware(config, &firmware, err);
    }
    if (!rc) {
        rc = add_file(create, "firmware", firmware.code, !firmware.variables,
                      err);
    }
    if (!rc && config->kernel) {
        rc = add_file(create, "ramdisk", config->ramdisk, true, err);
    }
    for (i = 0; !rc && i < config->n_disks; i++) {
        rc = add_disk(create, &config->disks[i], err);
    }
    return rc ? rc : libspawn__examine_run(create, judge, err);
}
