#include "ee_exits.h"

#include "../ee_exact.h"

/* SUM over v of exp(l[v]) * l[v], where that is not 0 */
static float row_sum(const float *log_probs, size_t vocab)
{
    float lanes[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};

    for (size_t v = 0; v < vocab; v++) {
        if (log_probs[v] > -87.0f) {
            lanes[v % 8] += ee_exp(log_probs[v]) * log_probs[v];
        }
    }
    return ee_sum_lanes(lanes);
}

ee_status ee_frame_entropy(float *entropy, const float *log_probs, size_t rows, size_t vocab)
{
    float lanes[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};

    if (entropy == NULL || (log_probs == NULL && rows > 0)) {
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
        lanes[t % 8] += row_sum(log_probs + t * vocab, vocab);
    }
    const float mean = (0.0f - ee_sum_lanes(lanes)) / ((float)rows * (float)vocab);
    if (!ee_is_finite(mean)) {
        return EE_ERR_NOT_FINITE;
    }
    *entropy = mean > 0.0f ? mean : 0.0f;
    return EE_OK;
}

ee_status ee_policy_stop(const ee_policy *policy, uint32_t exit, const float *log_probs,
                         size_t rows, size_t vocab, int *stop, float *score)
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
        status = ee_frame_entropy(score, log_probs, rows, vocab);
        *stop = status == EE_OK && *score <= policy->threshold;
        return status;
    }
    return EE_ERR_CONFIG;
}
