#include "xl/cfg_pci.h"

#include <string.h>

int
xl__cfg_pci_parse(const char *text, const struct xl__cfg_place *place,
                  struct libspawn__strv *list, struct libspawn__strv *warnings,
                  struct libspawn_err *err)
{
    /* A slot of the guest's bus, "@VSLOT", and options of the driver. */
    size_t len = strcspn(text, "@,");
    int rc = 0;

    if (strchr(text + len, '|')) {
        return xl__cfg_fail(err, place,
                            "'%.60s': options stand behind the last of "
                            "several PCI devices",
                            text);
    }
    if (text[len]) {
        rc = xl__cfg_warn(warnings, place, err,
                          "'%.40s' of a PCI device is not supported yet and "
                          "is ignored",
                          text + len);
    }
    return rc ? rc : libspawn__strv_addf(list, err, "%.*s", (int)len, text);
}
