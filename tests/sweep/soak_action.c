#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "tests/sweep/soak.h"

enum {
    ABSENT = 1 << SOAK_ABSENT,
    RUNNING = 1 << SOAK_RUNNING,
    DEAD = 1 << SOAK_DEAD,
    KEPT = 1 << SOAK_KEPT,
    THERE = RUNNING | DEAD | KEPT,
    RESTARTS_MAX = 10 /* then a supervisor preserves its guest */
};

/* ---- Creation ---------------------------------------------------------- */

static void
await_created(struct soak *soak, struct soak_guest *guest)
{
    soak_await(soak, guest,
               soak_is_supervised(guest) ? LIBSPAWN_GUEST_EVENT_ADMITTED
                                         : LIBSPAWN_GUEST_EVENT_CREATED);
    soak_assert(soak, guest,
                soak_count(guest, LIBSPAWN_GUEST_EVENT_CREATED) == 1);
    soak_learn(soak, guest);
}

static void
begin_create(struct soak *soak, struct soak_guest *guest)
{
    soak_choose(soak, guest);
    soak_start_create(guest, 0);
}

static void
end_create(struct soak *soak, struct soak_guest *guest)
{
    soak_finish(guest, 0);
    soak_assert(soak, guest, !guest->statuses[0]);
    await_created(soak, guest);
}

static void
begin_two_creates(struct soak *soak, struct soak_guest *guest)
{
    begin_create(soak, guest);
    soak_start_create(guest, 1);
}

static void
end_two_creates(struct soak *soak, struct soak_guest *guest)
{
    soak_finish(guest, 0);
    soak_finish(guest, 1);
    soak_assert(soak, guest, guest->statuses[0] + guest->statuses[1] == 1);
    await_created(soak, guest);
}

/* At a step of its, xl or the supervisor or both are killed; if it was not
 * too late for that. */
static void
begin_killed_create(struct soak *soak, struct soak_guest *guest)
{
    enum { XL, SUPERVISOR, BOTH, N_VICTIMS };
    unsigned int victim = soak_random(soak, N_VICTIMS);
    size_t n_steps = 0;

    guest->victim.pid = 0;
    soak_choose(soak, guest);
    soak_start_create(guest, 0);
    while (xl_steps[n_steps]) {
        n_steps++;
    }
    xl_await_step(&guest->runs[0],
                  xl_steps[soak_random(soak, (unsigned int)n_steps)]);
    if (victim != XL && soak_is_supervised(guest)) {
        soak_kill_supervisor(guest);
    }
    if (victim != SUPERVISOR) {
        kill(guest->runs[0].pid, SIGKILL);
    }
}

static void
end_killed_create(struct soak *soak, struct soak_guest *guest)
{
    soak_finish(guest, 0);
    soak_await_end(soak, guest, &guest->victim); /* it takes its time */
    soak_settle(soak, guest);
}

/* ---- Ends of device models --------------------------------------------- */

static void
kill_model(struct soak_guest *guest)
{
    soak_signal(&guest->model, SIGKILL);
    guest->n_killed += soak_is_supervised(guest);
}

static void
end_kept(struct soak *soak, struct soak_guest *guest)
{
    soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_PRESERVED);
    supervised_await_state(guest->name, "failed");
    guest->condition = SOAK_KEPT;
}

static void
end_restarted(struct soak *soak, struct soak_guest *guest)
{
    struct libspawn__identity old = guest->model;

    soak_await_either(soak, guest, LIBSPAWN_GUEST_EVENT_RELEASED,
                      LIBSPAWN_GUEST_EVENT_PRESERVED);
    if (soak_count(guest, LIBSPAWN_GUEST_EVENT_PRESERVED)) {
        soak_assert(soak, guest,
                    guest->story.counts[LIBSPAWN_GUEST_EVENT_DM_DIED] >
                        RESTARTS_MAX);
        end_kept(soak, guest);
        return;
    }
    soak_learn(soak, guest);
    soak_assert(soak, guest, !soak_is_same(&guest->model, &old));
}

static void
begin_model(struct soak *soak, struct soak_guest *guest)
{
    (void)soak;
    kill_model(guest);
}

static void
end_model(struct soak *soak, struct soak_guest *guest)
{
    soak_await_end(soak, guest, &guest->model);
    if (!soak_is_supervised(guest)) {
        guest->condition = SOAK_DEAD;
        return;
    }
    soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_DM_DIED);
    if (guest->flavour == SOAK_DESTROY) {
        soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_DESTROYED);
        soak_assert_gone(soak, guest);
    } else if (guest->flavour == SOAK_PRESERVE) {
        end_kept(soak, guest);
    } else {
        end_restarted(soak, guest);
    }
}

static bool
can_power_off(const struct soak_guest *guest)
{
    return !guest->is_real && guest->watcher.pid;
}

static void
begin_power_off(struct soak *soak, struct soak_guest *guest)
{
    (void)soak;
    soak_start(guest, 0, "shutdown");
}

/* One without a supervisor is removed by the next command. */
static void
end_power_off(struct soak *soak, struct soak_guest *guest)
{
    soak_finish(guest, 0);
    soak_assert(soak, guest, !guest->statuses[0]);
    soak_await_end(soak, guest, &guest->model);
    if (!soak_is_supervised(guest)) {
        soak_await_end(soak, guest, &guest->watcher);
        soak_look(guest); /* unless somebody else is at it */
    }
    soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_DESTROYED);
    soak_assert(soak, guest,
                soak_count(guest, LIBSPAWN_GUEST_EVENT_SHUTDOWN) == 1);
    soak_assert_gone(soak, guest);
}

/* ---- Ends of supervisors ----------------------------------------------- */

/* Some command of xl, of which one or several at once bring a new one. */
static void
restore(struct soak *soak, struct soak_guest *guest)
{
    unsigned int i;
    unsigned int n = 1 + soak_random(soak, 2);

    if (guest->is_monitored) {
        return;
    }
    for (i = 0; i < n; i++) {
        guest->runs[i] = xl_start_talk("domid", guest->name);
    }
    for (i = 0; i < n; i++) {
        soak_finish(guest, (int)i);
    }
}

static void
await_restored(struct soak *soak, struct soak_guest *guest)
{
    soak_await_end(soak, guest, &guest->victim);
    restore(soak, guest);
    soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_SUPERVISOR_STARTED);
    soak_assert(soak, guest,
                soak_count(guest, LIBSPAWN_GUEST_EVENT_SUPERVISOR_LOST) == 1);
}

/* Nobody else started for a moment. */
static void
assert_one(const struct soak *soak, const struct soak_guest *guest)
{
    soak_assert(soak, guest, soak_count(
        guest, LIBSPAWN_GUEST_EVENT_SUPERVISOR_STARTED) == 1);
}

static void
begin_supervisor(struct soak *soak, struct soak_guest *guest)
{
    (void)soak;
    guest->victim = soak_supervisor(guest);
    soak_signal(&guest->victim, SIGKILL);
}

static void
end_supervisor(struct soak *soak, struct soak_guest *guest)
{
    struct libspawn__identity model = guest->model;

    await_restored(soak, guest);
    if (guest->condition == SOAK_KEPT) {
        supervised_await_state(guest->name, "failed");
    } else {
        soak_await_either(soak, guest, LIBSPAWN_GUEST_EVENT_ADMITTED,
                          LIBSPAWN_GUEST_EVENT_RELEASED);
        soak_learn(soak, guest);
        soak_assert(soak, guest, soak_is_same(&guest->model, &model));
    }
    assert_one(soak, guest);
}

static void
begin_both(struct soak *soak, struct soak_guest *guest)
{
    bool is_model_first = soak_random(soak, 2);

    guest->victim = soak_supervisor(guest);
    if (is_model_first) {
        kill_model(guest);
    }
    soak_signal(&guest->victim, SIGKILL);
    if (!is_model_first) {
        kill_model(guest);
    }
}

/* The one before may have told all of it before it died. */
static void
end_both(struct soak *soak, struct soak_guest *guest)
{
    soak_await_end(soak, guest, &guest->victim);
    restore(soak, guest);
    end_model(soak, guest);
}

/* ---- Ends of monitors -------------------------------------------------- */

static bool
is_monitored(const struct soak_guest *guest)
{
    return guest->is_monitored;
}

static bool
has_another_monitor(void *user)
{
    const struct soak_guest *guest = user;
    pid_t pid = supervised_monitor_pid(guest->name);

    return pid && pid != guest->monitor.pid;
}

static void
await_monitor(struct soak *soak, struct soak_guest *guest)
{
    soak_assert(soak, guest, harness_wait_until(has_another_monitor, guest,
                                                XL_WAIT_MS));
}

/* It may not be there yet, after the one before. */
static void
begin_monitor(struct soak *soak, struct soak_guest *guest)
{
    guest->monitor.pid = 0;
    await_monitor(soak, guest);
    guest->monitor = soak_monitor(guest);
    soak_signal(&guest->monitor, SIGKILL);
}

static void
end_monitor(struct soak *soak, struct soak_guest *guest)
{
    await_monitor(soak, guest);
    soak_assert(soak, guest, !soak_count(
        guest, LIBSPAWN_GUEST_EVENT_SUPERVISOR_LOST));
}

/* The first may have begun to replace the second when it is killed. */
static void
begin_pair(struct soak *soak, struct soak_guest *guest)
{
    bool is_monitor_first = soak_random(soak, 2);

    if (is_monitor_first) {
        begin_monitor(soak, guest);
    }
    begin_supervisor(soak, guest);
    if (!is_monitor_first) {
        begin_monitor(soak, guest);
    }
}

static void
end_pair(struct soak *soak, struct soak_guest *guest)
{
    soak_await_end(soak, guest, &guest->victim);
    soak_look(guest);
    end_supervisor(soak, guest);
    await_monitor(soak, guest);
}

/* ---- Ends of watchers -------------------------------------------------- */

static bool
has_watcher(const struct soak_guest *guest)
{
    return guest->watcher.pid;
}

static void
begin_watcher(struct soak *soak, struct soak_guest *guest)
{
    (void)soak;
    soak_signal(&guest->watcher, SIGKILL);
}

static void
end_watcher(struct soak *soak, struct soak_guest *guest)
{
    struct libspawn__identity model = guest->model;

    soak_await_end(soak, guest, &guest->watcher);
    soak_learn(soak, guest);
    soak_assert(soak, guest, soak_is_same(&guest->model, &model));
}

/* Whatever the order in which these are noticed. */
static void
begin_all(struct soak *soak, struct soak_guest *guest)
{
    begin_supervisor(soak, guest);
    begin_watcher(soak, guest);
    kill_model(guest);
}

/* ---- Device models that hang, and hang up ------------------------------ */

static void
begin_stop(struct soak *soak, struct soak_guest *guest)
{
    (void)soak;
    soak_signal(&guest->model, SIGSTOP);
}

static void
end_stop(struct soak *soak, struct soak_guest *guest)
{
    struct libspawn__identity model = guest->model;

    soak_assert(soak, guest,
                !soak_is_supervised(guest) ||
                    supervised_is_state(guest->name, "admitted"));
    soak_signal(&guest->model, SIGCONT);
    soak_learn(soak, guest);
    soak_assert(soak, guest, soak_is_same(&guest->model, &model));
}

static void
begin_hold(struct soak *soak, struct soak_guest *guest)
{
    soak_signal(&guest->model, SIGSTOP);
    begin_supervisor(soak, guest);
}

/* It is held; then it is there again, or dies, or is destroyed. */
static void
end_hold(struct soak *soak, struct soak_guest *guest)
{
    struct libspawn__identity model = guest->model;

    await_restored(soak, guest);
    soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_HOLDING);
    switch (soak_random(soak, 3)) {
    case 0:
        soak_signal(&guest->model, SIGCONT);
        soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_RELEASED);
        soak_learn(soak, guest);
        soak_assert(soak, guest, soak_is_same(&guest->model, &model));
        break;
    case 1:
        kill_model(guest);
        end_model(soak, guest);
        break;
    default:
        soak_signal(&guest->model, SIGCONT);
        soak_destruction.begin(soak, guest);
        soak_destruction.end(soak, guest);
        break;
    }
}

static bool
is_fake(const struct soak_guest *guest)
{
    return soak_is_supervised(guest) && !guest->is_real;
}

static void
begin_hang_up(struct soak *soak, struct soak_guest *guest)
{
    (void)soak;
    soak_signal(&guest->model, SIGUSR1);
}

static void
end_hang_up(struct soak *soak, struct soak_guest *guest)
{
    struct libspawn__identity model = guest->model;

    soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_RELEASED);
    soak_learn(soak, guest);
    soak_assert(soak, guest, soak_is_same(&guest->model, &model));
}

/* ---- Destruction ------------------------------------------------------- */

static void
begin_destroy(struct soak *soak, struct soak_guest *guest)
{
    (void)soak;
    soak_start(guest, 0, "destroy");
}

static void
end_destroyed(struct soak *soak, struct soak_guest *guest)
{
    soak_await(soak, guest, LIBSPAWN_GUEST_EVENT_DESTROYED);
    soak_assert(soak, guest,
                soak_count(guest, LIBSPAWN_GUEST_EVENT_DESTROYED) == 1);
    soak_assert_gone(soak, guest);
}

static void
end_destroy(struct soak *soak, struct soak_guest *guest)
{
    soak_finish(guest, 0);
    soak_assert(soak, guest, !guest->statuses[0]);
    end_destroyed(soak, guest);
}

static void
begin_two_destroys(struct soak *soak, struct soak_guest *guest)
{
    begin_destroy(soak, guest);
    soak_start(guest, 1, "destroy");
}

/* Who came later may find nothing any more. */
static void
end_two_destroys(struct soak *soak, struct soak_guest *guest)
{
    soak_finish(guest, 0);
    soak_finish(guest, 1);
    soak_assert(soak, guest, !guest->statuses[0] || !guest->statuses[1]);
    soak_assert(soak, guest, guest->statuses[0] + guest->statuses[1] <= 1);
    end_destroyed(soak, guest);
}

static void
begin_destroy_and_supervisor(struct soak *soak, struct soak_guest *guest)
{
    guest->victim = soak_supervisor(guest);
    begin_destroy(soak, guest);
    soak_signal(&guest->victim, SIGKILL);
}

static void
begin_destroy_and_model(struct soak *soak, struct soak_guest *guest)
{
    begin_destroy(soak, guest);
    soak_signal(&guest->model, SIGKILL);
    guest->n_slack += soak_is_supervised(guest);
}

/* Its supervisor may have been quicker. */
static void
end_destroy_and_model(struct soak *soak, struct soak_guest *guest)
{
    soak_finish(guest, 0);
    soak_assert(soak, guest,
                guest->statuses[0] <= (guest->flavour == SOAK_DESTROY));
    end_destroyed(soak, guest);
}

const struct soak_action soak_destruction = {
    "destroy", 6, THERE, NULL, begin_destroy, end_destroy,
};

/* ---- The table --------------------------------------------------------- */

static bool
is_supervised(const struct soak_guest *guest)
{
    return soak_is_supervised(guest);
}

static bool
is_watched(const struct soak_guest *guest)
{
    return soak_is_supervised(guest) && guest->watcher.pid;
}

const struct soak_action soak_actions[] = {
    { "create", 40, ABSENT, NULL, begin_create, end_create },
    { "two creates", 4, ABSENT, NULL, begin_two_creates, end_two_creates },
    { "create, killed", 8, ABSENT, NULL, begin_killed_create,
      end_killed_create },
    { "kill model", 10, RUNNING, NULL, begin_model, end_model },
    { "kill supervisor", 8, RUNNING | KEPT, is_supervised, begin_supervisor,
      end_supervisor },
    { "kill supervisor and model", 6, RUNNING, is_supervised, begin_both,
      end_both },
    { "kill monitor", 12, RUNNING | KEPT, is_monitored, begin_monitor,
      end_monitor },
    { "kill supervisor and monitor", 12, RUNNING | KEPT, is_monitored,
      begin_pair, end_pair },
    { "kill watcher", 4, RUNNING, has_watcher, begin_watcher, end_watcher },
    { "kill all three", 3, RUNNING, is_watched, begin_all, end_both },
    { "stop and continue", 4, RUNNING, NULL, begin_stop, end_stop },
    { "hold", 5, RUNNING, is_supervised, begin_hold, end_hold },
    { "hang up", 6, RUNNING, is_fake, begin_hang_up, end_hang_up },
    { "power off", 2, RUNNING, can_power_off, begin_power_off,
      end_power_off },
    { "destroy", 4, THERE, NULL, begin_destroy, end_destroy },
    { "two destroys", 2, THERE, NULL, begin_two_destroys, end_two_destroys },
    { "destroy, supervisor killed", 2, RUNNING | KEPT, is_supervised,
      begin_destroy_and_supervisor, end_destroy },
    { "destroy, model killed", 2, RUNNING, NULL, begin_destroy_and_model,
      end_destroy_and_model },
};

const size_t soak_n_actions = ARRAY_SIZE(soak_actions);

static unsigned int
weigh(const struct soak_action *action, const struct soak_guest *guest)
{
    return action->conditions & 1u << guest->condition &&
                   (!action->suits || action->suits(guest))
               ? action->weight
               : 0;
}

const struct soak_action *
soak_choose_action(struct soak *soak, const struct soak_guest *guest)
{
    unsigned int sum = 0;
    unsigned int left;
    size_t i;

    for (i = 0; i < soak_n_actions; i++) {
        sum += weigh(&soak_actions[i], guest);
    }
    left = soak_random(soak, sum);
    for (i = 0; left >= weigh(&soak_actions[i], guest); i++) {
        left -= weigh(&soak_actions[i], guest);
    }
    return &soak_actions[i];
}
