/*
 * One network interface as xl.cfg writes it:
 *
 *     mac=00:16:3e:01:02:03,bridge=xenbr0,model=e1000,net=user
 *
 * Knowledge: xl-network-configuration(5); 'net' is our own.
 */
#ifndef XL_CFG_NIC_H
#define XL_CFG_NIC_H

#include "include/libspawn-guest.h"
#include "xl/cfg_parse.h"

/* Fills '*nic', which is zeroed; on failure too it must be disposed of with
 * the configuration it belongs to.  'place' is where 'text' stands. */
int xl__cfg_nic_parse(const char *text, const struct xl__cfg_place *place,
                      struct libspawn_nic *nic,
                      struct libspawn__strv *warnings,
                      struct libspawn_err *err);

#endif
