/* The memory part of port.h, from the names that a linker script gives. */
#include "memory.h"

#include "port.h"

enum { PATTERN = 0x5AC0FFEE };

void memory_paint_stack(void)
{
    /* The frame of this function lies below the frame address and may not be painted over. */
    volatile uint32_t *const end = (volatile uint32_t *)__builtin_frame_address(0) - 16;

    for (volatile uint32_t *word = __stack_bottom; word < end; word++) {
        *word = PATTERN;
    }
}

size_t port_stack_bytes(void)
{
    return (size_t)((uintptr_t)__stack_top - (uintptr_t)__stack_bottom);
}

size_t port_stack_peak(void)
{
    const uint32_t *word = __stack_bottom;

    while (word < __stack_top && *word == PATTERN) {
        word++;
    }
    return (size_t)((uintptr_t)__stack_top - (uintptr_t)word);
}

void *port_memory(size_t *bytes)
{
    *bytes = (size_t)((uintptr_t)__free_end - (uintptr_t)__free_start);
    return __free_start;
}

size_t port_flash_bytes(void)
{
    return (size_t)(uintptr_t)__flash_bytes;
}

size_t port_static_bytes(void)
{
    return (size_t)((uintptr_t)__data_end - (uintptr_t)__data_start)
           + (size_t)((uintptr_t)__bss_end - (uintptr_t)__bss_start);
}
