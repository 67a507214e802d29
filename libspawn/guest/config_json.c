/*
 * The typed configuration as JSON, and back, over the tables of
 * guest/config_fields.h.
 *
 * Written are only members that differ from the default, so that a default
 * may change for guests that did not ask for anything.  Read is any object:
 * unknown members come from a newer version and are ignored, known ones of a
 * wrong type are refused.
 */
#include "include/libspawn-guest.h"

#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "guest/config_fields.h"
#include "wire/json.h"

enum {
    JSON_SIZE_MAX = 16 * 1024 * 1024
};

/* One member of 'owner', written unless it is as in 'defaults'. */
struct write {
    struct libspawn__json_writer *writer;
    const struct libspawn__field *field;
    const void *owner;
    const void *defaults;
};

/* One member of 'owner', which is zeroed or at its default. */
struct read {
    const struct libspawn__json *json;
    const struct libspawn__field *field;
    void *owner;
    struct libspawn_err *err;
};

static void write_members(struct libspawn__json_writer *writer,
                          const struct libspawn__record *record,
                          const void *owner, const void *defaults);
static int read_members(const struct libspawn__json *json,
                        const struct libspawn__record *record, void *owner,
                        struct libspawn_err *err);

static int
fail_type(const struct read *read, const char *wanted)
{
    return libspawn__fail(read->err, LIBSPAWN_ERR_INVALID,
                          "member '%s' is not %s", read->field->name, wanted);
}

/* ---- Numbers ----------------------------------------------------------- */

static void
put_unless_default(const struct write *write, int64_t value, int64_t usual)
{
    if (value != usual) {
        libspawn__json_put_integer(write->writer, write->field->name, value);
    }
}

static int
get_integer(const struct read *read, int64_t min, int64_t max,
            int64_t *value_r)
{
    int64_t value;

    if (!libspawn__json_integer(read->json, &value)) {
        return fail_type(read, "an integer");
    }
    if (value < min || value > max) {
        return fail_type(read, "within its range");
    }
    *value_r = value;
    return 0;
}

#define NUMBER_FUNCTIONS(NAME, TYPE, MIN_VALUE, MAX_VALUE)                    \
    static void write_##NAME(const struct write *write)                       \
    {                                                                         \
        const TYPE *value = libspawn__field_of(write->field, write->owner);   \
        const TYPE *usual =                                                   \
            libspawn__field_of(write->field, write->defaults);                \
                                                                              \
        put_unless_default(write, (int64_t)*value, (int64_t)*usual);          \
    }                                                                         \
                                                                              \
    static int read_##NAME(const struct read *read)                           \
    {                                                                         \
        TYPE *value_r = libspawn__field_in(read->field, read->owner);         \
        int64_t value = 0;                                                    \
        int rc = get_integer(read, (MIN_VALUE), (MAX_VALUE), &value);         \
                                                                              \
        if (!rc) {                                                            \
            *value_r = (TYPE)value;                                           \
        }                                                                     \
        return rc;                                                            \
    }                                                                         \
    _Static_assert(sizeof(TYPE), "takes the semicolon")

NUMBER_FUNCTIONS(i32, int32_t, INT32_MIN, INT32_MAX);
NUMBER_FUNCTIONS(u32, uint32_t, 0, UINT32_MAX);
NUMBER_FUNCTIONS(u64, uint64_t, 0, INT64_MAX);

/* ---- Booleans and words ------------------------------------------------ */

static int
get_bool(const struct read *read, bool *value_r)
{
    if (libspawn__json_get_type(read->json) != LIBSPAWN__JSON_BOOL) {
        return fail_type(read, "true or false");
    }
    *value_r = libspawn__json_bool(read->json, false);
    return 0;
}

static void
write_bool(const struct write *write)
{
    const bool *value = libspawn__field_of(write->field, write->owner);
    const bool *usual = libspawn__field_of(write->field, write->defaults);

    if (*value != *usual) {
        libspawn__json_put_bool(write->writer, write->field->name, *value);
    }
}

static int
read_bool(const struct read *read)
{
    return get_bool(read, libspawn__field_in(read->field, read->owner));
}

static void
write_choice(const struct write *write)
{
    const enum libspawn_choice *choice =
        libspawn__field_of(write->field, write->owner);

    if (*choice != LIBSPAWN_CHOICE_DEFAULT) {
        libspawn__json_put_bool(write->writer, write->field->name,
                                *choice == LIBSPAWN_CHOICE_YES);
    }
}

static int
read_choice(const struct read *read)
{
    enum libspawn_choice *choice_r =
        libspawn__field_in(read->field, read->owner);
    bool value = false;
    int rc = get_bool(read, &value);

    if (!rc) {
        *choice_r = value ? LIBSPAWN_CHOICE_YES : LIBSPAWN_CHOICE_NO;
    }
    return rc;
}

static void
write_word(const struct write *write)
{
    const unsigned int *value = libspawn__field_of(write->field, write->owner);
    const unsigned int *usual =
        libspawn__field_of(write->field, write->defaults);
    const char *word = libspawn__words_name(write->field->words, *value);

    if (word && *value != *usual) {
        libspawn__json_put_string(write->writer, write->field->name, word);
    }
}

static int
read_word(const struct read *read)
{
    const char *word = libspawn__json_string(read->json);

    if (!word) {
        return fail_type(read, "a string");
    }
    if (!libspawn__words_find(read->field->words, word,
                              libspawn__field_in(read->field, read->owner))) {
        return libspawn__fail(read->err, LIBSPAWN_ERR_INVALID,
                              "member '%s' cannot be '%.40s'",
                              read->field->name, word);
    }
    return 0;
}

/* ---- Strings ----------------------------------------------------------- */

static void
write_string(const struct write *write)
{
    const char *const *text = libspawn__field_of(write->field, write->owner);

    if (*text) {
        libspawn__json_put_string(write->writer, write->field->name, *text);
    }
}

static int
read_string(const struct read *read)
{
    const char *text = libspawn__json_string(read->json);

    if (!text) {
        return fail_type(read, "a string");
    }
    return libspawn__str_assign(libspawn__field_in(read->field, read->owner),
                                text, read->err);
}

static void
write_strings(const struct write *write)
{
    const char *const *const *strings =
        libspawn__field_of(write->field, write->owner);
    size_t n = libspawn__field_count(write->field, write->owner);
    size_t i;

    if (!n) {
        return;
    }
    libspawn__json_begin_array(write->writer, write->field->name);
    for (i = 0; i < n; i++) {
        libspawn__json_put_string(write->writer, NULL, (*strings)[i]);
    }
    libspawn__json_end_array(write->writer);
}

static int
read_strings(const struct read *read)
{
    AUTO_STRV struct libspawn__strv list = { 0 };
    size_t n = libspawn__json_n_items(read->json);
    size_t i;
    int rc;

    if (libspawn__json_get_type(read->json) != LIBSPAWN__JSON_ARRAY) {
        return fail_type(read, "an array");
    }
    for (i = 0; i < n; i++) {
        const char *text =
            libspawn__json_string(libspawn__json_item(read->json, i));

        if (!text) {
            return fail_type(read, "an array of strings");
        }
        rc = libspawn__strv_add(&list, text, read->err);
        if (rc) {
            return rc;
        }
    }
    *(char ***)libspawn__field_in(read->field, read->owner) = list.items;
    libspawn__field_set_count(read->field, read->owner, list.n_items);
    memset(&list, 0, sizeof list);
    return 0;
}

/* ---- Structures -------------------------------------------------------- */

static void
write_record(const struct write *write)
{
    const void *value = libspawn__field_of(write->field, write->owner);
    const void *usual = libspawn__field_of(write->field, write->defaults);

    /* Differing padding would only cost an empty object. */
    if (!memcmp(value, usual, write->field->record->size)) {
        return;
    }
    libspawn__json_begin_object(write->writer, write->field->name);
    write_members(write->writer, write->field->record, value, usual);
    libspawn__json_end_object(write->writer);
}

static int
read_record(const struct read *read)
{
    if (libspawn__json_get_type(read->json) != LIBSPAWN__JSON_OBJECT) {
        return fail_type(read, "an object");
    }
    return read_members(read->json, read->field->record,
                        libspawn__field_in(read->field, read->owner),
                        read->err);
}

static void
write_records(const struct write *write)
{
    static const max_align_t zeroes[16]; /* what a new item is */
    const struct libspawn__record *record = write->field->record;
    const char *const *records =
        libspawn__field_of(write->field, write->owner);
    size_t n = libspawn__field_count(write->field, write->owner);
    size_t i;

    _Static_assert(sizeof(struct libspawn_disk) <= sizeof zeroes &&
                       sizeof(struct libspawn_nic) <= sizeof zeroes,
                   "an item is compared with that many zeroes");
    if (!n) {
        return;
    }
    libspawn__json_begin_array(write->writer, write->field->name);
    for (i = 0; i < n; i++) {
        libspawn__json_begin_object(write->writer, NULL);
        write_members(write->writer, record, *records + i * record->size,
                      zeroes);
        libspawn__json_end_object(write->writer);
    }
    libspawn__json_end_array(write->writer);
}

static int
read_records(const struct read *read)
{
    const struct libspawn__record *record = read->field->record;
    size_t n = libspawn__json_n_items(read->json);
    char *records;
    size_t i;
    int rc = 0;

    if (libspawn__json_get_type(read->json) != LIBSPAWN__JSON_ARRAY) {
        return fail_type(read, "an array");
    }
    if (!n) {
        return 0;
    }
    records = calloc(n, record->size);
    if (!records) {
        return libspawn__fail_nomem(read->err);
    }
    /* From here on the owner's disposal frees them. */
    *(char **)libspawn__field_in(read->field, read->owner) = records;
    libspawn__field_set_count(read->field, read->owner, n);
    for (i = 0; !rc && i < n; i++) {
        const struct libspawn__json *item = libspawn__json_item(read->json, i);

        if (libspawn__json_get_type(item) != LIBSPAWN__JSON_OBJECT) {
            return fail_type(read, "an array of objects");
        }
        rc = read_members(item, record, records + i * record->size, read->err);
    }
    return rc;
}

/* ---- All kinds --------------------------------------------------------- */

static const struct {
    void (*write)(const struct write *write);
    int (*read)(const struct read *read);
} kinds[] = {
    [LIBSPAWN__FIELD_BOOL] = { write_bool, read_bool },
    [LIBSPAWN__FIELD_CHOICE] = { write_choice, read_choice },
    [LIBSPAWN__FIELD_I32] = { write_i32, read_i32 },
    [LIBSPAWN__FIELD_U32] = { write_u32, read_u32 },
    [LIBSPAWN__FIELD_U64] = { write_u64, read_u64 },
    [LIBSPAWN__FIELD_WORD] = { write_word, read_word },
    [LIBSPAWN__FIELD_STRING] = { write_string, read_string },
    [LIBSPAWN__FIELD_STRINGS] = { write_strings, read_strings },
    [LIBSPAWN__FIELD_RECORD] = { write_record, read_record },
    [LIBSPAWN__FIELD_RECORDS] = { write_records, read_records },
};

static void
write_members(struct libspawn__json_writer *writer,
              const struct libspawn__record *record, const void *owner,
              const void *defaults)
{
    size_t i;

    for (i = 0; i < record->n_fields; i++) {
        const struct libspawn__field *field = &record->fields[i];
        struct write write = { writer, field, owner, defaults };

        kinds[field->kind].write(&write);
    }
}

static int
read_members(const struct libspawn__json *json,
             const struct libspawn__record *record, void *owner,
             struct libspawn_err *err)
{
    size_t i;
    int rc;

    for (i = 0; i < record->n_fields; i++) {
        const struct libspawn__field *field = &record->fields[i];
        struct read read = { libspawn__json_member(json, field->name), field,
                             owner, err };

        if (!read.json) {
            continue;
        }
        rc = kinds[field->kind].read(&read);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

int
libspawn_guest_config_to_json(const struct libspawn_guest_config *config,
                              char **json_r, struct libspawn_err *err)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(true);
    struct libspawn_guest_config defaults;
    char *json;

    if (!writer) {
        return libspawn__fail_nomem(err);
    }
    libspawn_guest_config_init(&defaults);
    libspawn__json_begin_object(writer, NULL);
    write_members(writer, &libspawn__record_guest_config, config, &defaults);
    libspawn__json_end_object(writer);
    json = libspawn__json_writer_take(writer);
    if (!json) {
        return libspawn__fail_nomem(err);
    }
    *json_r = json;
    return 0;
}

int
libspawn_guest_config_from_json(const char *json,
                                struct libspawn_guest_config *config,
                                struct libspawn_err *err)
{
    AUTO(libspawn_guest_config_dispose) struct libspawn_guest_config built;
    AUTO_JSON struct libspawn__json *tree = NULL;
    int rc;

    libspawn_guest_config_init(&built);
    rc = libspawn__json_parse(json, strlen(json), JSON_SIZE_MAX, &tree, err);
    if (rc) {
        return rc;
    }
    if (libspawn__json_get_type(tree) != LIBSPAWN__JSON_OBJECT) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "a configuration is a JSON object");
    }
    rc = read_members(tree, &libspawn__record_guest_config, &built, err);
    if (rc) {
        return rc;
    }
    libspawn_guest_config_dispose(config);
    *config = built;
    memset(&built, 0, sizeof built);
    return 0;
}
