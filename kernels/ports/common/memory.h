/* memory.h: the names that linker scripts give to places in memory. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdint.h>

extern uint32_t __stack_bottom[], __stack_top[];
extern uint32_t __data_load[], __data_start[], __data_end[];
extern uint32_t __bss_start[], __bss_end[];
extern uint32_t __free_start[], __free_end[];
extern uint32_t __flash_start[], __flash_end[];
/* A number: its "address" is the value. */
extern uint32_t __flash_bytes[];

/* Fills the stack below the caller's frame with the pattern that port_stack_peak looks for. */
void memory_paint_stack(void);

#endif
