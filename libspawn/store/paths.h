/*
 * Every path in the store that the project knows, and who else does.
 *
 * Each function returns a new string, or NULL when there is no memory.  The
 * nodes of stock Xen are those that libxl 4.17 writes and its tools read; our
 * own have "libspawn" in them.  D is the guest's domain id.
 */
#ifndef LIBSPAWN_STORE_PATHS_H
#define LIBSPAWN_STORE_PATHS_H

enum libspawn__path {
    /* The guest's part; what it may write is not to be trusted. */
    LIBSPAWN__PATH_DOMAIN,           /* /local/domain/D */
    LIBSPAWN__PATH_DOMAIN_DOMID,     /* domid */
    LIBSPAWN__PATH_DOMAIN_NAME,      /* name: xl list, xenconsoled */
    LIBSPAWN__PATH_DOMAIN_VM,        /* vm: the path /vm/UUID */
    LIBSPAWN__PATH_DOMAIN_CPU,       /* cpu: N/availability */
    LIBSPAWN__PATH_DOMAIN_MEMORY,    /* memory: static-max, target, ... */
    LIBSPAWN__PATH_DOMAIN_TARGET,    /* memory/target, in KiB */
    LIBSPAWN__PATH_DOMAIN_VCPUS,     /* vcpus: ours, where QEMU is the guest */
    LIBSPAWN__PATH_DOMAIN_CONTROL,   /* control: shutdown, feature-*, ... */
    LIBSPAWN__PATH_DOMAIN_SHUTDOWN,  /* control/shutdown */
    LIBSPAWN__PATH_DOMAIN_STORE,     /* store: port, ring-ref */
    LIBSPAWN__PATH_DOMAIN_DEVICE,    /* device: the frontends */
    LIBSPAWN__PATH_DOMAIN_HVMLOADER, /* hvmloader: bios, ... */
    LIBSPAWN__PATH_DOMAIN_PLATFORM,  /* platform: acpi, ... */

    /* The console; dom0's alone. */
    LIBSPAWN__PATH_CONSOLE,            /* /local/domain/D/console */
    LIBSPAWN__PATH_CONSOLE_TTY,        /* tty: by xenconsoled */
    LIBSPAWN__PATH_CONSOLE_VNC_LISTEN, /* vnc-listen: xl vncviewer */
    LIBSPAWN__PATH_CONSOLE_VNC_PORT,   /* vnc-port */
    LIBSPAWN__PATH_CONSOLE_VNC_PASS,   /* vnc-pass */

    /* The device model. */
    LIBSPAWN__PATH_DM,          /* /local/domain/0/device-model/D */
    LIBSPAWN__PATH_DM_STATE,    /* state: by QEMU, "running" */
    LIBSPAWN__PATH_DM_PID,      /* /local/domain/D/image/device-model-pid */
    LIBSPAWN__PATH_DM_KILL_UID, /* .../image/device-model-kill-uid */

    /* The toolstack's part. */
    LIBSPAWN__PATH_LIBXL,            /* /libxl/D */
    LIBSPAWN__PATH_LIBXL_TYPE,       /* type: hvm, pv, pvh */
    LIBSPAWN__PATH_LIBXL_DM_VERSION, /* dm-version: qemu_xen */
    LIBSPAWN__PATH_LIBXL_DEVICE,     /* device: dom0's copy of the devices */
    LIBSPAWN__PATH_LIBXL_LIBSPAWN,   /* libspawn: what follows */
    LIBSPAWN__PATH_RECORD,           /* libspawn/dm: see proc/record.h */
    LIBSPAWN__PATH_CONFIG_VERSION,   /* libspawn/config-version */
    LIBSPAWN__PATH_SUPERVISED        /* libspawn/supervised: supervision.h */
};

char *libspawn__path_new(enum libspawn__path path, unsigned int domid);

/* Where all domains are, by number; and the toolstack's part of each. */
#define LIBSPAWN__PATH_DOMAINS "/local/domain"
#define LIBSPAWN__PATH_LIBXLS "/libxl"

/* The number that the next guest gets, where no hypervisor chooses it. */
#define LIBSPAWN__PATH_NEXT_DOMID "/libspawn/next-domid"

/* /libxl/D/libspawn/serial/N: where it listens, as one connects to it. */
char *libspawn__path_serial_address(unsigned int domid, unsigned int serial);

/* /local/domain/D/serial/N/tty: xl console. */
char *libspawn__path_serial_tty(unsigned int domid, unsigned int serial);

/* /vm/UUID: what stays when a guest reboots into another domain. */
char *libspawn__path_vm(const char *uuid);

/* Where the intents are, each by the uuid of its guest: guest/intent.h. */
#define LIBSPAWN__PATH_CREATIONS "/libspawn/create"
#define LIBSPAWN__PATH_REMOVALS "/libspawn/remove"

/* One device of a guest, of a kind such as "vbd", "vif", "console": the
 * guest's end, the other in domain 'backend_domid', and dom0's copy that the
 * guest cannot write. */
char *libspawn__path_frontend(unsigned int domid, const char *kind,
                              unsigned int devid);
char *libspawn__path_backend(unsigned int backend_domid, const char *kind,
                             unsigned int domid, unsigned int devid);
char *libspawn__path_libxl_device(unsigned int domid, const char *kind,
                                  unsigned int devid);

#endif
