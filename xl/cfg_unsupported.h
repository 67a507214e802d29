/*
 * Keys that the stock xl knows and that have no effect here; and the key that
 * somebody meant who wrote an unknown one.
 */
#ifndef XL_CFG_UNSUPPORTED_H
#define XL_CFG_UNSUPPORTED_H

#include "xl/cfg_parse.h"

/* Warns of a setting whose key is none of xl/cfg_keys.h. */
int xl__cfg_warn_unsupported(const struct xl__cfg_setting *setting,
                             struct libspawn__strv *warnings,
                             struct libspawn_err *err);

/* The i-th such key in alphabetical order; NULL past the last. */
const char *xl__cfg_unsupported_name(size_t i);

#endif
