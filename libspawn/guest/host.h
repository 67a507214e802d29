/*
 * The host, for the guest layer: its locks, and cleaning up after the dead.
 *
 * Below the state directory, locks/host is held while names and numbers are
 * given, for a moment; locks/guest-D while guest D is made, changed or
 * removed; locks/pci while PCI devices are given.  Who only looks holds none.
 * The order is: the host, then guests by ascending number, then PCI devices;
 * docs/ARCHITECTURE.md, "Locks".
 */
#ifndef LIBSPAWN_GUEST_HOST_H
#define LIBSPAWN_GUEST_HOST_H

#include "guest/hypervisor.h"
#include "proc/lock_wait.h"

/* Wait for the lock of the host, or of a guest, and block meanwhile.
 * LIBSPAWN_ERR_ABORTED when the caller's libspawn_waiting_fn says so. */
int libspawn__host_lock(struct libspawn_host *host,
                        struct libspawn__lock *lock_r,
                        struct libspawn_err *err);
int libspawn__host_lock_guest(struct libspawn_host *host, uint32_t domid,
                              struct libspawn__lock *lock_r,
                              struct libspawn_err *err);

/* The same without blocking; see libspawn__lock_wait_start. */
int libspawn__host_lock_guest_start(struct libspawn_host *host, uint32_t domid,
                                    libspawn__lock_wait_fn *fn, void *user,
                                    struct libspawn__lock *lock_r,
                                    struct libspawn__lock_wait **wait_r,
                                    struct libspawn_err *err);

/* LIBSPAWN_ERR_BUSY instead of waiting. */
int libspawn__host_try_guest(struct libspawn_host *host, uint32_t domid,
                             struct libspawn__lock *lock_r,
                             struct libspawn_err *err);

/* The lock of the host, without blocking; see libspawn__lock_wait_start.
 * 'holding' is the lock that the same operation has already. */
int libspawn__host_lock_start(struct libspawn_host *host,
                              const struct libspawn__lock *holding,
                              libspawn__lock_wait_fn *fn, void *user,
                              struct libspawn__lock *lock_r,
                              struct libspawn__lock_wait **wait_r,
                              struct libspawn_err *err);

/* The lock of the table of PCI devices, which is held for a moment only; all
 * others may be held meanwhile. */
int libspawn__host_lock_pci(struct libspawn_host *host,
                            struct libspawn__lock *lock_r,
                            struct libspawn_err *err);

/* libspawn_guest_destroy for its supervisor, which has its lock. */
int libspawn__guest_destroy_locked(struct libspawn_host *host, uint32_t domid,
                                   struct libspawn_err *err);

/* The same on the loop, as a step: when it is pending, 'fn' comes once, only
 * from dispatch.  It cannot be stopped. */
int libspawn__guest_start_destroy_locked(struct libspawn_host *host,
                                         uint32_t domid,
                                         libspawn__destroyed_fn *fn,
                                         void *user,
                                         struct libspawn_err *err);

/* Lets go; warns when the lock was none any more. */
void libspawn__host_unlock(struct libspawn_host *host,
                           struct libspawn__lock *lock);

/* Where the state is, by what was given (NULL or "": nothing), the
 * environment, and who we are; it need not be there.  '*path_r' is freed. */
int libspawn__host_find_state_dir(const char *given, char **path_r,
                                  struct libspawn_err *err);

/* The same, and made when it is missing, for who does not open the host. */
int libspawn__host_make_state_dir(const char *given, char **path_r,
                                  struct libspawn_err *err);

/* Where these locks are, for who does not open the host.  The directory is
 * made when it is missing. */
int libspawn__host_find_lock(const struct libspawn_host_options *options,
                             char **path_r, struct libspawn_err *err);
char *libspawn__host_guest_lock_path(const struct libspawn_host *host,
                                     uint32_t domid);

/* Removes the traces of creations whose owner died.  Every command does this
 * first, by libspawn_host_open. */
int libspawn__host_sweep(struct libspawn_host *host, struct libspawn_err *err);

#endif
