#include "../common/ee_size.h"
#include "../runtime/ee_session_rows.h"
#include "ee_stream_parts.h"

enum {
    LEAST_POWER = 64, /* of a value of 16 bits, on average: what is not above is silence */
    BLOCK_ROWS = 64,  /* of the gate */
    OVER_FLOOR = 2,
    ROWS_QUIET = 18, /* without a loud one: they end a run */
    ROWS_HELD = 16,  /* behind a label: deeper groups go on, whatever exit 1 hears */
    ROWS_PAUSE = 20, /* over which windows do not look back */
    ROWS_KEPT = 24,  /* but for these, before the end of the block */
    ROWS_SEAM = 6    /* of a pause that are left to the next block at most */
};

/* ---- The gate ---- */

static int is_loud(ee_gate *gate, uint64_t power, size_t span)
{
    const uint64_t least = (uint64_t)LEAST_POWER * span;

    if (power > least && (gate->lowest == 0 || power < gate->lowest)) {
        gate->lowest = power;
    }
    const uint64_t floor =
        gate->lowest > 0 && gate->lowest < gate->complete ? gate->lowest : gate->complete;
    if (++gate->rows == BLOCK_ROWS) {
        gate->complete = gate->lowest;
        gate->lowest = 0;
        gate->rows = 0;
    }
    return power > least && power > OVER_FLOOR * floor;
}

/* ---- Views ---- */

static uint32_t chunk_of(const ee_stream_config *config)
{
    return config->model->config.chunk;
}

size_t ee_block_rows(const ee_stream_config *config)
{
    const uint32_t chunk = chunk_of(config);

    return chunk > 0 ? chunk : (size_t)config->hop + config->ahead;
}

size_t ee_view_rows(const ee_stream_config *config)
{
    return ee_block_rows(config) + (chunk_of(config) > 0 ? 0 : config->left);
}

static ee_status open_session(ee_hearing *hearing, const ee_stream_config *config)
{
    return ee_session_open(&hearing->session, config->model, config->team, hearing->arena,
                           hearing->arena_bytes, hearing->capacity);
}

ee_status ee_hearing_open(ee_hearing *hearing, const ee_stream_config *config,
                          ee_stream_memory *memory)
{
    const ee_model *const model = config->model;
    const ee_window window = model->graph->window(&model->config);
    ee_hearing *const h = hearing;

    h->capacity =
        ee_size_add(window.span, ee_size_mul(ee_view_rows(config) - 1, window.hop));
    const ee_status status =
        ee_arena_size(&model->config, h->capacity, config->team, &h->arena_bytes);
    if (status != EE_OK) {
        return status;
    }
    h->arena = ee_stream_take(memory, h->arena_bytes, 1);
    h->last_label = -ROWS_HELD - 1;
    return memory->start != NULL ? open_session(h, config) : EE_OK;
}

/* ---- Blocks ---- */

static int has_label(const ee_output *out, size_t from, size_t to, uint32_t blank)
{
    for (size_t t = from; t < to; t++) {
        if (ee_best_label(out->data + t * out->columns, out->columns) != blank) {
            return 1;
        }
    }
    return 0;
}

/* Steps the session until the policy says stop, or nothing is heard in the rows from `begin` on. */
static ee_status listen(ee_stream *stream, size_t begin, ee_output *out)
{
    const ee_stream_config *const config = &stream->config;
    const ee_hearing *const h = &stream->hearing;
    const int is_held = h->block - h->last_label <= ROWS_HELD;
    int stop = 0;

    while (!stop) {
        float score;
        ee_status status = ee_session_step(h->session);

        if (status == EE_DONE) {
            break;
        }
        if (status == EE_OK) {
            status = ee_session_output(h->session, out);
        }
        if (status == EE_OK) {
            status = ee_policy_stop(&config->policy, out->exit, out->data, out->rows,
                                    out->columns, &stop, &score, config->model->ops);
        }
        if (status != EE_OK) {
            return status;
        }
        if (out->exit == 1 && !is_held && !has_label(out, begin, out->rows, config->blank)) {
            stop = 1;
        }
    }
    return EE_OK;
}

/* Feeds the rows of the stem from `start` on. */
static ee_status feed_rows(ee_stream *stream, int64_t start, int64_t end, int last)
{
    const ee_signal *const signal = &stream->signal;
    const size_t dim = stream->config.model->config.dim;
    const size_t count = (size_t)(end - start);
    const size_t at = (size_t)(start % (int64_t)signal->stem_rows);
    const size_t first = ee_size_min(count, signal->stem_rows - at);
    ee_session *const session = stream->hearing.session;

    if (first < count) {
        const ee_status status = ee_session_feed_rows(session, signal->stem + at * dim, first, 0);
        return status == EE_OK
                   ? ee_session_feed_rows(session, signal->stem, count - first, last)
                   : status;
    }
    return ee_session_feed_rows(session, signal->stem + at * dim, count, last);
}

/* Rows of a block that is not the last one of its run: up to the middle of the longest pause near
 * its end, the first of equals, or to ROWS_SEAM before the end of that. *pause: its rows. */
static size_t rows_up_to_pause(const ee_stream_config *config, const ee_output *out, size_t begin,
                               size_t *pause)
{
    const size_t end = (size_t)config->hop + config->ahead / 4;
    size_t rows = config->hop, length = 0;

    *pause = 0;
    for (size_t t = config->hop / 2; t < end; t++) {
        length = has_label(out, begin + t, begin + t + 1, config->blank) ? 0 : length + 1;
        if (length > *pause) {
            *pause = length;
            rows = t + 1 - ee_size_min(length / 2, ROWS_SEAM);
        }
    }
    return ee_size_max(rows, 1);
}

/* Decides the block that begins where the one before ended, from rows up to `end`. */
static ee_status hear(ee_stream *stream, int64_t end, int is_last)
{
    const ee_stream_config *const config = &stream->config;
    ee_hearing *const h = &stream->hearing;
    const int in_windows = chunk_of(config) == 0;
    int64_t start = h->block;
    ee_output out = {0};

    ee_status status = ee_signal_stem(&stream->signal, h->session, config->model->config.dim, end);
    if (status == EE_OK && in_windows) {
        start = h->block - (int64_t)config->left;
        start = start > h->begin ? start : h->begin;
        status = open_session(h, config);
    }
    if (status == EE_OK) {
        status = feed_rows(stream, start, end, in_windows || is_last);
    }
    const size_t begin = (size_t)(h->block - start);
    if (status == EE_OK) {
        status = listen(stream, begin, &out);
    }
    if (status != EE_OK) {
        return status;
    }
    const size_t rows = out.rows - begin;
    size_t final = rows, pause = 0;
    if (in_windows && !is_last) {
        final = rows_up_to_pause(config, &out, begin, &pause);
    }
    const float *const log_probs = out.data + begin * out.columns;

    for (size_t t = final; t-- > 0;) {
        if (has_label(&out, begin + t, begin + t + 1, config->blank)) {
            h->last_label = h->block + (int64_t)t;
            break;
        }
    }
    if (config->rows != NULL) {
        ee_output decided = out;
        decided.first = (size_t)h->block;
        decided.rows = final;
        decided.data = log_probs;
        decided.hidden = out.hidden + begin * config->model->config.dim;
        config->rows(config->context, &decided);
    }
    h->block += (int64_t)final;
    if (pause >= ROWS_PAUSE && h->begin < h->block - ROWS_KEPT) {
        h->begin = h->block - ROWS_KEPT;
    }
    return ee_speech_block(stream, log_probs, final, rows - final, out.exit);
}

/* Rows before `end` are outside of runs. */
static ee_status pass(ee_stream *stream, int64_t end)
{
    ee_hearing *const h = &stream->hearing;
    const size_t rows = (size_t)(end - h->block);

    if (stream->config.rows != NULL) {
        const ee_output decided = {
            .kind = EE_OUTPUT_LOG_PROBS, .first = (size_t)h->block, .rows = rows,
            .columns = stream->config.model->config.vocab,
        };
        stream->config.rows(stream->config.context, &decided);
    }
    h->block = end;
    return ee_speech_unheard(stream, rows);
}

static ee_status end_run(ee_stream *stream)
{
    ee_hearing *const h = &stream->hearing;
    const int64_t beyond = h->quiet > EE_ROWS_BESIDE ? h->quiet - EE_ROWS_BESIDE : 0;
    const int64_t end = stream->signal.rows - beyond;

    h->in_run = 0;
    return h->block < end ? hear(stream, end, 1) : EE_OK;
}

static ee_status begin_run(ee_stream *stream)
{
    ee_hearing *const h = &stream->hearing;

    h->in_run = 1;
    h->quiet = 0;
    h->begin = h->block;
    stream->signal.stemmed = h->block;
    return open_session(h, &stream->config);
}

ee_status ee_hearing_row(ee_stream *stream)
{
    ee_hearing *const h = &stream->hearing;
    ee_signal *const signal = &stream->signal;
    const int loud = is_loud(&h->gate, ee_signal_next(signal), signal->span);
    const int64_t rows = signal->rows, due = (int64_t)ee_block_rows(&stream->config);
    ee_status status = EE_OK;

    if (h->in_run) {
        h->quiet = loud ? 0 : h->quiet + 1;
    } else if (loud) {
        status = begin_run(stream);
    } else if (rows - h->block > EE_ROWS_BESIDE) {
        status = pass(stream, rows - EE_ROWS_BESIDE);
    }
    if (status == EE_OK && h->in_run && h->quiet == ROWS_QUIET) {
        status = end_run(stream);
        if (status == EE_OK && h->block < rows - EE_ROWS_BESIDE) {
            status = pass(stream, rows - EE_ROWS_BESIDE);
        }
    }
    while (status == EE_OK && h->in_run && h->block + due <= rows) {
        status = hear(stream, h->block + due, 0);
    }
    if (status == EE_OK && h->in_run && rows - signal->stemmed >= EE_STEM_ROWS) {
        /* Before their samples leave the memory. */
        status = ee_signal_stem(signal, h->session, stream->config.model->config.dim, rows);
    }
    return status;
}

ee_status ee_hearing_finish(ee_stream *stream)
{
    ee_hearing *const h = &stream->hearing;
    ee_status status = h->in_run ? end_run(stream) : EE_OK;

    if (status == EE_OK && h->block < stream->signal.rows) {
        status = pass(stream, stream->signal.rows);
    }
    return status;
}
