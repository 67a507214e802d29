/*
 * The reader of xl.cfg on any bytes.  A configuration that it accepts must
 * pass the check, and must be the same when it comes back from JSON.  The
 * same bytes are also tried as the JSON of a configuration.
 */
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "guest/libxl_json.h"
#include "xl/cfg.h"

#define AUTO_CONFIG AUTO(libspawn_guest_config_dispose)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void
check_stored_forms(const struct libspawn_guest_config *config)
{
    AUTO_CONFIG struct libspawn_guest_config copy = { 0 };
    AUTO_FREE char *json = NULL;
    AUTO_FREE char *json_again = NULL;
    AUTO_FREE char *libxl_json = NULL;

    if (libspawn_guest_config_check(config, NULL)) {
        return;
    }
    must(!libspawn_guest_config_to_json(config, &json, NULL));
    must(!libspawn_guest_config_from_json(json, &copy, NULL));
    must(!libspawn_guest_config_to_json(&copy, &json_again, NULL));
    must(!strcmp(json, json_again));
    must(!libspawn__guest_config_to_libxl_json(config, &libxl_json, NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };
    AUTO_CONFIG struct libspawn_guest_config from_json = { 0 };
    AUTO_STRV struct libspawn__strv warnings = { 0 };
    AUTO_FREE char *text = strndup((const char *)data, size);
    struct libspawn_err err = { 0 };

    if (!xl__config_parse("f", (const char *)data, size, NULL, 0, &config,
                          &warnings, &err)) {
        must(!libspawn_guest_config_check(&config, &err));
        check_stored_forms(&config);
    } else {
        must(err.code && *err.text && !strchr(err.text, '\n'));
    }
    if (!libspawn_guest_config_from_json(text, &from_json, NULL)) {
        check_stored_forms(&from_json);
    }
    return 0;
}
