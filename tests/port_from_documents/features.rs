//! numerics.md, "Front end": every operation is one f32 operation, in the order of the page.

use crate::exact::log;
use crate::image::Model;
use crate::protocol::{refused, Failure};
use crate::tensors::Matrix;

/// 2^-70: the least log_floor, and what the sums of the front end "mel" begin at.
pub const LEAST_FLOOR: f32 = 1.0 / (1u128 << 70) as f32;

/// The features, or that there are none of such samples.
pub fn features(model: &Model, samples: &[f32]) -> Result<Matrix, Failure> {
    let not_finite = || refused("EE_ERR_NOT_FINITE");
    if !samples.iter().all(|v| v.is_finite()) {
        return Err(not_finite());
    }
    let (n_fft, hop) = (model.n_fft, model.hop_length);
    let mut out = Matrix::new(0, model.mels);
    if samples.is_empty() {
        return Ok(out);
    }
    let mut signal = vec![0.0; model.pad];
    signal.extend(samples);
    signal.resize((samples.len() + 2 * model.pad).max(n_fft / 2 + 1), 0.0);
    let floor = if model.log_floor > 0.0 { model.log_floor } else { LEAST_FLOOR };
    let before = n_fft / 2 - (n_fft - model.win_length) / 2;
    for t in 0..1 + (samples.len() + 2 * model.pad) / hop {
        let mut frame = vec![0.0; n_fft];
        for (j, v) in frame[..model.win_length].iter_mut().enumerate() {
            let product = mirrored(&signal, t * hop + j, before) * model.window[j];
            *v = (product + 0.0234375) - 0.0234375;
        }
        let p = power(model, &frame);
        let mut row = vec![];
        for (m, (first, weights)) in model.filters.iter().enumerate() {
            let e = weights.iter().enumerate().fold(floor, |e, (j, w)| e + p[first + j] * w);
            if !e.is_finite() {
                return Err(not_finite());
            }
            row.push(match model.normalisation.get(m) {
                Some((mean, scale)) => (log(e) - mean) * scale,
                None => e - floor,
            });
        }
        out.push(row.into_iter());
    }
    Ok(out)
}

/// s(i - before), reflected at both ends.
fn mirrored(signal: &[f32], i: usize, before: usize) -> f32 {
    let last = signal.len() - 1;
    let i = i.abs_diff(before);
    signal[if i > last { 2 * last - i } else { i }]
}

/// z turned by i.
fn turned(model: &Model, (zr, zi): (f32, f32), i: usize) -> (f32, f32) {
    let (c, s) = (model.sines[i + model.n_fft / 4], model.sines[i]);
    (c * zr + s * zi, c * zi - s * zr)
}

fn add(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    (a.0 + b.0, a.1 + b.1)
}

fn subtract(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    (a.0 - b.0, a.1 - b.1)
}

/// The FFT of v[2m] + i v[2m+1].
fn transform(model: &Model, v: &[f32]) -> Vec<(f32, f32)> {
    let mut z: Vec<(f32, f32)> = v.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let (mut n, mut r) = (z.len(), 1);
    while n >= 4 {
        let mut new = z.clone();
        for p in 0..n / 4 {
            for q in 0..r {
                let [a, b, c, d] = [0, 1, 2, 3].map(|k| z[q + r * (p + k * n / 4)]);
                let (e, f, g, h) = (add(a, c), subtract(a, c), add(b, d), (b.1 - d.1, d.0 - b.0));
                let results = [add(e, g), add(f, h), subtract(e, g), subtract(f, h)];
                for (k, x) in results.into_iter().enumerate() {
                    let turns = k > 0 && p > 0;
                    new[q + r * (4 * p + k)] =
                        if turns { turned(model, x, k * p * (model.n_fft / n)) } else { x };
                }
            }
        }
        (z, n, r) = (new, n / 4, 4 * r);
    }
    if n == 2 {
        for q in 0..r {
            (z[q], z[q + r]) = (add(z[q], z[q + r]), subtract(z[q], z[q + r]));
        }
    }
    z
}

/// The power spectrum of a frame: n_fft/2 + 1 values.
fn power(model: &Model, v: &[f32]) -> Vec<f32> {
    let z = transform(model, v);
    let h = z.len();
    let square = |x: f32| x * x;
    let mut p = vec![0.0; h + 1];
    p[0] = square(z[0].0 + z[0].1);
    p[h] = square(z[0].0 - z[0].1);
    for k in 1..=h / 2 {
        let (a, b) = (z[k], (z[h - k].0, -z[h - k].1));
        let (er, ei) = add(a, b);
        let (ur, ui) = turned(model, subtract(a, b), k);
        p[h - k] = (square(er - ui) + square(ei + ur)) * 0.25;
        p[k] = (square(er + ui) + square(ei - ur)) * 0.25;
    }
    p
}
