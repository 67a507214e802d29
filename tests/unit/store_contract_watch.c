/*
 * The contract: watches.
 */
#include <string.h>

#include "tests/unit/store_contract.h"

/* A watch that counts. */
struct counter {
    struct libspawn__store_watch watch; /* first */
    struct libspawn__loop *loop;
    int n_fired;
    int n_lost;
    char last_path[256];
    struct counter *to_remove; /* by the callback */
};

static void
count(struct libspawn__store_watch *watch, const char *path)
{
    struct counter *counter = CONTAINER_OF(watch, struct counter, watch);

    /* Nothing may come after the news of the loss. */
    ck_assert_int_eq(counter->n_lost, 0);
    if (path) {
        counter->n_fired++;
        ck_assert_str_eq(path, watch->path);
    } else {
        counter->n_lost++;
    }
    if (counter->to_remove) {
        libspawn__store_watch_remove(&counter->to_remove->watch);
    }
}

static void
add(struct counter *counter, struct libspawn__store *store,
    struct libspawn__loop *loop, const char *path)
{
    struct libspawn_err err = { 0 };

    counter->loop = loop;
    assert_ok(libspawn__store_watch_add(store, loop, &counter->watch, path,
                                        count, &err),
              &err);
}

/* Dispatches what comes within 'ms'. */
static void
run(struct libspawn__loop *loop, int ms)
{
    struct libspawn_err err = { 0 };

    while (harness_wait_readable(libspawn__loop_fd(loop), ms)) {
        assert_ok(libspawn__loop_dispatch(loop, &err), &err);
    }
}

/* Long enough for an event of another process to come, on a slow host too. */
enum { QUIET_MS = 60, DEADLINE_MS = 5000 };

/* Whether the watch fires from now on, once or more. */
static bool
fires(struct counter *counter)
{
    struct libspawn_err err = { 0 };
    int n_before = counter->n_fired;

    while (counter->n_fired == n_before) {
        if (!harness_wait_readable(libspawn__loop_fd(counter->loop),
                                   DEADLINE_MS)) {
            return false;
        }
        assert_ok(libspawn__loop_dispatch(counter->loop, &err), &err);
    }
    run(counter->loop, QUIET_MS);
    return true;
}

static bool
stays_quiet(struct counter *counter)
{
    int n_before = counter->n_fired;

    run(counter->loop, QUIET_MS);
    return counter->n_fired == n_before;
}

/* A store with another connection to it, a loop, and two watches. */
struct scene {
    struct libspawn__store *store;
    struct libspawn__store *other;
    struct libspawn__loop *loop;
    struct counter a;
    struct counter b;
};

static struct scene
open_scene(void)
{
    struct scene scene = { .store = contract_open_clean(),
                           .other = contract_open() };
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__loop_new(&scene.loop, &err), &err);
    return scene;
}

static void
close_scene(struct scene *scene)
{
    libspawn__store_close(scene->store);
    libspawn__store_close(scene->other);
    libspawn__loop_free(scene->loop);
}

#define AUTO_SCENE AUTO(close_scene)

/* ---- When a watch fires ------------------------------------------------ */

TEST(watch_added__fires_once_from_the_loop)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert_int_eq(scene.a.n_fired, 0);
    ck_assert(fires(&scene.a));
    ck_assert_int_eq(scene.a.n_fired, 1);
    ck_assert(stays_quiet(&scene.a));
}

TEST(watch_of_missing_path__fires_once_and_when_it_is_made)
{
    AUTO_SCENE struct scene scene = open_scene();

    add(&scene.a, scene.store, scene.loop, TOP "/a/b/c");
    ck_assert(fires(&scene.a));
    ck_assert_int_eq(scene.a.n_fired, 1);
    contract_write(scene.other, TOP "/a/b/c", "1");
    ck_assert(fires(&scene.a));
}

TEST(watch_of_missing_path__fires_though_parents_were_made_one_by_one)
{
    AUTO_SCENE struct scene scene = open_scene();

    add(&scene.a, scene.store, scene.loop, TOP "/a/b/c");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a", "");
    run(scene.loop, QUIET_MS);
    assert_ok(libspawn__store_mkdir(scene.other, NULL, TOP "/a/b", NULL),
              NULL);
    run(scene.loop, QUIET_MS);
    contract_write(scene.other, TOP "/a/b/c", "1");
    ck_assert(fires(&scene.a));
}

TEST(watch_value_written__fires)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
    contract_write(scene.store, TOP "/a", "2");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a", "3");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a", "3");
    ck_assert(fires(&scene.a));
}

TEST(watch_value_of_node_with_children_written__fires)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a/b", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a", "own");
    ck_assert(fires(&scene.a));
}

TEST(watch_change_below__fires)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/b", "2");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/b/c/d", "3");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/b/c/d", "4");
    ck_assert(fires(&scene.a));
    contract_remove(scene.other, TOP "/a/b/c/d");
    ck_assert(fires(&scene.a));
}

TEST(watch_node_removed__fires_and_again_when_it_is_back)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a/b", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a/b");
    ck_assert(fires(&scene.a));
    contract_remove(scene.other, TOP "/a/b");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/b", "2");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/b/c", "3");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/b/c", "4");
    ck_assert(fires(&scene.a));
}

TEST(watch_parent_removed__fires_and_again_when_it_is_back)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a/b/c", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a/b/c");
    ck_assert(fires(&scene.a));
    contract_remove(scene.other, TOP "/a");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/b/c", "2");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/b/c", "3");
    ck_assert(fires(&scene.a));
}

TEST(watch_change_in_a_transaction__fires_at_the_commit)
{
    AUTO_SCENE struct scene scene = open_scene();
    struct libspawn__store_txn *txn;

    contract_write(scene.store, TOP "/a/b", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
    assert_ok(libspawn__store_txn_begin(scene.other, &txn, NULL), NULL);
    assert_ok(libspawn__store_puts(scene.other, txn, TOP "/a/b", "2", NULL),
              NULL);
    ck_assert(stays_quiet(&scene.a));
    assert_ok(libspawn__store_txn_commit(scene.other, txn, NULL), NULL);
    ck_assert(fires(&scene.a));
}

TEST(watch_change_beside__stays_quiet)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a/b", "1");
    contract_write(scene.store, TOP "/a/bc", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a/b");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a/bc", "2");
    contract_write(scene.other, TOP "/a", "own");
    contract_write(scene.other, TOP "/c", "3");
    ck_assert(stays_quiet(&scene.a));
}

TEST(watch_many_changes__fires_and_shows_the_last)
{
    AUTO_SCENE struct scene scene = open_scene();
    int i;

    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
    for (i = 0; i < 300; i++) {
        AUTO_FREE char *path = libspawn__str_format(TOP "/a/%d/x", i % 50);

        contract_write(scene.other, path, "1");
    }
    ck_assert(fires(&scene.a));
    ck_assert(contract_has(scene.store, NULL, TOP "/a/49/x", "1"));
}

/* ---- Several watches --------------------------------------------------- */

TEST(watch_two__fire_each_for_their_own)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a/x", "1");
    contract_write(scene.store, TOP "/b/x", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    add(&scene.b, scene.store, scene.loop, TOP "/b");
    ck_assert(fires(&scene.a));
    ck_assert_int_eq(scene.b.n_fired, 1);
    contract_write(scene.other, TOP "/a/x", "2");
    ck_assert(fires(&scene.a));
    ck_assert_int_eq(scene.b.n_fired, 1);
    contract_write(scene.other, TOP "/b/x", "2");
    ck_assert(fires(&scene.b));
}

TEST(watch_two_of_one_path__both_fire)
{
    AUTO_SCENE struct scene scene = open_scene();

    add(&scene.a, scene.store, scene.loop, TOP "/a");
    add(&scene.b, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a", "2");
    ck_assert(fires(&scene.a));
    ck_assert_int_ge(scene.b.n_fired, 2);
}

TEST(watch_removed__stays_quiet_while_another_fires)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    add(&scene.b, scene.store, scene.loop, TOP "/a");
    libspawn__store_watch_remove(&scene.a.watch);
    libspawn__store_watch_remove(&scene.a.watch);
    contract_write(scene.other, TOP "/a", "2");
    ck_assert(fires(&scene.b));
    ck_assert_int_eq(scene.a.n_fired, 0);
}

TEST(watch_removed_by_its_callback__stays_quiet)
{
    AUTO_SCENE struct scene scene = open_scene();

    scene.a.to_remove = &scene.a;
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
    contract_write(scene.other, TOP "/a", "2");
    ck_assert(stays_quiet(&scene.a));
    scene.a.to_remove = NULL;
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
}

TEST(watch_removed_by_the_callback_of_another__stays_quiet)
{
    AUTO_SCENE struct scene scene = open_scene();

    contract_write(scene.store, TOP "/a", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    add(&scene.b, scene.store, scene.loop, TOP "/a");
    run(scene.loop, QUIET_MS);
    scene.a.to_remove = &scene.b;
    scene.b.to_remove = &scene.a;
    contract_write(scene.other, TOP "/a", "2");
    run(scene.loop, QUIET_MS);
    ck_assert_int_eq(scene.a.n_fired + scene.b.n_fired, 3);
}

TEST(watch_of_bad_path__is_invalid)
{
    AUTO_SCENE struct scene scene = open_scene();

    assert_code(libspawn__store_watch_add(scene.store, scene.loop,
                                          &scene.a.watch, "a", count, NULL),
                LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__store_watch_add(scene.store, scene.loop,
                                          &scene.a.watch, TOP "/", count,
                                          NULL),
                LIBSPAWN_ERR_INVALID);
}

TEST(watch_from_a_second_loop__is_invalid)
{
    AUTO_SCENE struct scene scene = open_scene();
    struct libspawn__loop *loop = NULL;

    assert_ok(libspawn__loop_new(&loop, NULL), NULL);
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    assert_code(libspawn__store_watch_add(scene.store, loop, &scene.b.watch,
                                          TOP "/a", count, NULL),
                LIBSPAWN_ERR_INVALID);
    libspawn__loop_free(loop);
}

/* ---- A lost server ----------------------------------------------------- */

static struct scene
open_scene_to_lose(void)
{
    store_contract.expect_loss();
    return open_scene();
}

static bool
is_lost(struct counter *counter)
{
    struct libspawn_err err = { 0 };

    while (
        !counter->n_lost &&
        harness_wait_readable(libspawn__loop_fd(counter->loop), DEADLINE_MS)) {
        assert_ok(libspawn__loop_dispatch(counter->loop, &err), &err);
    }
    return counter->n_lost == 1;
}

TEST(watch_server_lost__is_told_once_and_last)
{
    AUTO_SCENE struct scene scene = open_scene_to_lose();

    contract_write(scene.store, TOP "/a/b", "1");
    add(&scene.a, scene.store, scene.loop, TOP "/a");
    add(&scene.b, scene.store, scene.loop, TOP "/none");
    ck_assert(fires(&scene.a));
    store_contract.lose();
    ck_assert(is_lost(&scene.a));
    ck_assert(is_lost(&scene.b));
    run(scene.loop, QUIET_MS);
    assert_code(libspawn__store_puts(scene.store, NULL, TOP "/a", "2", NULL),
                LIBSPAWN_ERR_GONE);
    run(scene.loop, QUIET_MS);
    ck_assert_int_eq(scene.a.n_lost, 1);
}

TEST(watch_server_loss_noticed_by_a_call__is_told_once)
{
    AUTO_SCENE struct scene scene = open_scene_to_lose();

    add(&scene.a, scene.store, scene.loop, TOP "/a");
    ck_assert(fires(&scene.a));
    store_contract.lose();
    assert_code(libspawn__store_puts(scene.store, NULL, TOP "/a", "2", NULL),
                LIBSPAWN_ERR_GONE);
    ck_assert(is_lost(&scene.a));
    run(scene.loop, QUIET_MS);
    ck_assert_int_eq(scene.a.n_lost, 1);
    assert_code(libspawn__store_watch_add(scene.store, scene.loop,
                                          &scene.b.watch, TOP "/a", count,
                                          NULL),
                LIBSPAWN_ERR_GONE);
}
