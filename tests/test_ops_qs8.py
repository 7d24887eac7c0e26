"""int8 mode: the ops against a second reading of docs/numerics.md, their laws, and frozen bytes.

The reading below goes value by value over Python lists: float32 numbers are NumPy scalars, so that
every operation rounds once, and integers are Python's.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ee_ref import ops
from ee_ref.conformance.cases import cases_of, op_names, outputs
from ee_ref.conformance.draw import SMALL, Stream, random_features, random_int8_model
from ee_ref.encoder import ReferenceEncoder
from ee_ref.errors import ArgumentError, ShapeError
from ee_ref.exits import Entropy, frame_entropy
from ee_ref.ops import _exact
from ee_ref.ops._lines import lines
from tests.golden.gen_int8 import exits
from tests.support import FULL, GOLDEN, INT8_CLIPS, INT8_FULL, SMALL_CLIPS, SMALL_SEED, frozen

ALL = [pytest.param(op, case, id=f"{op}-{case.name}")
       for op in op_names("qs8") for case in cases_of(op)]

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 40)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "int8.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def small():
    return ReferenceEncoder(*random_int8_model(SMALL, SMALL_SEED))


# ---- Frozen bytes ----


@pytest.mark.parametrize("op, case", ALL)
def test_ops_give_the_frozen_bytes(op, case, golden):
    before = case.arguments()
    arguments = case.arguments()
    with np.errstate(all="raise", under="ignore"):
        found = outputs(op, getattr(ops, op)(**arguments))
    for number, (output, declared) in enumerate(zip(found, lines()[op].outputs, strict=True)):
        assert output.dtype == (np.int8 if declared.is_int8 else np.float32)
        assert np.isfinite(output).all()
        assert np.array_equal(frozen(output), golden[f"{op}/{case.name}/{number}"]), (
            f"{op}/{case.name}: output {number} has other bytes"
        )
    for name, value in before.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(arguments[name], value), f"{op}/{case.name}: {name} was changed"


@pytest.mark.parametrize("frames", SMALL_CLIPS)
def test_small_model_gives_the_frozen_bytes(frames, small, golden):
    features = random_features(frames, SMALL_SEED, SMALL.mels)
    assert_frozen(exits(f"small/{frames}", small, features), golden)


@pytest.mark.parametrize("seed, qk_gain", [
    INT8_FULL[0], *(pytest.param(*model, marks=pytest.mark.slow) for model in INT8_FULL[1:])])
def test_full_shape_gives_the_frozen_bytes(seed, qk_gain, golden):
    full = ReferenceEncoder(*random_int8_model(FULL, seed, qk_gain))
    for clip in INT8_CLIPS:
        features = random_features(clip.frames, clip.seed)
        assert_frozen(exits(f"full/{seed}/{qk_gain}/{clip.frames}", full, features), golden)


def assert_frozen(found: dict[str, np.ndarray], golden: dict[str, np.ndarray]) -> None:
    for name, value in found.items():
        assert np.array_equal(value, golden[name]), f"{name} has other bytes"


# ---- A second reading of docs/numerics.md ----

F = np.float32


def by_bits(bits: int) -> np.float32:
    return F(struct.unpack("<f", struct.pack("<I", bits))[0])


def round_by_hand(x) -> int:
    """Nearest integer to a float32, ties to even: Python rounds fractions so."""
    return round(Fraction(float(x)))


def sum_by_hand(values) -> np.float32:
    lanes = [F(0)] * 8
    for i, value in enumerate(values):
        lanes[i % 8] = lanes[i % 8] + value
    for apart in (4, 2, 1):
        lanes = [lanes[j] + lanes[j + apart] for j in range(apart)]
    return lanes[0]


def exp_by_hand(x) -> np.float32:
    x = F(-87) if x < -87 else F(88) if x > 88 else F(x)
    n = round_by_hand(x * F("1.44269504"))
    r = (x - F(n) * F("0.693359375")) - F(n) * F("-2.12194440e-4")
    p = F("1.9875691500e-4")
    for coefficient in ("1.3981999507e-3", "8.3334519073e-3", "4.1665795894e-2",
                        "1.6666665459e-1", "5.0000001201e-1"):
        p = p * r + F(coefficient)
    return (p * (r * r) + r + F(1)) * F(2.0**n)


def log_by_hand(x) -> np.float32:
    m, e = math.frexp(x)  # x = m 2**e, 1/2 <= m < 1
    if F(m) < by_bits(0x3F3504F3):
        m, e = 2 * m, e - 1
    m, e = F(m) - F(1), F(e)
    y = F("7.0376836292e-2")
    for coefficient in ("-1.1514610310e-1", "1.1676998740e-1", "-1.2420140846e-1",
                        "1.4249322787e-1", "-1.6668057665e-1", "2.0000714765e-1",
                        "-2.4999993993e-1", "3.3333331174e-1"):
        y = y * m + F(coefficient)
    z = m * m
    y = y * m * z + e * F("-2.12194440e-4") - F(0.5) * z
    return m + y + e * F("0.693359375")


def quantize_by_hand(row) -> tuple[list[int], np.float32]:
    largest = max((abs(x) for x in row), default=F(0))
    if largest < F(2.0**-40):
        return [0] * len(row), F(0)
    inverse = F(127) / largest
    return [round_by_hand(x * inverse) for x in row], largest / F(127)


def digits_by_hand(row) -> tuple[list[int], list[int], np.float32]:
    largest = max((abs(x) for x in row), default=F(0))
    if largest < F(2.0**-40):
        return [0] * len(row), [0] * len(row), F(0)
    inverse = F(16256) / largest
    high, low = zip(*(divmod(round_by_hand(x * inverse) + 64, 128) for x in row))
    return list(high), [digit - 64 for digit in low], largest / F(16256)


def linear_digits_by_hand(x, weight, weight_scale, bias) -> list[list[np.float32]]:
    rows = []
    for row in x:
        *digits, scale = digits_by_hand(row)
        rows.append([])
        for line, s, c in zip(weight, weight_scale, bias):
            high, low = (F(sum(a * int(b) for a, b in zip(digit, line))) for digit in digits)
            rows[-1].append((high * F(128) + low) * (scale * s) + c)
    return rows


def flush_by_hand(x) -> np.float32:
    return F(0) if abs(x) < F(2.0**-50) else x


def linear_by_hand(x, weight, weight_scale, bias) -> list[list[np.float32]]:
    rows = []
    for row in x:
        q, scale = quantize_by_hand(row)
        rows.append([
            F(sum(a * int(b) for a, b in zip(q, line))) * (scale * weight_scale[o]) + bias[o]
            for o, line in enumerate(weight)
        ])
    return rows


def layer_norm_by_hand(row, weight, bias, eps) -> list[np.float32]:
    one_over_dim = F(1) / F(len(row))
    mean = sum_by_hand(row) * one_over_dim
    centred = [flush_by_hand(x - mean) for x in row]
    inverse = F(1) / np.sqrt(sum_by_hand([c * c for c in centred]) * one_over_dim + F(eps))
    return [flush_by_hand(c * inverse * w) + b for c, w, b in zip(centred, weight, bias)]


def gelu_by_hand(x) -> np.float32:
    limit = F("5.361")
    c = min(max(x, -limit), limit)
    square = c * c
    above, below = F("2.2777778e-08"), F("1.2086717e-06")
    for coefficient in ("6.4901874e-6", "1.7624798e-4", "4.72229e-3", "3.4490373e-2", "0.39894208"):
        above = above * square + F(coefficient)
    for coefficient in ("7.6503995e-5", "1.9253895e-3", "2.9026909e-2", "0.2531188", "1"):
        below = below * square + F(coefficient)
    return flush_by_hand(x * (min(max(c * above / below, F(-0.5)), F(0.5)) + F(0.5)))


def group_norm_by_hand(column, weight, bias, eps) -> list[np.float32]:
    mean, squares = F(0), F(0)
    for n in range(0, len(column), 256):
        block = column[n : n + 256]
        b = len(block)
        total = own = F(0)
        for x in block:
            total = total + x
        own_mean = total * (F(1) / F(b))
        for x in block:
            own = own + flush_by_hand(x - own_mean) * flush_by_hand(x - own_mean)
        apart = flush_by_hand(own_mean - mean)
        mean = mean + apart * (F(b) / F(n + b))
        squares = squares + own + apart * apart * (F(n) * F(b) / F(n + b))
    inverse = F(1) / np.sqrt(squares * (F(1) / F(len(column))) + F(eps))
    return [flush_by_hand(flush_by_hand(x - mean) * inverse * weight) + bias for x in column]


def grouped_conv_by_hand(x, weight, weight_scale, bias, groups) -> list[list[np.float32]]:
    frames, dim = x.shape
    width = dim // groups
    kernel = weight.shape[1] // width
    y = [list(bias) for _ in range(frames)]
    for first in range(0, dim, width):
        *digits, scale = digits_by_hand(x[:, first : first + width].ravel())
        for t in range(frames):
            for o in range(first, first + width):
                sums = [0, 0]
                for j in range(kernel):
                    for i in range(width):
                        u = t + j - kernel // 2
                        if 0 <= u < frames:
                            for d in (0, 1):
                                sums[d] += digits[d][u * width + i] * int(weight[o, j * width + i])
                y[t][o] = (F(sums[0]) * F(128) + F(sums[1])) * (scale * weight_scale[o]) + bias[o]
    return y


def gates_by_hand(x, weight, weight_scale, bias, scale) -> list[list[np.float32]]:
    """A row a frame, a gate a head."""
    found = []
    for row in x:
        found.append([])
        for own, c in zip(np.split(row, len(scale)), scale):
            (z,) = linear_digits_by_hand([own], weight, weight_scale, bias)
            u, r = (F(1) / (F(1) + exp_by_hand(-(a + b + c + d))) for a, b, c, d in (z[:4], z[4:]))
            found[-1].append(u * (r * c - F(1)) + F(2))
    return found


def softmax_by_hand(row, value_scales) -> tuple[list[int], np.float32]:
    exponentials = [exp_by_hand(x - max(row)) for x in row]
    weights = [e * scale for e, scale in zip(exponentials, value_scales)]
    top = max(weights)
    if top < F(2.0**-80):
        return [0] * len(row), F(0)
    p = [round_by_hand(w * (F(16256) / top)) for w in weights]
    return p, top / F(16256) / sum_by_hand(exponentials)


def attention_by_hand(x, in_weight, in_weight_scale, in_bias, out_weight, out_weight_scale,
                      out_bias, heads, chunk=0, left=0, past=None, gates=None, distances=None
                      ) -> tuple[list[list[np.float32]], list[list[np.float32]]]:
    frames, dim = x.shape
    width = dim // heads
    qkv = linear_by_hand(x, in_weight, in_weight_scale, in_bias)
    kv = [row[dim:] for row in qkv]
    by_frame = dict(enumerate(kv))  # those of the past have frames -1, -2, ...
    by_frame |= {-n: row for n, row in enumerate(reversed([] if past is None else past), 1)}
    context = [[F(0)] * dim for _ in range(frames)]
    for first in range(0, dim, width):
        for t, row in enumerate(qkv):
            start = t // chunk * chunk if chunk else 0
            seen = [by_frame[u] for u in range(start - left, start + (chunk or frames))
                    if u in by_frame]
            keys, values = (
                [quantize_by_hand(line[part + first : part + first + width]) for line in seen]
                for part in (0, dim))
            q, q_scale = quantize_by_hand(row[first : first + width])
            gain = q_scale * (F(1) / np.sqrt(F(width)))
            scores = [F(sum(a * b for a, b in zip(q, k))) * (gain * k_scale) for k, k_scale in keys]
            if gates is not None:
                bias = distances[first // width]
                scores = [score + gates[t][first // width] * bias[u - t + frames - 1]
                          for u, score in enumerate(scores)]
            p, scale = softmax_by_hand(scores, [v_scale for _, v_scale in values])
            for d in range(width):
                high = F(sum((a >> 7) * v[d] for a, (v, _) in zip(p, values)))
                low = F(sum((a & 127) * v[d] for a, (v, _) in zip(p, values)))
                context[t][first + d] = (high * F(128) + low) * scale
    return linear_by_hand(context, out_weight, out_weight_scale, out_bias), kv


def same(found, expected) -> bool:
    """Equal to the bit: +0 is not -0."""
    found, expected = np.asarray(found), np.array(expected, np.float32).reshape(found.shape)
    return found.dtype == np.float32 and found.tobytes() == expected.tobytes()


@given(st.floats(-(2.0**22), 2.0**22, width=32))
@example(0.5)
@example(-2.5)
@example(-0.0)
def test_round_even(x):
    found = _exact.round_even(np.array([x], np.float32))
    assert same(found, [round_by_hand(x)])  # a zero is +0


@given(floats)
@example(-87.0)
@example(88.0)
@example(-0.0)
@example(2.0**-149)
def test_exp(x):
    found = _exact.exp(np.array([x], np.float32))
    assert same(found, [exp_by_hand(x)])
    exact = math.exp(min(max(x, -87), 88))
    assert abs(float(found[0]) - exact) <= 8.2e-8 * exact


def test_exp_of_zero_is_one():
    assert same(_exact.exp(np.array([0.0, -0.0], np.float32)), [1, 1])


@given(st.floats(2.0**-126, allow_infinity=False, width=32))
@example(1.0)
@example(float(by_bits(0x3F3504F3)))
@example(float(by_bits(0x3F3504F2)))
def test_log(x):
    found = _exact.log(np.array([x], np.float32))
    assert same(found, [log_by_hand(x)])
    assert abs(float(found[0]) - math.log(x)) <= 8.2e-8 * abs(math.log(x))


@given(st.lists(floats.filter(lambda x: abs(x) < 1e36), min_size=1, max_size=40), st.integers(0, 9))
def test_sum(values, zeros):
    x = np.array(values, np.float32)
    found = _exact.row_sum(x[None])
    assert same(found, [sum_by_hand(x)])
    padded = np.concatenate([x, np.full(-len(x) % 8, -0.0, np.float32)])
    assert same(_exact.row_sum(padded[None]), found)


@given(floats)
@example(2.0**-50)
@example(-(2.0**-50))
@example(float(np.nextafter(F(2.0**-50), F(0))))
@example(-0.0)
@example(2.0**-149)
def test_flush(x):
    assert same(_exact.flush(np.array([x], np.float32)), [flush_by_hand(F(x))])


def test_maximum_of_zeros_is_positive():
    x = np.array([[-0.0, 0.0, -1.0], [0.0, -0.0, -1.0], [-0.0, -0.0, -1.0]], np.float32)
    assert same(_exact.row_max(x), np.zeros(3))


@given(st.lists(floats, min_size=1, max_size=20))
@example([2.0**-41, -(2.0**-149)])
@example([127, 0.5, -0.5, 1.5, 2.5])
@example([float(np.finfo(np.float32).max), -float(np.finfo(np.float32).max)])
def test_quantize(values):
    x = np.array([values], np.float32)
    with np.errstate(all="raise", under="ignore"):
        q, scale = ops.quantize_qs8(x)
    expected, expected_scale = quantize_by_hand(x[0])
    assert q.dtype == np.int8 and q[0].tolist() == expected
    assert same(scale, [expected_scale])
    assert q.min() >= -127
    if expected_scale:
        assert np.abs(q).max() == 127
        error = np.abs(x.astype(np.float64) - q * scale[:, None].astype(np.float64))
        assert error.max() <= 0.50001 * float(expected_scale)


@given(st.lists(floats, min_size=1, max_size=20))
@example([2.0**-41, -(2.0**-149)])
@example([16256, 0.5, -0.5, 1.5, 63.5, 64.5, -64.5, -65.5])
@example([float(np.finfo(np.float32).max), -float(np.finfo(np.float32).max)])
def test_quantize_digits(values):
    x = np.array([values], np.float32)
    with np.errstate(all="raise", under="ignore"):
        high, low, scale = ops.quantize_digits_qs8(x)
    expected = digits_by_hand(x[0])
    assert high.dtype == low.dtype == np.int8
    assert (high[0].tolist(), low[0].tolist()) == expected[:2] and same(scale, [expected[2]])
    assert high.min() >= -127 and low.min() >= -64 and low.max() <= 63
    if scale[0]:
        p = high.astype(np.float64) * 128 + low
        assert np.abs(p).max() == 16256
        assert np.abs(x - p * scale[:, None]).max() <= 0.51 * float(scale[0])


@given(seed=seeds, size=sizes, shift=st.integers(-20, 60), order=st.randoms())
def test_quantize_follows_sign_scale_and_order(seed, size, shift, order):
    x = Stream(seed)(3, size)
    q, scale = ops.quantize_qs8(x)
    negated, _ = ops.quantize_qs8(-x)
    assert np.array_equal(negated, -q)
    scaled, other = ops.quantize_qs8(x * F(2.0**shift))
    assert np.array_equal(scaled, q) and same(other, scale * F(2.0**shift))
    columns = np.array(order.sample(range(size), size))
    assert np.array_equal(ops.quantize_qs8(x[:, columns])[0], q[:, columns])


@given(seed=seeds, rows=st.integers(1, 4), ins=sizes, outs=st.integers(1, 5))
def test_linear(seed, rows, ins, outs):
    draw = Stream(seed)
    x, weight, scale = draw(rows, ins), draw.int8(outs, ins), draw(outs, low=0.001, high=0.1)
    x[0] *= F(0)
    found = ops.linear_qs8(*ops.quantize_qs8(x), weight, scale, draw.bias(outs))
    bias = Stream(seed)
    bias(rows, ins), bias.int8(outs, ins), bias(outs)
    assert same(found, linear_by_hand(x, weight, scale, bias.bias(outs)))


@pytest.mark.parametrize("columns", [1, 1023, 1024, 1025, 3000, 65536])
def test_integer_products_are_exact(columns):
    x = np.full((2, columns), 127, np.int8)
    x[1] = -127
    weight = np.concatenate([x, Stream(1).int8(2, columns)])
    expected = x.astype(np.int64) @ weight.T.astype(np.int64)
    found = _exact.integer_product(x, weight)
    assert found.dtype == np.int32 and np.array_equal(found, expected)


@given(seed=seeds, rows=st.integers(1, 3), size=sizes, scale=st.sampled_from([1e-4, 1.0, 1e4]))
def test_layer_norm(seed, rows, size, scale):
    draw = Stream(seed)
    x, (weight, bias) = draw(rows, size) * F(scale), draw.norm(size)
    expected = [layer_norm_by_hand(row, weight, bias, 1e-5) for row in x]
    assert same(ops.layer_norm_exact(x, weight, bias, 1e-5), expected)


@given(seed=seeds, rows=st.integers(1, 3), size=sizes, scale=st.sampled_from([1.0, 30.0, 1e4]))
def test_silu_glu_and_log_softmax(seed, rows, size, scale):
    x = Stream(seed)(rows, 2 * size, low=-scale, high=scale)
    assert same(ops.silu_exact(x), [[v / (F(1) + exp_by_hand(-v)) for v in row] for row in x])
    assert same(ops.glu_exact(x), [
        [flush_by_hand(a / (F(1) + exp_by_hand(-b))) for a, b in zip(row[:size], row[size:])]
        for row in x])
    expected = []
    for row in x:
        shifted = [v - max(row) for v in row]
        log_sum = log_by_hand(sum_by_hand([exp_by_hand(v) for v in shifted]))
        expected.append([v - log_sum for v in shifted])
    assert same(ops.log_softmax_exact(x), expected)


@given(floats)
@example(2.0**-49)
@example(-(2.0**-50))
@example(-0.0)
@example(5.36)
@example(-5.37)
@example(-1e38)
def test_gelu(x):
    found = ops.gelu_exact(np.array([[x]], np.float32))
    assert same(found, [gelu_by_hand(F(x))])
    exact = x * math.erfc(-x / math.sqrt(2)) / 2
    assert abs(float(found[0, 0]) - exact) <= 3.2e-7 * abs(x) + 2.0**-50


@given(seed=seeds, frames=st.integers(1, 600), offset=st.sampled_from([0.0, 8.0]),
       scale=st.sampled_from([2.0**-70, 1e-4, 1.0]))
def test_group_norm(seed, frames, offset, scale):
    draw = Stream(seed)
    x, (weight, bias) = draw(frames, 2) * F(scale) + F(offset), draw.norm(2)
    expected = [group_norm_by_hand(*column, 1e-5) for column in zip(x.T, weight, bias)]
    assert same(ops.group_norm_exact(x, weight, bias, 1e-5), np.transpose(expected))


@settings(max_examples=30)
@given(seed=seeds, frames=st.integers(0, 9), groups=st.integers(1, 3), width=st.integers(1, 4),
       kernel=st.integers(1, 8))
def test_grouped_conv(seed, frames, groups, width, kernel):
    draw, dim = Stream(seed), groups * width
    arguments = (draw(frames, dim), draw.int8(dim, kernel * width),
                 draw(dim, low=0.001, high=0.1), draw.bias(dim), groups)
    found = ops.grouped_conv_qs8(*arguments)
    assert found.shape == (frames, dim) and same(found, grouped_conv_by_hand(*arguments))


@given(seed=seeds, size=sizes, spread=st.sampled_from([0.0, 1.0, 8.0, 1e4]),
       shift=st.sampled_from([0.0, 2.0**-76, 2.0**-40, 1.0, 1e30]), zeros=st.integers(1, 41))
def test_softmax(seed, size, spread, shift, zeros):
    draw = Stream(seed)
    x = draw(2, size, low=-spread, high=spread)
    value_scale = draw(size, low=0.001, high=0.1) * F(shift)
    value_scale[::zeros] = 0
    high, low, scale = ops.softmax_qs8(x, value_scale)
    expected = [softmax_by_hand(row, value_scale) for row in x]
    assert high.dtype == low.dtype == np.int8 and min(high.min(), low.min()) >= 0
    assert (high * np.int32(128) + low).tolist() == [p for p, _ in expected]
    assert high.max(axis=1).tolist() == [127 if f else 0 for f in scale]
    assert same(scale, [f for _, f in expected])


@given(seed=seeds, frames=st.integers(1, 9), before=st.integers(0, 9), after=st.integers(0, 9),
       dim=st.integers(1, 5), kernel=st.sampled_from([1, 3, 7]), data=st.data())
def test_depthwise_conv(seed, frames, before, after, dim, kernel, data):
    ahead = data.draw(st.integers(0, kernel - 1))
    draw = Stream(seed)
    x, weight, bias = draw(before + frames + after, dim), draw(kernel, dim), draw.bias(dim)
    bias[0] = -0.0
    expected = [list(bias) for _ in range(frames)]
    for t in range(frames):
        for k in range(kernel):
            source = before + t + k - (kernel - 1 - ahead)
            if 0 <= source < len(x):
                expected[t] = [y + a * w for y, a, w in zip(expected[t], x[source], weight[k])]
    assert same(ops.depthwise_conv_exact(x, weight, bias, ahead, before, after), expected)


@given(seed=seeds, frames=st.integers(0, 9), channels=st.integers(1, 12), outs=st.integers(1, 4))
def test_stem_conv(seed, frames, channels, outs):
    draw = Stream(seed)
    x, weight = draw(frames, channels), draw.int8(outs, 3 * channels)
    scale, bias = draw(outs, low=0.001, high=0.1), draw.bias(outs)
    windows = [x[start : start + 3].ravel() for start in range(0, frames - 2, 2)]
    expected = linear_digits_by_hand(windows, weight, scale, bias)
    found = ops.stem_conv_qs8(x, weight, scale, bias)
    assert found.shape == (len(expected), outs) and same(found, expected)


@settings(max_examples=20)
@given(seed=seeds, frames=st.integers(1, 6), heads=st.integers(1, 3), width=st.integers(1, 4),
       gain=st.sampled_from([0.0, 1.0, 5.0]), chunk=st.integers(0, 7), left=st.integers(0, 7),
       past=st.integers(0, 6))
def test_attention(seed, frames, heads, width, gain, chunk, left, past):
    arguments = attention_arguments(seed, frames, heads, width, gain)
    arguments |= {"chunk": chunk, "left": left,
                  "past": Stream(seed + 1)(past, 2 * heads * width) if past else None}
    with np.errstate(all="raise", under="ignore"):
        found = ops.multi_head_attention_qs8(**arguments)
    for array, expected in zip(found, attention_by_hand(**arguments), strict=True):
        assert same(array, expected)


def attention_arguments(seed, frames, heads, width, gain=1.0) -> dict:
    draw, dim = Stream(seed), heads * width
    return {
        "x": draw(frames, dim, low=-gain, high=gain),
        "in_weight": draw.int8(3 * dim, dim),
        "in_weight_scale": draw(3 * dim, low=0.001, high=0.03),
        "in_bias": draw.bias(3 * dim),
        "out_weight": draw.int8(dim, dim),
        "out_weight_scale": draw(dim, low=0.001, high=0.03),
        "out_bias": draw.bias(dim),
        "heads": heads,
    }


@settings(max_examples=20)
@given(seed=seeds, frames=st.integers(1, 6), heads=st.integers(1, 3), width=st.integers(1, 4),
       gain=st.sampled_from([0.0, 1.0, 5.0]))
def test_gated_attention(seed, frames, heads, width, gain):
    arguments = attention_arguments(seed, frames, heads, width, gain)
    del arguments["heads"]
    draw = Stream(seed + 1)
    gate = {"gate_weight": draw.int8(8, width), "gate_weight_scale": draw(8, low=0.001, high=0.03),
            "gate_bias": draw.bias(8), "gate_scale": draw(heads, low=0.5, high=1.5)}
    distances = draw(heads, 2 * frames - 1, low=-2, high=2)
    expected, _ = attention_by_hand(**arguments, heads=heads, distances=distances,
                                    gates=gates_by_hand(arguments["x"], *gate.values()))
    assert same(ops.gated_attention_qs8(**arguments, **gate, distances=distances), expected)


@given(st.lists(st.lists(st.floats(-200, 0, width=32), min_size=5, max_size=5), max_size=20))
def test_frame_entropy(rows):
    log_probs = np.array(rows, np.float32).reshape(-1, 5)
    sums = [sum_by_hand([exp_by_hand(v) * v if v > -87 else F(0) for v in row])
            for row in log_probs]
    expected = F(0)
    if rows:
        expected = (F(0) - sum_by_hand(sums)) / (F(len(rows)) * F(5))
    assert frame_entropy(log_probs) == (float(expected) if expected >= F(2.0**-100) else 0)


@given(st.floats(2.0**-20, 1.0, width=32), st.sampled_from([-1, 0, 1]))
def test_entropy_decides_between_float32_numbers(threshold, step):
    class Out:
        exit = 1
        log_probs = np.log(np.full((3, 4), 0.25, np.float32))

    score = frame_entropy(Out.log_probs)
    limit = np.nextafter(F(score), F(step * 10 + score), dtype=np.float32)
    stop, found, margin = Entropy(float(limit))(Out())
    assert found == score and stop == (step >= 0) == (margin >= 0)
    assert Entropy(float(limit) * (1 + 1e-12))(Out())[0] == stop  # rounds to the same float32


# ---- Frames do not see in which block they are computed ----


@given(seed=seeds, rows=st.integers(2, 30), cut=st.integers(1, 29), order=st.randoms())
def test_rows_of_linear_layers_are_computed_each_by_itself(seed, rows, cut, order):
    for op in ("feed_forward_qs8", "exit_head_qs8"):
        arguments = next(case for case in cases_of(op) if case.name.startswith("dim_9")).arguments()
        x = Stream(seed)(rows, arguments["x"].shape[1])
        whole = getattr(ops, op)(**{**arguments, "x": x})
        parts = [getattr(ops, op)(**{**arguments, "x": part}) for part in (x[:cut], x[cut:])]
        assert same(whole, np.concatenate(parts))
        shuffled = np.array(order.sample(range(rows), rows))
        assert same(getattr(ops, op)(**{**arguments, "x": x[shuffled]}), whole[shuffled])


@given(seed=seeds, frames=st.integers(1, 30), order=st.randoms())
def test_attention_without_positions_follows_the_order_of_frames(seed, frames, order):
    """Up to the rounding of the sum of exponentials, which may tip an int8 value of the context."""
    from ee_ref.quantize import signal_to_noise

    arguments = attention_arguments(seed, frames, 3, 5, 3.0)
    shuffled = np.array(order.sample(range(frames), frames))
    y, _ = ops.multi_head_attention_qs8(**arguments)
    arguments["x"] = arguments["x"][shuffled]
    assert signal_to_noise(y[shuffled], ops.multi_head_attention_qs8(**arguments)[0]) > 40


# ---- The encoder ----


def test_small_model_stays_near_its_float32_twin(small):
    from ee_ref.conformance.draw import random_state_dict
    from ee_ref.convert import convert_state_dict
    from ee_ref.quantize import signal_to_noise

    config, tensors = convert_state_dict(random_state_dict(SMALL, SMALL_SEED), heads=SMALL.heads)
    tensors["stem.positions"] = Stream(SMALL_SEED)(SMALL.max_frames, SMALL.dim)
    features = random_features(70, SMALL_SEED, SMALL.mels)
    twin = ReferenceEncoder(config, tensors)
    for expected, found in zip(twin.exits(features), small.exits(features)):
        assert signal_to_noise(expected.log_probs, found.log_probs) > 30


def test_no_frames_and_one_frame(small):
    for frames, rows in ((6, 0), (7, 1)):
        found = list(small.exits(random_features(frames, 1, SMALL.mels)))
        assert [out.log_probs.shape for out in found] == [(rows, SMALL.vocab)] * SMALL.exits


def test_silence_gives_numbers(small):
    for out in small.exits(np.zeros((40, SMALL.mels), np.float32)):
        assert np.isfinite(out.log_probs).all()


@pytest.mark.parametrize("name", ["stem.conv1.weight", "stem.positions_scale",
                                  "group.2.layer.1.attn.in.weight_scale", "head.3.weight"])
def test_tensors_that_are_missing_or_of_another_type_are_named(name):
    config, tensors = random_int8_model(SMALL, SMALL_SEED)
    dtype = str(tensors[name].dtype)
    with pytest.raises(ShapeError, match=f"{name}: expected {dtype}.*found float64"):
        ReferenceEncoder(config, {**tensors, name: tensors[name].astype(np.float64)})
    del tensors[name]
    with pytest.raises(ArgumentError, match=f"{name}.*found none"):
        ReferenceEncoder(config, tensors)
