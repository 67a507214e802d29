/*
 * The tiny guest of tests/guest, in the real QEMU: what every other test that
 * boots a guest takes for granted.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fd.h"
#include "base/pidref.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"

#define QEMU "/usr/bin/qemu-system-x86_64"

enum {
    TEST_S = 60,
    STEP_MS = 20000, /* for one answer; a busy machine is slow */
    SERIAL_FD = 3,   /* in QEMU */
    QMP_FD = 4,
    FD_OUT_OF_THE_WAY = 10,
    MEMORY_MIB = 32
};

struct guest {
    pid_t pid;
    int serial;
    int qmp;
    struct libspawn__buf heard; /* on the serial port, since the last say */
    struct libspawn__buf answers;
};

/* ---- One guest ---------------------------------------------------------- */

static char *
image(const char *name)
{
    char *path =
        libspawn__str_format("%s/build/guest/%s", harness_source_dir(), name);

    ck_assert_ptr_nonnull(path);
    return path;
}

/* Our end, and QEMU's in '*theirs_r'. */
static int
make_pair(int *theirs_r)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    *theirs_r = fcntl(fds[1], F_DUPFD_CLOEXEC, FD_OUT_OF_THE_WAY);
    ck_assert_int_ge(*theirs_r, 0);
    close(fds[1]);
    return fds[0];
}

/* 'boot' says what to boot from, and ends with NULL. */
static void
start(struct guest *guest, const char *const boot[])
{
    static const char *const common[] = {
        QEMU, "-accel", "tcg", "-nodefaults", "-no-user-config",
        "-display", "none", "-vga", "std", "-m", "32",
        "-chardev", "socket,id=serial,fd=3", "-serial", "chardev:serial",
        "-chardev", "socket,id=qmp,fd=4", "-mon", "chardev=qmp,mode=control"
    };
    AUTO_STRV struct libspawn__strv argv = { 0 };
    posix_spawn_file_actions_t actions;
    AUTO_FD int serial = -1;
    AUTO_FD int qmp = -1;
    size_t i;

    *guest = (struct guest){ .pid = -1 };
    for (i = 0; i < ARRAY_SIZE(common); i++) {
        libspawn__strv_add(&argv, common[i], NULL);
    }
    for (; *boot; boot++) {
        libspawn__strv_add(&argv, *boot, NULL);
    }
    guest->serial = make_pair(&serial);
    guest->qmp = make_pair(&qmp);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, serial, SERIAL_FD);
    posix_spawn_file_actions_adddup2(&actions, qmp, QMP_FD);
    ck_assert_int_eq(
        posix_spawn(&guest->pid, QEMU, &actions, NULL, argv.items, environ),
        0);
    posix_spawn_file_actions_destroy(&actions);
}

/* Reads from 'fd' until 'text' is in 'buf'. */
static void
read_until(int fd, struct libspawn__buf *buf, const char *text)
{
    while (!buf->data || !strstr(buf->data, text)) {
        char bytes[4096];
        ssize_t n = 0;

        if (harness_wait_readable(fd, STEP_MS)) {
            n = read(fd, bytes, sizeof bytes);
        }
        if (n <= 0) {
            assert_contains(buf->data ? buf->data : "", text);
            return;
        }
        libspawn__buf_append(buf, bytes, (size_t)n);
    }
}

static void
expect(struct guest *guest, const char *text)
{
    read_until(guest->serial, &guest->heard, text);
}

static void
say(struct guest *guest, const char *text)
{
    libspawn__buf_consume(&guest->heard, guest->heard.size);
    ck_assert_int_eq(
        libspawn__fd_write_full(guest->serial, text, strlen(text)), 0);
}

/* Runs a QMP command, a whole JSON object. */
static void
order(struct guest *guest, const char *json)
{
    libspawn__buf_consume(&guest->answers, guest->answers.size);
    ck_assert_int_eq(libspawn__fd_write_full(guest->qmp, json, strlen(json)),
                     0);
    read_until(guest->qmp, &guest->answers, "\"return\"");
}

/* What QEMU exited with, by itself. */
static int
wait_end(struct guest *guest)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;
    int status;

    assert_ok(libspawn__pidref_from_pid(guest->pid, &ref, &err), &err);
    assert_ok(libspawn__pidref_wait(&ref, STEP_MS, &err), &err);
    ck_assert_int_eq(waitpid(guest->pid, &status, 0), guest->pid);
    guest->pid = -1;
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
end(struct guest *guest)
{
    if (guest->pid > 0) {
        kill(guest->pid, SIGKILL);
        waitpid(guest->pid, NULL, 0);
    }
    close(guest->serial);
    close(guest->qmp);
    libspawn__buf_dispose(&guest->heard);
    libspawn__buf_dispose(&guest->answers);
}
#define AUTO_GUEST AUTO(end)

static void
start_disk(struct guest *guest, const char *machine)
{
    AUTO_FREE char *path = image("hello.img");
    AUTO_FREE char *drive =
        libspawn__str_format("file=%s,format=raw,snapshot=on", path);

    start(guest, (const char *const[]){ "-machine", machine, "-drive", drive,
                                        "-no-reboot", NULL });
    expect(guest, "\n> ");
}

/* ---- Tests -------------------------------------------------------------- */

TEST_TIMEOUT(guest_boots_from_disk__greets_and_prompts, TEST_S)
{
    AUTO_GUEST struct guest guest;

    start_disk(&guest, "pc");
    ck_assert_str_eq(guest.heard.data, "Hello from the guest\r\n> ");
}

TEST_TIMEOUT(guest_boots_from_cd__greets, TEST_S)
{
    AUTO_GUEST struct guest guest;
    AUTO_FREE char *path = image("hello.iso");

    start(&guest, (const char *const[]){ "-cdrom", path, NULL });
    expect(&guest, "Hello from the guest\r\n> ");
}

TEST_TIMEOUT(guest_boots_as_kernel__tells_command_line_and_module, TEST_S)
{
    AUTO_GUEST struct guest guest;
    AUTO_FREE char *path = image("hello.elf");

    harness_write_file("module", "first line\nsecond line\n");
    start(&guest,
          (const char *const[]){ "-kernel", path, "-append", "color=blue two",
                                 "-initrd", "module", NULL });
    expect(&guest, "\n> ");
    assert_contains(guest.heard.data, "Hello from the guest\r\n");
    assert_contains(guest.heard.data, " color=blue two\r\n");
    assert_contains(guest.heard.data, "module: 23 bytes: first line\r\n> ");
}

TEST_TIMEOUT(guest_hears_a_line__says_it_back, TEST_S)
{
    AUTO_GUEST struct guest guest;

    start_disk(&guest, "pc");
    say(&guest, "good morning\n");
    expect(&guest, "> ");
    ck_assert_str_eq(guest.heard.data, "you said: good morning\r\n> ");
}

TEST_TIMEOUT(guest_hears_cr_lf__takes_it_for_one_line_end, TEST_S)
{
    AUTO_GUEST struct guest guest;

    start_disk(&guest, "pc");
    say(&guest, "one\r\ntwo\rthree\n");
    expect(&guest, "three\r\n> ");
    ck_assert_str_eq(guest.heard.data, "you said: one\r\n> you said: two\r\n> "
                                       "you said: three\r\n> ");
}

TEST_TIMEOUT(guest_is_asked_for_memory__tells_nearly_all_of_it, TEST_S)
{
    AUTO_GUEST struct guest guest;
    unsigned int kib = 0;

    start_disk(&guest, "pc");
    say(&guest, "mem\n");
    expect(&guest, "KiB\r\n");
    ck_assert_int_eq(sscanf(guest.heard.data, "memory: %u KiB", &kib), 1);
    ck_assert_uint_le(kib, MEMORY_MIB * 1024);
    ck_assert_uint_ge(kib, (MEMORY_MIB - 1) * 1024); /* less the firmware's */
}

TEST_TIMEOUT(guest_is_told_off__ends_qemu_with_0, TEST_S)
{
    AUTO_GUEST struct guest guest;

    start_disk(&guest, "pc");
    say(&guest, "off\n");
    expect(&guest, "powering off\r\n");
    ck_assert_int_eq(wait_end(&guest), 0);
}

static void
press_power_button(const char *machine)
{
    AUTO_GUEST struct guest guest;

    start_disk(&guest, machine);
    order(&guest, "{\"execute\":\"qmp_capabilities\"}");
    order(&guest, "{\"execute\":\"system_powerdown\"}");
    expect(&guest, "powering off\r\n");
    ck_assert_int_eq(wait_end(&guest), 0);
}

TEST_TIMEOUT(guest_power_button_on_pc__powers_off, TEST_S)
{
    press_power_button("pc");
}

TEST_TIMEOUT(guest_power_button_on_q35__powers_off, TEST_S)
{
    press_power_button("q35");
}

TEST_TIMEOUT(guest_is_told_reboot__resets_the_machine, TEST_S)
{
    AUTO_GUEST struct guest guest;
    AUTO_FREE char *path = image("hello.elf");

    start(&guest, (const char *const[]){ "-kernel", path, NULL });
    expect(&guest, "\n> ");
    say(&guest, "reboot\n");
    expect(&guest, "rebooting\r\n");
    expect(&guest, "Hello from the guest\r\n");
}

/* start_disk says -no-reboot: a reset ends QEMU. */
TEST_TIMEOUT(guest_is_told_crash__triple_faults, TEST_S)
{
    AUTO_GUEST struct guest guest;

    start_disk(&guest, "pc");
    say(&guest, "crash\n");
    expect(&guest, "crashing\r\n");
    ck_assert_int_eq(wait_end(&guest), 0);
}

/* A screendump is a short header and three bytes per dot; on a blank one each
 * dot is as the one before. */
TEST_TIMEOUT(guest_screen__shows_text, TEST_S)
{
    enum { HEADER_MAX = 32, SCREEN_MIN = 640 * 400 * 3, FILE_MAX = 16 << 20 };
    AUTO_GUEST struct guest guest;
    AUTO_FREE char *file = libspawn__str_format("%s/screen", harness_dir());
    AUTO_FREE char *json = libspawn__str_format(
        "{\"execute\":\"screendump\",\"arguments\":{\"filename\":\"%s\"}}",
        file);
    AUTO_FREE char *dump = NULL;
    size_t size;
    size_t n_changes = 0;
    size_t i;

    start_disk(&guest, "pc");
    order(&guest, "{\"execute\":\"qmp_capabilities\"}");
    order(&guest, json);
    assert_ok(libspawn__file_read(file, FILE_MAX, &dump, &size, NULL), NULL);
    ck_assert_uint_gt(size, SCREEN_MIN);
    for (i = HEADER_MAX; i < size; i++) {
        n_changes += dump[i] != dump[i - 3];
    }
    ck_assert_uint_gt(n_changes, 0);
}

/* What QEMU has used of the processor so far. */
static double
cpu_seconds(const struct guest *guest)
{
    struct timespec used;
    clockid_t clock;

    ck_assert_int_eq(clock_getcpuclockid(guest->pid, &clock), 0);
    ck_assert_int_eq(clock_gettime(clock, &used), 0);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

TEST_TIMEOUT(guest_has_nothing_to_do__sleeps, TEST_S)
{
    AUTO_GUEST struct guest guest;
    double before;

    start_disk(&guest, "pc");
    before = cpu_seconds(&guest);
    ck_assert(!harness_wait_readable(guest.serial, 500));
    ck_assert_double_lt(cpu_seconds(&guest) - before, 0.1);
}

/* ---- Can it run here? --------------------------------------------------- */

static const char *
obstacle(void)
{
    AUTO_FREE char *disk =
        libspawn__str_format("%s/build/guest/hello.img", harness_source_dir());

    if (access(QEMU, X_OK)) {
        return "there is no " QEMU;
    }
    return !disk || access(disk, R_OK) ? "no images: make guest-images" : NULL;
}

TEST_MAIN_UNLESS("guest_image", obstacle)
