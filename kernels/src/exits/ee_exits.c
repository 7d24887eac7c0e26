#include "ee_exits.h"

#include <float.h>
#include <math.h>

#include "../common/ee_exact.h"

/* An entropy: 0 where rounding made it negative, or so small that its quotient may be subnormal. */
static float clipped(float entropy)
{
    return entropy >= 0x1p-100f ? entropy : 0.0f;
}

ee_status ee_frame_entropy(float *entropy, const float *log_probs, size_t rows, size_t vocab,
                           const ee_ops *ops)
{
    float lanes[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};

    if (entropy == NULL || ops == NULL || (log_probs == NULL && rows > 0)) {
        return EE_ERR_ARGUMENT;
    }
    *entropy = 0.0f;
    if (rows == 0 || vocab == 0) {
        return EE_OK;
    }
    for (size_t i = 0; i < rows * vocab; i++) {
        if (log_probs[i] != log_probs[i]) {
            return EE_ERR_NOT_FINITE;
        }
    }
    for (size_t t = 0; t < rows; t++) {
        float sum;

        ops->exit_row(&sum, log_probs + t * vocab, vocab);
        lanes[t % 8] += sum;
    }
    const float mean = (0.0f - ee_sum_lanes(lanes)) / ((float)rows * (float)vocab);
    if (!ee_is_finite(mean)) {
        return EE_ERR_NOT_FINITE;
    }
    *entropy = clipped(mean);
    return EE_OK;
}

ee_status ee_policy_stop(const ee_policy *policy, uint32_t exit, const float *log_probs,
                         size_t rows, size_t vocab, int *stop, float *score,
                         const ee_ops *ops)
{
    ee_status status = EE_OK;

    if (policy == NULL || stop == NULL || score == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *stop = 0;
    *score = 0.0f;
    switch (policy->kind) {
    case EE_POLICY_FIXED:
        if (policy->exit < 1) {
            return EE_ERR_CONFIG;
        }
        *score = (float)exit;
        *stop = exit >= policy->exit;
        return EE_OK;
    case EE_POLICY_ENTROPY:
        if (!(policy->threshold >= 0.0f) || !ee_is_finite(policy->threshold)) {
            return EE_ERR_CONFIG;
        }
        status = ee_frame_entropy(score, log_probs, rows, vocab, ops);
        *stop = status == EE_OK && *score <= policy->threshold;
        return status;
    }
    return EE_ERR_CONFIG;
}

/* The lead of a best phrase counts up to here: phrases further behind are not found. */
static const float MAX_MARGIN = 10.0f;

/* Rounding may lift a log-probability above zero by about this much; logits are far beyond it. */
static const float ROUNDING = 1e-3f;

static float at_most_1(float x)
{
    return x < 1.0f ? x : 1.0f;
}

/* The next token of a greedy alignment from frame *t on, or `blank` at its end; *t moves past the
 * first frame of it. */
static uint32_t next_token(const uint32_t *labels, size_t rows, uint32_t blank, size_t *t)
{
    for (; *t < rows; (*t)++) {
        const uint32_t label = labels[*t];

        if (label != blank && (*t == 0 || labels[*t - 1] != label)) {
            (*t)++;
            return label;
        }
    }
    return blank;
}

static uint32_t same_tokens(const uint32_t *a, const uint32_t *b, size_t rows, uint32_t blank)
{
    size_t i = 0, j = 0;

    for (;;) {
        const uint32_t token = next_token(a, rows, blank, &i);

        if (token != next_token(b, rows, blank, &j)) {
            return 0;
        }
        if (token == blank) {
            return 1;
        }
    }
}

/* The probabilities of tokens at their emission frames, one after another. */
typedef struct {
    float lanes[8], least;
    uint32_t tokens;
} confidences;

static void add_confidence(confidences *found, float log_prob)
{
    const float p = at_most_1(ee_exp(log_prob));

    found->lanes[found->tokens % 8] += p;
    found->least = p < found->least ? p : found->least;
    found->tokens++;
}

ee_status ee_exit_scores(ee_scores *scores, uint32_t *labels, const uint32_t *before,
                         const float *log_probs, size_t rows, size_t vocab, uint32_t blank,
                         const ee_ops *ops)
{
    const ee_scores none = {0.0f, 0.0f, 0.0f, 1.0f, 1.0f, 1.0f, 1.0f, 0.0f, 0, 0};
    float all[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    float spoken[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    float highest[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    confidences found = {{0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f}, 1.0f, 0};
    size_t speech = 0, agreed = 0;
    uint32_t last = blank;
    float peak = 0.0f; /* of the run of the token `last` so far */

    if (scores == NULL || ops == NULL || (rows > 0 && (log_probs == NULL || labels == NULL))
        || (labels != NULL && before == labels)) {
        return EE_ERR_ARGUMENT;
    }
    if (vocab < 2 || blank >= vocab) {
        return EE_ERR_CONFIG;
    }
    int refused = 0;

    for (size_t i = 0; i < rows * vocab; i++) {
        refused |= !(log_probs[i] <= ROUNDING);
    }
    if (refused) {
        return EE_ERR_NOT_FINITE;
    }
    *scores = none;
    if (rows == 0) {
        scores->agreement = before != NULL ? 1.0f : 0.0f;
        scores->same = before != NULL;
        return EE_OK;
    }
    for (size_t t = 0; t < rows; t++) {
        const float *const row = log_probs + t * vocab;
        float sum;
        const uint32_t label = ops->exit_row(&sum, row, vocab);

        all[t % 8] += sum;
        highest[t % 8] += row[label];
        agreed += before != NULL && before[t] == label;
        if (label != last && last != blank) {
            add_confidence(&found, peak);
        }
        if (label != blank) {
            spoken[t % 8] += sum;
            speech++;
            peak = label == last && peak > row[label] ? peak : row[label];
        }
        last = label;
        labels[t] = label;
    }
    if (last != blank) {
        add_confidence(&found, peak);
    }
    const float frames = (float)rows;
    const float log_vocab = ee_log((float)vocab);
    const float total = 0.0f - ee_sum_lanes(all);

    scores->entropy = clipped(total / (frames * (float)vocab));
    scores->entropy_normalised = clipped(total / (frames * log_vocab));
    if (speech > 0) {
        scores->entropy_speech = clipped(
            (0.0f - ee_sum_lanes(spoken)) / ((float)speech * log_vocab));
    }
    scores->path = at_most_1(ee_exp(ee_sum_lanes(highest) / frames));
    if (found.tokens > 0) {
        scores->least_confidence = found.least;
        scores->mean_confidence = ee_sum_lanes(found.lanes) / (float)found.tokens;
    }
    scores->blank_share = (frames - (float)speech) / frames;
    if (before != NULL) {
        scores->agreement = (float)agreed / frames;
        scores->same = same_tokens(before, labels, rows, blank);
    }
    scores->tokens = found.tokens;
    return EE_OK;
}

ee_status ee_patience_stop(uint32_t exits, uint32_t *in_a_row, const ee_scores *scores, int *stop)
{
    if (in_a_row == NULL || scores == NULL || stop == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *stop = 0;
    if (exits < 1) {
        return EE_ERR_CONFIG;
    }
    *in_a_row = scores->same ? *in_a_row + 1 : 0;
    *stop = *in_a_row >= exits;
    return EE_OK;
}

ee_status ee_deadline_stop(const ee_deadline *deadline, float elapsed, float group, float cost,
                           float next_cost, float *rate, int *stop, float *missing)
{
    if (deadline == NULL || rate == NULL || stop == NULL || missing == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *stop = 0;
    *missing = 0.0f;
    if (!(deadline->limit >= 0.0f) || !(deadline->safety >= 1.0f) || !(deadline->reserve >= 0.0f)
        || !(elapsed >= 0.0f) || !(group >= 0.0f) || !(cost > 0.0f) || !(next_cost >= 0.0f)
        || !(*rate >= 0.0f)) {
        return EE_ERR_CONFIG;
    }
    const float now = group / cost;

    *rate = now > *rate ? now : *rate;
    *missing = ((elapsed + (*rate * next_cost) * deadline->safety) + deadline->reserve)
        - deadline->limit;
    *stop = *missing >= 0.0f;
    return EE_OK;
}

static int within(float x, float low, float high)
{
    return x >= low && x <= high; /* no NaN */
}

ee_status ee_phrase_judge(const ee_phrase_confidence *confidence, size_t found, float best,
                          float next, size_t letters, ee_phrase_scores *scores, int *accepted)
{
    const float most = 10000.0f, sure = 80.0f; /* beyond it the sigmoid may be subnormal */

    if (confidence == NULL || scores == NULL || accepted == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *accepted = 0;
    if (!within(confidence->bias, -most, most) || !within(confidence->free, 0.0f, most)
        || !within(confidence->margin, 0.0f, most) || !within(confidence->threshold, 0.0f, 1.0f)
        || (found > 0 && (!within(best, -FLT_MAX, 0.0f) || letters == 0))
        || (found > 1 && !within(next, -FLT_MAX, best))) {
        return EE_ERR_CONFIG;
    }
    if (found == 0) {
        scores->free = -INFINITY;
        scores->margin = 0.0f;
        scores->confidence = 0.0f;
        return EE_OK;
    }
    const float free = best / ((float)letters * sqrtf(sqrtf((float)letters)));
    const float lead = found > 1 ? best - next : MAX_MARGIN;
    const float margin = lead < MAX_MARGIN ? lead : MAX_MARGIN;
    float odds = (confidence->bias + confidence->free * free) + confidence->margin * margin;

    odds = odds > -sure ? odds : -sure;
    odds = odds < sure ? odds : sure;
    scores->free = free;
    scores->margin = margin;
    scores->confidence = 1.0f / (1.0f + ee_exp(0.0f - odds));
    *accepted = scores->confidence >= confidence->threshold;
    return EE_OK;
}

ee_status ee_phrase_stop(const ee_phrase_rule *rule, const ee_phrase_scores *scores, int *stop)
{
    if (rule == NULL || scores == NULL || stop == NULL) {
        return EE_ERR_ARGUMENT;
    }
    *stop = 0;
    if (!within(rule->free, -FLT_MAX, 0.0f) || !within(rule->margin, 0.0f, MAX_MARGIN)) {
        return EE_ERR_CONFIG;
    }
    *stop = scores->free >= rule->free && scores->margin >= rule->margin;
    return EE_OK;
}
