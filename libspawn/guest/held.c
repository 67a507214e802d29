#include "guest/held.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"

void
libspawn__held_init(struct libspawn__held *held)
{
    size_t i;

    for (i = 0; i < LIBSPAWN__DM_NICS_MAX; i++) {
        held->nics[i] = -1;
    }
}

void
libspawn__held_drop(struct libspawn__held *held, size_t index)
{
    libspawn__auto_close(&held->nics[index]);
    held->nics[index] = -1;
}

void
libspawn__held_dispose(struct libspawn__held *held)
{
    size_t i;

    for (i = 0; i < LIBSPAWN__DM_NICS_MAX; i++) {
        libspawn__held_drop(held, i);
    }
}

static bool
read_name(int fd, char name[IFNAMSIZ])
{
    struct ifreq request;

    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0) {
        return false;
    }
    memcpy(name, request.ifr_name, IFNAMSIZ);
    return true;
}

void
libspawn__held_keep(struct libspawn__held *held, size_t index, int fd)
{
    char name[IFNAMSIZ];

    libspawn__held_drop(held, index);
    if (read_name(fd, name)) {
        held->nics[index] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
}

int
libspawn__held_copy(const struct libspawn__held *held, size_t index,
                    const char *name)
{
    char held_name[IFNAMSIZ];

    return held->nics[index] >= 0 &&
                   read_name(held->nics[index], held_name) &&
                   !strncmp(held_name, name, IFNAMSIZ)
               ? fcntl(held->nics[index], F_DUPFD_CLOEXEC, 0)
               : -1;
}

void
libspawn__held_recover(struct libspawn__held *held, pid_t model)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    size_t i;

    if (libspawn__pidref_from_pid(model, &ref, NULL)) {
        return;
    }
    for (i = 0; i < LIBSPAWN__DM_NICS_MAX; i++) {
        AUTO_FD int fd = (int)syscall(SYS_pidfd_getfd, ref.fd,
                                      LIBSPAWN__DM_NIC_FD + (int)i, 0u);

        if (fd >= 0) {
            libspawn__held_keep(held, i, fd);
        }
    }
}
