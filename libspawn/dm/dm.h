/*
 * A device model: a child that speaks QMP.
 *
 *   start --> (exec) --> connect --> greeting --> query-status --> READY
 *                 \__________\___________\______________\_______.
 *                                                               v
 *                                                             ENDED
 *
 * The sockets of its monitors are bound and listened on by us before anything
 * runs; the listening ends travel to the device model.  So there is no
 * connecting in a loop, and its death is the end of the stream.
 *
 * A device model whose monitor waits for us ("wait=on") is held there: its
 * program is loaded while its caller still prepares what it will look at.
 *
 * QEMU serves one client of a monitor at a time, and lets all others wait
 * without a word.  So it has two: ours, which is connected as long as a struct
 * libspawn__dm exists, and one at 'qmp_path' for whoever has a command.
 */
#ifndef LIBSPAWN_DM_DM_H
#define LIBSPAWN_DM_DM_H

#include "include/libspawn.h"
#include "loop/loop.h"
#include "wire/qmp.h"

struct libspawn__dm;

/* The child's descriptors by number: QMP, then one per serial port; and where
 * it may open nothing itself, kernel, ramdisk, one per tap interface, two per
 * disk, the second for reading only, and firmware: its code, and its variables
 * as a disk; and our own monitor. */
enum {
    LIBSPAWN__DM_QMP_FD = 3,
    LIBSPAWN__DM_OWN_FD = 4,
    LIBSPAWN__DM_SERIAL_FD = 5,
    LIBSPAWN__DM_SERIALS_MAX = 4,
    LIBSPAWN__DM_KERNEL_FD = 9,
    LIBSPAWN__DM_RAMDISK_FD = 10,
    LIBSPAWN__DM_NIC_FD = 11,
    LIBSPAWN__DM_NICS_MAX = 32,
    LIBSPAWN__DM_DISK_FD = 43,
    LIBSPAWN__DM_DISKS_MAX = 64,
    LIBSPAWN__DM_FIRMWARE_FD = LIBSPAWN__DM_DISK_FD +
                               2 * LIBSPAWN__DM_DISKS_MAX,
    LIBSPAWN__DM_FIRMWARE_FDS = 3
};

/* Disk I is this number and I among QEMU's sets of descriptors; the low ones
 * are for commands.  Behind the disks are code and variables of firmware. */
#define LIBSPAWN__DM_DISK_SET 100u
#define LIBSPAWN__DM_FIRMWARE_SET                                             \
    (LIBSPAWN__DM_DISK_SET + LIBSPAWN__DM_DISKS_MAX)

/* Between SIGTERM and SIGKILL: QEMU may have disks to flush. */
enum {
    LIBSPAWN__DM_STOP_MS = 10000
};

struct libspawn__dm_listener {
    void (*ready)(void *user); /* its monitor answers; recorded as running */
    void (*ended)(void *user); /* see the report; once, and last */
    /* Its monitor tells of something; 'data' may be NULL. */
    void (*told)(void *user, const char *event,
                 const struct libspawn__json *data);
    /* Once it is ready: its monitor hung up, or makes no sense, though it
     * lives; libspawn__dm_connect tries again. */
    void (*lost)(void *user, const struct libspawn_err *err);
    void *user;
};

/* Where our own monitor of a device model is, whose other one is at
 * 'qmp_path'; new, or NULL without memory. */
char *libspawn__dm_own_path(const char *qmp_path);

/* Starts what 'plan' says; the plan's arguments must contain QMP servers on
 * descriptors LIBSPAWN__DM_QMP_FD and LIBSPAWN__DM_OWN_FD.  Adds to the plan
 * the descriptors and the condition of readiness, which cannot hold before
 * libspawn__dm_connect.  The sockets (mode 0600) are removed when this fails,
 * and else when the device model has ended. */
int libspawn__dm_start(struct libspawn_ctx *ctx, struct libspawn_plan *plan,
                       const char *qmp_path,
                       const struct libspawn__dm_listener *listener,
                       struct libspawn__dm **dm_r, struct libspawn_err *err);

/* Takes one over that was started and released, by its record.  It is not
 * connected; 'ended' may be the first to come. */
int libspawn__dm_adopt(struct libspawn_ctx *ctx, const char *store_address,
                       const char *record_path, const char *qmp_path,
                       const struct libspawn__dm_listener *listener,
                       struct libspawn__dm **dm_r, struct libspawn_err *err);

/* From now on another listens; members may be NULL. */
void libspawn__dm_listen(struct libspawn__dm *dm,
                         const struct libspawn__dm_listener *listener);

/* Connects to its monitor.  The first time the plan's time for the start
 * begins; later, when it is lost or adopted, 'ready' comes as soon as it
 * answers. */
int libspawn__dm_connect(struct libspawn__dm *dm, struct libspawn_err *err);

/* The same for a program that this process becomes: the connection to its
 * monitor, borrowed, when nothing of it is under way; else -1.  And going on
 * with it, which takes it in every case; no event comes of that. */
int libspawn__dm_idle_fd(const struct libspawn__dm *dm);
int libspawn__dm_resume_monitor(struct libspawn__dm *dm, int fd,
                                struct libspawn_err *err);

/* Takes from its last lines those that are not about what went wrong: that it
 * waits for us at its monitor.  They stay in its log.  Done for the report. */
void libspawn__dm_drop_notices(char *tail);

/* Ends it unless it was released; no event follows.  NULL is fine. */
void libspawn__dm_free(struct libspawn__dm *dm);

/* NULL before libspawn__dm_connect. */
struct libspawn__qmp *libspawn__dm_qmp(const struct libspawn__dm *dm);
struct libspawn_child *libspawn__dm_child(const struct libspawn__dm *dm);

#endif
