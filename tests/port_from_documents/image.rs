//! Opens a flash image: FORMAT.md, "Flash images", with the tensors of its "Tensors".

use crate::features::LEAST_FLOOR;
use crate::protocol::{crc32, multiple, refused, word, Data, Failure, Tensor, Tensors};

const HEADER: usize = 1024;

pub struct Model {
    pub int8: bool,
    pub heads: usize,
    pub dim: usize,
    pub kernel: usize,
    pub mels: usize,
    pub stem_stride: usize,
    pub stem_kernel: usize,
    pub max_frames: usize,
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

fn check(right: bool, status: &'static str) -> Result<(), Failure> {
    right.then_some(()).ok_or_else(|| refused(status))
}

const TRUNCATED: &str = "EE_ERR_IMAGE_TRUNCATED";
const CHECKSUM: &str = "EE_ERR_IMAGE_CHECKSUM";
const LAYOUT: &str = "EE_ERR_IMAGE_LAYOUT";
const CONFIG: &str = "EE_ERR_CONFIG";

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
    /// The first exits that are asked for; all that the bytes hold when none are. In the order of
    /// conformance.md, "Refusals".
    pub fn open(image: &[u8], asked: Option<usize>) -> Result<Model, Failure> {
        check(image.len() >= HEADER, TRUNCATED)?;
        let fields = words(&image[..HEADER]);
        #[rustfmt::skip]
        let [_, abi, header_crc32, header_bytes, _, dtype, all_exits, dim, heads, ff, kernel, vocab, mels, stem_kernel,
            stem_stride, max_frames, blank, _, n_fft, win_length, hop_length, pad] =
            <[usize; 22]>::try_from(&fields[..22]).expect("22 fields");
        let (log_floor, norm_eps) = (f32::from_bits(word(image, 88)), f32::from_bits(word(image, 92)));
        let (tables, base_bytes, base_crc32) = (&fields[24..44], fields[44], fields[45]);
        let (layers, exit_bytes, exit_crc32) = (&fields[46..110], &fields[110..174], &fields[174..238]);

        check(image.starts_with(b"EEIM"), "EE_ERR_IMAGE_MAGIC")?;
        check(abi == 1, "EE_ERR_IMAGE_ABI")?;
        let crc = |parts: &[&[u8]]| crc32(parts) as usize;
        check(crc(&[&image[..8], &[0; 4], &image[12..HEADER]]) == header_crc32, CHECKSUM)?;
        check(header_bytes == HEADER && (1..=64).contains(&all_exits), LAYOUT)?;
        let ends: Vec<usize> = [&[HEADER, base_bytes], &exit_bytes[..all_exits]].concat();
        check(ends.windows(2).all(|w| w[0] < w[1] && w[1] % 64 == 0), LAYOUT)?;

        // The exits asked for have to be there; if none are, the bytes end where an exit ends.
        let held = exit_bytes[..all_exits].iter().filter(|&&end| end <= image.len()).count();
        let ends_there = held > 0 && exit_bytes[held - 1] == image.len();
        let exits = match asked {
            None => check(ends_there, TRUNCATED).map(|()| held)?,
            Some(n) if n <= held => check(n > 0, TRUNCATED).map(|()| n)?,
            Some(n) if n > all_exits || ends_there => return Err(refused("EE_ERR_IMAGE_EXITS")),
            Some(_) => return Err(refused(TRUNCATED)),
        };
        let mut from = HEADER;
        for k in 0..=exits {
            let (to, right) =
                if k == 0 { (base_bytes, base_crc32) } else { (exit_bytes[k - 1], exit_crc32[k - 1]) };
            check(crc(&[&image[from..to]]) == right, CHECKSUM)?;
            from = to;
        }

        let sizes =
            [dim, heads, ff, kernel, vocab, mels, stem_kernel, stem_stride, max_frames, hop_length, pad + 1];
        check(dtype <= 1 && sizes.iter().all(|n| (1..=1 << 16).contains(n)), CONFIG)?;
        check(dim % heads == 0 && kernel % 2 == 1 && stem_stride <= stem_kernel, CONFIG)?;
        check(norm_eps > 0.0 && norm_eps <= 1.0, CONFIG)?;
        check(log_floor == 0.0 || log_floor >= LEAST_FLOOR && log_floor.is_finite(), CONFIG)?;
        check(n_fft.is_power_of_two() && (4..=1 << 16).contains(&n_fft) && win_length <= n_fft, CONFIG)?;
        check(layers[..all_exits].iter().all(|n| (1..=64).contains(n)), CONFIG)?;
        check(blank < vocab, LAYOUT)?;

        // Tables, each of the size that the configuration implies.
        let table = |i: usize, bytes: usize| {
            let at = tables[2 * i];
            check(
                tables[2 * i + 1] == bytes && at >= HEADER && at + bytes <= base_bytes && at % 64 == 0,
                LAYOUT,
            )?;
            Ok(&image[at..at + bytes])
        };
        let shapes = Shapes { int8: dtype == 1, dim, ff, kernel, vocab, mels, stem_kernel, max_frames };
        let places = words(table(0, tables[1])?);
        check(tables[1] % 8 == 0, LAYOUT)?;
        let mel_first = halves(table(3, 2 * mels)?);
        let mel_count = halves(table(4, 2 * mels)?);
        for (first, count) in mel_first.iter().zip(&mel_count) {
            check(first + count <= n_fft / 2 + 1, CONFIG)?;
        }
        let mel_weights = floats(table(5, 4 * mel_count.iter().sum::<usize>())?);
        let normalised = if log_floor > 0.0 { mels } else { 0 };
        let (mean, scale) = (floats(table(6, 4 * normalised)?), floats(table(7, 4 * normalised)?));
        let label_ends = words(table(8, 4 * vocab)?);
        let label_text = table(9, tables[19])?;
        check(label_ends.last() == Some(&label_text.len()), LAYOUT)?;

        let (mut filters, mut from) = (Vec::new(), 0);
        for (&first, &count) in mel_first.iter().zip(&mel_count) {
            filters.push((first, mel_weights[from..from + count].to_vec()));
            from += count;
        }
        let (mut labels, mut from) = (Vec::new(), 0);
        for &end in &label_ends {
            labels.push(label_text.get(from..end).ok_or_else(|| refused(LAYOUT))?.to_vec());
            from = end;
        }
        let tensors = tensors(image, &places, exit_bytes[exits - 1], shapes.list(&layers[..exits]))?;
        Ok(Model {
            int8: dtype == 1,
            heads,
            mels,
            stem_stride,
            dim,
            kernel,
            stem_kernel,
            max_frames,
            blank,
            n_fft,
            win_length,
            hop_length,
            pad,
            log_floor,
            norm_eps,
            layers: layers[..exits].to_vec(),
            window: floats(table(1, 4 * win_length)?),
            sines: floats(table(2, 4 * n_fft)?),
            filters,
            normalisation: mean.into_iter().zip(scale).collect(),
            labels,
            tensors,
        })
    }
}

/// The tensors of the exits opened, which end at `last`: each behind the one before, at a multiple of 64.
fn tensors(image: &[u8], places: &[usize], last: usize, list: Vec<Described>) -> Result<Tensors, Failure> {
    let (mut tensors, mut end) = (Tensors::new(), HEADER);
    let opened: Vec<&[usize]> = places.chunks(2).take_while(|place| place[0] < last).collect();
    for place in &opened {
        check(place[0] % 64 == 0 && place[0] >= end && place[1] <= last - place[0], LAYOUT)?;
        end = place[0] + place[1];
    }
    check(opened.len() == list.len(), "EE_ERR_TENSOR_COUNT")?;
    for ((name, shape, dtype), place) in list.into_iter().zip(opened) {
        tensors.insert(name, tensor(&image[place[0]..place[0] + place[1]], shape, dtype)?);
    }
    Ok(tensors)
}

/// A tensor without the padding of its rows.
fn tensor(bytes: &[u8], shape: Vec<usize>, dtype: u8) -> Result<Tensor, Failure> {
    let rows = shape[..shape.len() - 1].iter().product::<usize>();
    let row_bytes = shape[shape.len() - 1] * Data::size(dtype).expect("a dtype of Shapes");
    let padded = multiple(row_bytes, 16);
    check(bytes.len() == rows * padded, "EE_ERR_TENSOR_SIZE")?;
    let values: Vec<u8> = bytes.chunks(padded).flat_map(|row| &row[..row_bytes]).copied().collect();
    let data = Data::parse(dtype, &values).expect("a dtype of Shapes");
    Ok(Tensor { shape, data })
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
    /// Name, shape and dtype of every tensor, in canonical order: the table of FORMAT.md.
    fn list(&self, layers: &[usize]) -> Vec<Described> {
        let (d, ff) = (self.dim, self.ff);
        // Parts of a layer: rows and columns of the weight, no columns for a norm.
        let parts = [
            ("ff1.norm", d, 0),
            ("ff1.up", ff, d),
            ("ff1.down", d, ff),
            ("attn.norm", d, 0),
            ("attn.in", 3 * d, d),
            ("attn.out", d, d),
            ("conv.norm", d, 0),
            ("conv.in", 2 * d, d),
            ("conv.depthwise", self.kernel, d),
            ("conv.out", d, d),
            ("ff2.norm", d, 0),
            ("ff2.up", ff, d),
            ("ff2.down", d, ff),
            ("norm", d, 0),
        ];
        let mut list = Vec::new();
        self.matrix(&mut list, "stem.positions", self.max_frames, d);
        self.part(&mut list, "stem.conv1", d, self.stem_kernel * self.mels);
        self.part(&mut list, "stem.conv2", d, self.stem_kernel * d);
        for (g, &count) in layers.iter().enumerate() {
            for l in 0..count {
                for (name, rows, cols) in parts {
                    let name = format!("group.{}.layer.{}.{}", g + 1, l + 1, name);
                    self.part(&mut list, &name, rows, cols);
                }
            }
            self.part(&mut list, &format!("head.{}", g + 1), self.vocab, d);
        }
        list
    }

    fn part(&self, list: &mut Vec<Described>, name: &str, rows: usize, cols: usize) {
        let weight = format!("{}.weight", name);
        let depthwise = name.ends_with("depthwise");
        match cols {
            0 => list.push((weight, vec![rows], b'f')),
            _ if depthwise => list.push((weight, vec![rows, cols], b'f')),
            _ => self.matrix(list, &weight, rows, cols),
        }
        list.push((format!("{}.bias", name), vec![if depthwise { cols } else { rows }], b'f'));
    }

    fn matrix(&self, list: &mut Vec<Described>, name: &str, rows: usize, cols: usize) {
        list.push((name.into(), vec![rows, cols], if self.int8 { b'b' } else { b'f' }));
        if self.int8 {
            list.push((format!("{}_scale", name), vec![rows], b'f'));
        }
    }
}
