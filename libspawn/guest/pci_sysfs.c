#include "guest/pci_sysfs.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/str.h"

enum {
    CLASS_FILE_MAX = 64
};

/* ---- One device -------------------------------------------------------- */

/* Not taken for none when it cannot be read: the numbers of other devices of
 * the class would change. */
static int
read_class(const char *dir, struct libspawn__pci_device *device,
           struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__str_format("%s/class", dir);
    AUTO_FREE char *text = NULL;
    int rc = path ? libspawn__file_read(path, CLASS_FILE_MAX, &text, NULL, err)
                  : libspawn__fail_nomem(err);

    if (!rc) {
        device->class_code = (uint32_t)strtoul(text, NULL, 16);
    }
    return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}

static int
read_driver(const char *dir, struct libspawn__pci_device *device,
            struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__str_format("%s/driver", dir);
    char target[4096];
    const char *name;
    ssize_t n;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    n = readlink(path, target, sizeof target - 1);
    if (n < 0) {
        return errno == ENOENT
                   ? 0
                   : libspawn__fail_errno(err, errno, "reading '%s'", path);
    }
    target[n] = '\0';
    name = strrchr(target, '/');
    snprintf(device->driver, sizeof device->driver, "%.*s",
             LIBSPAWN__PCI_DRIVER_SIZE - 1, name ? name + 1 : target);
    return 0;
}

int
libspawn__pci_sysfs_look(const char *sysfs,
                         const struct libspawn__pci_address *address,
                         struct libspawn__pci_device *device_r,
                         struct libspawn_err *err)
{
    struct libspawn__pci_device device = { .address = *address };
    char text[LIBSPAWN__PCI_ADDRESS_SIZE];
    AUTO_FREE char *dir = NULL;
    struct stat st;
    int rc;

    libspawn__pci_address_format(address, text);
    dir = libspawn__str_format("%s/bus/pci/devices/%s", sysfs, text);
    if (!dir) {
        return libspawn__fail_nomem(err);
    }
    if (stat(dir, &st) < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                                    "there is no PCI device %s", text)
                   : libspawn__fail_errno(err, errno, "looking at '%s'", dir);
    }
    rc = read_class(dir, &device, err);
    if (!rc) {
        rc = read_driver(dir, &device, err);
    }
    if (!rc) {
        *device_r = device;
    }
    return rc;
}

/* ---- All of them ------------------------------------------------------- */

struct list {
    struct libspawn__pci_device *devices;
    size_t n;
    size_t n_allocated;
};

static void
dispose_list(struct list *list)
{
    free(list->devices);
}

static int
add(struct list *list, const struct libspawn__pci_device *device,
    struct libspawn_err *err)
{
    if (list->n == list->n_allocated) {
        size_t n = list->n ? 2 * list->n : 32;
        void *devices = reallocarray(list->devices, n, sizeof *list->devices);

        if (!devices) {
            return libspawn__fail_nomem(err);
        }
        list->devices = devices;
        list->n_allocated = n;
    }
    list->devices[list->n++] = *device;
    return 0;
}

/* One that is unplugged meanwhile, or no device at all, is left out. */
static int
add_entry(const char *sysfs, const char *name, struct list *list,
          struct libspawn_err *err)
{
    struct libspawn__pci_address address;
    struct libspawn__pci_device device;
    int rc;

    if (libspawn__pci_address_parse(name, &address, NULL)) {
        return 0;
    }
    rc = libspawn__pci_sysfs_look(sysfs, &address, &device, err);
    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        return 0;
    }
    return rc ? rc : add(list, &device, err);
}

static int
compare_devices(const void *a, const void *b)
{
    const struct libspawn__pci_device *left = a;
    const struct libspawn__pci_device *right = b;

    return libspawn__pci_address_compare(&left->address, &right->address);
}

int
libspawn__pci_sysfs_list(const char *sysfs,
                         struct libspawn__pci_device **devices_r, size_t *n_r,
                         struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__str_format("%s/bus/pci/devices", sysfs);
    AUTO(dispose_list) struct list list = { .n = 0 };
    AUTO_DIR DIR *dir = NULL;
    struct dirent *entry;
    int rc = 0;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    dir = opendir(path);
    if (!dir && errno != ENOENT && errno != ENOTDIR) {
        return libspawn__fail_errno(err, errno, "reading '%s'", path);
    }
    while (!rc && dir && (entry = readdir(dir))) {
        rc = add_entry(sysfs, entry->d_name, &list, err);
    }
    if (rc) {
        return rc;
    }
    if (list.n) {
        qsort(list.devices, list.n, sizeof *list.devices, compare_devices);
    }
    *devices_r = TAKE_PTR(list.devices);
    *n_r = list.n;
    return 0;
}

static int
find_in_class(const char *sysfs, const struct libspawn__pci_choice *choice,
              struct libspawn__pci_device *device_r, struct libspawn_err *err)
{
    AUTO_FREE struct libspawn__pci_device *devices = NULL;
    size_t n = 0;
    uint32_t n_found = 0;
    size_t i;
    int rc = libspawn__pci_sysfs_list(sysfs, &devices, &n, err);

    for (i = 0; !rc && i < n; i++) {
        if (devices[i].class_code >> 8 == choice->class_code &&
            n_found++ == choice->index) {
            *device_r = devices[i];
            return 0;
        }
    }
    return rc ? rc
              : libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                               "there is no PCI device class:%04x#%u; this "
                               "machine has %u of that class",
                               choice->class_code, (unsigned int)choice->index,
                               (unsigned int)n_found);
}

int
libspawn__pci_sysfs_find(const char *sysfs,
                         const struct libspawn__pci_choice *choice,
                         struct libspawn__pci_device *device_r,
                         struct libspawn_err *err)
{
    return choice->is_class ? find_in_class(sysfs, choice, device_r, err)
                            : libspawn__pci_sysfs_look(sysfs, &choice->address,
                                                       device_r, err);
}
