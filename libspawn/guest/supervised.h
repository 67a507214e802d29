/*
 * A guest's supervisor, seen from outside: where its files are, whether there
 * is one, asking it, and asking it to leave.  What it does is in
 * service/supervisor.h.
 *
 *   STATE_DIR/supervisors/NAME.pid   its pid file, locked as long as it lives
 *   STATE_DIR/supervisors/NAME.sock  its control socket: docs/PROTOCOLS.md,
 *                                    "Control RPC"
 *   STATE_DIR/supervisors/NAME.monitor   the pid file of its monitor, if any:
 *                                    who brings another when it dies
 */
#ifndef LIBSPAWN_GUEST_SUPERVISED_H
#define LIBSPAWN_GUEST_SUPERVISED_H

#include "base/pidref.h"
#include "guest/hypervisor.h"
#include "wire/json.h"

/* Each is new, or NULL without memory. */
char *libspawn__supervised_dir(const struct libspawn_host *host);
char *libspawn__supervised_pid_path(const struct libspawn_host *host,
                                    const char *name);
char *libspawn__supervised_control_path(const struct libspawn_host *host,
                                        const char *name);
char *libspawn__supervised_monitor_path(const struct libspawn_host *host,
                                        const char *name);

/* The process that supervises the guest of that name.
 * LIBSPAWN_ERR_NOT_FOUND: none. */
int libspawn__supervised_find(const struct libspawn_host *host,
                              const char *name, struct libspawn__pidref *ref_r,
                              struct libspawn_err *err);
bool libspawn__supervised_is(const struct libspawn_host *host,
                             const char *name);

/* The process that brings the guest's next supervisor at once; the same. */
int libspawn__supervised_find_monitor(const struct libspawn_host *host,
                                      const char *name,
                                      struct libspawn__pidref *ref_r,
                                      struct libspawn_err *err);

/* Whether the last supervisor of that name left in order, and no other has
 * come: one that died leaves its pid file. */
bool libspawn__supervised_has_left(const struct libspawn_host *host,
                                   const char *name);

/* Whether guest 'domid' is to have one: what follows its end is then not for
 * others to decide. */
bool libspawn__supervised_is_domain(struct libspawn_host *host,
                                    uint32_t domid);

/* Calls a method of its control socket; '*result_r' (NULL: not wanted) is
 * freed with libspawn__json_free.  LIBSPAWN_ERR_NOT_FOUND: no supervisor. */
int libspawn__supervised_call(const struct libspawn_host *host,
                              const char *name, const char *method,
                              const char *params_json, int timeout_ms,
                              struct libspawn__json **result_r,
                              struct libspawn_err *err);

/* Waits until the supervisor of the guest, if there is one, has seen to the
 * end of process 'pid', which was its device model: until the guest is
 * removed, is kept, or has another. */
int libspawn__supervised_settle(const struct libspawn_host *host,
                                const char *name, pid_t pid,
                                struct libspawn_err *err);

/* Makes the supervisor of the guest leave it as it is, and waits for its end
 * and that of its monitor; one that does not answer is killed, and a guest
 * that it was creating goes with it.  None will follow.  No supervisor, or the
 * calling process itself, is fine.  LIBSPAWN_ERR_BUSY when it is still
 * creating the guest. */
int libspawn__supervised_dismiss(struct libspawn_host *host, uint32_t domid,
                                 const char *name, struct libspawn_err *err);

/* Removes the files that a supervisor of that name, and its monitor, left
 * when they died (supervised_tidy.c). */
void libspawn__supervised_tidy(const struct libspawn_host *host,
                               const char *name);

/* The program of a supervisor, and its command line: the options, which NULL
 * ends, between the state directory (NULL: default) and the guest's name.
 * 'argv' is empty before. */
int libspawn__supervised_command(const char *state_dir,
                                 const char *const options[],
                                 const char *name, char **path_r,
                                 struct libspawn__strv *argv,
                                 struct libspawn_err *err);

/* ---- Starting one for a guest that exists (supervised_start.c) --------- */

/* Starts one, and does not wait for it: of several that are started at once,
 * one stays, by its pid file.  With 'is_again' it stays only if the guest is
 * to have one. */
int libspawn__supervised_start(const struct libspawn_host *host,
                               const char *name, bool is_again,
                               struct libspawn_err *err);

/* Starts a monitor for the supervisor that there is, as a child of the calling
 * process, which is to reap it.  It leaves at once if there is another. */
int libspawn__supervised_start_monitor(const struct libspawn_host *host,
                                       const char *name, pid_t *pid_r,
                                       struct libspawn_err *err);

/* Starts one for each guest whose supervisor died, of which its pid file is
 * left: as much as can be done, and nothing waited for.  Costs a directory
 * listing, and a look at a lock for each supervisor. */
void libspawn__supervised_restore(struct libspawn_host *host);

#endif
