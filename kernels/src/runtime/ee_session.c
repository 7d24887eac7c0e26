#include "../common/ee_size.h"
#include "ee_model.h"

/* An arena, from its start: the session in SESSION_BYTES, x (rows, dim) rounded up to whole cache
 * lines, scratch. The scratch serves in turn the stem, the layers and the log-probabilities, which
 * is why those are valid only until the next step. */
struct ee_session {
    const ee_model *model;
    const ee_team *team;
    const float *features;
    float *x;
    void *scratch;
    size_t frames;      /* of mel */
    size_t rows;        /* encoder frames */
    size_t next_layer;  /* counted over all exits */
    uint32_t exit;      /* exits reached so far */
};

/* Fixed, so that a plan made on a PC holds on a target with smaller pointers. */
enum { SESSION_BYTES = 2 * EE_MEMORY_ALIGNMENT };
typedef char session_fits[sizeof(ee_session) <= SESSION_BYTES ? 1 : -1];

size_t ee_encoder_frames(const ee_config *config, size_t frames)
{
    const size_t halved = ee_stem_conv_f32_frames(frames, config->stem_kernel, config->stem_stride);

    return ee_stem_conv_f32_frames(halved, config->stem_kernel, config->stem_stride);
}

static size_t scratch_offset(const ee_config *config, size_t rows)
{
    const size_t x_bytes = ee_size_mul(ee_size_mul(rows, config->dim), sizeof(float));
    const size_t end = ee_size_add(SESSION_BYTES, x_bytes);

    const size_t beyond_line = end % EE_MEMORY_ALIGNMENT;

    return ee_size_add(end, beyond_line > 0 ? EE_MEMORY_ALIGNMENT - beyond_line : 0);
}

static int is_usable(const ee_team *team)
{
    return team == NULL
           || (team->workers > 0 && team->block_frames > 0 && team->run != NULL);
}

ee_status ee_arena_size(const ee_config *config, size_t frames, const ee_team *team, size_t *bytes)
{
    const ee_status status = ee_config_check(config);

    if (status != EE_OK) {
        return status;
    }
    if (bytes == NULL || !is_usable(team)) {
        return EE_ERR_ARGUMENT;
    }
    const size_t rows = ee_encoder_frames(config, frames);
    if (rows > config->max_frames) {
        return EE_ERR_TOO_MANY_FRAMES;
    }
    const size_t scratch =
        rows > 0 ? ee_graph_for(config)->scratch(config, frames, rows, team) : 0;
    const size_t total = ee_size_add(scratch_offset(config, rows), scratch);
    if (total == SIZE_MAX) {
        return EE_ERR_TOO_LARGE;
    }
    *bytes = total;
    return EE_OK;
}

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

ee_status ee_session_open(ee_session **session, const ee_model *model, const ee_team *team,
                          void *arena, size_t bytes, const float *features, size_t frames)
{
    size_t needed;

    if (session == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *session = NULL;
    if (model == NULL || arena == NULL || (features == NULL && frames > 0)) {
        return EE_ERR_ARGUMENT;
    }
    if (!ee_is_aligned(arena, EE_MEMORY_ALIGNMENT) || !ee_is_aligned(features, sizeof(float))) {
        return EE_ERR_ALIGNMENT;
    }
    const ee_config *const config = &model->config;
    const ee_status status = ee_arena_size(config, frames, team, &needed);
    if (status != EE_OK) {
        return status;
    }
    if (ee_size_mul(ee_size_mul(frames, config->mels), sizeof(float)) == SIZE_MAX) {
        return EE_ERR_TOO_LARGE;
    }
    if (bytes < needed) {
        return EE_ERR_ARENA_TOO_SMALL;
    }
    if (!all_finite(features, frames * config->mels)) {
        return EE_ERR_NOT_FINITE;
    }

    ee_session *const opened = arena;
    opened->model = model;
    opened->team = team;
    opened->features = features;
    opened->frames = frames;
    opened->rows = ee_encoder_frames(config, frames);
    opened->x = (float *)((char *)arena + SESSION_BYTES);
    opened->scratch = (char *)arena + scratch_offset(config, opened->rows);
    opened->next_layer = 0;
    opened->exit = 0;
    *session = opened;
    return EE_OK;
}

ee_status ee_session_step(ee_session *session)
{
    if (session == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_model *const model = session->model;
    const ee_config *const config = &model->config;
    const ee_graph *const graph = model->graph;

    if (session->exit == config->exits) {
        return EE_DONE;
    }
    const uint32_t exit = session->exit++;
    if (session->rows == 0) {
        return EE_OK;
    }
    if (exit == 0) {
        graph->stem(model, session->x, session->features, session->frames, session->rows,
                    session->scratch, session->team);
    }
    for (uint32_t l = 0; l < config->layers_per_exit[exit]; l++) {
        graph->layer(model, session->x, session->next_layer++, session->rows, session->scratch,
                     session->team);
    }
    graph->head(model, session->x, exit, session->rows, session->scratch, session->team);
    return EE_OK;
}

const float *ee_session_log_probs(const ee_session *session, size_t *rows)
{
    const int reached = session != NULL && session->exit > 0;

    if (rows != NULL) {
        *rows = reached ? session->rows : 0;
    }
    return reached ? session->scratch : NULL;
}

uint32_t ee_session_exit(const ee_session *session)
{
    return session != NULL ? session->exit : 0;
}
