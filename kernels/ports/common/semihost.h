/* semihost.h: the semihosting call, for start-up code. The rest of it is port.h. */
#ifndef SEMIHOST_H
#define SEMIHOST_H

#include <stdint.h>

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_FLEN = 0x0C,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20
};

/* argument: a word, or a pointer to the words that the operation takes. */
intptr_t semihost_call(intptr_t operation, const void *argument);

/* Asks for the command line, runs port_main and exits with its status. */
void semihost_run(void) __attribute__((noreturn));

/* "name0x0123abcd " on the console, for reports of faults. */
void semihost_print_hex(const char *name, uint32_t value);

#endif
