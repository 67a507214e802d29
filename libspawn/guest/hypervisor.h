/*
 * For those who implement a hypervisor: what the guest layer asks of it.
 * Two exist: guest/qemu (QEMU itself is the guest) and guest/xen, a plugin.
 *
 * The contracts of the operations are those of libspawn-guest.h; 'domid' is
 * that of an existing guest.
 */
#ifndef LIBSPAWN_GUEST_HYPERVISOR_H
#define LIBSPAWN_GUEST_HYPERVISOR_H

#include "include/libspawn-guest.h"
#include "store/store.h"

struct libspawn__intent;
struct libspawn__worker;

/* The host, inside. */
struct libspawn_host {
    struct libspawn_ctx *ctx;
    const struct libspawn__hypervisor *hypervisor;
    void *impl; /* the hypervisor's own */
    char *state_dir;
    char *sysfs_dir;
    libspawn_waiting_fn *waiting; /* while others have a lock; may be NULL */
    void *waiting_user;
    void (*warning)(void *user, const char *sentence); /* may be NULL */
    void *warning_user;
    struct libspawn__store *store;

    /* Of class "probe", borrowed: does what may block for as long as somebody
     * else's disk or script likes.  NULL: this process does it, and waits. */
    struct libspawn__worker *probe_worker;
};

/* One step of a creation.  'run' returns 0 when it is done,
 * LIBSPAWN__STEP_PENDING when libspawn__create_step_done will be called, or
 * an error, after which nothing of the step is left.  'undo' (may be NULL)
 * takes back a step that was done; it cannot fail, but may be pending too. */
enum { LIBSPAWN__STEP_PENDING = 1 };

/* Or, before it does anything, this: it is run again under the host lock, for
 * which the creation waits without blocking.  Then it is not pending. */
enum { LIBSPAWN__STEP_LOCK_HOST = 2 };

struct libspawn__step {
    const char *name; /* for the progress line: "starting the device model" */
    int (*run)(struct libspawn_create *create, struct libspawn_err *err);
    int (*undo)(struct libspawn_create *create);
};

/* How a guest, or its device model, ended. */
enum libspawn__guest_end {
    LIBSPAWN__END_NONE, /* not yet */
    LIBSPAWN__END_POWEROFF,
    LIBSPAWN__END_REBOOT,
    LIBSPAWN__END_CRASH,
    LIBSPAWN__END_WATCHDOG,
    LIBSPAWN__END_MODEL /* the device model, without the guest's wish */
};

/* It is gone, or 'err' says why not. */
typedef void libspawn__destroyed_fn(void *user,
                                    const struct libspawn_err *err);

struct libspawn__hypervisor {
    const char *name;
    const char *version; /* LIBSPAWN_VERSION of a plugin: must be ours */

    /* Opens the store and what else is needed, into 'host'. */
    int (*open)(struct libspawn_host *host, struct libspawn_err *err);
    void (*close)(struct libspawn_host *host);

    /* The steps of a creation, in order, without the common ones, and ended
     * by one without a name.  They lead to a guest that is complete but
     * paused. */
    const struct libspawn__step *steps;

    /* Those that start the device model of a guest again, which has ended;
     * NULL where only another guest can take its place. */
    const struct libspawn__step *steps_again;

    /* Lets the virtual processors run, which the hypervisor holds; NULL where
     * the device model holds them, until its "cont". */
    int (*release_cpus)(struct libspawn_host *host, uint32_t domid,
                        struct libspawn_err *err);

    /* Removes every trace of a creation whose owner died: 'intent' says what
     * is known of it.  The device model, if any, is gone or must be ended. */
    int (*abandon)(struct libspawn_host *host,
                   const struct libspawn__intent *intent,
                   struct libspawn_err *err);

    /* Removes guests that ended by themselves and whose configuration says
     * that nothing is to be kept of them.  May be NULL. */
    int (*sweep)(struct libspawn_host *host, struct libspawn_err *err);

    int (*list)(struct libspawn_host *host,
                struct libspawn_guest_info **list_r, size_t *n_r,
                struct libspawn_err *err);
    /* One entry of the list, to be disposed of like one, or
     * LIBSPAWN_ERR_NOT_FOUND.  NULL where the list costs little enough. */
    int (*look)(struct libspawn_host *host, uint32_t domid,
                struct libspawn_guest_info *info_r, struct libspawn_err *err);
    int (*destroy)(struct libspawn_host *host, uint32_t domid,
                   struct libspawn_err *err);
    /* The same on the loop, as a step: when it is pending, 'fn' comes once,
     * only from dispatch.  It cannot be stopped.  What scripts have to do, the
     * host's worker does: without one they are waited for. */
    int (*start_destroy)(struct libspawn_host *host, uint32_t domid,
                         libspawn__destroyed_fn *fn, void *user,
                         struct libspawn_err *err);
    int (*pause)(struct libspawn_host *host, uint32_t domid,
                 struct libspawn_err *err);
    int (*unpause)(struct libspawn_host *host, uint32_t domid,
                   struct libspawn_err *err);
    int (*shutdown)(struct libspawn_host *host, uint32_t domid, bool reboot,
                    struct libspawn_err *err);
    int (*open_console)(struct libspawn_host *host, uint32_t domid,
                        const char *kind, unsigned int number, int *fd_r,
                        struct libspawn_err *err);

    /* How the guest ended, where the hypervisor knows (END_NONE: it has not);
     * NULL where only its device model does. */
    int (*find_end)(struct libspawn_host *host, uint32_t domid,
                    enum libspawn__guest_end *end_r,
                    struct libspawn_err *err);

    /* Where the configuration is stored, as JSON of our own kind. */
    int (*find_config)(struct libspawn_host *host, uint32_t domid,
                       char **path_r, struct libspawn_err *err);
    /* The configuration as the stock toolstack writes it. */
    int (*read_libxl_json)(struct libspawn_host *host, uint32_t domid,
                           char **json_r, struct libspawn_err *err);
    /* The socket of its device model's monitor. */
    char *(*qmp_path)(struct libspawn_host *host, uint32_t domid);
    /* The directory in which its device model runs, unless that was handed its
     * files; NULL: "/". */
    char *(*work_dir)(struct libspawn_host *host, uint32_t domid);
};

extern const struct libspawn__hypervisor libspawn__hypervisor_qemu;

#define LIBSPAWN__PLUGIN_FILE "libspawn-xen.so"

/* The symbol of the plugin, a struct libspawn__hypervisor. */
#define LIBSPAWN__PLUGIN_SYMBOL "libspawn__hypervisor_xen"

#endif
