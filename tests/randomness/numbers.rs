//! Uniform and normal numbers: whether they are spread as they should, and independent.

use crate::chi::{Chi, accept_all};
use evenkeel::{Fill, Key};
use ops::oracle::{distribution, normal_quantile};

/// Uniform numbers, and normal ones that are put into cells.
const NUMBERS: usize = 1 << 24;
/// Normal numbers that are searched for far ones: 19 beyond +5 are expected.
const MANY: usize = 1 << 26;
/// Normal numbers of a bad generator.
const FEW: usize = 1 << 22;
/// At a time.
const PART: usize = 1 << 20;

const KEY: Key = Key::new(0x00C0_FFEE);

fn uniform() -> Vec<f32> {
    let mut numbers = vec![0.0; NUMBERS];
    Fill::new(KEY).uniform(&mut numbers, 0.0, 1.0).expect("parameters are finite");
    numbers
}

fn normal(len: usize, offset: u64) -> Vec<f32> {
    let mut numbers = vec![0.0; len];
    Fill::new(KEY).offset(offset).normal(&mut numbers, 0.0, 1.0).expect("parameters are finite");
    numbers
}

/// χ² of `count` equally probable cells.
fn cells(count: usize, cell: impl Iterator<Item = usize>) -> Chi {
    let mut counts = vec![0; count];
    cell.for_each(|cell| counts[cell] += 1);
    Chi::cells(&counts)
}

/// Which of 256 equal cells.
fn leading(u: f32) -> usize {
    (f64::from(u) * 256.0) as usize
}

/// The last eight of the 24 bits.
fn trailing(u: f32) -> usize {
    (f64::from(u) * 2.0_f64.powi(24)) as usize % 256
}

/// Pairs that do not overlap, element i and i + lag of each 2·lag, in 16 × 16 cells.
fn pairs(u: &[f32], lag: usize) -> Chi {
    let sixteenth = |u: f32| leading(u) / 16;
    let pairs = u.chunks_exact(2 * lag).flat_map(|both| both[..lag].iter().zip(&both[lag..]));
    cells(256, pairs.map(|(&a, &b)| sixteenth(a) * 16 + sixteenth(b)))
}

#[test]
fn uniform_numbers_are_uniform() {
    let u = uniform();
    cells(256, u.iter().map(|&u| leading(u))).accept("uniform, first bits");
    cells(256, u.iter().map(|&u| trailing(u))).accept("uniform, last bits");
    accept_all("uniform, pairs", &[1, 2, 3, 4, 32, 128].map(|lag| pairs(&u, lag)));
}

/// Control: u to the power 1.01, one pair in 100 equal, numbers that are spread too evenly.
#[test]
fn numbers_that_are_not_uniform_are_noticed() {
    let u = uniform();
    cells(256, u.iter().map(|u| leading(u.powf(1.01)))).reject("a power");
    let doubled = |u: f32| (trailing(u) * 2) % 256;
    cells(256, u.iter().map(|&u| doubled(u))).reject("a last bit of 0");
    let even = (0..NUMBERS).map(|i| (i as f64 * 0.618_033_988_749_895).fract() as f32);
    cells(256, even.map(|u| leading(u.min(0.999_999_9)))).reject("numbers spread evenly");
    let mut copied = u;
    for pair in copied.chunks_exact_mut(200) {
        pair[1] = pair[0];
    }
    pairs(&copied, 1).reject("one pair in 100 equal");
}

/// Which of 64 equally probable cells, by the f64 oracle.
struct Cells([f64; 63]);

impl Cells {
    fn new() -> Self {
        Self(std::array::from_fn(|i| normal_quantile(((i + 1) << 26) as u32)))
    }

    fn judge(&self, numbers: impl Iterator<Item = f32>) -> Chi {
        cells(64, numbers.map(|z| self.0.partition_point(|&limit| limit < f64::from(z))))
    }
}

/// Σ z(i)·z(i + lag) / √n, which is standard normal.
fn correlation(z: &[f32], lag: usize) -> Chi {
    let products = z.iter().zip(&z[lag..]).map(|(&a, &b)| f64::from(a) * f64::from(b));
    Chi::normal(products.sum::<f64>() / ((z.len() - lag) as f64).sqrt())
}

/// How many are below −5, below −4, above 4, above 5.
fn far(z: &[f32]) -> [u64; 4] {
    let count = |is_far: fn(f32) -> bool| z.iter().filter(|&&z| is_far(z)).count() as u64;
    [count(|z| z < -5.0), count(|z| z < -4.0), count(|z| z > 4.0), count(|z| z > 5.0)]
}

fn tails(counts: [u64; 4], trials: usize) -> [Chi; 4] {
    let limits = [-5.0, -4.0, -4.0, -5.0].map(distribution);
    std::array::from_fn(|i| Chi::binomial(counts[i], trials as u64, limits[i]))
}

#[test]
fn normal_numbers_are_normal() {
    let z = normal(NUMBERS, 0);
    Cells::new().judge(z.iter().copied()).accept("normal, cells");
    accept_all("normal, correlations", &[1, 2, 3, 4, 8, 16, 64].map(|lag| correlation(&z, lag)));
    // Squares, less their mean and over their deviation: whether far numbers come together.
    let squares: Vec<f32> = z.iter().map(|z| (z * z - 1.0) / 2.0_f32.sqrt()).collect();
    accept_all("normal, squares", &[1, 2, 4, 16].map(|lag| correlation(&squares, lag)));
}

#[test]
fn normal_numbers_go_as_far_as_they_should() {
    let parts = (0..MANY).step_by(PART).map(|offset| far(&normal(PART, offset as u64)));
    let counts = parts.fold([0; 4], |sum, part| std::array::from_fn(|i| sum[i] + part[i]));
    // One by one: those beyond 5 are also beyond 4, so that their sum is not χ².
    for (name, chi) in
        ["below -5", "below -4", "above 4", "above 5"].into_iter().zip(tails(counts, MANY))
    {
        chi.accept(&format!("normal, {name}"));
    }
}

/// Sums of twelve uniform numbers, less 6: mean 0 and variance 1, but without the tails.
fn sums(count: usize) -> Vec<f32> {
    let mut part = vec![0.0; 12 * PART];
    let offsets = (0_u64..).step_by(part.len()).take(count / PART);
    let sums = offsets.flat_map(|offset| {
        Fill::new(KEY).offset(offset).uniform(&mut part, 0.0, 1.0).expect("parameters are finite");
        part.chunks_exact(12).map(|u| u.iter().sum::<f32>() - 6.0).collect::<Vec<_>>()
    });
    sums.collect()
}

/// Control: a deviation of 1.005, a correlation of 0.002, and [`sums`].
#[test]
fn numbers_that_are_not_normal_are_noticed() {
    let z = normal(NUMBERS, 0);
    Cells::new().judge(z.iter().map(|z| 1.005 * z)).reject("a wide deviation");
    let mixed: Vec<f32> = z.windows(2).map(|pair| pair[1] + 0.002 * pair[0]).collect();
    correlation(&mixed, 1).reject("correlated neighbours");
    let [_, below, above, _] = tails(far(&sums(FEW)), FEW);
    below.reject("a short tail");
    above.reject("a short tail");
    assert!(tails(far(&z[..FEW]), FEW)[1..3].iter().all(|chi| chi.is_plausible()));
}
