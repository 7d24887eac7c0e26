/* port.h: all that the runners know of a board. A new board implements these functions, most often
 * by compiling semihost.c (a debugger or QEMU on the other side) and a linker script that includes
 * one of the shared ones.
 */
#ifndef PORT_H
#define PORT_H

#include <stddef.h>
#include <stdint.h>

/* Console. */
void port_print(const char *text);

/* Ends the program; 0 is success. */
void port_exit(int status) __attribute__((noreturn));

/* Files of the machine that watches the board: names without spaces. -1 on failure. */
typedef enum { PORT_READ, PORT_WRITE } port_mode;
int port_open(const char *name, port_mode mode);
long port_file_bytes(int file);
/* Whether all bytes were read, or written. */
int port_read(int file, void *data, size_t bytes);
int port_write(int file, const void *data, size_t bytes);
void port_close(int file);

/* The flash image linked into the program (image.S); empty when there is none. */
extern const unsigned char port_image[];
extern const unsigned char port_image_end[];

/* RAM that the program itself does not use, 64-byte aligned: there is no heap. */
void *port_memory(size_t *bytes);

/* Flash that the program occupies: code, constants, the image, initial values of variables. */
size_t port_flash_bytes(void);

/* RAM of variables: .data and .bss. */
size_t port_static_bytes(void);

/* The stack, and the most of it that was ever used: start-up fills it with a pattern, and the
 * lowest word that changed tells. */
size_t port_stack_bytes(void);
size_t port_stack_peak(void);

/* What the start-up code calls: a runner. argv[0] is the program. Returns the exit status. */
int port_main(int argc, char **argv);

/* The exit status of a program that a fault ended. */
enum { PORT_FAULT_STATUS = 70 };

#endif
