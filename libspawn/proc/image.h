/*
 * Opening what a guest is to use, and looking at it: disks, kernels, firmware.
 * Each call may block for as long as its disk does, so who must not block has
 * a worker do it: libspawn__worker_open_image.
 */
#ifndef LIBSPAWN_PROC_IMAGE_H
#define LIBSPAWN_PROC_IMAGE_H

#include "base/err.h"
#include "proc/worker_protocol.h"

/* 'flags' are LIBSPAWN__WORKER_IMAGE_...; what they mean is said there. */
int libspawn__image_open(const char *path, uint32_t flags,
                         struct libspawn__worker_image *image_r, int *fd_r,
                         struct libspawn_err *err);

#endif
