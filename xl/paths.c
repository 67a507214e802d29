#include "xl/paths.h"

#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"

static int
make_absolute(char **path, const char *cwd, struct libspawn_err *err)
{
    char *absolute;

    if (!*path || (*path)[0] == '/') {
        return 0;
    }
    absolute = libspawn__str_format("%s/%s", cwd, *path);
    if (!absolute) {
        return libspawn__fail_nomem(err);
    }
    free(*path);
    *path = absolute;
    return 0;
}

int
xl__paths_make_absolute(struct libspawn_guest_config *config,
                        struct libspawn_err *err)
{
    char **const paths[] = {
        &config->kernel,
        &config->ramdisk,
        &config->device_model_override,
        &config->on_dm_crash_script,
    };
    AUTO_FREE char *cwd = getcwd(NULL, 0);
    int rc = 0;
    size_t i;

    if (!cwd) {
        return libspawn__fail_errno(err, errno,
                                    "finding the working directory");
    }
    for (i = 0; !rc && i < ARRAY_SIZE(paths); i++) {
        rc = make_absolute(paths[i], cwd, err);
    }
    for (i = 0; !rc && i < config->n_disks; i++) {
        rc = make_absolute(&config->disks[i].target, cwd, err);
    }
    return rc;
}
