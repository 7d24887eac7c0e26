/* port.h for a Linux program, so that the same runners serve there. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port.h"

enum {
    MEMORY_BYTES = 64 * 1024 * 1024,
    STACK_BYTES = 256 * 1024, /* watched; the system gives more */
    PATTERN = 0x5AC0FFEE
};

static unsigned char memory[MEMORY_BYTES] __attribute__((aligned(64)));
static volatile uint32_t *stack_bottom, *stack_top;

void port_print(const char *text)
{
    port_write(STDOUT_FILENO, text, strlen(text));
}

void port_exit(int status)
{
    _exit(status);
}

int port_open(const char *name, port_mode mode)
{
    return mode == PORT_READ ? open(name, O_RDONLY)
                             : open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
}

long port_file_bytes(int file)
{
    struct stat status;

    return fstat(file, &status) == 0 ? (long)status.st_size : -1;
}

int port_read(int file, void *data, size_t bytes)
{
    unsigned char *at = data;

    while (bytes > 0) {
        const ssize_t done = read(file, at, bytes);
        if (done <= 0) {
            return 0;
        }
        at += done;
        bytes -= (size_t)done;
    }
    return 1;
}

int port_write(int file, const void *data, size_t bytes)
{
    const unsigned char *at = data;

    while (bytes > 0) {
        const ssize_t done = write(file, at, bytes);
        if (done <= 0) {
            return 0;
        }
        at += done;
        bytes -= (size_t)done;
    }
    return 1;
}

void port_close(int file)
{
    close(file);
}

void *port_memory(size_t *bytes)
{
    *bytes = sizeof memory;
    return memory;
}

size_t port_flash_bytes(void)
{
    extern const char __executable_start[], etext[];

    return (size_t)(etext - __executable_start) + (size_t)(port_image_end - port_image);
}

size_t port_static_bytes(void)
{
    extern const char __data_start[], end[];

    return (size_t)(end - __data_start) - sizeof memory;
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

/* On a stack of its own, where a handler still runs when the other one is full. */
static void fault(int number)
{
    const int access = number == SIGSEGV || number == SIGBUS;

    port_print(access ? "\nfault: bad access\n" : "\nfault: bad instruction\n");
    port_exit(PORT_FAULT_STATUS);
}

static void report_faults(void)
{
    static unsigned char stack[16 * 1024];
    const stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = fault, .sa_flags = SA_ONSTACK};

    sigaltstack(&other, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGTRAP, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
}

static __attribute__((noinline)) void paint_stack(void)
{
    stack_top = (volatile uint32_t *)__builtin_frame_address(0);
    stack_bottom = stack_top - STACK_BYTES / sizeof *stack_bottom;
    for (volatile uint32_t *word = stack_top - 64; word-- > stack_bottom;) {
        *word = PATTERN;
    }
}

int main(int argc, char **argv)
{
    report_faults();
    paint_stack();
    return port_main(argc, argv);
}
