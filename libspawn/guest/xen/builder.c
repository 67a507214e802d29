#include "guest/xen/builder.h"

#include <xenctrl.h>

#include "guest/xen/image.h"

static int
set_cpu_features(struct libspawn__xen *xen,
                 const struct libspawn__xen_guest *guest,
                 struct libspawn_err *err)
{
    bool pae = guest->type != LIBSPAWN_GUEST_TYPE_HVM ||
               libspawn__xen_choice(guest->config->pae, true);
    int r;

    /* The processor's own features, not those of a saved domain. */
    libspawn__xen_clear(xen);
    r = xc_cpuid_apply_policy(xen->xc, guest->domid, false, NULL, 0, pae,
                              false, false, NULL, NULL);
    return r ? libspawn__xen_fail(xen, err, -r, "choosing processor features")
             : 0;
}

static int
build(struct libspawn__xen *xen, struct libspawn__xen_guest *guest,
      struct libspawn_err *err)
{
    int rc = set_cpu_features(xen, guest, err);

    return rc ? rc : libspawn__xen_image_build(xen, guest, err);
}

const struct libspawn__xen_builder libspawn__xen_builder = {
    .version = LIBSPAWN_VERSION,
    .build = build,
};
