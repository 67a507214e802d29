/*
 * Sources: Documentation/ABI/stable/sysfs-hypervisor-xen in the Linux tree;
 * drivers/xen/xenfs/super.c there for "capabilities", whose text is
 * "control_d" in the control domain and empty elsewhere.
 *
 * xenfs need not be mounted, so its absence proves nothing: the features that
 * sysfs shows have a bit for the control domain too.
 */
#include "guest/xen_detect.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

enum {
    FILE_MAX = 256,
    FEATURE_DOM0_BIT = 11 /* XENFEAT_dom0 in xen/include/public/features.h */
};

/* What the file says, or NULL. */
static char *
read_below(const char *root, const char *path)
{
    AUTO_FREE char *full = libspawn__str_format("%s%s", root, path);
    char *text = NULL;

    if (full) {
        (void)libspawn__file_read(full, FILE_MAX, &text, NULL, NULL);
    }
    return text;
}

enum libspawn__xen_role
libspawn__xen_detect(const char *root)
{
    AUTO_FREE char *rights = read_below(root, "/proc/xen/capabilities");
    AUTO_FREE char *type = NULL;
    AUTO_FREE char *features = NULL;

    if (rights && strstr(rights, "control_d")) {
        return LIBSPAWN__XEN_CONTROL;
    }
    type = read_below(root, "/sys/hypervisor/type");
    features = read_below(root, "/sys/hypervisor/properties/features");
    if (!type || !libspawn__str_has_prefix(type, "xen")) {
        return rights ? LIBSPAWN__XEN_GUEST : LIBSPAWN__XEN_NONE;
    }
    if (features &&
        (strtoull(features, NULL, 16) & (UINT64_C(1) << FEATURE_DOM0_BIT))) {
        return LIBSPAWN__XEN_CONTROL;
    }
    return LIBSPAWN__XEN_GUEST;
}

bool
libspawn__xen_is_control_domain(void)
{
    return libspawn__xen_detect("") == LIBSPAWN__XEN_CONTROL;
}
