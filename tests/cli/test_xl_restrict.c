/*
 * dm_restrict and device_model_user where there is no Xen: what the kernel
 * says of a real QEMU that was confined, that it works all the same, and that
 * nothing of it stays.
 */
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/util.h"
#include "dm/restrict.h"
#include "proc/record.h"
#include "store/paths.h"
#include "tests/cli/xl_story.h"
#include "wire/qmp.h"

#define QMP_FORMAT "state/guests/%ld/qmp"

static void
write_config_without_disk(const char *lines)
{
    AUTO_FREE char *text = libspawn__str_format(
        "name = '" XL_GUEST "'\nmemory = 32\nserial = 'pty'\n"
        "accel = 'tcg'\ndm_restrict = 1\n%s",
        lines);

    harness_write_file(XL_CONFIG, text);
}

/* A disk that only we may open; 'lines' come behind. */
static void
write_config(const char *lines)
{
    AUTO_FREE char *image =
        libspawn__str_format("%s/build/guest/hello.img", harness_source_dir());
    AUTO_OUTPUT struct harness_output copied =
        harness_run("cp", image, "hello.img");
    AUTO_FREE char *text = libspawn__str_format(
        "disk = [ '%s/hello.img,raw,hda,rw' ]\n%s", harness_dir(), lines);

    ck_assert_int_eq(copied.status, 0);
    ck_assert_int_eq(chmod("hello.img", 0600), 0);
    write_config_without_disk(text);
}

static void
create(void)
{
    AUTO_OUTPUT struct harness_output output = xl_run("create", XL_CONFIG);

    xl_assert_ok(&output);
}

static long
domid_of_guest(void)
{
    AUTO_OUTPUT struct harness_output domid = xl_run("domid", XL_GUEST);

    xl_assert_ok(&domid);
    return strtol(domid.out, NULL, 10);
}

static pid_t
pid_of_guest(void)
{
    AUTO_FREE char *node = libspawn__path_new(LIBSPAWN__PATH_RECORD,
                                              (unsigned int)domid_of_guest());
    struct libspawn__store *store = NULL;
    struct libspawn__record record;
    struct libspawn_err err;

    assert_ok(libspawn__store_open("dir:state/store", &store, &err), &err);
    assert_ok(libspawn__record_read(store, node, &record, &err), &err);
    libspawn__store_close(store);
    return record.child.pid;
}

static char *
read_proc(pid_t pid, const char *name)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/%s", (int)pid, name);

    return harness_read_file(path);
}

static bool
shares_namespace(pid_t pid, const char *name)
{
    AUTO_FREE char *path =
        libspawn__str_format("/proc/%d/ns/%s", (int)pid, name);
    AUTO_FREE char *own = libspawn__str_format("/proc/self/ns/%s", name);
    struct stat theirs;
    struct stat ours;

    ck_assert_int_eq(stat(path, &theirs), 0);
    ck_assert_int_eq(stat(own, &ours), 0);
    return theirs.st_ino == ours.st_ino;
}

static uid_t
uid_of(pid_t pid)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/%d", (int)pid);
    struct stat st;

    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_uid;
}

/* No user of the test machine decides what is tested. */
static bool
has_range_to_itself(void)
{
    if (geteuid() != 0) {
        harness_mark_skipped("only root can change the user");
        return false;
    }
    if (getpwnam(LIBSPAWN__RESTRICT_RANGE_USER) ||
        getpwnam(LIBSPAWN__RESTRICT_SHARED_USER)) {
        harness_mark_skipped("users for device models are set up here");
        return false;
    }
    return true;
}

static void
assert_not_reserved(uid_t uid)
{
    AUTO_FREE char *path =
        libspawn__str_format(LIBSPAWN__RESTRICT_DIR "/%u", (unsigned int)uid);

    ck_assert_int_ne(access(path, F_OK), 0);
}

/* ---- What it has ------------------------------------------------------- */

TEST_TIMEOUT(restricted_device_model__has_no_rights_left, XL_TEST_S)
{
    static const char *const wanted[] = {
        "\nCapInh:\t0000000000000000\n",
        "\nCapPrm:\t0000000000000000\n",
        "\nCapEff:\t0000000000000000\n",
        "\nCapBnd:\t0000000000000000\n",
        "\nCapAmb:\t0000000000000000\n",
        "\nNoNewPrivs:\t1\n",
        "\nSeccomp:\t2\n",
    };
    AUTO_FREE char *status = NULL;
    AUTO_FREE char *ids = NULL;
    pid_t pid;
    uid_t uid;
    size_t i;

    if (!has_range_to_itself()) {
        return;
    }
    xl_begin();
    write_config("");
    create();
    pid = pid_of_guest();
    uid = uid_of(pid);
    ck_assert_uint_gt(uid, LIBSPAWN__RESTRICT_BASE);
    ck_assert_uint_lt(uid, LIBSPAWN__RESTRICT_BASE + LIBSPAWN__RESTRICT_RANGE);
    status = read_proc(pid, "status");
    ids = libspawn__str_format("\nUid:\t%u\t%u\t%u\t%u\n"
                               "Gid:\t%u\t%u\t%u\t%u\n",
                               uid, uid, uid, uid, uid, uid, uid, uid);
    assert_contains(status, ids);
    for (i = 0; i < ARRAY_SIZE(wanted); i++) {
        assert_contains(status, wanted[i]);
    }
    xl_destroy_guest();
    assert_not_reserved(uid);
}

TEST_TIMEOUT(restricted_device_model__has_limits, XL_TEST_S)
{
    static const char *const wanted[] = {
        "\nMax core file size        1                    1 ",
        "\nMax processes             162                  162 ",
        "\nMax open files            1024                 1024 ",
        "\nMax locked memory         0                    0 ",
        "\nMax msgqueue size         0                    0 ",
        /* There is a file to write. */
        "\nMax file size             unlimited            unlimited ",
    };
    AUTO_FREE char *limits = NULL;
    size_t i;

    if (!has_range_to_itself()) {
        return;
    }
    xl_begin();
    write_config("vcpus = 2\n");
    create();
    limits = read_proc(pid_of_guest(), "limits");
    for (i = 0; i < ARRAY_SIZE(wanted); i++) {
        assert_contains(limits, wanted[i]);
    }
    xl_destroy_guest();
    write_config_without_disk("");
    create();
    free(limits);
    limits = read_proc(pid_of_guest(), "limits");
    assert_contains(limits, "\nMax file size             67108864 ");
    xl_destroy_guest();
}

TEST_TIMEOUT(restricted_device_model__has_a_network_only_for_what_needs_one,
             XL_TEST_S)
{
    pid_t pid;

    if (!has_range_to_itself()) {
        return;
    }
    xl_begin();
    write_config("vnc = 0\n");
    create();
    pid = pid_of_guest();
    ck_assert(!shares_namespace(pid, "mnt"));
    ck_assert(!shares_namespace(pid, "ipc"));
    ck_assert(!shares_namespace(pid, "net"));
    xl_destroy_guest();
    write_config("vnc = 0\nvif = [ '' ]\n");
    create();
    pid = pid_of_guest();
    ck_assert(!shares_namespace(pid, "mnt"));
    ck_assert(shares_namespace(pid, "net"));
    xl_destroy_guest();
}

/* Whether its monitor can make it write a new file. */
static bool
can_write_file(const char *path)
{
    AUTO_FREE char *qmp = libspawn__str_format(QMP_FORMAT, domid_of_guest());
    AUTO_FREE char *arguments =
        libspawn__str_format("{\"filename\":\"%s\"}", path);
    struct libspawn__qmp_session *session = NULL;
    struct libspawn_err err;
    int rc;

    assert_ok(libspawn__qmp_session_open(qmp, XL_WAIT_MS, &session, &err),
              &err);
    rc = libspawn__qmp_session_run(session, "screendump", arguments, -1, NULL,
                                   &err);
    libspawn__qmp_session_close(session);
    return rc == 0;
}

TEST_TIMEOUT(restricted_device_model__writes_no_file_of_its_choice, XL_TEST_S)
{
    AUTO_FREE char *path = NULL;
    bool was_written;

    xl_begin();
    write_config("");
    create();
    path = libspawn__str_format("/tmp/libspawn-test-%d.ppm", (int)getpid());
    was_written = can_write_file(path);
    unlink(path);
    ck_assert(!was_written);
    xl_destroy_guest();
}

TEST_TIMEOUT(restricted_without_root__is_confined_by_landlock, XL_TEST_S)
{
    AUTO_FREE char *status = NULL;
    AUTO_FREE char *path = NULL;
    bool was_written;
    pid_t pid;

    if (!xl_become_somebody()) {
        return;
    }
    xl_begin();
    write_config("");
    create();
    pid = pid_of_guest();
    ck_assert_uint_eq(uid_of(pid), geteuid());
    status = read_proc(pid, "status");
    assert_contains(status, "\nNoNewPrivs:\t1\n");
    assert_contains(status, "\nSeccomp:\t2\n");
    path = libspawn__str_format("%s/picture.ppm", harness_dir());
    was_written = can_write_file(path);
    ck_assert(!was_written);
    xl_destroy_guest();
}

/* ---- What it does ------------------------------------------------------ */

TEST_TIMEOUT(restricted_guest__greets_and_can_be_handled, XL_TEST_S)
{
    static const char *const commands[] = { "pause", "unpause" };
    AUTO_OUTPUT struct harness_output picture = { 0 };
    AUTO_OUTPUT struct harness_output ended = { 0 };
    AUTO_OUTPUT struct harness_output list = { 0 };
    struct xl_process console;
    size_t i;

    xl_begin();
    write_config("vif = [ '' ]\nusb = 1\nsoundhw = 'ac97'\n");
    console = xl_start_talk("create", "-c", XL_CONFIG);
    ck_assert(xl_await_words(&console, "Hello from the guest"));
    xl_say(&console, "good morning\r");
    ck_assert(xl_await_words(&console, "you said: good morning"));
    xl_say(&console, "\x1d"); /* Ctrl-] */
    ck_assert_int_eq(xl_wait(&console), 0);
    picture = xl_run("screenshot", XL_GUEST, "picture.png");
    xl_assert_ok(&picture);
    for (i = 0; i < ARRAY_SIZE(commands); i++) {
        AUTO_OUTPUT struct harness_output output =
            xl_run(commands[i], XL_GUEST);

        xl_assert_ok(&output);
    }
    ended = xl_run("shutdown", "-w", "-F", "--timeout=20", XL_GUEST);
    xl_assert_ok(&ended);
    list = xl_run("list");
    assert_lacks(list.out, XL_GUEST);
    xl_assert_nothing_left();
}

/* It could open neither by name: 0600, and root's. */
TEST_TIMEOUT(restricted_guest__boots_a_kernel_that_its_user_cannot_read,
             XL_TEST_S)
{
    AUTO_FREE char *kernel =
        libspawn__str_format("%s/build/guest/hello.elf", harness_source_dir());
    AUTO_OUTPUT struct harness_output copied =
        harness_run("cp", kernel, "kernel");
    AUTO_FREE char *lines =
        libspawn__str_format("kernel = '%s/kernel'\n", harness_dir());

    xl_begin();
    ck_assert_int_eq(copied.status, 0);
    ck_assert_int_eq(chmod("kernel", 0600), 0);
    write_config_without_disk(lines);
    xl_assert_create_works();
}

/* An empty qcow2 image of 1 MiB as QEMU's docs/interop describes it: a header,
 * and in a cluster each the table of reference counts, its only block, and the
 * table of addresses. */
static void
write_qcow2(bool has_backing)
{
    enum {
        CLUSTER = 65536,
        N_CLUSTERS = 4
    };
    static unsigned char image[N_CLUSTERS * CLUSTER];
    static const unsigned char head[] = {
        'Q', 'F', 'I', 0xfb, 0, 0,  0, 2,  /* version */
        0,   0,   0,   0,    0, 0,  0, 0,  /* backing file: where, */
        0,   0,   0,   0,    0, 0,  0, 16, /* its length; cluster bits */
        0,   0,   0,   0,    0, 16, 0, 0,  /* size of the disk */
        0,   0,   0,   0,    0, 0,  0, 1,  /* encryption; addresses: size */
        0,   0,   0,   0,    0, 3,  0, 0,  /* and where */
        0,   0,   0,   0,    0, 1,  0, 0,  /* counts: where */
        0,   0,   0,   1,    0, 0,  0, 0,  /* and clusters; snapshots */
    };
    FILE *file = fopen("disk.qcow2", "wb");
    size_t i;

    memcpy(image, head, sizeof head);
    image[15] = has_backing ? 72 : 0;
    image[CLUSTER + 5] = 2;
    for (i = 0; i < N_CLUSTERS; i++) {
        image[2 * CLUSTER + 2 * i + 1] = 1;
    }
    ck_assert(file != NULL);
    ck_assert_uint_eq(fwrite(image, 1, sizeof image, file), sizeof image);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod("disk.qcow2", 0600), 0);
}

static void
write_qcow2_config(bool has_backing)
{
    AUTO_FREE char *lines = libspawn__str_format(
        "disk = [ '%s/disk.qcow2,qcow2,xvda,rw' ]\n", harness_dir());

    write_qcow2(has_backing);
    write_config_without_disk(lines);
}

TEST_TIMEOUT(restricted_guest__qcow2_disk_is_used, XL_TEST_S)
{
    xl_begin();
    write_qcow2_config(false);
    xl_assert_create_works();
}

TEST_TIMEOUT(restricted_guest__backing_file_is_one_sentence, XL_TEST_S)
{
    xl_begin();
    write_qcow2_config(true);
    xl_assert_create_fails(1, "has a backing file, which dm_restrict puts",
                           XL_CONFIG);
}

/* ---- Users ------------------------------------------------------------- */

TEST_TIMEOUT(restricted_guest__user_of_the_configuration_is_taken, XL_TEST_S)
{
    const struct passwd *nobody = getpwnam("nobody");

    if (geteuid() != 0 || !nobody) {
        TEST_SKIP("only root can change the user");
    }
    xl_begin();
    write_config("device_model_user = 'nobody'\n");
    create();
    ck_assert_uint_eq(uid_of(pid_of_guest()), nobody->pw_uid);
    xl_destroy_guest();
}

TEST_TIMEOUT(restricted_guest__user_that_cannot_be_is_one_sentence, XL_TEST_S)
{
    xl_begin();
    write_config("device_model_user = 'no-such-user'\n");
    xl_assert_create_fails(
        1, "device_model_user: there is no user 'no-such-user'", XL_CONFIG);
    write_config("device_model_user = 'root'\n");
    xl_assert_create_fails(1, "device_model_user 'root' is root", XL_CONFIG);
}

TEST_TIMEOUT(restricted_without_root__other_user_is_one_sentence, XL_TEST_S)
{
    if (!xl_become_somebody()) {
        return;
    }
    xl_begin();
    write_config_without_disk("device_model_user = 'nobody'\n");
    xl_assert_create_fails(1, "only root can run the device model as user",
                           XL_CONFIG);
}

TEST_TIMEOUT(restricted_guests_of_two_state_directories__are_two_users,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output created = { 0 };
    AUTO_OUTPUT struct harness_output destroyed = { 0 };
    AUTO_FREE char *other = NULL;
    AUTO_FREE char *uid_file = NULL;
    AUTO_FREE char *uid = NULL;

    if (!has_range_to_itself()) {
        return;
    }
    xl_begin();
    other = libspawn__str_format("%s/other", harness_dir());
    write_config("");
    create();
    created = xl_run("--state-dir", other, "create", XL_CONFIG, "disk = [ ]");
    xl_assert_ok(&created);
    uid = harness_read_file(
        "other/store/local/domain/1/image/device-model-kill-uid");
    ck_assert_int_eq(domid_of_guest(), 1);
    ck_assert_uint_ne(uid_of(pid_of_guest()), strtoul(uid, NULL, 10));
    destroyed = xl_run("--state-dir", other, "destroy", XL_GUEST);
    xl_assert_ok(&destroyed);
    ck_assert_int_eq(kill(pid_of_guest(), 0), 0);
    xl_destroy_guest();
}

/* ---- The second line --------------------------------------------------- */

/* As a device model would do that got through: a process of its user that
 * nobody started or knows. */
static pid_t
start_stray(uid_t uid)
{
    AUTO_FD int ready = -1;
    int fds[2];
    pid_t pid;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ready = fds[0];
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        if (setresuid(uid, uid, uid) == 0 && write(fds[1], "", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(fds[1]);
    ck_assert(harness_wait_readable(ready, XL_WAIT_MS));
    ck_assert_uint_eq(uid_of(pid), uid);
    return pid;
}

TEST_TIMEOUT(destroy_of_a_restricted_guest__ends_what_its_user_left, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    pid_t stray;
    pid_t other;
    uid_t uid;

    if (!has_range_to_itself()) {
        return;
    }
    xl_begin();
    write_config("");
    create();
    uid = uid_of(pid_of_guest());
    stray = start_stray(uid);
    other = start_stray(uid + 1);
    output = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&output);
    harness_assert_killed(stray);
    ck_assert_int_eq(kill(other, 0), 0);
    kill(other, SIGKILL);
    harness_assert_killed(other);
    assert_not_reserved(uid);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(interrupted_creation_of_a_restricted_guest__reserves_nothing,
             XL_TEST_S)
{
    struct xl_process process;

    xl_begin();
    write_config("");
    process = xl_start("-v", "create", XL_CONFIG);
    ck_assert(xl_await_step(&process, "starting the device model"));
    kill(process.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&process), 128 + SIGINT);
    xl_assert_nothing_left();
    {
        AUTO_OUTPUT struct harness_output found =
            harness_run("grep", "-rl", harness_dir(), LIBSPAWN__RESTRICT_DIR);

        ck_assert_str_eq(found.out, "");
    }
}

static const char *
why_not(void)
{
    AUTO_FREE char *image =
        libspawn__str_format("%s/build/guest/hello.img", harness_source_dir());

    return access(image, R_OK) ? "there is no guest image" : xl_no_qemu();
}

TEST_MAIN_UNLESS("xl_restrict", why_not)
