#include "tools/test-device-model/machine.h"

#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "tools/test-device-model/keyval.h"
#include "wire/json.h"

enum { COMMAND_MAX = 1 << 20 }; /* bytes */

/* Puts the member "return" into the answer; or fails, and what it has put
 * there does not count. */
typedef int run_fn(struct machine *machine,
                   const struct libspawn__json *arguments,
                   struct libspawn__json_writer *answer,
                   struct libspawn_err *err);

struct command {
    const char *name;
    run_fn *run;
};

static const char *const STATUS_NAMES[] = {
    [MACHINE_PRELAUNCH] = "prelaunch",
    [MACHINE_RUNNING] = "running",
    [MACHINE_PAUSED] = "paused",
    [MACHINE_SHUTDOWN] = "shutdown",
};

/* ---- Events ------------------------------------------------------------- */

/* 'reason' is of a shutdown or reset, NULL for other events. */
static void
emit(struct machine *machine, const char *name, bool by_guest,
     const char *reason)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);
    int64_t now = libspawn__clock_realtime_ms();
    AUTO_FREE char *line = NULL;

    libspawn__json_begin_object(w, NULL);
    libspawn__json_begin_object(w, "timestamp");
    libspawn__json_put_integer(w, "seconds", now / 1000);
    libspawn__json_put_integer(w, "microseconds", now % 1000 * 1000);
    libspawn__json_end_object(w);
    libspawn__json_put_string(w, "event", name);
    if (reason) {
        libspawn__json_begin_object(w, "data");
        libspawn__json_put_bool(w, "guest", by_guest);
        libspawn__json_put_string(w, "reason", reason);
        libspawn__json_end_object(w);
    }
    libspawn__json_end_object(w);
    line = libspawn__json_writer_take(w);
    if (line) {
        machine->callbacks.event(machine->callbacks.user, line);
    }
}

void
machine_announce_term(struct machine *machine)
{
    emit(machine, "SHUTDOWN", false, "host-signal");
}

/* ---- What comes after an answer ----------------------------------------- */

static void
power_down(struct machine *machine)
{
    emit(machine, "POWERDOWN", false, NULL);
    if (machine->options->ignore_powerdown ||
        machine->status != MACHINE_RUNNING) {
        return;
    }
    emit(machine, "SHUTDOWN", true, "guest-shutdown");
    if (machine->options->no_shutdown) {
        machine->status = MACHINE_SHUTDOWN;
        emit(machine, "STOP", false, NULL);
    } else {
        machine->callbacks.quit(machine->callbacks.user);
    }
}

void
machine_run_request(struct machine *machine)
{
    enum machine_request request = machine->request;

    machine->request = MACHINE_REQUEST_NONE;
    switch (request) {
    case MACHINE_REQUEST_NONE:
        break;
    case MACHINE_REQUEST_POWERDOWN:
        power_down(machine);
        break;
    case MACHINE_REQUEST_QUIT:
        emit(machine, "SHUTDOWN", false, "host-qmp-quit");
        machine->callbacks.quit(machine->callbacks.user);
        break;
    case MACHINE_REQUEST_RESET:
        emit(machine, "RESET", false, "host-qmp-system-reset");
        break;
    }
}

/* ---- Commands that change something ------------------------------------- */

static int
return_nothing(struct libspawn__json_writer *answer)
{
    libspawn__json_begin_object(answer, "return");
    libspawn__json_end_object(answer);
    return 0;
}

/* Of whatever protocol; nobody ever connects to it. */
static int
run_set_password(struct machine *machine,
                 const struct libspawn__json *arguments,
                 struct libspawn__json_writer *answer,
                 struct libspawn_err *err)
{
    (void)machine;
    return libspawn__json_string(
               libspawn__json_member(arguments, "password"))
               ? return_nothing(answer)
               : libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                "Parameter 'password' is missing");
}

static int
run_cont(struct machine *machine, const struct libspawn__json *arguments,
         struct libspawn__json_writer *answer, struct libspawn_err *err)
{
    (void)arguments;
    if (machine->status == MACHINE_SHUTDOWN) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "Resetting the Virtual Machine is required");
    }
    if (machine->status != MACHINE_RUNNING) {
        machine->status = MACHINE_RUNNING;
        emit(machine, "RESUME", false, NULL);
    }
    return return_nothing(answer);
}

static int
run_stop(struct machine *machine, const struct libspawn__json *arguments,
         struct libspawn__json_writer *answer, struct libspawn_err *err)
{
    (void)arguments;
    (void)err;
    if (machine->status == MACHINE_RUNNING) {
        machine->status = MACHINE_PAUSED;
        emit(machine, "STOP", false, NULL);
    }
    return return_nothing(answer);
}

static int
run_quit(struct machine *machine, const struct libspawn__json *arguments,
         struct libspawn__json_writer *answer, struct libspawn_err *err)
{
    (void)arguments;
    (void)err;
    machine->request = MACHINE_REQUEST_QUIT;
    return return_nothing(answer);
}

static int
run_powerdown(struct machine *machine, const struct libspawn__json *arguments,
              struct libspawn__json_writer *answer, struct libspawn_err *err)
{
    (void)arguments;
    (void)err;
    machine->request = MACHINE_REQUEST_POWERDOWN;
    return return_nothing(answer);
}

static int
run_reset(struct machine *machine, const struct libspawn__json *arguments,
          struct libspawn__json_writer *answer, struct libspawn_err *err)
{
    (void)arguments;
    (void)err;
    machine->request = MACHINE_REQUEST_RESET;
    return return_nothing(answer);
}

/* A picture of one black dot. */
static int
run_screendump(struct machine *machine, const struct libspawn__json *arguments,
               struct libspawn__json_writer *answer, struct libspawn_err *err)
{
    static const char picture[] = "P6\n1 1\n255\n\0\0";
    const char *path =
        libspawn__json_string(libspawn__json_member(arguments, "filename"));
    int rc;

    (void)machine;
    if (!path) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "Parameter 'filename' is missing");
    }
    rc = libspawn__file_replace(path, picture, sizeof picture, 0600, err);
    return rc ? rc : return_nothing(answer);
}

/* ---- Commands that ask -------------------------------------------------- */

static int
run_query_status(struct machine *machine,
                 const struct libspawn__json *arguments,
                 struct libspawn__json_writer *answer,
                 struct libspawn_err *err)
{
    const char *status = machine->options->status;

    (void)arguments;
    (void)err;
    if (!status) {
        status = STATUS_NAMES[machine->status];
    }
    libspawn__json_begin_object(answer, "return");
    libspawn__json_put_string(answer, "status", status);
    libspawn__json_put_bool(answer, "singlestep", false);
    libspawn__json_put_bool(answer, "running", !strcmp(status, "running"));
    libspawn__json_end_object(answer);
    return 0;
}

static int
run_query_chardev(struct machine *machine,
                  const struct libspawn__json *arguments,
                  struct libspawn__json_writer *answer,
                  struct libspawn_err *err)
{
    const struct libspawn__strv *chardevs = &machine->options->chardevs;
    size_t i;

    (void)arguments;
    (void)err;
    libspawn__json_begin_array(answer, "return");
    for (i = 0; i < chardevs->n_items; i++) {
        AUTO_FREE char *id = keyval_get(chardevs->items[i], "id");

        libspawn__json_begin_object(answer, NULL);
        libspawn__json_put_bool(answer, "frontend-open", true);
        libspawn__json_put_string(answer, "filename", chardevs->items[i]);
        libspawn__json_put_string(answer, "label", id ? id : "");
        libspawn__json_end_object(answer);
    }
    libspawn__json_end_array(answer);
    return 0;
}

/* "-vnc HOST:DISPLAY,..."; ports are counted from 5900. */
static void
put_vnc_address(struct libspawn__json_writer *answer, const char *vnc)
{
    enum { FIRST_PORT = 5900 };

    size_t host_len = strcspn(vnc, ":,");
    AUTO_FREE char *host = strndup(vnc, host_len);
    long display = vnc[host_len] == ':' ? strtol(vnc + host_len + 1, NULL, 10)
                                        : 0;
    AUTO_FREE char *port = libspawn__str_format("%ld", FIRST_PORT + display);

    libspawn__json_put_string(answer, "auth", "none");
    libspawn__json_put_string(answer, "family", "ipv4");
    libspawn__json_begin_array(answer, "clients");
    libspawn__json_end_array(answer);
    libspawn__json_put_string(answer, "service", port);
    libspawn__json_put_string(answer, "host", host);
}

static int
run_query_vnc(struct machine *machine, const struct libspawn__json *arguments,
              struct libspawn__json_writer *answer, struct libspawn_err *err)
{
    const char *vnc = machine->options->vnc;
    bool is_enabled = vnc && !libspawn__str_has_prefix(vnc, "none");

    (void)arguments;
    (void)err;
    libspawn__json_begin_object(answer, "return");
    libspawn__json_put_bool(answer, "enabled", is_enabled);
    if (is_enabled) {
        put_vnc_address(answer, vnc);
    }
    libspawn__json_end_object(answer);
    return 0;
}

static void
put_version(struct libspawn__json_writer *w, const char *key)
{
    libspawn__json_begin_object(w, key);
    libspawn__json_begin_object(w, "qemu");
    libspawn__json_put_integer(w, "major", 7);
    libspawn__json_put_integer(w, "minor", 2);
    libspawn__json_put_integer(w, "micro", 0);
    libspawn__json_end_object(w);
    libspawn__json_put_string(w, "package", "test-device-model");
    libspawn__json_end_object(w);
}

static int
run_query_version(struct machine *machine,
                  const struct libspawn__json *arguments,
                  struct libspawn__json_writer *answer,
                  struct libspawn_err *err)
{
    (void)machine;
    (void)arguments;
    (void)err;
    put_version(answer, "return");
    return 0;
}

/* ---- The table ---------------------------------------------------------- */

static run_fn run_query_commands;

static const struct command COMMANDS[] = {
    { "cont", run_cont },
    { "query-chardev", run_query_chardev },
    { "query-commands", run_query_commands },
    { "query-status", run_query_status },
    { "query-version", run_query_version },
    { "query-vnc", run_query_vnc },
    { "quit", run_quit },
    { "screendump", run_screendump },
    { "set_password", run_set_password },
    { "stop", run_stop },
    { "system_powerdown", run_powerdown },
    { "system_reset", run_reset },
};

static int
run_query_commands(struct machine *machine,
                   const struct libspawn__json *arguments,
                   struct libspawn__json_writer *answer,
                   struct libspawn_err *err)
{
    size_t i;

    (void)machine;
    (void)arguments;
    (void)err;
    libspawn__json_begin_array(answer, "return");
    for (i = 0; i < ARRAY_SIZE(COMMANDS); i++) {
        libspawn__json_begin_object(answer, NULL);
        libspawn__json_put_string(answer, "name", COMMANDS[i].name);
        libspawn__json_end_object(answer);
    }
    libspawn__json_end_array(answer);
    return 0;
}

static const struct command *
find_command(const char *name)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(COMMANDS); i++) {
        if (!strcmp(COMMANDS[i].name, name)) {
            return &COMMANDS[i];
        }
    }
    return NULL;
}

/* ---- Answers ------------------------------------------------------------ */

/* The beginning of every answer; 'id' is NULL when the client gave none. */
static struct libspawn__json_writer *
begin_answer(const struct libspawn__json *id)
{
    struct libspawn__json_writer *answer = libspawn__json_writer_new(false);

    libspawn__json_begin_object(answer, NULL);
    if (id) {
        libspawn__json_put(answer, "id", id);
    }
    return answer;
}

static char *
end_answer(struct libspawn__json_writer *answer)
{
    libspawn__json_end_object(answer);
    return libspawn__json_writer_take(answer);
}

static char *
refusal(const struct libspawn__json *id, const char *class_name,
        const char *sentence)
{
    struct libspawn__json_writer *answer = begin_answer(id);

    libspawn__json_begin_object(answer, "error");
    libspawn__json_put_string(answer, "class", class_name);
    libspawn__json_put_string(answer, "desc", sentence);
    libspawn__json_end_object(answer);
    return end_answer(answer);
}

/* The first command has to be qmp_capabilities, and no other. */
static char *
negotiate(const struct libspawn__json *id, const char *name,
          bool *is_negotiated)
{
    struct libspawn__json_writer *answer;

    if (*is_negotiated) {
        return refusal(id, "CommandNotFound",
                       "Capabilities negotiation is already complete, "
                       "command ignored");
    }
    if (strcmp(name, "qmp_capabilities")) {
        return refusal(id, "CommandNotFound",
                       "Expecting capabilities negotiation with "
                       "'qmp_capabilities'");
    }
    *is_negotiated = true;
    answer = begin_answer(id);
    return_nothing(answer);
    return end_answer(answer);
}

static char *
run_named(struct machine *machine, const char *name,
          const struct libspawn__json *request)
{
    const struct libspawn__json *id = libspawn__json_member(request, "id");
    const struct command *command = find_command(name);
    struct libspawn__json_writer *answer;
    struct libspawn_err err;

    if (!command) {
        AUTO_FREE char *sentence =
            libspawn__str_format("The command %s has not been found", name);

        return refusal(id, "CommandNotFound", sentence);
    }
    answer = begin_answer(id);
    if (command->run(machine, libspawn__json_member(request, "arguments"),
                     answer, &err)) {
        libspawn__json_writer_free(answer);
        return refusal(id, "GenericError", err.text);
    }
    return end_answer(answer);
}

/* A log that cannot be written is a test that fails anyway. */
static void
log_command(const struct options *options, const char *name)
{
    AUTO_FREE char *line = libspawn__str_format("%s\n", name);
    AUTO_FD int fd = -1;

    if (!options->log_qmp || !line) {
        return;
    }
    fd = open(options->log_qmp, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
              0600);
    if (fd >= 0) {
        (void)libspawn__fd_write_full(fd, line, strlen(line));
    }
}

char *
machine_run(struct machine *machine, const char *line, size_t size,
            bool *is_negotiated)
{
    AUTO_JSON struct libspawn__json *request = NULL;
    const char *name;

    if (libspawn__json_parse(line, size, COMMAND_MAX, &request, NULL)) {
        return refusal(NULL, "GenericError", "JSON parse error");
    }
    name = libspawn__json_string(libspawn__json_member(request, "execute"));
    if (!name) {
        return refusal(NULL, "GenericError",
                       "QMP input lacks member 'execute'");
    }
    log_command(machine->options, name);
    if (libspawn__strv_has(&machine->options->no_answers, name)) {
        return NULL;
    }
    if (!*is_negotiated || !strcmp(name, "qmp_capabilities")) {
        return negotiate(libspawn__json_member(request, "id"), name,
                         is_negotiated);
    }
    return run_named(machine, name, request);
}

char *
machine_greeting(void)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);

    libspawn__json_begin_object(w, NULL);
    libspawn__json_begin_object(w, "QMP");
    put_version(w, "version");
    libspawn__json_begin_array(w, "capabilities");
    libspawn__json_end_array(w);
    libspawn__json_end_object(w);
    libspawn__json_end_object(w);
    return libspawn__json_writer_take(w);
}

void
machine_init(struct machine *machine, const struct options *options,
             const struct machine_callbacks *callbacks)
{
    *machine = (struct machine){ .options = options,
                                 .callbacks = *callbacks,
                                 .status = options->starts_stopped
                                               ? MACHINE_PRELAUNCH
                                               : MACHINE_RUNNING };
}
