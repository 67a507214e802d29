#include "tests/guest/console.h"

#include "tests/guest/io.h"

/* A 16550 as every PC has it. */
enum {
    COM1 = 0x3f8,
    DATA = COM1 + 0,
    INTERRUPT_ENABLE = COM1 + 1,
    FIFO_CONTROL = COM1 + 2,
    LINE_CONTROL = COM1 + 3,
    MODEM_CONTROL = COM1 + 4,
    LINE_STATUS = COM1 + 5
};

enum {
    STATUS_RECEIVED = 0x01,
    STATUS_MAY_SEND = 0x20,
    NO_PORT = 0xff /* what an absent device reads as */
};

enum { N_COLUMNS = 80, N_ROWS = 25, WHITE_ON_BLUE = 0x1f00 };

static volatile uint16_t *const screen = (volatile uint16_t *)0xb8000;
static unsigned int position; /* in cells, below N_COLUMNS * N_ROWS */

static void
serial_init(void)
{
    out8(LINE_CONTROL, 0x80); /* DATA and the next are the divisor now */
    out8(DATA, 1);            /* 115,200 baud */
    out8(INTERRUPT_ENABLE, 0);
    out8(LINE_CONTROL, 0x03);  /* 8 bits, no parity, 1 stop bit */
    out8(FIFO_CONTROL, 0x07);  /* on, emptied, interrupt at the first byte */
    out8(MODEM_CONTROL, 0x0b); /* DTR, RTS, and OUT2, the interrupt's gate */
    out8(INTERRUPT_ENABLE, 0x01); /* when a byte has come */
}

static void
serial_put(char c)
{
    while (!(in8(LINE_STATUS) & STATUS_MAY_SEND)) {
        /* Until the other side has read; mostly not at all. */
    }
    out8(DATA, (uint8_t)c);
}

static void
screen_clear_from(unsigned int first)
{
    unsigned int i;

    for (i = first; i < N_COLUMNS * N_ROWS; i++) {
        screen[i] = WHITE_ON_BLUE | ' ';
    }
}

static void
screen_scroll(void)
{
    unsigned int i;

    for (i = 0; i < N_COLUMNS * (N_ROWS - 1); i++) {
        screen[i] = screen[i + N_COLUMNS];
    }
    position -= N_COLUMNS;
    screen_clear_from(N_COLUMNS * (N_ROWS - 1));
}

static void
screen_put(char c)
{
    if (c == '\n') {
        position += N_COLUMNS - position % N_COLUMNS;
    } else {
        screen[position++] = (uint16_t)(WHITE_ON_BLUE | (uint8_t)c);
    }
    if (position >= N_COLUMNS * N_ROWS) {
        screen_scroll();
    }
}

void
console_init(void)
{
    serial_init();
    screen_clear_from(0);
}

void
console_put(char c)
{
    if (c == '\n') {
        serial_put('\r');
    }
    serial_put(c);
    screen_put(c);
}

void
console_puts(const char *text)
{
    while (*text) {
        console_put(*text++);
    }
}

void
console_put_number(uint32_t number)
{
    if (number >= 10) {
        console_put_number(number / 10);
    }
    console_put((char)('0' + number % 10));
}

int
console_get(void)
{
    uint8_t status = in8(LINE_STATUS);

    return status != NO_PORT && (status & STATUS_RECEIVED) ? in8(DATA) : -1;
}
