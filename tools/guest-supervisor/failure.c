#include "tools/guest-supervisor/failure.h"

#include <string.h>

#include "base/auto.h"
#include "wire/json.h"

static void
put_report(struct libspawn__json_writer *w,
           const struct libspawn_report *report)
{
    AUTO_FREE char *text = libspawn_report_text(report);
    AUTO_FREE char *json = libspawn_report_json(report);
    AUTO_JSON struct libspawn__json *tree = NULL;

    if (text) {
        libspawn__json_put_string(w, "text", text);
    }
    if (json && !libspawn__json_parse(json, strlen(json), strlen(json), &tree,
                                      NULL)) {
        libspawn__json_put(w, "report", tree);
    }
}

char *
failure_to_json(const struct libspawn_report *report,
                const struct libspawn_err *err)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_integer(w, "code", err->code);
    libspawn__json_put_string(w, "message", err->text);
    if (report) {
        put_report(w, report);
    }
    libspawn__json_end_object(w);
    return libspawn__json_writer_take(w);
}
