#include "guest/pci.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "guest/events.h"
#include "guest/host.h"
#include "guest/names.h"
#include "guest/pci_rules.h"

/* Who asks for a device. */
struct claim {
    struct libspawn_host *host;
    const char *name;
    const char *uuid; /* NULL: the name itself, whichever guest has it */
    int64_t created;
    struct libspawn__lock lock;
    struct libspawn__pci_table table;
    struct libspawn__strv taken_over; /* sentences for the event log */
};

static void
dispose_claim(struct claim *claim)
{
    libspawn__lock_dispose(&claim->lock);
    libspawn__pci_table_dispose(&claim->table);
    libspawn__strv_dispose(&claim->taken_over);
}
#define AUTO_CLAIM AUTO(dispose_claim)

/* ---- Whose is it? ------------------------------------------------------ */

static bool
is_same_guest(const struct claim *claim,
              const struct libspawn__pci_record *record)
{
    return claim->uuid && !strcmp(claim->uuid, record->uuid);
}

/* A guest that has it is never robbed, nor a name for which it is kept. */
static int
check_owner(const struct claim *claim,
            const struct libspawn__pci_record *record,
            struct libspawn_err *err)
{
    bool is_named = !strcmp(record->name, claim->name);

    if (is_named && (!claim->uuid || is_same_guest(claim, record))) {
        return 0;
    }
    return libspawn__pci_is_alive(claim->host, record) ||
                   (record->is_kept && !is_named)
               ? libspawn__pci_fail_reserved(record, err)
               : 0;
}

/* ---- One claim after the other ----------------------------------------- */

static int
open_claim(struct claim *claim, struct libspawn_err *err)
{
    int rc = libspawn__host_lock_pci(claim->host, &claim->lock, err);

    return rc ? rc
              : libspawn__pci_table_read(claim->host->state_dir, &claim->table,
                                         err);
}

static void
tell_taken_over(const struct claim *claim)
{
    size_t i;

    for (i = 0; i < claim->taken_over.n_items; i++) {
        const struct libspawn__event event = {
            .guest = claim->name,
            .uuid = claim->uuid,
            .kind = LIBSPAWN_GUEST_EVENT_PCI_TAKEN_OVER,
            .text = claim->taken_over.items[i],
        };

        libspawn__event_append(claim->host, &event, NULL);
    }
}

/* From here on the others see it. */
static int
close_claim(struct claim *claim, struct libspawn_err *err)
{
    int rc =
        libspawn__pci_table_write(claim->host->state_dir, &claim->table, err);

    libspawn__host_unlock(claim->host, &claim->lock);
    if (!rc) {
        tell_taken_over(claim);
    }
    return rc;
}

static int
remember_taken_over(struct claim *claim,
                    const struct libspawn__pci_record *record,
                    struct libspawn_err *err)
{
    AUTO_FREE char *owner = libspawn__pci_describe_owner(record);
    char address[LIBSPAWN__PCI_ADDRESS_SIZE];

    libspawn__pci_address_format(&record->address, address);
    return owner ? libspawn__strv_addf(&claim->taken_over, err,
                                       "PCI device %s was reserved for %s, "
                                       "which is gone",
                                       address, owner)
                 : libspawn__fail_nomem(err);
}

/* Into the table of the claim, as far as it is not there already. */
static int
put(struct claim *claim, const struct libspawn__pci_address *address,
    struct libspawn_err *err)
{
    const struct libspawn__pci_record *old =
        libspawn__pci_table_find(&claim->table, address);
    bool is_left = old && libspawn__pci_is_stale(claim->host, old);
    bool is_mine = old && !is_left;
    AUTO_FREE char *name = strdup(claim->name);
    struct libspawn__pci_record record = { .address = *address, .name = name };
    int rc;

    if (!name) {
        return libspawn__fail_nomem(err);
    }
    rc = is_left ? remember_taken_over(claim, old, err) : 0;
    if (rc) {
        return rc;
    }
    record.since_ms = is_mine ? old->since_ms : libspawn__clock_realtime_ms();
    record.is_kept = !claim->uuid || (is_mine && old->is_kept);
    if (claim->uuid) {
        snprintf(record.uuid, sizeof record.uuid, "%s", claim->uuid);
        record.created = claim->created;
    } else if (is_mine) {
        memcpy(record.uuid, old->uuid, sizeof record.uuid);
        record.created = old->created;
    }
    return libspawn__pci_table_put(&claim->table, &record, err);
}

/* ---- For a guest, at its start ----------------------------------------- */

struct chosen {
    struct libspawn__pci_address *addresses;
    size_t n;
};

static void
dispose_chosen(struct chosen *chosen)
{
    free(chosen->addresses);
}

static bool
is_chosen(const struct chosen *chosen,
          const struct libspawn__pci_address *address)
{
    size_t i;

    for (i = 0; i < chosen->n; i++) {
        if (!libspawn__pci_address_compare(&chosen->addresses[i], address)) {
            return true;
        }
    }
    return false;
}

/* Whether this device can be the guest's, besides those that are chosen. */
static int
try_choice(struct claim *claim, const struct chosen *chosen,
           const struct libspawn__pci_choice *choice,
           struct libspawn__pci_address *address_r, struct libspawn_err *err)
{
    const struct libspawn__pci_record *record;
    struct libspawn__pci_device device;
    char text[LIBSPAWN__PCI_ADDRESS_SIZE];
    int rc =
        libspawn__pci_sysfs_find(claim->host->sysfs_dir, choice, &device, err);

    if (rc) {
        return rc;
    }
    if (is_chosen(chosen, &device.address)) {
        libspawn__pci_address_format(&device.address, text);
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "PCI device %s is asked for twice", text);
    }
    record = libspawn__pci_table_find(&claim->table, &device.address);
    rc = libspawn__pci_check_assignable(claim->host, &device, err);
    if (!rc && record) {
        rc = check_owner(claim, record, err);
    }
    if (!rc) {
        *address_r = device.address;
    }
    return rc;
}

/* Another device may do then; after any other error nobody can tell. */
static bool
is_refusal(int rc)
{
    return rc == LIBSPAWN_ERR_NOT_FOUND || rc == LIBSPAWN_ERR_DENIED ||
           rc == LIBSPAWN_ERR_EXISTS || rc == LIBSPAWN_ERR_INVALID;
}

/* Of several that would do, the one that it has; LIBSPAWN_ERR_NOT_FOUND. */
static int
find_owned(struct claim *claim, const struct chosen *chosen, const char *item,
           struct libspawn__pci_address *address_r, struct libspawn_err *err)
{
    struct libspawn__pci_choice choice;
    int rc = LIBSPAWN_ERR_NOT_FOUND;

    while (*item && is_refusal(rc) &&
           !libspawn__pci_choice_next(&item, &choice, NULL)) {
        const struct libspawn__pci_record *record;
        struct libspawn__pci_address address;

        rc = try_choice(claim, chosen, &choice, &address, err);
        if (rc) {
            continue;
        }
        record = libspawn__pci_table_find(&claim->table, &address);
        if (record && is_same_guest(claim, record)) {
            *address_r = address;
            return 0;
        }
        rc = LIBSPAWN_ERR_NOT_FOUND;
    }
    return is_refusal(rc) ? LIBSPAWN_ERR_NOT_FOUND : rc;
}

/* Else the first that can be had.  The first one's error is told. */
static int
find_free(struct claim *claim, const struct chosen *chosen, const char *item,
          struct libspawn__pci_address *address_r, struct libspawn_err *err)
{
    struct libspawn_err first = { 0 };
    const char *at = item;
    int rc;

    do {
        struct libspawn__pci_choice choice;
        struct libspawn_err one = { 0 };

        rc = libspawn__pci_choice_next(&at, &choice, &one);
        if (!rc) {
            rc = try_choice(claim, chosen, &choice, address_r, &one);
        }
        if (rc && (!first.code || !is_refusal(rc))) {
            first = one;
        }
    } while (is_refusal(rc) && *at);
    if (rc && err) {
        *err = first;
    }
    if (is_refusal(rc) && strchr(item, '|')) {
        libspawn__err_prefix(err, "none of '%s' can be had", item);
    }
    return rc ? first.code : 0;
}

static int
choose(struct claim *claim, struct chosen *chosen, const char *item,
       struct libspawn__strv *devices, struct libspawn_err *err)
{
    struct libspawn__pci_address address = { 0 };
    char text[LIBSPAWN__PCI_ADDRESS_SIZE];
    int rc = find_owned(claim, chosen, item, &address, err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        rc = find_free(claim, chosen, item, &address, err);
    }
    if (!rc) {
        rc = put(claim, &address, err);
    }
    if (!rc) {
        chosen->addresses[chosen->n++] = address;
        libspawn__pci_address_format(&address, text);
        rc = libspawn__strv_add(devices, text, err);
    }
    return rc;
}

/* What it had and does not want any more. */
static void
drop_others(struct claim *claim, const struct chosen *chosen)
{
    size_t i = claim->table.n;

    while (i-- > 0) {
        struct libspawn__pci_record *record = &claim->table.records[i];

        if (!is_same_guest(claim, record) ||
            (chosen && is_chosen(chosen, &record->address))) {
            continue;
        }
        if (record->is_kept) {
            record->uuid[0] = '\0';
        } else {
            libspawn__pci_table_remove(&claim->table, record);
        }
    }
}

int
libspawn__pci_reserve_for_guest(struct libspawn_host *host,
                                const struct libspawn_guest_config *config,
                                const char *uuid,
                                struct libspawn__strv *devices,
                                struct libspawn_err *err)
{
    AUTO_CLAIM struct claim claim = { .host = host,
                                      .name = config->name,
                                      .uuid = uuid,
                                      .lock = LIBSPAWN__LOCK_INIT };
    AUTO(dispose_chosen) struct chosen chosen = { .n = 0 };
    size_t i;
    int rc;

    if (!config->n_pci) {
        libspawn__pci_release_guest(host, uuid);
        return 0;
    }
    chosen.addresses = calloc(config->n_pci, sizeof *chosen.addresses);
    rc = chosen.addresses
             ? libspawn__pci_read_created(host, uuid, &claim.created, err)
             : libspawn__fail_nomem(err);
    if (!rc) {
        rc = open_claim(&claim, err);
    }
    for (i = 0; !rc && i < config->n_pci; i++) {
        rc = choose(&claim, &chosen, config->pci[i], devices, err);
    }
    if (rc) {
        return rc;
    }
    drop_others(&claim, &chosen);
    return close_claim(&claim, err);
}

/* ---- At its end -------------------------------------------------------- */

static bool
has_any(const struct claim *claim)
{
    size_t i;

    for (i = 0; i < claim->table.n; i++) {
        if (is_same_guest(claim, &claim->table.records[i])) {
            return true;
        }
    }
    return false;
}

static int
release_guest(struct libspawn_host *host, const char *uuid,
              struct libspawn_err *err)
{
    AUTO_CLAIM struct claim claim = {
        .host = host, .name = "", .uuid = uuid, .lock = LIBSPAWN__LOCK_INIT
    };
    int rc = libspawn__pci_table_read(host->state_dir, &claim.table, err);

    /* Nobody but the guest itself, whose lock the caller has, adds any. */
    if (rc || !has_any(&claim)) {
        return rc;
    }
    libspawn__pci_table_dispose(&claim.table);
    rc = open_claim(&claim, err);
    if (rc) {
        return rc;
    }
    drop_others(&claim, NULL);
    return close_claim(&claim, err);
}

void
libspawn__pci_release_guest(struct libspawn_host *host, const char *uuid)
{
    struct libspawn_err err;

    if (release_guest(host, uuid, &err) && host->warning) {
        host->warning(host->warning_user, err.text);
    }
}

/* ---- For a name -------------------------------------------------------- */

static int
check_name(const char *name, struct libspawn_err *err)
{
    struct libspawn_guest_config config;
    int rc;

    libspawn_guest_config_init(&config);
    rc = libspawn__str_assign(&config.name, name, err);
    if (!rc) {
        rc = libspawn_guest_config_check(&config, err);
    }
    libspawn_guest_config_dispose(&config);
    return rc;
}

static int
read_choice(const char *text, struct libspawn__pci_choice *choice_r,
            struct libspawn_err *err)
{
    struct libspawn__pci_choice choice;
    const char *at = text;
    int rc = libspawn__pci_choice_next(&at, &choice, err);

    if (!rc && *at) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "'%.60s' is more than one PCI device", text);
    }
    if (!rc) {
        *choice_r = choice;
    }
    return rc;
}

static bool
names_device(const struct libspawn_host *host,
             const struct libspawn_guest_config *config,
             const struct libspawn__pci_address *address)
{
    size_t i;

    for (i = 0; i < config->n_pci; i++) {
        const char *at = config->pci[i];
        struct libspawn__pci_choice choice;

        while (*at && !libspawn__pci_choice_next(&at, &choice, NULL)) {
            struct libspawn__pci_device device;

            if (!libspawn__pci_sysfs_find(host->sysfs_dir, &choice, &device,
                                          NULL) &&
                !libspawn__pci_address_compare(&device.address, address)) {
                return true;
            }
        }
    }
    return false;
}

/* The guest of that name, if there is one, must want it: its next start would
 * not touch it otherwise, and nobody else could have it. */
static int
check_wanted(struct libspawn_host *host, const char *name,
             const struct libspawn__pci_address *address,
             struct libspawn_err *err)
{
    struct libspawn_guest_config config;
    char text[LIBSPAWN__PCI_ADDRESS_SIZE];
    uint32_t domid;
    int rc;

    rc = libspawn__name_find(host, name, &domid, err);
    if (rc) {
        return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
    }
    libspawn_guest_config_init(&config);
    rc = libspawn_guest_get_next_config(host, domid, &config, err);
    if (!rc && !names_device(host, &config, address)) {
        libspawn__pci_address_format(address, text);
        rc = libspawn__fail(err, LIBSPAWN_ERR_DENIED,
                            "PCI device %s is not for guest '%s', whose "
                            "configuration does not name it",
                            text, name);
    }
    libspawn_guest_config_dispose(&config);
    return rc == LIBSPAWN_ERR_NOT_FOUND ? 0 : rc;
}

int
libspawn_pci_reserve(struct libspawn_host *host, const char *name,
                     const char *device, struct libspawn_err *err)
{
    AUTO_CLAIM struct claim claim = { .host = host,
                                      .name = name,
                                      .lock = LIBSPAWN__LOCK_INIT };
    const struct chosen none = { .n = 0 };
    struct libspawn__pci_address address;
    struct libspawn__pci_choice choice;
    int rc = check_name(name, err);

    if (!rc) {
        rc = read_choice(device, &choice, err);
    }
    if (!rc) {
        rc = open_claim(&claim, err);
    }
    if (!rc) {
        rc = try_choice(&claim, &none, &choice, &address, err);
    }
    if (!rc) {
        rc = check_wanted(host, name, &address, err);
    }
    if (!rc) {
        rc = put(&claim, &address, err);
    }
    return rc ? rc : close_claim(&claim, err);
}

/* A guest that has it goes on having it, until it ends. */
static int
release(struct claim *claim, struct libspawn__pci_record *record,
        struct libspawn_err *err)
{
    char address[LIBSPAWN__PCI_ADDRESS_SIZE];

    if (!libspawn__pci_is_alive(claim->host, record)) {
        libspawn__pci_table_remove(&claim->table, record);
        return 0;
    }
    if (record->is_kept) {
        record->is_kept = false;
        return 0;
    }
    libspawn__pci_address_format(&record->address, address);
    return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                          "PCI device %s is in use by guest '%s', which has "
                          "it until it is destroyed",
                          address, record->name);
}

int
libspawn_pci_release(struct libspawn_host *host, const char *name,
                     const char *device, struct libspawn_err *err)
{
    AUTO_CLAIM struct claim claim = { .host = host,
                                      .name = name,
                                      .lock = LIBSPAWN__LOCK_INIT };
    struct libspawn__pci_choice choice;
    struct libspawn__pci_device found = { .class_code = 0 };
    struct libspawn__pci_record *record;
    char address[LIBSPAWN__PCI_ADDRESS_SIZE];
    int rc = read_choice(device, &choice, err);

    if (!rc && choice.is_class) {
        rc = libspawn__pci_sysfs_find(host->sysfs_dir, &choice, &found, err);
    } else if (!rc) {
        found.address = choice.address; /* it may be unplugged by now */
    }
    if (!rc) {
        rc = open_claim(&claim, err);
    }
    if (rc) {
        return rc;
    }
    record = libspawn__pci_table_find(&claim.table, &found.address);
    if (!record) {
        libspawn__pci_address_format(&found.address, address);
        return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                              "PCI device %s is not reserved", address);
    }
    rc = strcmp(record->name, name) ? libspawn__pci_fail_reserved(record, err)
                                    : release(&claim, record, err);
    return rc ? rc : close_claim(&claim, err);
}
