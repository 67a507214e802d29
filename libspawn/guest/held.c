#include "guest/held.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "dm/serial.h"
#include "wire/stream.h"

void
libspawn__held_init(struct libspawn__held *held)
{
    size_t i;

    for (i = 0; i < LIBSPAWN__DM_NICS_MAX; i++) {
        held->nics[i] = -1;
    }
    for (i = 0; i < LIBSPAWN__DM_SERIALS_MAX; i++) {
        held->serials[i] = -1;
        held->serial_names[i] = NULL;
    }
}

void
libspawn__held_drop(struct libspawn__held *held, size_t index)
{
    libspawn__auto_close(&held->nics[index]);
    held->nics[index] = -1;
}

static void
drop_nics(struct libspawn__held *held)
{
    size_t i;

    for (i = 0; i < LIBSPAWN__DM_NICS_MAX; i++) {
        libspawn__held_drop(held, i);
    }
}

void
libspawn__held_dispose(struct libspawn__held *held)
{
    drop_nics(held);
    libspawn__held_drop_serials(held);
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

/* ---- Serial ports ------------------------------------------------------ */

static void
drop_serial(struct libspawn__held *held, size_t index)
{
    libspawn__auto_close(&held->serials[index]);
    held->serials[index] = -1;
    free(TAKE_PTR(held->serial_names[index]));
}

void
libspawn__held_drop_serials(struct libspawn__held *held)
{
    size_t i;

    for (i = 0; i < LIBSPAWN__DM_SERIALS_MAX; i++) {
        drop_serial(held, i);
    }
}

void
libspawn__held_confirm_serial(struct libspawn__held *held, size_t index,
                              const char *name)
{
    if (!libspawn__str_equal(held->serial_names[index], name)) {
        drop_serial(held, index);
    }
}

void
libspawn__held_keep_serial(struct libspawn__held *held, size_t index, int fd,
                           const char *name)
{
    drop_serial(held, index);
    held->serial_names[index] = strdup(name);
    if (held->serial_names[index]) {
        held->serials[index] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
}

int
libspawn__held_copy_serial(const struct libspawn__held *held, size_t index,
                           const char *name)
{
    return held->serials[index] >= 0 &&
                   libspawn__str_equal(held->serial_names[index], name)
               ? fcntl(held->serials[index], F_DUPFD_CLOEXEC, 0)
               : -1;
}

/* ---- From a device model ----------------------------------------------- */

static int
take(const struct libspawn__pidref *model, int number)
{
    return (int)syscall(SYS_pidfd_getfd, model->fd, number, 0u);
}

/* Its descriptor of that number may be anything by now. */
static void
recover_serial(struct libspawn__held *held, size_t index, int fd,
               const char *name)
{
    AUTO_FREE char *number = libspawn__str_format("pfd:%d", fd);
    int listener;

    if (number && libspawn__serial_kind(name) != LIBSPAWN__SERIAL_CONNECTS &&
        !libspawn__stream_listen_anywhere(number, 0, &listener, NULL)) {
        libspawn__held_keep_serial(held, index, listener, name);
    }
}

void
libspawn__held_recover(struct libspawn__held *held, pid_t model,
                       const struct libspawn_guest_config *config)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    size_t i;

    if (libspawn__pidref_from_pid(model, &ref, NULL)) {
        return;
    }
    for (i = 0; i < LIBSPAWN__DM_NICS_MAX; i++) {
        AUTO_FD int fd = take(&ref, LIBSPAWN__DM_NIC_FD + (int)i);

        if (fd >= 0) {
            libspawn__held_keep(held, i, fd);
        }
    }
    for (i = 0; i < MIN(config->n_serials, LIBSPAWN__DM_SERIALS_MAX); i++) {
        AUTO_FD int fd = take(&ref, LIBSPAWN__DM_SERIAL_FD + (int)i);

        if (fd >= 0) {
            recover_serial(held, i, fd, config->serials[i]);
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
    fd = take(ref, (int)theirs);
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

    drop_nics(held);
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
