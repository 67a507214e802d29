/*
 * The event log of a host: what happened to its guests, in STATE_DIR/events,
 * one JSON object per line, appended by whoever causes or sees a change.
 * There is no daemon.  docs/PROTOCOLS.md, "Events", has the format.
 *
 * A line is one write(2) to a descriptor with O_APPEND, so lines of several
 * processes never mix.  A file that is full is renamed to events.1, in the
 * place of the one before it; a writer that had it open may still add a line
 * to it afterwards.  Nobody ever waits for anybody.
 */
#ifndef LIBSPAWN_GUEST_EVENTS_H
#define LIBSPAWN_GUEST_EVENTS_H

#include "guest/hypervisor.h"

enum {
    LIBSPAWN__EVENT_LINE_MAX = 4096,       /* bytes, with its newline */
    LIBSPAWN__EVENT_FILE_MAX = 1024 * 1024 /* then it is renamed */
};

/* What is told; all is borrowed. */
struct libspawn__event {
    const char *guest; /* its name; "" when it has none */
    uint32_t domid;    /* 0: it has none yet */
    const char *uuid;  /* NULL: not known */
    enum libspawn_guest_event_kind kind;
    const char *reason; /* one word for programs, or NULL */
    const char *text;   /* how it came about, for people, or NULL */
};

/* "device-model-died"; NULL for LIBSPAWN_GUEST_EVENT_OTHER and what is no
 * kind. */
const char *libspawn__event_name(enum libspawn_guest_event_kind kind);

/* LIBSPAWN_GUEST_EVENT_OTHER for a name that is not known. */
enum libspawn_guest_event_kind libspawn__event_kind(const char *name);

/* Adds a line with the present time.  A text that is too long for it is cut.
 * Fails when the disk is full, say; the operation that is told of should then
 * go on.  A part of a line may stay, which readers skip. */
int libspawn__event_append(struct libspawn_host *host,
                           const struct libspawn__event *event,
                           struct libspawn_err *err);

/* Calls the reader's function for all that can be read now, which must not
 * close it. */
void libspawn__events_flush(struct libspawn_events *events);

/* The guest that an event is about, as far as it is known; to be read before
 * it is destroyed. */
struct libspawn__event_subject {
    uint32_t domid;
    char *name;
    char *uuid;
};

void libspawn__event_subject_read(struct libspawn_host *host, uint32_t domid,
                                  struct libspawn__event_subject *subject_r);
void libspawn__event_subject_dispose(struct libspawn__event_subject *subject);
#define AUTO_EVENT_SUBJECT AUTO(libspawn__event_subject_dispose)

/* Adds a line about it, or, where that fails, does not. */
void libspawn__event_note(struct libspawn_host *host,
                          const struct libspawn__event_subject *subject,
                          enum libspawn_guest_event_kind kind,
                          const char *reason, const char *text);

/* A guest that nobody supervised was found powered off: why it is removed. */
void
libspawn__event_note_found_off(struct libspawn_host *host,
                               const struct libspawn__event_subject *subject);

#endif
