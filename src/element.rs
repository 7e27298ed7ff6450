//! What lies in memory.

mod sealed {
    pub trait Sealed {}
}

/// A type of data that operations work on. Sealed: `f32` so far.
pub trait Element: Copy + Default + sealed::Sealed + 'static {
    /// The type of parameters and statistics beside such data.
    type Param: Copy + Default + 'static;
}

impl sealed::Sealed for f32 {}

impl Element for f32 {
    type Param = Self;
}
