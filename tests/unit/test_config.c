/*
 * The typed configuration by itself: defaults, disposal, JSON and back.
 */
#include <string.h>

#include "base/str.h"
#include "guest/config.h"
#include "guest/config_fields.h"
#include "tests/lib/harness.h"

#define AUTO_CONFIG AUTO(libspawn_guest_config_dispose)

/* ---- The description of the structures --------------------------------- */

static size_t
size_of(const struct libspawn__field *field)
{
    switch (field->kind) {
    case LIBSPAWN__FIELD_BOOL:
        return sizeof(bool);
    case LIBSPAWN__FIELD_CHOICE:
    case LIBSPAWN__FIELD_I32:
    case LIBSPAWN__FIELD_U32:
    case LIBSPAWN__FIELD_WORD:
        return sizeof(uint32_t);
    case LIBSPAWN__FIELD_U64:
        return sizeof(uint64_t);
    case LIBSPAWN__FIELD_STRING:
    case LIBSPAWN__FIELD_STRINGS:
    case LIBSPAWN__FIELD_RECORDS:
        return sizeof(void *);
    case LIBSPAWN__FIELD_RECORD:
        return field->record->size;
    }
    return 0;
}

static bool
has_count(const struct libspawn__field *field)
{
    return field->kind == LIBSPAWN__FIELD_STRINGS ||
           field->kind == LIBSPAWN__FIELD_RECORDS;
}

/* Every byte belongs to one member, but for the padding in front of members
 * that need alignment. */
static void
assert_covered(const struct libspawn__record *record)
{
    AUTO_FREE unsigned char *owners = calloc(record->size, 1);
    size_t run = 0;
    size_t i;
    size_t k;

    for (i = 0; i < record->n_fields; i++) {
        const struct libspawn__field *field = &record->fields[i];

        for (k = 0; k < size_of(field); k++) {
            ck_assert_uint_eq(owners[field->offset + k]++, 0);
        }
        for (k = 0; has_count(field) && k < sizeof(size_t); k++) {
            ck_assert_uint_eq(owners[field->count_offset + k]++, 0);
        }
    }
    for (i = 0; i < record->size; i++) {
        run = owners[i] ? 0 : run + 1;
        if (run >= sizeof(uint64_t)) {
            ck_abort_msg("no field for the member at byte %zu", i);
        }
    }
}

TEST(config_fields__describe_every_member)
{
    assert_covered(&libspawn__record_guest_config);
    assert_covered(&libspawn__record_disk);
    assert_covered(&libspawn__record_nic);
    assert_covered(&libspawn__record_vnc);
}

/* ---- JSON -------------------------------------------------------------- */

static char *
to_json(const struct libspawn_guest_config *config)
{
    struct libspawn_err err = { 0 };
    char *json = NULL;

    assert_ok(libspawn_guest_config_to_json(config, &json, &err), &err);
    return json;
}

/* Gives every member, also of items, a value of its own. */
static void
fill(const struct libspawn__record *record, void *owner, unsigned int *seed)
{
    size_t i;

    for (i = 0; i < record->n_fields; i++) {
        const struct libspawn__field *field = &record->fields[i];
        void *at = libspawn__field_in(field, owner);
        char **strings;

        ++*seed;
        switch (field->kind) {
        case LIBSPAWN__FIELD_BOOL:
            *(bool *)at = true;
            break;
        case LIBSPAWN__FIELD_CHOICE:
            *(uint32_t *)at = 1 + *seed % 2;
            break;
        case LIBSPAWN__FIELD_I32:
            *(int32_t *)at = -(int32_t)*seed;
            break;
        case LIBSPAWN__FIELD_U32:
            *(uint32_t *)at = UINT32_MAX - *seed;
            break;
        case LIBSPAWN__FIELD_U64:
            *(uint64_t *)at = (uint64_t)INT64_MAX - *seed;
            break;
        case LIBSPAWN__FIELD_WORD:
            *(uint32_t *)at = (uint32_t)field->words->n_words - 1;
            break;
        case LIBSPAWN__FIELD_STRING:
            *(char **)at = libspawn__str_format("text %u \"\\\n", *seed);
            break;
        case LIBSPAWN__FIELD_STRINGS:
            strings = calloc(3, sizeof *strings);
            strings[0] = strdup("");
            strings[1] = libspawn__str_format("item %u", *seed);
            *(char ***)at = strings;
            libspawn__field_set_count(field, owner, 2);
            break;
        case LIBSPAWN__FIELD_RECORD:
            fill(field->record, at, seed);
            break;
        case LIBSPAWN__FIELD_RECORDS:
            *(void **)at = calloc(2, field->record->size);
            libspawn__field_set_count(field, owner, 2);
            fill(field->record, *(char **)at, seed);
            fill(field->record, *(char **)at + field->record->size, seed);
            break;
        }
    }
}

TEST(config_with_every_member_set__comes_back_the_same_from_json)
{
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };
    AUTO_CONFIG struct libspawn_guest_config copy = { 0 };
    AUTO_FREE char *json = NULL;
    AUTO_FREE char *json_again = NULL;
    struct libspawn_err err = { 0 };
    unsigned int seed = 0;

    fill(&libspawn__record_guest_config, &config, &seed);
    json = to_json(&config);
    assert_ok(libspawn_guest_config_from_json(json, &copy, &err), &err);
    json_again = to_json(&copy);
    ck_assert_str_eq(json, json_again);
    assert_contains(json, "\"text 1 \\\"\\\\\\n\"");
    ck_assert_uint_eq(copy.memory_mib, config.memory_mib);
    ck_assert_int_eq(copy.rtc_timeoffset, config.rtc_timeoffset);
    ck_assert_str_eq(copy.nics[1].ip, config.nics[1].ip);
    ck_assert_str_eq(copy.serials[1], config.serials[1]);
    ck_assert_ptr_null(copy.serials[2]);
}

TEST(config_of_defaults__is_an_empty_object)
{
    struct libspawn_guest_config config;
    AUTO_FREE char *json = NULL;

    libspawn_guest_config_init(&config);
    json = to_json(&config);
    ck_assert_uint_eq(strspn(json, "{} \n"), strlen(json));
}

TEST(config_json_with_unknown_members__is_read)
{
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };
    struct libspawn_err err = { 0 };

    assert_ok(libspawn_guest_config_from_json(
                  "{\"name\": \"a\", \"future\": [1, {}], \"vnc\": {\"x\": 1},"
                  " \"disks\": [{\"y\": null}]}", &config, &err), &err);
    ck_assert_str_eq(config.name, "a");
    ck_assert_uint_eq(config.n_disks, 1);
    ck_assert_uint_eq(config.vcpus, 1);
}

static void
assert_refused(const char *json, int code, const char *sentence)
{
    struct libspawn_guest_config config = { .vcpus = 42 };
    struct libspawn_err err = { 0 };

    assert_code(libspawn_guest_config_from_json(json, &config, &err), code);
    assert_contains(err.text, sentence);
    ck_assert_uint_eq(config.vcpus, 42);
}

TEST(config_json_with_members_of_a_wrong_type__is_refused)
{
    static const struct {
        const char *json;
        const char *sentence;
    } cases[] = {
        { "{\"name\": 5}", "member 'name' is not a string" },
        { "{\"name\": null}", "member 'name' is not a string" },
        { "{\"vcpus\": \"1\"}", "member 'vcpus' is not an integer" },
        { "{\"vcpus\": 1.5}", "member 'vcpus' is not an integer" },
        { "{\"vcpus\": -1}", "member 'vcpus' is not within its range" },
        { "{\"vcpus\": 4294967296}", "member 'vcpus' is not within" },
        { "{\"rtc_timeoffset\": 2147483648}", "'rtc_timeoffset' is not" },
        { "{\"memory_mib\": -5}", "member 'memory_mib' is not within" },
        { "{\"acpi\": 1}", "member 'acpi' is not true or false" },
        { "{\"type\": \"vm\"}", "member 'type' cannot be 'vm'" },
        { "{\"type\": 1}", "member 'type' is not a string" },
        { "{\"serials\": \"pty\"}", "member 'serials' is not an array" },
        { "{\"serials\": [1]}", "'serials' is not an array of strings" },
        { "{\"disks\": {}}", "member 'disks' is not an array" },
        { "{\"disks\": [\"x\"]}", "'disks' is not an array of objects" },
        { "{\"disks\": [{\"is_cdrom\": 1}]}", "'is_cdrom' is not true or" },
        { "{\"vnc\": 1}", "member 'vnc' is not an object" },
        { "[]", "a configuration is a JSON object" },
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_refused(cases[i].json, LIBSPAWN_ERR_INVALID, cases[i].sentence);
    }
}

TEST(config_json_that_is_none__is_refused)
{
    assert_refused("{\"name\": ", LIBSPAWN_ERR_PROTOCOL, "");
    assert_refused("", LIBSPAWN_ERR_PROTOCOL, "");
}

/* ---- Life -------------------------------------------------------------- */

TEST(config_disposed_twice__is_harmless)
{
    struct libspawn_guest_config config;
    unsigned int seed = 0;

    libspawn_guest_config_init(&config);
    libspawn_guest_config_dispose(&config);
    fill(&libspawn__record_guest_config, &config, &seed);
    libspawn_guest_config_dispose(&config);
    libspawn_guest_config_dispose(&config);
    ck_assert_ptr_null(config.disks);
}

TEST(config_check__names_the_key_and_the_item_at_fault)
{
    struct libspawn_disk disks[] = {
        { .target = strdup("/a"), .vdev = strdup("hda") },
        { .target = strdup("/b"), .vdev = strdup("hda") },
    };
    struct libspawn_guest_config config;
    struct libspawn__config_fault fault = { NULL, 0 };

    libspawn_guest_config_init(&config);
    config.name = strdup("a");
    config.disks = malloc(sizeof disks);
    memcpy(config.disks, disks, sizeof disks);
    config.n_disks = 2;
    assert_code(libspawn__guest_config_check(&config, &fault, NULL),
                LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(fault.key, "disk");
    ck_assert_uint_eq(fault.index, 1);
    libspawn_guest_config_dispose(&config);
}

/* Only the device model's own end is a matter for a script, which must have a
 * name. */
TEST(config_check__refuses_a_script_where_there_can_be_none)
{
    struct libspawn_guest_config config;
    struct libspawn__config_fault fault = { NULL, 0 };

    libspawn_guest_config_init(&config);
    config.name = strdup("a");
    config.on_watchdog = LIBSPAWN_ACTION_SCRIPT;
    assert_code(libspawn__guest_config_check(&config, &fault, NULL),
                LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(fault.key, "on_watchdog");
    config.on_watchdog = LIBSPAWN_ACTION_DEFAULT;
    config.on_dm_crash = LIBSPAWN_ACTION_SCRIPT;
    assert_code(libspawn__guest_config_check(&config, &fault, NULL),
                LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(fault.key, "on_dm_crash");
    config.on_dm_crash_script = strdup("/bin/true");
    assert_ok(libspawn__guest_config_check(&config, &fault, NULL), NULL);
    libspawn_guest_config_dispose(&config);
}

TEST(config_text_that_is_not_utf8__fails_the_check)
{
    AUTO_CONFIG struct libspawn_guest_config config;
    struct libspawn_err err = { 0 };

    libspawn_guest_config_init(&config);
    config.name = strdup("a");
    config.nics = calloc(1, sizeof *config.nics);
    config.n_nics = 1;
    config.nics[0].script = strdup("\xff");
    assert_code(libspawn_guest_config_check(&config, &err),
                LIBSPAWN_ERR_INVALID);
    ck_assert_str_eq(err.text, "'nics' is not UTF-8");
}

TEST(cpu_sets__are_told_from_other_text)
{
    static const char *const good[] = { "0",       "0-3",          "all",
                                        "0-3,^1",  "nodes:0-1,^7", "node:1",
                                        "all,^2-4", "1,2,3" };
    static const char *const bad[] = { "",    ",",    "1,",     "-1",
                                       "1-",  "a",    "^all",   "1;2",
                                       "all1", "123456", "nodes:", "1 2" };
    size_t i;

    for (i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert(libspawn__cpu_set_is_valid(good[i]));
    }
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert(!libspawn__cpu_set_is_valid(bad[i]));
    }
}

TEST_MAIN("config")
