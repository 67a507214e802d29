/*
 * What the main process (proc/worker.c) and a worker (tools/guest-worker/)
 * say to each other over one pair of byte streams.  docs/PROTOCOLS.md,
 * "Worker protocol", says the same in words.
 *
 *     main                         worker
 *       REQUEST + fds       ----->
 *       ORDER + fds         ----->                  a request without reply
 *                           <-----  REPLY + fds     to the REQUEST
 *                           <-----  DONE            the ORDER is done
 *                           <-----  COMPLAINT       "I leave, because"; last
 *
 * A message is a header and 'size' bytes.  Descriptors ride on its first byte,
 * as many as the header says and no others.  Requests are done one after the
 * other, and answered in their order with their sequence numbers.
 *
 * The payload of a request is the structure of its type and then, without
 * padding, strings with their NULs or bytes.  A reply with a code below zero
 * carries a sentence instead of what is said here.
 */
#ifndef LIBSPAWN_PROC_WORKER_PROTOCOL_H
#define LIBSPAWN_PROC_WORKER_PROTOCOL_H

#include <stdint.h>

enum {
    LIBSPAWN__WORKER_FD = 3,              /* the worker's end */
    LIBSPAWN__WORKER_MAGIC = 0x314b574c,  /* "LWK1" in memory */
    LIBSPAWN__WORKER_FDS_MAX = 8,         /* of one message */
    LIBSPAWN__WORKER_SIZE_MAX = 1024 * 1024 /* of one payload */
};

enum libspawn__worker_kind {
    LIBSPAWN__WORKER_REQUEST = 1,
    LIBSPAWN__WORKER_ORDER,
    LIBSPAWN__WORKER_REPLY,
    LIBSPAWN__WORKER_DONE,
    LIBSPAWN__WORKER_COMPLAINT
};

struct libspawn__worker_header {
    uint32_t magic;
    uint16_t kind;
    uint16_t n_fds;
    uint32_t type; /* enum libspawn__worker_type */
    uint32_t size; /* of the payload */
    uint64_t sequence;
    int32_t code; /* of an answer: 0 or enum libspawn_code */
    int32_t sys_errno;
};

enum libspawn__worker_type {
    /* Class "io": files of ours. */
    LIBSPAWN__WORKER_APPEND = 1,
    LIBSPAWN__WORKER_ROTATE,
    LIBSPAWN__WORKER_POST_MORTEM,
    /* Class "probe": what is not ours and may hang. */
    LIBSPAWN__WORKER_OPEN_IMAGE = 32,
    LIBSPAWN__WORKER_IMAGE_INFO,
    LIBSPAWN__WORKER_SCRIPT,
    LIBSPAWN__WORKER_LOCK,
    /* From here on those of tests. */
    LIBSPAWN__WORKER_TRIAL = 128
};

/* APPEND: the bytes behind this, to the file that comes along.  With 'sync'
 * they are on the disk when it is done. */
struct libspawn__worker_append {
    uint32_t sync;
};

/* ROTATE: a path.  It becomes PATH.1, which becomes PATH.2, and so on up to
 * 'n_old'; the reply carries a new PATH, opened for appending. */
struct libspawn__worker_rotate {
    uint32_t n_old; /* 0: the file is removed */
    uint32_t mode;
};

/* POST_MORTEM: paths of gdb, of a core file, and of its program.  A summary is
 * appended to the file that comes along; the reply is that of a program. */
struct libspawn__worker_post_mortem {
    uint32_t limit_ms;
};

/* OPEN_IMAGE: a path. */
enum {
    LIBSPAWN__WORKER_IMAGE_WRITE = 1,
    LIBSPAWN__WORKER_IMAGE_DIRECT = 2, /* O_DIRECT */
    /* For a file or block device, of which the first bytes are told.  What is
     * neither, such as a FIFO, is not opened: its descriptor is an O_PATH. */
    LIBSPAWN__WORKER_IMAGE_LOOK = 4,
    LIBSPAWN__WORKER_IMAGE_NAME = 8, /* O_PATH: nothing is opened */
    LIBSPAWN__WORKER_IMAGE_COPY = 16 /* the descriptor of a sealed copy */
};

enum { LIBSPAWN__WORKER_HEAD_SIZE = 32 };

struct libspawn__worker_open_image {
    uint32_t flags;
};

/* Its reply, with the descriptor. */
struct libspawn__worker_image {
    uint64_t size; /* also of a block device */
    uint64_t device;
    uint64_t inode;
    uint64_t raw_device; /* which one it is, of a device */
    uint32_t mode;       /* type and permissions */
    uint32_t head_size;  /* with IMAGE_LOOK; else 0 */
    unsigned char head[LIBSPAWN__WORKER_HEAD_SIZE];
};

/* IMAGE_INFO: path of qemu-img; the image comes along.  The reply is what
 * `qemu-img info --output=json` says. */
struct libspawn__worker_image_info {
    uint32_t limit_ms;
};

/* SCRIPT: path of a program, its arguments beginning with argument zero, and
 * its environment. */
struct libspawn__worker_script {
    uint32_t limit_ms;
    uint32_t n_args;
    uint32_t n_env;
};

/* How a program ended, with its last lines. */
struct libspawn__worker_ended {
    int32_t wait_status; /* as of wait(2) */
    uint32_t is_late;    /* it was killed at its limit */
};

/* LOCK: nothing; waits for the lock of proc/lock.h on the file that comes
 * along.  It belongs to the open file, and so to whoever sent that. */

#endif
