/*
 * Parts that are loaded only where they are needed, so that the same program
 * runs where their libraries are missing: libspawn-xen.so, libspawn-png.so.
 */
#ifndef LIBSPAWN_GUEST_PLUGIN_H
#define LIBSPAWN_GUEST_PLUGIN_H

#include "base/err.h"

/* Loads the plugin with this file name from beside the program (../lib,
 * ../lib/libspawn); *handle_r is for dlclose.  LIBSPAWN_ERR_UNSUPPORTED when
 * it, or a library that it needs, is not installed. */
int libspawn__plugin_open(const char *file, void **handle_r,
                          struct libspawn_err *err);

#endif
