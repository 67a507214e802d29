/*
 * What is known of device models that were probed (dm/probe.h): one small
 * file, so that a program is asked once and not at each start.
 *
 * An entry belongs to the very file that was run, by device, inode, size and
 * both times; a program that was replaced has none.  What does not read as an
 * entry of this version makes the whole file count as empty: the worst that
 * can happen is one probe more.  Format: docs/PROTOCOLS.md, "Device models".
 */
#ifndef LIBSPAWN_DM_PROBE_CACHE_H
#define LIBSPAWN_DM_PROBE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum libspawn__dm_feature {
    LIBSPAWN__DM_SANDBOX = 1 << 0, /* LIBSPAWN__DM_SANDBOX_VALUE is accepted */
    LIBSPAWN__DM_CHROOT = 1 << 1,  /* -chroot */
    LIBSPAWN__DM_RUNAS = 1 << 2,   /* -runas */
    LIBSPAWN__DM_RUN_WITH_CHROOT = 1 << 3, /* -run-with chroot= */
    LIBSPAWN__DM_RUN_WITH_USER = 1 << 4,   /* -run-with user= */
    /* -xen-domid-restrict.  A QEMU without Xen may have it too, but such a
     * one cannot serve a guest on Xen anyway. */
    LIBSPAWN__DM_XEN_DOMID_RESTRICT = 1 << 5
};

enum {
    LIBSPAWN__DM_VERSION_SIZE = 32
};

struct libspawn__dm_support {
    unsigned int features;                   /* enum libspawn__dm_feature */
    char version[LIBSPAWN__DM_VERSION_SIZE]; /* "7.2.22"; "" when unknown */
};

/* Which file a program is. */
struct libspawn__dm_identity {
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    uint64_t mtime_ns;
    uint64_t ctime_ns;
};

/* LIBSPAWN_ERR_INVALID for what is no regular file. */
int libspawn__dm_identify(const char *program,
                          struct libspawn__dm_identity *id_r,
                          struct libspawn_err *err);

/* False when nothing is known, or not any more. */
bool libspawn__probe_cache_find(const char *state_dir,
                                const struct libspawn__dm_identity *id,
                                struct libspawn__dm_support *support_r);

/* Takes the place of what was known of the program; the oldest entry goes
 * when there are many.  'lifetime_s' is 0 for ever.  LIBSPAWN_ERR_BUSY when
 * another process writes: nobody waits for a convenience. */
int libspawn__probe_cache_store(const char *state_dir,
                                const struct libspawn__dm_identity *id,
                                const struct libspawn__dm_support *support,
                                unsigned int lifetime_s,
                                struct libspawn_err *err);

#endif
