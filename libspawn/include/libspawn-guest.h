/*
 * libspawn, the part about guests: a typed configuration, and what can be
 * done with guests on this host, whether its hypervisor is Xen or QEMU itself
 * (on KVM, or in emulation).  The rules of libspawn.h hold.
 */
#ifndef LIBSPAWN_GUEST_H
#define LIBSPAWN_GUEST_H

#include "libspawn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Configuration -----------------------------------------------------
 *
 * Plain data; strings are owned and may be NULL, which means "default" or
 * "none".  Names follow xl.cfg(5).
 */
enum libspawn_guest_type {
    LIBSPAWN_GUEST_TYPE_DEFAULT, /* HVM where QEMU is the guest, else PV */
    LIBSPAWN_GUEST_TYPE_HVM,
    LIBSPAWN_GUEST_TYPE_PVH,
    LIBSPAWN_GUEST_TYPE_PV
};

/* A choice that the configuration may leave to us. */
enum libspawn_choice {
    LIBSPAWN_CHOICE_DEFAULT,
    LIBSPAWN_CHOICE_NO,
    LIBSPAWN_CHOICE_YES
};

enum libspawn_disk_format {
    LIBSPAWN_DISK_RAW,
    LIBSPAWN_DISK_QCOW,
    LIBSPAWN_DISK_QCOW2,
    LIBSPAWN_DISK_QED,
    LIBSPAWN_DISK_VHD,
    LIBSPAWN_DISK_EMPTY /* a drive without a medium */
};

struct libspawn_disk {
    char *target; /* path of the image or block device; NULL when empty */
    enum libspawn_disk_format format;
    char *vdev; /* "hda", "xvdb", "sda" */
    bool is_cdrom;
    bool read_only;
    char *backendtype; /* "phy", "qdisk"; NULL: chosen by us */
    char *script;
    enum libspawn_choice discard;
    enum libspawn_choice direct_io_safe;
};

enum libspawn_nic_net {
    LIBSPAWN_NIC_NET_DEFAULT, /* tap on Xen and where a bridge is named, else
                                 user */
    LIBSPAWN_NIC_NET_USER,    /* QEMU's own network stack; needs no root */
    LIBSPAWN_NIC_NET_TAP
};

struct libspawn_nic {
    char *mac;    /* "00:16:3e:..."; NULL: random */
    char *bridge;
    char *model;  /* "e1000", "rtl8139", "virtio-net-pci"; NULL: default */
    char *type;   /* "ioemu", "vif"; NULL: default */
    char *script;
    char *vifname; /* name of the interface on the host */
    char *ip;
    enum libspawn_nic_net net;
};

/* What happens when the guest ends that way. */
enum libspawn_action {
    LIBSPAWN_ACTION_DEFAULT,
    LIBSPAWN_ACTION_DESTROY,
    LIBSPAWN_ACTION_RESTART,
    LIBSPAWN_ACTION_RENAME_RESTART,
    LIBSPAWN_ACTION_PRESERVE,
    LIBSPAWN_ACTION_COREDUMP_DESTROY,
    LIBSPAWN_ACTION_COREDUMP_RESTART,
    LIBSPAWN_ACTION_SOFT_RESET,
    LIBSPAWN_ACTION_SCRIPT /* of on_dm_crash only: its script decides */
};

struct libspawn_vnc {
    enum libspawn_choice enable; /* default: on for HVM */
    char *listen;                /* address; NULL: 127.0.0.1 */
    uint32_t display;            /* first display to try */
    enum libspawn_choice find_unused;
    char *password; /* NULL: none */
};

enum libspawn_accel {
    LIBSPAWN_ACCEL_DEFAULT, /* KVM where it works, else TCG */
    LIBSPAWN_ACCEL_KVM,
    LIBSPAWN_ACCEL_TCG
};

struct libspawn_guest_config {
    char *name;
    char *uuid; /* 36 characters, lower case; NULL: random */
    enum libspawn_guest_type type;

    uint64_t memory_mib;     /* at start */
    uint64_t max_memory_mib; /* 0: the same */
    uint32_t vcpus;
    uint32_t max_vcpus; /* 0: the same */
    char *cpus;         /* affinity as written, e.g. "0-3,^1" */
    char **vcpu_cpus;   /* the same for each vCPU in turn, in place of 'cpus';
                           NULL terminated */
    size_t n_vcpu_cpus;
    uint32_t cpu_weight; /* 0: default */

    char *kernel;
    char *ramdisk;
    char *cmdline; /* "cmdline", or "root" and "extra" put together */
    char *bootloader;
    char **bootloader_args; /* NULL terminated */
    size_t n_bootloader_args;
    char *firmware; /* "bios", "uefi", "ovmf", "seabios" or a path */
    char *boot;     /* letters of "cdn" in order; NULL: "cd"-like default */

    struct libspawn_disk *disks;
    size_t n_disks;
    struct libspawn_nic *nics;
    size_t n_nics;
    /* Devices of the host that become the guest's, "[DOMAIN:]BUS:DEVICE.FN" or
     * "class:CCCC#N" each; "A|B" is one of the two.  NULL terminated. */
    char **pci;
    size_t n_pci;
    char **serials; /* one per port: "pty", "unix", "none", an address, or as
                       QEMU names it; NULL terminated, NULL when none */
    size_t n_serials;

    struct libspawn_vnc vnc;
    enum libspawn_choice sdl;
    char *keymap;
    char *vga;             /* "stdvga", "cirrus", ..., "none"; NULL: cirrus */
    uint32_t videoram_mib; /* 0: default */
    enum libspawn_choice usb;
    char **usbdevices; /* NULL terminated */
    size_t n_usbdevices;
    char *soundhw;

    enum libspawn_choice acpi, apic, pae, nx, hpet, hap, viridian;
    enum libspawn_choice xen_platform_pci;
    enum libspawn_choice localtime;
    int32_t rtc_timeoffset; /* seconds */
    uint32_t shadow_memory_mib; /* 0: default */

    enum libspawn_action on_poweroff, on_reboot, on_watchdog, on_crash,
        on_soft_reset;
    /* When its device model ends though the guest did not ask for it. */
    enum libspawn_action on_dm_crash;
    char *on_dm_crash_script; /* path; for LIBSPAWN_ACTION_SCRIPT */

    char *device_model_override; /* path of the program */
    char **device_model_args;    /* appended as they are; NULL terminated */
    size_t n_device_model_args;
    char **device_model_args_hvm; /* further ones for an HVM guest */
    size_t n_device_model_args_hvm;
    char **device_model_args_pv; /* further ones for a PV or PVH guest */
    size_t n_device_model_args_pv;
    char *device_model_user;
    enum libspawn_choice dm_restrict;

    /* Keys of our own. */
    enum libspawn_accel accel;
    uint32_t start_timeout_ms; /* 0: 60 s */
};

/* Zeroes and sets defaults; call before anything else. */
LIBSPAWN_EXPORT void
libspawn_guest_config_init(struct libspawn_guest_config *config);
LIBSPAWN_EXPORT void
libspawn_guest_config_dispose(struct libspawn_guest_config *config);

/* Whether it makes sense in itself: names, ranges, disks that clash.  Files
 * are looked at only when the guest is created. */
LIBSPAWN_EXPORT int
libspawn_guest_config_check(const struct libspawn_guest_config *config,
                            struct libspawn_err *err);

/* As stored beside a guest, and back. */
LIBSPAWN_EXPORT int
libspawn_guest_config_to_json(const struct libspawn_guest_config *config,
                              char **json_r, struct libspawn_err *err);
LIBSPAWN_EXPORT int
libspawn_guest_config_from_json(const char *json,
                                struct libspawn_guest_config *config,
                                struct libspawn_err *err);

/* ---- Host --------------------------------------------------------------
 */
struct libspawn_host;

/* Names of guests are given under a lock, which others hold for a moment; for
 * longer only when their process was stopped.  What changes a guest holds a
 * lock of that guest.  When a wait has lasted a second this is called with a
 * sentence for people, which names the lock and who has it; once for each
 * wait.  A call that blocks, such as libspawn_host_open or
 * libspawn_guest_destroy, calls it every 50 ms besides, with NULL, so that
 * what the caller watches, such as signals, can be heard in it; a creation
 * waits without blocking libspawn_ctx_dispatch.  A value other than 0 gives
 * the wait up: LIBSPAWN_ERR_ABORTED. */
typedef int libspawn_waiting_fn(void *user, int64_t waited_ms,
                                const char *sentence);

struct libspawn_host_options {
    const char *state_dir; /* NULL: XL_STATE_DIR, else /run/xl for root, else
                              $XDG_RUNTIME_DIR/xl */
    const char *next_guest; /* NULL, or the name of the guest that is about to
                               be created: what it needs is started ahead */
    const char *sysfs_dir; /* where PCI devices are looked for, an
                              absolute path; NULL: XL_SYSFS_DIR, else /sys */
    libspawn_waiting_fn *waiting; /* NULL: wait without a word */
    void *waiting_user;
    /* A sentence about what is not as it should be, though the call goes on:
     * somebody deleted a lock file.  May be NULL. */
    void (*warning)(void *user, const char *sentence);
    void *warning_user;
};

/* Opens Xen where this is its control domain, else QEMU; cleans up after
 * callers that died in the middle of something. */
LIBSPAWN_EXPORT int
libspawn_host_open(struct libspawn_ctx *ctx,
                   const struct libspawn_host_options *options,
                   struct libspawn_host **host_r, struct libspawn_err *err);
LIBSPAWN_EXPORT void libspawn_host_close(struct libspawn_host *host);

/* "xen" or "qemu". */
LIBSPAWN_EXPORT const char *
libspawn_host_hypervisor(const struct libspawn_host *host);

/* ---- Guests ------------------------------------------------------------
 */
enum libspawn_guest_state { /* a set of these; 0: nothing special */
    LIBSPAWN_GUEST_RUNNING = 1 << 0,
    LIBSPAWN_GUEST_BLOCKED = 1 << 1,
    LIBSPAWN_GUEST_PAUSED = 1 << 2,
    LIBSPAWN_GUEST_SHUTDOWN = 1 << 3,
    LIBSPAWN_GUEST_CRASHED = 1 << 4,
    LIBSPAWN_GUEST_DYING = 1 << 5,
    LIBSPAWN_GUEST_DM_DEAD = 1 << 6 /* its device model has ended */
};

struct libspawn_guest_info {
    uint32_t domid;
    char *name; /* "" when unknown */
    char uuid[37];
    enum libspawn_guest_type type;
    uint64_t memory_mib;
    uint32_t vcpus;
    unsigned int state;
    int64_t cpu_time_ms;
    char *dm_end; /* how its device model ended; NULL: it lives, or has none */
    int64_t dm_ended_at_ms; /* when, UTC; 0: not known */
};

/* All guests by domid; on Xen domain 0 too.  Free with
 * libspawn_guest_list_free. */
LIBSPAWN_EXPORT int
libspawn_guest_list(struct libspawn_host *host,
                    struct libspawn_guest_info **list_r, size_t *n_r,
                    struct libspawn_err *err);
LIBSPAWN_EXPORT void libspawn_guest_list_free(struct libspawn_guest_info *list,
                                              size_t n);

/* By name, or by number when it is one, then also a guest without a name;
 * LIBSPAWN_ERR_NOT_FOUND. */
LIBSPAWN_EXPORT int libspawn_guest_find(struct libspawn_host *host,
                                        const char *name_or_domid,
                                        uint32_t *domid_r,
                                        struct libspawn_err *err);
LIBSPAWN_EXPORT int libspawn_guest_get_name(struct libspawn_host *host,
                                            uint32_t domid, char **name_r,
                                            struct libspawn_err *err);

/* The configuration it was created with; LIBSPAWN_ERR_NOT_FOUND for a guest
 * of which none is stored. */
LIBSPAWN_EXPORT int
libspawn_guest_get_config(struct libspawn_host *host, uint32_t domid,
                          struct libspawn_guest_config *config,
                          struct libspawn_err *err);

/* The one that its next start will use: the same, unless it was updated. */
LIBSPAWN_EXPORT int
libspawn_guest_get_next_config(struct libspawn_host *host, uint32_t domid,
                               struct libspawn_guest_config *config,
                               struct libspawn_err *err);

/* A word that changes with each update of that one, and is no other guest's;
 * free with free(3). */
LIBSPAWN_EXPORT int
libspawn_guest_get_config_version(struct libspawn_host *host, uint32_t domid,
                                  char **version_r, struct libspawn_err *err);

/* Replaces it, and nothing of the guest that runs.  'base' is the version that
 * the caller began with (NULL: any): when somebody else was faster this is
 * LIBSPAWN_ERR_INVALID and nothing is written, so read it again.  The name is
 * the guest's; a uuid that is not given stays as it is. */
LIBSPAWN_EXPORT int
libspawn_guest_update_config(struct libspawn_host *host, uint32_t domid,
                             const struct libspawn_guest_config *config,
                             const char *base, struct libspawn_err *err);

/* The same as the stock toolstack writes it, also of a guest that it made;
 * free with free(3). */
LIBSPAWN_EXPORT int
libspawn_guest_get_libxl_json(struct libspawn_host *host, uint32_t domid,
                              char **json_r, struct libspawn_err *err);

/* Creation is a list of steps; when one fails, or the creation is aborted,
 * all earlier ones are undone in reverse order.  'done' comes exactly once. */
struct libspawn_create;

struct libspawn_create_options {
    bool paused; /* leave it paused */
    /* Called while the guest is complete but still paused, e.g. to attach a
     * console; a failure undoes the creation.  May be NULL. */
    int (*before_unpause)(void *user, uint32_t domid,
                          struct libspawn_err *err);
    /* Names the step that begins now.  May be NULL. */
    void (*progress)(void *user, const char *step);
    void *user;
    /* A sentence about what is not as it should be, though the creation goes
     * on.  May be NULL. */
    void (*warning)(void *user, const char *sentence);
};

/* 'err' is NULL on success.  'report' is NULL unless the device model is what
 * failed (LIBSPAWN_ERR_CHILD). */
typedef void libspawn_create_fn(void *user, uint32_t domid,
                                const struct libspawn_report *report,
                                const struct libspawn_err *err);

LIBSPAWN_EXPORT int
libspawn_guest_create(struct libspawn_host *host,
                      const struct libspawn_guest_config *config,
                      const struct libspawn_create_options *options,
                      libspawn_create_fn *done, void *user,
                      struct libspawn_create **create_r,
                      struct libspawn_err *err);

/* Asks for the end of it; 'done' follows with LIBSPAWN_ERR_ABORTED. */
LIBSPAWN_EXPORT void libspawn_create_abort(struct libspawn_create *create);

/* After 'done', or before it: then it is aborted and undone at once. */
LIBSPAWN_EXPORT void libspawn_create_free(struct libspawn_create *create);

/* Ends the device model and removes every trace of the guest. */
LIBSPAWN_EXPORT int libspawn_guest_destroy(struct libspawn_host *host,
                                           uint32_t domid,
                                           struct libspawn_err *err);
LIBSPAWN_EXPORT int libspawn_guest_pause(struct libspawn_host *host,
                                         uint32_t domid,
                                         struct libspawn_err *err);
LIBSPAWN_EXPORT int libspawn_guest_unpause(struct libspawn_host *host,
                                           uint32_t domid,
                                           struct libspawn_err *err);

/* Asks the guest to power off (or to reboot); it may refuse or ignore it. */
LIBSPAWN_EXPORT int libspawn_guest_shutdown(struct libspawn_host *host,
                                            uint32_t domid, bool reboot,
                                            struct libspawn_err *err);

/* Writes the picture on its screen as PNG. */
LIBSPAWN_EXPORT int libspawn_guest_screenshot(struct libspawn_host *host,
                                              uint32_t domid, const char *path,
                                              struct libspawn_err *err);

/* A descriptor connected to its console number 'number', of kind "serial",
 * "pv" or NULL (the one its type has).  A terminal or a socket. */
LIBSPAWN_EXPORT int libspawn_guest_open_console(struct libspawn_host *host,
                                                uint32_t domid,
                                                const char *kind,
                                                unsigned int number,
                                                int *fd_r,
                                                struct libspawn_err *err);

/* "ADDRESS:PORT" of its VNC server; free with free(3). */
LIBSPAWN_EXPORT int libspawn_guest_get_vnc(struct libspawn_host *host,
                                           uint32_t domid, char **address_r,
                                           struct libspawn_err *err);

/* ---- PCI devices -------------------------------------------------------
 *
 * Devices of the host that guests can have: bound to the driver vfio-pci, or
 * on Xen pciback.  A guest whose configuration names some (member 'pci') has
 * them reserved from its creation until it is destroyed, whatever becomes of
 * its device model meanwhile.
 */
struct libspawn_pci_info {
    char address[20];      /* "0000:01:00.0" */
    char class_number[24]; /* "class:0200#1", another word for it; "" for one
                              that is not there */
    bool is_assignable;    /* there, and bound to that driver */
    bool is_kept;          /* for the name, until it is released */
    char *guest;           /* whose it is; NULL: it is free */
    char uuid[37];         /* of the guest that has it; "": none does */
    int64_t since_ms;      /* reserved since, UTC; 0: it is free */
};

/* Those that can be reserved and those that are, by address; free with
 * libspawn_pci_list_free. */
LIBSPAWN_EXPORT int libspawn_pci_list(struct libspawn_host *host,
                                      struct libspawn_pci_info **list_r,
                                      size_t *n_r, struct libspawn_err *err);
LIBSPAWN_EXPORT void libspawn_pci_list_free(struct libspawn_pci_info *list,
                                            size_t n);

/* Keeps the device for guests of that name, whether there is one or not, until
 * libspawn_pci_release.  It is fine when it is theirs already.
 * LIBSPAWN_ERR_EXISTS, with a sentence that says whose it is and since when;
 * LIBSPAWN_ERR_NOT_FOUND; LIBSPAWN_ERR_DENIED when it is not bound to that
 * driver, or when there is such a guest and its configuration does not name
 * the device; LIBSPAWN_ERR_INVALID for what is no address. */
LIBSPAWN_EXPORT int libspawn_pci_reserve(struct libspawn_host *host,
                                         const char *name, const char *device,
                                         struct libspawn_err *err);

/* Ends that.  A guest that has the device keeps it until it is destroyed; when
 * that is all there is to say, LIBSPAWN_ERR_BUSY. */
LIBSPAWN_EXPORT int libspawn_pci_release(struct libspawn_host *host,
                                         const char *name, const char *device,
                                         struct libspawn_err *err);

/* ---- Events ------------------------------------------------------------
 *
 * What happens to the guests of this host, whoever did or saw it.  It is kept
 * for a while: the last mebibyte of it, and up to one more.
 */
enum libspawn_guest_event_kind {
    LIBSPAWN_GUEST_EVENT_OTHER, /* not known to this version */
    LIBSPAWN_GUEST_EVENT_CREATED,
    LIBSPAWN_GUEST_EVENT_RUNNING,  /* for the first time */
    LIBSPAWN_GUEST_EVENT_ADMITTED, /* its device model has proven to work */
    LIBSPAWN_GUEST_EVENT_PAUSED,
    LIBSPAWN_GUEST_EVENT_RESUMED,
    LIBSPAWN_GUEST_EVENT_SHUTDOWN, /* reason: poweroff, reboot, crash, suspend,
                                      watchdog, host-signal */
    LIBSPAWN_GUEST_EVENT_DM_DIED,  /* reason: exited, killed, unknown, or why
                                      another could not be started */
    LIBSPAWN_GUEST_EVENT_HOLDING,  /* no new device model is tried for now */
    LIBSPAWN_GUEST_EVENT_RELEASED, /* from that */
    LIBSPAWN_GUEST_EVENT_RESTARTING,
    LIBSPAWN_GUEST_EVENT_RESTARTED,
    LIBSPAWN_GUEST_EVENT_PRESERVED, /* it has ended; its remains are kept */
    LIBSPAWN_GUEST_EVENT_DESTROYED,
    LIBSPAWN_GUEST_EVENT_CREATE_FAILED, /* reason: libspawn_code_name */
    LIBSPAWN_GUEST_EVENT_POST_MORTEM, /* of a core of its device model */
    /* Of the processes that do for its supervisor what may block; reason: io
     * or probe. */
    LIBSPAWN_GUEST_EVENT_WORKER_DEGRADED,
    LIBSPAWN_GUEST_EVENT_SUPERVISOR_STARTED,
    LIBSPAWN_GUEST_EVENT_SUPERVISOR_LEFT, /* in order */
    LIBSPAWN_GUEST_EVENT_SUPERVISOR_LOST, /* without a word */
    /* A PCI device was reserved for another guest, which is gone. */
    LIBSPAWN_GUEST_EVENT_PCI_TAKEN_OVER,
    LIBSPAWN_GUEST_EVENT_SCRIPT_STARTED,  /* for recovery; reason: of what */
    LIBSPAWN_GUEST_EVENT_SCRIPT_ENDED /* reason: restart, preserve, destroy,
                                         failed, late, lost */
};

struct libspawn_guest_event {
    int64_t time_ms;   /* since 1970, UTC */
    const char *guest; /* its name; "" when it has none */
    uint32_t domid;    /* 0: it has none yet */
    const char *uuid;  /* NULL: not known */
    enum libspawn_guest_event_kind kind;
    const char *name;   /* of the kind: "device-model-died" */
    const char *reason; /* one word for programs, or NULL */
    const char *text;   /* how it came about, for people, or NULL */
    const char *json;   /* all of it, on one line */
};

/* Comes from dispatch; what 'event' points to is valid for the call.  It may
 * close the events. */
typedef void libspawn_guest_event_fn(void *user,
                                     const struct libspawn_guest_event *event);

/* Tells from now on what happens, in the order in which it was written; with
 * 'from_start' first what is kept. */
struct libspawn_events;

LIBSPAWN_EXPORT int libspawn_events_open(struct libspawn_host *host,
                                         bool from_start,
                                         libspawn_guest_event_fn *fn,
                                         void *user,
                                         struct libspawn_events **events_r,
                                         struct libspawn_err *err);
LIBSPAWN_EXPORT void libspawn_events_close(struct libspawn_events *events);

#ifdef __cplusplus
}
#endif

#endif
