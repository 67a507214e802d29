#include "guest/png/picture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <png.h>

#include "base/auto.h"

enum {
    SIDE_MAX = 16384,
    HEAD_MAX = 64,
    BYTES_PER_PIXEL = 3
};

/* "P6 WIDTH HEIGHT 255" and one white space; QEMU writes no comments. */
static int
parse_head(const char *ppm, size_t size, png_image *image, size_t *offset_r,
           struct libspawn_err *err)
{
    char head[HEAD_MAX + 1] = "";
    unsigned int width;
    unsigned int height;
    int end = 0;

    memcpy(head, ppm, size < HEAD_MAX ? size : HEAD_MAX);
    if (sscanf(head, "P6 %5u %5u 255%n", &width, &height, &end) != 2 || !end ||
        !width || !height || width > SIDE_MAX || height > SIDE_MAX ||
        size - (size_t)end - 1 != (size_t)width * height * BYTES_PER_PIXEL) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the device model's picture is not a PPM that "
                              "makes sense");
    }
    image->width = width;
    image->height = height;
    *offset_r = (size_t)end + 1;
    return 0;
}

int
libspawn__picture_write_png(const char *ppm, size_t size, int fd,
                            struct libspawn_err *err)
{
    png_image image = { .version = PNG_IMAGE_VERSION,
                        .format = PNG_FORMAT_RGB };
    AUTO_FD int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    AUTO_FILE FILE *file = copy < 0 ? NULL : fdopen(copy, "wb");
    size_t offset = 0;
    int rc = parse_head(ppm, size, &image, &offset, err);

    if (rc) {
        return rc;
    }
    if (!file) {
        return libspawn__fail_errno(err, errno, "writing the picture");
    }
    copy = -1; /* the stream's now */
    if (!png_image_write_to_stdio(&image, file, 0, ppm + offset, 0, NULL) ||
        fflush(file)) {
        return libspawn__fail(
            err, LIBSPAWN_ERR_SYSTEM, "writing the picture: %s",
            image.message[0] ? image.message : "the file is not writable");
    }
    return 0;
}
