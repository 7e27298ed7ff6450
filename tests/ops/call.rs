//! A call of an operation: its slices by name, and how they reach the crate. `no_std`.

use core::fmt::Debug;
use evenkeel::{
    Activation, Affine, Backend, Dropout, Error, Gradients, Io, Key, Layout, Moments, apart,
    in_place,
};

/// One verb of an operation.
pub trait Op: 'static {
    /// For messages.
    const NAME: &'static str;
    /// What the operation is configured with, beside the layout.
    type Options: Copy + Debug + 'static;
    /// The slices of the call, in the order in which they are checked.
    const SLOTS: &'static [Slot<Self::Options>];

    /// Makes the call. `args` are in the order of [`SLOTS`](Self::SLOTS).
    fn call(case: &Case<Self::Options>, backend: Backend, args: Args<'_>) -> Result<(), Error>;
}

/// Everything that a call depends on but its slices.
#[derive(Clone, Copy, Debug)]
pub struct Case<O> {
    pub layout: Layout,
    pub options: O,
    pub fused: Fused,
}

/// What is done after the operation in the same call. (A residual is a slice.)
#[derive(Clone, Copy, Debug, Default)]
pub struct Fused {
    pub activation: Option<Activation>,
    pub dropout: Option<(Dropout, Key)>,
}

/// One slice.
#[derive(Clone, Copy, Debug)]
pub struct Slot<O> {
    /// As errors name it.
    pub name: &'static str,
    pub role: Role,
    pub holds: Holds,
    /// The length that it must have.
    pub len: fn(&Case<O>) -> usize,
    /// It may be left out, together with all slots of the same number.
    pub optional: Option<u32>,
    /// A call of another length is refused. (What gives the length itself is not checked.)
    pub checked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Read,
    /// Read, then overwritten.
    Update,
    Write,
    /// Written, and may be the same memory as the first slice: the call is then in place.
    Result,
}

/// What a slice means, which is how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Data,
    /// dy.
    Gradient,
    Gamma,
    Beta,
    Mean,
    Variance,
    /// A variance that must have a root.
    Positive,
    SavedMean,
    SavedRstd,
    Moments,
    /// Numbers with no rule: a residual, weights.
    Any,
    Bytes,
    /// Nothing before the call.
    Nothing,
}

/// The number of the residual among the slots that may be left out.
pub const RESIDUAL: u32 = 31;

impl<O> Slot<O> {
    const fn new(role: Role, name: &'static str, holds: Holds, len: fn(&Case<O>) -> usize) -> Self {
        Self { name, role, holds, len, optional: None, checked: true }
    }

    pub const fn read(name: &'static str, holds: Holds, len: fn(&Case<O>) -> usize) -> Self {
        Self::new(Role::Read, name, holds, len)
    }

    pub const fn update(name: &'static str, holds: Holds, len: fn(&Case<O>) -> usize) -> Self {
        Self::new(Role::Update, name, holds, len)
    }

    pub const fn write(name: &'static str, len: fn(&Case<O>) -> usize) -> Self {
        Self::new(Role::Write, name, Holds::Nothing, len)
    }

    pub const fn result(name: &'static str, len: fn(&Case<O>) -> usize) -> Self {
        Self::new(Role::Result, name, Holds::Nothing, len)
    }

    pub const fn optional(self, number: u32) -> Self {
        Self { optional: Some(number), ..self }
    }

    pub const fn unchecked(self) -> Self {
        Self { checked: false, ..self }
    }

    /// The input of an [`Io`].
    pub const fn x() -> Self {
        Self::read("x", Holds::Data, elements)
    }

    /// The output of an [`Io`].
    pub const fn y() -> Self {
        Self::result("y", elements)
    }

    /// The residual of an [`Io`].
    pub const fn residual() -> Self {
        Self::update("residual", Holds::Any, elements).optional(RESIDUAL)
    }

    pub const fn gamma() -> Self {
        Self::read("gamma", Holds::Gamma, channels).optional(0)
    }

    pub const fn beta() -> Self {
        Self::read("beta", Holds::Beta, channels).optional(1)
    }

    pub const fn moments() -> Self {
        Self::read("moments", Holds::Moments, channels)
    }
}

/// One a element.
pub fn elements<O>(case: &Case<O>) -> usize {
    case.layout.len()
}

/// One a channel.
pub fn channels<O>(case: &Case<O>) -> usize {
    case.layout.channels()
}

/// A slice as it is passed, or nothing where it is left out.
#[derive(Debug, Default)]
pub enum Arg<'a> {
    #[default]
    Absent,
    F32(&'a mut [f32]),
    Moments(&'a mut [Moments]),
    Bytes(&'a mut [u8]),
}

/// The arguments of a call; those after its last slot are absent.
pub type Args<'a> = [Arg<'a>; 10];

impl<'a> Arg<'a> {
    /// A slice that may be left out.
    pub fn maybe(self) -> Option<&'a mut [f32]> {
        match self {
            Self::F32(values) => Some(values),
            _ => None,
        }
    }

    /// A slice to read that may be left out.
    pub fn maybe_read(self) -> Option<&'a [f32]> {
        self.maybe().map(|values| &*values)
    }

    /// A slice that is there.
    pub fn f32(self) -> &'a mut [f32] {
        self.maybe().unwrap_or_default()
    }

    pub fn moments(self) -> &'a mut [Moments] {
        match self {
            Self::Moments(moments) => moments,
            _ => &mut [],
        }
    }

    pub fn bytes(self) -> &'a mut [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &mut [],
        }
    }

    /// Two slices that come together, or neither.
    pub fn pair(self, other: Self) -> Option<[&'a mut [f32]; 2]> {
        Some([self.maybe()?, other.maybe()?])
    }
}

/// In place where the input is absent.
pub fn io<'a>(x: Arg<'a>, y: Arg<'a>) -> Io<'a> {
    match x {
        Arg::F32(x) => apart(x, y.f32()),
        _ => in_place(y.f32()),
    }
}

/// The same with all that is fused to the operation.
pub fn decorated<'a, O>(case: &Case<O>, x: Arg<'a>, y: Arg<'a>, residual: Arg<'a>) -> Io<'a> {
    let mut io = io(x, y);
    if let Some(residual) = residual.maybe() {
        io = io.add(residual);
    }
    if let Some(activation) = case.fused.activation {
        io = io.then(activation);
    }
    match case.fused.dropout {
        Some((dropout, key)) => io.drop(&dropout, key),
        None => io,
    }
}

pub fn affine<'a>(gamma: Arg<'a>, beta: Arg<'a>) -> Affine<'a> {
    Affine { gamma: gamma.maybe_read(), beta: beta.maybe_read() }
}

pub fn gradients<'a>(x: Arg<'a>, gamma: Arg<'a>, beta: Arg<'a>) -> Gradients<'a> {
    Gradients { x: x.maybe(), gamma: gamma.maybe(), beta: beta.maybe() }
}
