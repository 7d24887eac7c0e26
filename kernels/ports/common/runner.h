/* runner.h: what the runners share: memory without a heap, arguments, numbers on the console. */
#ifndef RUNNER_H
#define RUNNER_H

#include <stddef.h>
#include <stdint.h>

/* The free RAM of the board, given out from its start in pieces aligned to 64 bytes. */
typedef struct {
    unsigned char *start;
    size_t bytes;
    size_t used;
    size_t peak; /* the most that was ever used */
} runner_memory;

runner_memory runner_memory_open(void);

/* Ends the program with a message when `bytes` are not left. */
void *runner_take(runner_memory *memory, size_t bytes);

/* The value of an argument "key=value", or NULL. */
const char *runner_argument(int argc, char **argv, const char *key);

/* A decimal number such as "12" or "0.125", rounded to float32 once. Ends the program on others. */
float runner_number(const char *text);

/* Gives back what was taken since `used` was this. */
void runner_release(runner_memory *memory, size_t used);

/* Ends the program with "error: what: why". */
void runner_fail(const char *what, const char *why) __attribute__((noreturn));

/* "name: value" and a new line; the float with six decimals. */
void runner_print_text(const char *name, const char *text);
void runner_print_count(const char *name, size_t value);
void runner_print_float(const char *name, float value);

int runner_equal(const char *a, const char *b);

#endif
