/*
 * Arguments of monitor commands about the VNC display.
 */
#ifndef LIBSPAWN_DM_VNC_H
#define LIBSPAWN_DM_VNC_H

/* Those of "set_password", as JSON text that the caller frees; NULL without
 * memory.  A password goes over the monitor, so that it never stands in the
 * process list. */
char *libspawn__dm_vnc_password(const char *password);

#endif
