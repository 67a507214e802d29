/*
 * Whether this machine is the control domain of a Xen host.
 *
 * Only reads small files of the kernel, so it can be asked on any machine,
 * before anything of Xen is loaded.
 */
#ifndef LIBSPAWN_GUEST_XEN_DETECT_H
#define LIBSPAWN_GUEST_XEN_DETECT_H

#include <stdbool.h>

enum libspawn__xen_role {
    LIBSPAWN__XEN_NONE,   /* no Xen below this kernel */
    LIBSPAWN__XEN_GUEST,  /* a guest without power over others */
    LIBSPAWN__XEN_CONTROL /* the control domain (dom0) */
};

/* For the files below 'root'; "" is this machine. */
enum libspawn__xen_role libspawn__xen_detect(const char *root);

bool libspawn__xen_is_control_domain(void);

#endif
