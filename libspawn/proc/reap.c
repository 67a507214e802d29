/*
 * The sender is a child that shares nothing and runs nothing but system calls.
 * It ends without a signal, so that a caller who waits for any child, or
 * handles SIGCHLD, hears nothing of it; and it is made by clone(2) itself, so
 * that no handler of fork runs.
 */
#include "proc/reap.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "proc/id_calls.h"

enum {
    KILL_ATTEMPTS = 2
};

/* Its own doing, and looked at afterwards: with a capability left, or another
 * id, the signal would go to everybody. */
static int
become_sender(uint32_t real, uint32_t effective)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
    uid_t ids[3] = { 0, 0, 0 };
    size_t i;

    if (syscall(CALL_SETRESUID, real, effective, 0) < 0 ||
        syscall(SYS_capset, &header, none) < 0 ||
        syscall(CALL_GETRESUID, &ids[0], &ids[1], &ids[2]) < 0 ||
        syscall(SYS_capget, &header, data) < 0) {
        return errno;
    }
    for (i = 0; i < ARRAY_SIZE(data); i++) {
        if (data[i].effective || data[i].permitted) {
            return EPERM;
        }
    }
    return ids[0] == real && ids[1] == effective ? 0 : EPERM;
}

/* The sender's whole life; its exit code is an errno. */
_Noreturn static void
run_sender(uint32_t real, uint32_t effective)
{
    int r = become_sender(real, effective);

    if (r == EINVAL) {
        r = 0; /* not an id in this user namespace: nobody has it */
    } else if (!r && syscall(SYS_kill, -1, SIGKILL) < 0 && errno != ESRCH) {
        r = errno;
    }
    _exit(r);
}

/* 0, an errno, or EINTR when the sender itself was killed. */
static int
send_once(uint32_t uid)
{
    uint32_t real = LIBSPAWN__REAPER_BASE + uid % LIBSPAWN__REAPER_RANGE;
    pid_t pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
    int status;
    pid_t r;

    if (pid < 0) {
        return errno;
    }
    if (!pid) {
        run_sender(real, uid);
    }
    do {
        r = waitpid(pid, &status, __WALL);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        return errno;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

int
libspawn__reap_uid(uint32_t uid, struct libspawn_err *err)
{
    int r = EINTR;
    int i;

    if (uid == 0 || uid == UINT32_MAX || uid >= LIBSPAWN__REAPER_BASE) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the processes of user id %u are not to be "
                              "ended",
                              uid);
    }
    if (geteuid() != 0) {
        return libspawn__fail(err, LIBSPAWN_ERR_DENIED,
                              "only root can end the processes of user id %u",
                              uid);
    }
    for (i = 0; r == EINTR && i < KILL_ATTEMPTS; i++) {
        r = send_once(uid);
    }
    return r ? libspawn__fail_errno(err, r,
                                    "ending the processes of user id %u", uid)
             : 0;
}
