//! Which backends this machine ran, and which it could not: a green run says nothing about an
//! instruction set that the CPU lacks. `cargo test --test backends -- --nocapture` prints it.

use evenkeel::Backend;

fn available() -> Vec<&'static str> {
    Backend::available().map(Backend::name).collect()
}

/// The backends that this architecture can have, best first, each with the features of it that the
/// CPU lacks.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn possible() -> Vec<(&'static str, Vec<&'static str>)> {
    macro_rules! missing {
        ($($feature:tt)*) => {
            [$((!is_x86_feature_detected!($feature)).then_some($feature)),*]
                .into_iter()
                .flatten()
                .collect()
        };
    }
    // What fearless_simd asks for, on 32 bits too: the levels of Ice Lake, x86-64-v3 and x86-64.
    vec![
        (
            "avx512",
            missing!("adx" "aes" "avx512bitalg" "avx512bw" "avx512cd" "avx512dq" "avx512f"
                "avx512ifma" "avx512vbmi" "avx512vbmi2" "avx512vl" "avx512vnni"
                "avx512vpopcntdq" "bmi1" "bmi2" "cmpxchg16b" "fma" "fxsr" "gfni" "lzcnt"
                "movbe" "pclmulqdq" "popcnt" "rdrand" "rdseed" "sha" "vaes" "vpclmulqdq"
                "xsave" "xsavec" "xsaveopt" "xsaves"),
        ),
        (
            "avx2",
            missing!("avx2" "bmi1" "bmi2" "cmpxchg16b" "f16c" "fma" "fxsr" "lzcnt" "movbe"
                "popcnt" "xsave"),
        ),
        if cfg!(all(target_feature = "sse4.2", target_feature = "popcnt")) {
            ("sse4.2", missing!("sse4.2" "popcnt" "cmpxchg16b" "fxsr"))
        } else {
            ("sse2", missing!("sse2" "fxsr"))
        },
        ("scalar", Vec::new()),
    ]
}

#[cfg(target_arch = "aarch64")]
fn possible() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![("neon", Vec::new()), ("scalar", Vec::new())]
}

/// WebAssembly has no detection: an engine without vectors refuses the whole module.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn possible() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![("simd128", Vec::new()), ("scalar", Vec::new())]
}

#[cfg(not(any(
    target_arch = "x86",
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
fn possible() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![("scalar", Vec::new())]
}

/// A backend that is silently left out would make every other test prove less than it seems to.
#[test]
fn every_backend_that_the_cpu_has_is_available() {
    for (name, missing) in possible() {
        if missing.is_empty() {
            println!("backend {name}: run");
        } else {
            println!("backend {name}: NOT RUN, the CPU lacks {}", missing.join(", "));
        }
        assert_eq!(available().contains(&name), missing.is_empty(), "{name}: {:?}", available());
    }
}

#[test]
fn the_best_backend_comes_first_and_scalar_last() {
    let expected: Vec<&str> = possible()
        .into_iter()
        .filter_map(|(name, missing)| missing.is_empty().then_some(name))
        .collect();
    assert_eq!(available(), expected);
    assert_eq!(Backend::detect().name(), expected[0]);
    assert_eq!(Backend::default(), Backend::detect());
}
