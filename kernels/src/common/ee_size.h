/* ee_size.h: sizes that cannot wrap around: SIZE_MAX stands for "does not fit" and stays so. */
#ifndef EE_SIZE_H
#define EE_SIZE_H

#include <stddef.h>
#include <stdint.h>

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

/* Bytes of whole cache lines that hold so many. */
static inline size_t ee_whole_lines(size_t bytes)
{
    const size_t line = 64;
    const size_t beyond = bytes % line;

    return ee_size_add(bytes, beyond > 0 ? line - beyond : 0);
}

static inline int ee_is_aligned(const void *pointer, size_t alignment)
{
    return (uintptr_t)pointer % alignment == 0;
}

#endif
