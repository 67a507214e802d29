/*
 * The tiny guest: greets on the serial port and on the screen, says back
 * every line it is told, and obeys a few words:
 *
 *   crash    a triple fault
 *   mem      how much memory the firmware tells of
 *   off      ACPI power off
 *   reboot   reset
 *
 * It powers off when somebody presses the power button.  Between events the
 * processor sleeps.
 */
#include <stddef.h>
#include <stdint.h>

#include "tests/guest/console.h"
#include "tests/guest/io.h"
#include "tests/guest/layout.h"
#include "tests/guest/machine.h"

/* Called by start.S. */
struct multiboot_info;
_Noreturn void hello(uint32_t magic, const struct multiboot_info *given);

enum { LINE_SIZE = 256 }; /* what is longer is cut off */

/* Multiboot Specification 0.6.96, 3.3; what this kernel does not look at is
 * only there to take its place. */
struct multiboot_info {
    uint32_t flags;
    uint32_t mem_and_boot_device[3];
    const char *command_line;
    uint32_t n_modules;
    const struct multiboot_module *modules;
    uint32_t symbols[4];
    uint32_t map_size;
    const struct multiboot_map_entry *map;
};

struct multiboot_module {
    const char *begin;
    const char *end;
};

struct multiboot_map_entry {
    uint32_t size; /* of what follows */
    uint64_t base;
    uint64_t length;
    uint32_t type; /* 1: memory to be used */
} __attribute__((packed));

struct command {
    const char *word;
    void (*run)(void);
};

static const struct multiboot_info *info; /* NULL: nobody told us */

/* ---- What it says about itself ------------------------------------------ */

static void
say_command_line(void)
{
    console_puts("command line: ");
    console_puts(info->command_line);
    console_put('\n');
}

static void
say_module(const struct multiboot_module *module)
{
    const char *p;

    console_puts("module: ");
    console_put_number((uint32_t)(module->end - module->begin));
    console_puts(" bytes: ");
    for (p = module->begin; p < module->end && *p != '\n'; p++) {
        console_put(*p);
    }
    console_put('\n');
}

static void
greet(void)
{
    console_puts("Hello from the guest\n");
    if (info && (info->flags & MULTIBOOT_HAS_COMMAND_LINE)) {
        say_command_line();
    }
    if (info && (info->flags & MULTIBOOT_HAS_MODULES) && info->n_modules) {
        say_module(info->modules);
    }
}

/* ---- What it obeys ------------------------------------------------------ */

static void
crash(void)
{
    console_puts("crashing\n");
    machine_triple_fault();
}

static void
say_memory(void)
{
    const char *entry = NULL;
    const char *end = NULL;
    uint64_t size = 0;

    if (info && (info->flags & MULTIBOOT_HAS_MEMORY_MAP)) {
        entry = (const char *)info->map;
        end = entry + info->map_size;
    }
    while (entry < end) {
        const struct multiboot_map_entry *area = (const void *)entry;

        size += area->type == 1 ? area->length : 0;
        entry += sizeof area->size + area->size;
    }
    console_puts("memory: ");
    console_put_number((uint32_t)(size >> 10));
    console_puts(" KiB\n");
}

static void
power_off(void)
{
    console_puts("powering off\n");
    machine_power_off();
    console_puts("this machine has no such switch\n");
}

static void
reboot(void)
{
    console_puts("rebooting\n");
    machine_reset();
}

static const struct command commands[] = {
    { "crash", crash },
    { "mem", say_memory },
    { "off", power_off },
    { "reboot", reboot },
};

static int
is_equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static void
obey(const char *line)
{
    size_t i;

    for (i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (is_equal(line, commands[i].word)) {
            commands[i].run();
            return;
        }
    }
    console_puts("you said: ");
    console_puts(line);
    console_put('\n');
}

/* ---- Lines -------------------------------------------------------------- */

static void
prompt(void)
{
    console_puts("> ");
}

/* A line ends with CR, LF, or both. */
static void
hear(char c)
{
    static char line[LINE_SIZE];
    static size_t len;
    static char last;

    if (c == '\n' && last == '\r') {
        last = c;
        return;
    }
    last = c;
    if (c != '\r' && c != '\n') {
        if (len < LINE_SIZE - 1) {
            line[len++] = c;
        }
        return;
    }
    line[len] = '\0';
    if (len) {
        obey(line);
    }
    len = 0;
    prompt();
}

void
hello(uint32_t magic, const struct multiboot_info *given)
{
    info = magic == MULTIBOOT_LOADER_MAGIC ? given : NULL;
    console_init();
    machine_init();
    greet();
    prompt();
    for (;;) {
        int c;

        while ((c = console_get()) >= 0) {
            hear((char)c);
        }
        if (machine_button_was_pressed()) {
            power_off();
        }
        wait_for_interrupt();
    }
}
