/*
 * How the value of one setting becomes one member of the typed configuration:
 * the setters that the table of xl/cfg_keys.c is made of.
 *
 * All take the reader, the key's row and its setting, and return 0 or an
 * error that names the place of the value.
 */
#ifndef XL_CFG_SET_H
#define XL_CFG_SET_H

#include "include/libspawn-guest.h"
#include "xl/cfg_parse.h"

struct xl__cfg_reader {
    const struct xl__cfg *cfg;
    struct libspawn_guest_config *config;
    struct libspawn__strv *warnings; /* may be NULL */
    struct libspawn_err *err;
};

struct libspawn__words;
struct xl__cfg_key;

typedef int xl__cfg_set_fn(const struct xl__cfg_reader *reader,
                           const struct xl__cfg_key *key,
                           const struct xl__cfg_setting *setting);

struct xl__cfg_key {
    const char *name;
    xl__cfg_set_fn *set;
    size_t offset;       /* of the member, */
    size_t count_offset; /* and of its count when it is a list */
    int64_t min, max;    /* of a number */
    const struct libspawn__words *words; /* of an enum, or of a string that
                                            must be one of some */
};

/* ---- Values ------------------------------------------------------------ */

/* The value as one text; a list is an error. */
int xl__cfg_get_text(const struct xl__cfg_reader *reader,
                     const struct xl__cfg_key *key,
                     const struct xl__cfg_setting *setting,
                     const char **text_r);

/* As the stock xl reads numbers: decimal, octal or hexadecimal, in quotes or
 * not; but within the bounds of 'key'. */
int xl__cfg_get_number(const struct xl__cfg_reader *reader,
                       const struct xl__cfg_key *key,
                       const struct xl__cfg_setting *setting,
                       int64_t *number_r);

/* Adds the items of a list, or a single value, to 'list'. */
int xl__cfg_get_strings(const struct xl__cfg_reader *reader,
                        const struct xl__cfg_key *key,
                        const struct xl__cfg_value *value,
                        struct libspawn__strv *list);

/* The error of a value that is none of the key's words. */
int xl__cfg_fail_words(const struct xl__cfg_reader *reader,
                       const struct xl__cfg_key *key,
                       const struct xl__cfg_setting *setting,
                       const char *text);

/* ---- Setters ----------------------------------------------------------- */

xl__cfg_set_fn xl__cfg_set_string; /* "" becomes NULL */
xl__cfg_set_fn xl__cfg_set_u32;
xl__cfg_set_fn xl__cfg_set_i32;
xl__cfg_set_fn xl__cfg_set_u64;
xl__cfg_set_fn xl__cfg_set_seconds; /* a uint32_t in milliseconds */
xl__cfg_set_fn xl__cfg_set_choice;  /* 0 is no, any other number yes */
xl__cfg_set_fn xl__cfg_set_word;    /* an enum of 'words' */

/* A list of strings; or also one string, meaning a list of one; or also one
 * string that blanks divide, as once usual. */
xl__cfg_set_fn xl__cfg_set_strings;
xl__cfg_set_fn xl__cfg_set_string_or_strings;
xl__cfg_set_fn xl__cfg_set_words;

/* Nothing but a check that it is no list: xl/cfg_combine.h does the rest. */
xl__cfg_set_fn xl__cfg_set_later;

#endif
