/*
 * What follows an end, by the guest's configuration.
 */
#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/events.h"
#include "guest/events_reader.h"
#include "service/supervisor.h"

enum {
    RESTART_PAUSE_MAX = 30, /* times the unit */
    RESTARTS_MAX = 10       /* without having been healthy for long */
};

static enum libspawn_action
configured_action(const struct libspawn__supervisor *s)
{
    const struct libspawn_guest_config *config = s->config;
    const struct {
        enum libspawn__guest_end end;
        enum libspawn_action action;
        enum libspawn_action fallback;
    } actions[] = {
        { LIBSPAWN__END_POWEROFF, config->on_poweroff,
          LIBSPAWN_ACTION_DESTROY },
        { LIBSPAWN__END_REBOOT, config->on_reboot, LIBSPAWN_ACTION_RESTART },
        { LIBSPAWN__END_CRASH, config->on_crash, LIBSPAWN_ACTION_DESTROY },
        { LIBSPAWN__END_WATCHDOG, config->on_watchdog,
          LIBSPAWN_ACTION_DESTROY },
        { LIBSPAWN__END_MODEL, config->on_dm_crash, LIBSPAWN_ACTION_PRESERVE },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(actions); i++) {
        if (actions[i].end == s->end) {
            return actions[i].action == LIBSPAWN_ACTION_DEFAULT
                       ? actions[i].fallback
                       : actions[i].action;
        }
    }
    return LIBSPAWN_ACTION_PRESERVE;
}

static bool
is_restarting(enum libspawn_action action)
{
    return action == LIBSPAWN_ACTION_RESTART ||
           action == LIBSPAWN_ACTION_RENAME_RESTART ||
           action == LIBSPAWN_ACTION_COREDUMP_RESTART ||
           action == LIBSPAWN_ACTION_SOFT_RESET;
}

static bool
is_removing(enum libspawn_action action)
{
    return action == LIBSPAWN_ACTION_DESTROY ||
           action == LIBSPAWN_ACTION_COREDUMP_DESTROY;
}

/* 0, 2, 4, 8, 16, 30, 30 s ... as the MINIX reincarnation server has it: once
 * at once, then each time longer. */
static int64_t
next_pause(struct libspawn__supervisor *s)
{
    const struct libspawn__admission_times *times = &s->admission.times;
    int64_t now = libspawn__clock_now_ms();
    unsigned int n;

    if (now - s->memory.last_restart > times->healthy) {
        s->memory.n_restarts = 0;
    }
    n = s->memory.n_restarts++;
    s->memory.last_restart = now;
    return !n ? 0
              : times->restart_unit *
                    MIN(1 << MIN(n, 5u), (int)RESTART_PAUSE_MAX);
}

static void
restart(struct libspawn__supervisor *s, bool is_followed)
{
    /* What the guest wished for is no failure; what was counted and told
     * before, by one that died meanwhile, is not counted and told again. */
    s->pause = s->end == LIBSPAWN__END_MODEL && !is_followed ? next_pause(s)
                                                             : 0;
    if (s->memory.n_restarts > RESTARTS_MAX) {
        libspawn__supervisor_move(s, LIBSPAWN__ON_PRESERVE);
        return;
    }
    if (!is_followed) {
        if (s->end == LIBSPAWN__END_MODEL) {
            libspawn__supervisor_hold(s, s->end_word, s->end_text);
        }
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_RESTARTING, NULL,
                                  NULL);
        libspawn__supervisor_remember_end(s, LIBSPAWN__SUPERVISION_FOLLOWED);
    }
    libspawn__supervisor_move(s, LIBSPAWN__ON_PAUSE);
}

/* Who was killed between the line in the event log and the note of it has told
 * it all the same. */
static bool
was_told_before(const struct libspawn__supervisor *s)
{
    const struct libspawn__event event = {
        .domid = s->domid,
        .uuid = s->uuid,
        .kind = s->end == LIBSPAWN__END_MODEL ? LIBSPAWN_GUEST_EVENT_DM_DIED
                                              : LIBSPAWN_GUEST_EVENT_SHUTDOWN,
    };

    return s->is_unheard && libspawn__events_have(s->host->state_dir, &event);
}

/* What is told of it.  How a device model ended is in the sentence. */
static void
note_end(struct libspawn__supervisor *s)
{
    static const char *const reasons[] = {
        [LIBSPAWN__END_POWEROFF] = "poweroff",
        [LIBSPAWN__END_REBOOT] = "reboot",
        [LIBSPAWN__END_CRASH] = "crash",
        [LIBSPAWN__END_WATCHDOG] = "watchdog",
    };

    if (s->end == LIBSPAWN__END_MODEL) {
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_DM_DIED, s->end_word,
                                  s->end_text);
    } else {
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_SHUTDOWN,
                                  reasons[s->end], NULL);
    }
}

/* What is to be restarted is kept, when starting it once more is no answer. */
static void
act_without_restart(struct libspawn__supervisor *s)
{
    enum libspawn_action action = configured_action(s);

    libspawn__supervisor_move(s, action == LIBSPAWN_ACTION_SCRIPT
                                     ? LIBSPAWN__ON_SCRIPT
                                 : is_removing(action)
                                     ? LIBSPAWN__ON_REMOVE
                                     : LIBSPAWN__ON_PRESERVE);
}

/* It runs once for each end: what the one before had begun is not begun again,
 * and what it had decided is done. */
static void
ask_script(struct libspawn__supervisor *s,
           enum libspawn__supervision_stage stage)
{
    bool is_lost = stage == LIBSPAWN__SUPERVISION_RECOVERING;

    if (stage == LIBSPAWN__SUPERVISION_FOLLOWED) {
        restart(s, true);
    } else if (stage == LIBSPAWN__SUPERVISION_CONDEMNED) {
        libspawn__supervisor_move(s, LIBSPAWN__ON_REMOVE);
    } else {
        libspawn__supervisor_move(s, is_lost ? LIBSPAWN__ON_PRESERVE
                                             : LIBSPAWN__ON_SCRIPT);
    }
}

static void
follow_end(struct libspawn__supervisor *s)
{
    enum libspawn__supervision_stage stage =
        libspawn__supervisor_inherit_end(s);
    bool is_told = stage >= LIBSPAWN__SUPERVISION_TOLD;

    if (stage == LIBSPAWN__SUPERVISION_KEPT) {
        libspawn__supervisor_move(s, LIBSPAWN__ON_PRESERVE);
        return;
    }
    if (!is_told) {
        if (!was_told_before(s)) {
            note_end(s);
        }
        libspawn__supervisor_remember_end(s, LIBSPAWN__SUPERVISION_TOLD);
    }
    if (!s->memory.is_given_up && is_restarting(configured_action(s))) {
        restart(s, stage >= LIBSPAWN__SUPERVISION_FOLLOWED);
    } else if (configured_action(s) == LIBSPAWN_ACTION_SCRIPT) {
        ask_script(s, stage);
    } else {
        act_without_restart(s);
    }
}

void
libspawn__supervisor_give_up(struct libspawn__supervisor *s)
{
    int64_t ms = libspawn__admission_failing_for(&s->admission,
                                                 libspawn__clock_now_ms());
    AUTO_FREE char *text =
        libspawn__str_format("was not admitted for %.3g s", (double)ms / 1000);

    s->memory.is_given_up = true;
    libspawn__supervisor_remember(s, NULL);
    s->end = LIBSPAWN__END_MODEL;
    s->end_word = "not-admitted";
    s->end_status = -1;
    libspawn__str_assign(&s->end_text, text, NULL);
    if (s->create) {
        libspawn_create_abort(s->create); /* its end is followed up */
    } else {
        act_without_restart(s);
    }
}

/* ---- After the recovery script ----------------------------------------- */

/* It lives, perhaps thanks to the script, and has another limit to show it. */
static void
go_on(struct libspawn__supervisor *s)
{
    s->pause = next_pause(s);
    if (s->memory.n_restarts > RESTARTS_MAX) {
        libspawn__supervisor_move(s, LIBSPAWN__ON_PRESERVE);
        return;
    }
    libspawn__supervisor_forget_end(s);
    libspawn__supervisor_move(s, libspawn__dm_qmp(s->dm)
                                     ? LIBSPAWN__ON_CONNECTED
                                     : LIBSPAWN__ON_PAUSE);
}

static void
try_again(struct libspawn__supervisor *s)
{
    bool has_dm = libspawn__supervisor_has_dm(s);

    if (s->memory.is_given_up) {
        libspawn__admission_extend(&s->admission, libspawn__clock_now_ms());
    }
    s->memory.is_given_up = has_dm && s->memory.is_given_up;
    libspawn__supervisor_hold_on(s);
    if (has_dm) {
        go_on(s);
    } else {
        restart(s, false);
    }
}

void
libspawn__supervisor_follow_script(struct libspawn__supervisor *s,
                                   enum libspawn_action action)
{
    if (s->end != LIBSPAWN__END_MODEL) {
        s->memory.is_given_up = false;
        follow_end(s); /* the guest itself has ended meanwhile */
    } else if (action == LIBSPAWN_ACTION_RESTART) {
        try_again(s);
    } else if (action == LIBSPAWN_ACTION_DESTROY) {
        libspawn__supervisor_remember_end(s, LIBSPAWN__SUPERVISION_CONDEMNED);
        libspawn__supervisor_move(s, LIBSPAWN__ON_REMOVE);
    } else {
        libspawn__supervisor_move(s, LIBSPAWN__ON_PRESERVE);
    }
}

/* ---- At an end --------------------------------------------------------- */

/* The one before has told it, or was about to, and how long it had waited
 * nobody knows any more. */
static void
follow_given_up(struct libspawn__supervisor *s)
{
    s->end = LIBSPAWN__END_MODEL;
    if (!s->end_text) {
        libspawn__str_assign(&s->end_text, "was not admitted for too long",
                             NULL);
    }
    if (configured_action(s) == LIBSPAWN_ACTION_SCRIPT) {
        /* It has run, or nobody knows. */
        libspawn__supervisor_move(
            s, s->memory.stage == LIBSPAWN__SUPERVISION_CONDEMNED
                   ? LIBSPAWN__ON_REMOVE
                   : LIBSPAWN__ON_PRESERVE);
    } else {
        act_without_restart(s);
    }
}

void
libspawn__supervisor_decide(struct libspawn__supervisor *s)
{
    int64_t pause =
        libspawn__admission_lose(&s->admission, libspawn__clock_now_ms());

    s->is_reconciled = false;
    if (!libspawn__supervisor_has_dm(s)) {
        follow_end(s);
    } else if (s->memory.is_given_up) {
        follow_given_up(s);
    } else {
        s->pause = pause; /* it lives, and may serve us again */
        libspawn__supervisor_hold(s, "monitor-lost",
                                  "its device model lives, but does not serve "
                                  "its monitor");
        libspawn__supervisor_move(s, LIBSPAWN__ON_PAUSE);
    }
}
