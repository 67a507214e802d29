/*
 * The typed configuration described as data: which members its structures
 * have, of which kind, and by which words its enums are written.  Disposal,
 * JSON and the search for text that is not UTF-8 walk over these tables, so
 * that a new member is one new line here.
 *
 * It knows no rule about values: those are in guest/config.c.  Member names
 * are those of JSON and stay as they are for ever.
 */
#ifndef LIBSPAWN_GUEST_CONFIG_FIELDS_H
#define LIBSPAWN_GUEST_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "include/libspawn-guest.h"

/* The words of an enum by its value; NULL where a value has none, which is
 * the one that stands for "default". */
struct libspawn__words {
    const char *const *words;
    size_t n_words;
};

extern const struct libspawn__words libspawn__words_guest_type;
extern const struct libspawn__words libspawn__words_disk_format;
extern const struct libspawn__words libspawn__words_nic_net;
extern const struct libspawn__words libspawn__words_action;
extern const struct libspawn__words libspawn__words_dm_action;
extern const struct libspawn__words libspawn__words_accel;

/* NULL for a value without a word. */
const char *libspawn__words_name(const struct libspawn__words *words,
                                 unsigned int value);
bool libspawn__words_find(const struct libspawn__words *words,
                          const char *word, unsigned int *value_r);

enum libspawn__field_kind {
    LIBSPAWN__FIELD_BOOL,
    LIBSPAWN__FIELD_CHOICE, /* enum libspawn_choice; a boolean in JSON */
    LIBSPAWN__FIELD_I32,
    LIBSPAWN__FIELD_U32,
    LIBSPAWN__FIELD_U64,
    LIBSPAWN__FIELD_WORD,    /* an enum with 'words' */
    LIBSPAWN__FIELD_STRING,  /* char *, owned */
    LIBSPAWN__FIELD_STRINGS, /* char **, owned; ends with NULL */
    LIBSPAWN__FIELD_RECORD,  /* a structure inside, of 'record' */
    LIBSPAWN__FIELD_RECORDS  /* an owned array of 'record' */
};

struct libspawn__record;

struct libspawn__field {
    const char *name;
    enum libspawn__field_kind kind;
    size_t offset;
    size_t count_offset; /* of the size_t, for STRINGS and RECORDS */
    const struct libspawn__words *words;
    const struct libspawn__record *record;
};

struct libspawn__record {
    size_t size;
    const struct libspawn__field *fields;
    size_t n_fields;
};

extern const struct libspawn__record libspawn__record_disk;
extern const struct libspawn__record libspawn__record_nic;
extern const struct libspawn__record libspawn__record_vnc;
extern const struct libspawn__record libspawn__record_guest_config;

/* Where the member is in the structure 'owner'. */
static inline void *
libspawn__field_in(const struct libspawn__field *field, void *owner)
{
    return (char *)owner + field->offset;
}

static inline const void *
libspawn__field_of(const struct libspawn__field *field, const void *owner)
{
    return (const char *)owner + field->offset;
}

static inline size_t
libspawn__field_count(const struct libspawn__field *field, const void *owner)
{
    return *(const size_t *)(const void *)((const char *)owner +
                                           field->count_offset);
}

static inline void
libspawn__field_set_count(const struct libspawn__field *field, void *owner,
                          size_t count)
{
    *(size_t *)(void *)((char *)owner + field->count_offset) = count;
}

/* Frees what the structure 'owner' owns and zeroes it. */
void libspawn__record_dispose(const struct libspawn__record *record,
                              void *owner);

#endif
