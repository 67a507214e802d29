/*
 * What a device model supports, found out by asking it: it is run once with
 * the options in question and told to print its help and exit.
 *
 *   start --> "-sandbox ... -help" --> exit 0 -----------------> answer
 *                  |      \_ exit 1, and it talks of the sandbox:
 *                  |           "-help" --> exit 0 -------------> answer
 *                  |-- anything else --------------------------> nothing
 *                  '-- too late -------------------------------> a warning
 *
 * It runs as any child of the library does: started by a watcher, without a
 * shell, ended at its deadline and with its caller.  What it prints is read
 * up to a limit and never believed further than a word of a version and which
 * options it lists.  A program that is no QEMU supports nothing; why it fails
 * is for the start itself to say.
 *
 * An answer is remembered (dm/probe_cache.h): for as long as the program is
 * the same file; but only for a minute when it made no sense, and for a
 * script, which may run another program the next time.  That there was none in
 * time is not: the machine may just have been busy.
 */
#ifndef LIBSPAWN_DM_PROBE_H
#define LIBSPAWN_DM_PROBE_H

#include "dm/probe_cache.h"
#include "include/libspawn.h"

/* The value of -sandbox that LIBSPAWN__DM_SANDBOX stands for.  Nothing that
 * our own arguments ask for needs what it denies: no helper or script is run,
 * and no right is gained or given up.  Another value is another question: it
 * needs a new version of the cache. */
#define LIBSPAWN__DM_SANDBOX_VALUE                                            \
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

/* The same for a QEMU that gives up its user, which it does only after it has
 * put on the filter. */
#define LIBSPAWN__DM_SANDBOX_WITH_USER                                        \
    "on,obsolete=deny,spawn=deny,resourcecontrol=deny"

struct libspawn__probe;

/* From the loop's dispatch, once.  May free the probe.  'warning' is NULL, or
 * a sentence: it did not answer in time and is taken to support nothing. */
typedef void libspawn__probe_fn(void *user,
                                const struct libspawn__dm_support *support,
                                const char *warning);

struct libspawn__probe_request {
    const char *state_dir; /* where answers are remembered */
    const char *program;
    /* How long a start may take; a probe gets a part of it.  0: no limit
     * but the probe's own. */
    uint32_t start_timeout_ms;
    libspawn__probe_fn *fn;
    void *user;
};

/* True when the answer is known without running anything; costs a stat and
 * the reading of a small file.  Also for a program that cannot be run: that
 * one supports nothing. */
bool libspawn__probe_is_known(const char *state_dir, const char *program,
                              struct libspawn__dm_support *support_r);

/* Asks the program; 'fn' is called unless the probe is freed before.  Fails
 * only where starting any child would. */
int libspawn__probe_start(struct libspawn_ctx *ctx,
                          const struct libspawn__probe_request *request,
                          struct libspawn__probe **probe_r,
                          struct libspawn_err *err);

/* Ends the program if it still runs.  NULL is fine. */
void libspawn__probe_free(struct libspawn__probe *probe);

#endif
