/*
 * One entry of 'pci' as xl.cfg writes it:
 *
 *     0000:01:00.0|0000:02:00.0,permissive=1
 *
 * Knowledge: xl-pci-configuration(5); "|" and "class:CCCC#N" are our own
 * (guest/pci_address.h).
 */
#ifndef XL_CFG_PCI_H
#define XL_CFG_PCI_H

#include "base/str.h"
#include "xl/cfg_parse.h"

/* Adds the devices of the entry to 'list', without what has no effect here. */
int xl__cfg_pci_parse(const char *text, const struct xl__cfg_place *place,
                      struct libspawn__strv *list,
                      struct libspawn__strv *warnings,
                      struct libspawn_err *err);

#endif
