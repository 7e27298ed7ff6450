//! Which instruction sets exist, and the one place that chooses among them.

use core::fmt;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use fearless_simd::x86::{Avx2, Avx512};
use fearless_simd::{Level, Simd};

pub(crate) use scalar::Token as Scalar;

/// An instruction set that this machine can run.
///
/// Every operation gives the same bits on every backend; the choice is a matter of speed alone. An
/// unsupported backend cannot be constructed.
///
/// | name | vectors | on |
/// |---|---|---|
/// | `avx512` | 512 bits | x86 (Ice Lake and later) |
/// | `avx2` | 256 bits | x86 |
/// | `sse2` | 128 bits | x86 |
/// | `neon` | 128 bits | aarch64 |
/// | `simd128` | 128 bits | wasm built with `+simd128` |
/// | `scalar` | none | everything else; with feature `scalar` everywhere |
///
/// With feature `std` the best one is found at run time. Without it, x86 uses what the compilation
/// target guarantees (`-C target-cpu` raises that).
///
/// # Examples
///
/// ```
/// use evenkeel::{Affine, Backend, BatchNorm, Keep, Layout, in_place};
/// let layout = Layout::dense(4, 2)?;
/// for backend in Backend::available() {
///     let mut x = [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0];
///     let bn = BatchNorm::new(layout).backend(backend);
///     bn.train(in_place(&mut x), Affine::NONE, Keep::NOTHING)?;
///     assert_eq!(x[0].to_bits(), (-1.3416355_f32).to_bits(), "{backend}");
/// }
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Backend(pub(crate) Isa);

/// The tokens prove that the instruction set is there. SSE4.2 adds no instruction that these
/// kernels use, so it gets no copy of them, except in the place of SSE2's where the compilation
/// target guarantees it.
#[derive(Clone, Copy)]
pub(crate) enum Isa {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Avx512(Avx512),
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Avx2(Avx2),
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Sse(sse::Token),
    #[cfg(target_arch = "aarch64")]
    Neon(fearless_simd::aarch64::Neon),
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128(fearless_simd::wasm32::WasmSimd128),
    Scalar(Scalar),
}

/// The scalar backend exists as `fearless_simd` says: where nothing better is guaranteed, or on
/// request.
#[cfg(any(
    feature = "scalar",
    not(any(
        all(target_arch = "aarch64", target_feature = "neon"),
        all(
            any(target_arch = "x86", target_arch = "x86_64"),
            target_feature = "sse2",
            target_feature = "fxsr"
        ),
        all(target_arch = "wasm32", target_feature = "simd128")
    ))
))]
mod scalar {
    pub(crate) type Token = fearless_simd::Fallback;

    impl super::Target for Token {
        const SCALAR: bool = true;
    }

    pub(super) const fn token() -> Option<Token> {
        Some(Token::new())
    }

    pub(super) const fn from_level(level: fearless_simd::Level) -> Token {
        match level {
            fearless_simd::Level::Fallback(token) => token,
            // Evaluated at compile time only: see `BASELINE`.
            _ => panic!("a compile-time level without a backend"),
        }
    }

    /// Runs a dispatch body on the scalar token.
    macro_rules! scalar_arm {
        ($token:expr, $simd:ident => $body:expr) => {{
            let $simd = $token;
            fearless_simd::Simd::vectorize(
                $simd,
                #[inline(always)]
                || $body,
            )
        }};
    }
    pub(crate) use scalar_arm;
}

#[cfg(not(any(
    feature = "scalar",
    not(any(
        all(target_arch = "aarch64", target_feature = "neon"),
        all(
            any(target_arch = "x86", target_arch = "x86_64"),
            target_feature = "sse2",
            target_feature = "fxsr"
        ),
        all(target_arch = "wasm32", target_feature = "simd128")
    ))
)))]
mod scalar {
    /// No value of this type exists.
    pub(crate) type Token = core::convert::Infallible;

    pub(super) const fn token() -> Option<Token> {
        None
    }

    pub(super) const fn from_level(_: fearless_simd::Level) -> Token {
        // Evaluated at compile time only: see `BASELINE`.
        panic!("a compile-time level without a backend")
    }

    /// The arm of a backend that cannot exist.
    macro_rules! scalar_arm {
        ($token:expr, $simd:ident => $body:expr) => {
            match $token {}
        };
    }
    pub(crate) use scalar_arm;
}
pub(crate) use scalar::scalar_arm;

/// The 128-bit backend of x86: SSE2, or SSE4.2 where that is guaranteed anyway.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod sse {
    use fearless_simd::Level;

    #[cfg(all(target_feature = "sse4.2", target_feature = "popcnt"))]
    mod guaranteed {
        pub(crate) type Token = fearless_simd::x86::Sse4_2;
        pub(super) const NAME: &str = "sse4.2";

        pub(super) fn token(level: super::Level) -> Option<Token> {
            level.as_sse4_2()
        }
    }

    #[cfg(not(all(target_feature = "sse4.2", target_feature = "popcnt")))]
    mod guaranteed {
        pub(crate) type Token = fearless_simd::x86::Sse2;
        pub(super) const NAME: &str = "sse2";

        pub(super) fn token(level: super::Level) -> Option<Token> {
            level.as_sse2()
        }
    }

    pub(crate) use guaranteed::Token;
    pub(super) const NAME: &str = guaranteed::NAME;

    pub(super) fn token(level: Level) -> Option<Token> {
        guaranteed::token(level)
    }
}

/// An instruction set as the kernels see it.
pub(crate) trait Target: Simd {
    /// Whether it has no vectors: then kernels go lane by lane, with little flash and stack.
    const SCALAR: bool = false;
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Target for Avx512 {}
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Target for Avx2 {}
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Target for sse::Token {}
#[cfg(target_arch = "aarch64")]
impl Target for fearless_simd::aarch64::Neon {}
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
impl Target for fearless_simd::wasm32::WasmSimd128 {}

/// What the compilation target guarantees. A constant, so that a target for which this list has no
/// answer fails to compile instead of failing to run.
const BASELINE: Isa = match Level::baseline() {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Level::Avx512(token) => Isa::Avx512(token),
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Level::Avx2(token) => Isa::Avx2(token),
    #[cfg(all(
        any(target_arch = "x86", target_arch = "x86_64"),
        target_feature = "sse4.2",
        target_feature = "popcnt"
    ))]
    Level::Sse4_2(token) => Isa::Sse(token),
    #[cfg(all(
        any(target_arch = "x86", target_arch = "x86_64"),
        not(all(target_feature = "sse4.2", target_feature = "popcnt"))
    ))]
    Level::Sse2(token) => Isa::Sse(token),
    #[cfg(target_arch = "aarch64")]
    Level::Neon(token) => Isa::Neon(token),
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Level::WasmSimd128(token) => Isa::Simd128(token),
    #[allow(unreachable_patterns, reason = "some targets have one level only")]
    level => Isa::Scalar(scalar::from_level(level)),
};

/// Runs an expression on the instruction set of a backend: `dispatch!(backend, simd => f(simd, …))`.
///
/// The body is compiled once for every instruction set. What it calls must be `#[inline(always)]`
/// down to the vector operations, or it loses the instruction set's features.
macro_rules! dispatch {
    ($backend:expr, $simd:ident => $body:expr) => {{
        use $crate::backend::{Isa, scalar_arm};
        #[allow(unused_imports, reason = "a target without vectors does not use it")]
        use fearless_simd::Simd as _;
        match $backend.0 {
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Isa::Avx512($simd) => $simd.vectorize(#[inline(always)] || $body),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Isa::Avx2($simd) => $simd.vectorize(#[inline(always)] || $body),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Isa::Sse($simd) => $simd.vectorize(#[inline(always)] || $body),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon($simd) => $simd.vectorize(#[inline(always)] || $body),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128($simd) => $simd.vectorize(#[inline(always)] || $body),
            Isa::Scalar(token) => scalar_arm!(token, $simd => $body),
        }
    }};
}
pub(crate) use dispatch;

impl Backend {
    /// Finds the best backend of this machine.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self(BASELINE))
    }

    /// Lists every backend that this machine can run, the best first and `scalar` last.
    pub fn available() -> impl Iterator<Item = Self> {
        let level = Level::try_detect().unwrap_or(Level::baseline());
        vector_backends(level)
            .into_iter()
            .flatten()
            .chain(scalar::token().map(Isa::Scalar))
            .map(Self)
    }

    /// The name of the instruction set, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Isa::Avx512(_) => "avx512",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Isa::Avx2(_) => "avx2",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Isa::Sse(_) => sse::NAME,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128(_) => "simd128",
            Isa::Scalar(_) => "scalar",
        }
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn vector_backends(level: Level) -> [Option<Isa>; 3] {
    [
        level.as_avx512().map(Isa::Avx512),
        level.as_avx2().map(Isa::Avx2),
        sse::token(level).map(Isa::Sse),
    ]
}

#[cfg(target_arch = "aarch64")]
fn vector_backends(level: Level) -> [Option<Isa>; 1] {
    [level.as_neon().map(Isa::Neon)]
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn vector_backends(level: Level) -> [Option<Isa>; 1] {
    [level.as_wasm_simd128().map(Isa::Simd128)]
}

#[cfg(not(any(
    target_arch = "x86",
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
fn vector_backends(_: Level) -> [Option<Isa>; 0] {
    []
}

impl Default for Backend {
    /// The best backend of this machine.
    fn default() -> Self {
        Self::detect()
    }
}

impl PartialEq for Backend {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Backend {}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backend").field(&self.name()).finish()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
