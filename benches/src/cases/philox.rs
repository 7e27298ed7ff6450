//! Philox as a generator of words.

use std::hint::black_box;

use evenkeel::{Key, Philox};
use rand_core::Rng;

use super::{Case, Work};

/// The cases of both ways to draw; an element is a word of 32 bits. The generator is scalar code.
///
/// Neither touches the tensors: the copy beside them moves as many bytes as are drawn, both ways.
pub fn cases() -> Vec<Case> {
    const LEN: usize = 1 << 15;
    let case = |op: &str, build: fn() -> Work| Case {
        op: format!("philox/{op}"),
        shape: LEN.to_string(),
        layout: "-",
        backend: "scalar",
        elements: LEN,
        build: Box::new(build),
    };
    let fill_bytes = || {
        let (mut random, mut bytes) = (Philox::new(Key::new(1)), vec![0; 4 * LEN]);
        Work::new(LEN, move |_, _| {
            random.fill_bytes(&mut bytes);
            black_box(&bytes);
        })
    };
    let next_u32 = || {
        let mut random = Philox::new(Key::new(1));
        Work::new(LEN, move |_, _| {
            for _ in 0..LEN {
                black_box(random.next_u32());
            }
        })
    };
    vec![case("fill_bytes", fill_bytes), case("next_u32", next_u32)]
}
