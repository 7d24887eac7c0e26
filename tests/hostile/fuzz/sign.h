/* sign.h: checksums of a flash image that agree with what it says. */
#ifndef SIGN_H
#define SIGN_H

#include "../../c/image_words.h"
#include "fuzz.h"

static inline unsigned char *word_of(unsigned char *image, uint32_t word)
{
    return image + 4 * (size_t)word;
}

/* The parts that lie within `bytes`, then the header. */
static inline void sign_image(unsigned char *image, size_t bytes)
{
    size_t start = EE_IMAGE_HEADER_BYTES;

    if (bytes < EE_IMAGE_HEADER_BYTES) {
        return;
    }
    for (uint32_t e = 0; e <= EE_MAX_EXITS; e++) {
        const uint32_t end = fuzz_get(word_of(image, e == 0 ? BASE_BYTES : EXIT_BYTES + e - 1));
        if (end < start || end > bytes) {
            break;
        }
        fuzz_put(word_of(image, e == 0 ? BASE_CRC : EXIT_CRC + e - 1),
                 ee_crc32(image + start, end - start));
        start = end;
    }
    fuzz_put(word_of(image, HEADER_CRC), 0);
    fuzz_put(word_of(image, HEADER_CRC), ee_crc32(image, EE_IMAGE_HEADER_BYTES));
}

#endif
