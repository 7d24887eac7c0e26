/* What C compilers may call without being asked, and what the conformance suite's side of a port
 * takes: wasm/string.c. */
#ifndef EE_WASM_STRING_H
#define EE_WASM_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);
size_t strcspn(const char *text, const char *stops);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t most);
char *strchr(const char *text, int wanted);
char *strstr(const char *text, const char *wanted);

#endif
