#include "xl/cfg_set.h"

#include <string.h>

#include "guest/config_fields.h"

static void *
member(const struct xl__cfg_reader *reader, const struct xl__cfg_key *key)
{
    return (char *)reader->config + key->offset;
}

/* ---- Values ------------------------------------------------------------ */

int
xl__cfg_get_text(const struct xl__cfg_reader *reader,
                 const struct xl__cfg_key *key,
                 const struct xl__cfg_setting *setting, const char **text_r)
{
    *text_r = xl__cfg_text(&setting->value);
    if (!*text_r) {
        return xl__cfg_fail(reader->err, &setting->value.place,
                            "'%s' must be one value, not a list", key->name);
    }
    return 0;
}

/* As the stock xl: decimal, octal or hexadecimal, in quotes or not. */
int
xl__cfg_get_number(const struct xl__cfg_reader *reader,
                   const struct xl__cfg_key *key,
                   const struct xl__cfg_setting *setting, int64_t *number_r)
{
    const struct xl__cfg_place *place = &setting->value.place;
    const char *text;
    long long number;
    char *end;
    int rc;

    rc = xl__cfg_get_text(reader, key, setting, &text);
    if (rc) {
        return rc;
    }
    if (setting->is_sum) {
        return xl__cfg_fail(reader->err, place,
                            "'%s' is a number: += is for strings and lists",
                            key->name);
    }
    errno = 0;
    number = strtoll(text, &end, 0);
    if ((end == text || *end) && key->min == INT64_MIN) {
        return xl__cfg_fail(reader->err, place,
                            "'%s' must be 0 or 1, not '%.40s'", key->name,
                            text);
    }
    if (end == text || *end) {
        return xl__cfg_fail(reader->err, place,
                            "'%s' must be a number, not '%.40s'", key->name,
                            text);
    }
    if (errno || number < key->min || number > key->max) {
        return xl__cfg_fail(
            reader->err, place, "'%s' must be from %lld to %lld, not %.40s",
            key->name, (long long)key->min, (long long)key->max, text);
    }
    *number_r = number;
    return 0;
}

/* Copies the items of a list, or a single value, into 'list'. */
int
xl__cfg_get_strings(const struct xl__cfg_reader *reader,
                    const struct xl__cfg_key *key,
                    const struct xl__cfg_value *value,
                    struct libspawn__strv *list)
{
    const char *text = xl__cfg_text(value);
    size_t i;
    int rc;

    if (text) {
        return libspawn__strv_add(list, text, reader->err);
    }
    for (i = 0; i < value->n_items; i++) {
        text = xl__cfg_text(&value->items[i]);
        if (!text) {
            return xl__cfg_fail(reader->err, &value->items[i].place,
                                "'%s' must be a list of strings, not of lists",
                                key->name);
        }
        rc = libspawn__strv_add(list, text, reader->err);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

int
xl__cfg_fail_words(const struct xl__cfg_reader *reader,
                   const struct xl__cfg_key *key,
                   const struct xl__cfg_setting *setting, const char *text)
{
    AUTO_BUF struct libspawn__buf list = { 0 };
    const char *separator = "";
    size_t i;

    for (i = 0; i < key->words->n_words; i++) {
        if (key->words->words[i]) {
            libspawn__buf_printf(&list, "%s%s", separator,
                                 key->words->words[i]);
            separator = ", ";
        }
    }
    if (list.failed) {
        return libspawn__fail_nomem(reader->err);
    }
    return xl__cfg_fail(reader->err, &setting->value.place,
                        "'%s' must be one of %s; not '%.40s'", key->name,
                        list.data, text);
}

/* ---- Setters ----------------------------------------------------------- */

int
xl__cfg_set_string(const struct xl__cfg_reader *reader,
                   const struct xl__cfg_key *key,
                   const struct xl__cfg_setting *setting)
{
    const char *text;
    unsigned int value;
    int rc;

    rc = xl__cfg_get_text(reader, key, setting, &text);
    if (rc) {
        return rc;
    }
    if (key->words && !libspawn__words_find(key->words, text, &value)) {
        return xl__cfg_fail_words(reader, key, setting, text);
    }
    return libspawn__str_assign(member(reader, key), *text ? text : NULL,
                                reader->err);
}

int
xl__cfg_set_u32(const struct xl__cfg_reader *reader,
                const struct xl__cfg_key *key,
                const struct xl__cfg_setting *setting)
{
    int64_t number;
    int rc = xl__cfg_get_number(reader, key, setting, &number);

    if (!rc) {
        *(uint32_t *)member(reader, key) = (uint32_t)number;
    }
    return rc;
}

int
xl__cfg_set_i32(const struct xl__cfg_reader *reader,
                const struct xl__cfg_key *key,
                const struct xl__cfg_setting *setting)
{
    int64_t number;
    int rc = xl__cfg_get_number(reader, key, setting, &number);

    if (!rc) {
        *(int32_t *)member(reader, key) = (int32_t)number;
    }
    return rc;
}

int
xl__cfg_set_u64(const struct xl__cfg_reader *reader,
                const struct xl__cfg_key *key,
                const struct xl__cfg_setting *setting)
{
    int64_t number;
    int rc = xl__cfg_get_number(reader, key, setting, &number);

    if (!rc) {
        *(uint64_t *)member(reader, key) = (uint64_t)number;
    }
    return rc;
}

int
xl__cfg_set_seconds(const struct xl__cfg_reader *reader,
                    const struct xl__cfg_key *key,
                    const struct xl__cfg_setting *setting)
{
    int64_t number;
    int rc = xl__cfg_get_number(reader, key, setting, &number);

    if (!rc) {
        *(uint32_t *)member(reader, key) = (uint32_t)number * 1000;
    }
    return rc;
}

int
xl__cfg_set_choice(const struct xl__cfg_reader *reader,
                   const struct xl__cfg_key *key,
                   const struct xl__cfg_setting *setting)
{
    int64_t number;
    int rc = xl__cfg_get_number(reader, key, setting, &number);

    if (!rc) {
        *(enum libspawn_choice *)member(reader, key) =
            number ? LIBSPAWN_CHOICE_YES : LIBSPAWN_CHOICE_NO;
    }
    return rc;
}

int
xl__cfg_set_word(const struct xl__cfg_reader *reader,
                 const struct xl__cfg_key *key,
                 const struct xl__cfg_setting *setting)
{
    const char *text;
    unsigned int value;
    int rc;

    rc = xl__cfg_get_text(reader, key, setting, &text);
    if (rc) {
        return rc;
    }
    if (!libspawn__words_find(key->words, text, &value)) {
        return xl__cfg_fail_words(reader, key, setting, text);
    }
    *(unsigned int *)member(reader, key) = value;
    return 0;
}

static void
give_strings(const struct xl__cfg_reader *reader,
             const struct xl__cfg_key *key, struct libspawn__strv *list)
{
    *(char ***)member(reader, key) = list->items;
    *(size_t *)(void *)((char *)reader->config + key->count_offset) =
        list->n_items;
    memset(list, 0, sizeof *list);
}

/* A list, or one string in place of a list of one. */
int
xl__cfg_set_string_or_strings(const struct xl__cfg_reader *reader,
                              const struct xl__cfg_key *key,
                              const struct xl__cfg_setting *setting)
{
    AUTO_STRV struct libspawn__strv list = { 0 };
    int rc = xl__cfg_get_strings(reader, key, &setting->value, &list);

    if (!rc) {
        give_strings(reader, key, &list);
    }
    return rc;
}

int
xl__cfg_set_strings(const struct xl__cfg_reader *reader,
                    const struct xl__cfg_key *key,
                    const struct xl__cfg_setting *setting)
{
    if (!setting->value.is_list) {
        return xl__cfg_fail(reader->err, &setting->value.place,
                            "'%s' must be a list of strings", key->name);
    }
    return xl__cfg_set_string_or_strings(reader, key, setting);
}

/* A list, or one string that blanks divide, as once usual. */
int
xl__cfg_set_words(const struct xl__cfg_reader *reader,
                  const struct xl__cfg_key *key,
                  const struct xl__cfg_setting *setting)
{
    AUTO_STRV struct libspawn__strv list = { 0 };
    const char *text = xl__cfg_text(&setting->value);
    int rc = 0;

    if (!text) {
        return xl__cfg_set_strings(reader, key, setting);
    }
    for (text += strspn(text, " \t\n"); !rc && *text;) {
        size_t len = strcspn(text, " \t\n");

        rc = libspawn__strv_addf(&list, reader->err, "%.*s", (int)len, text);
        text += len;
        text += strspn(text, " \t\n");
    }
    if (!rc) {
        give_strings(reader, key, &list);
    }
    return rc;
}

/* Has its turn with the keys that it is combined with, below. */
int
xl__cfg_set_later(const struct xl__cfg_reader *reader,
                  const struct xl__cfg_key *key,
                  const struct xl__cfg_setting *setting)
{
    const char *text;

    return xl__cfg_get_text(reader, key, setting, &text);
}
