/* ee_size.h: sizes that cannot wrap around (SIZE_MAX stands for "does not fit" and stays so), and
 * the size of the blocks that composites work in. */
#ifndef EE_SIZE_H
#define EE_SIZE_H

#include <stddef.h>
#include <stdint.h>

#include "ee_kernels.h"

static inline size_t ee_size_add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static inline size_t ee_size_mul(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

static inline size_t ee_size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t ee_size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Frames of a block: as few blocks as EE_BLOCK_FRAMES allows, of one size but for the last. A block
 * of a few left-over frames would read all weights again for next to nothing. */
static inline size_t ee_block_frames(size_t rows)
{
    const size_t blocks = rows / EE_BLOCK_FRAMES + (rows % EE_BLOCK_FRAMES != 0);

    if (blocks == 0) {
        return 1;
    }
    return rows / blocks + (rows % blocks != 0);
}

#endif
