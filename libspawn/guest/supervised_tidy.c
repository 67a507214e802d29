/*
 * What supervisors and monitors leave that were killed: files that nobody has
 * locked, and halves of files that were about to get their names.
 */
#include "guest/supervised.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/pidfile.h"

/* A supervisor has its pid file before it makes a socket, so if there is none
 * now, whoever made one that we have seen is dead. */
static bool
is_unsupervised(const struct libspawn_host *host, const char *name,
                const char *end)
{
    (void)end;
    return !libspawn__supervised_is(host, name);
}

static bool
is_of_nobody(const struct libspawn_host *host, const char *name,
             const char *end)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    uint64_t pid;

    (void)host;
    (void)name;
    return !libspawn__str_to_u64(end, 1, INT32_MAX, &pid, NULL) &&
           libspawn__pidref_from_pid((pid_t)pid, &ref, NULL) ==
               LIBSPAWN_ERR_GONE;
}

/* As wire/stream_unix.c and proc/pidfile.c name them. */
static const struct {
    const char *infix; /* behind the guest's name */
    bool (*is_left)(const struct libspawn_host *host, const char *name,
                    const char *end);
} halves[] = {
    { ".sock.tmp-", is_unsupervised },
    { ".pid.new-", is_of_nobody },
    { ".monitor.new-", is_of_nobody },
};

static bool
is_left(const struct libspawn_host *host, const char *name, const char *file)
{
    const char *rest;
    size_t i;

    if (!libspawn__str_has_prefix(file, name)) {
        return false;
    }
    rest = file + strlen(name);
    for (i = 0; i < ARRAY_SIZE(halves); i++) {
        if (libspawn__str_has_prefix(rest, halves[i].infix)) {
            return halves[i].is_left(host, name,
                                     rest + strlen(halves[i].infix));
        }
    }
    return false;
}

static void
tidy_halves(const struct libspawn_host *host, const char *name)
{
    AUTO_FREE char *path = libspawn__supervised_dir(host);
    DIR *dir = path ? opendir(path) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (is_left(host, name, entry->d_name)) {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

void
libspawn__supervised_tidy(const struct libspawn_host *host, const char *name)
{
    AUTO_FREE char *pid_path = libspawn__supervised_pid_path(host, name);
    AUTO_FREE char *control_path =
        libspawn__supervised_control_path(host, name);
    AUTO_FREE char *monitor_path =
        libspawn__supervised_monitor_path(host, name);

    if (pid_path && control_path && monitor_path) {
        libspawn__pidfile_tidy(pid_path, control_path, NULL);
        libspawn__pidfile_tidy(monitor_path, NULL, NULL);
    }
    tidy_halves(host, name);
}
