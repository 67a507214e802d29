#include "guest/monitor.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/plugin.h"
#include "guest/png/picture.h"
#include "wire/qmp.h"

enum {
    MONITOR_TIMEOUT_MS = 10000
}; /* what libxl allows a QMP command */

static int
open_session(struct libspawn_host *host, uint32_t domid,
             struct libspawn__qmp_session **session_r,
             struct libspawn_err *err)
{
    AUTO_FREE char *path = host->hypervisor->qmp_path(host, domid);
    int rc;

    if (!path) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__qmp_session_open(path, MONITOR_TIMEOUT_MS, session_r, err);
    if (rc == LIBSPAWN_ERR_NOT_FOUND || rc == LIBSPAWN_ERR_GONE) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "the device model of domain %u does not run",
                              (unsigned int)domid);
    }
    return rc;
}

int
libspawn__monitor_run(struct libspawn_host *host, uint32_t domid,
                      const char *command, const char *arguments_json, int fd,
                      struct libspawn__json **result_r,
                      struct libspawn_err *err)
{
    struct libspawn__qmp_session *session;
    int rc = open_session(host, domid, &session, err);

    if (!rc) {
        rc = libspawn__qmp_session_run(session, command, arguments_json, fd,
                                       result_r, err);
        libspawn__qmp_session_close(session);
    }
    return rc;
}

/* ---- Screenshot -------------------------------------------------------- */

enum {
    PICTURE_MAX_SIZE = 1024 * 1024 * 1024
};

/* QEMU writes into a descriptor that it is given, so it needs no right to any
 * directory and cannot be led astray by a name.  The set takes descriptors
 * that are open for writing only, and the answer comes when the picture is
 * complete. */
static int
dump_screen(struct libspawn__qmp_session *session, int fd, const char *format,
            struct libspawn_err *err)
{
    AUTO_FREE char *arguments =
        libspawn__str_format("{\"filename\":\"/dev/fdset/1\","
                             "\"format\":\"%s\"}",
                             format);
    int rc;

    if (!arguments) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__qmp_session_run(session, "add-fd", "{\"fdset-id\":1}", fd,
                                   NULL, err);
    if (!rc) {
        rc = libspawn__qmp_session_run(session, "screendump", arguments, -1,
                                       NULL, err);
        libspawn__qmp_session_run(session, "remove-fd", "{\"fdset-id\":1}", -1,
                                  NULL, NULL);
    }
    return rc;
}

/* Through the plugin, so that nobody else needs libpng. */
static int
convert(const char *ppm, size_t size, int png_fd, struct libspawn_err *err)
{
    libspawn__picture_write_png_fn *write_png;
    void *plugin;
    int rc = libspawn__plugin_open(LIBSPAWN__PICTURE_PLUGIN, &plugin, err);

    if (rc) {
        return rc;
    }
    /* POSIX says that a function comes out of dlsym's object pointer. */
    *(void **)&write_png = dlsym(plugin, LIBSPAWN__PICTURE_SYMBOL);
    rc = write_png ? write_png(ppm, size, png_fd, err)
                   : libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                                    "'%s' is of another version",
                                    LIBSPAWN__PICTURE_PLUGIN);
    dlclose(plugin);
    return rc;
}

/* For a QEMU that was built without PNG: its own format, into memory. */
static int
dump_and_convert(struct libspawn__qmp_session *session, int png_fd,
                 struct libspawn_err *err)
{
    AUTO_FD int memfd = memfd_create("libspawn-picture", MFD_CLOEXEC);
    char path[sizeof "/proc/self/fd/" + 3 * sizeof memfd];
    AUTO_FD int write_only = -1;
    AUTO_FREE char *ppm = NULL;
    size_t size;
    int rc;

    snprintf(path, sizeof path, "/proc/self/fd/%d", memfd);
    write_only = memfd < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);
    if (write_only < 0) {
        return libspawn__fail_errno(err, errno, "making a memory file");
    }
    rc = dump_screen(session, write_only, "ppm", err);
    if (!rc) {
        rc = libspawn__file_read(path, PICTURE_MAX_SIZE, &ppm, &size, err);
    }
    return rc ? rc : convert(ppm, size, png_fd, err);
}

int
libspawn__monitor_screenshot(struct libspawn_host *host, uint32_t domid,
                             const char *path, struct libspawn_err *err)
{
    struct libspawn__qmp_session *session = NULL;
    AUTO_FD int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "writing '%s'", path);
    }
    rc = open_session(host, domid, &session, err);
    if (!rc && dump_screen(session, fd, "png", NULL)) {
        rc = dump_and_convert(session, fd, err);
    }
    libspawn__qmp_session_close(session);
    if (rc) {
        unlink(path);
    }
    return rc;
}
