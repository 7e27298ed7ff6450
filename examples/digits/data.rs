//! The digits: reading, splitting, standardizing.

use std::fs;
use std::path::Path;

use evenkeel::{Backend, Error, Key, Layout, Moments, Philox, Standardize, in_place};
use rand_core::Rng;

/// Pixels of an image, 8 × 8.
pub(crate) const PIXELS: usize = 64;
/// Digits to tell apart.
pub(crate) const CLASSES: usize = 10;
/// Images in the file.
const IMAGES: usize = 1797;
/// Images that are trained on.
pub(crate) const TRAIN: usize = 1297;
/// The other images: they say what was learned.
pub(crate) const TEST: usize = IMAGES - TRAIN;
/// Images of the training part that choose the learning rate: its last ones, a fifth.
pub(crate) const VALIDATION: usize = 259;

/// Images, a row of `PIXELS` each, and what they show.
#[derive(Clone)]
pub(crate) struct Digits {
    pub(crate) pixels: Vec<f32>,
    pub(crate) labels: Vec<u8>,
}

impl Digits {
    /// Reads a file of lines with 64 pixels, 0 to 16, and a label, 0 to 9.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(&text).map_err(|error| format!("{name}: {error}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut digits = Self { pixels: Vec::new(), labels: Vec::new() };
        for (line, number) in text.lines().zip(1..) {
            digits.push_line(line).map_err(|error| format!("line {number}: {error}"))?;
        }
        if digits.len() != IMAGES {
            return Err(format!("expected {IMAGES} images, found {}", digits.len()));
        }
        Ok(digits)
    }

    fn push_line(&mut self, line: &str) -> Result<(), String> {
        let fields = line.split(',').count();
        if fields != PIXELS + 1 {
            return Err(format!("expected {} numbers, found {fields}", PIXELS + 1));
        }
        for (field, position) in line.split(',').zip(0..) {
            let limit = if position < PIXELS { 16 } else { 9 };
            match field.trim().parse::<u8>() {
                Ok(value) if value > limit => {
                    return Err(format!("{value} is above {limit}"));
                }
                Ok(value) if position < PIXELS => self.pixels.push(value.into()),
                Ok(value) => self.labels.push(value),
                Err(_) => return Err(format!("{field:?} is not a whole number")),
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns the images of the given numbers, in that order.
    pub(crate) fn select(&self, numbers: &[usize]) -> Self {
        let image = |&i: &usize| &self.pixels[i * PIXELS..(i + 1) * PIXELS];
        Self {
            pixels: numbers.iter().flat_map(image).copied().collect(),
            labels: numbers.iter().map(|&i| self.labels[i]).collect(),
        }
    }

    fn split_at(&self, middle: usize) -> Split {
        let numbers: Vec<usize> = (0..self.len()).collect();
        let (train, test) = numbers.split_at(middle);
        Split { train: self.select(train), test: self.select(test) }
    }
}

/// Images to learn from, and images to see what was learned.
pub(crate) struct Split {
    pub(crate) train: Digits,
    pub(crate) test: Digits,
}

impl Split {
    /// Shuffles all images and splits them into 1,297 to train on and 500 to test.
    pub(crate) fn shuffled(digits: &Digits, key: Key) -> Self {
        digits.select(&shuffle(digits.len(), key)).split_at(TRAIN)
    }

    /// Splits the training part once more. The learning rate is chosen here, so the test part
    /// has no say in it.
    pub(crate) fn for_search(&self) -> Self {
        self.train.split_at(self.train.len() - VALIDATION)
    }

    /// Gives every pixel mean 0 and variance 1 over the training part. The test part goes through
    /// the same shift and scale: what a model may not see, its preparation may not see either.
    ///
    /// Some pixels at the border are 0 in every training image. Their variance is 0, and with the
    /// default eps of 0 the op writes 0 for them.
    pub(crate) fn standardized(mut self, backend: Backend) -> Result<Self, Error> {
        let mut moments = vec![Moments::new(); PIXELS];
        let op = |images: &Digits| {
            Ok(Standardize::new(Layout::dense(images.len(), PIXELS)?).backend(backend))
        };
        op(&self.train)?.fit(&self.train.pixels, &mut moments)?;
        op(&self.train)?.apply(in_place(&mut self.train.pixels), &moments)?;
        op(&self.test)?.apply(in_place(&mut self.test.pixels), &moments)?;
        Ok(self)
    }
}

/// Returns the numbers below `len` in random order (Fisher and Yates).
pub(crate) fn shuffle(len: usize, key: Key) -> Vec<usize> {
    let mut random = Philox::new(key);
    let mut numbers: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        numbers.swap(last, below(last + 1, &mut random));
    }
    numbers
}

/// A random number below `limit`: the upper half of a product, so no division and no bias to
/// speak of (at most `limit` in 2^64).
fn below(limit: usize, random: &mut impl Rng) -> usize {
    let product = u128::from(random.next_u64()) * (limit as u128);
    #[expect(clippy::cast_possible_truncation, reason = "it is below limit")]
    let number = (product >> 64) as usize;
    number
}
