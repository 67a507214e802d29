/*
 * xl: creates guests and looks after them.  Options before the subcommand
 * hold for every one.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "xl/command.h"

const struct xl__command xl__commands[] = {
    { "create", "[OPTIONS] CONFIG [KEY=VALUE]...",
      "Create a guest from a configuration file.",
      "  -p, --paused          leave it paused\n"
      "  -c, --console         attach to its console\n"
      "  -V, --vncviewer       start a VNC viewer on its display\n"
      "  -n, --dryrun          only check, and print it as JSON\n"
      "  -d, --debug           also print the configuration, to stderr\n"
      "  -f, --defconfig=FILE  the configuration file, as an option\n"
      "  -q, --quiet           no progress, no warnings\n"
      "      --json            result, or failure report, as JSON on stdout\n"
      "      --timeout=SECONDS how long the device model may take to start\n"
      "      --startup-timeout=SECONDS  how long all of it may take\n"
      "  -F, --foreground      stay until the guest's supervisor ends\n"
      "  -e, --no-supervisor   leave nobody behind who looks after it\n"
      "      --monitor         start its supervisor again when that crashes\n"
      "      --control=ptcp:PORT[:ADDRESS]  where anybody can see how it is\n",
      xl__create_run },
    { "destroy", "GUEST", "End a guest at once and remove its traces.", NULL,
      xl__destroy_run },
    { "list", "[-l] [--json] [GUEST]...", "List guests.",
      "  -l, --long  their configurations, as JSON, as the stock xl does\n"
      "      --json  the table as JSON\n",
      xl__list_run },
    { "dm-list", "[--json] [GUEST]...",
      "List device models and who looks after them.",
      "      --json  as JSON\n", xl__dm_list_run },
    { "events", "[-f] [--json] [--since=SECONDS] [GUEST]...",
      "Print what happened to guests.",
      "  -f, --follow         and what happens, until interrupted\n"
      "      --json           as JSON, an object per line\n"
      "      --since=SECONDS  only what is not older; 0: only what is new\n",
      xl__events_run },
    { "console", "[-t TYPE] [-n NUMBER] GUEST",
      "Attach to a guest's console; Ctrl-] leaves.",
      "  -t, --type=TYPE      serial or pv; default: what the guest has\n"
      "  -n, --num=NUMBER     which one of them; default 0\n",
      xl__console_run },
    { "pause", "GUEST", "Stop its processors.", NULL, xl__pause_run },
    { "unpause", "GUEST", "Let its processors run again.", NULL,
      xl__unpause_run },
    { "shutdown", "[-w] [-F] GUEST", "Ask a guest to power off.",
      "  -w, --wait           until it has\n"
      "  -F                   press its power button if it has no drivers;\n"
      "                       without Xen that is the only way anyhow\n"
      "      --timeout=SECONDS how long to wait; default for ever\n",
      xl__shutdown_run },
    { "reboot", "[-F] GUEST", "Ask a guest to reboot.", NULL, xl__reboot_run },
    { "domid", "NAME", "Print the domain id of a guest.", NULL,
      xl__domid_run },
    { "domname", "DOMID", "Print the name of a guest.", NULL,
      xl__domname_run },
    { "config-update", "[OPTIONS] GUEST CONFIG [KEY=VALUE]...",
      "Replace the configuration of a guest's next start.",
      "      --base=VERSION    only if it still is this one\n"
      "  -f, --defconfig=FILE  the configuration file, as an option\n"
      "  -q, --quiet           no warnings\n",
      xl__config_update_run },
    { "config-version", "GUEST", "Print the version of that configuration.",
      NULL, xl__config_version_run },
    { "lock", "[-n | -w SECONDS] host|GUEST -- COMMAND [ARGUMENT]...",
      "Run a command under a lock of xl.",
      "  -n, --nonblock        fail at once if somebody has it\n"
      "  -w, --wait=SECONDS    how long to wait for it; default for ever\n",
      xl__lock_run },
    { "pci-assignable-list", "[--json]",
      "List PCI devices for guests, and whose they are.",
      "      --json  as JSON\n", xl__pci_list_run },
    { "pci-release", "NAME DEVICE", "End what pci-reserve began.", NULL,
      xl__pci_release_run },
    { "pci-reserve", "NAME DEVICE", "Keep a PCI device for guests of a name.",
      NULL, xl__pci_reserve_run },
    { "screenshot", "GUEST FILE.png", "Save the picture on its screen.", NULL,
      xl__screenshot_run },
    { "supervise", "[--reexec] --all | GUEST...",
      "See to it that guests have their supervisors.",
      "  -a, --all             of all guests that are to have one\n"
      "      --reexec          those that run become the installed program\n",
      xl__supervise_run },
    { "vncviewer", "GUEST", "Start a VNC viewer on its display.", NULL,
      xl__vncviewer_run },
    { "version", "[--json]", "Print versions, and what runs the guests here.",
      NULL, xl__version_run },
    { "help", "[COMMAND]", "Explain a subcommand, or list them.", NULL,
      xl__help_run },
    { NULL, NULL, NULL, NULL, NULL },
};

static void
print_help(FILE *out)
{
    const struct xl__command *command;

    fputs("usage: xl [-v] [--state-dir=DIRECTORY] COMMAND [ARGUMENT]...\n\n",
          out);
    for (command = xl__commands; command->name; command++) {
        fprintf(out, "  %-20s %s\n", command->name, command->summary);
    }
    fputs("\n`xl help COMMAND` tells more; see also xl(1).\n", out);
}

static const struct xl__command *
find_command(const char *name)
{
    const struct xl__command *command;

    for (command = xl__commands; command->name; command++) {
        if (!strcmp(command->name, name)) {
            return command;
        }
    }
    return NULL;
}

int
xl__help_run(struct xl *xl, int argc, char *argv[])
{
    const struct xl__command *command;

    if (argc < 2 || argv[1][0] == '-') {
        print_help(stdout);
        return XL__EXIT_OK;
    }
    command = find_command(argv[1]);
    if (!command) {
        return xl__usage_error(xl, "there is no subcommand '%s'", argv[1]);
    }
    xl__print_usage(command, false);
    return XL__EXIT_OK;
}

/* An option before it may be wrong already. */
static bool
has_json_option(int argc, char *argv[])
{
    int i;

    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            return true;
        }
    }
    return false;
}

static int
run_command(struct xl *xl, int argc, char *argv[])
{
    static char name[32];
    int status;

    xl->command = find_command(argv[0]);
    if (!xl->command) {
        fprintf(stderr,
                "xl: there is no subcommand '%s'; `xl help` lists them\n",
                argv[0]);
        return XL__EXIT_USAGE;
    }
    xl->as_json = has_json_option(argc, argv);
    /* As which others see us in the locks that we hold. */
    snprintf(name, sizeof name, "xl %s", xl->command->name);
    program_invocation_short_name = name;
    optind = 0; /* glibc: start anew, with another argument vector */
    status = xl->command->run(xl, argc, argv);
    libspawn_host_close(xl->host);
    libspawn_ctx_free(xl->ctx);
    if (fflush(stdout) && !status) {
        perror("xl: writing the output");
        status = XL__EXIT_FAILED;
    }
    return status;
}

static void
ignore(int signal)
{
    (void)signal;
}

int
main(int argc, char *argv[])
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "state-dir", required_argument, NULL, 's' },
        { "verbose", no_argument, NULL, 'v' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    static char version[] = "version";
    char *version_argv[] = { version, NULL };
    struct xl xl = { .verbose = 0 };
    int option;

    /* A failed write is told as an error.  Handled instead of ignored, so that
     * what is executed from here has the default. */
    signal(SIGPIPE, ignore);
    /* -f, -t, -T and -N of the stock xl change nothing here. */
    while ((option = getopt_long(argc, argv, "+hvftTN", options, NULL)) !=
           -1) {
        switch (option) {
        case 'h':
            print_help(stdout);
            return XL__EXIT_OK;
        case 's':
            xl.state_dir = optarg;
            break;
        case 'v':
            xl.verbose++;
            break;
        case 'V':
            return run_command(&xl, 1, version_argv);
        case '?':
            print_help(stderr);
            return XL__EXIT_USAGE;
        default:
            break;
        }
    }
    if (optind == argc) {
        print_help(stderr);
        return XL__EXIT_USAGE;
    }
    return run_command(&xl, argc - optind, argv + optind);
}
