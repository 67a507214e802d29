#include "guest/vdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum {
    EXTENDED_BIT = 1 << 28,
    XVD_MAJOR = 202,
    IDE_FIRST_MAJOR = 3,
    IDE_SECOND_MAJOR = 22,
    SCSI_MAJOR = 8,
    XVD_DISK_MAX = (1 << 20) - 1
};

static const struct bus {
    const char *prefix;
    enum libspawn__vdev_bus bus;
    unsigned int disk_max;
    unsigned int partition_max;
} buses[] = {
    { "xvd", LIBSPAWN__VDEV_XVD, XVD_DISK_MAX, 255 },
    { "hd", LIBSPAWN__VDEV_IDE, 3, 63 },
    { "sd", LIBSPAWN__VDEV_SCSI, 15, 15 },
    { "vd", LIBSPAWN__VDEV_VIRTIO, XVD_DISK_MAX, 255 },
};

/* Reads digits without a leading zero; false also when there are none. */
static bool
read_number(const char **text, unsigned int max, unsigned int *number_r)
{
    const char *at = *text;
    unsigned int number = 0;

    if (*at < '0' || *at > '9' ||
        (*at == '0' && at[1] >= '0' && at[1] <= '9')) {
        return false;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (unsigned int)(*at - '0');
        if (number > max) {
            return false;
        }
    }
    *text = at;
    *number_r = number;
    return true;
}

/* Letters count a to z, then aa, ab, ... */
static bool
read_letters(const char **text, unsigned int max, unsigned int *disk_r)
{
    const char *at = *text;
    unsigned int count = 0;

    for (; *at >= 'a' && *at <= 'z'; at++) {
        count = count * 26 + (unsigned int)(*at - 'a') + 1;
        if (count > max + 1) {
            return false;
        }
    }
    if (!count) {
        return false;
    }
    *text = at;
    *disk_r = count - 1;
    return true;
}

static bool
parse_letters(const char *name, const struct bus *bus,
              struct libspawn__vdev *vdev)
{
    size_t prefix_len = strlen(bus->prefix);

    if (strncmp(name, bus->prefix, prefix_len)) {
        return false;
    }
    name += prefix_len;
    vdev->bus = bus->bus;
    vdev->partition = 0;
    if (!read_letters(&name, bus->disk_max, &vdev->disk)) {
        return false;
    }
    if (*name == '0' ||
        (*name && !read_number(&name, bus->partition_max, &vdev->partition))) {
        return false;
    }
    return !*name;
}

/* "d1p2" is disk 1, partition 2. */
static bool
parse_dp(const char *name, struct libspawn__vdev *vdev)
{
    if (*name++ != 'd' || !read_number(&name, XVD_DISK_MAX, &vdev->disk) ||
        *name++ != 'p' || !read_number(&name, 255, &vdev->partition)) {
        return false;
    }
    vdev->bus = LIBSPAWN__VDEV_XVD;
    return !*name;
}

static uint32_t
xen_id_of(const struct libspawn__vdev *vdev)
{
    uint32_t major;

    switch (vdev->bus) {
    case LIBSPAWN__VDEV_XVD:
        if (vdev->disk > 15 || vdev->partition > 15) {
            return EXTENDED_BIT | vdev->disk << 8 | vdev->partition;
        }
        return XVD_MAJOR << 8 | vdev->disk << 4 | vdev->partition;
    case LIBSPAWN__VDEV_IDE:
        major = vdev->disk < 2 ? IDE_FIRST_MAJOR : IDE_SECOND_MAJOR;
        return major << 8 | (vdev->disk & 1) << 6 | vdev->partition;
    case LIBSPAWN__VDEV_SCSI:
        return SCSI_MAJOR << 8 | vdev->disk << 4 | vdev->partition;
    case LIBSPAWN__VDEV_VIRTIO:
    case LIBSPAWN__VDEV_OTHER:
        break;
    }
    return 0;
}

/* What Xen's number stands for. */
static void
decode(uint32_t id, struct libspawn__vdev *vdev)
{
    unsigned int major = id >> 8;
    unsigned int minor = id & 0xff;

    *vdev =
        (struct libspawn__vdev){ .bus = LIBSPAWN__VDEV_OTHER, .xen_id = id };
    if (id & EXTENDED_BIT) {
        vdev->bus = LIBSPAWN__VDEV_XVD;
        vdev->disk = (id & ~(uint32_t)EXTENDED_BIT) >> 8;
        vdev->partition = minor;
    } else if (major == XVD_MAJOR || major == SCSI_MAJOR) {
        vdev->bus = major == XVD_MAJOR ? LIBSPAWN__VDEV_XVD
                                       : LIBSPAWN__VDEV_SCSI;
        vdev->disk = minor >> 4;
        vdev->partition = minor & 15;
    } else if ((major == IDE_FIRST_MAJOR || major == IDE_SECOND_MAJOR) &&
               minor < 128) {
        vdev->bus = LIBSPAWN__VDEV_IDE;
        vdev->disk = (minor >> 6) + (major == IDE_SECOND_MAJOR ? 2 : 0);
        vdev->partition = minor & 63;
    }
}

static bool
parse_xen_id(const char *name, struct libspawn__vdev *vdev)
{
    unsigned long id;
    char *end;

    if (*name < '0' || *name > '9') {
        return false;
    }
    errno = 0;
    id = strtoul(name, &end, 0);
    if (errno || *end || id > INT32_MAX) {
        return false;
    }
    decode((uint32_t)id, vdev);
    return true;
}

int
libspawn__vdev_parse(const char *name, struct libspawn__vdev *vdev_r,
                     struct libspawn_err *err)
{
    struct libspawn__vdev vdev = { 0 };
    size_t i;

    if (parse_xen_id(name, &vdev)) {
        *vdev_r = vdev;
        return 0;
    }
    for (i = 0; i < ARRAY_SIZE(buses); i++) {
        if (parse_letters(name, &buses[i], &vdev)) {
            break;
        }
    }
    if (i == ARRAY_SIZE(buses) && !parse_dp(name, &vdev)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%.40s' is not the name of a virtual disk, "
                              "such as 'hda', 'xvda' or 'sda'",
                              name);
    }
    vdev.xen_id = xen_id_of(&vdev);
    *vdev_r = vdev;
    return 0;
}
