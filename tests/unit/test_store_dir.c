/*
 * The directory store: the contract, and what is its own: files that a person
 * can read, sentences about the state directory, and inotify.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "tests/unit/store_contract.h"

static int
open_store(struct libspawn__store **store_r, struct libspawn_err *err)
{
    return libspawn__store_open("dir:store", store_r, err);
}

static void
expect_loss(void)
{
}

static void
remove_store(void)
{
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__dir_remove_tree("store", &err), &err);
}

const struct store_contract store_contract = { .open = open_store,
                                               .expect_loss = expect_loss,
                                               .lose = remove_store };

static bool
is_file(const char *path, const char *text)
{
    AUTO_FREE char *found = NULL;

    return !libspawn__file_read(path, 65536, &found, NULL, NULL) &&
           !strcmp(found, text);
}

/* ---- Files that a person can read -------------------------------------- */

TEST(dir_leaf__is_a_file_and_a_node_with_children_a_directory)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "own");
    ck_assert(is_file("store" TOP "/a", "own"));
    contract_write(store, TOP "/a/b", "1");
    ck_assert(is_file("store" TOP "/a/b", "1"));
    ck_assert(is_file("store" TOP "/a/.value", "own"));
}

TEST(dir_root__is_private)
{
    struct stat st;

    libspawn__store_close(contract_open());
    ck_assert_int_eq(stat("store", &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
}

TEST(dir_dot_names__are_no_nodes)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_FREE char *names = NULL;
    AUTO_FREE char *names_below = NULL;

    contract_write(store, TOP "/a", "1");
    harness_write_file("store" TOP "/.junk", "by hand");
    names = contract_list(store, NULL, "/");
    ck_assert_str_eq(names, "libspawn-test ");
    names_below = contract_list(store, NULL, TOP);
    ck_assert_str_eq(names_below, "a ");
}

/* openat2(2) is missing: before Linux 5.6, or behind a filter. */
static bool is_old_kernel;

long __wrap_syscall(long number, long a, long b, long c, long d, long e,
                    long f);
long __real_syscall(long number, ...);

long
__wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (is_old_kernel && number == SYS_openat2) {
        errno = ENOSYS;
        return -1;
    }
    return __real_syscall(number, a, b, c, d, e, f);
}

static void
assert_links_are_not_followed(void)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn_err err = { 0 };
    char *value;

    harness_write_file("outside", "secret");
    contract_write(store, TOP "/a", "1");
    ck_assert_int_eq(mkdir("elsewhere", 0700), 0);
    ck_assert_int_eq(symlink("../../outside", "store" TOP "/file"), 0);
    ck_assert_int_eq(symlink("../../elsewhere", "store" TOP "/dir"), 0);
    assert_code(
        libspawn__store_read(store, NULL, TOP "/file", &value, NULL, &err),
        LIBSPAWN_ERR_DENIED);
    assert_contains(err.text, "a symbolic link is in the way");
    assert_code(libspawn__store_puts(store, NULL, TOP "/dir/x", "1", NULL),
                LIBSPAWN_ERR_DENIED);
    contract_write(store, TOP "/file", "mine");
    ck_assert(is_file("outside", "secret"));
    contract_remove(store, TOP "/dir");
    ck_assert_int_eq(access("elsewhere", F_OK), 0);
}

TEST(dir_symbolic_links__are_not_followed)
{
    assert_links_are_not_followed();
}

TEST(dir_symbolic_links_on_an_old_kernel__are_not_followed)
{
    is_old_kernel = true;
    assert_links_are_not_followed();
}

TEST(dir_leftovers_of_dead_writers__are_in_nobodys_way)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "own");
    harness_write_file("store/.store/new", "half a val");
    ck_assert_int_eq(mkdir("store/.store/tree", 0700), 0);
    harness_write_file("store/.store/tree/.value", "other");
    ck_assert_int_eq(mkdir("store/.store/old", 0700), 0);
    harness_write_file("store/.store/old/x", "other");

    contract_write(store, TOP "/a/b", "1");
    ck_assert(contract_has(store, NULL, TOP "/a", "own"));
    contract_remove(store, TOP "/a");
    ck_assert_int_eq(access("store/.store/new", F_OK), -1);
    ck_assert_int_eq(access("store/.store/tree", F_OK), -1);
    ck_assert_int_eq(access("store/.store/old", F_OK), -1);
}

TEST(dir_too_big_a_file__is_refused)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    char bytes[LIBSPAWN__STORE_VALUE_MAX + 2];
    char *value;

    memset(bytes, 'x', sizeof bytes - 1);
    bytes[sizeof bytes - 1] = '\0';
    contract_write(store, TOP "/a", "1");
    harness_write_file("store" TOP "/big", bytes);
    assert_code(
        libspawn__store_read(store, NULL, TOP "/big", &value, NULL, NULL),
        LIBSPAWN_ERR_LIMIT);
}

/* ---- The state directory ----------------------------------------------- */

static void
assert_open_fails(const char *address, int code, const char *reason)
{
    struct libspawn__store *store;
    struct libspawn_err err = { 0 };

    assert_code(libspawn__store_open(address, &store, &err), code);
    assert_contains(err.text, reason);
}

TEST(dir_open_without_parent__says_so)
{
    assert_open_fails("dir:none/store", LIBSPAWN_ERR_NOT_FOUND,
                      "'none/store': the directory to make it in does not "
                      "exist");
}

TEST(dir_open_of_no_directory__says_so)
{
    harness_write_file("file", "");
    assert_open_fails("dir:file", LIBSPAWN_ERR_NOT_FOUND, "Not a directory");
    assert_open_fails("dir:", LIBSPAWN_ERR_INVALID, "names no directory");
}

/* Makes what follows private to this test; false where that is forbidden. */
static bool
enter_namespaces(int flags)
{
    AUTO_FREE char *map =
        libspawn__str_format("0 %u 1", (unsigned int)geteuid());

    if (geteuid() != 0 || flags & CLONE_NEWUSER) {
        if (unshare(flags | CLONE_NEWUSER) < 0) {
            return false;
        }
        harness_write_file("/proc/self/setgroups", "deny");
        harness_write_file("/proc/self/uid_map", map);
    } else if (unshare(flags) < 0) {
        return false;
    }
    return !(flags & CLONE_NEWNS) ||
           mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) == 0;
}

/* A tmpfs of its own at "small"; false where that is forbidden. */
static bool
mount_small(const char *options)
{
    return enter_namespaces(CLONE_NEWNS) && mkdir("small", 0700) == 0 &&
           mount("none", "small", "tmpfs", 0, options) == 0;
}

static void
fill(const char *path)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char bytes[4096] = "";

    while (write(fd, bytes, sizeof bytes) > 0) {
        continue;
    }
    ck_assert_int_eq(errno, ENOSPC);
}

TEST(dir_read_only_state_directory__is_denied_with_the_reason)
{
    if (!mount_small("size=64k")) {
        TEST_SKIP("no right to mount");
    }
    ck_assert_int_eq(
        mount("none", "small", "", MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_open_fails("dir:small/store", LIBSPAWN_ERR_DENIED, "Read-only");
    assert_open_fails("dir:small", LIBSPAWN_ERR_DENIED,
                      "the file system is read-only");
}

TEST(dir_full_state_directory__says_so_and_keeps_the_old_value)
{
    AUTO_STORE struct libspawn__store *store = NULL;
    struct libspawn_err err = { 0 };

    if (!mount_small("size=64k")) {
        TEST_SKIP("no right to mount");
    }
    assert_ok(libspawn__store_open("dir:small/store", &store, &err), &err);
    contract_write(store, "/a", "old");
    fill("small/ballast");
    assert_code(libspawn__store_puts(store, NULL, "/a", "new", &err),
                LIBSPAWN_ERR_LIMIT);
    assert_contains(err.text, "'/a'");
    assert_contains(err.text, "the file system is full");
    ck_assert(contract_has(store, NULL, "/a", "old"));
    ck_assert_int_eq(unlink("small/ballast"), 0);
    contract_write(store, "/a", "new");
}

TEST(dir_full_state_directory__takes_no_part_of_a_transaction)
{
    AUTO_STORE struct libspawn__store *store = NULL;
    struct libspawn__store_txn *txn;
    struct libspawn_err err = { 0 };
    int i;

    if (!mount_small("size=64k")) {
        TEST_SKIP("no right to mount");
    }
    assert_ok(libspawn__store_open("dir:small/store", &store, &err), &err);
    contract_write(store, "/a/0", "old");
    assert_ok(libspawn__store_txn_begin(store, &txn, &err), &err);
    for (i = 0; i < 40; i++) {
        AUTO_FREE char *path = libspawn__str_format("/a/%d", i);

        assert_ok(libspawn__store_puts(store, txn, path, "new", &err), &err);
    }
    assert_code(libspawn__store_txn_commit(store, txn, &err),
                LIBSPAWN_ERR_LIMIT);
    ck_assert(contract_has(store, NULL, "/a/0", "old"));
    ck_assert(contract_has(store, NULL, "/a/1", NULL));
    contract_write(store, "/a/1", "still works");
}

TEST(dir_root_replaced_by_another__is_gone)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_STORE struct libspawn__store *other = NULL;
    struct libspawn_err err = { 0 };

    ck_assert_int_eq(rename("store", "moved"), 0);
    other = contract_open();
    assert_code(libspawn__store_puts(store, NULL, TOP "/a", "1", &err),
                LIBSPAWN_ERR_GONE);
    assert_contains(err.text, "was removed or replaced");
    contract_write(other, TOP "/a", "1");
}

/* ---- Journal ----------------------------------------------------------- */

TEST(dir_journal_found__is_completed_by_a_read)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "old");
    harness_write_file("store/.store/journal", "libspawn-journal 1\n"
                                               "w " TOP "/a 3\nnew\n"
                                               "w " TOP "/b/c 5\na\nb c\n"
                                               "r " TOP "/none 0\n\n"
                                               "end\n");
    ck_assert(contract_has(store, NULL, TOP "/a", "new"));
    ck_assert(contract_has(store, NULL, TOP "/b/c", "a\nb c"));
    ck_assert_int_eq(access("store/.store/journal", F_OK), -1);
}

TEST(dir_journal_found__is_completed_before_nodes_are_read)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_item items[] = { { .path = TOP "/a" },
                                            { .path = TOP "/b" } };

    contract_write(store, TOP "/a", "old");
    harness_write_file("store/.store/journal", "libspawn-journal 1\n"
                                               "w " TOP "/a 3\nnew\n"
                                               "w " TOP "/b 3\nnew\n"
                                               "end\n");
    libspawn__store_read_each(store, items, ARRAY_SIZE(items));
    ck_assert_str_eq(items[0].value, "new");
    ck_assert_str_eq(items[1].value, "new");
    libspawn__store_items_dispose(items, ARRAY_SIZE(items));
    ck_assert_int_eq(access("store/.store/journal", F_OK), -1);
}

TEST(dir_journal_without_end__is_dropped)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "old");
    harness_write_file("store/.store/journal",
                       "libspawn-journal 1\nw " TOP "/a 3\nne");
    ck_assert(contract_has(store, NULL, TOP "/a", "old"));
    harness_write_file("store/.store/journal", "");
    contract_write(store, TOP "/a", "new");
}

TEST(dir_journal_of_a_later_version__is_left_alone)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "old");
    harness_write_file("store/.store/journal", "libspawn-journal 2\nend\n");
    assert_code(libspawn__store_puts(store, NULL, TOP "/a", "1", NULL),
                LIBSPAWN_ERR_UNSUPPORTED);
    ck_assert_int_eq(access("store/.store/journal", F_OK), 0);
}

TEST(dir_journal_damaged__is_an_error_and_no_crash)
{
    static const char *const bodies[] = {
        "w",
        "w " TOP "/a",
        "w " TOP "/a 9",
        "x /a 0\n",
        "w " TOP "/a 99999\nx",
        "w " TOP "/a 3\nabcd",
        "w a 0\n",
        "w " TOP "/a -1\nx",
        "w " TOP "/a 18446744073709551615\n",
    };
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bodies); i++) {
        AUTO_FREE char *text =
            libspawn__str_format("libspawn-journal 1\n%s\nend\n", bodies[i]);

        harness_write_file("store/.store/journal", text);
        assert_code(libspawn__store_puts(store, NULL, TOP "/a", "1", NULL),
                    LIBSPAWN_ERR_PROTOCOL);
    }
}

TEST(dir_journal_that_does_not_fit__waits_until_there_is_room)
{
    AUTO_STORE struct libspawn__store *store = NULL;
    struct libspawn_err err = { 0 };

    if (!mount_small("size=64k")) {
        TEST_SKIP("no right to mount");
    }
    assert_ok(libspawn__store_open("dir:small/store", &store, &err), &err);
    contract_write(store, "/a", "old");
    harness_write_file("small/store/.store/journal",
                       "libspawn-journal 1\nw /a 3\nnew\nend\n");
    fill("small/ballast");
    assert_code(libspawn__store_puts(store, NULL, "/b", "1", &err),
                LIBSPAWN_ERR_LIMIT);
    assert_contains(err.text, "completing what another process began: ");
    ck_assert_int_eq(unlink("small/ballast"), 0);
    ck_assert(contract_has(store, NULL, "/a", "new"));
}

TEST(dir_change_that_can_never_be_made__blocks_nobody)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_txn *txn;
    struct libspawn_err err = { 0 };

    contract_write(store, TOP "/a", "old");
    ck_assert_int_eq(symlink("/", "store" TOP "/link"), 0);
    assert_ok(libspawn__store_txn_begin(store, &txn, &err), &err);
    assert_ok(libspawn__store_puts(store, txn, TOP "/link/x", "1", &err),
              &err);
    assert_ok(libspawn__store_puts(store, txn, TOP "/a", "new", &err), &err);
    assert_code(libspawn__store_txn_commit(store, txn, &err),
                LIBSPAWN_ERR_DENIED);
    assert_contains(err.text, "'" TOP "/link/x'");
    ck_assert(contract_has(store, NULL, TOP "/a", "new"));
}

/* ---- Watches ----------------------------------------------------------- */

struct counter {
    struct libspawn__store_watch watch;
    int n_fired;
    int n_lost;
};

static void
count(struct libspawn__store_watch *watch, const char *path)
{
    struct counter *counter = CONTAINER_OF(watch, struct counter, watch);

    counter->n_fired += path != NULL;
    counter->n_lost += path == NULL;
}

/* A watch that has fired once already. */
static void
add(struct counter *counter, struct libspawn__store *store,
    struct libspawn__loop *loop, const char *path)
{
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__store_watch_add(store, loop, &counter->watch, path,
                                        count, &err),
              &err);
    assert_ok(libspawn__loop_dispatch(loop, &err), &err);
    ck_assert_int_eq(counter->n_fired, 1);
}

static bool
comes(const int *number, int at_least, struct libspawn__loop *loop)
{
    while (*number < at_least &&
           harness_wait_readable(libspawn__loop_fd(loop), 5000)) {
        assert_ok(libspawn__loop_dispatch(loop, NULL), NULL);
    }
    return *number >= at_least;
}

TEST(dir_file_written_by_hand__fires_a_watch)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__loop *loop = NULL;
    struct counter counter = { 0 };

    contract_write(store, TOP "/state", "starting");
    assert_ok(libspawn__loop_new(&loop, NULL), NULL);
    add(&counter, store, loop, TOP "/state");
    harness_write_file("store" TOP "/state", "running");
    ck_assert(comes(&counter.n_fired, 2, loop));
    ck_assert(contract_has(store, NULL, TOP "/state", "running"));
    libspawn__store_watch_remove(&counter.watch);
    libspawn__loop_free(loop);
}

TEST(dir_watch_of_xenstores_own_paths__is_unsupported)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_watch watch = { 0 };
    struct libspawn__loop *loop = NULL;

    assert_ok(libspawn__loop_new(&loop, NULL), NULL);
    assert_code(libspawn__store_watch_add(store, loop, &watch,
                                          "@releaseDomain", count, NULL),
                LIBSPAWN_ERR_UNSUPPORTED);
    libspawn__store_close(TAKE_PTR(store));
    libspawn__loop_free(loop);
}

/* More events than the kernel keeps (fs.inotify.max_queued_events), made by
 * files beside the one that changes last. */
TEST_TIMEOUT(dir_watch_event_queue_overflow__fires_all, 60)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    AUTO_FREE char *limit =
        harness_read_file("/proc/sys/fs/inotify/max_queued_events");
    struct libspawn__loop *loop = NULL;
    struct counter counter = { 0 };
    long i;

    contract_write(store, TOP "/a/x", "1");
    assert_ok(libspawn__loop_new(&loop, NULL), NULL);
    add(&counter, store, loop, TOP "/a/y");
    for (i = 0; i < strtol(limit, NULL, 10) + 10; i++) {
        ck_assert_int_eq(
            rename(i % 2 ? "store" TOP "/a/z" : "store" TOP "/a/x",
                   i % 2 ? "store" TOP "/a/x" : "store" TOP "/a/z"),
            0);
    }
    contract_write(store, TOP "/a/y", "2");
    ck_assert(comes(&counter.n_fired, 2, loop));
    ck_assert(comes(&counter.n_fired, 2, loop));
    contract_write(store, TOP "/a/y", "3");
    ck_assert(comes(&counter.n_fired, 3, loop));
    libspawn__store_watch_remove(&counter.watch);
    libspawn__loop_free(loop);
}

TEST(dir_watch_without_inotify_left__polls)
{
    AUTO_STORE struct libspawn__store *store = NULL;
    struct libspawn__loop *loop = NULL;
    struct counter counter = { 0 };

    if (!enter_namespaces(CLONE_NEWUSER) ||
        access("/proc/sys/user/max_inotify_instances", W_OK) < 0) {
        TEST_SKIP("no right to make a user namespace");
    }
    harness_write_file("/proc/sys/user/max_inotify_instances", "0");
    store = contract_open_clean();
    assert_ok(libspawn__loop_new(&loop, NULL), NULL);
    add(&counter, store, loop, TOP "/a/b");
    contract_write(store, TOP "/a/b", "1");
    ck_assert(comes(&counter.n_fired, 2, loop));
    contract_write(store, TOP "/a/b", "2");
    ck_assert(comes(&counter.n_fired, 3, loop));
    remove_store();
    ck_assert(comes(&counter.n_lost, 1, loop));
    libspawn__store_watch_remove(&counter.watch);
    libspawn__loop_free(loop);
}

TEST(dir_root_renamed__is_told_to_watches)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__loop *loop = NULL;
    struct counter counter = { 0 };

    assert_ok(libspawn__loop_new(&loop, NULL), NULL);
    add(&counter, store, loop, TOP "/a");
    ck_assert_int_eq(rename("store", "moved"), 0);
    ck_assert(comes(&counter.n_lost, 1, loop));
    libspawn__store_watch_remove(&counter.watch);
    libspawn__loop_free(loop);
}

TEST_MAIN("store_dir")
