/* The pool of threads: every item once and by one worker at a time, shared by several threads,
 * after fork(), and layers whose bytes do not depend on it. `make check-tsan` looks for races. */
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"
#include "ee_pool.h"

enum { MOST_ITEMS = 40, CALLERS = 4, ROUNDS = 300 };

static void *aligned_memory(size_t bytes)
{
    void *memory = NULL;

    if (posix_memalign(&memory, EE_MEMORY_ALIGNMENT, bytes + 1) != 0) {
        exit(2);
    }
    return memory;
}

static ee_pool *open_pool(size_t workers, void **memory)
{
    size_t bytes = 0;
    ee_pool *pool = NULL;

    CHECK(ee_pool_size(workers, &bytes) == EE_OK, "%zu workers", workers);
    *memory = aligned_memory(bytes);
    CHECK(ee_pool_open(*memory, bytes, workers, &pool) == EE_OK, "%zu workers", workers);
    if (pool == NULL) {
        exit(check_result("check_pool"));
    }
    return pool;
}

static void check_open(void)
{
    size_t bytes = 0;
    ee_pool *pool = (ee_pool *)&bytes;

    CHECK(ee_pool_size(0, &bytes) == EE_ERR_ARGUMENT, "no workers");
    CHECK(ee_pool_size(EE_MAX_WORKERS + 1, &bytes) == EE_ERR_ARGUMENT, "too many workers");
    CHECK(ee_pool_size(2, NULL) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_pool_size(2, &bytes) == EE_OK, "two workers");
    char *const memory = aligned_memory(bytes);
    CHECK(ee_pool_open(memory, bytes, 2, NULL) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_pool_open(NULL, bytes, 2, &pool) == EE_ERR_ARGUMENT && pool == NULL, "no memory");
    CHECK(ee_pool_open(memory, bytes, 0, &pool) == EE_ERR_ARGUMENT, "no workers");
    CHECK(ee_pool_open(memory + 8, bytes, 2, &pool) == EE_ERR_ALIGNMENT, "misaligned");
    CHECK(ee_pool_open(memory, bytes - 1, 2, &pool) == EE_ERR_BUFFER_TOO_SMALL, "too small");
    CHECK(ee_pool_team(NULL) == NULL, "no pool");
    ee_pool_close(NULL);
    free(memory);
}

/* Plain integers: two threads at one of them would be a race. */
typedef struct {
    const ee_team *team;
    int item_count[MOST_ITEMS];
    int worker_count[EE_MAX_WORKERS];
    int nested;
    int is_slow;
} tally;

static void nothing_task(void *context, size_t item, size_t worker)
{
    (void)context;
    (void)item;
    (void)worker;
}

static void count_task(void *context, size_t item, size_t worker)
{
    tally *const t = context;

    if (t->is_slow && worker > 0) {
        usleep(300); /* the caller is done before, and waits */
    }
    t->item_count[item]++;
    t->worker_count[worker]++;
    if (t->nested) {
        t->team->run(t->team, nothing_task, NULL, 3);
    }
}

static int is_right(const ee_team *team, size_t items, int nested, int is_slow)
{
    tally t = {.team = team, .nested = nested, .is_slow = is_slow};
    size_t done = 0;

    team->run(team, count_task, &t, items);
    for (size_t i = 0; i < MOST_ITEMS; i++) {
        if (t.item_count[i] != (i < items)) {
            return 0;
        }
    }
    for (size_t w = 0; w < team->workers; w++) {
        done += (size_t)t.worker_count[w];
    }
    return done == items;
}

static void check_items(size_t workers)
{
    void *memory;
    ee_pool *const pool = open_pool(workers, &memory);
    const ee_team *const team = ee_pool_team(pool);

    CHECK(team->workers == workers && team->block_frames == EE_POOL_BLOCK_FRAMES, "team");
    ee_pool_set_block_frames(pool, 7);
    CHECK(team->block_frames == 7, "another block");
    ee_pool_set_block_frames(pool, EE_POOL_BLOCK_FRAMES);
    for (int round = 0; round < ROUNDS; round++) {
        const size_t items = (size_t)round % (MOST_ITEMS + 1);
        CHECK(is_right(team, items, round % 7 == 0, round % 5 == 0), "%zu workers, %zu items",
              workers, items);
        if (round % 50 == 0) {
            usleep(2000); /* long enough for all to sleep */
        }
    }
    ee_pool_close(pool);
    free(memory);
}

static void *call(void *team)
{
    size_t right = 0;

    for (int round = 0; round < ROUNDS; round++) {
        right += (size_t)is_right(team, 1 + (size_t)round % MOST_ITEMS, 0,
                                  round % 50 == 0);
    }
    return (void *)right;
}

static void check_callers(size_t workers)
{
    void *memory;
    ee_pool *const pool = open_pool(workers, &memory);
    pthread_t threads[CALLERS];

    for (int i = 0; i < CALLERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, call,
                             (void *)(uintptr_t)ee_pool_team(pool)) == 0, "thread");
    }
    for (int i = 0; i < CALLERS; i++) {
        void *right;
        pthread_join(threads[i], &right);
        CHECK((size_t)right == ROUNDS, "%zu workers, caller %d: %zu right", workers, i,
              (size_t)right);
    }
    ee_pool_close(pool);
    free(memory);
}

static void check_fork(void)
{
    void *memory;
    ee_pool *const pool = open_pool(3, &memory);
    int status = -1;

    CHECK(is_right(ee_pool_team(pool), MOST_ITEMS, 0, 1), "before");
    const pid_t child = fork();
    if (child == 0) {
        alarm(20); /* a child that hangs is ended, and the check fails */
        const int right = is_right(ee_pool_team(pool), MOST_ITEMS, 1, 0);
        ee_pool_close(pool);
        _exit(right ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0, "child: %d", status);
    CHECK(is_right(ee_pool_team(pool), MOST_ITEMS, 0, 1), "after");
    ee_pool_close(pool);
    free(memory);
}

/* A layer of each arithmetic on the pool has the bytes of the calling thread alone. */
static void check_layers(size_t rows, const ee_view *view)
{
    enum { DIM = 20, HEADS = 4, FF = 36, KERNEL = 5, MATRIX = 3 * DIM * 48 };
    static float floats[MATRIX];
    static int8_t matrix[MATRIX] __attribute__((aligned(16)));
    const ee_ops *const ops = ee_ops_for(ee_isa_best());
    guarded x = random_floats(rows * DIM, 1.0f);
    guarded expected = guarded_floats(rows * DIM), out = guarded_floats(rows * DIM);
    ee_conformer_weights_f32 f32;
    ee_conformer_weights_qs8 qs8;

    for (size_t i = 0; i < MATRIX; i++) {
        floats[i] = random_float() * 0.1f;
        matrix[i] = (int8_t)(random_float() * 127.0f);
    }
    for (size_t i = 0; i < sizeof(f32) / sizeof(const float *); i++) {
        ((const float **)(void *)&f32)[i] = floats;
    }
    for (size_t i = 0; i < sizeof(qs8) / sizeof(const void *); i++) {
        ((const void **)(void *)&qs8)[i] = floats;
    }
    qs8.ff1_up_weight = qs8.ff1_down_weight = qs8.attn_in_weight = qs8.attn_out_weight = matrix;
    qs8.conv_in_weight = qs8.conv_out_weight = qs8.ff2_up_weight = qs8.ff2_down_weight = matrix;

    for (int mode = 0; mode < 2; mode++) {
        for (size_t workers = 0; workers <= 5; workers++) {
            void *memory = NULL;
            ee_pool *const pool = workers > 0 ? open_pool(workers, &memory) : NULL;
            const ee_team *const team = ee_pool_team(pool);
            guarded *const to = workers > 0 ? &out : &expected;
            const size_t bytes =
                mode == 0 ? sizeof(float) * ee_conformer_layer_f32_scratch(view, rows, DIM, HEADS,
                                                                           FF, KERNEL, team)
                          : ee_conformer_layer_qs8_scratch(view, rows, DIM, HEADS, FF, KERNEL,
                                                           team);
            guarded scratch = guarded_floats(bytes / sizeof(float));

            for (int again = 0; again < 3; again++) {
                if (mode == 0) {
                    ee_conformer_layer_f32_c(to->data, x.data, &f32, NULL, view, rows, DIM, HEADS,
                                             FF, KERNEL, 1e-5f, scratch.data, ops->f32, team);
                } else {
                    ee_conformer_layer_qs8_c(to->data, x.data, &qs8, NULL, view, rows, DIM, HEADS,
                                             FF, KERNEL, 1e-5f, scratch.data, ops->qs8, team);
                }
                CHECK(workers == 0 || memcmp(out.data, expected.data, out.count * sizeof(float))
                      == 0, "mode %d, %zu rows, %zu workers: other bytes", mode, rows, workers);
            }
            ee_pool_close(pool);
            guarded_free(&scratch);
            free(memory);
        }
    }
    guarded_free(&x);
    guarded_free(&expected);
    guarded_free(&out);
}

int main(void)
{
    check_open();
    for (size_t workers = 1; workers <= 6; workers++) {
        check_items(workers);
        check_callers(workers);
    }
    check_fork();
    for (size_t rows = 1; rows <= 161; rows += 40) {
        check_layers(rows, &(const ee_view){0, 0, 2});
        check_layers(rows, &(const ee_view){13, 20, 2});
    }
    return check_result("check_pool");
}
