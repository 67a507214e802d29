#include "guest/pci_rules.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store/paths.h"

/* ---- Is its guest still there? ----------------------------------------- */

int
libspawn__pci_read_created(struct libspawn_host *host, const char *uuid,
                           int64_t *created_r, struct libspawn_err *err)
{
    AUTO_FREE char *vm = libspawn__path_vm(uuid);
    AUTO_FREE char *path = vm ? libspawn__str_format("%s/start_time", vm)
                              : NULL;
    AUTO_FREE char *text = NULL;
    uint64_t created;
    int rc =
        path ? libspawn__store_read(host->store, NULL, path, &text, NULL, err)
             : libspawn__fail_nomem(err);

    if (!rc) {
        rc = libspawn__str_to_u64(text, 0, INT64_MAX, &created, err);
    }
    if (!rc) {
        *created_r = (int64_t)created;
    }
    return rc;
}

bool
libspawn__pci_is_alive(struct libspawn_host *host,
                       const struct libspawn__pci_record *record)
{
    int64_t created = 0;
    int rc = record->uuid[0] ? libspawn__pci_read_created(host, record->uuid,
                                                          &created, NULL)
                             : LIBSPAWN_ERR_NOT_FOUND;

    return rc ? rc != LIBSPAWN_ERR_NOT_FOUND : created == record->created;
}

bool
libspawn__pci_is_stale(struct libspawn_host *host,
                       const struct libspawn__pci_record *record)
{
    return !record->is_kept && !libspawn__pci_is_alive(host, record);
}

/* ---- Whose is it? ------------------------------------------------------ */

char *
libspawn__pci_describe_owner(const struct libspawn__pci_record *record)
{
    char since[LIBSPAWN__CLOCK_TEXT_SIZE];

    libspawn__clock_format(record->since_ms, since);
    return record->uuid[0]
               ? libspawn__str_format("guest '%s' (%s) since %s", record->name,
                                      record->uuid, since)
               : libspawn__str_format("guests named '%s' since %s",
                                      record->name, since);
}

int
libspawn__pci_fail_reserved(const struct libspawn__pci_record *record,
                            struct libspawn_err *err)
{
    AUTO_FREE char *owner = libspawn__pci_describe_owner(record);
    char address[LIBSPAWN__PCI_ADDRESS_SIZE];

    libspawn__pci_address_format(&record->address, address);
    return owner ? libspawn__fail(err, LIBSPAWN_ERR_EXISTS,
                                  "PCI device %s is reserved for %s", address,
                                  owner)
                 : libspawn__fail_nomem(err);
}

/* ---- May it be given away? --------------------------------------------- */

bool
libspawn__pci_is_assignable(const struct libspawn_host *host,
                            const struct libspawn__pci_device *device)
{
    return host->hypervisor == &libspawn__hypervisor_qemu
               ? libspawn__str_has_suffix(device->driver, "vfio-pci")
               : !strcmp(device->driver, "pciback");
}

int
libspawn__pci_check_assignable(const struct libspawn_host *host,
                               const struct libspawn__pci_device *device,
                               struct libspawn_err *err)
{
    const char *wanted = host->hypervisor == &libspawn__hypervisor_qemu
                             ? "vfio-pci"
                             : "pciback";
    char address[LIBSPAWN__PCI_ADDRESS_SIZE];

    if (libspawn__pci_is_assignable(host, device)) {
        return 0;
    }
    libspawn__pci_address_format(&device->address, address);
    return device->driver[0]
               ? libspawn__fail(err, LIBSPAWN_ERR_DENIED,
                                "PCI device %s is the host's own (driver "
                                "'%s'); bind it to driver '%s' first",
                                address, device->driver, wanted)
               : libspawn__fail(err, LIBSPAWN_ERR_DENIED,
                                "PCI device %s has no driver; bind it to "
                                "driver '%s' first",
                                address, wanted);
}
