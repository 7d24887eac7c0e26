//! Matrices, and the weights of a case or of a model by their names.

use std::ops::Range;

use crate::protocol::{argument, Data, Failure, Tensor, Tensors};

/// Rows (frames) by columns (values), row-major.
#[derive(Clone)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f32>,
}

impl Matrix {
    pub fn new(rows: usize, cols: usize) -> Matrix {
        Matrix { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// The value at (row, column) is f(row, column).
    pub fn from_fn(rows: usize, cols: usize, mut f: impl FnMut(usize, usize) -> f32) -> Matrix {
        let at = (0..rows).flat_map(|t| (0..cols).map(move |d| (t, d)));
        Matrix { rows, cols, data: at.map(|(t, d)| f(t, d)).collect() }
    }

    /// One more row.
    pub fn push(&mut self, row: impl Iterator<Item = f32>) {
        self.data.extend(row);
        self.rows += 1;
    }

    pub fn map(&self, f: impl Fn(f32) -> f32) -> Matrix {
        Matrix { data: self.data.iter().map(|&v| f(v)).collect(), ..*self }
    }

    pub fn row(&self, t: usize) -> &[f32] {
        &self.data[t * self.cols..(t + 1) * self.cols]
    }

    pub fn at(&self, t: usize, d: usize) -> f32 {
        self.data[t * self.cols + d]
    }

    /// Some rows.
    pub fn part(&self, rows: Range<usize>) -> Matrix {
        let data = self.data[rows.start * self.cols..rows.end * self.cols].to_vec();
        Matrix { rows: rows.len(), cols: self.cols, data }
    }

    /// Some columns.
    pub fn columns(&self, columns: Range<usize>) -> Matrix {
        Matrix::from_fn(self.rows, columns.len(), |t, d| self.at(t, columns.start + d))
    }

    /// These rows, and then those.
    pub fn then(&self, rows: &Matrix) -> Matrix {
        let data = [&self.data[..], &rows.data].concat();
        Matrix { rows: self.rows + rows.rows, cols: self.cols, data }
    }

    /// Of each row these columns, and then those.
    pub fn beside(&self, other: &Matrix) -> Matrix {
        let value = |t, d| if d < self.cols { self.at(t, d) } else { other.at(t, d - self.cols) };
        Matrix::from_fn(self.rows, self.cols + other.cols, value)
    }

    /// The last row first.
    pub fn reversed(&self) -> Matrix {
        Matrix::from_fn(self.rows, self.cols, |t, d| self.at(self.rows - 1 - t, d))
    }

    /// x + y * factor, two operations a value.
    pub fn plus(&self, y: &Matrix, factor: f32) -> Matrix {
        let sums = self.data.iter().zip(&y.data).map(|(x, y)| x + y * factor);
        Matrix { data: sums.collect(), ..*self }
    }
}

/// int8 rows with a scale each.
pub struct Quantized {
    pub cols: usize,
    pub q: Vec<i8>,
    pub scale: Vec<f32>,
}

impl Quantized {
    pub fn row(&self, t: usize) -> &[i8] {
        &self.q[t * self.cols..(t + 1) * self.cols]
    }
}

/// Tensors below a prefix: of `at("ff1").at("up")`, "weight" is "ff1.up.weight". Every size is
/// checked where a tensor is fetched.
pub struct Weights<'a> {
    tensors: &'a Tensors,
    prefix: String,
}

impl<'a> Weights<'a> {
    pub fn new(tensors: &'a Tensors) -> Weights<'a> {
        Weights { tensors, prefix: String::new() }
    }

    pub fn at(&self, part: &str) -> Weights<'a> {
        Weights { tensors: self.tensors, prefix: format!("{}{}.", self.prefix, part) }
    }

    fn find(&self, name: &str) -> Result<&'a Tensor, Failure> {
        let name = format!("{}{}", self.prefix, name);
        self.tensors.get(&name).ok_or_else(|| argument(&name))
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// A vector of n floats.
    pub fn vector(&self, name: &str, n: usize) -> Result<&'a [f32], Failure> {
        match self.find(name)? {
            Tensor { shape, data: Data::Float(values) } if shape[..] == [n] => Ok(values),
            _ => Err(argument(name)),
        }
    }

    /// The bias of n outputs, of a convolution that may have none.
    pub fn bias_or_zeros(&self, n: usize) -> Result<Vec<f32>, Failure> {
        if self.has("bias") { Ok(self.vector("bias", n)?.to_vec()) } else { Ok(vec![0.0; n]) }
    }

    pub fn any_matrix(&self, name: &str) -> Result<Matrix, Failure> {
        match self.find(name)? {
            Tensor { shape, data: Data::Float(values) } if shape.len() == 2 => {
                Ok(Matrix { rows: shape[0], cols: shape[1], data: values.clone() })
            }
            _ => Err(argument(name)),
        }
    }

    /// A matrix of so many columns.
    pub fn matrix(&self, name: &str, cols: usize) -> Result<Matrix, Failure> {
        let matrix = self.any_matrix(name)?;
        Some(matrix).filter(|m| m.cols == cols).ok_or_else(|| argument(name))
    }

    /// An int8 matrix and `<name>_scale`.
    pub fn quantized(&self, name: &str) -> Result<Quantized, Failure> {
        match self.find(name)? {
            Tensor { shape, data: Data::Int8(q) } if shape.len() == 2 => {
                let scale = self.vector(&format!("{}_scale", name), shape[0])?.to_vec();
                Ok(Quantized { cols: shape[1], q: q.clone(), scale })
            }
            _ => Err(argument(name)),
        }
    }
}
