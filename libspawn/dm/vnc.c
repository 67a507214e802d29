#include "dm/vnc.h"

#include "wire/json.h"

char *
libspawn__dm_vnc_password(const char *password)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "protocol", "vnc");
    libspawn__json_put_string(w, "password", password);
    libspawn__json_end_object(w);
    return libspawn__json_writer_take(w);
}
