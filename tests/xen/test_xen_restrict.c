/*
 * dm_restrict on a real Xen host: what the kernel, the hypervisor and Xen's
 * own checker say of a device model that gave up its rights, and that its
 * guest works.
 */
#include "tests/xen/xen_story.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "dm/restrict.h"

#define CHECKER "/usr/lib/xen-4.17/bin/depriv-fd-checker"

enum { FDS_MAX = 200 };

/* A guest that greets, on a CD. */
static void
write_config(const char *lines)
{
    AUTO_FREE char *text = libspawn__str_format(
        "name = \"quiet\"\ntype = \"hvm\"\nmemory = 32\nvcpus = 1\n"
        "disk = [ '%s/guest/hello.iso,raw,hdc,cdrom' ]\nserial = \"pty\"\n"
        "dm_restrict = 1\n%s",
        harness_build_dir(), lines);
    AUTO_OUTPUT struct harness_output removed =
        harness_run(STOCK_XL, "destroy", "quiet");

    /* It leaves what the next guest of the same number takes over. */
    AUTO_OUTPUT struct harness_output cleaned =
        harness_run("sh", "-c",
                    "rmdir /var/run/xen/qemu-root-*; "
                    "rm -f " LIBSPAWN__RESTRICT_DIR "/*; "
                    "sed -i /xen-qemuuser/d /etc/passwd");

    (void)removed;
    (void)cleaned;
    harness_write_file("quiet.cfg", text);
}

static long
read_node(const char *name)
{
    AUTO_OUTPUT struct harness_output domid = OURS("domid", "quiet");
    AUTO_FREE char *node = libspawn__str_format(
        "/local/domain/%ld/%s", strtol(domid.out, NULL, 10), name);
    AUTO_OUTPUT struct harness_output value =
        harness_run("xenstore-read", node);

    ck_assert_int_eq(value.status, 0);
    return strtol(value.out, NULL, 10);
}

static pid_t
pid_of_guest(void)
{
    return (pid_t)read_node("image/device-model-pid");
}

/* Nothing in /run that belongs to a guest, and no process. */
static void
assert_nothing_left(void)
{
    AUTO_OUTPUT struct harness_output files =
        harness_run("find", "/var/run/xen", "-name", "q*");
    AUTO_OUTPUT struct harness_output uids =
        harness_run("find", LIBSPAWN__RESTRICT_DIR, "-type", "f");
    AUTO_OUTPUT struct harness_output processes =
        harness_run("pgrep", "-f", "^[^ ]*qemu-system.*-xen-domid");

    ck_assert_str_eq(files.out, "");
    ck_assert_str_eq(uids.out, "");
    ck_assert_str_eq(processes.out, "");
}

TEST_TIMEOUT(restricted_on_xen__has_no_rights_left, LONG_S)
{
    static const char *const wanted[] = {
        "\nCapPrm:\t0000000000000000\n",
        "\nCapEff:\t0000000000000000\n",
        "\nCapAmb:\t0000000000000000\n",
        "\nNoNewPrivs:\t1\n",
    };
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *status = NULL;
    AUTO_FREE char *ids = NULL;
    AUTO_FREE char *root = NULL;
    char target[64] = "";
    long uid;
    size_t i;

    write_config("");
    EXPECT(0, OURS("create", "quiet.cfg"));
    uid = read_node("image/device-model-kill-uid");
    path = libspawn__str_format("/proc/%d/status", (int)pid_of_guest());
    root = libspawn__str_format("/proc/%d/root", (int)pid_of_guest());
    status = harness_read_file(path);
    ids = libspawn__str_format("\nUid:\t%ld\t%ld\t%ld\t%ld\n", uid, uid, uid,
                               uid);
    assert_contains(status, ids);
    for (i = 0; i < ARRAY_SIZE(wanted); i++) {
        assert_contains(status, wanted[i]);
    }
    ck_assert_int_gt(readlink(root, target, sizeof target - 1), 0);
    assert_contains(target, "/xen/qemu-root-");
    EXPECT(0, OURS("destroy", "quiet"));
    assert_nothing_left();
}

TEST_TIMEOUT(restricted_on_xen__guest_can_be_handled_by_both, LONG_S)
{
    write_config("");
    EXPECT(0, OURS("create", "quiet.cfg"));
    EXPECT(0, OURS("pause", "quiet"));
    EXPECT(0, OURS("unpause", "quiet"));
    EXPECT(0, OURS("screenshot", "quiet", "quiet.png"));
    EXPECT(0, harness_run(STOCK_XL, "list", "quiet"));
    EXPECT(0, OURS("shutdown", "quiet"));
    {
        /* Which finds nothing when the guest has powered off by then. */
        AUTO_OUTPUT struct harness_output output = OURS("destroy", "quiet");

        (void)output;
    }
    assert_nothing_left();
    EXPECT(0, OURS("create", "quiet.cfg"));
    EXPECT(0, harness_run(STOCK_XL, "destroy", "quiet"));
    {
        AUTO_OUTPUT struct harness_output processes =
            harness_run("pgrep", "-f", "^[^ ]*qemu-system.*-xen-domid");

        ck_assert_str_eq(processes.out, "");
    }
}

/* ---- Users ------------------------------------------------------------- */

static void
add_user(const char *line)
{
    AUTO_FREE char *command =
        libspawn__str_format("echo '%s' >>/etc/passwd", line);

    EXPECT(0, harness_run("sh", "-c", command));
}

static long
uid_of_guest(void)
{
    AUTO_FREE char *path =
        libspawn__str_format("/proc/%d", (int)pid_of_guest());
    struct stat st;

    ck_assert_int_eq(stat(path, &st), 0);
    return (long)st.st_uid;
}

/* The host is thrown away afterwards. */
TEST_TIMEOUT(restricted_on_xen__users_of_the_stock_toolstack_are_taken, LONG_S)
{
    AUTO_OUTPUT struct harness_output shared = { 0 };
    AUTO_OUTPUT struct harness_output domid = { 0 };

    write_config("");
    add_user("xen-qemuuser-range-base:x:131072:131072::/:/bin/false");
    EXPECT(0, OURS("create", "quiet.cfg"));
    domid = OURS("domid", "quiet");
    ck_assert_int_eq(uid_of_guest(), 131072 + strtol(domid.out, NULL, 10));
    EXPECT(0, OURS("destroy", "quiet"));

    write_config("");
    add_user("xen-qemuuser-shared:x:140000:140000::/:/bin/false");
    shared = OURS("create", "quiet.cfg");
    ck_assert_int_eq(shared.status, 0);
    assert_contains(shared.err, "xl: warning: the device model runs as "
                                "'xen-qemuuser-shared'");
    ck_assert_int_eq(uid_of_guest(), 140000);
    EXPECT(0, OURS("destroy", "quiet"));
    write_config(""); /* without those users */
    assert_nothing_left();
}

/* ---- Xen's own checker ------------------------------------------------- */

/* Its words for what it looks at; others it has no word for. */
static const struct {
    const char *path;
    const char *word;
} classes[] = {
    { "/dev/xen/privcmd", "privcmd" }, { "/dev/xen/evtchn", "evtchn" },
    { "/dev/xen/gntdev", "gntdev" },   { "/dev/net/tun", "tun" },
    { "/dev/null", "readonly" },
};

/* Takes a copy of what 'pid' has as 'number'; -1 when there is nothing that
 * can be checked. */
static int
take_descriptor(int pidfd, pid_t pid, int number, const char **word_r)
{
    AUTO_FREE char *path =
        libspawn__str_format("/proc/%d/fd/%d", (int)pid, number);
    char target[256] = "";
    size_t i;

    if (readlink(path, target, sizeof target - 1) < 0) {
        return -1;
    }
    for (i = 0; i < ARRAY_SIZE(classes); i++) {
        if (!strcmp(target, classes[i].path)) {
            int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

            ck_assert_int_ge(fd, 0);
            if (!strcmp(classes[i].word, "readonly") &&
                (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY) {
                close(fd);
                return -1;
            }
            *word_r = classes[i].word;
            return fd;
        }
    }
    return -1;
}

/* It tries, with root's rights, what each descriptor allows: those are what
 * a device model that was taken over would have. */
TEST_TIMEOUT(restricted_on_xen__passes_the_checker_of_xen, LONG_S)
{
    const char *argv[3 * FDS_MAX + 2] = { CHECKER };
    AUTO_OUTPUT struct harness_output said = { 0 };
    AUTO_FD int pidfd = -1;
    char numbers[FDS_MAX][12];
    int fds[FDS_MAX];
    size_t n = 0;
    pid_t pid;
    size_t i;
    int number;

    if (access(CHECKER, X_OK)) {
        TEST_SKIP("there is no " CHECKER);
    }
    write_config("");
    EXPECT(0, OURS("create", "quiet.cfg"));
    pid = pid_of_guest();
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    ck_assert_int_ge(pidfd, 0);
    for (number = 0; number < FDS_MAX; number++) {
        const char *word;
        int fd = take_descriptor(pidfd, pid, number, &word);

        if (fd >= 0) {
            fcntl(fd, F_SETFD, 0);
            snprintf(numbers[n], sizeof numbers[n], "%d", fd);
            argv[1 + 3 * n] = word;
            argv[2 + 3 * n] = numbers[n];
            argv[3 + 3 * n] = word;
            fds[n++] = fd;
        }
    }
    ck_assert_uint_gt(n, 0);
    said = harness_run_argv(argv);
    for (i = 0; i < n; i++) {
        close(fds[i]);
    }
    ck_assert_msg(said.status == 0, "status %d: %s%s", said.status, said.out,
                  said.err);
    assert_contains(said.out, "privcmd pass");
    assert_contains(said.out, "evtchn pass");
    assert_lacks(said.out, " fail ");
    EXPECT(0, OURS("destroy", "quiet"));
    assert_nothing_left();
}

/* ---- Failures ---------------------------------------------------------- */

TEST_TIMEOUT(restricted_on_xen__what_cannot_be_is_one_sentence, LONG_S)
{
    AUTO_OUTPUT struct harness_output file = { 0 };
    AUTO_OUTPUT struct harness_output user = { 0 };

    write_config("disk = [ '/bin/sh,raw,hda,rw' ]\n");
    file = OURS("create", "-q", "quiet.cfg");
    ck_assert_int_eq(file.status, 1);
    ck_assert_str_eq(file.err,
                     "xl: disk '/bin/sh': with dm_restrict the device model "
                     "cannot serve a file to the guest's drivers; use a block "
                     "device, such as a loop device\n");
    write_config("device_model_user = \"no-such-user\"\n");
    user = OURS("create", "quiet.cfg");
    ck_assert_int_eq(user.status, 1);
    ck_assert_str_eq(user.err, "xl: device_model_user: there is no user "
                               "'no-such-user'\n");
    assert_nothing_left();
}

TEST_MAIN_UNLESS("xen_restrict", xen_why_not)
