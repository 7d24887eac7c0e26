//! Float32 ops: conformance.md, "Formulas". They may round as they like; here sums are of double
//! precision and each result is rounded once, which the bounds of the tier f32 leave room for.

use crate::ops::{halves, head_size, stem_frames, tap, Answer, Mode, Taps};
use crate::protocol::{argument, refused};
use crate::tensors::{Matrix, Weights};

pub struct Float32;

fn dot(x: &[f32], w: &[f32]) -> f64 {
    x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
}

/// exp(x - max) of a row, its maximum and its sum.
fn exponentials(x: &[f32]) -> (Vec<f64>, f64, f64) {
    let max = f64::from(x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let e: Vec<f64> = x.iter().map(|&x| (f64::from(x) - max).exp()).collect();
    let sum = e.iter().sum();
    (e, max, sum)
}

pub fn softmax(x: &Matrix) -> Matrix {
    let mut y = Matrix::new(0, x.cols);
    for t in 0..x.rows {
        let (e, _, sum) = exponentials(x.row(t));
        y.push(e.iter().map(|e| (e / sum) as f32));
    }
    y
}

/// The distribution function of the normal distribution: its upper tail as a continued fraction, and
/// the series near 0.
fn normal(x: f64) -> f64 {
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let fraction = (1..80).rev().fold(x.abs(), |f, n| x.abs() + f64::from(n) / f);
    if x > 0.0 { 1.0 - density / fraction } else { density / fraction }
}

fn gated(x: f32, gate: f32) -> f32 {
    (f64::from(x) / (1.0 + (-f64::from(gate)).exp())) as f32
}

impl Mode for Float32 {
    fn linear(&self, x: &Matrix, w: &Weights) -> Answer {
        let weight = w.matrix("weight", x.cols)?;
        let bias = w.bias_or_zeros(weight.rows)?;
        Ok(Matrix::from_fn(x.rows, weight.rows, |t, o| {
            (dot(x.row(t), weight.row(o)) + f64::from(bias[o])) as f32
        }))
    }

    fn layer_norm(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer {
        let (weight, bias) = (w.vector("weight", x.cols)?, w.vector("bias", x.cols)?);
        let n = x.cols as f64;
        let mut y = Matrix::new(0, x.cols);
        for t in 0..x.rows {
            let mean = x.row(t).iter().copied().map(f64::from).sum::<f64>() / n;
            let c: Vec<f64> = x.row(t).iter().map(|&x| f64::from(x) - mean).collect();
            let deviation = (c.iter().map(|c| c * c).sum::<f64>() / n + f64::from(eps)).sqrt();
            let scaled = |d: usize| c[d] / deviation * f64::from(weight[d]) + f64::from(bias[d]);
            y.push((0..x.cols).map(|d| scaled(d) as f32));
        }
        Ok(y)
    }

    fn silu(&self, x: &Matrix) -> Matrix {
        x.map(|x| gated(x, x))
    }

    fn gelu(&self, x: &Matrix) -> Matrix {
        x.map(|x| (f64::from(x) * normal(f64::from(x))) as f32)
    }

    fn group_norm(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer {
        let (weight, bias) = (w.vector("weight", x.cols)?, w.vector("bias", x.cols)?);
        let n = x.rows as f64;
        let moments: Vec<(f64, f64)> = (0..x.cols)
            .map(|d| {
                let column = || (0..x.rows).map(|t| f64::from(x.at(t, d)));
                let mean = column().sum::<f64>() / n;
                let squares = column().map(|x| (x - mean) * (x - mean)).sum::<f64>();
                (mean, (squares / n + f64::from(eps)).sqrt())
            })
            .collect();
        Ok(Matrix::from_fn(x.rows, x.cols, |t, d| {
            let (mean, deviation) = moments[d];
            ((f64::from(x.at(t, d)) - mean) / deviation * f64::from(weight[d]) + f64::from(bias[d])) as f32
        }))
    }

    fn grouped_conv(&self, x: &Matrix, w: &Weights, groups: usize) -> Answer {
        let (weight, bias) = (w.any_matrix("weight")?, w.vector("bias", x.cols)?);
        let width = head_size(x.cols, groups)?;
        if weight.rows != x.cols || weight.cols % width != 0 {
            return Err(argument("weight"));
        }
        let taps = weight.cols / width;
        Ok(Matrix::from_fn(x.rows, x.cols, |t, o| {
            let first = o / width * width;
            let seen = (0..taps).filter_map(|j| tap(t, j, taps, x.rows).map(|u| (j, u)));
            let sum: f64 = seen
                .map(|(j, u)| dot(&x.row(u)[first..first + width], &weight.row(o)[j * width..]))
                .sum();
            (sum + f64::from(bias[o])) as f32
        }))
    }

    fn sigmoid_of_sum(&self, z: &[f32]) -> f32 {
        (1.0 / (1.0 + (-z.iter().copied().map(f64::from).sum::<f64>()).exp())) as f32
    }

    fn glu(&self, x: &Matrix) -> Answer {
        let half = halves(x)?;
        Ok(Matrix::from_fn(x.rows, half, |t, d| gated(x.at(t, d), x.at(t, half + d))))
    }

    fn depthwise_conv(&self, x: &Matrix, w: &Weights, taps: &Taps) -> Answer {
        let (weight, bias) = (w.matrix("weight", x.cols)?, w.vector("bias", x.cols)?);
        Ok(Matrix::from_fn(taps.rows(weight.rows, x.rows)?, x.cols, |t, d| {
            let inside = taps.inside(t, weight.rows, x.rows);
            let products = inside.map(|(j, u)| f64::from(x.at(u, d)) * f64::from(weight.at(j, d)));
            (products.sum::<f64>() + f64::from(bias[d])) as f32
        }))
    }

    fn stem_conv(&self, x: &Matrix, w: &Weights, stride: usize) -> Answer {
        let weight = w.any_matrix("weight")?;
        let bias = w.bias_or_zeros(weight.rows)?;
        let frames = stem_frames(x, weight.cols, stride)?;
        Ok(Matrix::from_fn(frames, weight.rows, |t, o| {
            let window = &x.data[t * stride * x.cols..][..weight.cols];
            (dot(window, weight.row(o)) + f64::from(bias[o])) as f32
        }))
    }

    fn log_softmax(&self, x: &Matrix) -> Matrix {
        let mut y = Matrix::new(0, x.cols);
        for t in 0..x.rows {
            let (_, max, sum) = exponentials(x.row(t));
            y.push(x.row(t).iter().map(|&x| (f64::from(x) - max - sum.ln()) as f32));
        }
        y
    }

    fn attend(&self, queries: &Matrix, keys: &Matrix, values: &Matrix, bias: Option<&Matrix>) -> Matrix {
        let c = 1.0 / (queries.cols as f64).sqrt();
        let p = softmax(&Matrix::from_fn(queries.rows, keys.rows, |t, u| {
            let bias = bias.map_or(0.0, |bias| f64::from(bias.at(t, u)));
            (dot(queries.row(t), keys.row(u)) * c + bias) as f32
        }));
        Matrix::from_fn(queries.rows, values.cols, |t, d| {
            let products = (0..values.rows).map(|u| f64::from(p.at(t, u)) * f64::from(values.at(u, d)));
            products.sum::<f64>() as f32
        })
    }

    fn positions(&self, stem: &Weights, rows: usize) -> Answer {
        let mut positions = stem.any_matrix("positions")?;
        if rows > positions.rows {
            return Err(refused("longer than the table of positions"));
        }
        positions.rows = rows;
        positions.data.truncate(rows * positions.cols);
        Ok(positions)
    }
}
