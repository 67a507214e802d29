#include "guest/removal.h"

#include <stdio.h>

#include "guest/intent.h"

/* One without them is nobody's, and nobody waits to be told. */
static bool
has_names(const struct libspawn__event_subject *subject)
{
    return subject->name && subject->uuid;
}

void
libspawn__removal_begin(struct libspawn_host *host,
                        const struct libspawn__event_subject *subject)
{
    struct libspawn__intent intent = { .kind = LIBSPAWN__INTENT_REMOVE,
                                       .name = subject->name,
                                       .domid = subject->domid };

    if (has_names(subject) &&
        !libspawn__identity_self(&intent.owner, NULL)) {
        snprintf(intent.uuid, sizeof intent.uuid, "%s", subject->uuid);
        libspawn__intent_write(host, &intent, NULL);
    }
}

void
libspawn__removal_end(struct libspawn_host *host,
                      const struct libspawn__event_subject *subject,
                      bool is_gone)
{
    if (is_gone) {
        libspawn__event_note(host, subject, LIBSPAWN_GUEST_EVENT_DESTROYED,
                             NULL, NULL);
    }
    if (has_names(subject)) {
        libspawn__intent_remove(host, LIBSPAWN__INTENT_REMOVE, subject->uuid);
    }
}
