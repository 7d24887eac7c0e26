/* image_words.h: where the fields of a flash image's header lie, in words of 32 bits, as
 * weights_io/FORMAT.md lists them. */
#ifndef IMAGE_WORDS_H
#define IMAGE_WORDS_H

#include "ee_image.h"

enum {
    MAGIC, ABI, HEADER_CRC, HEADER_BYTES, MODEL_CRC, ARCHITECTURE, DTYPE, EXITS, DIM, HEADS, FF,
    KERNEL, VOCAB, MELS, STEM_KERNEL, STEM_STRIDE, MAX_FRAMES, CHUNK, LEFT, CONV, POSITIONS, BLANK,
    FRONTEND, SAMPLE_RATE, N_FFT, WIN_LENGTH, HOP_LENGTH, PAD, LOG_FLOOR, NORM_EPS, SECTION_COUNT,
    LAYERS, SECTIONS = LAYERS + EE_MAX_EXITS
};

/* Words of a section. */
enum { KIND, OFFSET, BYTES, CRC, SECTION_WORDS };

#endif
