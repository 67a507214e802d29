/*
 * One disk as xl.cfg writes it, in any mixture of
 *
 *     [PREFIX:]TARGET,[FORMAT],VDEV[:DEVTYPE],[ACCESS]     by position
 *     format=qcow2,vdev=hda,access=rw,target=/a/b,c.img    by name
 *
 * A name may stand anywhere; positions are counted among what has none.
 * 'target=' takes all that follows, commas too.  The old prefixes (phy:,
 * file:, tap:aio:, qcow2:, ...) are accepted; behind one, no format stands.
 *
 * Knowledge: xl-disk-configuration(5); tools/libs/util/libxlu_disk_l.l in the
 * Xen tree.
 */
#ifndef XL_CFG_DISK_H
#define XL_CFG_DISK_H

#include "include/libspawn-guest.h"
#include "xl/cfg_parse.h"

/* Fills '*disk', which is zeroed; on failure too it must be disposed of with
 * the configuration it belongs to.  'place' is where 'text' stands. */
int xl__cfg_disk_parse(const char *text, const struct xl__cfg_place *place,
                       struct libspawn_disk *disk, struct libspawn_err *err);

#endif
