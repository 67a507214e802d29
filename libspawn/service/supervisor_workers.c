/*
 * The workers of a supervisor: "probe" looks at images while its guest is
 * created, or runs scripts for it; "io" does what takes long with files of
 * ours.  Neither is started before it is needed, nor stays when there is
 * nothing left to do, since an idle guest is to cost little.
 *
 * The event log is not theirs: an event is one write(2) to a file of the state
 * directory, which is in memory (a tmpfs) where nobody has moved it.
 */
#include <fcntl.h>

#include "base/str.h"
#include "guest/events.h"
#include "proc/core_file.h"
#include "proc/worker_calls.h"
#include "service/supervisor.h"

static const char *const classes[LIBSPAWN__SUPERVISOR_N_WORKERS] = {
    [LIBSPAWN__SUPERVISOR_IO] = "io",
    [LIBSPAWN__SUPERVISOR_PROBE] = "probe",
};

/* ---- How they are ------------------------------------------------------ */

/* Nobody can do anything about one that died; that another cannot be started,
 * or hangs for good, is news. */
static void
on_event(struct libspawn__worker *worker, enum libspawn__worker_event event,
         const struct libspawn_err *err, void *user)
{
    struct libspawn__supervisor *s = user;

    switch (event) {
    case LIBSPAWN__WORKER_EVENT_DEGRADED:
    case LIBSPAWN__WORKER_EVENT_ABANDONED:
    case LIBSPAWN__WORKER_EVENT_REFUSES:
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_WORKER_DEGRADED,
                                  worker->class, err->text);
        break;
    case LIBSPAWN__WORKER_EVENT_REPLACED:
        /* Its work may have ended with the one before it. */
        libspawn__worker_rest(worker);
        break;
    case LIBSPAWN__WORKER_EVENT_DIED:
    case LIBSPAWN__WORKER_EVENT_KILLED:
    case LIBSPAWN__WORKER_EVENT_FAULTY:
    case LIBSPAWN__WORKER_EVENT_UNHEARD:
    case LIBSPAWN__WORKER_EVENT_STOPPED:
        break;
    }
}

static const char *
describe(const struct libspawn__worker *worker)
{
    static const char *const states[] = {
        [LIBSPAWN__WORKER_OFF] = "off",
        [LIBSPAWN__WORKER_RUNNING] = "running",
        [LIBSPAWN__WORKER_KILLED] = "ending",
        [LIBSPAWN__WORKER_RESTING] = "starting",
        [LIBSPAWN__WORKER_REFUSING] = "refusing",
        [LIBSPAWN__WORKER_STOPPED] = "off",
    };

    return worker->is_degraded ? "degraded" : states[worker->state];
}

void
libspawn__supervisor_describe_workers(const struct libspawn__supervisor *s,
                                      struct libspawn__json_writer *w)
{
    size_t i;

    libspawn__json_begin_object(w, "workers");
    for (i = 0; i < ARRAY_SIZE(classes); i++) {
        libspawn__json_put_string(w, classes[i], describe(s->workers[i]));
    }
    libspawn__json_end_object(w);
}

/* ---- Core files -------------------------------------------------------- */

static void
on_summary(struct libspawn__worker *worker,
           struct libspawn__worker_reply *reply, void *user)
{
    struct libspawn__supervisor *s = user;

    libspawn__worker_rest(worker);
    libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_POST_MORTEM, NULL,
                              reply->code ? reply->err->text
                                          : "a summary of the core is in the "
                                            "log of the device model");
}

/* NULL: there is none that could be found. */
static char *
find_core(const struct libspawn__supervisor *s,
          const struct libspawn_report *report)
{
    char *(*work_dir)(struct libspawn_host *host, uint32_t domid) =
        s->host->hypervisor->work_dir;
    AUTO_FREE char *dir = work_dir ? work_dir(s->host, s->domid) : NULL;
    const struct libspawn__core_owner owner = {
        .pid = report->pid,
        .signal = report->signal,
        .program = report->program,
        .directory = dir ? dir : "/",
    };

    return libspawn__core_file_find(&owner);
}

void
libspawn__supervisor_summarize_core(struct libspawn__supervisor *s)
{
    const struct libspawn_report *report =
        libspawn_child_report(libspawn__dm_child(s->dm));
    const struct libspawn__worker_hearer hearer = { on_summary, s };
    AUTO_FREE char *core = report->core_dumped ? find_core(s, report) : NULL;
    AUTO_FD int log = core ? open(report->log_path,
                                  O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW)
                           : -1;
    const struct libspawn__worker_core request = {
        .core = core,
        .program = report->program,
        .output_fd = log,
    };

    if (log >= 0) {
        libspawn__worker_post_mortem(s->workers[LIBSPAWN__SUPERVISOR_IO],
                                     &request, &hearer, NULL);
    }
}

/* ---- Life -------------------------------------------------------------- */

int
libspawn__supervisor_make_workers(struct libspawn__supervisor *s,
                                  struct libspawn_err *err)
{
    int rc = 0;
    size_t i;

    for (i = 0; !rc && i < ARRAY_SIZE(classes); i++) {
        const struct libspawn__worker_options options = {
            .class = classes[i],
            .guest = s->config->name,
            .fn = on_event,
            .user = s,
        };

        rc = libspawn__worker_new(s->host->ctx, &options, &s->workers[i],
                                  err);
    }
    s->host->probe_worker = s->workers[LIBSPAWN__SUPERVISOR_PROBE];
    return rc;
}

void
libspawn__supervisor_rest_workers(struct libspawn__supervisor *s)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(classes); i++) {
        libspawn__worker_rest(s->workers[i]);
    }
}

void
libspawn__supervisor_free_workers(struct libspawn__supervisor *s)
{
    size_t i;

    s->host->probe_worker = NULL;
    for (i = 0; i < ARRAY_SIZE(classes); i++) {
        libspawn__worker_free(s->workers[i]);
    }
}
