//! The slices of a call as owned arrays, found by name.

use crate::{Arg, Args, Slot};
use evenkeel::Moments;

#[derive(Clone, Debug, Default)]
pub enum Array {
    #[default]
    Absent,
    F32(Vec<f32>),
    Moments(Vec<Moments>),
    Bytes(Vec<u8>),
}

impl From<Vec<f32>> for Array {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl From<Vec<Moments>> for Array {
    fn from(moments: Vec<Moments>) -> Self {
        Self::Moments(moments)
    }
}

impl From<Vec<u8>> for Array {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl Array {
    /// As it is passed.
    pub fn arg(&mut self) -> Arg<'_> {
        match self {
            Self::Absent => Arg::Absent,
            Self::F32(values) => Arg::F32(values),
            Self::Moments(moments) => Arg::Moments(moments),
            Self::Bytes(bytes) => Arg::Bytes(bytes),
        }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::F32(values) => values.len(),
            Self::Moments(moments) => moments.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Another length: what is new repeats what was there.
    pub fn resized(&self, len: usize) -> Self {
        fn cycle<T: Copy>(old: &[T], len: usize, filler: T) -> Vec<T> {
            (0..len).map(|i| if old.is_empty() { filler } else { old[i % old.len()] }).collect()
        }
        match self {
            Self::Absent => Self::Absent,
            Self::F32(values) => cycle(values, len, 0.5).into(),
            Self::Moments(moments) => cycle(moments, len, Moments::new()).into(),
            Self::Bytes(bytes) => cycle(bytes, len, 0xA5).into(),
        }
    }

    /// These elements, in this order.
    pub fn picked(&self, indices: &[usize]) -> Self {
        match self {
            Self::Absent => Self::Absent,
            Self::F32(values) => indices.iter().map(|&i| values[i]).collect::<Vec<_>>().into(),
            Self::Moments(moments) => {
                indices.iter().map(|&i| moments[i]).collect::<Vec<_>>().into()
            }
            Self::Bytes(bytes) => indices.iter().map(|&i| bytes[i]).collect::<Vec<_>>().into(),
        }
    }

    /// The bits of every element (three words of moments), every NaN counting as the same one: its
    /// sign and payload are outside the contract.
    pub fn bits(&self) -> Vec<[u64; 3]> {
        match self {
            Self::Absent => Vec::new(),
            Self::F32(values) => values.iter().map(|&v| [bits(v).into(), 0, 0]).collect(),
            Self::Bytes(bytes) => bytes.iter().map(|&v| [v.into(), 0, 0]).collect(),
            Self::Moments(moments) => moments
                .iter()
                .map(|m| [m.count(), wide_bits(m.mean()), wide_bits(m.m2())])
                .collect(),
        }
    }

    /// The numbers as the oracle reads them; of moments count, mean and m2.
    pub fn wide(&self) -> Vec<f64> {
        match self {
            Self::Absent => Vec::new(),
            Self::F32(values) => values.iter().map(|&v| v.into()).collect(),
            Self::Bytes(bytes) => bytes.iter().map(|&v| v.into()).collect(),
            Self::Moments(moments) => {
                moments.iter().flat_map(|m| [m.count() as f64, m.mean(), m.m2()]).collect()
            }
        }
    }
}

/// The bits of a float, every NaN counting as the same one.
pub const fn bits(v: f32) -> u32 {
    if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }
}

const fn wide_bits(v: f64) -> u64 {
    if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }
}

/// One array a slot.
#[derive(Clone, Debug)]
pub struct Arrays {
    names: Vec<&'static str>,
    arrays: Vec<Array>,
}

impl Arrays {
    /// All absent so far.
    pub fn new<O>(slots: &[Slot<O>]) -> Self {
        let names: Vec<_> = slots.iter().map(|slot| slot.name).collect();
        let arrays = vec![Array::Absent; names.len()];
        Self { names, arrays }
    }

    fn place(&self, name: &str) -> usize {
        let place = self.names.iter().position(|known| *known == name);
        place.unwrap_or_else(|| panic!("no slot {name} among {:?}", self.names))
    }

    pub fn get(&self, name: &str) -> &Array {
        &self.arrays[self.place(name)]
    }

    pub fn get_mut(&mut self, name: &str) -> &mut Array {
        let place = self.place(name);
        &mut self.arrays[place]
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.contains(&name) && !self.get(name).is_absent()
    }

    /// Names and arrays, in the order of the slots.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Array)> {
        self.names.iter().copied().zip(&self.arrays)
    }

    pub fn at(&self, slot: usize) -> &Array {
        &self.arrays[slot]
    }

    pub fn at_mut(&mut self, slot: usize) -> &mut Array {
        &mut self.arrays[slot]
    }

    pub fn len(&self) -> usize {
        self.arrays.len()
    }

    pub fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }

    /// An array that may be absent.
    pub fn maybe(&self, name: &str) -> Option<&[f32]> {
        match self.get(name) {
            Array::F32(values) => Some(values),
            _ => None,
        }
    }

    pub fn f32(&self, name: &str) -> &[f32] {
        self.maybe(name).unwrap_or_else(|| panic!("{name} is absent"))
    }

    pub fn moments(&self, name: &str) -> &[Moments] {
        match self.get(name) {
            Array::Moments(moments) => moments,
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn wide(&self, name: &str) -> Vec<f64> {
        self.get(name).wide()
    }

    pub fn maybe_wide(&self, name: &str) -> Option<Vec<f64>> {
        self.has(name).then(|| self.wide(name))
    }

    /// Writes an array, unless it is absent: a result that was not asked for.
    pub fn write(&mut self, name: &str, array: impl Into<Array>) {
        if self.has(name) {
            *self.get_mut(name) = array.into();
        }
    }

    /// All of them as arguments.
    pub fn args(&mut self) -> Args<'_> {
        let mut args = Args::default();
        for (arg, array) in args.iter_mut().zip(&mut self.arrays) {
            *arg = array.arg();
        }
        args
    }
}
