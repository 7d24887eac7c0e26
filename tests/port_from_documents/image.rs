//! Opens a flash image: FORMAT.md, "Flash images", with the tensors of its "Tensors".

use crate::protocol::{crc32, refused, word, Data, Failure, Tensor, Tensors};

const HEADER: usize = 1024;
const MAX_EXITS: usize = 64;

pub struct Model {
    pub int8: bool,
    pub heads: usize,
    pub mels: usize,
    pub stem_stride: usize,
    pub blank: usize,
    pub n_fft: usize,
    pub win_length: usize,
    pub hop_length: usize,
    pub pad: usize,
    pub log_floor: f32,
    pub norm_eps: f32,
    /// Layers of each exit that the image brings.
    pub layers: Vec<usize>,
    pub window: Vec<f32>,
    pub sines: Vec<f32>,
    /// First bin and weights of each mel filter.
    pub filters: Vec<(usize, Vec<f32>)>,
    /// Mean and scale of each mel, or none.
    pub normalisation: Vec<(f32, f32)>,
    /// What each label adds to a text.
    pub labels: Vec<Vec<u8>>,
    /// By the names of the model file, without the padding of rows.
    pub tensors: Tensors,
}

fn check(right: bool, why: &str) -> Result<(), Failure> {
    if right { Ok(()) } else { Err(refused(why)) }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_bits(word(b, 0))).collect()
}

fn words(bytes: &[u8]) -> Vec<usize> {
    bytes.chunks_exact(4).map(|b| word(b, 0) as usize).collect()
}

fn halves(bytes: &[u8]) -> Vec<usize> {
    bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]).into()).collect()
}

impl Model {
    pub fn open(image: &[u8]) -> Result<Model, Failure> {
        check(image.len() >= HEADER, "no image")?;
        let field = |i: usize| word(image, 4 * i) as usize;
        check(image.starts_with(b"EEIM") && field(1) == 1, "no image of ABI 1")?;
        let header_crc32 = crc32(&[&image[..8], &[0; 4], &image[12..HEADER]]);
        check(word(image, 8) == header_crc32, "the checksum of the header")?;
        check(field(3) == HEADER && field(5) <= 1, "header_bytes or dtype")?;

        let (dim, heads, ff, kernel, vocab) = (field(7), field(8), field(9), field(10), field(11));
        let (mels, stem_kernel, stem_stride, max_frames) = (field(12), field(13), field(14), field(15));
        let (n_fft, win_length) = (field(18), field(19));
        let log_floor = f32::from_bits(field(22) as u32);

        // The bytes end where an exit ends, and every part has its checksum.
        let base_bytes = field(44);
        let layers_per_exit = |k: usize| field(46 + k);
        let exit_bytes = |k: usize| field(46 + MAX_EXITS + k);
        let exit_crc32 = |k: usize| field(46 + 2 * MAX_EXITS + k) as u32;
        let all_exits = field(6).min(MAX_EXITS);
        let exits = (0..all_exits).find(|&k| exit_bytes(k) == image.len()).map_or(0, |k| k + 1);
        check(exits > 0, "the image does not end where an exit ends")?;
        let part = |from: usize, to: usize| image.get(from..to).unwrap_or(&[]);
        check(base_bytes >= HEADER, "base_bytes")?;
        check(crc32(&[part(HEADER, base_bytes)]) == field(45) as u32, "the checksum of the base")?;
        for k in 0..exits {
            let from = if k == 0 { base_bytes } else { exit_bytes(k - 1) };
            check(crc32(&[part(from, exit_bytes(k))]) == exit_crc32(k), "the checksum of an exit")?;
        }

        // Tables, each of the size that the configuration implies.
        let all_layers: Vec<usize> = (0..all_exits).map(layers_per_exit).collect();
        let int8 = field(5) == 1;
        let shapes = Shapes { int8, dim, ff, kernel, vocab, mels, stem_kernel, max_frames };
        let all_tensors = shapes.of(&all_layers);
        let table = |i: usize, bytes: Option<usize>| {
            let (at, n) = (field(24 + 2 * i), field(25 + 2 * i));
            check(bytes.map_or(true, |bytes| bytes == n), "the size of a table")?;
            check(at % 64 == 0 && at >= HEADER && at + n <= base_bytes, "the place of a table")?;
            Ok(&image[at..at + n])
        };
        let normalised = if log_floor > 0.0 { mels } else { 0 };
        let places = words(table(0, Some(8 * all_tensors.len()))?);
        let window = floats(table(1, Some(4 * win_length))?);
        let sines = floats(table(2, Some(4 * (n_fft / 4 + 1)))?);
        let mel_first = halves(table(3, Some(2 * mels))?);
        let mel_count = halves(table(4, Some(2 * mels))?);
        let mel_weights = floats(table(5, Some(4 * mel_count.iter().sum::<usize>()))?);
        let mean = floats(table(6, Some(4 * normalised))?);
        let scale = floats(table(7, Some(4 * normalised))?);
        let label_ends = words(table(8, Some(4 * vocab))?);
        let label_text = table(9, None)?;
        check(n_fft.is_power_of_two() && n_fft >= 4, "n_fft")?;
        check(win_length <= n_fft && field(20) > 0, "win_length or hop_length")?;

        let mut filters = Vec::new();
        let mut rest = &mel_weights[..];
        for (&first, &count) in mel_first.iter().zip(&mel_count) {
            check(first + count <= n_fft / 2 + 1, "a mel filter beyond the spectrum")?;
            filters.push((first, rest[..count].to_vec()));
            rest = &rest[count..];
        }
        let mut labels = Vec::new();
        let mut from = 0;
        for &end in &label_ends {
            labels.push(label_text.get(from..end).ok_or_else(|| refused("label_ends"))?.to_vec());
            from = end;
        }

        let mut tensors = Tensors::new();
        let mut next = multiple(field(42) + field(43), 64);
        for ((name, shape, dtype), place) in shapes.of(&all_layers[..exits]).into_iter().zip(places.chunks(2)) {
            check(place[0] == next, "tensors do not follow each other")?;
            tensors.insert(name, tensor(image, place[0], place[1], shape, dtype)?);
            next = multiple(place[0] + place[1], 64);
        }
        check(next == image.len(), "the image is longer than its tensors")?;
        Ok(Model {
            int8,
            heads,
            mels,
            stem_stride,
            blank: field(16),
            n_fft,
            win_length,
            hop_length: field(20),
            pad: field(21),
            log_floor,
            norm_eps: f32::from_bits(field(23) as u32),
            layers: all_layers[..exits].to_vec(),
            window,
            sines,
            filters,
            normalisation: mean.into_iter().zip(scale).collect(),
            labels,
            tensors,
        })
    }
}

/// A tensor without the padding of its rows.
fn tensor(image: &[u8], at: usize, n: usize, shape: Vec<usize>, dtype: u8) -> Result<Tensor, Failure> {
    let rows = shape[..shape.len() - 1].iter().product::<usize>();
    let row_bytes = shape[shape.len() - 1] * if dtype == b'b' { 1 } else { 4 };
    let padded = multiple(row_bytes, 16);
    check(padded > 0 && n == rows * padded, "the size of a tensor")?;
    let bytes = image.get(at..at + n).ok_or_else(|| refused("a tensor beyond the image"))?;
    let values: Vec<u8> = bytes.chunks(padded).flat_map(|row| &row[..row_bytes]).copied().collect();
    let data = Data::parse(dtype, &values).ok_or_else(|| refused("dtype"))?;
    Ok(Tensor { shape, data })
}

/// n rounded up to a multiple.
fn multiple(n: usize, of: usize) -> usize {
    (n + of - 1) / of * of
}

struct Shapes {
    int8: bool,
    dim: usize,
    ff: usize,
    kernel: usize,
    vocab: usize,
    mels: usize,
    stem_kernel: usize,
    max_frames: usize,
}

type Described = (String, Vec<usize>, u8);

impl Shapes {
    /// Name, shape and dtype of every tensor, in canonical order.
    fn of(&self, layers: &[usize]) -> Vec<Described> {
        let d = self.dim;
        let mut list = Vec::new();
        self.matrix(&mut list, "stem.positions", self.max_frames, d);
        self.linear(&mut list, "stem.conv1", d, self.stem_kernel * self.mels);
        self.linear(&mut list, "stem.conv2", d, self.stem_kernel * d);
        for (g, &count) in layers.iter().enumerate() {
            for l in 0..count {
                let name = |part: &str| format!("group.{}.layer.{}.{}", g + 1, l + 1, part);
                self.feed_forward(&mut list, &name("ff1"));
                self.norm(&mut list, &name("attn.norm"));
                self.linear(&mut list, &name("attn.in"), 3 * d, d);
                self.linear(&mut list, &name("attn.out"), d, d);
                self.norm(&mut list, &name("conv.norm"));
                self.linear(&mut list, &name("conv.in"), 2 * d, d);
                list.push((name("conv.depthwise.weight"), vec![self.kernel, d], b'f'));
                list.push((name("conv.depthwise.bias"), vec![d], b'f'));
                self.linear(&mut list, &name("conv.out"), d, d);
                self.feed_forward(&mut list, &name("ff2"));
                self.norm(&mut list, &name("norm"));
            }
            self.linear(&mut list, &format!("head.{}", g + 1), self.vocab, d);
        }
        list
    }

    fn matrix(&self, list: &mut Vec<Described>, name: &str, rows: usize, cols: usize) {
        list.push((name.into(), vec![rows, cols], if self.int8 { b'b' } else { b'f' }));
        if self.int8 {
            list.push((format!("{}_scale", name), vec![rows], b'f'));
        }
    }

    fn linear(&self, list: &mut Vec<Described>, name: &str, outs: usize, ins: usize) {
        self.matrix(list, &format!("{}.weight", name), outs, ins);
        list.push((format!("{}.bias", name), vec![outs], b'f'));
    }

    fn norm(&self, list: &mut Vec<Described>, name: &str) {
        list.push((format!("{}.weight", name), vec![self.dim], b'f'));
        list.push((format!("{}.bias", name), vec![self.dim], b'f'));
    }

    fn feed_forward(&self, list: &mut Vec<Described>, name: &str) {
        self.norm(list, &format!("{}.norm", name));
        self.linear(list, &format!("{}.up", name), self.ff, self.dim);
        self.linear(list, &format!("{}.down", name), self.dim, self.ff);
    }
}
