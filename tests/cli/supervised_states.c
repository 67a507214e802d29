#include "tests/cli/supervised_states.h"

#include <signal.h>

#include "base/util.h"
#include "tests/cli/supervised_story.h"

/* Its model answers nobody, and the supervisor is one that adopted it. */
static void
lead_to_connected(void)
{
    pid_t former = supervised_pid(XL_GUEST);
    pid_t model = supervised_model_pid(XL_GUEST);

    kill(model, SIGSTOP);
    supervised_kill(XL_GUEST, SIGKILL);
    supervised_look();
    supervised_await_another(former);
    supervised_await_state(XL_GUEST, "connected");
}

static void
check_connected(void)
{
    supervised_await_state(XL_GUEST, "connected");
    kill(supervised_model_pid(XL_GUEST), SIGCONT);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_uint_eq(supervised_count_starts(), 1);
}

static void
lead_to_admitted(void)
{
    supervised_await_state(XL_GUEST, "admitted");
}

static void
check_admitted(void)
{
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_uint_eq(supervised_count_starts(), 1);
}

/* The pauses between failing starts become longer. */
static void
lead_to_backoff(void)
{
    supervised_set_model(XL_GUEST, "--exit=1");
    kill(supervised_model_pid(XL_GUEST), SIGKILL);
    supervised_await_event(XL_GUEST, "device-model-died", 4);
    supervised_await_state(XL_GUEST, "backoff");
}

static void
check_backoff(void)
{
    supervised_set_model(XL_GUEST, SUPERVISED_MODEL);
    supervised_await_state(XL_GUEST, "admitted");
    ck_assert_int_ge(supervised_number(XL_GUEST, "restarts"), 4);
}

static void
lead_to_failed(void)
{
    kill(supervised_model_pid(XL_GUEST), SIGKILL);
    supervised_await_state(XL_GUEST, "failed");
}

static void
check_failed(void)
{
    supervised_await_state(XL_GUEST, "failed");
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "preserved"), 1);
}

/* Somebody has the lock that a removal needs, until this is written to. */
static struct xl_process holder;

static void
lead_to_stopping(void)
{
    holder = xl_start_talk("lock", XL_GUEST, "--", "sh", "-c",
                           "echo locked; read line");
    ck_assert(xl_await_words(&holder, "locked"));
    kill(supervised_model_pid(XL_GUEST), SIGKILL);
    supervised_await_state(XL_GUEST, "stopping");
}

static void
check_stopping(void)
{
    supervised_await_state(XL_GUEST, "stopping");
    xl_say(&holder, "go\n");
    ck_assert_int_eq(xl_wait(&holder), 0);
    supervised_await_event(XL_GUEST, "destroyed", 1);
    ck_assert_uint_eq(supervised_count_events(XL_GUEST, "device-model-died"),
                      1);
}

const struct supervised_state supervised_states[] = {
    [LIBSPAWN__STATE_DOWN] = { NULL, NULL, NULL },
    [LIBSPAWN__STATE_STARTING] = { NULL, NULL, NULL }, /* see below */
    [LIBSPAWN__STATE_CONNECTED] = { "", lead_to_connected, check_connected },
    [LIBSPAWN__STATE_ADMITTED] = { "", lead_to_admitted, check_admitted },
    [LIBSPAWN__STATE_HOLDING] = { NULL, NULL, NULL }, /* for a moment */
    [LIBSPAWN__STATE_BACKOFF] = { "on_dm_crash = 'restart'", lead_to_backoff,
                                  check_backoff },
    [LIBSPAWN__STATE_RECOVERING] = { NULL, NULL, NULL }, /* test_xl_recovery */
    [LIBSPAWN__STATE_FAILED] = { "on_dm_crash = 'preserve'", lead_to_failed,
                                 check_failed },
    [LIBSPAWN__STATE_STOPPING] = { "on_dm_crash = 'destroy'", lead_to_stopping,
                                   check_stopping },
    [LIBSPAWN__STATE_TERMINATED] = { NULL, NULL, NULL },
};

_Static_assert(ARRAY_SIZE(supervised_states) == LIBSPAWN__N_STATES,
               "a state is missing");
