//! Float32 ops: conformance.md, "Formulas". They may round as they like; here sums are of double
//! precision and each result is rounded once, which the bounds of the tier f32 leave room for.

use crate::ops::{halves, stem_frames, Answer, Mode, Taps};
use crate::protocol::refused;
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

fn gated(x: f32, gate: f32) -> f32 {
    (f64::from(x) / (1.0 + (-f64::from(gate)).exp())) as f32
}

impl Mode for Float32 {
    fn linear(&self, x: &Matrix, w: &Weights) -> Answer {
        let weight = w.matrix("weight", x.cols)?;
        let zeros = vec![0.0; weight.rows];
        let bias = if w.has("bias") { w.vector("bias", weight.rows)? } else { &zeros };
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
        let bias = w.vector("bias", weight.rows)?;
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

    fn attend(&self, queries: &Matrix, keys: &Matrix, values: &Matrix) -> Matrix {
        let c = 1.0 / (queries.cols as f64).sqrt();
        let p = softmax(&Matrix::from_fn(queries.rows, keys.rows, |t, u| {
            (dot(queries.row(t), keys.row(u)) * c) as f32
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
