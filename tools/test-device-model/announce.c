#include "tools/test-device-model/announce.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "store/store.h"

#define READY_VALUE "running"

/* With the signals as a program expects them, whatever we have done. */
static int
spawn_plainly(const char *program, char **argv, pid_t *pid_r)
{
    posix_spawnattr_t attr;
    sigset_t none;
    sigset_t broken_pipe;
    int r = posix_spawnattr_init(&attr);

    if (r) {
        return r;
    }
    sigemptyset(&none);
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &broken_pipe);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    r = posix_spawnp(pid_r, program, NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    return r;
}

/* The path is relative to the domain of whoever writes, as QEMU has it. */
static int
write_to_xenstore(const char *domid, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv argv = { 0 };
    int status = 0;
    pid_t pid;
    int rc;
    int r;

    rc = libspawn__strv_add(&argv, "xenstore-write", err);
    if (!rc) {
        rc = libspawn__strv_addf(&argv, err, "device-model/%s/state", domid);
    }
    if (!rc) {
        rc = libspawn__strv_add(&argv, READY_VALUE, err);
    }
    if (rc) {
        return rc;
    }
    r = spawn_plainly(argv.items[0], argv.items, &pid);
    if (r == ENOENT) {
        return 0;
    }
    if (r) {
        return libspawn__fail_errno(err, r, "running 'xenstore-write'");
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        /* Nobody else reaps it. */
    }
    return status ? libspawn__fail(err, LIBSPAWN_ERR_CHILD,
                                   "'xenstore-write' failed, wait status %d",
                                   status)
                  : 0;
}

static int
write_to_directory(const char *directory, const char *node,
                   struct libspawn_err *err)
{
    AUTO_FREE char *address = libspawn__str_format("dir:%s", directory);
    struct libspawn__store *store;
    int rc;

    if (!address) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__store_open(address, &store, err);
    if (rc) {
        return rc;
    }
    rc = libspawn__store_puts(store, NULL, node, READY_VALUE, err);
    libspawn__store_close(store);
    return rc;
}

static int
write_newline(int fd, struct libspawn_err *err)
{
    int r = libspawn__fd_write_full(fd, "\n", 1);

    close(fd);
    return r ? libspawn__fail_errno(err, -r, "writing to descriptor %d", fd)
             : 0;
}

int
announce_ready(const struct options *options, struct libspawn_err *err)
{
    int rc = 0;

    if (options->store_dir) {
        rc = write_to_directory(options->store_dir, options->state_node, err);
    }
    if (!rc && options->xen_domid) {
        rc = write_to_xenstore(options->xen_domid, err);
    }
    if (!rc && options->notify_fd >= 0) {
        rc = write_newline(options->notify_fd, err);
    }
    return rc;
}
