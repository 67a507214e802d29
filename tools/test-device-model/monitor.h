/*
 * The QMP connections: every "-mon chardev=ID,mode=control" with a
 * "-chardev socket,id=ID,...", which is "fd=N" or "path=PATH", and a listener
 * with "server=on", else one client that is connected already.
 *
 * As with QEMU a monitor has one client at a time; the next one waits in the
 * listener's queue.  What is spoken is machine.h's, unless the options ask for
 * silence or rubbish.
 */
#ifndef TOOLS_TEST_DEVICE_MODEL_MONITOR_H
#define TOOLS_TEST_DEVICE_MODEL_MONITOR_H

#include "loop/loop.h"
#include "tools/test-device-model/machine.h"

struct monitors;

/* Opens the listeners; nobody is served yet. */
int monitors_open(struct libspawn__loop *loop, const struct options *options,
                  struct machine *machine, struct monitors **monitors_r,
                  struct libspawn_err *err);
void monitors_close(struct monitors *monitors);

int monitors_serve(struct monitors *monitors, struct libspawn_err *err);

/* Drops every client; the next ones are served. */
void monitors_hang_up(struct monitors *monitors);

/* Sends a line to every client that has negotiated. */
void monitors_send_event(struct monitors *monitors, const char *line);

#endif
