#include "xl/paths.h"

#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "dm/serial.h"

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

/* "punix:PATH" and "unix:PATH", but for what is QEMU's. */
static int
make_serial_absolute(char **serial, const char *cwd, struct libspawn_err *err)
{
    enum libspawn__serial_kind kind = libspawn__serial_kind(*serial);
    const char *colon = strchr(*serial, ':');
    AUTO_FREE char *path = NULL;
    char *absolute;
    int rc;

    if ((kind != LIBSPAWN__SERIAL_LISTENS &&
         kind != LIBSPAWN__SERIAL_CONNECTS) ||
        libspawn__str_has_prefix(*serial, "tcp:") ||
        libspawn__str_has_prefix(*serial, "ptcp:")) {
        return 0;
    }
    rc = libspawn__str_assign(&path, colon + 1, err);
    if (!rc) {
        rc = make_absolute(&path, cwd, err);
    }
    if (rc) {
        return rc;
    }
    absolute = libspawn__str_format("%.*s%s", (int)(colon + 1 - *serial),
                                    *serial, path);
    if (!absolute) {
        return libspawn__fail_nomem(err);
    }
    free(*serial);
    *serial = absolute;
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
    for (i = 0; !rc && i < config->n_serials; i++) {
        rc = make_serial_absolute(&config->serials[i], cwd, err);
    }
    return rc;
}
