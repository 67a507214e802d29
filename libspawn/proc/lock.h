/*
 * Lock files: made once, mode 0600, never unlinked; what they contain decides
 * nothing.  docs/PROTOCOLS.md, "Lock files", is for other languages.
 *
 * A lock belongs to the open file description (F_OFD_SETLK, fcntl(2)): it ends
 * with the process at the latest, and opening and closing the same file
 * elsewhere in the process does not drop it.  The classic locks of scripts
 * (F_SETLK, lockf(3), Python's fcntl.lockf) exclude it and are excluded;
 * flock(2) is another family and excludes nothing here.
 *
 * A process that takes one twice would wait for itself for ever, and the
 * kernel does not look for that among these locks.  So there is a table of
 * what this process holds, by device and inode, and an order of the locks
 * (docs/ARCHITECTURE.md, "Locks"): who may have to wait must not hold one of a
 * later rank.  Waiting without blocking is in proc/lock_wait.h.
 */
#ifndef LIBSPAWN_PROC_LOCK_H
#define LIBSPAWN_PROC_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/list.h"

/* Places in the order.  Without one a lock can only be tried. */
#define LIBSPAWN__LOCK_RANK_NONE UINT64_C(0)
#define LIBSPAWN__LOCK_RANK_HOST UINT64_C(1)
#define LIBSPAWN__LOCK_RANK_GUEST(DOMID) ((UINT64_C(1) << 32) + (DOMID))
#define LIBSPAWN__LOCK_RANK_PCI (UINT64_C(1) << 33) /* behind any guest */

struct libspawn__lock;

struct libspawn__lock_request {
    const char *path; /* absolute, if the process changes its directory */
    const char *name; /* "the host lock"; what people read */
    uint64_t rank;
    /* The lock of the highest rank that the same operation has already; NULL,
     * or one that is not taken: none. */
    const struct libspawn__lock *holding;
    /* The content of the file has a purpose of its own, as in a pid file;
     * otherwise the holder writes its line into it. */
    bool has_content;
};

/* One that is taken.  It must stay where it is until it is released. */
struct libspawn__lock {
    int fd; /* -1: not taken; borrowed by who writes the content */
    uint64_t rank;

    /* Private. */
    char *path;
    char *name;
    bool has_content;
    pid_t pid; /* who took it: process and thread */
    pid_t tid;
    dev_t device;
    ino_t inode;
    struct libspawn__list link; /* in the table of the process */
};

#define LIBSPAWN__LOCK_INIT { .fd = -1 }

/* LIBSPAWN_ERR_BUSY, with a sentence that names the holder, instead of
 * waiting.  When that is this process, the errno is EDEADLK.  A lock file that
 * is missing is made; its directory is not. */
int libspawn__lock_try(const struct libspawn__lock_request *request,
                       struct libspawn__lock *lock_r,
                       struct libspawn_err *err);

/* Waits in the kernel.  LIBSPAWN_ERR_BUSY with EDEADLK when this thread has
 * the same lock, or one of a later rank that somebody may wait for who has
 * this one; LIBSPAWN_ERR_INVALID when 'holding' is of a later rank, whether
 * somebody has the lock or not. */
int libspawn__lock_take(const struct libspawn__lock_request *request,
                        struct libspawn__lock *lock_r,
                        struct libspawn_err *err);

/* Whether it is held by this process, and still is what others would wait
 * for.  LIBSPAWN_ERR_INVALID in a forked child, which only has a copy of the
 * descriptor; LIBSPAWN_ERR_GONE when somebody has deleted or replaced the
 * file, so that another process may have locked another file of the name. */
int libspawn__lock_check(const struct libspawn__lock *lock,
                         struct libspawn_err *err);

/* Lets others in, and returns what libspawn__lock_check said just before: the
 * lock is released in every case.  In a forked child only the copy is closed.
 * One that is not taken is fine. */
int libspawn__lock_release(struct libspawn__lock *lock,
                           struct libspawn_err *err);

static inline void
libspawn__lock_dispose(struct libspawn__lock *lock)
{
    int saved_errno = errno;

    libspawn__lock_release(lock, NULL);
    errno = saved_errno;
}

#define AUTO_LOCK AUTO(libspawn__lock_dispose)

/* ---- Classic locks ----------------------------------------------------- */

/* For a program that goes on as another one: a lock of the process
 * (F_SETLKW), which passes through execve(2) and ends with whoever closes any
 * descriptor of the file.  *fd_r is not close-on-exec.
 *
 * The wait is in the kernel; 'interrupted' is called when a signal interrupts
 * it, with the descriptor that waits, and ends it by a value other than 0,
 * which is returned, 'err' being its own.  Without it the lock is only tried:
 * LIBSPAWN_ERR_BUSY.  That comes with EDEADLK also where the kernel sees that
 * two would wait for each other. */
typedef int
libspawn__lock_interrupted_fn(void *user, int fd,
                              const struct libspawn__lock_request *request,
                              struct libspawn_err *err);

int libspawn__lock_take_classic(const struct libspawn__lock_request *request,
                                libspawn__lock_interrupted_fn *interrupted,
                                void *user, int *fd_r,
                                struct libspawn_err *err);

/* ---- For who waits elsewhere (proc/lock_wait.c, spawn-watcher) ---------- */

/* Opens the file of a lock, to be claimed or waited for. */
int libspawn__lock_open(const char *path, int *fd_r, struct libspawn_err *err);

/* Takes the lock by *fd, which then is the lock's.  LIBSPAWN_ERR_BUSY as
 * above; LIBSPAWN__LOCK_STALE when the file has lost its name meanwhile: open
 * it anew. */
enum { LIBSPAWN__LOCK_STALE = 1 };
int libspawn__lock_claim(const struct libspawn__lock_request *request, int *fd,
                         struct libspawn__lock *lock_r,
                         struct libspawn_err *err);

/* What can be said before anything is waited for: see 'holding'. */
int libspawn__lock_check_order(const struct libspawn__lock_request *request,
                               struct libspawn_err *err);

/* Whether this thread may block until somebody else lets go of 'fd'; else as
 * libspawn__lock_take. */
int libspawn__lock_check_block(const struct libspawn__lock_request *request,
                               int fd, struct libspawn_err *err);

/* Blocks until the description behind 'fd' has the lock; 0 or -errno. */
int libspawn__lock_wait_fd(int fd);

/* "held by pid 12 (xl destroy) since 2026-11-21 14:03:11", of whoever is in
 * the way of 'fd'. */
enum { LIBSPAWN__LOCK_TEXT_SIZE = 160 };
void libspawn__lock_describe_holder(int fd,
                                    char text[LIBSPAWN__LOCK_TEXT_SIZE]);

/* The same for a file that is open for writing; it is locked until all copies
 * of 'fd' are closed. */
int libspawn__lock_try_fd(int fd, struct libspawn_err *err);

#endif
