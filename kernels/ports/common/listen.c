/* Samples to events on a board: what a device that listens does with the library, in order.
 *
 *   listen clip=FILE.wav [exit=N | entropy=THRESHOLD] [left=N hop=N ahead=N] [times=N]
 *
 * The clip, 16-bit mono PCM at the rate of the model, stands for a microphone: it comes in blocks of
 * 10 ms, `times` times over. The events are printed as they come, phrases with intent and slots where
 * the image says what may be said, and then what it took of RAM and flash.
 */
#include "device.h"
#include "ee_stream.h"
#include "port.h"
#include "runner.h"

/* Windows, in rows of 40 ms; of a model with chunks not read. They hold a command with what is around
 * it, decide as much as memory allows, and look back further than that, so that a pause does not cut
 * a word off from the silence ahead of it (docs/streaming.md). */
enum { LEFT = 41, HOP = 40, AHEAD = 12 };
/* Endpoint, in rows: 0.8 s after speech; no longer than 10 s. */
enum { AFTER = 20, LONGEST = 250 };
enum { BLOCKS_A_SECOND = 100, MAX_BLOCK = 480 /* 10 ms at 48 kHz; of higher rates, less */ };

/* The calling thread, with blocks of so few frames that a session needs little memory. */
enum { BLOCK_FRAMES = 16 };

static void run_alone(const ee_team *team, ee_task task, void *context, size_t items)
{
    (void)team;
    for (size_t item = 0; item < items; item++) {
        task(context, item, 0);
    }
}

static const ee_team alone = {1, BLOCK_FRAMES, run_alone};

static size_t number_of(int argc, char **argv, const char *key, size_t usual)
{
    const char *const text = runner_argument(argc, argv, key);

    return text != NULL ? (size_t)runner_number(text) : usual;
}

static void print_milliseconds(const char *name, int64_t samples, uint32_t rate)
{
    runner_print_count(name, (size_t)(samples * 1000 / rate));
}

/* What an event needs to be printed. */
typedef struct {
    const ee_image *image;
    size_t rows[EE_MAX_EXITS + 1]; /* final ones, by exit; 0: outside of runs */
} listener;

static void heard(void *context, const ee_stream_event *event)
{
    const listener *const l = context;
    const uint32_t rate = l->image->sample_rate;

    runner_print_text(event->final ? "final" : "so far", event->text);
    if (!event->final) {
        return;
    }
    runner_print_count("  exit", event->exit);
    print_milliseconds("  start ms", event->start, rate);
    print_milliseconds("  end ms", event->end, rate);
    runner_print_float("  confidence", event->confidence);
    if (event->accepted) {
        device_print_meaning(&l->image->phrases, &event->meaning);
    }
    if (event->endpoint) {
        port_print("endpoint\n");
    }
}

static void count_rows(void *context, const ee_output *rows)
{
    listener *const l = context;

    l->rows[rows->exit] += rows->rows;
}

/* Not inlined: where it begins, the plugin that counts instructions sees the work end. */
static __attribute__((noinline)) void report(const runner_memory *memory, const listener *l,
                                             size_t arena, size_t samples)
{
    for (uint32_t exit = 0; exit <= l->image->config.exits; exit++) {
        if (l->rows[exit] > 0) {
            runner_print_count("exit", exit);
            runner_print_count("  rows", l->rows[exit]);
        }
    }
    runner_print_count("samples", samples);
    runner_print_count("samples a second", l->image->sample_rate);
    device_print_memory(memory, arena, "  arena, model, samples");
}

/* Feeds the clip once; returns its samples. */
static size_t feed_clip(ee_stream *stream, const char *name, uint32_t rate, int16_t *block)
{
    const size_t wanted = rate / BLOCKS_A_SECOND + (rate % BLOCKS_A_SECOND != 0);
    const size_t most = wanted < MAX_BLOCK ? wanted : MAX_BLOCK;
    size_t count;
    const int file = device_open_clip(name, rate, &count);

    for (size_t fed = 0; fed < count;) {
        const size_t some = count - fed < most ? count - fed : most;

        if (!port_read(file, block, some * sizeof *block)) {
            runner_fail(name, "ends too early");
        }
        check(ee_stream_feed_s16(stream, block, some), "stream");
        fed += some;
    }
    port_close(file);
    return count;
}

int port_main(int argc, char **argv)
{
    const char *const clip = runner_argument(argc, argv, "clip");
    runner_memory memory = runner_memory_open();
    size_t bytes, samples = 0;
    ee_stream *stream;

    if (clip == NULL) {
        runner_fail("usage", "clip=FILE.wav [exit=N | entropy=THRESHOLD] "
                             "[left=N hop=N ahead=N] [times=N]");
    }
    const ee_image image = device_open_image(&memory, ee_ops_for(ee_isa_best()));
    listener l = {.image = &image};
    const ee_stream_config config = {
        .model = image.model,
        .frontend = &image.frontend,
        .labels = &image.labels,
        .phrases = image.phrases.graph.states > 0 ? &image.phrases : NULL,
        .team = &alone,
        .blank = image.blank,
        .left = (uint32_t)number_of(argc, argv, "left", LEFT),
        .hop = (uint32_t)number_of(argc, argv, "hop", HOP),
        .ahead = (uint32_t)number_of(argc, argv, "ahead", AHEAD),
        .after = AFTER,
        .longest = LONGEST,
        .filler = -1.0f,
        .policy = device_policy(argc, argv, &image.config),
        .heard = heard,
        .rows = count_rows,
        .context = &l,
    };
    int16_t *const block = runner_take(&memory, MAX_BLOCK * sizeof *block);

    check(ee_stream_size(&config, &bytes), "stream");
    void *const arena = runner_take(&memory, bytes);
    check(ee_stream_open(&stream, &config, arena, bytes), "stream");
    for (size_t times = number_of(argc, argv, "times", 1); times > 0; times--) {
        samples += feed_clip(stream, clip, image.sample_rate, block);
    }
    check(ee_stream_finish(stream), "stream");
    report(&memory, &l, bytes, samples);
    return 0;
}
