#include "guest/pci_address.h"

#include <string.h>

#include "base/str.h"

enum {
    DEVICE_MAX = 0x1f,
    FUNCTION_MAX = 7,
    CLASS_DIGITS = 4,
    CHOICE_LEN_MAX = 40,
    INDEX_MAX = 65535
};

#define HEX_DIGITS "0123456789abcdefABCDEF"

/* ---- Addresses --------------------------------------------------------- */

static unsigned int
digit_value(char digit)
{
    return digit <= '9' ? (unsigned int)(digit - '0')
                        : (unsigned int)((digit | 0x20) - 'a') + 10;
}

/* Moves '*at' behind a number of at most 'n_max' digits. */
static bool
read_hex(const char **at, size_t n_max, uint32_t *value_r)
{
    size_t n = strspn(*at, HEX_DIGITS);
    uint32_t value = 0;
    size_t i;

    if (!n || n > n_max) {
        return false;
    }
    for (i = 0; i < n; i++) {
        value = value << 4 | digit_value((*at)[i]);
    }
    *at += n;
    *value_r = value;
    return true;
}

static bool
skip_character(const char **at, char wanted)
{
    if (**at != wanted) {
        return false;
    }
    ++*at;
    return true;
}

/* Without a domain it has one colon. */
static bool
read_address(const char *at, struct libspawn__pci_address *address_r)
{
    const char *colon = strchr(at, ':');
    uint32_t domain = 0;
    uint32_t bus;
    uint32_t device;
    uint32_t function;

    if (colon && strchr(colon + 1, ':') &&
        (!read_hex(&at, 8, &domain) || !skip_character(&at, ':'))) {
        return false;
    }
    if (!read_hex(&at, 2, &bus) || !skip_character(&at, ':') ||
        !read_hex(&at, 2, &device) || !skip_character(&at, '.') ||
        !read_hex(&at, 1, &function) || *at || device > DEVICE_MAX ||
        function > FUNCTION_MAX) {
        return false;
    }
    address_r->domain = domain;
    address_r->bus = (uint8_t)bus;
    address_r->device = (uint8_t)device;
    address_r->function = (uint8_t)function;
    return true;
}

int
libspawn__pci_address_parse(const char *text,
                            struct libspawn__pci_address *address_r,
                            struct libspawn_err *err)
{
    if (!read_address(text, address_r)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%.60s' is not the address of a PCI device, "
                              "[DOMAIN:]BUS:DEVICE.FUNCTION in hexadecimal",
                              text);
    }
    return 0;
}

void
libspawn__pci_address_format(const struct libspawn__pci_address *address,
                             char text[LIBSPAWN__PCI_ADDRESS_SIZE])
{
    snprintf(text, LIBSPAWN__PCI_ADDRESS_SIZE, "%04x:%02x:%02x.%x",
             (unsigned int)address->domain, address->bus, address->device,
             address->function);
}

static uint64_t
address_number(const struct libspawn__pci_address *address)
{
    return (uint64_t)address->domain << 16 | (uint64_t)address->bus << 8 |
           (uint64_t)address->device << 3 | address->function;
}

int
libspawn__pci_address_compare(const struct libspawn__pci_address *a,
                              const struct libspawn__pci_address *b)
{
    uint64_t left = address_number(a);
    uint64_t right = address_number(b);

    return left < right ? -1 : left > right;
}

/* ---- Choices ----------------------------------------------------------- */

static const char class_prefix[] = "class:";

/* What stands behind the prefix: "CCCC#N". */
static bool
read_class(const char *at, struct libspawn__pci_choice *choice_r)
{
    uint32_t code;
    uint64_t index;

    if (strspn(at, HEX_DIGITS) != CLASS_DIGITS ||
        !read_hex(&at, CLASS_DIGITS, &code) || !skip_character(&at, '#') ||
        libspawn__str_to_u64(at, 0, INDEX_MAX, &index, NULL)) {
        return false;
    }
    *choice_r = (struct libspawn__pci_choice){ .is_class = true,
                                               .class_code = (uint16_t)code,
                                               .index = (uint32_t)index };
    return true;
}

static int
read_choice(const char *text, struct libspawn__pci_choice *choice_r,
            struct libspawn_err *err)
{
    struct libspawn__pci_choice choice = { .is_class = false };
    int rc;

    if (libspawn__str_has_prefix(text, class_prefix)) {
        return read_class(text + strlen(class_prefix), choice_r)
                   ? 0
                   : libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                                    "'%s' does not have the form "
                                    "class:CCCC#N, four hexadecimal digits "
                                    "and a number",
                                    text);
    }
    rc = libspawn__pci_address_parse(text, &choice.address, err);
    if (!rc) {
        *choice_r = choice;
    }
    return rc;
}

int
libspawn__pci_choice_next(const char **at,
                          struct libspawn__pci_choice *choice_r,
                          struct libspawn_err *err)
{
    struct libspawn__pci_choice choice;
    char text[CHOICE_LEN_MAX + 1];
    const char *begin = *at + strspn(*at, " ");
    const char *end = begin + strcspn(begin, "|");
    size_t len = (size_t)(end - begin);
    int rc;

    while (len && begin[len - 1] == ' ') {
        len--;
    }
    if (len > CHOICE_LEN_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%.60s' is too long for the address of a PCI "
                              "device",
                              begin);
    }
    snprintf(text, sizeof text, "%.*s", (int)len, begin);
    rc = read_choice(text, &choice, err);
    if (!rc && *end && !end[1]) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "behind the last '|' of '%.60s' there is nothing",
                            begin);
    }
    if (!rc) {
        *choice_r = choice;
        *at = *end ? end + 1 : end;
    }
    return rc;
}
