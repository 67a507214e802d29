/*
 * What can be asked of a worker, as calls.  Each is a request as of
 * libspawn__worker_request and fails as that does; paths and bytes are copied,
 * descriptors stay the caller's.
 *
 * A program is ended by the worker at its limit, and the worker goes on; only
 * when that does not help the worker itself is ended, a little later.
 */
#ifndef LIBSPAWN_PROC_WORKER_CALLS_H
#define LIBSPAWN_PROC_WORKER_CALLS_H

#include "proc/worker.h"

enum {
    LIBSPAWN__WORKER_FILE_MS = 60000, /* one operation on a file */
    LIBSPAWN__WORKER_SCRIPT_MS = 40000, /* as the stock toolstack */
    LIBSPAWN__WORKER_CORE_MS = 30000,
    LIBSPAWN__WORKER_INFO_MS = 20000,
    LIBSPAWN__WORKER_MARGIN_MS = 5000 /* for the worker to end it by itself */
};

/* Who hears of it; without a function nobody does. */
struct libspawn__worker_hearer {
    libspawn__worker_reply_fn *fn;
    void *user;
};

/* ---- Class "io" -------------------------------------------------------- */

/* Appends to 'fd', which was opened for that.  With 'sync' it is on the disk
 * before the reply. */
int libspawn__worker_append(struct libspawn__worker *worker, int fd,
                            const struct iovec *bytes, bool sync,
                            const struct libspawn__worker_hearer *hearer,
                            struct libspawn_err *err);

/* 'path' becomes PATH.1, and so on up to PATH.n_old; the reply's descriptor is
 * a new file, open for appending. */
int libspawn__worker_rotate(struct libspawn__worker *worker, const char *path,
                            uint32_t n_old, mode_t mode,
                            const struct libspawn__worker_hearer *hearer,
                            struct libspawn_err *err);

/* A core file, whose summary is written. */
struct libspawn__worker_core {
    const char *debugger; /* NULL: gdb as installed */
    const char *core;
    const char *program; /* that left it */
    int output_fd;       /* the summary is appended there */
    uint32_t limit_ms;   /* 0: the default */
};

/* The reply is that of a program; without a debugger, or with one that fails,
 * there is one line in place of the summary. */
int libspawn__worker_post_mortem(struct libspawn__worker *worker,
                                 const struct libspawn__worker_core *core,
                                 const struct libspawn__worker_hearer *hearer,
                                 struct libspawn_err *err);

/* ---- Class "probe" ----------------------------------------------------- */

/* Opens an image; 'flags' are LIBSPAWN__WORKER_IMAGE_WRITE and _DIRECT.  The
 * reply has the descriptor, and a struct libspawn__worker_image. */
int libspawn__worker_open_image(struct libspawn__worker *worker,
                                const char *path, uint32_t flags,
                                uint32_t limit_ms,
                                const struct libspawn__worker_hearer *hearer,
                                struct libspawn_err *err);

/* What `qemu-img info` says of the open image, as JSON.  'tool': NULL for
 * qemu-img as installed; 'limit_ms': 0 for the default. */
int libspawn__worker_image_info(struct libspawn__worker *worker, int fd,
                                const char *tool, uint32_t limit_ms,
                                const struct libspawn__worker_hearer *hearer,
                                struct libspawn_err *err);

struct libspawn__worker_program {
    const char *path;
    const char *const *argv; /* beginning with argument zero; ends with NULL */
    const char *const *env;  /* all of it; NULL: empty */
    uint32_t limit_ms;       /* 0: the default */
};

/* Runs it without a shell.  At the limit it is killed with all that it has
 * started; what it leaves when it ends in time stays. */
int libspawn__worker_script(struct libspawn__worker *worker,
                            const struct libspawn__worker_program *program,
                            const struct libspawn__worker_hearer *hearer,
                            struct libspawn_err *err);

/* Waits for a lock, opened by libspawn__lock_open: it can be claimed by 'fd'
 * when the reply has come.  At the limit the worker is replaced; after any
 * error 'fd' is to be closed, since the lock may have come with it.  For who
 * has a worker anyway; see proc/lock_wait.h. */
int libspawn__worker_lock(struct libspawn__worker *worker, int fd,
                          uint32_t limit_ms,
                          const struct libspawn__worker_hearer *hearer,
                          struct libspawn_err *err);

/* ---- Replies ----------------------------------------------------------- */

/* The reply of a program: how it ended, and where its last lines begin. */
int libspawn__worker_read_end(const struct libspawn__worker_reply *reply,
                              struct libspawn__worker_ended *end_r,
                              const char **tail_r, struct libspawn_err *err);
int libspawn__worker_read_image(const struct libspawn__worker_reply *reply,
                                struct libspawn__worker_image *image_r,
                                struct libspawn_err *err);

#endif
