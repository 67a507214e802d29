#include "guest/xen/files.h"

#include <glob.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/libxl_json.h"

static char *
userdata_path(uint32_t domid, const char *uuid, const char *name)
{
    return libspawn__str_format(LIBSPAWN__XEN_LIB_DIR "/userdata-d.%" PRIu32
                                                      ".%s.%s",
                                domid, uuid, name);
}

char *
libspawn__xen_files_config_path(uint32_t domid, const char *uuid)
{
    return userdata_path(domid, uuid, "libspawn-json");
}

char *
libspawn__xen_files_libxl_config_path(uint32_t domid, const char *uuid)
{
    return userdata_path(domid, uuid, "libxl-json");
}

char *
libspawn__xen_files_stock_config_path(uint32_t domid, const char *uuid)
{
    return userdata_path(domid, uuid, "libxl-json");
}

char *
libspawn__xen_files_qmp_path(uint32_t domid)
{
    return libspawn__str_format(LIBSPAWN__XEN_RUN_DIR "/qmp-libspawn-%" PRIu32,
                                domid);
}

char *
libspawn__xen_files_log_path(const char *name)
{
    return libspawn__str_format(LIBSPAWN__XEN_LOG_DIR "/qemu-dm-%s.log", name);
}

char *
libspawn__xen_files_root_path(uint32_t domid)
{
    return libspawn__str_format(LIBSPAWN__XEN_RUN_DIR "/qemu-root-%" PRIu32,
                                domid);
}

/* One that is left of a domain of the same number goes first: that it can be
 * removed shows that it was empty. */
int
libspawn__xen_files_make_root(uint32_t domid, struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__xen_files_root_path(domid);

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    if ((rmdir(path) < 0 && errno != ENOENT) || mkdir(path, 0000) < 0) {
        return libspawn__fail_errno(err, errno,
                                    "making the empty directory '%s'", path);
    }
    return 0;
}

void
libspawn__xen_files_remove_root(uint32_t domid)
{
    AUTO_FREE char *path = libspawn__xen_files_root_path(domid);

    if (path) {
        rmdir(path);
    }
}

/* Takes 'path' in every case; NULL is no memory. */
static int
write_private(char *path, const char *json, struct libspawn_err *err)
{
    /* With its NUL: the stock tools read it as a string. */
    int rc =
        path ? libspawn__file_replace(path, json, strlen(json) + 1, 0600, err)
             : libspawn__fail_nomem(err);

    free(path);
    return rc;
}

int
libspawn__xen_files_write(const struct libspawn__xen_guest *guest,
                          struct libspawn_err *err)
{
    struct libspawn_guest_config config = *guest->config;
    char uuid[LIBSPAWN__XEN_UUID_SIZE];
    AUTO_FREE char *stock = NULL;
    AUTO_FREE char *own = NULL;
    int rc;

    /* What was chosen at random is part of what is stored. */
    memcpy(uuid, guest->uuid, sizeof uuid);
    config.uuid = uuid;
    config.type = guest->type;
    rc = libspawn_guest_config_to_json(&config, &own, err);
    if (!rc) {
        /* The stock tools calculate with it and know no default. */
        config.videoram_mib = (uint32_t)(guest->memory.video_kib / 1024);
        rc = libspawn__guest_config_to_libxl_json(&config, &stock, err);
    }
    if (!rc) {
        rc = libspawn__dir_make(LIBSPAWN__XEN_LIB_DIR, 0755, err);
    }
    if (!rc) {
        rc = write_private(
            libspawn__xen_files_stock_config_path(guest->domid, uuid), stock,
            err);
    }
    if (!rc) {
        rc = write_private(libspawn__xen_files_config_path(guest->domid, uuid),
                           own, err);
    }
    if (rc) {
        libspawn__xen_files_remove(guest->domid);
    }
    return rc;
}

static void
remove_matching(char *pattern)
{
    glob_t found;
    size_t i;

    if (pattern && glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
        for (i = 0; i < found.gl_pathc; i++) {
            unlink(found.gl_pathv[i]);
        }
        globfree(&found);
    }
    free(pattern);
}

void
libspawn__xen_files_remove(uint32_t domid)
{
    remove_matching(libspawn__str_format(
        LIBSPAWN__XEN_LIB_DIR "/userdata-?.%" PRIu32 ".*", domid));
    remove_matching(libspawn__str_format(
        LIBSPAWN__XEN_RUN_DIR "/qmp-lib*-%" PRIu32, domid));
    remove_matching(libspawn__str_format(
        LIBSPAWN__XEN_RUN_DIR "/qmp-lib*-%" PRIu32 "-own", domid));
    libspawn__xen_files_remove_root(domid);
}
