#include "service/states.h"

#include "base/str.h"
#include "base/util.h"

#define S(NAME) LIBSPAWN__STATE_##NAME
#define ON(NAME) LIBSPAWN__ON_##NAME

static const char *const state_names[] = {
    [S(DOWN)] = "down",
    [S(STARTING)] = "starting",
    [S(CONNECTED)] = "connected",
    [S(ADMITTED)] = "admitted",
    [S(HOLDING)] = "holding",
    [S(BACKOFF)] = "backoff",
    [S(RECOVERING)] = "recovering",
    [S(FAILED)] = "failed",
    [S(STOPPING)] = "stopping",
    [S(TERMINATED)] = "terminated",
};

static const char *const event_names[] = {
    [ON(START)] = "start",       [ON(CONNECTED)] = "connected",
    [ON(ADMITTED)] = "admitted", [ON(LOST)] = "monitor lost",
    [ON(DIED)] = "died",         [ON(PAUSE)] = "pause",
    [ON(SCRIPT)] = "script",     [ON(PRESERVE)] = "preserve",
    [ON(REMOVE)] = "remove",     [ON(LEAVE)] = "leave",
    [ON(GONE)] = "gone",
};

static const struct {
    enum libspawn__state from;
    enum libspawn__state_event event;
    enum libspawn__state to;
} transitions[] = {
    { S(DOWN), ON(START), S(STARTING) },
    { S(DOWN), ON(LEAVE), S(TERMINATED) },

    { S(STARTING), ON(CONNECTED), S(CONNECTED) },
    { S(STARTING), ON(LOST), S(HOLDING) },
    { S(STARTING), ON(DIED), S(HOLDING) },
    { S(STARTING), ON(LEAVE), S(TERMINATED) },

    { S(CONNECTED), ON(ADMITTED), S(ADMITTED) },
    { S(CONNECTED), ON(LOST), S(HOLDING) },
    { S(CONNECTED), ON(DIED), S(HOLDING) },
    { S(CONNECTED), ON(SCRIPT), S(RECOVERING) },
    { S(CONNECTED), ON(PRESERVE), S(FAILED) },
    { S(CONNECTED), ON(REMOVE), S(STOPPING) },
    { S(CONNECTED), ON(LEAVE), S(TERMINATED) },
    { S(CONNECTED), ON(GONE), S(TERMINATED) },

    { S(ADMITTED), ON(LOST), S(HOLDING) },
    { S(ADMITTED), ON(DIED), S(HOLDING) },
    { S(ADMITTED), ON(REMOVE), S(STOPPING) },
    { S(ADMITTED), ON(LEAVE), S(TERMINATED) },
    { S(ADMITTED), ON(GONE), S(TERMINATED) },

    { S(HOLDING), ON(PAUSE), S(BACKOFF) },
    { S(HOLDING), ON(START), S(STARTING) },
    { S(HOLDING), ON(SCRIPT), S(RECOVERING) },
    { S(HOLDING), ON(PRESERVE), S(FAILED) },
    { S(HOLDING), ON(REMOVE), S(STOPPING) },
    { S(HOLDING), ON(LEAVE), S(TERMINATED) },
    { S(HOLDING), ON(GONE), S(TERMINATED) },

    { S(BACKOFF), ON(START), S(STARTING) },
    { S(BACKOFF), ON(DIED), S(HOLDING) },
    { S(BACKOFF), ON(SCRIPT), S(RECOVERING) },
    { S(BACKOFF), ON(PRESERVE), S(FAILED) },
    { S(BACKOFF), ON(REMOVE), S(STOPPING) },
    { S(BACKOFF), ON(LEAVE), S(TERMINATED) },
    { S(BACKOFF), ON(GONE), S(TERMINATED) },

    { S(RECOVERING), ON(CONNECTED), S(CONNECTED) },
    { S(RECOVERING), ON(ADMITTED), S(ADMITTED) },
    { S(RECOVERING), ON(PAUSE), S(BACKOFF) },
    { S(RECOVERING), ON(PRESERVE), S(FAILED) },
    { S(RECOVERING), ON(REMOVE), S(STOPPING) },
    { S(RECOVERING), ON(LEAVE), S(TERMINATED) },
    { S(RECOVERING), ON(GONE), S(TERMINATED) },

    { S(FAILED), ON(START), S(STARTING) },
    { S(FAILED), ON(ADMITTED), S(ADMITTED) },
    { S(FAILED), ON(DIED), S(HOLDING) },
    { S(FAILED), ON(REMOVE), S(STOPPING) },
    { S(FAILED), ON(LEAVE), S(TERMINATED) },
    { S(FAILED), ON(GONE), S(TERMINATED) },

    { S(STOPPING), ON(GONE), S(TERMINATED) },
    { S(STOPPING), ON(PRESERVE), S(FAILED) },
    { S(STOPPING), ON(LEAVE), S(TERMINATED) },
};

const char *
libspawn__state_name(enum libspawn__state state)
{
    return state_names[state];
}

const char *
libspawn__state_event_name(enum libspawn__state_event event)
{
    return event_names[event];
}

enum libspawn__state
libspawn__state_next(enum libspawn__state state,
                     enum libspawn__state_event event)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(transitions); i++) {
        if (transitions[i].from == state && transitions[i].event == event) {
            return transitions[i].to;
        }
    }
    return state;
}

char *
libspawn__states_picture(void)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };
    size_t i;

    libspawn__buf_puts(&buf, "stateDiagram-v2\n    [*] --> down\n");
    for (i = 0; i < ARRAY_SIZE(transitions); i++) {
        libspawn__buf_printf(
            &buf, "    %s --> %s: %s\n", state_names[transitions[i].from],
            state_names[transitions[i].to], event_names[transitions[i].event]);
    }
    libspawn__buf_puts(&buf, "    terminated --> [*]\n");
    return libspawn__buf_take(&buf);
}
