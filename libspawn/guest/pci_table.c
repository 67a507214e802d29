#include "guest/pci_table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "wire/json.h"

enum {
    VERSION = 1,
    FILE_MAX = 1024 * 1024
};

void
libspawn__pci_table_dispose(struct libspawn__pci_table *table)
{
    size_t i;

    for (i = 0; i < table->n; i++) {
        free(table->records[i].name);
    }
    free(table->records);
    *table = (struct libspawn__pci_table){ .n = 0 };
}

/* ---- Records ----------------------------------------------------------- */

struct libspawn__pci_record *
libspawn__pci_table_find(const struct libspawn__pci_table *table,
                         const struct libspawn__pci_address *address)
{
    size_t i;

    for (i = 0; i < table->n; i++) {
        if (!libspawn__pci_address_compare(&table->records[i].address,
                                           address)) {
            return &table->records[i];
        }
    }
    return NULL;
}

/* An empty record of that address, where it belongs. */
static struct libspawn__pci_record *
insert(struct libspawn__pci_table *table,
       const struct libspawn__pci_address *address)
{
    struct libspawn__pci_record *records =
        reallocarray(table->records, table->n + 1, sizeof *table->records);
    size_t i;

    if (!records) {
        return NULL;
    }
    table->records = records;
    for (i = table->n; i && libspawn__pci_address_compare(
                                &records[i - 1].address, address) > 0;
         i--) {
        records[i] = records[i - 1];
    }
    records[i] = (struct libspawn__pci_record){ .address = *address };
    table->n++;
    return &records[i];
}

int
libspawn__pci_table_put(struct libspawn__pci_table *table,
                        const struct libspawn__pci_record *record,
                        struct libspawn_err *err)
{
    struct libspawn__pci_record copy = *record;
    struct libspawn__pci_record *at;

    copy.name = strdup(record->name);
    if (!copy.name) {
        return libspawn__fail_nomem(err);
    }
    at = libspawn__pci_table_find(table, &copy.address);
    if (!at) {
        at = insert(table, &copy.address);
    }
    if (!at) {
        free(copy.name);
        return libspawn__fail_nomem(err);
    }
    free(at->name);
    *at = copy;
    return 0;
}

void
libspawn__pci_table_remove(struct libspawn__pci_table *table,
                           struct libspawn__pci_record *record)
{
    struct libspawn__pci_record *end = table->records + table->n;

    free(record->name);
    memmove(record, record + 1, (size_t)(end - record - 1) * sizeof *record);
    table->n--;
}

/* ---- Writing ----------------------------------------------------------- */

static char *
table_path(const char *state_dir)
{
    return libspawn__str_format("%s/pci", state_dir);
}

static void
put_record(struct libspawn__json_writer *w,
           const struct libspawn__pci_record *record)
{
    char address[LIBSPAWN__PCI_ADDRESS_SIZE];

    libspawn__pci_address_format(&record->address, address);
    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "device", address);
    libspawn__json_put_string(w, "guest", record->name);
    libspawn__json_put_integer(w, "since_ms", record->since_ms);
    if (record->uuid[0]) {
        libspawn__json_put_string(w, "uuid", record->uuid);
        libspawn__json_put_integer(w, "created", record->created);
    }
    libspawn__json_put_bool(w, "kept", record->is_kept);
    libspawn__json_end_object(w);
}

int
libspawn__pci_table_write(const char *state_dir,
                          const struct libspawn__pci_table *table,
                          struct libspawn_err *err)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(true);
    AUTO_FREE char *path = table_path(state_dir);
    AUTO_FREE char *text = NULL;
    size_t i;

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_integer(w, "version", VERSION);
    libspawn__json_begin_array(w, "reservations");
    for (i = 0; i < table->n; i++) {
        put_record(w, &table->records[i]);
    }
    libspawn__json_end_array(w);
    libspawn__json_end_object(w);
    text = libspawn__json_writer_take(w);
    if (!text || !path) {
        return libspawn__fail_nomem(err);
    }
    if (table->n) {
        return libspawn__file_replace(path, text, strlen(text), 0600, err);
    }
    return unlink(path) < 0 && errno != ENOENT
               ? libspawn__fail_errno(err, errno, "removing '%s'", path)
               : 0;
}

/* ---- Reading ----------------------------------------------------------- */

/* What is wrong with it, or NULL.  The name is borrowed. */
static const char *
read_record(const struct libspawn__json *json,
            struct libspawn__pci_record *record)
{
    const char *address =
        libspawn__json_string(libspawn__json_member(json, "device"));
    const char *name =
        libspawn__json_string(libspawn__json_member(json, "guest"));
    const char *uuid =
        libspawn__json_string(libspawn__json_member(json, "uuid"));

    if (!address ||
        libspawn__pci_address_parse(address, &record->address, NULL)) {
        return "a 'device' is no address";
    }
    if (!name || !*name) {
        return "a 'guest' has no name";
    }
    record->name = (char *)(uintptr_t)name;
    if (!libspawn__json_integer(libspawn__json_member(json, "since_ms"),
                                &record->since_ms)) {
        return "a 'since_ms' is no number";
    }
    record->is_kept =
        libspawn__json_bool(libspawn__json_member(json, "kept"), false);
    if (!uuid) {
        return record->is_kept ? NULL : "a 'uuid' is missing";
    }
    if (strlen(uuid) >= sizeof record->uuid ||
        !libspawn__json_integer(libspawn__json_member(json, "created"),
                                &record->created)) {
        return "a 'uuid' or its 'created' is none";
    }
    snprintf(record->uuid, sizeof record->uuid, "%s", uuid);
    return NULL;
}

static int
read_records(const struct libspawn__json *json, const char *path,
             struct libspawn__pci_table *table, struct libspawn_err *err)
{
    const struct libspawn__json *list =
        libspawn__json_member(json, "reservations");
    const char *complaint = NULL;
    int64_t version;
    int rc = 0;
    size_t i;

    if (!libspawn__json_integer(libspawn__json_member(json, "version"),
                                &version) ||
        version != VERSION ||
        libspawn__json_get_type(list) != LIBSPAWN__JSON_ARRAY) {
        complaint = "it is not of version 1";
    }
    for (i = 0; !rc && !complaint && i < libspawn__json_n_items(list); i++) {
        struct libspawn__pci_record record = { .name = NULL };

        complaint = read_record(libspawn__json_item(list, i), &record);
        if (!complaint && libspawn__pci_table_find(table, &record.address)) {
            complaint = "a device is in it twice";
        }
        if (!complaint) {
            rc = libspawn__pci_table_put(table, &record, err);
        }
    }
    return complaint ? libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                                      "the table of PCI devices, '%s', makes "
                                      "no sense: %s",
                                      path, complaint)
                     : rc;
}

int
libspawn__pci_table_read(const char *state_dir,
                         struct libspawn__pci_table *table_r,
                         struct libspawn_err *err)
{
    AUTO_PCI_TABLE struct libspawn__pci_table table = { .n = 0 };
    AUTO_FREE char *path = table_path(state_dir);
    AUTO_JSON struct libspawn__json *json = NULL;
    AUTO_FREE char *text = NULL;
    size_t size;
    int rc = path ? libspawn__file_read(path, FILE_MAX, &text, &size, err)
                  : libspawn__fail_nomem(err);

    if (rc == LIBSPAWN_ERR_NOT_FOUND) {
        *table_r = (struct libspawn__pci_table){ .n = 0 };
        return 0;
    }
    if (!rc) {
        rc = libspawn__json_parse(text, size, FILE_MAX, &json, err);
        if (rc) {
            libspawn__err_prefix(err, "the table of PCI devices, '%s'", path);
        }
    }
    if (!rc) {
        rc = read_records(json, path, &table, err);
    }
    if (!rc) {
        *table_r = table;
        table = (struct libspawn__pci_table){ .n = 0 };
    }
    return rc;
}
