/*
 * The keys of xl.cfg: which there are, of which type, and which member of the
 * typed configuration each one sets.  One table; what involves several keys
 * (root and extra, vga and stdvga, ...) follows after it.
 *
 * To add a key: a member in libspawn-guest.h, a line in
 * guest/config_fields.c, a line here, one in xl.cfg(5), and a pass and a fail
 * file in tests/cfg.
 */
#ifndef XL_CFG_KEYS_H
#define XL_CFG_KEYS_H

#include "include/libspawn-guest.h"
#include "xl/cfg_parse.h"

/* Sets the members of '*config', which is initialised, that 'cfg' has
 * settings for.  It is half set on failure. */
int xl__cfg_apply(const struct xl__cfg *cfg,
                  struct libspawn_guest_config *config,
                  struct libspawn__strv *warnings, struct libspawn_err *err);

/* The i-th supported key in alphabetical order; NULL past the last. */
const char *xl__cfg_key_name(size_t i);

#endif
