/*
 * The typed configuration as the stock toolstack writes it: what it keeps
 * beside each domain ("userdata", name libxl-json) and what `xl list -l`
 * prints under "config".  Without it the stock tools skip a domain.
 *
 * Only written, never read: guest/config_json.c has our own form.  What the
 * stock form has no word for (accel, a nic's net, start_timeout) is left out,
 * and CPU affinity, which there needs the host's topology.
 *
 * Knowledge: tools/libs/light/libxl_types.idl of Xen 4.17; the parser is
 * libxl_domain_config_from_json.
 */
#ifndef LIBSPAWN_GUEST_LIBXL_JSON_H
#define LIBSPAWN_GUEST_LIBXL_JSON_H

#include "include/libspawn-guest.h"
#include "wire/json.h"

/* The text of the userdata file of a configuration that passed the check; the
 * caller frees it.  It goes into the file with its NUL, because libxl reads
 * the file as a string. */
int libspawn__guest_config_to_libxl_json(
    const struct libspawn_guest_config *config, char **json_r,
    struct libspawn_err *err);

/* The same as one value of a larger document. */
void
libspawn__guest_config_put_libxl(struct libspawn__json_writer *writer,
                                 const char *key,
                                 const struct libspawn_guest_config *config);

#endif
