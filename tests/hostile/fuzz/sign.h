/* sign.h: checksums of a flash image that agree with what it says. */
#ifndef SIGN_H
#define SIGN_H

#include "../../c/image_words.h"
#include "fuzz.h"

static inline unsigned char *word_of(unsigned char *image, uint32_t word)
{
    return image + 4 * (size_t)word;
}

/* The sections that lie within `bytes`, then the header. */
static inline void sign_image(unsigned char *image, size_t bytes)
{
    if (bytes < EE_IMAGE_HEADER_BYTES) {
        return;
    }
    for (uint32_t i = 0; i < EE_IMAGE_SECTIONS; i++) {
        unsigned char *const section = word_of(image, SECTIONS + SECTION_WORDS * i);
        const uint32_t offset = fuzz_get(section + 4 * OFFSET);
        const uint32_t length = fuzz_get(section + 4 * BYTES);
        if (i < fuzz_get(word_of(image, SECTION_COUNT)) && offset <= bytes
            && length <= bytes - offset) {
            fuzz_put(section + 4 * CRC, ee_crc32_c(0, image + offset, length));
        }
    }
    fuzz_put(word_of(image, HEADER_CRC), 0);
    fuzz_put(word_of(image, HEADER_CRC), ee_crc32_c(0, image, EE_IMAGE_HEADER_BYTES));
}

#endif
