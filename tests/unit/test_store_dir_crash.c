/*
 * The directory store and writers that are killed: each story is run again and
 * again in a process that is killed before its first, second, third ... system
 * call, until it comes to its end.  After each time the store must show all of
 * the change or nothing of it, and must work.
 */
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "tests/unit/store_contract.h"

static int
open_store(struct libspawn__store **store_r, struct libspawn_err *err)
{
    return libspawn__store_open("dir:store", store_r, err);
}

const struct store_contract store_contract = { .open = open_store };

/* ---- Killing ----------------------------------------------------------- */

/* Lets the traced process go on to the entry of its next system call; false
 * when it has ended. */
static bool
step_to_call(pid_t pid)
{
    int entry_or_exit;
    int status;

    for (entry_or_exit = 0; entry_or_exit < 2; entry_or_exit++) {
        ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (!WIFSTOPPED(status)) {
            ck_assert(WIFEXITED(status));
            ck_assert_int_eq(WEXITSTATUS(status), 0);
            return false;
        }
    }
    return true;
}

/* Starts the story with the store and stops it at its system call number
 * 'n_calls'; 0 when it ended before. */
static pid_t
run_to_call(void (*story)(struct libspawn__store *), int n_calls)
{
    pid_t pid = fork();
    bool is_alive = true;
    int status;
    int i;

    ck_assert_int_ge(pid, 0);
    if (!pid) {
        AUTO_STORE struct libspawn__store *store = contract_open();

        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        story(store);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status));
    for (i = 0; is_alive && i < n_calls; i++) {
        is_alive = step_to_call(pid);
    }
    return is_alive ? pid : 0;
}

/* Kills it there; false when it had fewer calls. */
static bool
run_and_kill(void (*story)(struct libspawn__store *), int n_calls)
{
    pid_t pid = run_to_call(story, n_calls);

    if (pid) {
        kill(pid, SIGKILL);
        ck_assert_int_eq(contract_finish(pid), 128 + SIGKILL);
    }
    return pid != 0;
}

/* Builds the scene anew for each kill; 'is_done' checks that all or nothing of
 * the story is there, and says which. */
static void
kill_everywhere(void (*scene)(struct libspawn__store *),
                void (*story)(struct libspawn__store *),
                bool (*is_done)(struct libspawn__store *))
{
    bool is_killed = true;
    int n_done = 0;
    int n_undone = 0;
    int n;

    for (n = 1; is_killed; n++) {
        AUTO_STORE struct libspawn__store *store = contract_open_clean();

        scene(store);
        is_killed = run_and_kill(story, n);
        if (is_done(store)) {
            n_done++;
        } else {
            ck_assert(is_killed);
            n_undone++;
        }
        contract_write(store, TOP "/works", "yes");
        ck_assert(contract_has(store, NULL, TOP "/works", "yes"));
    }
    /* The kills came before the change and after it. */
    ck_assert_int_gt(n_done, 1);
    ck_assert_int_gt(n_undone, 1);
}

/* ---- Stories ----------------------------------------------------------- */

static void
make_leaf(struct libspawn__store *store)
{
    contract_write(store, TOP "/a", "old");
}

static void
write_leaf(struct libspawn__store *store)
{
    contract_write(store, TOP "/a", "new");
}

static bool
is_leaf_written(struct libspawn__store *store)
{
    bool is_new = contract_has(store, NULL, TOP "/a", "new");

    ck_assert(is_new || contract_has(store, NULL, TOP "/a", "old"));
    return is_new;
}

TEST_TIMEOUT(dir_writer_killed__leaves_the_old_value_or_the_new, 60)
{
    kill_everywhere(make_leaf, write_leaf, is_leaf_written);
}

static void
make_top(struct libspawn__store *store)
{
    contract_write(store, TOP, "");
}

static void
write_deep(struct libspawn__store *store)
{
    contract_write(store, TOP "/a/b/c", "1");
}

static bool
is_deep_written(struct libspawn__store *store)
{
    bool is_new = contract_has(store, NULL, TOP "/a/b/c", "1");

    ck_assert(is_new || contract_has(store, NULL, TOP "/a", NULL));
    return is_new;
}

TEST_TIMEOUT(dir_writer_of_a_deep_node_killed__leaves_no_lone_parents, 60)
{
    kill_everywhere(make_top, write_deep, is_deep_written);
}

static bool
is_leaf_turned(struct libspawn__store *store)
{
    bool is_new = contract_has(store, NULL, TOP "/a/b/c", "1");
    AUTO_FREE char *names = contract_list(store, NULL, TOP "/a");

    ck_assert(contract_has(store, NULL, TOP "/a", "old"));
    ck_assert_str_eq(names, is_new ? "b " : "");
    return is_new;
}

TEST_TIMEOUT(dir_writer_below_a_leaf_killed__keeps_the_leafs_value, 60)
{
    kill_everywhere(make_leaf, write_deep, is_leaf_turned);
}

static void
make_tree(struct libspawn__store *store)
{
    contract_write(store, TOP "/a", "own");
    contract_write(store, TOP "/a/b/c", "1");
    contract_write(store, TOP "/a/d", "2");
}

static void
remove_tree(struct libspawn__store *store)
{
    contract_remove(store, TOP "/a");
}

static bool
is_tree_removed(struct libspawn__store *store)
{
    bool is_gone = contract_has(store, NULL, TOP "/a", NULL);

    ck_assert_int_eq(is_gone, contract_has(store, NULL, TOP "/a/b/c", NULL));
    ck_assert_int_eq(!is_gone, contract_has(store, NULL, TOP "/a/d", "2"));
    ck_assert_int_eq(!is_gone, contract_has(store, NULL, TOP "/a", "own"));
    return is_gone;
}

TEST_TIMEOUT(dir_remover_killed__leaves_the_whole_tree_or_nothing, 60)
{
    kill_everywhere(make_tree, remove_tree, is_tree_removed);
}

static void
set_perms(struct libspawn__store *store)
{
    static const struct libspawn__store_perm perms[] = { { 5, true, false } };

    assert_ok(libspawn__store_set_perms(store, NULL, TOP "/a", perms, 1, NULL),
              NULL);
}

static unsigned int
get_owner(struct libspawn__store *store, const char *path)
{
    AUTO_FREE struct libspawn__store_perm *perms = NULL;
    size_t n_perms;

    assert_ok(
        libspawn__store_get_perms(store, NULL, path, &perms, &n_perms, NULL),
        NULL);
    return perms[0].domid;
}

static bool
are_perms_set(struct libspawn__store *store)
{
    ck_assert_uint_eq(get_owner(store, TOP "/a/b"), 0);
    ck_assert_uint_eq(get_owner(store, TOP "/a/d"), 0);
    ck_assert(contract_has(store, NULL, TOP "/a/d", "2"));
    return get_owner(store, TOP "/a") == 5;
}

TEST_TIMEOUT(dir_setter_of_perms_killed__changes_those_of_no_child, 60)
{
    kill_everywhere(make_tree, set_perms, are_perms_set);
}

/* One of each kind of change. */
static void
commit_all(struct libspawn__store *store)
{
    static const struct libspawn__store_perm perms[] = { { 5, true, false } };
    struct libspawn__store_txn *txn = NULL;
    int rc = libspawn__store_txn_begin(store, &txn, NULL);

    if (!rc) {
        rc |= libspawn__store_puts(store, txn, TOP "/new/x", "1", NULL);
        rc |= libspawn__store_remove(store, txn, TOP "/a/b", NULL);
        rc |= libspawn__store_puts(store, txn, TOP "/a", "changed", NULL);
        rc |= libspawn__store_puts(store, txn, TOP "/a/d/e", "3", NULL);
        rc |= libspawn__store_set_perms(store, txn, TOP "/a", perms, 1, NULL);
        rc |= libspawn__store_mkdir(store, txn, TOP "/a/dir", NULL);
        rc |= libspawn__store_txn_commit(store, txn, NULL);
    }
    assert_ok(rc, NULL);
}

static bool
is_all_committed(struct libspawn__store *store)
{
    bool is_new = contract_has(store, NULL, TOP "/new/x", "1");
    AUTO_FREE char *names = contract_list(store, NULL, TOP "/a");

    ck_assert_str_eq(names, is_new ? "d dir " : "b d ");
    ck_assert(contract_has(store, NULL, TOP "/a", is_new ? "changed" : "own"));
    ck_assert(contract_has(store, NULL, TOP "/a/b/c", is_new ? NULL : "1"));
    ck_assert(contract_has(store, NULL, TOP "/a/d", "2"));
    ck_assert(contract_has(store, NULL, TOP "/a/d/e", is_new ? "3" : NULL));
    ck_assert_uint_eq(get_owner(store, TOP "/a"), is_new ? 5 : 0);
    ck_assert_uint_eq(get_owner(store, TOP "/a/d"), 0);
    return is_new;
}

TEST_TIMEOUT(dir_committer_killed__leaves_all_changes_or_none, 120)
{
    kill_everywhere(make_tree, commit_all, is_all_committed);
}

/* ---- Others ------------------------------------------------------------ */

/* Leaves a journal behind: kills its writer at the first call after it. */
static void
leave_journal(void)
{
    static int n_calls = 1; /* what it took the last time */

    do {
        AUTO_STORE struct libspawn__store *store = contract_open_clean();

        make_tree(store);
        ck_assert(run_and_kill(commit_all, n_calls++));
    } while (access("store/.store/journal", F_OK) < 0);
    n_calls--;
}

static void
complete_by_reading(struct libspawn__store *store)
{
    contract_has(store, NULL, TOP "/a", NULL);
}

TEST_TIMEOUT(dir_completer_killed_too__leaves_it_to_the_next, 120)
{
    bool is_killed = true;
    int n;

    for (n = 1; is_killed; n++) {
        AUTO_STORE struct libspawn__store *store = NULL;

        leave_journal();
        is_killed = run_and_kill(complete_by_reading, n);
        store = contract_open();
        ck_assert(is_all_committed(store));
    }
}

TEST(dir_reader_after_a_killed_committer__sees_all_at_once)
{
    AUTO_STORE struct libspawn__store *store = NULL;

    leave_journal();
    store = contract_open();
    ck_assert(contract_has(store, NULL, TOP "/new/x", "1"));
    ck_assert_int_eq(access("store/.store/journal", F_OK), -1);
}

static void
read_own_value(struct libspawn__store *store)
{
    AUTO_FREE char *value = NULL;
    int rc = libspawn__store_read(store, NULL, TOP "/a", &value, NULL, NULL);

    if (rc != LIBSPAWN_ERR_NOT_FOUND && (rc || strcmp(value, "own"))) {
        _exit(1);
    }
}

/* Not killed but overtaken, between any two of its system calls. */
TEST_TIMEOUT(dir_reader_overtaken_by_a_removal__sees_no_empty_value, 60)
{
    pid_t pid;
    int n = 1;

    do {
        AUTO_STORE struct libspawn__store *store = contract_open_clean();

        make_tree(store);
        pid = run_to_call(read_own_value, n++);
        contract_remove(store, TOP "/a");
        if (pid) {
            ck_assert_int_eq(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
            ck_assert_int_eq(contract_finish(pid), 0);
        }
    } while (pid);
}

TEST_MAIN("store_dir_crash")
