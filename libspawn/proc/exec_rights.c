/*
 * Whose rights the child has: user, groups, capabilities.
 *
 * By system calls and not by glibc's functions of the same names, which change
 * every thread of a process: after clone3(2) glibc believes in threads that
 * exist only in the parent, and would wait for them.
 *
 * Knowledge: capabilities(7), prctl(2), credentials(7).
 */
#include "proc/exec_steps.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "proc/id_calls.h"

enum {
    N_CAPABILITIES = 64 /* more than there are; the set has as many bits */
};

static bool
is_kept(const struct libspawn__exec *exec, int capability)
{
    return exec->plan->capabilities >> capability & 1;
}

/* ---- While it has all rights ------------------------------------------- */

int
libspawn__exec_reduce_bounding_set(struct libspawn__exec *exec)
{
    int i;

    for (i = 0; i < N_CAPABILITIES; i++) {
        int is_there = prctl(PR_CAPBSET_READ, i, 0, 0, 0);

        if (is_there < 0) {
            break; /* behind the last one that this kernel knows */
        }
        if (is_there && !is_kept(exec, i) &&
            prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
            return -1;
        }
    }
    return 0;
}

static bool
keeps_capabilities(const struct libspawn__exec *exec)
{
    return exec->plan->options & LIBSPAWN__PLAN_CAPABILITIES &&
           exec->plan->capabilities;
}

int
libspawn__exec_set_securebits(struct libspawn__exec *exec)
{
    unsigned long bits = exec->plan->securebits;

    if (keeps_capabilities(exec)) {
        /* Only now: it may be locked afterwards.  Exec clears it. */
        bits |= SECBIT_KEEP_CAPS;
    }
    return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0);
}

int
libspawn__exec_set_groups(struct libspawn__exec *exec)
{
    const struct libspawn__plan_groups *groups = &exec->plan->groups;

    return (int)syscall(CALL_SETGROUPS, groups->n_items, groups->items);
}

int
libspawn__exec_set_group(struct libspawn__exec *exec)
{
    gid_t gid = (gid_t)exec->plan->gid;

    return (int)syscall(CALL_SETRESGID, gid, gid, gid);
}

int
libspawn__exec_set_user(struct libspawn__exec *exec)
{
    uid_t uid = (uid_t)exec->plan->uid;

    if (keeps_capabilities(exec) &&
        !(exec->plan->options & LIBSPAWN__PLAN_SECUREBITS) &&
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) {
        return -1;
    }
    return (int)syscall(CALL_SETRESUID, uid, uid, uid);
}

/* ---- The rights that remain -------------------------------------------- */

/* Through exec they are carried by the ambient set, for root also without. */
static int
raise_ambient(const struct libspawn__exec *exec)
{
    int bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
    int i;

    if (bits < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) {
        return -1;
    }
    for (i = 0; i < N_CAPABILITIES; i++) {
        if (is_kept(exec, i) && !(bits & SECBIT_NO_CAP_AMBIENT_RAISE) &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0) {
            return -1;
        }
    }
    return 0;
}

int
libspawn__exec_set_capabilities(struct libspawn__exec *exec)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(data); i++) {
        uint32_t part = (uint32_t)(exec->plan->capabilities >> 32 * i);

        data[i].effective = data[i].permitted = data[i].inheritable = part;
    }
    if (syscall(SYS_capset, &header, data) < 0) {
        return -1;
    }
    return raise_ambient(exec);
}

int
libspawn__exec_set_no_new_privs(struct libspawn__exec *exec)
{
    (void)exec;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
