/*
 * The syntax tree of xl.cfg: settings, each a key with a value, which is an
 * atom or a list of values.  What keys there are and what they mean is no
 * matter of this file (see xl/cfg_keys.h).
 *
 *     file    := { [ setting ] ( NEWLINE | ";" ) } [ setting ]
 *     setting := NAME ( "=" | "+=" ) value
 *     value   := ATOM | "[" { NEWLINE } [ value { "," value } [ "," ] ] "]"
 *
 * Inside brackets newlines may follow "[", a value and a comma.  A later
 * setting of a key replaces an earlier one; "+=" appends to it.
 *
 * Knowledge: xl.cfg(5), section SYNTAX; tools/libs/util/libxlu_cfg_y.y in the
 * Xen tree.
 */
#ifndef XL_CFG_PARSE_H
#define XL_CFG_PARSE_H

#include "xl/cfg_lex.h"

enum {
    XL__CFG_DEPTH_MAX = 16, /* lists in lists */
    XL__CFG_SETTINGS_MAX = 1024
};

struct xl__cfg_value {
    struct xl__cfg_place place;
    bool is_list;
    struct libspawn__buf text; /* of an atom; data may be NULL when empty */
    struct xl__cfg_value *items;
    size_t n_items;
    size_t n_allocated;
};

struct xl__cfg_setting {
    char *key;
    struct xl__cfg_place place; /* of the key */
    bool is_sum;                /* made with "+=" */
    struct xl__cfg_value value;
};

/* Zeroed: no settings. */
struct xl__cfg {
    struct xl__cfg_setting *settings; /* each key once, in order of the last
                                         assignment */
    size_t n_settings;
    size_t n_allocated;
};

/* Adds the settings of 'text'.  'source', which places refer to, must outlive
 * 'cfg'.  A key that is set twice in one source is worth a warning. */
int xl__cfg_parse(struct xl__cfg *cfg, const char *source, const char *text,
                  size_t size, struct libspawn__strv *warnings,
                  struct libspawn_err *err);
void xl__cfg_dispose(struct xl__cfg *cfg);

/* NULL when there is none. */
const struct xl__cfg_setting *xl__cfg_find(const struct xl__cfg *cfg,
                                           const char *key);

/* The text of an atom, "" when it is empty; NULL for a list. */
const char *xl__cfg_text(const struct xl__cfg_value *value);

/* Adds "SOURCE:LINE: sentence"; 'warnings' may be NULL. */
int xl__cfg_warn(struct libspawn__strv *warnings,
                 const struct xl__cfg_place *place, struct libspawn_err *err,
                 const char *format, ...) LIBSPAWN__PRINTF(4, 5);

#endif
