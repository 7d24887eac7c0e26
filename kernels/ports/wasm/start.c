/* port.h for WebAssembly under Node: port.mjs beside this is what it imports. */
#include <string.h>

#include "port.h"

#define IMPORT(name) __attribute__((import_module("port"), import_name(#name)))

IMPORT(print) void host_print(const char *text, size_t bytes);
IMPORT(exit) void host_exit(int status) __attribute__((noreturn));
IMPORT(open) int host_open(const char *name, size_t bytes, int writes);
IMPORT(file_bytes) long host_file_bytes(int file);
IMPORT(read) int host_read(int file, void *data, size_t bytes);
IMPORT(write) int host_write(int file, const void *data, size_t bytes);
IMPORT(close) void host_close(int file);
IMPORT(program_bytes) size_t host_program_bytes(void);
IMPORT(argument) int host_argument(int number, char *text, size_t capacity);

enum {
    PAGE_BYTES = 65536,
    MEMORY_BYTES = 64 * 1024 * 1024,
    STACK_BYTES = 65536, /* board.mk says it to the linker: from address 0 up */
    PATTERN = 0x5AC0FFEE,
    MAX_ARGUMENTS = 16,
    MAX_TEXT = 4096
};

extern unsigned char __heap_base[], __data_end[];

/* No address is 0 in C: the lowest word of the stack is left out. */
static volatile uint32_t *const stack_bottom = (volatile uint32_t *)sizeof(uint32_t);
static volatile uint32_t *const stack_top = (volatile uint32_t *)STACK_BYTES;

void port_print(const char *text)
{
    host_print(text, strlen(text));
}

void port_exit(int status)
{
    host_exit(status);
}

int port_open(const char *name, port_mode mode)
{
    return host_open(name, strlen(name), mode == PORT_WRITE);
}

long port_file_bytes(int file)
{
    return host_file_bytes(file);
}

int port_read(int file, void *data, size_t bytes)
{
    return host_read(file, data, bytes);
}

int port_write(int file, const void *data, size_t bytes)
{
    return host_write(file, data, bytes);
}

void port_close(int file)
{
    host_close(file);
}

void *port_memory(size_t *bytes)
{
    static unsigned char *memory;

    if (memory == NULL) {
        const size_t pages = __builtin_wasm_memory_grow(0, MEMORY_BYTES / PAGE_BYTES);
        memory = (unsigned char *)(pages * PAGE_BYTES);
    }
    *bytes = MEMORY_BYTES;
    return memory;
}

size_t port_flash_bytes(void)
{
    return host_program_bytes();
}

size_t port_static_bytes(void)
{
    return (size_t)(__data_end - (unsigned char *)stack_top);
}

size_t port_stack_bytes(void)
{
    return STACK_BYTES;
}

size_t port_stack_peak(void)
{
    const volatile uint32_t *word = stack_bottom;

    while (word < stack_top && *word == PATTERN) {
        word++;
    }
    return (size_t)(stack_top - word) * sizeof *word;
}

static void paint_stack(void)
{
    volatile uint32_t here;

    for (volatile uint32_t *word = &here - 64; word-- > stack_bottom;) {
        *word = PATTERN;
    }
}

__attribute__((export_name("start"))) int start(void)
{
    static char text[MAX_TEXT];
    char *arguments[MAX_ARGUMENTS];
    size_t used = 0;
    int count = 0, length;

    paint_stack();
    while (count < MAX_ARGUMENTS
           && (length = host_argument(count, text + used, sizeof text - used)) >= 0) {
        arguments[count++] = text + used;
        used += (size_t)length + 1;
    }
    return port_main(count, arguments);
}
