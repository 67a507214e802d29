/*
 * xl lock, the locks of the other commands, and scripts that take the same.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/xl_story.h"
#include "tests/flow/lock_story.h"

#define HOST_LOCK "state/locks/host"

/* Holds the lock until its stdin ends. */
#define HOLD "sh", "-c", "echo held; read -r line"

static struct xl_process
hold(const char *of)
{
    struct xl_process process = xl_start_talk("lock", of, "--", HOLD);

    ck_assert(xl_await_words(&process, "held\n"));
    return process;
}

static void
let_go(struct xl_process *process)
{
    close(TAKE_FD(process->in));
    xl_wait(process);
}

static void
create_guest(void)
{
    AUTO_OUTPUT struct harness_output create = { 0 };

    xl_write_model_config("'--stderr=x'");
    create = xl_run("create", XL_CONFIG);
    xl_assert_ok(&create);
}

static void
destroy_guest(void)
{
    AUTO_OUTPUT struct harness_output destroy = xl_run("destroy", XL_GUEST);

    xl_assert_ok(&destroy);
    xl_assert_nothing_left();
}

/* ---- The command ------------------------------------------------------- */

TEST_TIMEOUT(lock_of_the_host__runs_the_command_and_has_its_status, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_OUTPUT struct harness_output again = { 0 };

    xl_begin();
    output = xl_run("lock", "host", "--", "sh", "-c", "echo hello; exit 7");
    ck_assert_str_eq(output.out, "hello\n");
    ck_assert_str_eq(output.err, "");
    ck_assert_int_eq(output.status, 7);
    again = xl_run("lock", "-n", "host", "true");
    xl_assert_ok(&again);
}

/* The lock lasts as long as the command, also when that is killed. */
TEST_TIMEOUT(command_killed__the_lock_is_free, XL_TEST_S)
{
    struct xl_process process;

    xl_begin();
    process = hold("host");
    ck_assert(!lock_is_free(HOST_LOCK));
    kill(process.pid, SIGKILL);
    let_go(&process);
    ck_assert(lock_is_free(HOST_LOCK));
}

TEST_TIMEOUT(command_that_is_not_there__is_127, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output missing = { 0 };
    AUTO_OUTPUT struct harness_output denied = { 0 };

    xl_begin();
    missing = xl_run("lock", "host", "--", "no-such-command");
    xl_assert_error(&missing, 127, "running 'no-such-command': No such file");
    denied = xl_run("lock", "host", "--", "/");
    xl_assert_error(&denied, 126, "running '/': Permission denied");
}

/* The command gets the world as xl got it. */
TEST_TIMEOUT(command__gets_no_timer_and_no_other_signals, XL_TEST_S)
{
    static const char script[] =
        "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; sleep 1.2; echo alive";
    AUTO_OUTPUT struct harness_output plain = { 0 };
    struct xl_process holder;
    struct xl_process process;

    xl_begin();
    plain = harness_run("sh", "-c", script);
    holder = hold("host");
    process = xl_start_talk("lock", "host", "--", "sh", "-c", script);
    let_go(&holder);
    ck_assert_int_eq(xl_wait(&process), 0);
    ck_assert_str_eq(process.text, plain.out);
    assert_contains(process.text, "alive\n");
    close(process.in);
}

TEST_TIMEOUT(wrong_calls__are_usage_errors, XL_TEST_S)
{
    static const struct {
        const char *arguments[5];
        const char *words;
    } calls[] = {
        { { "lock", NULL }, "whose lock?" },
        { { "lock", "host", NULL }, "which command?" },
        { { "lock", "host", "--", NULL }, "which command?" },
        { { "lock", "-w", "x", "host", NULL }, "--wait: " },
        { { "lock", "-x", "host", "true", NULL }, "unknown option '-x'" },
    };
    size_t i;

    xl_begin();
    for (i = 0; i < ARRAY_SIZE(calls); i++) {
        const char *const *a = calls[i].arguments;
        const char *const argv[] = { xl_path(), a[0], a[1], a[1] ? a[2] : NULL,
                                     a[1] && a[2] ? a[3] : NULL, NULL };
        AUTO_OUTPUT struct harness_output output = harness_run_argv(argv);

        ck_assert_int_eq(output.status, 2);
        assert_contains(output.err, calls[i].words);
    }
}

TEST_TIMEOUT(lock_of_an_unknown_guest__is_not_found, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    output = xl_run("lock", "ghost", "--", "true");
    xl_assert_error(&output, 1, "there is no guest 'ghost'");
}

/* ---- Somebody has it --------------------------------------------------- */

/* Covers L3. */
TEST_TIMEOUT(busy__is_75_and_names_the_holder, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_FREE char *words = NULL;
    struct xl_process holder;

    xl_begin();
    holder = hold("host");
    words = libspawn__str_format(
        "the host lock is held by pid %d (xl lock sh) since 20",
        (int)holder.pid);
    output = xl_run("lock", "-n", "host", "--", "echo", "not me");
    xl_assert_error(&output, 75, words);
    let_go(&holder);
}

/* Covers L10. */
TEST_TIMEOUT(wait_with_a_limit__ends_in_time_with_75, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    struct xl_process holder;
    int64_t began;
    int64_t took;

    xl_begin();
    holder = hold("host");
    began = libspawn__clock_now_ms();
    output = xl_run("lock", "-w", "1", "host", "--", "echo", "not me");
    took = libspawn__clock_now_ms() - began;
    xl_assert_error(&output, 75, "the host lock was not free within 1 s: it "
                                 "is held by pid");
    ck_assert_int_ge(took, 1000);
    ck_assert_int_le(took, 1300);
    let_go(&holder);
}

/* Covers L18. */
TEST_TIMEOUT(long_wait__is_told_once_and_goes_on, XL_TEST_S)
{
    struct xl_process holder;
    struct xl_process process;

    xl_begin();
    holder = hold("host");
    process = xl_start("lock", "-w", "20", "host", "--", "true");
    ck_assert(xl_await_words(&process, "xl: waiting for the host lock, held "
                                       "by pid "));
    let_go(&holder);
    ck_assert_int_eq(xl_wait(&process), 0);
    ck_assert_ptr_null(strstr(strstr(process.text, "xl: ") + 1, "xl: "));
}

/* From the end of the holder to that of the next command. */
static int64_t
pass_on(void)
{
    struct xl_process holder = hold("host");
    struct xl_process process = xl_start("lock", "host", "--", "true");
    int64_t began;
    int64_t took;

    ck_assert(lock_await_call(process.pid, F_SETLKW));
    kill(holder.pid, SIGKILL);
    began = libspawn__clock_now_ms();
    ck_assert_int_eq(xl_wait(&process), 0);
    took = libspawn__clock_now_ms() - began;
    let_go(&holder);
    return took;
}

/* Covers L8. */
TEST_TIMEOUT(wait_of_a_script__is_in_the_kernel_and_ends_at_once, XL_TEST_S)
{
    int64_t best = INT64_MAX;
    int i;

    xl_begin();
    for (i = 0; i < 5 && best >= 50; i++) { /* the machine may be busy */
        best = MIN(best, pass_on());
    }
    ck_assert_int_lt(best, 50);
}

/* Covers L15. */
TEST_TIMEOUT(two_in_opposite_order__one_is_told_and_none_hangs, XL_TEST_S)
{
    static const char script[] =
        "touch $1; while [ ! -e $2 ]; do sleep 0.01; done; "
        "exec \"$0\" lock $1 -- true";
    struct xl_process first;
    struct xl_process second;
    int a;
    int b;

    xl_begin();
    create_guest();
    first = xl_start("lock", "host", "--", "sh", "-c", script, xl_path(),
                     XL_GUEST, "host");
    second = xl_start("lock", XL_GUEST, "--", "sh", "-c", script, xl_path(),
                      "host", XL_GUEST);
    a = xl_wait(&first);
    b = xl_wait(&second);
    ck_assert_msg((a == 75 && b == 0) || (a == 0 && b == 75),
                  "they end with %d and %d:\n%s%s", a, b, first.text,
                  second.text);
    assert_contains(a ? first.text : second.text,
                    "held by a process that waits for this one");
    destroy_guest();
}

/* ---- The other commands ------------------------------------------------ */

TEST_TIMEOUT(destroy_of_a_locked_guest__waits_and_says_for_whom, XL_TEST_S)
{
    struct xl_process holder;
    struct xl_process destroy;

    xl_begin();
    create_guest();
    holder = hold(XL_GUEST);
    destroy = xl_start("destroy", XL_GUEST);
    ck_assert(xl_await_words(&destroy, "xl: waiting for the lock of guest 1, "
                                       "held by pid "));
    let_go(&holder);
    ck_assert_int_eq(xl_wait(&destroy), 0);
    xl_assert_nothing_left();
}

/* Who only looks waits for nobody. */
TEST_TIMEOUT(list_of_locked_guests__does_not_wait, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    struct xl_process host;
    struct xl_process guest;

    xl_begin();
    create_guest();
    host = hold("host");
    guest = hold(XL_GUEST);
    list = xl_run("list");
    xl_assert_ok(&list);
    assert_contains(list.out, XL_GUEST);
    let_go(&guest);
    let_go(&host);
    destroy_guest();
}

TEST_TIMEOUT(guest_gone_while_its_lock_was_waited_for__is_told, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output destroy = { 0 };
    struct xl_process holder;
    struct xl_process process;

    xl_begin();
    create_guest();
    holder = hold(XL_GUEST);
    process = xl_start("lock", XL_GUEST, "--", "echo", "not me");
    ck_assert(xl_await_words(&process, "waiting for the lock of guest"));
    ck_assert_int_eq(remove("state/store/local/domain/1/name"), 0);
    let_go(&holder);
    ck_assert_int_eq(xl_wait(&process), 1);
    assert_contains(process.text, "there is no guest '" XL_GUEST "'");
    destroy = xl_run("destroy", "1");
    xl_assert_ok(&destroy);
    xl_assert_nothing_left();
}

/* Covers L13. */
TEST_TIMEOUT(lock_file_deleted_during_a_creation__is_warned_of, XL_TEST_S)
{
    struct xl_process create;

    xl_begin();
    xl_write_model_config("'--ready-after=500', '--stderr=x'");
    create = xl_start("-v", "create", XL_CONFIG);
    ck_assert(xl_await_step(&create, "starting the device model"));
    ck_assert_int_eq(remove("state/locks/guest-1"), 0);
    ck_assert_int_eq(xl_wait(&create), 0);
    assert_contains(create.text, "xl: warning: the lock file '");
    assert_contains(create.text, "/locks/guest-1' was removed or replaced");
    destroy_guest();
}

/* Covers L16. */
TEST_TIMEOUT(directory_of_locks_read_only__is_an_error_and_no_half_start,
             XL_TEST_S)
{
    xl_begin();
    xl_write_model_config("'--stderr=x'");
    if (!xl_become_somebody()) {
        return;
    }
    ck_assert_int_eq(mkdir("state", 0700), 0);
    ck_assert_int_eq(mkdir("state/locks", 0500), 0);
    xl_assert_create_fails(1, "state/locks/host': Permission denied",
                           XL_CONFIG);
    ck_assert_int_eq(rmdir("state/locks"), 0);
    harness_write_file("state/locks", "");
    xl_assert_create_fails(1, "state/locks/host': Not a directory",
                           XL_CONFIG);
}

/* ---- Scripts ----------------------------------------------------------- */

/* What the manual shows behind the comment '.\" NAME', as a file, with the
 * state directory of this test. */
static char *
write_snippet(const char *name)
{
    AUTO_FREE char *manual =
        libspawn__str_format("%s/docs/man/xl.1", harness_source_dir());
    AUTO_FREE char *script = libspawn__str_format(
        "/^\\.\\\\\" %s$/,/^\\.Ed/ { s,/run/xl,%s/state,; s/^\\$ //; "
        "s/\\\\e/\\\\/; /^\\./!p }",
        name, harness_dir());
    AUTO_OUTPUT struct harness_output output =
        harness_run("sed", "-n", script, manual);

    ck_assert_msg(output.out[0] != '\0', "the manual has no snippet '%s'",
                  name);
    harness_write_file(name, output.out);
    return libspawn__str_format("%s/%s", harness_dir(), name);
}

static bool
has_python(void)
{
    AUTO_OUTPUT struct harness_output output =
        harness_run("sh", "-c", "command -v python3");

    return output.status == 0;
}

/* A file, as the snippets do. */
static int
increment(void)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request(HOST_LOCK);
    FILE *file;
    long n;
    int r;

    if (libspawn__lock_take(&request, &lock, NULL)) {
        return -1;
    }
    file = fopen("counter", "r+e");
    r = file ? fscanf(file, "%ld", &n) : 0;
    if (r == 1) {
        rewind(file);
        fprintf(file, "%ld\n", n + 1);
    }
    return file && !fclose(file) && r == 1 ? 0 : -1;
}

static pid_t
start_loop(int n, const char *interpreter, const char *script)
{
    AUTO_FREE char *command = libspawn__str_format(
        "for i in $(seq %d); do %s %s || exit 1; done", n, interpreter,
        script);
    pid_t pid = fork();

    if (!pid) {
        execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    return pid;
}

/* Covers L12. */
TEST_TIMEOUT(snippets_of_the_manual__exclude_each_other_and_us, XL_TEST_S)
{
    enum { N_SCRIPTS = 20, N_OURS = 500 };
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *shell = NULL;
    AUTO_FREE char *python = NULL;
    AUTO_FREE char *count = NULL;
    AUTO_OUTPUT struct harness_output list = { 0 };
    int n;

    xl_begin();
    if (!has_python()) {
        TEST_SKIP("python3 is not installed");
    }
    path = libspawn__str_format("%s/bin:%s", harness_build_dir(),
                                getenv("PATH"));
    setenv("PATH", path, 1);
    list = xl_run("list");
    xl_assert_ok(&list);
    shell = write_snippet("shell");
    python = write_snippet("python");
    harness_write_file("counter", "0\n");
    start_loop(N_SCRIPTS, "sh", shell);
    start_loop(N_SCRIPTS, "sh", shell);
    start_loop(N_SCRIPTS, "python3", python);
    start_loop(N_SCRIPTS, "python3", python);
    for (n = 0; n < N_OURS; n++) {
        ck_assert_int_eq(increment(), 0);
    }
    for (n = 0; n < 4; n++) {
        int status;

        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    count = harness_read_file("counter");
    ck_assert_int_eq(strtol(count, NULL, 10), 4 * N_SCRIPTS + N_OURS);
}

/* Covers L12, L18. */
TEST_TIMEOUT(create_while_a_script_has_the_lock__waits_and_names_it, XL_TEST_S)
{
    static const char script[] =
        "import fcntl, os\n"
        "lock = os.open('" HOST_LOCK "', os.O_RDWR | os.O_CREAT, 0o600)\n"
        "fcntl.lockf(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "input()\n";
    struct xl_process holder;
    struct xl_process create;
    AUTO_FREE char *words = NULL;

    xl_begin();
    if (!has_python()) {
        TEST_SKIP("python3 is not installed");
    }
    xl_write_model_config("'--stderr=x'");
    ck_assert_int_eq(mkdir("state", 0700), 0);
    ck_assert_int_eq(mkdir("state/locks", 0700), 0);
    holder = xl_start_talk_argv((const char *const[]){
        "/usr/bin/python3", "-c", script, NULL });
    ck_assert(xl_await_words(&holder, "held\n"));
    words = libspawn__str_format(
        "xl: waiting for the host lock, held by pid %d (python3)\n",
        (int)holder.pid);
    create = xl_start("create", XL_CONFIG);
    ck_assert(xl_await_words(&create, words));
    xl_say(&holder, "\n");
    let_go(&holder);
    ck_assert_int_eq(xl_wait(&create), 0);
    ck_assert_str_eq(create.text, words);
    destroy_guest();
}

TEST_MAIN("xl_lock")
