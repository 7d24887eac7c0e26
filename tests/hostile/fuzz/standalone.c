/* A target without libFuzzer: the inputs of a folder as they are, then RUNS changed ones, the same
 * on every machine.
 *
 *   image RUNS FOLDER [KEEP]
 *
 * An input that fails is written to the folder KEEP, the working folder by default. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

enum { MAX_SEEDS = 256, MOST_CHANGES = 3 };

typedef struct {
    unsigned char *data;
    size_t size;
} input;

static input seeds[MAX_SEEDS];
static size_t seed_count;
static unsigned char buffer[FUZZ_INPUT_BYTES];

static void stop(const char *what)
{
    perror(what);
    exit(2);
}

static int wanted(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void read_seeds(const char *folder)
{
    struct dirent **entries;
    const int count = scandir(folder, &entries, wanted, alphasort);
    char path[4096];

    if (count < 1 || count > MAX_SEEDS) {
        stop(folder);
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        FILE *const file = fopen(path, "rb");
        if (file == NULL) {
            stop(path);
        }
        input *const seed = &seeds[seed_count++];
        seed->size = fread(buffer, 1, sizeof(buffer), file);
        seed->data = malloc(seed->size + 1);
        memcpy(seed->data, buffer, seed->size);
        fclose(file);
        free(entries[i]);
    }
    free(entries);
}

/* Input `number` lies in `buffer`: first the seeds, then changed ones. */
static size_t make_input(unsigned long number)
{
    fuzz_random random = {number * 0x9E3779B97F4A7C15u};
    const input *const seed =
        &seeds[number < seed_count ? number : fuzz_below(&random, seed_count)];
    size_t size = seed->size;

    memcpy(buffer, seed->data, size);
    if (number >= seed_count) {
        for (uint32_t i = fuzz_below(&random, MOST_CHANGES) + 1; i > 0; i--) {
            size = fuzz_mutate(buffer, size, sizeof(buffer), &random);
        }
    }
    return size;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    const unsigned long runs = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
    struct shared {
        unsigned long number;
        double slowest;
    } *const shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (argc < 3 || shared == MAP_FAILED) {
        fprintf(stderr, "usage: %s RUNS FOLDER [KEEP]\n", argv[0]);
        return 2;
    }
    read_seeds(argv[2]);
    const double begin = now();
    const unsigned long count = seed_count + runs;
    const pid_t child = fork();
    if (child == 0) {
        for (; shared->number < count; shared->number++) {
            const size_t size = make_input(shared->number);
            const double start = now();
            alarm(FUZZ_SECONDS);
            fuzz_one(buffer, size);
            const double took = now() - start;
            shared->slowest = took > shared->slowest ? took : shared->slowest;
        }
        return 0;
    }
    int status = 1;
    while (child < 0 || (waitpid(child, &status, 0) < 0 && errno == EINTR)) {
        if (child < 0) {
            stop("fork");
        }
    }
    if (status == 0) {
        printf("%s: %lu inputs, %.1f s, the slowest %.3f s\n", argv[0], count, now() - begin,
               shared->slowest);
        return 0;
    }
    char path[4096];
    const char *const slash = strrchr(argv[0], '/');
    snprintf(path, sizeof(path), "%s/failed-%s-%lu", argc > 3 ? argv[3] : ".",
             slash != NULL ? slash + 1 : argv[0], shared->number);
    const size_t size = make_input(shared->number);
    FILE *const file = fopen(path, "wb");
    if (file == NULL || fwrite(buffer, 1, size, file) != size || fclose(file) != 0) {
        stop(path);
    }
    fprintf(stderr, "%s: input %lu failed (%s): %s\n", argv[0], shared->number,
            WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "too slow" : "a fault", path);
    return 1;
}
