/* The console, files, arguments and exit of port.h by semihosting (Arm's document
 * "Semihosting for AArch32 and AArch64"; RISC-V uses the same numbers). */
#include "semihost.h"

#include "port.h"

enum { MAX_ARGUMENTS = 16, COMMAND_LINE_BYTES = 512 };

static size_t length(const char *text)
{
    size_t count = 0;

    while (text[count] != '\0') {
        count++;
    }
    return count;
}

#if defined(__arm__)
intptr_t semihost_call(intptr_t operation, const void *argument)
{
    register intptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
#endif

void port_print(const char *text)
{
    semihost_call(SYS_WRITE0, text);
}

void semihost_print_hex(const char *name, uint32_t value)
{
    char text[] = "0x00000000 ";

    for (int digit = 0; digit < 8; digit++) {
        text[9 - digit] = "0123456789abcdef"[value >> (4 * digit) & 15];
    }
    port_print(name);
    port_print(text);
}

void port_exit(int status)
{
    const intptr_t application_exit = 0x20026;
    const intptr_t arguments[2] = {application_exit, status};

    for (;;) {
        semihost_call(SYS_EXIT_EXTENDED, arguments);
    }
}

int port_open(const char *name, port_mode mode)
{
    const intptr_t binary_read = 1, binary_write = 5;
    const intptr_t arguments[3] = {
        (intptr_t)name, mode == PORT_READ ? binary_read : binary_write, (intptr_t)length(name),
    };

    return (int)semihost_call(SYS_OPEN, arguments);
}

long port_file_bytes(int file)
{
    const intptr_t arguments[1] = {file};

    return (long)semihost_call(SYS_FLEN, arguments);
}

int port_read(int file, void *data, size_t bytes)
{
    unsigned char *at = data;

    while (bytes > 0) {
        const intptr_t arguments[3] = {file, (intptr_t)at, (intptr_t)bytes};
        /* What comes back is the number of bytes that were not read: a pipe gives what it has. */
        const size_t left = (size_t)semihost_call(SYS_READ, arguments);
        if (left >= bytes) {
            return 0;
        }
        at += bytes - left;
        bytes = left;
    }
    return 1;
}

int port_write(int file, const void *data, size_t bytes)
{
    const intptr_t arguments[3] = {file, (intptr_t)data, (intptr_t)bytes};

    return bytes == 0 || semihost_call(SYS_WRITE, arguments) == 0;
}

void port_close(int file)
{
    const intptr_t arguments[1] = {file};

    semihost_call(SYS_CLOSE, arguments);
}

void semihost_run(void)
{
    static char line[COMMAND_LINE_BYTES];
    static char *argv[MAX_ARGUMENTS + 1];
    const intptr_t arguments[2] = {(intptr_t)line, sizeof line};
    int argc = 0;

    if (semihost_call(SYS_GET_CMDLINE, arguments) != 0) {
        port_print("no command line\n");
        port_exit(1);
    }
    for (char *at = line; *at != '\0' && argc < MAX_ARGUMENTS;) {
        while (*at == ' ') {
            *at++ = '\0';
        }
        if (*at != '\0') {
            argv[argc++] = at;
        }
        while (*at != '\0' && *at != ' ') {
            at++;
        }
    }
    port_exit(port_main(argc, argv));
}
