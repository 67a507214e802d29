/*
 * Events of the guest for those who asked for them at the control socket: each
 * becomes a notification with the line of the event log.  They are read from
 * there, since others tell of the guest too, and only while somebody listens.
 */
#include <stdlib.h>

#include "base/str.h"
#include "base/util.h"
#include "guest/events.h"
#include "service/supervisor.h"

enum {
    /* Behind what the kernel has taken for it: dozens of events. */
    WAITING_MAX = 64 * 1024
};

struct subscriber {
    struct libspawn__list link;
    struct libspawn__rpc_conn *conn;
};

static struct subscriber *
find(struct libspawn__supervisor *s, const struct libspawn__rpc_conn *conn)
{
    struct libspawn__list *link;

    for (link = s->subscribers.next; link != &s->subscribers;
         link = link->next) {
        struct subscriber *subscriber =
            CONTAINER_OF(link, struct subscriber, link);

        if (subscriber->conn == conn) {
            return subscriber;
        }
    }
    return NULL;
}

static void
drop(struct subscriber *subscriber)
{
    libspawn__list_remove(&subscriber->link);
    free(subscriber);
}

/* ---- Telling ----------------------------------------------------------- */

/* Who does not read gets no more, but an error behind what it has not read
 * yet, so it knows that something is missing. */
static void
tell(struct subscriber *subscriber, const char *json)
{
    struct libspawn_err err;

    if (libspawn__rpc_conn_waiting(subscriber->conn) > WAITING_MAX) {
        libspawn__fail(&err, LIBSPAWN_ERR_LIMIT,
                       "events are read too slowly: no more of them follow");
        libspawn__rpc_complain(subscriber->conn, &err);
        drop(subscriber);
    } else if (libspawn__rpc_notify(subscriber->conn, "event", json, NULL)) {
        drop(subscriber);
    }
}

static void
on_event(void *user, const struct libspawn_guest_event *event)
{
    struct libspawn__supervisor *s = user;
    struct libspawn__list *link = s->subscribers.next;

    if (!libspawn__str_equal(event->guest, s->config->name)) {
        return;
    }
    while (link != &s->subscribers) {
        struct subscriber *subscriber =
            CONTAINER_OF(link, struct subscriber, link);

        link = link->next;
        tell(subscriber, event->json);
    }
}

/* ---- Subscribing ------------------------------------------------------- */

/* What happened before goes to those only who were there before. */
static int
read_on(struct libspawn__supervisor *s, struct libspawn_err *err)
{
    if (s->events) {
        libspawn__events_flush(s->events);
        return 0;
    }
    return libspawn_events_open(s->host, false, on_event, s, &s->events, err);
}

int
libspawn__supervisor_subscribe(struct libspawn__supervisor *s,
                               struct libspawn__rpc_conn *conn,
                               struct libspawn_err *err)
{
    struct subscriber *subscriber = find(s, conn);
    int rc = read_on(s, err);

    if (rc || subscriber) {
        return rc;
    }
    subscriber = calloc(1, sizeof *subscriber);
    if (!subscriber) {
        return libspawn__fail_nomem(err);
    }
    subscriber->conn = conn;
    libspawn__list_append(&s->subscribers, &subscriber->link);
    return 0;
}

static void
stop_reading(struct libspawn__supervisor *s)
{
    libspawn_events_close(s->events);
    s->events = NULL;
}

void
libspawn__supervisor_unsubscribe(void *user, struct libspawn__rpc_conn *conn)
{
    struct libspawn__supervisor *s = user;
    struct subscriber *subscriber = find(s, conn);

    if (subscriber) {
        drop(subscriber);
    }
    if (libspawn__list_is_empty(&s->subscribers)) {
        stop_reading(s);
    }
}

void
libspawn__supervisor_end_events(struct libspawn__supervisor *s)
{
    if (s->events) {
        libspawn__events_flush(s->events);
    }
    while (!libspawn__list_is_empty(&s->subscribers)) {
        drop(CONTAINER_OF(s->subscribers.next, struct subscriber, link));
    }
    stop_reading(s);
}
