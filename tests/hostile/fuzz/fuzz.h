/* fuzz.h: what a target of this folder gives to its drivers, libfuzzer.c and standalone.c, and what
 * targets share. A target is a program of its own. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t state;
} fuzz_random;

/* Uses an input as the readers would. Whatever the input: no fault, and every EXPECT holds. */
void fuzz_one(const unsigned char *data, size_t size);

/* Changes an input of at most `capacity` bytes in place, knowing its format, and makes the
 * checksums agree, most of the time. Returns its new size. */
size_t fuzz_mutate(unsigned char *data, size_t size, size_t capacity, fuzz_random *random);

enum {
    FUZZ_INPUT_BYTES = 1 << 16,   /* of the longest input */
    FUZZ_MEMORY_BYTES = 16 << 20, /* of the largest piece of memory that a target gives */
    FUZZ_SECONDS = 10             /* that an input may take */
};

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Exactly this much memory, so that the sanitizer sees a byte too far, or NULL for more than a
 * target gives. */
static inline void *fuzz_memory(size_t bytes, size_t alignment)
{
    void *memory = NULL;

    if (bytes > FUZZ_MEMORY_BYTES) {
        return NULL;
    }
    EXPECT(posix_memalign(&memory, alignment, bytes) == 0 && memory != NULL);
    return memory;
}

static inline uint32_t fuzz_get(const unsigned char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static inline void fuzz_put(unsigned char *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline uint32_t fuzz_next(fuzz_random *random)
{
    random->state = random->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random->state >> 33) ^ (uint32_t)(random->state >> 60);
}

/* 0..count-1 */
static inline uint32_t fuzz_below(fuzz_random *random, size_t count)
{
    return (uint32_t)(fuzz_next(random) % count);
}

/* What a size or an offset should rather not be. */
static inline uint32_t fuzz_value(fuzz_random *random, uint32_t old)
{
    static const uint32_t EDGES[] = {0, 1, 2, 3, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x10001, 0x3FFFFFFF,
                                     0x7FFFFFFF, 0x80000000, 0xFFFFFFC0, 0xFFFFFFFF};

    switch (fuzz_below(random, 6)) {
    case 0:
        return EDGES[fuzz_below(random, sizeof(EDGES) / sizeof(EDGES[0]))];
    case 1:
        return old + fuzz_below(random, 9) - 4;
    case 2:
        return old + 64 * fuzz_below(random, 5) - 128;
    case 3:
        return old ^ (uint32_t)1 << fuzz_below(random, 32);
    case 4:
        return fuzz_below(random, 64);
    default:
        return fuzz_next(random) >> fuzz_below(random, 32);
    }
}

/* Bits of a float that arithmetic may stumble over. */
static inline uint32_t fuzz_float(fuzz_random *random)
{
    static const uint32_t EDGES[] = {0x7FC00000, 0xFFC00000, 0x7F800000, 0xFF800000, 0x7F7FFFFF,
                                     0x00000001, 0x80000000, 0x4B800000, 0xCB800000, 0x00800000};

    return fuzz_below(random, 2) ? EDGES[fuzz_below(random, sizeof(EDGES) / sizeof(EDGES[0]))]
                                 : fuzz_next(random) << 1;
}

/* Writes an odd float at a multiple of 4 of `size` bytes. */
static inline void fuzz_change_float(unsigned char *data, size_t size, fuzz_random *random)
{
    if (size >= 4) {
        fuzz_put(data + 4 * (size_t)fuzz_below(random, size / 4), fuzz_float(random));
    }
}

/* Changes a byte, if there is one. */
static inline void fuzz_change_byte(unsigned char *data, size_t size, fuzz_random *random)
{
    if (size > 0) {
        data[fuzz_below(random, size)] ^= (unsigned char)(1 + fuzz_below(random, 255));
    }
}

/* Any length up to `capacity`; what is new is zeros. */
static inline size_t fuzz_change_size(unsigned char *data, size_t size, size_t capacity,
                                      fuzz_random *random)
{
    size_t changed = size;

    switch (fuzz_below(random, 3)) {
    case 0:
        changed = fuzz_below(random, size + 1);
        break;
    case 1:
        changed = size + fuzz_below(random, 65);
        break;
    default:
        changed = size - (size > 64 ? fuzz_below(random, 65) : 0);
    }
    changed = changed < capacity ? changed : capacity;
    if (changed > size) {
        memset(data + size, 0, changed - size);
    }
    return changed;
}

#endif
