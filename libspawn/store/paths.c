#include "store/paths.h"

#include "base/str.h"

/* The domain id stands between the two. */
static const struct {
    const char *before;
    const char *behind;
} paths[] = {
#define DOMAIN "/local/domain/"
    [LIBSPAWN__PATH_DOMAIN] = { DOMAIN, "" },
    [LIBSPAWN__PATH_DOMAIN_DOMID] = { DOMAIN, "/domid" },
    [LIBSPAWN__PATH_DOMAIN_NAME] = { DOMAIN, "/name" },
    [LIBSPAWN__PATH_DOMAIN_VM] = { DOMAIN, "/vm" },
    [LIBSPAWN__PATH_DOMAIN_CPU] = { DOMAIN, "/cpu" },
    [LIBSPAWN__PATH_DOMAIN_MEMORY] = { DOMAIN, "/memory" },
    [LIBSPAWN__PATH_DOMAIN_TARGET] = { DOMAIN, "/memory/target" },
    [LIBSPAWN__PATH_DOMAIN_VCPUS] = { DOMAIN, "/vcpus" },
    [LIBSPAWN__PATH_DOMAIN_CONTROL] = { DOMAIN, "/control" },
    [LIBSPAWN__PATH_DOMAIN_SHUTDOWN] = { DOMAIN, "/control/shutdown" },
    [LIBSPAWN__PATH_DOMAIN_STORE] = { DOMAIN, "/store" },
    [LIBSPAWN__PATH_DOMAIN_DEVICE] = { DOMAIN, "/device" },
    [LIBSPAWN__PATH_DOMAIN_HVMLOADER] = { DOMAIN, "/hvmloader" },
    [LIBSPAWN__PATH_DOMAIN_PLATFORM] = { DOMAIN, "/platform" },
    [LIBSPAWN__PATH_CONSOLE] = { DOMAIN, "/console" },
    [LIBSPAWN__PATH_CONSOLE_TTY] = { DOMAIN, "/console/tty" },
    [LIBSPAWN__PATH_CONSOLE_VNC_LISTEN] = { DOMAIN, "/console/vnc-listen" },
    [LIBSPAWN__PATH_CONSOLE_VNC_PORT] = { DOMAIN, "/console/vnc-port" },
    [LIBSPAWN__PATH_CONSOLE_VNC_PASS] = { DOMAIN, "/console/vnc-pass" },
#define DM "/local/domain/0/device-model/"
    [LIBSPAWN__PATH_DM] = { DM, "" },
    [LIBSPAWN__PATH_DM_STATE] = { DM, "/state" },
    [LIBSPAWN__PATH_DM_PID] = { DOMAIN, "/image/device-model-pid" },
    [LIBSPAWN__PATH_DM_KILL_UID] = { DOMAIN, "/image/device-model-kill-uid" },
#define LIBXL "/libxl/"
    [LIBSPAWN__PATH_LIBXL] = { LIBXL, "" },
    [LIBSPAWN__PATH_LIBXL_TYPE] = { LIBXL, "/type" },
    [LIBSPAWN__PATH_LIBXL_DM_VERSION] = { LIBXL, "/dm-version" },
    [LIBSPAWN__PATH_LIBXL_DEVICE] = { LIBXL, "/device" },
    [LIBSPAWN__PATH_LIBXL_LIBSPAWN] = { LIBXL, "/libspawn" },
    [LIBSPAWN__PATH_RECORD] = { LIBXL, "/libspawn/dm" },
    [LIBSPAWN__PATH_CONFIG_VERSION] = { LIBXL, "/libspawn/config-version" },
    [LIBSPAWN__PATH_SUPERVISED] = { LIBXL, "/libspawn/supervised" },
};

char *
libspawn__path_new(enum libspawn__path path, unsigned int domid)
{
    return libspawn__str_format("%s%u%s", paths[path].before, domid,
                                paths[path].behind);
}

char *
libspawn__path_serial_address(unsigned int domid, unsigned int serial)
{
    return libspawn__str_format(LIBXL "%u/libspawn/serial/%u", domid, serial);
}

char *
libspawn__path_serial_tty(unsigned int domid, unsigned int serial)
{
    return libspawn__str_format(DOMAIN "%u/serial/%u/tty", domid, serial);
}

char *
libspawn__path_vm(const char *uuid)
{
    return libspawn__str_format("/vm/%s", uuid);
}

char *
libspawn__path_frontend(unsigned int domid, const char *kind,
                        unsigned int devid)
{
    return libspawn__str_format(DOMAIN "%u/device/%s/%u", domid, kind, devid);
}

char *
libspawn__path_backend(unsigned int backend_domid, const char *kind,
                       unsigned int domid, unsigned int devid)
{
    return libspawn__str_format(DOMAIN "%u/backend/%s/%u/%u", backend_domid,
                                kind, domid, devid);
}

char *
libspawn__path_libxl_device(unsigned int domid, const char *kind,
                            unsigned int devid)
{
    return libspawn__str_format(LIBXL "%u/device/%s/%u", domid, kind, devid);
}
