#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "proc/pidfile.h"
#include "proc/record.h"
#include "store/paths.h"
#include "tests/sweep/soak.h"

enum {
    WAIT_MS = 20000,
    SUPERVISOR_FDS_MAX = 32 /* it has half of them */
};

/* ---- Chance, and messages ---------------------------------------------- */

/* SplitMix64. */
unsigned int
soak_random(struct soak *soak, unsigned int n)
{
    uint64_t z = soak->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned int)((z ^ z >> 31) % n);
}

static void
print_story(const struct soak_story *story, struct libspawn__buf *text)
{
    unsigned int n = MIN(story->n_told, (unsigned int)SOAK_TAIL);
    unsigned int i;

    for (i = story->n_told - n; i < story->n_told; i++) {
        libspawn__buf_printf(text, "\n%s", story->tail[i % SOAK_TAIL]);
    }
}

void
soak_fail(const struct soak *soak, const struct soak_guest *guest,
          const char *format, ...)
{
    static const char *const flavours[] = { "bare", "restart", "destroy",
                                            "preserve" };
    AUTO_BUF struct libspawn__buf text = { 0 };
    char sentence[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    print_story(&guest->story, &text);
    ck_abort_msg("seed %llu, round %u, '%s' (%s%s%s, %u), %s: %s; told:%s\n"
                 "run 1: %d %s\nrun 2: %d %s",
                 (unsigned long long)soak->seed, soak->n_rounds, guest->name,
                 flavours[guest->flavour], guest->is_real ? ", QEMU" : "",
                 guest->is_monitored ? ", monitored" : "",
                 (unsigned int)guest->story.domid,
                 guest->action ? guest->action : "", sentence,
                 text.size ? text.data : "", guest->statuses[0],
                 guest->runs[0].text, guest->statuses[1],
                 guest->runs[1].text);
    abort(); /* which is not reached */
}

/* ---- What it is to be -------------------------------------------------- */

bool
soak_is_supervised(const struct soak_guest *guest)
{
    return guest->flavour != SOAK_BARE;
}

static char *
config_path(const struct soak_guest *guest)
{
    return libspawn__str_format("%s.cfg", guest->name);
}

void
soak_choose(struct soak *soak, struct soak_guest *guest)
{
    static const char *const words[] = { "preserve", "restart", "destroy",
                                         "preserve" };
    AUTO_FREE char *path = config_path(guest);
    AUTO_FREE char *model = libspawn__str_format(
        "device_model_override = '%s'\n", xl_model_path());
    AUTO_FREE char *text = NULL;

    guest->flavour =
        (enum soak_flavour)soak_random(soak, SOAK_N_FLAVOURS);
    guest->is_monitored = soak_is_supervised(guest) && !soak_random(soak, 4);
    text = libspawn__str_format(
        "name = '%s'\nmemory = 16\non_dm_crash = '%s'\n%s", guest->name,
        words[guest->flavour],
        guest->is_real ? "device_model_args = [ '-machine', 'graphics=off' ]\n"
                       : model);
    harness_write_file(path, text);
}

/* ---- Runs of xl -------------------------------------------------------- */

void
soak_start_create(struct soak_guest *guest, int i)
{
    AUTO_FREE char *path = config_path(guest);

    guest->runs[i] = xl_start("-v", "create", "-q",
                              !soak_is_supervised(guest) ? "-e"
                              : guest->is_monitored      ? "--monitor"
                                                         : "--",
                              path);
}

void
soak_start(struct soak_guest *guest, int i, const char *command)
{
    guest->runs[i] = xl_start(command, guest->name);
}

int
soak_look(const struct soak_guest *guest)
{
    AUTO_OUTPUT struct harness_output output =
        xl_run("domid", guest->name);

    return output.status;
}

void
soak_finish(struct soak_guest *guest, int i)
{
    guest->statuses[i] = xl_wait(&guest->runs[i]);
}

/* ---- What is ----------------------------------------------------------- */

static bool
is_alive(const struct libspawn__identity *id)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    return id->pid && !libspawn__pidref_open(id, &ref, NULL) &&
           libspawn__pidref_is_alive(&ref);
}

bool
soak_is_same(const struct libspawn__identity *a,
             const struct libspawn__identity *b)
{
    return a->pid == b->pid && a->start_time == b->start_time;
}

void
soak_signal(const struct libspawn__identity *id, int signal)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    if (!libspawn__pidref_open(id, &ref, NULL)) {
        libspawn__pidref_signal(&ref, signal, NULL);
    }
}

struct ending {
    struct soak *soak;
    const struct libspawn__identity *id;
};

static bool
has_ended(void *user)
{
    const struct ending *ending = user;

    soak_listen(ending->soak, 0);
    return !is_alive(ending->id);
}

void
soak_await_end(struct soak *soak, struct soak_guest *guest,
               const struct libspawn__identity *id)
{
    struct ending ending = { soak, id };

    if (!harness_wait_until(has_ended, &ending, WAIT_MS)) {
        soak_fail(soak, guest, "process %d has not ended", (int)id->pid);
    }
}

static struct libspawn__identity
identify(pid_t pid)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;

    assert_ok(libspawn__pidref_from_pid(pid, &ref, &err), &err);
    return ref.id;
}

struct libspawn__identity
soak_supervisor(const struct soak_guest *guest)
{
    return identify(supervised_pid(guest->name));
}

struct libspawn__identity
soak_monitor(const struct soak_guest *guest)
{
    return identify(supervised_monitor_pid(guest->name));
}

void
soak_kill_supervisor(struct soak_guest *guest)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    AUTO_FREE char *path =
        libspawn__str_format("%s/supervisors/%s.pid", getenv("XL_STATE_DIR"),
                             guest->name);
    pid_t pid;

    guest->victim.pid = 0;
    if (!libspawn__pidfile_owner(path, &pid, NULL) && pid > 0 &&
        !libspawn__pidref_from_pid(pid, &ref, NULL)) {
        guest->victim = ref.id;
        libspawn__pidref_signal(&ref, SIGKILL, NULL);
    }
}

static void
read_record(struct soak *soak, struct soak_guest *guest)
{
    AUTO_FREE char *path =
        libspawn__path_new(LIBSPAWN__PATH_RECORD, guest->story.domid);
    struct libspawn__record record;
    struct libspawn_err err;

    if (libspawn__record_read(soak->store, path, &record, &err)) {
        soak_fail(soak, guest, "its record: %s", err.text);
    }
    guest->model = record.child;
    guest->watcher = record.watcher;
    if (!is_alive(&guest->watcher)) {
        guest->watcher.pid = 0;
    }
}

void
soak_learn(struct soak *soak, struct soak_guest *guest)
{
    if (soak_is_supervised(guest)) {
        supervised_await_state(guest->name, "admitted");
        soak_assert(soak, guest,
                    harness_count_fds(supervised_pid(guest->name)) <
                        SUPERVISOR_FDS_MAX);
    }
    read_record(soak, guest);
    soak_assert(soak, guest, is_alive(&guest->model));
    soak_assert(soak, guest,
                !soak_is_supervised(guest) ||
                    supervised_model_pid(guest->name) == guest->model.pid);
    guest->condition = SOAK_RUNNING;
}

static bool
is_unsupervised(void *user)
{
    const struct soak_guest *guest = user;

    return !supervised_is(guest->name);
}

void
soak_assert_gone(struct soak *soak, struct soak_guest *guest)
{
    AUTO_FREE char *dir =
        libspawn__str_format("%s/guests/%u", getenv("XL_STATE_DIR"),
                             (unsigned int)guest->story.domid);

    soak_assert(soak, guest, !guest->story.is_there);
    soak_await_end(soak, guest, &guest->model);
    soak_assert(soak, guest,
                harness_wait_until(is_unsupervised, guest, WAIT_MS));
    soak_assert(soak, guest, access(dir, F_OK) < 0);
    guest->model.pid = 0;
    guest->watcher.pid = 0;
    guest->condition = SOAK_ABSENT;
}

/* One that is admitted, and says so after that was told, will not leave any
 * more because nobody wants it. */
static bool
is_settled_there(struct soak_guest *guest)
{
    AUTO_JSON struct libspawn__json *status = NULL;

    if (!guest->story.is_there) {
        return false;
    }
    if (!soak_is_supervised(guest)) {
        return true;
    }
    return soak_count(guest, LIBSPAWN_GUEST_EVENT_ADMITTED) > 0 &&
           supervised_is_state(guest->name, "admitted");
}

struct settling {
    struct soak *soak;
    struct soak_guest *guest;
};

static bool
is_settled(void *user)
{
    struct settling *settling = user;
    struct soak_guest *guest = settling->guest;
    bool is_there;

    is_there = !soak_look(guest);
    soak_listen(settling->soak, 0);
    guest->condition = is_there ? SOAK_RUNNING : SOAK_ABSENT;
    return is_there ? is_settled_there(guest)
                    : !guest->story.is_there && !supervised_is(guest->name);
}

void
soak_settle(struct soak *soak, struct soak_guest *guest)
{
    struct settling settling = { soak, guest };

    if (!harness_wait_until(is_settled, &settling, WAIT_MS)) {
        soak_fail(soak, guest, "neither there nor gone");
    }
    if (guest->condition == SOAK_RUNNING) {
        soak_learn(soak, guest);
    }
}
