#include "proc/program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "proc/exec.h"
#include "proc/protocol.h"

/* ---- Finding ----------------------------------------------------------- */

static char *
beside_this_program(const char *name)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    char *slash;

    if (len < 0) {
        return NULL;
    }
    path[len] = '\0';
    slash = strrchr(path, '/');
    return slash ? libspawn__str_format("%.*s/%s", (int)(slash - path), path,
                                        name)
                 : NULL;
}

int
libspawn__program_find(const char *name, char **path_r,
                       struct libspawn_err *err)
{
    AUTO_FREE char *path = beside_this_program(name);

    if (!path || access(path, X_OK) < 0) {
        free(path);
        path = libspawn__str_format("%s/%s", LIBSPAWN_LIBEXECDIR, name);
    }
    if (!path) {
        return libspawn__fail_nomem(err);
    }
    if (access(path, X_OK) < 0) {
        return libspawn__fail_errno(err, errno, "looking for the program '%s'",
                                    path);
    }
    *path_r = TAKE_PTR(path);
    return 0;
}

/* ---- Starting ---------------------------------------------------------- */

static int
add_file_actions(posix_spawn_file_actions_t *actions, int fd, bool keep_output)
{
    int r =
        posix_spawn_file_actions_adddup2(actions, fd, LIBSPAWN__WATCHER_FD);
    int n_null = keep_output ? STDOUT_FILENO : LIBSPAWN__WATCHER_FD;
    int i;

    for (i = 0; !r && i < n_null; i++) {
        r = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR,
                                             0);
    }
    if (!r) {
        r = posix_spawn_file_actions_addclosefrom_np(actions,
                                                     LIBSPAWN__WATCHER_FD + 1);
    }
    return r;
}

static int
set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t set;
    int r;

    sigfillset(&set);
    r = posix_spawnattr_setsigdefault(attributes, &set);
    if (!r) {
        sigemptyset(&set);
        r = posix_spawnattr_setsigmask(attributes, &set);
    }
    if (!r) {
        r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF |
                                                     POSIX_SPAWN_SETSIGMASK |
                                                     POSIX_SPAWN_SETSID);
    }
    return r;
}

int
libspawn__program_spawn(const char *path, char *const argv[],
                        char *const envp[], int fd, bool keep_output,
                        pid_t *pid_r)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int r = posix_spawn_file_actions_init(&actions);

    if (r) {
        return r;
    }
    r = posix_spawnattr_init(&attributes);
    if (!r) {
        r = add_file_actions(&actions, fd, keep_output);
        if (!r) {
            r = set_attributes(&attributes);
        }
        if (!r) {
            r = posix_spawn(pid_r, path, &actions, &attributes, argv, envp);
        }
        if (r == EPERM || r == EINVAL) {
            /* A filter of system calls that refuses clone3(2): glibc then
             * goes on without it only after ENOSYS.  What it prints is lost
             * then, and its environment is empty. */
            r = libspawn__exec_spawn(path, argv, fd, pid_r);
        }
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

/* EAGAIN means a limit of processes here, not that somebody is busy. */
int
libspawn__program_fail(struct libspawn_err *err, int sys_errno,
                       const char *path)
{
    int rc = libspawn__fail_errno(err, sys_errno, "starting '%s'", path);

    if (sys_errno == EAGAIN) {
        rc = LIBSPAWN_ERR_LIMIT;
        if (err) {
            err->code = rc;
        }
    }
    return rc;
}
