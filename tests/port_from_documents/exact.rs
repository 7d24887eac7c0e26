//! numerics.md, "Arithmetic". Rust rounds each f32 operation once and never fuses or reorders any,
//! so every line of the page is one line here.

/// A hexadecimal float of the page: its digits without the point, how many are behind the point,
/// and its exponent. Exact, and folded by the compiler.
#[inline(always)]
fn hex(digits: i32, behind: i32, exponent: i32) -> f32 {
    digits as f32 * power_of_two(exponent - 4 * behind)
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// To the nearest integer, ties to even; |x| <= 2^22.
#[inline]
pub fn round(x: f32) -> f32 {
    if cfg!(fault = "round") {
        return x.round(); // ties away from zero: the suite must notice
    }
    let magic = hex(0x18, 1, 23);
    (x + magic) - magic
}

/// SUM: eight lanes, then a tree.
#[inline]
pub fn sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0f32; 8];
    for (i, value) in values.enumerate() {
        let lane = if cfg!(fault = "sum") { 0 } else { i % 8 }; // one lane: the suite must notice
        lanes[lane] += value;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// FLUSH
pub fn flush(x: f32) -> f32 {
    if x.abs() < power_of_two(-50) { 0.0 } else { x }
}

/// MAX: a zero is +0.
pub fn max(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max) + 0.0
}

pub fn exp(x: f32) -> f32 {
    let x = x.max(-87.0).min(88.0);
    let n = round(x * hex(0x1_715476, 6, 0));
    let r = (x - n * hex(0x1_63, 2, -1)) - n * hex(-0x1_bd0106, 6, -13);
    let mut p = hex(0x1_a0d2ce, 6, -13);
    p = p * r + hex(0x1_6e879c, 6, -10);
    p = p * r + hex(0x1_11121, 5, -7);
    p = p * r + hex(0x1_555382, 6, -5);
    p = p * r + hex(0x1_555554, 6, -3);
    p = p * r + hex(0x1, 0, -1);
    let y = (p * (r * r) + r) + 1.0;
    y * power_of_two(n as i32)
}

pub fn gelu(x: f32) -> f32 {
    let limit = hex(0x1_571aa, 5, 2);
    let c = x.max(-limit).min(limit);
    let z = c * c;
    let mut p = hex(0x1_8751ba, 6, -26);
    p = p * z + hex(0x1_b38c92, 6, -18);
    p = p * z + hex(0x1_719e6a, 6, -13);
    p = p * z + hex(0x1_357ae2, 6, -8);
    p = p * z + hex(0x1_1a8b8e, 6, -5);
    p = p * z + hex(0x1_988446, 6, -2);
    let mut q = hex(0x1_44734a, 6, -20);
    q = q * z + hex(0x1_40e18a, 6, -14);
    q = q * z + hex(0x1_f8bab4, 6, -10);
    q = q * z + hex(0x1_db93ae, 6, -6);
    q = q * z + hex(0x1_033194, 6, -2);
    q = q * z + 1.0;
    flush(x * (((c * p) / q).max(-0.5).min(0.5) + 0.5))
}

/// x > 0 and not subnormal.
pub fn log(x: f32) -> f32 {
    const ROOT_OF_HALF: i32 = 0x3F35_04F3;
    let i = x.to_bits() as i32 - ROOT_OF_HALF;
    let e = (i >> 23) as f32;
    let m = f32::from_bits(((i & 0x7F_FFFF) + ROOT_OF_HALF) as u32) - 1.0;
    let z = m * m;
    let mut y = hex(0x1_204376, 6, -4);
    y = y * m + hex(-0x1_d7a37, 5, -4);
    y = y * m + hex(0x1_de4a34, 6, -4);
    y = y * m + hex(-0x1_fcba9e, 6, -4);
    y = y * m + hex(0x1_23d37e, 6, -3);
    y = y * m + hex(-0x1_555ca, 5, -3);
    y = y * m + hex(0x1_999d58, 6, -3);
    y = y * m + hex(-0x1_fffff8, 6, -3);
    y = y * m + hex(0x1_555554, 6, -2);
    y = (y * m) * z;
    y += e * hex(-0x1_bd0106, 6, -13);
    y -= hex(0x1, 0, -1) * z;
    (m + y) + e * hex(0x1_63, 2, -1)
}
