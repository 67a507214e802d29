#include "guest/qemu/qemu.h"

char *
libspawn__qemu_guest_dir(const struct libspawn_host *host, uint32_t domid)
{
    return libspawn__str_format("%s/guests/%u", host->state_dir,
                                (unsigned int)domid);
}

char *
libspawn__qemu_guest_file(const struct libspawn_host *host, uint32_t domid,
                          const char *name)
{
    return libspawn__str_format("%s/guests/%u/%s", host->state_dir,
                                (unsigned int)domid, name);
}

char *
libspawn__qemu_serial_path(const struct libspawn_host *host, uint32_t domid,
                           unsigned int number)
{
    return libspawn__str_format("%s/guests/%u/serial%u", host->state_dir,
                                (unsigned int)domid, number);
}

char *
libspawn__qemu_log_path(const struct libspawn_host *host, const char *name)
{
    return libspawn__str_format("%s/log/qemu-dm-%s.log", host->state_dir,
                                name);
}
