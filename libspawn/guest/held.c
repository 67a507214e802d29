#include "guest/held.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"

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

    return held->nics[index] >= 0 && read_name(held->nics[index], held_name) &&
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

/* By its link, so that nothing else is even touched. */
static bool
is_tap(int dir_fd, const char *number)
{
    static const char device[] = "/dev/net/tun";
    char target[sizeof device + 1];
    ssize_t size = readlinkat(dir_fd, number, target, sizeof target);

    return size == sizeof device - 1 && !memcmp(target, device, (size_t)size);
}

static size_t
find_free(const struct libspawn__held *held)
{
    size_t i = 0;

    while (i < LIBSPAWN__DM_NICS_MAX && held->nics[i] >= 0) {
        i++;
    }
    return i;
}

static void
share(struct libspawn__held *held, const struct libspawn__pidref *ref,
      const char *number)
{
    size_t index = find_free(held);
    AUTO_FD int fd = -1;
    uint64_t theirs;

    if (index == LIBSPAWN__DM_NICS_MAX ||
        libspawn__str_to_u64(number, 0, INT32_MAX, &theirs, NULL)) {
        return;
    }
    fd = (int)syscall(SYS_pidfd_getfd, ref->fd, (int)theirs, 0u);
    if (fd >= 0) {
        libspawn__held_keep(held, index, fd);
    }
}

void
libspawn__held_share(struct libspawn__held *held, pid_t model)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/fd", (int)model);
    struct dirent *entry;
    DIR *dir;

    libspawn__held_dispose(held);
    if (!path || libspawn__pidref_from_pid(model, &ref, NULL)) {
        return;
    }
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        if (is_tap(dirfd(dir), entry->d_name)) {
            share(held, &ref, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
}
