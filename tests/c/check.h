/* check.h: what the plain C checks share. A check that fails says where and is counted. */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int failures;
static int checks;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        checks++;                                                                                  \
        if (!(condition)) {                                                                        \
            failures++;                                                                            \
            fprintf(stderr, "%s:%d: failed: %s: ", __FILE__, __LINE__, #condition);                \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
        }                                                                                          \
    } while (0)

static inline int check_result(const char *name)
{
    printf("%s: %d checks, %d failed\n", name, checks, failures);
    return failures != 0;
}

/* Memory that ends where an unreadable page begins: one byte too far, read or written, is a fault.
 * Before it lie SENTINELS floats of a value that no kernel computes. */
enum { SENTINELS = 16 };
static const float SENTINEL = -12345.678f;

typedef struct {
    void *pages;
    size_t mapped;
    float *data;
    size_t count;
} guarded;

static inline guarded guarded_floats(size_t count)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = (count + SENTINELS) * sizeof(float);
    guarded g;

    g.mapped = (bytes + page - 1) / page * page + page;
    g.pages = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.pages == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    char *const end = (char *)g.pages + g.mapped - page;
    if (mprotect(end, page, PROT_NONE) != 0) {
        perror("mprotect");
        exit(2);
    }
    g.data = (float *)(void *)end - count;
    g.count = count;
    for (size_t i = 0; i < count + SENTINELS; i++) {
        g.data[i - SENTINELS] = SENTINEL;
    }
    return g;
}

static inline void guarded_free(guarded *g)
{
    munmap(g->pages, g->mapped);
}

static inline int sentinels_intact(const guarded *g)
{
    for (size_t i = 1; i <= SENTINELS; i++) {
        if (g->data[-(ptrdiff_t)i] != SENTINEL) {
            return 0;
        }
    }
    return 1;
}

/* Uniform in [-1, 1), the same everywhere. */
static inline float random_float(void)
{
    static uint32_t state = 2309;

    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 8388608.0f - 1.0f;
}

static inline guarded random_floats(size_t count, float scale)
{
    guarded g = guarded_floats(count);

    for (size_t i = 0; i < count; i++) {
        g.data[i] = random_float() * scale;
    }
    return g;
}

#endif
