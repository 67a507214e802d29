/*
 * From xl.cfg to the typed configuration: text -> tokens (xl/cfg_lex.h) ->
 * settings (xl/cfg_parse.h) -> members (xl/cfg_keys.h), checked.
 *
 * Errors are "SOURCE:LINE:COLUMN: sentence" where a place is to blame, else
 * "SOURCE: sentence"; warnings "SOURCE:LINE: sentence".  The first error
 * wins; warnings collected before it stay.
 */
#ifndef XL_CFG_H
#define XL_CFG_H

#include "base/str.h"
#include "include/libspawn-guest.h"

enum {
    XL__CONFIG_SIZE_MAX = 1024 * 1024
};

/* Reads the file 'path' ("-": standard input), then the 'overrides' as if
 * they were further lines, and replaces '*config', which was initialised (or
 * zeroed), by what they say.  'warnings' may be NULL.  A file over
 * XL__CONFIG_SIZE_MAX is LIBSPAWN_ERR_LIMIT, without reading all of it. */
int xl__config_load(const char *path, char *const overrides[],
                    size_t n_overrides, struct libspawn_guest_config *config,
                    struct libspawn__strv *warnings, struct libspawn_err *err);

/* The same for text that is at hand; 'source' names it. */
int xl__config_parse(const char *source, const char *text, size_t size,
                     char *const overrides[], size_t n_overrides,
                     struct libspawn_guest_config *config,
                     struct libspawn__strv *warnings,
                     struct libspawn_err *err);

#endif
