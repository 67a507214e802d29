/*
 * One-off commands to the monitor of a guest's device model.
 */
#ifndef LIBSPAWN_GUEST_MONITOR_H
#define LIBSPAWN_GUEST_MONITOR_H

#include "guest/hypervisor.h"
#include "wire/json.h"

/* Connects, runs one command (see libspawn__qmp_session_run), and leaves.
 * LIBSPAWN_ERR_GONE when the device model is not there any more. */
int libspawn__monitor_run(struct libspawn_host *host, uint32_t domid,
                          const char *command, const char *arguments_json,
                          int fd, struct libspawn__json **result_r,
                          struct libspawn_err *err);

/* The picture on its screen into a new PNG file. */
int libspawn__monitor_screenshot(struct libspawn_host *host, uint32_t domid,
                                 const char *path, struct libspawn_err *err);

#endif
