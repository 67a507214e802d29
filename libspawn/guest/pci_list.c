/*
 * The list of PCI devices: those that can be reserved, from sysfs, and those
 * that are, from the table, which may have been unplugged since.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/pci_rules.h"

struct sources {
    struct libspawn_host *host;
    struct libspawn__pci_device *devices;
    size_t n_devices;
    struct libspawn__pci_table table;
};

static void
dispose_sources(struct sources *sources)
{
    free(sources->devices);
    libspawn__pci_table_dispose(&sources->table);
}

static int
read_sources(struct sources *sources, struct libspawn_err *err)
{
    struct libspawn_host *host = sources->host;
    int rc = libspawn__pci_table_read(host->state_dir, &sources->table, err);

    return rc ? rc
              : libspawn__pci_sysfs_list(host->sysfs_dir, &sources->devices,
                                         &sources->n_devices, err);
}

/* Its place among all devices of its class. */
static void
put_class_number(const struct sources *sources, size_t index,
                 struct libspawn_pci_info *info)
{
    uint32_t class_code = sources->devices[index].class_code >> 8;
    unsigned int number = 0;
    size_t i;

    for (i = 0; i < index; i++) {
        number += sources->devices[i].class_code >> 8 == class_code;
    }
    snprintf(info->class_number, sizeof info->class_number, "class:%04x#%u",
             (unsigned int)class_code & 0xffff, number);
}

static int
put_owner(const struct sources *sources,
          const struct libspawn__pci_record *record,
          struct libspawn_pci_info *info, struct libspawn_err *err)
{
    if (!record || libspawn__pci_is_stale(sources->host, record)) {
        return 0;
    }
    info->guest = strdup(record->name);
    if (!info->guest) {
        return libspawn__fail_nomem(err);
    }
    if (libspawn__pci_is_alive(sources->host, record)) {
        memcpy(info->uuid, record->uuid, sizeof info->uuid);
    }
    info->since_ms = record->since_ms;
    info->is_kept = record->is_kept;
    return 0;
}

/* 'device' is NULL for one that is in the table only. */
static int
add(const struct sources *sources, const struct libspawn__pci_device *device,
    const struct libspawn__pci_record *record, struct libspawn_pci_info *list,
    size_t *n, struct libspawn_err *err)
{
    struct libspawn_pci_info *info = &list[*n];
    int rc = put_owner(sources, record, info, err);

    if (rc) {
        return rc;
    }
    libspawn__pci_address_format(device ? &device->address : &record->address,
                                 info->address);
    if (device) {
        info->is_assignable =
            libspawn__pci_is_assignable(sources->host, device);
        put_class_number(sources, (size_t)(device - sources->devices), info);
    }
    if (info->is_assignable || info->guest) {
        ++*n;
    } else {
        memset(info, 0, sizeof *info);
    }
    return 0;
}

/* Both are sorted: one pass over the two. */
static int
merge(const struct sources *sources, struct libspawn_pci_info *list, size_t *n,
      struct libspawn_err *err)
{
    size_t i = 0;
    size_t k = 0;
    int rc = 0;

    while (!rc && (i < sources->n_devices || k < sources->table.n)) {
        const struct libspawn__pci_device *device = &sources->devices[i];
        const struct libspawn__pci_record *record = &sources->table.records[k];
        int order = i == sources->n_devices ? 1
                    : k == sources->table.n
                        ? -1
                        : libspawn__pci_address_compare(&device->address,
                                                        &record->address);

        rc = add(sources, order <= 0 ? device : NULL,
                 order >= 0 ? record : NULL, list, n, err);
        i += order <= 0;
        k += order >= 0;
    }
    return rc;
}

int
libspawn_pci_list(struct libspawn_host *host,
                  struct libspawn_pci_info **list_r, size_t *n_r,
                  struct libspawn_err *err)
{
    AUTO(dispose_sources) struct sources sources = { .host = host };
    struct libspawn_pci_info *list;
    size_t n = 0;
    int rc = read_sources(&sources, err);

    if (rc) {
        return rc;
    }
    list = calloc(sources.n_devices + sources.table.n + 1, sizeof *list);
    if (!list) {
        return libspawn__fail_nomem(err);
    }
    rc = merge(&sources, list, &n, err);
    if (rc) {
        libspawn_pci_list_free(list, n);
        return rc;
    }
    *list_r = list;
    *n_r = n;
    return 0;
}

void
libspawn_pci_list_free(struct libspawn_pci_info *list, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        free(list[i].guest);
    }
    free(list);
}
