#include <string.h>

#include "../common/ee_size.h"
#include "../common/ee_team.h"
#include "ee_graph.h"
#include "ee_session_rows.h"

/* What a group of a limited view has behind it, in rows of x. */
typedef struct {
    uint32_t seen; /* the rows that it has run begin before this one */
    uint32_t held; /* rows run since its caches were empty */
} progress;

/* An arena, from its start: the session in SESSION_BYTES; progress of every group; join, the
 * frames of features that the next row needs, and room for what makes rows of them, or all frames
 * where a row depends on all; caches of every group;
 * x (rows, dim); scratch. Each but `join` and x begins and ends at a cache line.
 *
 * x: rows that some group still lacks, each as the last group left it that has seen it, then the
 * block, then rows that are not ready. The scratch serves in turn the stem, the layers and the
 * head, which is why an output is valid only until the next step or feed. */
struct ee_session {
    const ee_model *model;
    const ee_team *team;
    progress *groups;
    float *join;
    char *caches;
    float *x;
    void *scratch;
    size_t capacity;   /* in frames of features */
    size_t joined;     /* frames in join */
    size_t before;     /* rows of the utterance before x[0] */
    size_t rows;       /* that the stem has made of x */
    size_t first, end; /* the block: rows first..end-1 of x */
    uint32_t exit;     /* reached of the block */
    uint32_t is_over;  /* the last feed has come */
    ee_output output;
};

/* Fixed, so that a plan made on a PC holds on a target with smaller pointers. */
enum { SESSION_BYTES = 3 * EE_MEMORY_ALIGNMENT };
typedef char session_fits[sizeof(ee_session) <= SESSION_BYTES ? 1 : -1];

/* ---- The plan ---- */

static size_t rows_of(ee_window window, size_t frames)
{
    return frames < window.span ? 0 : (frames - window.span) / window.hop + 1;
}

size_t ee_as_many_rows(const ee_config *config, size_t rows)
{
    (void)config;
    return rows;
}

/* Rows of the stem. */
static size_t stem_rows(const ee_config *config, size_t frames)
{
    return rows_of(ee_graph_for(config->architecture)->window(config), frames);
}

size_t ee_encoder_frames(const ee_config *config, size_t frames)
{
    return ee_graph_for(config->architecture)->frames(config, stem_rows(config, frames));
}

/* Rows before a block that x may have to keep: what the groups from `exit` on depend on. */
static size_t reach_from(const ee_config *config, uint32_t exit)
{
    const ee_graph *const graph = ee_graph_for(config->architecture);
    size_t rows = 0;

    for (; exit < config->exits; exit++) {
        rows = ee_size_add(rows, graph->reach(config, exit));
    }
    return rows;
}

/* Frames of join: fewer than a window, and those that make rows of each of these; or all. */
static size_t join_frames(const ee_config *config, size_t capacity)
{
    const ee_graph *const graph = ee_graph_for(config->architecture);

    return graph->is_whole ? capacity : 2 * (graph->window(config).span - 1);
}

/* Offsets of the parts of an arena. */
typedef struct {
    size_t join, caches, x, scratch, end;
} arena_plan;

static arena_plan plan_arena(const ee_config *config, size_t capacity, const ee_team *team)
{
    const ee_graph *const graph = ee_graph_for(config->architecture);
    const size_t rows = stem_rows(config, capacity);
    const size_t join = ee_size_mul(join_frames(config, capacity), config->mels);
    const size_t x_rows = ee_size_add(graph->x_rows(config, rows), reach_from(config, 1));
    arena_plan plan;

    plan.join = ee_whole_lines(SESSION_BYTES + config->exits * sizeof(progress));
    plan.caches = ee_whole_lines(ee_size_add(plan.join, ee_size_mul(join, sizeof(float))));
    plan.x = plan.caches;
    for (uint32_t e = 0; e < config->exits; e++) {
        plan.x = ee_size_add(plan.x, graph->cache_bytes(config, e));
    }
    plan.scratch = ee_whole_lines(
        ee_size_add(plan.x, ee_size_mul(ee_size_mul(x_rows, config->dim), sizeof(float))));
    plan.end = ee_size_add(plan.scratch, rows > 0 ? graph->scratch(config, rows, team) : 0);
    return plan;
}

/* Whether an utterance may have so many rows of the stem. */
static int has_positions(const ee_config *config, size_t rows)
{
    const size_t frames = ee_graph_for(config->architecture)->frames(config, rows);

    return config->positions == EE_POSITIONS_NONE || frames <= config->max_frames;
}

static int is_usable(const ee_team *team)
{
    return team == NULL
           || (team->workers > 0 && team->block_frames > 0 && team->run != NULL);
}

ee_status ee_arena_size(const ee_config *config, size_t capacity, const ee_team *team,
                        size_t *bytes)
{
    const ee_status status = ee_config_check(config);

    if (status != EE_OK) {
        return status;
    }
    if (bytes == NULL || !is_usable(team)) {
        return EE_ERR_ARGUMENT;
    }
    const size_t rows = stem_rows(config, capacity);
    if (!has_positions(config, rows)) {
        return EE_ERR_TOO_MANY_FRAMES;
    }
    const size_t end = plan_arena(config, capacity, team).end;
    if (end == SIZE_MAX || rows > UINT32_MAX / 2) {
        return EE_ERR_TOO_LARGE;
    }
    *bytes = end;
    return EE_OK;
}

ee_status ee_session_open(ee_session **session, const ee_model *model, const ee_team *team,
                          void *arena, size_t bytes, size_t capacity)
{
    size_t needed;

    if (session == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *session = NULL;
    if (model == NULL || arena == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (!ee_is_aligned(arena, EE_MEMORY_ALIGNMENT)) {
        return EE_ERR_ALIGNMENT;
    }
    const ee_config *const config = &model->config;
    const ee_status status = ee_arena_size(config, capacity, team, &needed);
    if (status != EE_OK) {
        return status;
    }
    if (bytes < needed) {
        return EE_ERR_ARENA_TOO_SMALL;
    }
    const arena_plan plan = plan_arena(config, capacity, team);
    char *const start = arena;
    ee_session *const opened = arena;

    memset(arena, 0, plan.join);
    opened->model = model;
    opened->team = team;
    opened->groups = (progress *)(void *)(start + SESSION_BYTES);
    opened->join = (float *)(void *)(start + plan.join);
    opened->caches = start + plan.caches;
    opened->x = (float *)(void *)(start + plan.x);
    opened->scratch = start + plan.scratch;
    opened->capacity = capacity;
    *session = opened;
    return EE_OK;
}

/* ---- The team: a block of frames never needs more scratch than was planned ---- */

/* A team that has another one do the work, in blocks of its own length. */
typedef struct {
    ee_team team;
    const ee_team *below;
} shorter_blocks;

static void run_below(const ee_team *team, ee_task task, void *context, size_t items)
{
    ee_run(((const shorter_blocks *)(const void *)team)->below, task, context, items);
}

/* The team for so many rows. Fewer rows than those of the capacity may be cut into fewer, longer
 * blocks, and these need more scratch than was planned. The stem has more rows inside than it
 * gives, so that its blocks may be longer than those. */
static const ee_team *team_for(const ee_session *s, size_t rows, shorter_blocks *shorter)
{
    const ee_config *const config = &s->model->config;
    const ee_graph *const graph = s->model->graph;
    const ee_window window = graph->window(config);
    const size_t planned = graph->scratch(config, stem_rows(config, s->capacity), s->team);
    const size_t inputs = window.span + rows * window.hop; /* no block is longer */
    const ee_team *team = s->team;

    shorter->below = s->team;
    shorter->team.workers = ee_workers(s->team);
    shorter->team.block_frames =
        ee_size_min(inputs, team != NULL ? team->block_frames : EE_BLOCK_FRAMES);
    shorter->team.run = run_below;
    while (graph->scratch(config, rows, team) > planned && shorter->team.block_frames > 1) {
        team = &shorter->team;
        shorter->team.block_frames--;
    }
    return team;
}

/* ---- Feeding ---- */

static int all_finite(const float *values, size_t count)
{
    /* Zero times a finite number is zero; times anything else it is NaN, which stays. Eight sums,
     * for one would wait for every addition. */
    float sums[8] = {0.0f};
    size_t i = 0;

    for (; count - i >= 8; i += 8) {
        for (size_t lane = 0; lane < 8; lane++) {
            sums[lane] += 0.0f * values[i + lane];
        }
    }
    for (; i < count; i++) {
        sums[0] += 0.0f * values[i];
    }
    for (size_t lane = 1; lane < 8; lane++) {
        sums[0] += sums[lane];
    }
    return sums[0] == 0.0f;
}

/* Leaves a block behind that was stepped: of its rows, and those before, x keeps what deeper groups
 * will need for rows to come. */
static void leave_block(ee_session *s)
{
    const ee_config *const config = &s->model->config;
    size_t gone = s->end;

    if (s->exit < config->exits) {
        const size_t reach = reach_from(config, s->exit);
        const size_t needed = s->end > reach ? s->end - reach : 0;
        const size_t seen = s->groups[config->exits - 1].seen;
        gone = ee_size_max(needed, seen);
    }
    memmove(s->x, s->x + gone * config->dim, (s->rows - gone) * config->dim * sizeof(float));
    for (uint32_t e = 0; e < config->exits; e++) {
        progress *const group = &s->groups[e];
        const int has_gap = group->seen < gone;

        group->seen = has_gap ? 0 : group->seen - (uint32_t)gone;
        group->held = has_gap ? 0 : group->held;
    }
    s->before += gone;
    s->rows -= gone;
    s->first = s->end -= gone;
    s->exit = 0;
}

/* The stem over so many frames of features, which make `count` rows. */
static void run_graph_stem(const ee_session *s, float *rows, const float *features, size_t frames,
                           size_t count)
{
    shorter_blocks shorter;

    if (count > 0) {
        s->model->graph->stem(s->model, rows, features, frames, count, s->scratch,
                              team_for(s, count, &shorter));
    }
}

void ee_session_stem(ee_session *session, float *rows, const float *features, size_t count)
{
    const ee_window window = session->model->graph->window(&session->model->config);

    run_graph_stem(session, rows, features, count * window.hop + window.span - window.hop, count);
}

static float *behind_rows(ee_session *s)
{
    return s->x + s->rows * s->model->config.dim;
}

/* Rows of the stem that lie behind those of x. */
static void add_rows(ee_session *s, size_t rows)
{
    s->model->graph->place(s->model, behind_rows(s), s->before + s->rows, rows);
    s->rows += rows;
}

/* Keeps the features; of the last ones, and all before them, the rows. */
static void run_whole_stem(ee_session *s, const float *features, size_t frames, int last)
{
    const size_t mels = s->model->config.mels;
    const int is_all = last && s->joined == 0;

    if (frames > 0 && !is_all) {
        memcpy(s->join + s->joined * mels, features, frames * mels * sizeof(float));
    }
    s->joined += frames;
    if (last) {
        const size_t rows = rows_of(s->model->graph->window(&s->model->config), s->joined);

        run_graph_stem(s, s->x, is_all ? features : s->join, s->joined, rows);
        add_rows(s, rows);
    }
}

/* Rows of what is joined and of the features; what the next row needs of both is joined then. */
static void run_stem(ee_session *s, const float *features, size_t frames)
{
    const ee_config *const config = &s->model->config;
    const ee_window window = s->model->graph->window(config);
    const size_t mels = config->mels, joined = s->joined;
    const size_t rows = rows_of(window, joined + frames);
    const size_t seam = ee_size_min(rows, joined / window.hop + (joined % window.hop != 0));
    const size_t next = rows * window.hop; /* where the next row begins */

    if (joined > 0) {
        const size_t copied = ee_size_min(frames, join_frames(config, s->capacity) - joined);
        memcpy(s->join + joined * mels, features, copied * mels * sizeof(float));
    }
    ee_session_stem(s, behind_rows(s), s->join, seam);
    add_rows(s, seam);
    if (rows > seam) {
        ee_session_stem(s, behind_rows(s), features + (seam * window.hop - joined) * mels,
                        rows - seam);
        add_rows(s, rows - seam);
    }
    s->joined += frames;
    s->joined -= next;
    if (next >= joined) {
        memcpy(s->join, features + (next - joined) * mels, s->joined * mels * sizeof(float));
    } else {
        memmove(s->join, s->join + next * mels, s->joined * mels * sizeof(float));
    }
}

/* What was fed last is all there is before the next feed, or ever. */
static void find_block(ee_session *s, int last)
{
    const size_t chunk = s->model->config.chunk;

    if (last) {
        s->is_over = 1;
        s->end = s->rows;
    } else if (chunk > 0) {
        s->end = s->first + (s->rows - s->first) / chunk * chunk;
    }
}

ee_status ee_session_feed(ee_session *session, const float *features, size_t frames, int last)
{
    if (session == NULL || (features == NULL && frames > 0)) {
        return EE_ERR_ARGUMENT;
    }
    ee_session *const s = session;
    const ee_config *const config = &s->model->config;
    const ee_window window = s->model->graph->window(config);
    const size_t stepped = s->exit > 0 ? s->end : s->first;
    const size_t waiting = (s->rows - stepped) * window.hop + s->joined; /* frames */

    if (s->is_over) {
        return EE_ERR_ENDED;
    }
    if (!ee_is_aligned(features, sizeof(float))) {
        return EE_ERR_ALIGNMENT;
    }
    if (frames > s->capacity - waiting
        || !has_positions(config,
                          s->before + s->rows + rows_of(window, s->joined + frames))) {
        return EE_ERR_TOO_MANY_FRAMES;
    }
    if (!all_finite(features, frames * config->mels)) {
        return EE_ERR_NOT_FINITE;
    }
    if (s->exit > 0) {
        leave_block(s);
    }
    if (s->model->graph->is_whole) {
        run_whole_stem(s, features, frames, last);
    } else if (frames > 0) {
        run_stem(s, features, frames);
    }
    find_block(s, last);
    return EE_OK;
}

ee_status ee_session_feed_rows(ee_session *session, const float *rows, size_t count, int last)
{
    ee_session *const s = session;
    const ee_config *const config = &s->model->config;
    const size_t waiting = s->rows - (s->exit > 0 ? s->end : s->first);

    if (s->is_over) {
        return EE_ERR_ENDED;
    }
    if (count > stem_rows(config, s->capacity) - waiting
        || !has_positions(config, s->before + s->rows + count)) {
        return EE_ERR_TOO_MANY_FRAMES;
    }
    if (s->exit > 0) {
        leave_block(s);
    }
    memcpy(behind_rows(s), rows, count * config->dim * sizeof(float));
    add_rows(s, count);
    find_block(s, last);
    return EE_OK;
}

/* ---- Steps ---- */

static void *cache_of(const ee_session *s, uint32_t exit)
{
    char *cache = s->caches;

    for (uint32_t e = 0; e < exit; e++) {
        cache += s->model->graph->cache_bytes(&s->model->config, e);
    }
    return cache;
}

/* The next group over all rows up to the end of the block that it lacks. */
static void run_group(ee_session *s)
{
    const ee_config *const config = &s->model->config;
    const ee_graph *const graph = s->model->graph;
    progress *const group = &s->groups[s->exit];
    const size_t reach = reach_from(config, s->exit);
    const size_t needed = s->first > reach ? s->first - reach : 0;
    const size_t most = stem_rows(config, s->capacity);
    ee_cache cache = {cache_of(s, s->exit), group->held};
    size_t row = group->seen;

    if (row < needed) {
        row = needed;
        cache.held = 0;
    }
    while (row < s->end) {
        /* More rows than a feed can bring are made up for in whole chunks. */
        const size_t left = s->end - row;
        const size_t rows = left > most ? most / config->chunk * config->chunk : left;
        shorter_blocks shorter;

        graph->group(s->model, s->exit, s->x + row * config->dim, rows, &cache, s->scratch,
                     team_for(s, rows, &shorter));
        row += rows;
        cache.held += rows;
    }
    group->seen = (uint32_t)s->end;
    /* No cache holds more than the largest `left`, and a stream has no end. */
    group->held = (uint32_t)ee_size_min(cache.held, EE_MAX_SIZE);
}

ee_status ee_session_step(ee_session *session)
{
    if (session == NULL) {
        return EE_ERR_ARGUMENT;
    }
    ee_session *const s = session;
    const ee_config *const config = &s->model->config;
    const size_t rows = s->end - s->first;

    if (rows == 0 && !s->is_over) {
        return EE_MORE;
    }
    if (s->exit == config->exits) {
        return EE_DONE;
    }
    ee_output *const out = &s->output;
    shorter_blocks shorter;

    if (rows > 0) {
        run_group(s);
    }
    out->exit = s->exit + 1;
    out->first = s->before + s->first;
    out->rows = s->model->graph->frames(config, rows);
    out->hidden = s->x + s->first * config->dim;
    s->model->graph->head(s->model, s->exit, out, out->hidden, rows, s->scratch,
                          rows > 0 ? team_for(s, rows, &shorter) : s->team);
    s->exit++;
    return EE_OK;
}

ee_status ee_session_output(const ee_session *session, ee_output *output)
{
    static const ee_output nothing;

    if (session == NULL || output == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *output = session->exit > 0 ? session->output : nothing;
    return session->exit > 0 ? EE_OK : EE_MORE;
}
