/*
 * Keys of xl.cfg that mean something only together: builder and type; root,
 * extra and cmdline; kernel of an HVM guest; bios and firmware; vga and
 * stdvga; vnclisten and vncdisplay.
 */
#ifndef XL_CFG_COMBINE_H
#define XL_CFG_COMBINE_H

#include "xl/cfg_set.h"

/* After every key had its own setter. */
int xl__cfg_combine(const struct xl__cfg_reader *reader);

#endif
