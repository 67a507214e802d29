/*
 * Taking over a guest that exists, and what one that takes over from a dead
 * supervisor is left to know by it: guest/supervision.h.
 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "guest/events.h"
#include "guest/host.h"
#include "guest/intent.h"
#include "guest/names.h"
#include "guest/supervised.h"
#include "service/supervisor.h"

/* ---- For the next one -------------------------------------------------- */

int
libspawn__supervisor_remember(struct libspawn__supervisor *s,
                              struct libspawn_err *err)
{
    return libspawn__supervision_write(s->host, s->domid, &s->memory, err);
}

/* That it cannot be written, on a full disk say, is no reason to do less. */
void
libspawn__supervisor_remember_end(struct libspawn__supervisor *s,
                                  enum libspawn__supervision_stage stage)
{
    s->memory.stage = stage;
    s->memory.end = s->end;
    libspawn__supervision_set_model(s->host, s->domid, &s->memory);
    libspawn__supervisor_remember(s, NULL);
}

/* Who asks for it in order to remove the guest has removed the node before,
 * and that is no news. */
void
libspawn__supervisor_forget(struct libspawn__supervisor *s)
{
    if (libspawn__supervised_is_domain(s->host, s->domid)) {
        libspawn__supervision_remove(s->host, s->domid, NULL);
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_SUPERVISOR_LEFT,
                                  NULL, NULL);
    }
}

/* ---- From the one before ----------------------------------------------- */

enum libspawn__supervision_stage
libspawn__supervisor_inherit_end(struct libspawn__supervisor *s)
{
    if (!s->has_inherited_end) {
        return LIBSPAWN__SUPERVISION_LIVE;
    }
    s->has_inherited_end = false;
    return s->memory.stage;
}

static void
take_memory(struct libspawn__supervisor *s)
{
    s->has_inherited_end =
        s->memory.stage != LIBSPAWN__SUPERVISION_LIVE &&
        libspawn__supervision_is_of_now(s->host, s->domid, &s->memory);
    if (s->has_inherited_end) {
        s->end = s->memory.end;
    }
}

/* A destruction that began before we had the pid file has removed the node;
 * one that begins later finds us by that file. */
static int
read_memory(struct libspawn__supervisor *s, bool is_again,
            struct libspawn_err *err)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__supervision own = s->memory;
    uint32_t domid;
    int rc = libspawn__supervision_read(s->host, s->domid, &s->memory, err);

    if (!rc && own.control[0]) {
        memcpy(s->memory.control, own.control, sizeof own.control);
        rc = libspawn__supervisor_remember(s, err);
    }
    if (rc != LIBSPAWN_ERR_NOT_FOUND) {
        return rc;
    }
    if (is_again) {
        return libspawn__fail(err, rc, "guest '%s' is to have no supervisor",
                              s->config->name);
    }
    /* Nothing is to be written about a guest that is being removed. */
    rc = libspawn__host_lock_guest(s->host, s->domid, &lock, err);
    if (!rc) {
        rc = libspawn__name_find(s->host, s->config->name, &domid, err);
    }
    if (!rc && domid != s->domid) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                            "there is no guest '%s' with number %u any more",
                            s->config->name, (unsigned int)s->domid);
    }
    if (!rc) {
        rc = libspawn__supervisor_remember(s, err);
    }
    libspawn__host_unlock(s->host, &lock);
    return rc;
}

static void
note_begin(struct libspawn__supervisor *s, const char *lost,
           const char *trouble)
{
    if (s->pidfile.was_left) {
        libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_SUPERVISOR_LOST,
                                  NULL, lost);
    }
    libspawn__supervisor_note(s, LIBSPAWN_GUEST_EVENT_SUPERVISOR_STARTED, NULL,
                              trouble);
}

/* A guest whose last start failed has no device model and no trace of one; one
 * that needs none has no such end.  Where the hypervisor tells how the guest
 * ended, its device model lives on.  One that lives anywhere else was given
 * up, or has told why it will end. */
static void
begin(struct libspawn__supervisor *s, const char *lost, const char *trouble)
{
    bool is_alive = s->dm &&
                    !libspawn_child_check(libspawn__dm_child(s->dm), NULL);
    bool is_down = s->has_inherited_end &&
                   (!s->dm || (s->host->hypervisor->find_end &&
                               s->end != LIBSPAWN__END_MODEL));
    bool has_script = s->has_inherited_end &&
                      s->memory.stage == LIBSPAWN__SUPERVISION_RECOVERING;

    if (is_alive && !is_down) {
        s->has_inherited_end = false;
        s->end = s->end == LIBSPAWN__END_MODEL ? LIBSPAWN__END_NONE : s->end;
    }
    note_begin(s, lost, trouble);
    if (has_script) {
        libspawn__supervisor_lose_script(s);
    }
    libspawn__supervisor_hold_on(s);
    libspawn__supervisor_move(s, LIBSPAWN__ON_START);
    if (is_down || (is_alive && s->memory.is_given_up)) {
        libspawn__supervisor_move(s, LIBSPAWN__ON_DIED);
    }
}

int
libspawn__supervisor_take_over(struct libspawn__supervisor *s, uint32_t domid,
                               bool is_again, struct libspawn_err *err)
{
    AUTO_FREE char *uuid = NULL;
    int rc;

    s->domid = domid;
    s->is_again = true;
    s->was_admitted = true;
    s->is_unheard = true;
    rc = libspawn__intent_check_none(s->host, domid, err);
    if (!rc) {
        rc = read_memory(s, is_again, err);
    }
    if (!rc) {
        rc = libspawn__name_read_uuid(s->host->store, NULL, domid, &uuid, err);
    }
    if (rc) {
        return rc;
    }
    snprintf(s->uuid, sizeof s->uuid, "%s", uuid ? uuid : "");
    take_memory(s);
    return libspawn__supervisor_adopt_dm(s, err);
}

int
libspawn__supervisor_adopt(
    struct libspawn__supervisor *s, uint32_t domid,
    const struct libspawn__supervisor_adoption *adoption,
    struct libspawn_err *err)
{
    bool has_own = s->memory.control[0];
    int rc = libspawn__supervisor_take_over(s, domid, adoption->is_again, err);
    struct libspawn_err trouble;
    bool is_shut;

    if (!rc && adoption->is_monitored && !s->memory.is_monitored) {
        s->memory.is_monitored = true;
        rc = libspawn__supervisor_remember(s, err);
    }
    if (rc) {
        return rc;
    }
    is_shut = !has_own && libspawn__supervisor_reopen(s, &trouble);
    begin(s, adoption->lost, is_shut ? trouble.text : NULL);
    libspawn__supervisor_watch_monitor(s);
    return 0;
}
