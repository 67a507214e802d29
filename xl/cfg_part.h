/*
 * The parts of a device's description: "NAME=VALUE,FLAG,...", as in the items
 * of 'vif' and 'vfb'.  Blanks around a part are no part of it; empty parts
 * are skipped.
 */
#ifndef XL_CFG_PART_H
#define XL_CFG_PART_H

#include "base/str.h"

struct xl__cfg_part {
    char *name;  /* owned */
    char *value; /* behind the first "=" inside 'name's memory; NULL: none */
};

/* Reads the part at '*at' and moves '*at' behind it and its comma; '*more_r'
 * says whether there was one.  'part' was zeroed or used before. */
int xl__cfg_part_next(const char **at, struct xl__cfg_part *part, bool *more_r,
                      struct libspawn_err *err);
void xl__cfg_part_dispose(struct xl__cfg_part *part);

#endif
