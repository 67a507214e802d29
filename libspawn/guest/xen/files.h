/*
 * The files of a guest: where they are, making and removing them.
 *
 *   /var/lib/xen/userdata-d.D.UUID.libxl-json      configuration, stock form
 *   /var/lib/xen/userdata-d.D.UUID.libspawn-json   configuration, ours
 *   /var/run/xen/qmp-libspawn-D                    our monitor
 *   /var/run/xen/qmp-libxl-D, qmp-libxenstat-D     the stock tools'
 *   /var/log/xen/qemu-dm-NAME.log                  log; stays
 *
 * The stock tools remove every userdata file of a domain that they destroy,
 * ours too.
 */
#ifndef LIBSPAWN_GUEST_XEN_FILES_H
#define LIBSPAWN_GUEST_XEN_FILES_H

#include "guest/xen/guest.h"

/* New paths, or NULL without memory. */
char *libspawn__xen_files_config_path(uint32_t domid, const char *uuid);
char *libspawn__xen_files_stock_config_path(uint32_t domid, const char *uuid);
char *libspawn__xen_files_libxl_config_path(uint32_t domid, const char *uuid);
char *libspawn__xen_files_qmp_path(uint32_t domid);
char *libspawn__xen_files_log_path(const char *name);

/* Writes both forms of the configuration, mode 0600; all or none. */
int libspawn__xen_files_write(const struct libspawn__xen_guest *guest,
                              struct libspawn_err *err);

/* Removes what there is of domain 'domid', but for the log. */
void libspawn__xen_files_remove(uint32_t domid);

/* The empty directory that becomes the root of a restricted device model.
 * LIBSPAWN_ERR_SYSTEM when what is there is not empty. */
char *libspawn__xen_files_root_path(uint32_t domid);
int libspawn__xen_files_make_root(uint32_t domid, struct libspawn_err *err);
void libspawn__xen_files_remove_root(uint32_t domid);

#endif
