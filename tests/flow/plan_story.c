#include "tests/flow/plan_story.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/util.h"

void
plan_begin(struct story *story)
{
    story_begin(story);
    story_program(story, "/bin/sleep", "60");
}

/* ---- What /proc says --------------------------------------------------- */

static char *
proc_path(const struct story *story, const char *name)
{
    return libspawn__str_format("/proc/%d/%s",
                                (int)libspawn_child_pid(story->child), name);
}

char *
plan_read(const struct story *story, const char *name)
{
    AUTO_FREE char *path = proc_path(story, name);

    return harness_read_file(path);
}

char *
plan_read_link(const struct story *story, const char *name)
{
    AUTO_FREE char *path = proc_path(story, name);
    char target[4096];
    ssize_t len = readlink(path, target, sizeof target);

    ck_assert_msg(len >= 0, "'%s' is no link", path);
    return strndup(target, (size_t)len);
}

void
plan_assert_status(const struct story *story, const char *line)
{
    AUTO_FREE char *text = plan_read(story, "status");
    AUTO_FREE char *whole = libspawn__str_format("\n%s\n", line);

    assert_contains(text, whole);
}

/* ---- A step that fails ------------------------------------------------- */

void
plan_assert_step_fails(struct story *story, const char *step, int sys_errno)
{
    AUTO_FREE char *words = libspawn__str_format("(%s)", step);

    story_start(story);
    story_await(story, "failed");
    ck_assert_int_eq(story_report(story)->end, LIBSPAWN_END_NO_EXEC);
    ck_assert_str_eq(story_report(story)->step, step);
    ck_assert_int_eq(story_report(story)->sys_errno, sys_errno);
    assert_contains(story_sentence(story), words);
    assert_contains(story_sentence(story), strerror(sys_errno));
    story_assert_nothing_left(story);
}

#define LOAD(MEMBER)                                                          \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, MEMBER))
#define UNLESS_EQUAL_SKIP(VALUE, N)                                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (VALUE), 0, (N))
#define RETURN(VALUE) BPF_STMT(BPF_RET | BPF_K, (VALUE))

bool
plan_deny_call(int call, int64_t first, int sys_errno)
{
    const uint32_t deny = SECCOMP_RET_ERRNO | (uint32_t)sys_errno;
    struct sock_filter any[] = {
        LOAD(nr),
        UNLESS_EQUAL_SKIP((uint32_t)call, 1),
        RETURN(deny),
        RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_filter with_first[] = {
        LOAD(nr),
        UNLESS_EQUAL_SKIP((uint32_t)call, 3),
        LOAD(args[0]),
        UNLESS_EQUAL_SKIP((uint32_t)first, 1),
        RETURN(deny),
        RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { ARRAY_SIZE(any), any };

    if (first >= 0) {
        program = (struct sock_fprog){ ARRAY_SIZE(with_first), with_first };
    }
    if (geteuid()) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* else only root may */
    }
    return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

bool
plan_lose_capability(int capability)
{
    return prctl(PR_CAPBSET_READ, capability) == 0 ||
           !prctl(PR_CAPBSET_DROP, capability);
}

const char *
plan_needs_root(void)
{
    return geteuid() ? "only root may do this" : NULL;
}
