/*
 * What runs programs: hotplug scripts, qemu-img, gdb.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"
#include "proc/status.h"
#include "tools/guest-worker/worker.h"

enum { OUTPUT_SIZE_MAX = 64 * 1024 };

static int
add_argument(struct program *program, const char *text,
             struct libspawn_err *err)
{
    return libspawn__strv_add(&program->plan.argv, text, err);
}

static int
set_program(struct program *program, const char *path, uint32_t limit_ms,
            struct libspawn_err *err)
{
    program->limit_ms = limit_ms;
    return libspawn__str_assign(&program->plan.program, path, err);
}

/* With the last lines; both go into one reply. */
static int
reply_end(struct job *job, const struct program *program,
          const char *tail, size_t tail_size)
{
    char reply[sizeof program->end + LIBSPAWN__TAIL_SIZE];

    memcpy(reply, &program->end, sizeof program->end);
    memcpy(reply + sizeof program->end, tail, tail_size);
    return job_reply_if_asked(job, reply, sizeof program->end + tail_size,
                              NULL, 0);
}

/* ---- Scripts ----------------------------------------------------------- */

static int
add_strings(const struct job *job, size_t *at, uint32_t n,
            struct libspawn__strv *list, struct libspawn_err *err)
{
    const char *text;
    int rc = 0;

    for (; !rc && n; n--) {
        text = job_next_string(job, at);
        rc = text ? libspawn__strv_add(list, text, err)
                  : job_fail_payload(job, err);
    }
    return rc;
}

/* As sent; nothing of our own environment. */
static int
read_script(const struct job *job, struct program *program,
            struct libspawn_err *err)
{
    const struct libspawn__worker_script *script =
        (const struct libspawn__worker_script *)(void *)job->request.data;
    size_t at = sizeof *script;
    const char *path = job_next_string(job, &at);
    int rc;

    if (!path || !script->n_args) {
        return job_fail_payload(job, err);
    }
    rc = set_program(program, path, script->limit_ms, err);
    if (!rc) {
        rc = add_strings(job, &at, script->n_args, &program->plan.argv, err);
    }
    return rc ? rc
              : add_strings(job, &at, script->n_env, &program->plan.env, err);
}

static int
run_script(struct job *job, struct libspawn_err *err)
{
    AUTO_PROGRAM struct program program;
    AUTO(libspawn__log_close) struct libspawn__log log = { .fd = -1 };
    char tail[LIBSPAWN__TAIL_SIZE];
    int rc;

    program_init(&program);
    rc = read_script(job, &program, err);
    if (!rc) {
        rc = libspawn__log_open(&log, NULL, 0, 0, err);
    }
    if (rc) {
        return rc;
    }
    program.log = &log;
    rc = program_run(&program, err);
    return rc ? rc
              : reply_end(job, &program, tail,
                          libspawn__log_copy_tail(&log, tail, sizeof tail));
}

/* ---- qemu-img ---------------------------------------------------------- */

static int
fail_tool(const struct program *program, const struct libspawn__buf *text,
          struct libspawn_err *err)
{
    char status[LIBSPAWN__STATUS_TEXT_SIZE];

    if (program->end.is_late) {
        return libspawn__fail_errno(err, ETIMEDOUT, "'%s' did not end",
                                    program->plan.program);
    }
    libspawn__status_describe(true, program->end.wait_status, status);
    return libspawn__fail(err, LIBSPAWN_ERR_CHILD, "'%s' %s: %.*s",
                          program->plan.program, status,
                          (int)strcspn(text->data ? text->data : "", "\n"),
                          text->data ? text->data : "");
}

/* The image is the program's descriptor 3: the very file that was opened, and
 * no path that could be another's by now.  "-U": a guest may run from it. */
static int
image_info(struct job *job, struct libspawn_err *err)
{
    static const char *const args[] = { "qemu-img", "info", "--output=json",
                                        "-U", "/proc/self/fd/3" };
    const struct libspawn__worker_image_info *info =
        (const struct libspawn__worker_image_info *)(void *)job->request.data;
    AUTO_PROGRAM struct program program;
    AUTO_BUF struct libspawn__buf text = { .data = NULL };
    size_t at = sizeof *info;
    const char *path = job_next_string(job, &at);
    size_t i;
    int rc;

    program_init(&program);
    if (!path) {
        return job_fail_payload(job, err);
    }
    rc = set_program(&program, path, info->limit_ms, err);
    for (i = 0; !rc && i < ARRAY_SIZE(args); i++) {
        rc = add_argument(&program, args[i], err);
    }
    if (!rc) {
        rc = libspawn__plan_add_fd(&program.plan,
                                   TAKE_FD(job->request.fds[0]), 3, err);
    }
    program.text = &text;
    program.max_text_size = OUTPUT_SIZE_MAX;
    if (!rc) {
        rc = program_run(&program, err);
    }
    if (!rc && (program.end.is_late || program.end.wait_status)) {
        rc = fail_tool(&program, &text, err);
    }
    return rc ? rc : job_reply_if_asked(job, text.data, text.size, NULL, 0);
}

/* ---- gdb --------------------------------------------------------------- */

/* A core is what a guest may have written: gdb shall run nothing because of
 * it, and read no one's settings. */
static int
debugger_arguments(struct program *program, const char *core,
                   const char *crashed, struct libspawn_err *err)
{
    static const char *const args[] = { "gdb", "-nx", "-batch", "-iex",
                                        "set auto-load off", "-ex",
                                        "thread apply all backtrace 40" };
    size_t i;
    int rc = 0;

    for (i = 0; !rc && i < ARRAY_SIZE(args); i++) {
        rc = add_argument(program, args[i], err);
    }
    if (!rc) {
        rc = libspawn__strv_addf(&program->plan.argv, err, "--core=%s", core);
    }
    return rc ? rc : add_argument(program, crashed, err);
}

/* What there is to say: the output, or in one line why there is none. */
static void
describe_run(struct libspawn__buf *text, const struct program *program,
             const char *core, int rc, const struct libspawn_err *err)
{
    if (rc) {
        libspawn__buf_printf(text, "no summary of the core '%s': %s\n", core,
                             err->text);
    } else if (program->end.is_late) {
        libspawn__buf_printf(text, "\nthe summary of the core '%s' ends here: "
                             "'%s' did not end within %u ms\n",
                             core, program->plan.program, program->limit_ms);
    }
}

static int
post_mortem(struct job *job, struct libspawn_err *err)
{
    const struct libspawn__worker_post_mortem *request =
        (const struct libspawn__worker_post_mortem *)(void *)
            job->request.data;
    AUTO_PROGRAM struct program program;
    AUTO_BUF struct libspawn__buf text = { .data = NULL };
    struct libspawn_err run_err = { 0 };
    size_t at = sizeof *request;
    const char *debugger = job_next_string(job, &at);
    const char *core = job_next_string(job, &at);
    const char *crashed = job_next_string(job, &at);
    int rc;
    int r;

    program_init(&program);
    if (!debugger || !core || !crashed) {
        return job_fail_payload(job, err);
    }
    rc = set_program(&program, debugger, request->limit_ms, err);
    if (!rc) {
        rc = debugger_arguments(&program, core, crashed, err);
    }
    if (rc) {
        return rc;
    }
    program.text = &text;
    program.max_text_size = OUTPUT_SIZE_MAX;
    rc = program_run(&program, &run_err);
    describe_run(&text, &program, core, rc, &run_err);
    if (text.failed) {
        return libspawn__fail_nomem(err);
    }
    r = libspawn__fd_write_full(job->request.fds[0], text.data, text.size);
    if (r) {
        return libspawn__fail_errno(err, -r, "writing the summary of '%s'",
                                    core);
    }
    return rc ? libspawn__fail(err, rc, "%s", run_err.text)
              : reply_end(job, &program, "", 0);
}

const struct job_type worker_script_types[] = {
    { LIBSPAWN__WORKER_SCRIPT, "script", "probe",
      sizeof(struct libspawn__worker_script), 0, run_script },
    { LIBSPAWN__WORKER_IMAGE_INFO, "image-info", "probe",
      sizeof(struct libspawn__worker_image_info), 1, image_info },
    { LIBSPAWN__WORKER_POST_MORTEM, "post-mortem", "io",
      sizeof(struct libspawn__worker_post_mortem), 1, post_mortem },
    { 0, NULL, NULL, 0, 0, NULL },
};
