/*
 * What a watcher gives up once its child is released: it lives long, often as
 * root, and parses what others send.
 *
 * The filter outlives an upgrade, and the new program may be of a version, or
 * linked with a C library, that makes other calls than we do.  So it does not
 * list what we need, which nobody could correct later, but what no watcher
 * will ever need: new processes, other programs by their path, other
 * processes' memory, other ids and namespaces, the kernel's own business, and
 * every socket but those of this host.  A refused call gets EPERM, and the
 * kernel's audit log tells of it; to be killed instead would lose how the
 * child ended.  The child itself was forked before and has no part in it.
 *
 * A dozen lines of BPF and a table are all that is needed; libseccomp would be
 * linked into each watcher.
 */
#include "tools/spawn-watcher/watcher.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

#if defined __x86_64__
#define THIS_ARCH AUDIT_ARCH_X86_64
#define FOREIGN_CALLS 0x40000000 /* from here on those of x32 */
#elif defined __aarch64__
#define THIS_ARCH AUDIT_ARCH_AARCH64
#define FOREIGN_CALLS 0x40000000 /* none */
#endif

#ifdef THIS_ARCH

static const unsigned short denied[] = {
/* The sanitizers look at a process from another, and have threads. */
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    SYS_clone,
    SYS_clone3,
    SYS_ptrace,
#endif
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
    SYS_execve, /* an upgrade goes by descriptor: execveat(2) */

    /* other processes */
    SYS_kcmp,
    SYS_pidfd_getfd,
    SYS_process_madvise,
    SYS_process_vm_readv,
    SYS_process_vm_writev,

    /* other rights */
    SYS_capset,
    SYS_setfsgid,
    SYS_setfsuid,
    SYS_setgid,
    SYS_setgroups,
    SYS_setregid,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setreuid,
    SYS_setuid,

    /* other places */
    SYS_chroot,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_pivot_root,
    SYS_setns,
    SYS_umount2,
    SYS_unshare,

    /* the kernel */
    SYS_acct,
    SYS_add_key,
    SYS_adjtimex,
    SYS_bpf,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_finit_module,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_perf_event_open,
    SYS_quotactl,
    SYS_reboot,
    SYS_request_key,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_userfaultfd,
#ifdef SYS_iopl
    SYS_ioperm,
    SYS_iopl,
    SYS_modify_ldt,
#endif
};

enum {
    N_DENIED = ARRAY_SIZE(denied),
    N_BEFORE = 4, /* instructions before the table */
    N_BEHIND = 5, /* and behind it; the last one is the refusal */
    N_INSTRUCTIONS = N_BEFORE + N_DENIED + N_BEHIND
};
_Static_assert(N_INSTRUCTIONS < 256, "as far as a jump reaches");

#define LOAD(MEMBER)                                                          \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, MEMBER))
#define ANSWER(ACTION) BPF_STMT(BPF_RET | BPF_K, ACTION)

/* The first argument of a call is one word of two. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FIRST_ARGUMENT args[0]
#else
#define FIRST_ARGUMENT args[0] + 4
#endif

/* Jumps over so many instructions if the word that was loaded is like the
 * operand, or if it is not. */
static struct sock_filter
jump(unsigned short comparison, uint32_t operand, size_t over_if,
     size_t over_if_not)
{
    return (struct sock_filter)BPF_JUMP(
        (unsigned short)(BPF_JMP | comparison | BPF_K), operand,
        (unsigned char)over_if, (unsigned char)over_if_not);
}

static void
write_filter(struct sock_filter code[N_INSTRUCTIONS])
{
    enum { REFUSAL = N_INSTRUCTIONS - 1 };
    size_t n = 0;
    size_t i;

    code[n++] = (struct sock_filter)LOAD(arch);
    code[n] = jump(BPF_JEQ, THIS_ARCH, 0, REFUSAL - n - 1);
    n++;
    code[n++] = (struct sock_filter)LOAD(nr);
    code[n] = jump(BPF_JGE, FOREIGN_CALLS, REFUSAL - n - 1, 0);
    n++;
    for (i = 0; i < N_DENIED; i++, n++) {
        code[n] = jump(BPF_JEQ, denied[i], REFUSAL - n - 1, 0);
    }
    code[n++] = jump(BPF_JEQ, SYS_socket, 0, 2);
    code[n++] = (struct sock_filter)LOAD(FIRST_ARGUMENT);
    code[n++] = jump(BPF_JEQ, AF_UNIX, 0, 1);
    code[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    code[n] = (struct sock_filter)ANSWER(SECCOMP_RET_ERRNO | EPERM);
}

bool
watcher_confine_calls(void)
{
    struct sock_filter code[N_INSTRUCTIONS];
    const struct sock_fprog program = { N_INSTRUCTIONS, code };
    int i;

    write_filter(code);
    /* Without CAP_SYS_ADMIN only for those that will never gain rights. */
    for (i = 0; i < 2; i++) {
        if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                     SECCOMP_FILTER_FLAG_LOG, &program)) {
            return true;
        }
        if (errno != EACCES || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
            return false;
        }
    }
    return false;
}

#else

bool
watcher_confine_calls(void)
{
    return false; /* nobody has told which numbers this machine has */
}

#endif
