/*
 * service/states.c: the states of a supervised device model.  What holds for
 * every state and event, whatever the table says.
 */
#include "service/states.h"

#include <string.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"

enum { N_STATES = LIBSPAWN__N_STATES, N_EVENTS = LIBSPAWN__N_STATE_EVENTS };

static enum libspawn__state
next(int state, int event)
{
    return libspawn__state_next((enum libspawn__state)state,
                                (enum libspawn__state_event)event);
}

static const char *
name(int state)
{
    return libspawn__state_name((enum libspawn__state)state);
}

/* Which states can be reached from 'from'. */
static void
spread(int from, bool reached[N_STATES])
{
    int event;

    if (reached[from]) {
        return;
    }
    reached[from] = true;
    for (event = 0; event < N_EVENTS; event++) {
        spread((int)next(from, event), reached);
    }
}

TEST(states_and_events__have_names_of_their_own)
{
    int i;
    int k;

    for (i = 0; i < N_STATES; i++) {
        ck_assert_ptr_nonnull(name(i));
        for (k = 0; k < i; k++) {
            ck_assert_str_ne(name(i), name(k));
        }
    }
    for (i = 0; i < N_EVENTS; i++) {
        ck_assert_ptr_nonnull(
            libspawn__state_event_name((enum libspawn__state_event)i));
    }
}

TEST(states_every_event_in_every_state__leads_to_a_state)
{
    int state;
    int event;

    for (state = 0; state < N_STATES; state++) {
        for (event = 0; event < N_EVENTS; event++) {
            ck_assert_int_lt((int)next(state, event), N_STATES);
        }
    }
}

TEST(states_from_the_beginning__each_can_be_reached)
{
    bool reached[N_STATES] = { false };
    int state;

    spread(LIBSPAWN__STATE_DOWN, reached);
    for (state = 0; state < N_STATES; state++) {
        ck_assert_msg(reached[state], "'%s' is never reached", name(state));
    }
}

TEST(states_whatever_happened__the_end_can_be_reached)
{
    int state;

    for (state = 0; state < N_STATES; state++) {
        bool reached[N_STATES] = { false };

        spread(state, reached);
        ck_assert_msg(reached[LIBSPAWN__STATE_TERMINATED],
                      "there is no way out of '%s'", name(state));
    }
}

TEST(states_terminated__is_left_by_nothing)
{
    int event;

    for (event = 0; event < N_EVENTS; event++) {
        ck_assert_int_eq(next(LIBSPAWN__STATE_TERMINATED, event),
                         LIBSPAWN__STATE_TERMINATED);
    }
}

/* Connecting proves nothing. */
TEST(states_admitted__is_entered_by_admission_only)
{
    int state;
    int event;

    for (state = 0; state < N_STATES; state++) {
        for (event = 0; event < N_EVENTS; event++) {
            ck_assert(state == LIBSPAWN__STATE_ADMITTED ||
                      next(state, event) != LIBSPAWN__STATE_ADMITTED ||
                      event == LIBSPAWN__ON_ADMITTED);
        }
    }
}

/* What is set up for a guest goes because somebody decided so, never because
 * a device model came or went. */
TEST(states_stopping__is_entered_by_a_decision_only)
{
    int state;
    int event;

    for (state = 0; state < N_STATES; state++) {
        for (event = 0; event < N_EVENTS; event++) {
            ck_assert(state == LIBSPAWN__STATE_STOPPING ||
                      next(state, event) != LIBSPAWN__STATE_STOPPING ||
                      event == LIBSPAWN__ON_REMOVE);
        }
    }
}

/* A death, and the end of the guest, can come at any moment in which there is
 * something to die. */
TEST(states_with_a_living_device_model__all_know_its_death)
{
    static const enum libspawn__state alive[] = {
        LIBSPAWN__STATE_STARTING, LIBSPAWN__STATE_CONNECTED,
        LIBSPAWN__STATE_ADMITTED, LIBSPAWN__STATE_BACKOFF,
        LIBSPAWN__STATE_FAILED,
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(alive); i++) {
        ck_assert_msg(next((int)alive[i], LIBSPAWN__ON_DIED) ==
                          LIBSPAWN__STATE_HOLDING,
                      "'%s' does not", name((int)alive[i]));
    }
}

/* Whoever asks for it waits, and in the end kills who does not leave. */
TEST(states__can_all_be_left_to_another_supervisor)
{
    int state;

    for (state = 0; state < N_STATES; state++) {
        ck_assert_msg(next(state, LIBSPAWN__ON_LEAVE) ==
                          LIBSPAWN__STATE_TERMINATED,
                      "'%s' cannot", name(state));
    }
}

TEST(states_picture__has_every_transition_once)
{
    AUTO_FREE char *picture = libspawn__states_picture();
    int state;
    int event;

    ck_assert(libspawn__str_has_prefix(picture, "stateDiagram-v2\n"));
    for (state = 0; state < N_STATES; state++) {
        for (event = 0; event < N_EVENTS; event++) {
            AUTO_FREE char *line = libspawn__str_format(
                "    %s --> %s: %s\n", name(state),
                name((int)next(state, event)),
                libspawn__state_event_name((enum libspawn__state_event)event));
            char *found = strstr(picture, line);

            ck_assert((found != NULL) ==
                      ((int)next(state, event) != state));
            ck_assert(!found || !strstr(found + 1, line));
        }
    }
    assert_contains(picture, "    [*] --> down\n");
    assert_contains(picture, "    terminated --> [*]\n");
}

TEST_MAIN("states")
