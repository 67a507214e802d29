#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "guest/events.h"
#include "guest/hypervisor.h"
#include "tests/sweep/soak.h"

/* A guest that no test has: its event is the last. */
#define LAST "last"

enum {
    LINE_MAX_SIZE = LIBSPAWN__EVENT_LINE_MAX,
    WAIT_MS = 20000 /* of a busy machine */
};

/* ---- Does it make sense? ----------------------------------------------- */

/* Events of a guest that is not there, and the only ones it can have. */
static bool
is_of_nobody(enum libspawn_guest_event_kind kind)
{
    return kind == LIBSPAWN_GUEST_EVENT_CREATED ||
           kind == LIBSPAWN_GUEST_EVENT_CREATE_FAILED;
}

/* What may be told of a guest whose device model died, before what follows
 * is. */
static bool
is_about_death(enum libspawn_guest_event_kind kind)
{
    return kind == LIBSPAWN_GUEST_EVENT_HOLDING ||
           kind == LIBSPAWN_GUEST_EVENT_SUPERVISOR_LOST ||
           kind == LIBSPAWN_GUEST_EVENT_SUPERVISOR_STARTED ||
           kind == LIBSPAWN_GUEST_EVENT_SUPERVISOR_LEFT ||
           kind == LIBSPAWN_GUEST_EVENT_RESTARTING ||
           kind == LIBSPAWN_GUEST_EVENT_PRESERVED ||
           kind == LIBSPAWN_GUEST_EVENT_DESTROYED;
}

static void
check(const struct soak *soak, const struct soak_guest *guest,
      enum libspawn_guest_event_kind kind, const char *uuid)
{
    const struct soak_story *story = &guest->story;

    if (story->is_there == is_of_nobody(kind) &&
        kind != LIBSPAWN_GUEST_EVENT_CREATE_FAILED) {
        soak_fail(soak, guest, "'%s' of a guest that is %sthere",
                  libspawn__event_name(kind), story->is_there ? "" : "not ");
    }
    if (story->is_down && !is_about_death(kind)) {
        soak_fail(soak, guest, "'%s' of a guest whose device model died",
                  libspawn__event_name(kind));
    }
    if (story->is_there && kind != LIBSPAWN_GUEST_EVENT_CREATE_FAILED &&
        strcmp(uuid, story->uuid) != 0) {
        soak_fail(soak, guest, "'%s' of another guest (%s, not %s)",
                  libspawn__event_name(kind), uuid, story->uuid);
    }
}

static void
note(struct soak_story *story, enum libspawn_guest_event_kind kind,
     const char *uuid, int64_t domid)
{
    story->counts[kind]++;
    if (kind == LIBSPAWN_GUEST_EVENT_CREATED) {
        story->is_there = true;
        story->domid = (uint32_t)domid;
        snprintf(story->uuid, sizeof story->uuid, "%s", uuid);
    }
    /* A creator may die between its last words and the end of its work. */
    if (kind == LIBSPAWN_GUEST_EVENT_DESTROYED ||
        (kind == LIBSPAWN_GUEST_EVENT_CREATE_FAILED &&
         !strcmp(uuid, story->uuid))) {
        story->is_there = false;
    }
    story->is_down |= kind == LIBSPAWN_GUEST_EVENT_DM_DIED;
    story->is_down &= kind != LIBSPAWN_GUEST_EVENT_RESTARTING &&
                      kind != LIBSPAWN_GUEST_EVENT_PRESERVED &&
                      kind != LIBSPAWN_GUEST_EVENT_DESTROYED;
}

/* ---- What is told ------------------------------------------------------ */

static struct soak_guest *
find(struct soak *soak, const char *name)
{
    size_t i;

    for (i = 0; i < soak->n_guests; i++) {
        if (!strcmp(soak->guests[i].name, name)) {
            return &soak->guests[i];
        }
    }
    return NULL;
}

/* For messages: what it was, why, and when. */
static void
remember(struct soak_story *story, const struct libspawn__json *event)
{
    static const char *const keys[] = { "time", "event", "reason" };
    const char *words[ARRAY_SIZE(keys)];
    size_t i;

    for (i = 0; i < ARRAY_SIZE(keys); i++) {
        words[i] =
            libspawn__json_string(libspawn__json_member(event, keys[i]));
    }
    snprintf(story->tail[story->n_told++ % SOAK_TAIL],
             sizeof story->tail[0], "%.12s %.24s %.16s", words[0] + 11,
             words[1], words[2] ? words[2] : "");
}

/* False for the last. */
static bool
take_line(struct soak *soak, const char *line, size_t size)
{
    AUTO_JSON struct libspawn__json *event = NULL;
    struct libspawn_err err;
    struct soak_guest *guest;
    enum libspawn_guest_event_kind kind;
    const char *name;
    const char *uuid;
    int64_t domid = 0;

    assert_ok(libspawn__json_parse(line, size, LINE_MAX_SIZE, &event, &err),
              &err);
    name = libspawn__json_string(libspawn__json_member(event, "guest"));
    if (!strcmp(name, LAST)) {
        return false;
    }
    soak->n_told++;
    kind = libspawn__event_kind(
        libspawn__json_string(libspawn__json_member(event, "event")));
    ck_assert_int_lt((int)kind, SOAK_N_KINDS);
    uuid = libspawn__json_string(libspawn__json_member(event, "uuid"));
    libspawn__json_integer(libspawn__json_member(event, "domid"), &domid);
    guest = find(soak, name);
    ck_assert_msg(guest, "an event of nobody: %.*s", (int)size, line);
    remember(&guest->story, event);
    check(soak, guest, kind, uuid ? uuid : "");
    note(&guest->story, kind, uuid ? uuid : "", domid);
    return true;
}

static bool
take_lines(struct soak *soak)
{
    const char *end;
    bool is_over = false;

    while (soak->told.size &&
           (end = memchr(soak->told.data, '\n', soak->told.size))) {
        size_t size = (size_t)(end - soak->told.data);

        is_over |= !take_line(soak, soak->told.data, size);
        libspawn__buf_consume(&soak->told, size + 1);
    }
    return !is_over;
}

static bool
listen_once(struct soak *soak, int timeout_ms)
{
    char bytes[16384];
    ssize_t n;

    if (!harness_wait_readable(soak->follower.out, timeout_ms)) {
        return true;
    }
    n = read(soak->follower.out, bytes, sizeof bytes);
    ck_assert_msg(n > 0, "xl events -f has ended");
    libspawn__buf_append(&soak->told, bytes, (size_t)n);
    return take_lines(soak);
}

void
soak_listen(struct soak *soak, int timeout_ms)
{
    listen_once(soak, timeout_ms);
}

void
soak_follow(struct soak *soak)
{
    soak->follower = xl_start_talk("events", "-f", "--json");
}

static void
append_last(void)
{
    AUTO_FREE char *state_dir = strdup(getenv("XL_STATE_DIR"));
    struct libspawn_host host = { .state_dir = state_dir };
    const struct libspawn__event event = {
        .guest = LAST, .kind = LIBSPAWN_GUEST_EVENT_DESTROYED
    };
    struct libspawn_err err;

    assert_ok(libspawn__event_append(&host, &event, &err), &err);
}

void
soak_unfollow(struct soak *soak)
{
    size_t i;

    append_last();
    while (listen_once(soak, WAIT_MS)) {
    }
    kill(soak->follower.pid, SIGKILL);
    xl_wait(&soak->follower);
    libspawn__buf_dispose(&soak->told);
    for (i = 0; i < soak->n_guests; i++) {
        soak_assert(soak, &soak->guests[i], !soak->guests[i].story.is_there);
    }
}

/* ---- Waiting ----------------------------------------------------------- */

void
soak_mark(struct soak_guest *guest)
{
    memcpy(guest->marks, guest->story.counts, sizeof guest->marks);
}

unsigned int
soak_count(const struct soak_guest *guest, enum libspawn_guest_event_kind kind)
{
    return guest->story.counts[kind] - guest->marks[kind];
}

void
soak_await_either(struct soak *soak, struct soak_guest *guest,
                  enum libspawn_guest_event_kind first,
                  enum libspawn_guest_event_kind second)
{
    int64_t until = libspawn__clock_now_ms() + WAIT_MS;

    while (!soak_count(guest, first) && !soak_count(guest, second)) {
        int64_t left = until - libspawn__clock_now_ms();

        if (left <= 0) {
            soak_fail(soak, guest, "'%s' was not told in time",
                      libspawn__event_name(first));
        }
        soak_listen(soak, (int)left);
    }
}

void
soak_await(struct soak *soak, struct soak_guest *guest,
           enum libspawn_guest_event_kind kind)
{
    soak_await_either(soak, guest, kind, kind);
}
