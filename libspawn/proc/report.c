#include "proc/report.h"

#include <string.h>

#include "base/utf8.h"
#include "base/util.h"
#include "proc/exec.h"
#include "proc/status.h"
#include "wire/json.h"

enum {
    EXIT_FAILURE_UNSPECIFIC = 1,
    EXIT_HIGHEST_OWN = 125,
    EXIT_DEADLINE = 124,
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_NOT_FOUND = 127,
    EXIT_SIGNAL_BASE = 128
};

static const char *const end_names[] = {
    [LIBSPAWN_END_NONE] = "none",
    [LIBSPAWN_END_NO_EXEC] = "no-exec",
    [LIBSPAWN_END_EXITED] = "exited",
    [LIBSPAWN_END_SIGNALED] = "signaled",
    [LIBSPAWN_END_DEADLINE] = "deadline",
    [LIBSPAWN_END_REFUSED] = "refused",
    [LIBSPAWN_END_ABORTED] = "aborted",
    [LIBSPAWN_END_STOPPED] = "stopped",
    [LIBSPAWN_END_UNKNOWN] = "unknown",
};

/* ---- Life of a report -------------------------------------------------- */

static void
point_to_strings(struct libspawn__report *report)
{
    static char *const no_arguments[] = { NULL };

#define TEXT(MEMBER) (report->MEMBER ? report->MEMBER : "")
    report->pub.label = TEXT(label);
    report->pub.guest = TEXT(guest);
    report->pub.program = TEXT(program);
    report->pub.stage = TEXT(stage);
    report->pub.detail = TEXT(detail);
    report->pub.step = TEXT(step);
    report->pub.tail = TEXT(tail);
    report->pub.log_path = TEXT(log_path);
    report->pub.argv = report->argv.items ? report->argv.items : no_arguments;
#undef TEXT
}

int
libspawn__report_init(struct libspawn__report *report,
                      const struct libspawn_plan *plan,
                      struct libspawn_err *err)
{
    const struct {
        char **slot;
        const char *text;
    } strings[] = {
        { &report->label, plan->label ? plan->label : "program" },
        { &report->guest, plan->guest },
        { &report->program, plan->program },
        { &report->stage, "starting the program" },
        { &report->log_path, plan->log_path },
    };
    size_t i;
    int rc = 0;

    memset(report, 0, sizeof *report);
    for (i = 0; !rc && i < ARRAY_SIZE(strings); i++) {
        rc = libspawn__str_assign(strings[i].slot, strings[i].text, err);
    }
    for (i = 0; !rc && i < plan->argv.n_items; i++) {
        rc = libspawn__strv_add(&report->argv, plan->argv.items[i], err);
    }
    if (rc) {
        libspawn__report_dispose(report);
        return rc;
    }
    report->pub.deadline_ms = (int64_t)plan->start_ms;
    point_to_strings(report);
    return 0;
}

void
libspawn__report_dispose(struct libspawn__report *report)
{
    free(report->label);
    free(report->guest);
    free(report->program);
    free(report->stage);
    free(report->detail);
    free(report->step);
    free(report->tail);
    free(report->log_path);
    libspawn__strv_dispose(&report->argv);
    memset(report, 0, sizeof *report);
}

void
libspawn__report_set(struct libspawn__report *report, char **slot,
                     const char *text)
{
    if (!libspawn__str_assign(slot, text, NULL)) {
        point_to_strings(report);
    }
}

/* ---- In words ---------------------------------------------------------- */

/* "less than 1 ms", "62 ms", "1.5 s", "60 s" */
static void
put_duration(struct libspawn__buf *buf, int64_t ms)
{
    if (ms < 1) {
        libspawn__buf_puts(buf, "less than 1 ms");
    } else if (ms < 1000) {
        libspawn__buf_printf(buf, "%lld ms", (long long)ms);
    } else if (ms % 1000 < 100) {
        libspawn__buf_printf(buf, "%lld s", (long long)(ms / 1000));
    } else {
        libspawn__buf_printf(buf, "%lld.%lld s", (long long)(ms / 1000),
                             (long long)(ms % 1000 / 100));
    }
}

/* The last step is about the program itself, the others prepare for it. */
static bool
is_of_exec(const struct libspawn_report *report)
{
    return !strcmp(report->step,
                   libspawn__exec_step_name(LIBSPAWN__EXEC_PROGRAM));
}

static void
put_no_exec(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    if (is_of_exec(report)) {
        libspawn__buf_printf(buf, "could not be executed: %s",
                             strerror(report->sys_errno));
    } else {
        libspawn__buf_printf(buf, "could not be started (%s): ",
                             report->step);
        if (report->detail[0]) {
            libspawn__buf_printf(buf, "'%s': ", report->detail);
        }
        libspawn__buf_puts(buf, strerror(report->sys_errno));
    }
}

static void
put_exited(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    if (report->exit_code) {
        libspawn__buf_printf(buf, "exited with status %d", report->exit_code);
    } else {
        libspawn__buf_puts(buf, "unexpectedly exited with status 0");
    }
}

static void
put_signaled(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    char signal[LIBSPAWN__STATUS_TEXT_SIZE];

    libspawn__status_describe_signal(report->signal, signal);
    libspawn__buf_printf(buf, "was killed by %s", signal);
    if (report->core_dumped) {
        libspawn__buf_puts(buf, ", core dumped,");
    }
    if (report->out_of_memory) {
        libspawn__buf_puts(buf, ", the host was out of memory,");
    }
}

static void
put_deadline(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    libspawn__buf_puts(buf, "was not ready within ");
    put_duration(buf, report->deadline_ms);
    libspawn__buf_printf(buf, " (%s) and was ended", report->stage);
}

static void
put_refused(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    libspawn__buf_printf(buf, "was refused and ended: %s", report->detail);
}

static void
put_aborted(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    (void)report;
    libspawn__buf_puts(buf, "was ended because the start was aborted");
}

static void
put_stopped(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    (void)report;
    libspawn__buf_puts(buf, "was stopped");
}

static void
put_unknown(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    libspawn__buf_puts(buf, "ended, how is unknown");
    if (report->detail[0]) {
        libspawn__buf_printf(buf, " (%s)", report->detail);
    }
}

static void
put_none(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    (void)report;
    libspawn__buf_puts(buf, "has not ended");
}

/* How each end reads, and whether the time lived belongs behind it. */
static const struct {
    void (*put)(struct libspawn__buf *buf,
                const struct libspawn_report *report);
    bool has_life;
} ends[] = {
    [LIBSPAWN_END_NONE] = { put_none, false },
    [LIBSPAWN_END_NO_EXEC] = { put_no_exec, false },
    [LIBSPAWN_END_EXITED] = { put_exited, true },
    [LIBSPAWN_END_SIGNALED] = { put_signaled, true },
    [LIBSPAWN_END_DEADLINE] = { put_deadline, false },
    [LIBSPAWN_END_REFUSED] = { put_refused, false },
    [LIBSPAWN_END_ABORTED] = { put_aborted, true },
    [LIBSPAWN_END_STOPPED] = { put_stopped, true },
    [LIBSPAWN_END_UNKNOWN] = { put_unknown, false },
};

const char *
libspawn__report_end_name(const struct libspawn_report *report)
{
    return end_names[report->end];
}

char *
libspawn__report_how(const struct libspawn_report *report)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };

    ends[report->end].put(&buf, report);
    libspawn__utf8_make_printable(buf.data, buf.size, "");
    return libspawn__buf_take(&buf);
}

static void
put_sentence(struct libspawn__buf *buf, const struct libspawn_report *report)
{
    if (report->guest[0]) {
        libspawn__buf_printf(buf, "guest '%s': ", report->guest);
    }
    libspawn__buf_printf(buf, "%s '%s' ", report->label, report->program);
    ends[report->end].put(buf, report);
    if (ends[report->end].has_life) {
        libspawn__buf_puts(buf, " after ");
        put_duration(buf, report->lived_ms);
    }
    /* Names and paths may hold anything. */
    libspawn__utf8_make_printable(buf->data, buf->size, "");
}

char *
libspawn_report_sentence(const struct libspawn_report *report)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };

    put_sentence(&buf, report);
    return libspawn__buf_take(&buf);
}

char *
libspawn_report_text(const struct libspawn_report *report)
{
    AUTO_BUF struct libspawn__buf buf = { 0 };

    put_sentence(&buf, report);
    libspawn__buf_puts(&buf, "\n");
    if (report->tail[0]) {
        AUTO_FREE char *tail = strdup(report->tail);
        char *save = NULL;
        char *line;

        if (!tail) {
            return NULL;
        }
        libspawn__buf_puts(&buf, "its last output:\n");
        for (line = strtok_r(tail, "\n", &save); line;
             line = strtok_r(NULL, "\n", &save)) {
            libspawn__buf_printf(&buf, "  | %s\n", line);
        }
    }
    if (report->log_path[0]) {
        libspawn__buf_printf(&buf, "log: %s\n", report->log_path);
    }
    return libspawn__buf_take(&buf);
}

char *
libspawn_report_json(const struct libspawn_report *report)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);
    char *const *arg;

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "label", report->label);
    libspawn__json_put_string(w, "guest", report->guest);
    libspawn__json_put_string(w, "program", report->program);
    libspawn__json_put_string(w, "end", libspawn__report_end_name(report));
    libspawn__json_put_string(w, "stage", report->stage);
    libspawn__json_put_string(w, "detail", report->detail);
    libspawn__json_put_integer(w, "pid", report->pid);
    if (report->end == LIBSPAWN_END_EXITED) {
        libspawn__json_put_integer(w, "exit_code", report->exit_code);
    }
    if (report->end == LIBSPAWN_END_SIGNALED) {
        libspawn__json_put_integer(w, "signal", report->signal);
        libspawn__json_put_bool(w, "core_dumped", report->core_dumped);
        libspawn__json_put_bool(w, "out_of_memory", report->out_of_memory);
    }
    if (report->end == LIBSPAWN_END_NO_EXEC) {
        libspawn__json_put_string(w, "step", report->step);
        libspawn__json_put_integer(w, "errno", report->sys_errno);
        libspawn__json_put_string(w, "error", strerror(report->sys_errno));
    }
    libspawn__json_put_integer(w, "lived_ms", report->lived_ms);
    libspawn__json_put_integer(w, "deadline_ms", report->deadline_ms);
    libspawn__json_put_string(w, "tail", report->tail);
    libspawn__json_put_string(w, "log", report->log_path);
    libspawn__json_begin_array(w, "argv");
    for (arg = report->argv; arg && *arg; arg++) {
        libspawn__json_put_string(w, NULL, *arg);
    }
    libspawn__json_end_array(w);
    if (report->end == LIBSPAWN_END_SIGNALED) {
        libspawn__json_put_bool(w, "out_of_memory_known",
                                report->is_oom_known);
    }
    if (report->has_usage) {
        libspawn__json_put_integer(w, "user_us", report->user_us);
        libspawn__json_put_integer(w, "system_us", report->system_us);
        libspawn__json_put_integer(w, "max_rss_kib", report->max_rss_kib);
    }
    libspawn__json_end_object(w);
    return libspawn__json_writer_take(w);
}

int
libspawn_report_exit_status(const struct libspawn_report *report)
{
    switch (report->end) {
    case LIBSPAWN_END_NO_EXEC:
        if (!is_of_exec(report)) {
            break; /* the program is not to blame */
        }
        return report->sys_errno == ENOENT ? EXIT_NOT_FOUND
                                           : EXIT_NOT_EXECUTABLE;
    case LIBSPAWN_END_EXITED:
        return report->exit_code > 0 && report->exit_code <= EXIT_HIGHEST_OWN
                   ? report->exit_code
                   : EXIT_FAILURE_UNSPECIFIC;
    case LIBSPAWN_END_SIGNALED:
        return EXIT_SIGNAL_BASE + report->signal;
    case LIBSPAWN_END_DEADLINE:
        return EXIT_DEADLINE;
    case LIBSPAWN_END_NONE:
    case LIBSPAWN_END_REFUSED:
    case LIBSPAWN_END_ABORTED:
    case LIBSPAWN_END_STOPPED:
    case LIBSPAWN_END_UNKNOWN:
        break;
    }
    return EXIT_FAILURE_UNSPECIFIC;
}
