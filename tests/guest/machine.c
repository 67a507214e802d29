#include "tests/guest/machine.h"

#include <stddef.h>

#include "tests/guest/io.h"
#include "tests/guest/layout.h"

/* ---- Interrupts ----------------------------------------------------------
 *
 * Nothing happens in the handler: the main loop looks at the devices itself
 * whenever the processor has been woken up.  No timer runs, so a guest that
 * nobody talks to costs nothing.
 */
void wake_up(void); /* in start.S; for the processor to call */

enum {
    FIRST_VECTOR = 0x20, /* below are the processor's exceptions */
    CASCADE_IRQ = 2,     /* where the second controller hangs on the first */
    SERIAL_IRQ = 4,
    ACPI_IRQ = 9, /* of the power button */
    N_IRQS = 16
};

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint16_t type;
    uint16_t offset_high;
};

struct table_register {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

static struct gate gates[FIRST_VECTOR + N_IRQS];

static void
load_gates(uint16_t size)
{
    struct table_register table = { .limit = (uint16_t)(size - 1),
                                    .base = (uint32_t)gates };

    __asm__ volatile("lidt %0" : : "m"(table));
}

static void
gates_init(void)
{
    enum { INTERRUPT_GATE = 0x8e00 }; /* present, 32 bits */

    uint32_t handler = (uint32_t)wake_up;
    unsigned int i;

    for (i = 0; i < N_IRQS; i++) {
        gates[FIRST_VECTOR + i] =
            (struct gate){ .offset_low = (uint16_t)handler,
                           .selector = CODE_SELECTOR,
                           .type = INTERRUPT_GATE,
                           .offset_high = (uint16_t)(handler >> 16) };
    }
    load_gates(sizeof gates);
}

/* The BIOS had the interrupts where protected mode has its exceptions. */
static void
pic_init(void)
{
    out8(PIC1_PORT, 0x11); /* begin; four words follow */
    out8(PIC2_PORT, 0x11);
    out8(PIC1_PORT + 1, FIRST_VECTOR);
    out8(PIC2_PORT + 1, FIRST_VECTOR + 8);
    out8(PIC1_PORT + 1, 1 << CASCADE_IRQ);
    out8(PIC2_PORT + 1, CASCADE_IRQ);
    out8(PIC1_PORT + 1, 0x01); /* mode of the 8086 */
    out8(PIC2_PORT + 1, 0x01);
    out8(PIC1_PORT + 1, (uint8_t)~(1 << CASCADE_IRQ | 1 << SERIAL_IRQ));
    out8(PIC2_PORT + 1, (uint8_t)~(1 << (ACPI_IRQ - 8)));
}

/* ---- Power management ----------------------------------------------------
 *
 * The firmware chooses where the ACPI registers are and tells the bridge:
 * I/O 0x600 with SeaBIOS on QEMU, 0xb000 with Xen's hvmloader.  The tables
 * would tell too, but are longer to read.
 */
struct bridge {
    uint32_t id; /* device and vendor */
    uint8_t device;
    uint8_t function;
    uint16_t base_mask;
};

static const struct bridge bridges[] = {
    { 0x71138086, 0x01, 3, 0xffc0 }, /* PIIX4: QEMU's pc, Xen */
    { 0x29188086, 0x1f, 0, 0xff80 }, /* ICH9: QEMU's q35 */
};

enum { PM_BASE_REGISTER = 0x40 }; /* in PCI configuration space, of both */

/* From the base on; ACPI Specification 6.4, 4.8.3. */
enum { PM1_STATUS = 0, PM1_ENABLE = 2, PM1_CONTROL = 4 };
enum {
    PM1_POWER_BUTTON = 1 << 8, /* of status, cleared by writing it; enable */
    PM1_SLEEP = 1 << 13,       /* of control */
    PM1_TYPE_MASK = 7 << 10    /* 0 is S5, soft off, on both bridges */
};

static uint16_t pm_base; /* 0: not known */

static uint32_t
pci_read(const struct bridge *bridge, uint8_t reg)
{
    out32(0xcf8, 0x80000000 | (uint32_t)bridge->device << 11 |
                     (uint32_t)bridge->function << 8 | reg);
    return in32(0xcfc);
}

static void
power_init(void)
{
    size_t i;

    for (i = 0; i < sizeof bridges / sizeof bridges[0]; i++) {
        if (pci_read(&bridges[i], 0) == bridges[i].id) {
            pm_base = (uint16_t)(pci_read(&bridges[i], PM_BASE_REGISTER) &
                                 bridges[i].base_mask);
        }
    }
    if (pm_base) {
        out16(pm_base + PM1_STATUS, PM1_POWER_BUTTON);
        out16(pm_base + PM1_ENABLE, PM1_POWER_BUTTON);
    }
}

bool
machine_button_was_pressed(void)
{
    if (!pm_base || !(in16(pm_base + PM1_STATUS) & PM1_POWER_BUTTON)) {
        return false;
    }
    out16(pm_base + PM1_STATUS, PM1_POWER_BUTTON);
    return true;
}

void
machine_power_off(void)
{
    uint16_t control;

    if (pm_base) {
        control = in16(pm_base + PM1_CONTROL) & (uint16_t)~PM1_TYPE_MASK;
        out16(pm_base + PM1_CONTROL, control | PM1_SLEEP);
    }
}

/* ---- Reset -------------------------------------------------------------- */

void
machine_reset(void)
{
    out8(0xcf9, 0x02); /* which reset: the processor and all devices */
    out8(0xcf9, 0x06); /* now */
    out8(0x64, 0xfe);  /* else by the keyboard controller */
    machine_triple_fault();
}

void
machine_triple_fault(void)
{
    interrupts_off();
    load_gates(1); /* no gate fits in there */
    for (;;) {
        __asm__ volatile("int3");
    }
}

void
machine_init(void)
{
    gates_init();
    pic_init();
    power_init();
}
