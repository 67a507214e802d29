/*
 * Parts that are loaded only where they are needed, so that the same program
 * runs where their libraries are missing, and no command loads more than it
 * uses: libspawn-xen.so, libspawn-xen-build.so, libspawn-png.so.
 */
#ifndef LIBSPAWN_GUEST_PLUGIN_H
#define LIBSPAWN_GUEST_PLUGIN_H

#include "base/err.h"

/* Loads the plugin with this file name, from beside the program (../lib,
 * ../lib/libspawn) or from where it is installed (LIBDIR/libspawn), for good:
 * *handle_r is for dlsym.  LIBSPAWN_ERR_UNSUPPORTED when it, or a library that
 * it needs, is not installed, or lacks a symbol that the plugin itself needs.
 */
int libspawn__plugin_open(const char *file, void **handle_r,
                          struct libspawn_err *err);

#endif
