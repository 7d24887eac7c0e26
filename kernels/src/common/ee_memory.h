/* ee_memory.h: what is asked of memory that a caller gives. */
#ifndef EE_MEMORY_H
#define EE_MEMORY_H

#include "ee.h"
#include "ee_size.h"

/* too_small: the status for less than `needed` bytes. */
static inline ee_status ee_check_memory(const void *memory, size_t bytes, size_t needed,
                                        ee_status too_small)
{
    if (memory == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (!ee_is_aligned(memory, EE_MEMORY_ALIGNMENT)) {
        return EE_ERR_ALIGNMENT;
    }
    return bytes < needed ? too_small : EE_OK;
}

#endif
