#include "guest/monitor.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/qmp.h"

enum { MONITOR_TIMEOUT_MS = 10000 }; /* what libxl allows a QMP command */

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

/* QEMU writes into a descriptor that it is given, so it needs no right to the
 * directory and cannot be led astray by the name.  It answers when the
 * picture is complete. */
int
libspawn__monitor_screenshot(struct libspawn_host *host, uint32_t domid,
                             const char *path, struct libspawn_err *err)
{
    struct libspawn__qmp_session *session = NULL;
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                          0644);
    int rc;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "writing '%s'", path);
    }
    rc = open_session(host, domid, &session, err);
    if (!rc) {
        rc = libspawn__qmp_session_run(session, "add-fd",
                                       "{\"fdset-id\":1}", fd, NULL, err);
    }
    if (!rc) {
        rc = libspawn__qmp_session_run(session, "screendump",
                                       "{\"filename\":\"/dev/fdset/1\","
                                       "\"format\":\"png\"}",
                                       -1, NULL, err);
        libspawn__qmp_session_run(session, "remove-fd", "{\"fdset-id\":1}", -1,
                                  NULL, NULL);
    }
    libspawn__qmp_session_close(session);
    if (rc) {
        unlink(path);
    }
    return rc;
}
