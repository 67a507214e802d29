#include "tests/xen/xen_story.h"

#include "base/auto.h"
#include "base/str.h"
#include "guest/xen_detect.h"

char *
xen_path_of(const char *name)
{
    return libspawn__str_format("%s/bin/%s", harness_build_dir(), name);
}

struct harness_output
xen_run_ours(const char *const args[])
{
    AUTO_FREE char *xl = xen_path_of("xl");
    const char *argv[10] = { xl };
    size_t i;

    for (i = 0; args[i]; i++) {
        argv[i + 1] = args[i];
    }
    return harness_run_argv(argv);
}

const char *
xen_why_not(void)
{
    return libspawn__xen_is_control_domain() ? NULL : "not on a Xen host";
}
