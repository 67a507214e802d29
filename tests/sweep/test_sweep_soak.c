/*
 * A soak: guests are created, crashed, held, adopted again and destroyed, for
 * 15 seconds or ten minutes; nothing is left, and nothing lost.
 *
 * SOAK_SEED repeats what is done, as far as the machine's timing does;
 * SOAK_GUESTS and SOAK_SECONDS make it smaller or longer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/util.h"
#include "tests/sweep/deed.h"
#include "tests/sweep/soak.h"

enum {
    SOAK_TEST_S = 120,
    AT_ONCE = 4,       /* guests of a round, at most */
    LIST_EVERY = 16,   /* rounds */
    SCALE = 20         /* of the times of supervisors */
};

static uint64_t
number(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    uint64_t value = fallback;
    struct libspawn_err err;

    if (text) {
        assert_ok(libspawn__str_to_u64(text, 1, UINT64_MAX, &value, &err),
                  &err);
    }
    return value;
}

/* ---- Begin ------------------------------------------------------------- */

static void
set_up(struct soak *soak)
{
    AUTO_FREE char *scale = libspawn__str_format("%d", SCALE);
    AUTO_FREE char *address = NULL;
    struct libspawn_err err;
    size_t n_real = xl_no_qemu() ? 0 : harness_is_full() ? 3 : 1;
    size_t i;

    xl_begin();
    setenv("XL_TIME_SCALE", scale, 1);
    soak->seed = number("SOAK_SEED", (uint64_t)libspawn__clock_realtime_ms());
    soak->random = soak->seed;
    soak->n_guests =
        (size_t)number("SOAK_GUESTS", harness_is_full() ? 200 : 12);
    soak->guests = calloc(soak->n_guests, sizeof *soak->guests);
    ck_assert(soak->guests && soak->n_guests <= SOAK_MAX_GUESTS);
    for (i = 0; i < soak->n_guests; i++) {
        struct soak_guest *guest = &soak->guests[i];

        snprintf(guest->name, sizeof guest->name, "g%zu", i + 1);
        guest->is_real = i < n_real;
    }
    address = libspawn__str_format("dir:%s/store", getenv("XL_STATE_DIR"));
    soak_follow(soak);
    soak_look(&soak->guests[0]); /* makes the directories */
    assert_ok(libspawn__store_open(address, &soak->store, &err), &err);
    sweep_print("soak: seed %llu", (unsigned long long)soak->seed);
}

/* ---- Rounds ------------------------------------------------------------ */

static unsigned int done[64]; /* each action */

static void
begin(struct soak *soak, struct soak_guest *guest,
      const struct soak_action *action)
{
    guest->action = action->name;
    soak_mark(guest);
    action->begin(soak, guest);
}

/* "Nothing lost": each device model that was killed was told, once. */
static void
end(struct soak *soak, struct soak_guest *guest,
    const struct soak_action *action)
{
    unsigned int n_died;

    action->end(soak, guest);
    soak_listen(soak, 0);
    n_died = guest->story.counts[LIBSPAWN_GUEST_EVENT_DM_DIED];
    soak_assert(soak, guest, n_died >= guest->n_killed);
    soak_assert(soak, guest, n_died <= guest->n_killed + guest->n_slack);
    soak_assert(soak, guest,
                guest->story.is_there == (guest->condition != SOAK_ABSENT));
}

static struct soak_guest *
choose_other(struct soak *soak, struct soak_guest *const chosen[], size_t n)
{
    struct soak_guest *guest;
    size_t i;

    do {
        guest = &soak->guests[soak_random(soak, (unsigned int)soak->n_guests)];
        for (i = 0; i < n && chosen[i] != guest; i++) {
        }
    } while (i < n);
    return guest;
}

static void
run_round(struct soak *soak)
{
    struct soak_guest *guests[AT_ONCE];
    const struct soak_action *actions[AT_ONCE];
    size_t n = MIN(1 + soak_random(soak, AT_ONCE), soak->n_guests);
    size_t i;

    for (i = 0; i < n; i++) {
        guests[i] = choose_other(soak, guests, i);
        actions[i] = soak_choose_action(soak, guests[i]);
        done[actions[i] - soak_actions]++;
        begin(soak, guests[i], actions[i]);
    }
    for (i = 0; i < n; i++) {
        end(soak, guests[i], actions[i]);
    }
    soak->n_rounds++;
}

/* xl list has each guest that is there, and no other. */
static void
look(struct soak *soak)
{
    AUTO_OUTPUT struct harness_output list = xl_run("list");
    size_t i;

    xl_assert_ok(&list);
    for (i = 0; i < soak->n_guests; i++) {
        struct soak_guest *guest = &soak->guests[i];
        AUTO_FREE char *row = libspawn__str_format("\n%s ", guest->name);

        guest->action = "list";
        soak_assert(soak, guest,
                    !!strstr(list.out, row) ==
                        (guest->condition != SOAK_ABSENT));
    }
}

/* ---- The end ----------------------------------------------------------- */

static void
destroy_all(struct soak *soak)
{
    size_t i;

    for (i = 0; i < soak->n_guests; i++) {
        if (soak->guests[i].condition != SOAK_ABSENT) {
            begin(soak, &soak->guests[i], &soak_destruction);
            end(soak, &soak->guests[i], &soak_destruction);
        }
    }
}

static unsigned int
sum(const struct soak *soak, enum libspawn_guest_event_kind kind)
{
    unsigned int n = 0;
    size_t i;

    for (i = 0; i < soak->n_guests; i++) {
        n += soak->guests[i].story.counts[kind];
    }
    return n;
}

static void
print_totals(const struct soak *soak, int64_t ms)
{
    size_t i;

    sweep_print("soak: %zu guests, %u rounds in %d s; %u events",
                soak->n_guests, soak->n_rounds, (int)(ms / 1000),
                soak->n_told);
    sweep_print("soak: %u created, %u destroyed, %u device models died, %u "
                "restarts, %u kept, %u held, %u supervisors lost",
                sum(soak, LIBSPAWN_GUEST_EVENT_CREATED),
                sum(soak, LIBSPAWN_GUEST_EVENT_DESTROYED),
                sum(soak, LIBSPAWN_GUEST_EVENT_DM_DIED),
                sum(soak, LIBSPAWN_GUEST_EVENT_RESTARTING),
                sum(soak, LIBSPAWN_GUEST_EVENT_PRESERVED),
                sum(soak, LIBSPAWN_GUEST_EVENT_HOLDING),
                sum(soak, LIBSPAWN_GUEST_EVENT_SUPERVISOR_LOST));
    for (i = 0; i < soak_n_actions; i++) {
        sweep_print("soak: %6u  %s", done[i], soak_actions[i].name);
    }
}

TEST_TIMEOUT(soak_of_guests__nothing_left_and_nothing_lost, SOAK_TEST_S)
{
    static struct soak soak;
    int64_t began = libspawn__clock_now_ms();
    int64_t until;

    set_up(&soak);
    until = began + (int64_t)number("SOAK_SECONDS",
                                    harness_is_full() ? 600 : 12) *
                        1000;
    while (libspawn__clock_now_ms() < until) {
        run_round(&soak);
        if (!(soak.n_rounds % LIST_EVERY)) {
            look(&soak);
        }
    }
    destroy_all(&soak);
    soak_unfollow(&soak);
    print_totals(&soak, libspawn__clock_now_ms() - began);
    libspawn__store_close(soak.store);
    xl_assert_nothing_left();
    free(soak.guests);
}

TEST_MAIN("sweep_soak")
