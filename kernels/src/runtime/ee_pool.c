/* Threads, mutexes, clocks and getpid in strict C99, and where threads run. */
#if defined(__linux__)
#define _GNU_SOURCE
#else
#define _POSIX_C_SOURCE 200809L
#endif

#include <string.h>

#include "../common/ee_memory.h"
#include "ee_pool.h"

#if !defined(EE_NO_THREADS) && (defined(__unix__) || defined(__APPLE__)) && defined(__GNUC__)

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

/* How long a thread looks for work before it sleeps: longer than anything that one worker does while
 * the others wait, and shorter than an utterance. To be woken takes tens of microseconds, or
 * milliseconds where the system puts the woken thread behind the one that woke it. */
enum { SPIN_NANOSECONDS = 1000000, LOOKS = 64 };

/* Kernels of hosts have up to 60 KB there, and some systems give a thread no more than 128. */
enum { STACK_BYTES = 1 << 20 };

typedef struct {
    ee_pool *pool;
    size_t number;
    pthread_t thread;
    /* Changed under the mutex. */
    unsigned char is_asleep;
#if defined(__linux__)
    unsigned char is_kept_off; /* some CPU of `cpus` */
    cpu_set_t cpus;
#endif
} pool_worker;

/* A piece of work: the caller writes task, context and items, then `remaining`. Who takes one off
 * `remaining` has an item to do, counted from the end, and until it is counted in `done` the caller
 * does not return: so what a worker reads after taking belongs to the work that it took of. */
struct ee_pool {
    ee_team team; /* first: the team of a pool is the pool */
    size_t started;
    pid_t process;
    pthread_mutex_t mutex;
    pthread_cond_t has_work, all_done;

    ee_task task;
    void *context;
    size_t items;
    unsigned char is_busy; /* some thread's work is going on */

    /* In a line of their own: all workers write them. */
    char line[EE_MEMORY_ALIGNMENT];
    size_t remaining, done;
    size_t sleepers; /* changed under the mutex */
    unsigned char caller_sleeps, is_closing;

    pool_worker workers[]; /* of which 0 is the caller */
};

static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Does items as long as there are some. */
static void work(ee_pool *pool, size_t worker)
{
    size_t remaining = __atomic_load_n(&pool->remaining, __ATOMIC_ACQUIRE);

    while (remaining > 0) {
        if (!__atomic_compare_exchange_n(&pool->remaining, &remaining, remaining - 1, 0,
                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            continue;
        }
        const size_t items = pool->items;

        pool->task(pool->context, items - remaining, worker);
        /* Sequentially consistent, as in run: the last one sees that the caller sleeps, or the
         * caller that all is done. */
        if (__atomic_add_fetch(&pool->done, 1, __ATOMIC_SEQ_CST) == items
            && __atomic_load_n(&pool->caller_sleeps, __ATOMIC_SEQ_CST)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->all_done);
            pthread_mutex_unlock(&pool->mutex);
        }
        remaining = __atomic_load_n(&pool->remaining, __ATOMIC_ACQUIRE);
    }
}

static int has_work_or_closes(const ee_pool *pool)
{
    return __atomic_load_n(&pool->remaining, __ATOMIC_SEQ_CST) > 0
           || __atomic_load_n(&pool->is_closing, __ATOMIC_SEQ_CST);
}

static int is_done(const ee_pool *pool)
{
    return __atomic_load_n(&pool->done, __ATOMIC_ACQUIRE) == pool->items;
}

static long long nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Looks until `happened`, or for SPIN_NANOSECONDS. Between looks other threads get this CPU: what is
 * waited for may be waiting for it. Returns whether it happened. */
static int spin_until(int (*happened)(const ee_pool *), const ee_pool *pool)
{
    const long long end = nanoseconds() + SPIN_NANOSECONDS;

    do {
        for (int look = 0; look < LOOKS; look++) {
            if (happened(pool)) {
                return 1;
            }
            pause_cpu();
        }
        sched_yield();
    } while (nanoseconds() < end);
    return 0;
}

#if defined(__linux__)

/* The scheduler may queue a woken thread on the CPU of its waker, which is about to work for long.
 * So the waker forbids a sleeper its own CPU, and the woken thread allows it again. Where that
 * fails, as on a single CPU, threads start later and nothing else changes. */
static void keep_off_this_cpu(pool_worker *worker)
{
    const int here = sched_getcpu();
    cpu_set_t others;

    if (worker->is_kept_off || here < 0 || here >= CPU_SETSIZE
        || pthread_getaffinity_np(worker->thread, sizeof worker->cpus, &worker->cpus) != 0) {
        return;
    }
    others = worker->cpus;
    CPU_CLR((size_t)here, &others);
    worker->is_kept_off =
        CPU_COUNT(&others) > 0
        && pthread_setaffinity_np(worker->thread, sizeof others, &others) == 0;
}

static void allow_all_cpus(pool_worker *self)
{
    if (self->is_kept_off) {
        self->is_kept_off = 0;
        pthread_setaffinity_np(self->thread, sizeof self->cpus, &self->cpus);
    }
}

#else

static void keep_off_this_cpu(pool_worker *worker)
{
    (void)worker;
}

static void allow_all_cpus(pool_worker *self)
{
    (void)self;
}

#endif

static void *work_until_closed(void *argument)
{
    pool_worker *const self = argument;
    ee_pool *const pool = self->pool;

    while (!__atomic_load_n(&pool->is_closing, __ATOMIC_ACQUIRE)) {
        work(pool, self->number);
        if (!spin_until(has_work_or_closes, pool)) {
            pthread_mutex_lock(&pool->mutex);
            self->is_asleep = 1;
            __atomic_add_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
            while (!has_work_or_closes(pool)) {
                pthread_cond_wait(&pool->has_work, &pool->mutex);
            }
            __atomic_sub_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
            self->is_asleep = 0;
            allow_all_cpus(self);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
    return NULL;
}

static void wake_sleepers(ee_pool *pool)
{
    if (__atomic_load_n(&pool->sleepers, __ATOMIC_SEQ_CST) > 0) {
        pthread_mutex_lock(&pool->mutex);
        for (size_t i = 1; i <= pool->started; i++) {
            if (pool->workers[i].is_asleep) {
                keep_off_this_cpu(&pool->workers[i]);
            }
        }
        pthread_cond_broadcast(&pool->has_work);
        pthread_mutex_unlock(&pool->mutex);
    }
}

static void wait_until_done(ee_pool *pool)
{
    if (spin_until(is_done, pool)) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    __atomic_store_n(&pool->caller_sleeps, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&pool->done, __ATOMIC_SEQ_CST) != pool->items) {
        pthread_cond_wait(&pool->all_done, &pool->mutex);
    }
    __atomic_store_n(&pool->caller_sleeps, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&pool->mutex);
}

static void run_alone(ee_task task, void *context, size_t items)
{
    for (size_t item = 0; item < items; item++) {
        task(context, item, 0);
    }
}

static void run(const ee_team *team, ee_task task, void *context, size_t items)
{
    ee_pool *const pool = (ee_pool *)(uintptr_t)team;

    if (items < 2 || pool->started == 0 || pool->process != getpid()
        || __atomic_exchange_n(&pool->is_busy, 1, __ATOMIC_ACQUIRE)) {
        run_alone(task, context, items);
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->items = items;
    __atomic_store_n(&pool->done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->remaining, items, __ATOMIC_SEQ_CST);
    wake_sleepers(pool);
    work(pool, 0);
    wait_until_done(pool);
    __atomic_store_n(&pool->is_busy, 0, __ATOMIC_RELEASE);
}

static ee_status start(ee_pool *pool)
{
    pool->process = getpid();
    if (pthread_mutex_init(&pool->mutex, NULL) != 0) {
        return EE_ERR_THREADS;
    }
    if (pthread_cond_init(&pool->has_work, NULL) != 0) {
        pthread_mutex_destroy(&pool->mutex);
        return EE_ERR_THREADS;
    }
    if (pthread_cond_init(&pool->all_done, NULL) != 0) {
        pthread_cond_destroy(&pool->has_work);
        pthread_mutex_destroy(&pool->mutex);
        return EE_ERR_THREADS;
    }
    pthread_attr_t attributes;
    int failed = pthread_attr_init(&attributes);

    if (!failed) {
        failed = pthread_attr_setstacksize(&attributes, STACK_BYTES);
        for (size_t i = 1; !failed && i < pool->team.workers; i++) {
            pool_worker *const worker = &pool->workers[i];

            worker->pool = pool;
            worker->number = i;
            failed = pthread_create(&worker->thread, &attributes, work_until_closed, worker);
            pool->started += !failed;
        }
        pthread_attr_destroy(&attributes);
    }
    if (failed) {
        ee_pool_close(pool);
        return EE_ERR_THREADS;
    }
    return EE_OK;
}

void ee_pool_close(ee_pool *pool)
{
    /* In a child process there is nobody to wait for, and the mutex may be locked for good. */
    if (pool == NULL || pool->process != getpid()) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    __atomic_store_n(&pool->is_closing, 1, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&pool->has_work);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 1; i <= pool->started; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->all_done);
    pthread_cond_destroy(&pool->has_work);
    pthread_mutex_destroy(&pool->mutex);
}

static size_t pool_bytes(size_t workers)
{
    return sizeof(ee_pool) + workers * sizeof(pool_worker);
}

#else

struct ee_pool {
    ee_team team;
};

static void run(const ee_team *team, ee_task task, void *context, size_t items)
{
    (void)team;
    for (size_t item = 0; item < items; item++) {
        task(context, item, 0);
    }
}

static ee_status start(ee_pool *pool)
{
    return pool->team.workers > 1 ? EE_ERR_THREADS : EE_OK;
}

void ee_pool_close(ee_pool *pool)
{
    (void)pool;
}

static size_t pool_bytes(size_t workers)
{
    (void)workers;
    return sizeof(ee_pool);
}

#endif

ee_status ee_pool_size(size_t workers, size_t *bytes)
{
    if (bytes == NULL || workers < 1 || workers > EE_MAX_WORKERS) {
        return EE_ERR_ARGUMENT;
    }
    *bytes = pool_bytes(workers);
    return EE_OK;
}

ee_status ee_pool_open(void *memory, size_t bytes, size_t workers, ee_pool **pool)
{
    size_t needed;

    if (pool == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *pool = NULL;
    ee_status status = ee_pool_size(workers, &needed);
    if (status == EE_OK) {
        status = ee_check_memory(memory, bytes, needed, EE_ERR_BUFFER_TOO_SMALL);
    }
    if (status != EE_OK) {
        return status;
    }
    ee_pool *const opened = memory;

    memset(memory, 0, needed);
    opened->team.workers = workers;
    opened->team.block_frames = EE_POOL_BLOCK_FRAMES;
    opened->team.run = run;
    status = start(opened);
    if (status == EE_OK) {
        *pool = opened;
    }
    return status;
}

const ee_team *ee_pool_team(const ee_pool *pool)
{
    return pool != NULL ? &pool->team : NULL;
}

void ee_pool_set_block_frames(ee_pool *pool, size_t frames)
{
    pool->team.block_frames = frames;
}
