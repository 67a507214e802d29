/*
 * The ways a device model says that it is ready: a node of a store, as QEMU
 * does under Xen, and a newline on a descriptor.
 */
#ifndef TOOLS_TEST_DEVICE_MODEL_ANNOUNCE_H
#define TOOLS_TEST_DEVICE_MODEL_ANNOUNCE_H

#include "tools/test-device-model/options.h"

/* Blocks until all who were asked for have been told.  Under Xen the node is
 * written by xenstore-write, and not at all where that is missing. */
int announce_ready(const struct options *options, struct libspawn_err *err);

#endif
