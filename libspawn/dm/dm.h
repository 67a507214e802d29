/*
 * A device model: a child that speaks QMP.
 *
 *   start --> (exec) --> connect --> greeting --> query-status --> READY
 *                 \__________\___________\______________\_______.
 *                                                               v
 *                                                             ENDED
 *
 * The monitor's socket is bound and listened on by us before anything runs;
 * the listening end travels to the device model.  So there is no connecting
 * in a loop, and its death is the end of the stream.
 *
 * A device model whose monitor waits for us ("wait=on") is held there: its
 * program is loaded while its caller still prepares what it will look at.
 *
 * QEMU serves one client at a time: as long as a struct libspawn__dm exists
 * its connection is the one served.
 */
#ifndef LIBSPAWN_DM_DM_H
#define LIBSPAWN_DM_DM_H

#include "include/libspawn.h"
#include "loop/loop.h"
#include "wire/qmp.h"

struct libspawn__dm;

/* The child's descriptors by number: QMP, then one per serial port; and where
 * it may open nothing itself, kernel, ramdisk, one per tap interface, and two
 * per disk, the second for reading only. */
enum {
    LIBSPAWN__DM_QMP_FD = 3,
    LIBSPAWN__DM_SERIAL_FD = 4,
    LIBSPAWN__DM_SERIALS_MAX = 4,
    LIBSPAWN__DM_KERNEL_FD = 8,
    LIBSPAWN__DM_RAMDISK_FD = 9,
    LIBSPAWN__DM_NIC_FD = 10,
    LIBSPAWN__DM_NICS_MAX = 32,
    LIBSPAWN__DM_DISK_FD = 42,
    LIBSPAWN__DM_DISKS_MAX = 64
};

/* Disk I is this number and I among QEMU's sets of descriptors; the low ones
 * are for commands. */
#define LIBSPAWN__DM_DISK_SET 100u

/* Between SIGTERM and SIGKILL: QEMU may have disks to flush. */
enum { LIBSPAWN__DM_STOP_MS = 10000 };

enum libspawn__dm_event {
    LIBSPAWN__DM_READY, /* its monitor answers; recorded as running */
    LIBSPAWN__DM_ENDED  /* see the report; once, and last */
};

typedef void libspawn__dm_fn(void *user, enum libspawn__dm_event event);

/* Starts what 'plan' says; the plan's arguments must contain a QMP server on
 * descriptor LIBSPAWN__DM_QMP_FD.  Adds to the plan the descriptor and the
 * condition of readiness, which cannot hold before libspawn__dm_connect.  The
 * socket at 'qmp_path' (mode 0600) is removed when this fails, and else when
 * the device model has ended. */
int libspawn__dm_start(struct libspawn_ctx *ctx, struct libspawn_plan *plan,
                       const char *qmp_path, libspawn__dm_fn *fn, void *user,
                       struct libspawn__dm **dm_r, struct libspawn_err *err);

/* Connects to its monitor, once; the plan's time for the start begins now. */
int libspawn__dm_connect(struct libspawn__dm *dm, struct libspawn_err *err);

/* Ends it unless it was released; no event follows.  NULL is fine. */
void libspawn__dm_free(struct libspawn__dm *dm);

/* NULL before libspawn__dm_connect. */
struct libspawn__qmp *libspawn__dm_qmp(const struct libspawn__dm *dm);
struct libspawn_child *libspawn__dm_child(const struct libspawn__dm *dm);

#endif
