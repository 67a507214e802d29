/*
 * A screen's picture as PNG, for a QEMU that can only write PPM: the content
 * of libspawn-png.so, and the only file pair that includes libpng.
 */
#ifndef LIBSPAWN_GUEST_PNG_PICTURE_H
#define LIBSPAWN_GUEST_PNG_PICTURE_H

#include "base/err.h"

/* Reads a binary PPM of at most 16,384 by 16,384 pixels and 8 bits a colour
 * from 'ppm' (of 'size' bytes) and writes it as PNG to the descriptor 'fd',
 * which stays open.  Anything else is LIBSPAWN_ERR_PROTOCOL: the picture comes
 * from a device model. */
typedef int libspawn__picture_write_png_fn(const char *ppm, size_t size,
                                           int fd, struct libspawn_err *err);

__attribute__((visibility("default"))) libspawn__picture_write_png_fn
    libspawn__picture_write_png;

#define LIBSPAWN__PICTURE_PLUGIN "libspawn-png.so"
#define LIBSPAWN__PICTURE_SYMBOL "libspawn__picture_write_png"

#endif
