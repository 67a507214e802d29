/*
 * The argument vector of QEMU, in groups that a guest's configuration fills.
 * A backend (guest/qemu, guest/xen) runs through a table of these and adds
 * what only it knows.
 *
 * The configuration comes from a file that a user wrote, so every value that
 * ends in an option with commas is escaped (a comma becomes two; QEMU's
 * documentation, "Documentation conventions").
 */
#ifndef LIBSPAWN_DM_ARGS_H
#define LIBSPAWN_DM_ARGS_H

#include "base/str.h"
#include "include/libspawn-guest.h"

/* An argument vector that grows; like a buffer it remembers its first
 * failure, so a run of additions needs one check at the end. */
struct libspawn__args {
    struct libspawn__strv argv;
    const struct libspawn_guest_config *config;
    uint32_t domid;
    bool is_held; /* goes no further than its monitor before we connect */
    /* It may not open them: disks, kernel, ramdisk and tap interfaces are
     * descriptors from LIBSPAWN__DM_KERNEL_FD on. */
    bool is_handed;
    const struct libspawn__strv *pci; /* addresses; NULL: none */
    const char *version; /* of the program, "7.2.22"; NULL, "": not known */
    struct libspawn_err err; /* err.code is 0 while all is well */
};

void libspawn__args_dispose(struct libspawn__args *args);
#define AUTO_ARGS AUTO(libspawn__args_dispose)

void libspawn__args_add(struct libspawn__args *args, const char *arg);

/* "-option" and its formatted value. */
void libspawn__args_option(struct libspawn__args *args, const char *option,
                           const char *format, ...) LIBSPAWN__PRINTF(3, 4);

/* 'text' with its commas doubled; NULL without memory, which the functions
 * above then report.  Free with free(3). */
char *libspawn__args_escape(const char *text);

/* ---- Groups: each adds what the configuration asks for ----------------- */

typedef void libspawn__args_group(struct libspawn__args *args);

libspawn__args_group libspawn__args_base;    /* name, no defaults, monitor */
libspawn__args_group libspawn__args_display; /* VNC, VGA, keymap */
libspawn__args_group libspawn__args_serials; /* ports, on descriptors */
libspawn__args_group libspawn__args_boot;    /* order, direct kernel boot */
libspawn__args_group libspawn__args_usb;     /* controller and devices */
libspawn__args_group libspawn__args_sound;
libspawn__args_group libspawn__args_clock;
libspawn__args_group libspawn__args_user; /* device_model_args, always last */

#endif
