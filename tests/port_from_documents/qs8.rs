//! int8 mode, exact to the bit: numerics.md, "int8 mode", "Ops".

use crate::exact::{exp, flush, gelu, log, max, round, sum};
use crate::ops::{halves, head_size, stem_frames, tap, Answer, Mode, Taps};
use crate::protocol::{argument, refused};
use crate::tensors::{Matrix, Quantized, Weights};

pub struct Qs8;

pub fn quantize(x: &Matrix) -> Quantized {
    let least = f32::from_bits((127 - 40) << 23); // 2^-40
    let mut out = Quantized { cols: x.cols, q: Vec::new(), scale: Vec::new() };
    for t in 0..x.rows {
        let a = x.row(t).iter().fold(0f32, |a, v| a.max(v.abs()));
        let (scale, v) = if a < least { (0.0, 0.0) } else { (a / 127.0, 127.0 / a) };
        out.scale.push(scale);
        out.q.extend(x.row(t).iter().map(|x| round(x * v) as i8));
    }
    out
}

/// A sum of products in int32, whose order is free.
fn product(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

pub fn linear(x: &Quantized, w: &Weights) -> Answer {
    let weight = w.quantized("weight")?;
    let outs = weight.scale.len();
    let bias = w.bias_or_zeros(outs)?;
    if weight.cols != x.cols {
        return Err(argument("weight"));
    }
    Ok(Matrix::from_fn(x.scale.len(), outs, |t, o| {
        let a = product(x.row(t), weight.row(o));
        a as f32 * (x.scale[t] * weight.scale[o]) + bias[o]
    }))
}

/// A row in two digits: (128 high + low) scale.
pub struct Digits {
    pub high: Vec<i8>,
    pub low: Vec<i8>,
    pub scale: f32,
}

impl Digits {
    /// Of a row of integers.
    fn new(p: &[i32], scale: f32) -> Digits {
        let high = p.iter().map(|p| (p + 64) >> 7);
        let low = p.iter().zip(high.clone()).map(|(p, high)| (p - 128 * high) as i8).collect();
        Digits { high: high.map(|digit| digit as i8).collect(), low, scale }
    }

    /// 128 float(a) + float(b), the sums of both digits.
    fn product(&self, w: &[i8]) -> f32 {
        product(&self.high, w) as f32 * 128.0 + product(&self.low, w) as f32
    }
}

pub fn quantize_digits(x: &[f32]) -> Digits {
    let least = f32::from_bits((127 - 40) << 23); // 2^-40
    let a = x.iter().fold(0f32, |a, v| a.max(v.abs()));
    let (scale, v) = if a < least { (0.0, 0.0) } else { (a / 16256.0, 16256.0 / a) };
    Digits::new(&x.iter().map(|x| round(x * v) as i32).collect::<Vec<i32>>(), scale)
}

/// A row of probabilities with the scales of the values in them.
pub fn softmax(x: &[f32], value_scale: &[f32]) -> Digits {
    let m = max(x);
    let e: Vec<f32> = x.iter().map(|x| exp(x - m)).collect();
    let w: Vec<f32> = e.iter().zip(value_scale).map(|(e, s)| e * s).collect();
    let least = f32::from_bits((127 - 80) << 23); // 2^-80
    let top = if max(&w) < least { 0.0 } else { max(&w) };
    let v = if top > 0.0 { 16256.0 / top } else { 0.0 };
    let p: Vec<i32> = w.iter().map(|w| round(w * v) as i32).collect();
    Digits {
        high: p.iter().map(|p| (p >> 7) as i8).collect(),
        low: p.iter().map(|p| (p & 127) as i8).collect(),
        scale: (top / 16256.0) / sum(e.iter().copied()),
    }
}

impl Mode for Qs8 {
    fn linear(&self, x: &Matrix, w: &Weights) -> Answer {
        linear(&quantize(x), w)
    }

    fn layer_norm(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer {
        let (weight, bias) = (w.vector("weight", x.cols)?, w.vector("bias", x.cols)?);
        let r = 1.0 / x.cols as f32;
        let mut y = Matrix::new(0, x.cols);
        for t in 0..x.rows {
            let mean = sum(x.row(t).iter().copied()) * r;
            let c: Vec<f32> = x.row(t).iter().map(|x| flush(x - mean)).collect();
            let var = sum(c.iter().map(|c| c * c)) * r;
            let inv = 1.0 / (var + eps).sqrt();
            y.push((0..x.cols).map(|d| flush((c[d] * inv) * weight[d]) + bias[d]));
        }
        Ok(y)
    }

    fn silu(&self, x: &Matrix) -> Matrix {
        x.map(|x| x / (1.0 + exp(-x)))
    }

    fn gelu(&self, x: &Matrix) -> Matrix {
        x.map(gelu)
    }

    fn group_norm(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer {
        let (weight, bias) = (w.vector("weight", x.cols)?, w.vector("bias", x.cols)?);
        let (mut means, mut inverses) = (vec![0f32; x.cols], vec![0f32; x.cols]);
        for d in 0..x.cols {
            let (mut mean, mut s) = (0f32, 0f32);
            for n in (0..x.rows).step_by(256) {
                let b = (x.rows - n).min(256);
                let frames = || (n..n + b).map(|t| x.at(t, d));
                let m = frames().fold(0f32, |total, x| total + x) * (1.0 / b as f32);
                let q = frames().fold(0f32, |q, x| q + flush(x - m) * flush(x - m));
                let a = flush(m - mean);
                mean += a * (b as f32 / (n + b) as f32);
                s = (s + q) + (a * a) * ((n as f32 * b as f32) / (n + b) as f32);
            }
            means[d] = mean;
            inverses[d] = 1.0 / (s * (1.0 / x.rows as f32) + eps).sqrt();
        }
        Ok(Matrix::from_fn(x.rows, x.cols, |t, d| {
            flush((flush(x.at(t, d) - means[d]) * inverses[d]) * weight[d]) + bias[d]
        }))
    }

    fn grouped_conv(&self, x: &Matrix, w: &Weights, groups: usize) -> Answer {
        let weight = w.quantized("weight")?;
        let bias = w.vector("bias", x.cols)?;
        let width = head_size(x.cols, groups)?;
        if weight.scale.len() != x.cols || weight.cols % width != 0 {
            return Err(argument("weight"));
        }
        let taps = weight.cols / width;
        let digits: Vec<Digits> =
            (0..groups).map(|g| quantize_digits(&x.columns(g * width..(g + 1) * width).data)).collect();
        Ok(Matrix::from_fn(x.rows, x.cols, |t, o| {
            let own = &digits[o / width];
            let sum = |digit: &[i8]| -> i32 {
                let seen = (0..taps).filter_map(|j| tap(t, j, taps, x.rows).map(|u| (j, u)));
                seen.map(|(j, u)| product(&digit[u * width..][..width], &weight.row(o)[j * width..])).sum()
            };
            let y = sum(&own.high) as f32 * 128.0 + sum(&own.low) as f32;
            y * (own.scale * weight.scale[o]) + bias[o]
        }))
    }

    fn sigmoid_of_sum(&self, z: &[f32]) -> f32 {
        1.0 / (1.0 + exp(-(((z[0] + z[1]) + z[2]) + z[3])))
    }

    fn glu(&self, x: &Matrix) -> Answer {
        let half = halves(x)?;
        Ok(Matrix::from_fn(x.rows, half, |t, d| {
            flush(x.at(t, d) / (1.0 + exp(-x.at(t, half + d))))
        }))
    }

    fn depthwise_conv(&self, x: &Matrix, w: &Weights, taps: &Taps) -> Answer {
        let (weight, bias) = (w.matrix("weight", x.cols)?, w.vector("bias", x.cols)?);
        Ok(Matrix::from_fn(taps.rows(weight.rows, x.rows)?, x.cols, |t, d| {
            let inside = taps.inside(t, weight.rows, x.rows);
            inside.fold(bias[d], |y, (j, u)| y + x.at(u, d) * weight.at(j, d))
        }))
    }

    /// linear_digits of every window.
    fn stem_conv(&self, x: &Matrix, w: &Weights, stride: usize) -> Answer {
        let weight = w.quantized("weight")?;
        let bias = w.bias_or_zeros(weight.scale.len())?;
        let mut y = Matrix::new(0, bias.len());
        for t in 0..stem_frames(x, weight.cols, stride)? {
            let window = quantize_digits(&x.data[t * stride * x.cols..][..weight.cols]);
            y.push((0..bias.len()).map(|o| {
                window.product(weight.row(o)) * (window.scale * weight.scale[o]) + bias[o]
            }));
        }
        Ok(y)
    }

    fn log_softmax(&self, x: &Matrix) -> Matrix {
        let mut y = Matrix::new(0, x.cols);
        for t in 0..x.rows {
            let m = max(x.row(t));
            let l = log(sum(x.row(t).iter().map(|x| exp(x - m))));
            y.push(x.row(t).iter().map(|x| (x - m) - l));
        }
        y
    }

    fn attend(&self, queries: &Matrix, keys: &Matrix, values: &Matrix, bias: Option<&Matrix>) -> Matrix {
        let (rows, e, frames) = (queries.rows, queries.cols, keys.rows);
        let (queries, keys, values) = (quantize(queries), quantize(keys), quantize(values));
        let c = 1.0 / (e as f32).sqrt();
        let mut context = Matrix::new(0, e);
        for t in 0..rows {
            let g = queries.scale[t] * c;
            let score = |u| {
                let score = product(queries.row(t), keys.row(u)) as f32 * (g * keys.scale[u]);
                bias.map_or(score, |bias| score + bias.at(t, u))
            };
            let p = softmax(&(0..frames).map(score).collect::<Vec<f32>>(), &values.scale);
            context.push((0..e).map(|d| {
                let column: Vec<i8> = (0..frames).map(|u| values.row(u)[d]).collect();
                p.product(&column) * p.scale
            }));
        }
        context
    }

    fn positions(&self, stem: &Weights, rows: usize) -> Answer {
        let positions = stem.quantized("positions")?;
        if rows > positions.scale.len() {
            return Err(refused("longer than the table of positions"));
        }
        Ok(Matrix::from_fn(rows, positions.cols, |t, d| f32::from(positions.row(t)[d]) * positions.scale[t]))
    }
}
