#include "tools/test-device-model/options.h"

#include <signal.h>
#include <string.h>

#include "base/util.h"

enum {
    EXIT_CODE_MAX = 255,
    FD_MAX = 1048576,
    MS_MAX = 24 * 60 * 60 * 1000,
    NOISE_MAX = 1024 * 1024 * 1024
};

struct spec;

/* 'value' is NULL when the option came without "=VALUE". */
typedef int set_fn(struct options *options, const struct spec *spec,
                   const char *value, struct libspawn_err *err);

struct spec {
    const char *name;
    const char *argument; /* NULL: takes none; "[X]": may be left out */
    set_fn *set;
    size_t offset; /* of the member, for the setters that need one */
    const char *help;
};

#define MEMBER_AT(TYPE, OPTIONS, SPEC)                                        \
    ((TYPE *)(void *)((char *)(OPTIONS) + (SPEC)->offset))

/* ---- Setters ------------------------------------------------------------ */

static int
set_flag(struct options *options, const struct spec *spec, const char *value,
         struct libspawn_err *err)
{
    (void)value;
    (void)err;
    *MEMBER_AT(bool, options, spec) = true;
    return 0;
}

static int
set_nothing(struct options *options, const struct spec *spec,
            const char *value, struct libspawn_err *err)
{
    (void)options;
    (void)spec;
    (void)value;
    (void)err;
    return 0;
}

static int
set_text(struct options *options, const struct spec *spec, const char *value,
         struct libspawn_err *err)
{
    (void)err;
    *MEMBER_AT(const char *, options, spec) = value;
    return 0;
}

static int
add_text(struct options *options, const struct spec *spec, const char *value,
         struct libspawn_err *err)
{
    return libspawn__strv_add(MEMBER_AT(struct libspawn__strv, options, spec),
                              value, err);
}

static int
set_ms(struct options *options, const struct spec *spec, const char *value,
       struct libspawn_err *err)
{
    return libspawn__str_to_u64(value, 0, MS_MAX,
                                MEMBER_AT(uint64_t, options, spec), err);
}

static int
set_count(struct options *options, const struct spec *spec, const char *value,
          struct libspawn_err *err)
{
    return libspawn__str_to_u64(value, 1, UINT32_MAX,
                                MEMBER_AT(uint64_t, options, spec), err);
}

static int
set_noise(struct options *options, const struct spec *spec, const char *value,
          struct libspawn_err *err)
{
    (void)spec;
    return libspawn__str_to_u64(value, 0, NOISE_MAX, &options->noise_size,
                                err);
}

static int
set_notify_fd(struct options *options, const struct spec *spec,
              const char *value, struct libspawn_err *err)
{
    uint64_t fd;
    int rc = libspawn__str_to_u64(value, 0, FD_MAX, &fd, err);

    (void)spec;
    if (!rc) {
        options->notify_fd = (int)fd;
    }
    return rc;
}

static int
set_exit(struct options *options, const struct spec *spec, const char *value,
         struct libspawn_err *err)
{
    uint64_t code;
    int rc = libspawn__str_to_u64(value, 0, EXIT_CODE_MAX, &code, err);

    (void)spec;
    if (!rc) {
        options->ending = ENDING_EXIT;
        options->ending_value = (int)code;
    }
    return rc;
}

static int
set_exit_after_ready(struct options *options, const struct spec *spec,
                     const char *value, struct libspawn_err *err)
{
    options->ends_after_ready = true;
    return set_exit(options, spec, value, err);
}

static int
set_die_after(struct options *options, const struct spec *spec,
              const char *value, struct libspawn_err *err)
{
    options->ends_after_ready = true;
    return set_ms(options, spec, value, err);
}

static int
set_signal(struct options *options, const struct spec *spec, const char *value,
           struct libspawn_err *err)
{
    const char *name = libspawn__str_has_prefix(value, "SIG") ? value + 3
                                                              : value;
    uint64_t number = 0;
    int i;

    (void)spec;
    for (i = 1; i < NSIG && !number; i++) {
        if (libspawn__str_equal(name, sigabbrev_np(i))) {
            number = (uint64_t)i;
        }
    }
    if (!number && libspawn__str_to_u64(value, 1, NSIG - 1, &number, NULL)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "no signal is called '%s'", value);
    }
    options->ending = ENDING_SIGNAL;
    options->ending_value = (int)number;
    return 0;
}

static int
set_core(struct options *options, const struct spec *spec, const char *value,
         struct libspawn_err *err)
{
    (void)spec;
    (void)value;
    (void)err;
    options->ending = ENDING_CORE;
    return 0;
}

static int
set_stop_self(struct options *options, const struct spec *spec,
              const char *value, struct libspawn_err *err)
{
    (void)spec;
    (void)value;
    (void)err;
    options->ending = ENDING_STOP;
    return 0;
}

static int
set_fork_child(struct options *options, const struct spec *spec,
               const char *value, struct libspawn_err *err)
{
    (void)spec;
    (void)err;
    options->fork_child = true;
    options->fork_child_file = value;
    return 0;
}

/* ---- The options of our own --------------------------------------------- */

#define AT(MEMBER) offsetof(struct options, MEMBER)

static const struct spec SPECS[] = {
    { "answer-after", "MS", set_ms, AT(answer_after_ms),
      "answer QMP commands this much later" },
    { "close-stdio", NULL, set_flag, AT(close_stdio),
      "close descriptors 0, 1 and 2" },
    { "core", NULL, set_core, 0,
      "raise the limit of the core size and abort" },
    { "die-after", "MS", set_die_after, AT(die_after_ms),
      "the ending comes this long after being ready; "
      "with no ending named: exit status 1" },
    { "exit", "CODE", set_exit, 0, "end at once with this exit status" },
    { "exit-after-ready", "CODE", set_exit_after_ready, 0,
      "end with this exit status as soon as it is ready" },
    { "flood", NULL, set_flag, AT(flood), "on QMP, a line that never ends" },
    { "fork-child", "[FILE]", set_fork_child, 0,
      "leave a process in a session of its own that ignores SIGTERM; "
      "FILE gets its pid" },
    { "garbage", NULL, set_flag, AT(garbage), "on QMP, rubbish" },
    { "greet-only", NULL, set_flag, AT(greet_only),
      "on QMP, a greeting and no answer" },
    { "help", NULL, set_flag, AT(help), "print this and exit" },
    { "ignore-powerdown", NULL, set_flag, AT(ignore_powerdown),
      "the guest does not react to the power button" },
    { "ignore-term", NULL, set_flag, AT(ignore_term), "ignore SIGTERM" },
    { "log-qmp", "FILE", set_text, AT(log_qmp),
      "append the name of each QMP command to FILE" },
    { "mute", NULL, set_flag, AT(mute),
      "on QMP, accept connections and say nothing" },
    { "mute-after", "N", set_count, AT(mute_after),
      "on each QMP monitor, be mute to all connections but the first N" },
    { "never-ready", NULL, set_flag, AT(never_ready), "never become ready" },
    { "no-answer", "COMMAND", add_text, AT(no_answers),
      "do not answer this QMP command; may be repeated" },
    { "noise", "BYTES", set_noise, 0, "write that much to stderr, in lines" },
    { "notify-fd", "N", set_notify_fd, 0,
      "when ready, write a newline to this descriptor and close it" },
    { "ready-after", "MS", set_ms, AT(ready_after_ms),
      "become ready this much later" },
    { "report-fds", "FILE", set_text, AT(report_fds),
      "write what it was started with to FILE" },
    { "signal", "NAME|NUMBER", set_signal, 0, "end at once by this signal" },
    { "slow-term", "MS", set_ms, AT(slow_term_ms),
      "exit only this long after SIGTERM" },
    { "state-node", "PATH", set_text, AT(state_node),
      "when ready, write 'running' to this node of the store" },
    { "status", "WORD", set_text, AT(status),
      "what query-status says, whatever is true" },
    { "stderr", "TEXT", add_text, AT(stderr_lines),
      "write this line to stderr; may be repeated" },
    { "stop-self", NULL, set_stop_self, 0,
      "stop (SIGSTOP) at once instead of ending" },
    { "store-dir", "PATH", set_text, AT(store_dir),
      "the directory that holds the store of --state-node" },
    { "version", NULL, set_flag, AT(version), "print the version and exit" },
};

static const struct spec *
find_spec(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(SPECS); i++) {
        if (strlen(SPECS[i].name) == len &&
            !strncmp(SPECS[i].name, name, len)) {
            return &SPECS[i];
        }
    }
    return NULL;
}

/* 'word' begins with "--". */
static int
parse_own(struct options *options, const char *word, struct libspawn_err *err)
{
    const char *name = word + 2;
    const char *equals = strchr(name, '=');
    const char *value = equals ? equals + 1 : NULL;
    const struct spec *spec =
        find_spec(name, equals ? (size_t)(equals - name) : strlen(name));
    int rc;

    if (!spec) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "there is no option '%s'", word);
    }
    if (value && !spec->argument) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "option '--%s' takes no value", spec->name);
    }
    if (!value && spec->argument && spec->argument[0] != '[') {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "option '--%s' needs a value: --%s=%s",
                              spec->name, spec->name, spec->argument);
    }
    rc = spec->set(options, spec, value, err);
    return rc ? libspawn__err_prefix(err, "option '--%s'", spec->name) : 0;
}

/* ---- The words of QEMU that mean something here --------------------------
 *
 * Those that mean nothing are here if what follows is anybody's text, which
 * may look like an option of ours.
 */

static const struct spec QEMU_SPECS[] = {
    { "-S", NULL, set_flag, AT(starts_stopped), NULL },
    { "-append", "TEXT", set_nothing, 0, NULL },
    { "-chardev", "DEVICE", add_text, AT(chardevs), NULL },
    { "-mon", "MONITOR", add_text, AT(monitors), NULL },
    { "-name", "TEXT", set_nothing, 0, NULL },
    { "-no-shutdown", NULL, set_flag, AT(no_shutdown), NULL },
    { "-version", NULL, set_flag, AT(qemu_version), NULL },
    { "-vnc", "DISPLAY", set_text, AT(vnc), NULL },
    { "-xen-domid", "DOMID", set_text, AT(xen_domid), NULL },
};

/* Sets *used_r to how many words it was. */
static int
parse_qemu(struct options *options, char **words, size_t *used_r,
           struct libspawn_err *err)
{
    const struct spec *spec = NULL;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(QEMU_SPECS) && !spec; i++) {
        if (!strcmp(words[0], QEMU_SPECS[i].name)) {
            spec = &QEMU_SPECS[i];
        }
    }
    *used_r = spec && spec->argument ? 2 : 1;
    if (!spec) {
        return 0;
    }
    if (spec->argument && !words[1]) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "%s: requires an argument", words[0]);
    }
    return spec->set(options, spec, words[1], err);
}

/* ---- The whole ---------------------------------------------------------- */

static int
parse_environment(struct options *options, struct libspawn_err *err)
{
    const char *text = getenv(TDM_ENVIRONMENT);
    char *rest = NULL;
    char *word;
    int rc = 0;

    if (!text) {
        return 0;
    }
    options->environment = strdup(text);
    if (!options->environment) {
        return libspawn__fail_nomem(err);
    }
    for (word = strtok_r(options->environment, " ", &rest); word && !rc;
         word = strtok_r(NULL, " ", &rest)) {
        if (libspawn__str_has_prefix(word, "--")) {
            rc = parse_own(options, word, err);
        } else {
            rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                "'%s' in %s is not an option", word,
                                TDM_ENVIRONMENT);
        }
    }
    return rc;
}

static int
parse_words(struct options *options, char **words, struct libspawn_err *err)
{
    int rc = 0;

    while (*words && !rc) {
        size_t used = 1;

        if (libspawn__str_has_prefix(*words, "--")) {
            rc = parse_own(options, *words, err);
        } else {
            rc = parse_qemu(options, words, &used, err);
        }
        words += used;
    }
    return rc;
}

int
options_parse(struct options *options, char **argv, struct libspawn_err *err)
{
    int rc;

    *options = (struct options){ .notify_fd = -1 };
    rc = parse_environment(options, err);
    if (!rc && argv[0]) {
        rc = parse_words(options, argv + 1, err);
    }
    if (rc) {
        return rc;
    }
    if (options->ends_after_ready && options->ending == ENDING_NONE) {
        options->ending = ENDING_EXIT;
        options->ending_value = 1;
    }
    if (!options->state_node != !options->store_dir) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "options '--store-dir' and '--state-node' need "
                              "each other");
    }
    return 0;
}

void
options_dispose(struct options *options)
{
    libspawn__strv_dispose(&options->no_answers);
    libspawn__strv_dispose(&options->chardevs);
    libspawn__strv_dispose(&options->monitors);
    libspawn__strv_dispose(&options->stderr_lines);
    free(TAKE_PTR(options->environment));
}

void
options_print_help(void)
{
    size_t i;

    printf("usage: test-device-model [--OPTION[=VALUE]]... [QEMU option]...\n"
           "\n"
           "Plays QEMU for what the real one cannot be made to do.  Not for\n"
           "production.  Options are also taken from the environment\n"
           "variable " TDM_ENVIRONMENT ", separated by blanks.\n"
           "\n");
    for (i = 0; i < ARRAY_SIZE(SPECS); i++) {
        const struct spec *spec = &SPECS[i];
        const char *argument = spec->argument ? spec->argument : "";
        bool is_optional = argument[0] == '[';

        printf("  --%s%s%s%s\n      %s\n", spec->name, is_optional ? "[" : "",
               spec->argument ? "=" : "", argument + is_optional, spec->help);
    }
}
