/*
 * The hypervisor "qemu": QEMU itself is the guest, on KVM or in emulation.
 *
 *   qemu.c      the table, and operations on a guest that exists
 *   create.c    the steps of a creation
 *   args.c      the argument vector
 *   hand.c      what a restricted QEMU gets as descriptors
 *   files.c     what the configuration names on disk, checked before a start
 *   firmware.c  what the machine begins with
 *   list.c      what guests there are, and how
 *   status.c    asking their monitors
 *   paths.c     where things are
 *
 * A guest D owns, below the state directory,
 *
 *   guests/D/        qmp, serial0, ... (sockets), config.json, efi-vars
 *   log/qemu-dm-NAME.log
 *
 * and in the directory store the nodes that a Xen guest of the same kind
 * would have: /local/domain/D, /vm/UUID, /libxl/D.
 */
#ifndef LIBSPAWN_GUEST_QEMU_QEMU_H
#define LIBSPAWN_GUEST_QEMU_QEMU_H

#include "dm/args.h"
#include "dm/dm.h"
#include "dm/probe.h"
#include "guest/create.h"
#include "guest/examine.h"

extern const struct libspawn__step libspawn__qemu_steps[];
extern const struct libspawn__step libspawn__qemu_steps_again[];

/* paths.c; each is new, or NULL without memory. */
char *libspawn__qemu_guest_dir(const struct libspawn_host *host,
                               uint32_t domid);
char *libspawn__qemu_guest_file(const struct libspawn_host *host,
                                uint32_t domid, const char *name);
char *libspawn__qemu_serial_path(const struct libspawn_host *host,
                                 uint32_t domid, unsigned int number);
char *libspawn__qemu_log_path(const struct libspawn_host *host,
                              const char *name);

/* The program that plays the guest: device_model_override, or the first of a
 * list that exists. */
int libspawn__qemu_find_program(const struct libspawn_guest_config *config,
                                char **path_r, struct libspawn_err *err);

/* In the directory of a guest with UEFI: its variables. */
#define LIBSPAWN__QEMU_VARIABLES "efi-vars"

/* Files of the host. */
struct libspawn__qemu_firmware {
    const char *code;      /* NULL: what QEMU brings along */
    const char *variables; /* what a guest's are at first; NULL: none */
};

/* By 'firmware' of the configuration, from which the path may be borrowed.
 * LIBSPAWN_ERR_NOT_FOUND, and what to install, when UEFI is not there;
 * LIBSPAWN_ERR_UNSUPPORTED for a kind that only Xen has. */
int libspawn__qemu_find_firmware(const struct libspawn_guest_config *config,
                                 struct libspawn__qemu_firmware *firmware_r,
                                 struct libspawn_err *err);

/* Copies the variables into the guest's directory, if it has any. */
int
libspawn__qemu_make_variables(const struct libspawn_host *host,
                              uint32_t domid,
                              const struct libspawn_guest_config *config,
                              struct libspawn_err *err);

/* How disks, kernel, ramdisk and firmware are opened. */
enum {
    LIBSPAWN__QEMU_OPEN_READ = LIBSPAWN__WORKER_IMAGE_LOOK,
    LIBSPAWN__QEMU_OPEN_WRITE =
        LIBSPAWN__WORKER_IMAGE_LOOK | LIBSPAWN__WORKER_IMAGE_WRITE,
    LIBSPAWN__QEMU_OPEN_COPY =
        LIBSPAWN__WORKER_IMAGE_LOOK | LIBSPAWN__WORKER_IMAGE_COPY
};

/* A step: whether they can be used.  What a QEMU with fewer rights may have to
 * be handed is open from then on. */
int libspawn__qemu_check_files(struct libspawn_create *create,
                               struct libspawn_err *err);

/* After that: whether QEMU is going to write to one. */
bool libspawn__qemu_writes_files(const struct libspawn_create *create);

/* Whether QEMU meets it as an interface of the host. */
bool libspawn__qemu_nic_is_tap(const struct libspawn_nic *nic);

/* Descriptors that a plan refers to until it was started. */
struct libspawn__qemu_handed {
    int fds[LIBSPAWN__DM_NICS_MAX + 2 * LIBSPAWN__DM_DISKS_MAX + 2 +
            LIBSPAWN__DM_FIRMWARE_FDS];
    size_t n_fds;
};

void libspawn__qemu_handed_dispose(struct libspawn__qemu_handed *handed);

/* Adds to 'plan' what the arguments of an 'is_handed' QEMU expect, opened with
 * the rights of the caller. */
int libspawn__qemu_hand_files(struct libspawn_create *create,
                              struct libspawn_plan *plan,
                              struct libspawn__qemu_handed *handed,
                              struct libspawn_err *err);

/* The same for the interfaces of the host, which every QEMU is given so; what
 * 'create->held' has is used once more, and what it lacks is put there. */
int libspawn__qemu_hand_taps(const struct libspawn_create *create,
                             struct libspawn_plan *plan,
                             struct libspawn__qemu_handed *handed,
                             struct libspawn_err *err);

/* The whole argument vector; 'args' is empty before, config and domid set.
 * 'support' is what the program is known to support. */
int libspawn__qemu_build_args(struct libspawn__args *args, const char *program,
                              const struct libspawn__dm_support *support,
                              const char *uuid, struct libspawn_err *err);

/* Removes the nodes and files of a guest whose device model has ended. */
int libspawn__qemu_remove(struct libspawn_host *host, uint32_t domid,
                          const char *uuid, struct libspawn_err *err);

#endif
