//! Dropout: the training forward pass, and the mask alone; the other calls in one size.

use std::hint::black_box;

use evenkeel::stream::Stream;
use evenkeel::{
    AlphaDropout, Backend, Dropout, FeatureDropout, Fill, GaussianDropout, Key, Layout, Scaling,
    SeluAlphaDropout, apart, in_place,
};

use super::{Case, Work};

const VALID: &str = "lengths agree";

/// Makes one of the calls ready to run.
type Build = fn(Dropout, usize) -> Work;

/// The cases of forward and mask: two arrays that a cache of 512 KiB holds together with the output (the
/// second barely), and one that no cache holds. With p = 0.5 the random byte alone decides, with
/// p = 0.3 one element of 256 needs a second random number.
pub fn cases(backend: Backend) -> Vec<Case> {
    let mut cases = Vec::new();
    for p in [0.3, 0.5] {
        let dropout = Dropout::new(p).expect("p is a probability").backend(backend);
        let ops: [(&str, Build); 2] = [("forward", forward), ("mask", mask)];
        for (op, build) in ops {
            for len in [1 << 15, 1 << 16, 32 * 64 * 56 * 56] {
                cases.push(case(backend, op, build, dropout, len));
            }
        }
    }
    let dropout = Dropout::new(0.3).expect("p is a probability").backend(backend);
    let others: [(&str, Build); 3] =
        [("forward_in_place", forward_in_place), ("backward", backward), ("infer", infer)];
    cases.extend(others.map(|(op, build)| case(backend, op, build, dropout, 1 << 15)));
    cases.extend([1 << 15, 32 * 64 * 56 * 56].map(|len| alpha(backend, len)));
    cases.extend(numbers(backend));
    cases.extend(["first", "last"].map(|layout| feature(backend, layout)));
    cases
}

fn alpha(backend: Backend, elements: usize) -> Case {
    let dropout = AlphaDropout::new(0.3).expect("p is a probability").backend(backend);
    let build = move || {
        let mut key = keys();
        Work::new(elements, move |[x, _], y| {
            dropout.forward(apart(x, y), key()).expect(VALID);
        })
    };
    Case {
        op: "alpha_dropout/forward, p = 0.3".to_owned(),
        shape: elements.to_string(),
        layout: "-",
        backend: backend.name(),
        elements,
        build: Box::new(build),
    }
}

/// Numbers, and Gaussian dropout; in the second-level cache.
fn numbers(backend: Backend) -> [Case; 6] {
    const LEN: usize = 1 << 15;
    let fill = move |key| Fill::new(key).backend(backend);
    let gaussian = GaussianDropout::new(0.3).expect("p is a probability").backend(backend);
    let case = |op: &str, build: Box<dyn Fn() -> Work>| Case {
        op: op.to_owned(),
        shape: LEN.to_string(),
        layout: "-",
        backend: backend.name(),
        elements: LEN,
        build,
    };
    let words = move || {
        let (mut key, mut words) = (keys(), vec![0; LEN]);
        Work::new(LEN, move |_, _| {
            fill(key()).words(&mut words).expect(VALID);
            black_box(&words);
        })
    };
    let uniform = move || {
        let mut key = keys();
        Work::new(LEN, move |_, y| fill(key()).uniform(y, -1.0, 1.0).expect(VALID))
    };
    let normal = move || {
        let mut key = keys();
        Work::new(LEN, move |_, y| fill(key()).normal(y, 0.0, 1.0).expect(VALID))
    };
    let dropout = move || {
        let mut key = keys();
        Work::new(LEN, move |[x, _], y| {
            gaussian.forward(apart(x, y), key()).expect(VALID);
        })
    };
    let fused = SeluAlphaDropout::new(0.05).expect("p is a probability").backend(backend);
    let selu = move || {
        let mut key = keys();
        Work::new(LEN, move |[x, _], y| fused.forward(apart(x, y), key()).expect(VALID))
    };
    let triton = Dropout::new(0.3).and_then(|dropout| dropout.stream(Stream::Triton));
    let triton = triton.expect("p is a probability").backend(backend);
    let triton = move || {
        let mut key = keys();
        Work::new(LEN, move |[x, _], y| triton.forward(apart(x, y), key()).expect(VALID))
    };
    [
        case("selu_alpha_dropout/forward, p = 0.05", Box::new(selu)),
        case("stream_dropout/triton, p = 0.3", Box::new(triton)),
        case("fill/words", Box::new(words)),
        case("fill/uniform", Box::new(uniform)),
        case("fill/normal", Box::new(normal)),
        case("gaussian_dropout/forward, p = 0.3", Box::new(dropout)),
    ]
}

fn feature(backend: Backend, layout: &'static str) -> Case {
    let (batch, channels, spatial) = (32, 64, 56 * 56);
    let shape = match layout {
        "first" => Layout::channels_first(batch, channels, spatial),
        _ => Layout::channels_last(batch, spatial, channels),
    };
    let shape = shape.expect("it fits into memory");
    let dropout = FeatureDropout::new(shape, 0.3).expect("p is a probability").backend(backend);
    let build = move || {
        let mut key = keys();
        Work::new(shape.len(), move |[x, _], y| {
            dropout.forward(apart(x, y), key()).expect(VALID);
        })
    };
    Case {
        op: "feature_dropout/forward, p = 0.3".to_owned(),
        shape: "32x64x56x56".to_owned(),
        layout,
        backend: backend.name(),
        elements: shape.len(),
        build: Box::new(build),
    }
}

fn case(backend: Backend, op: &str, build: Build, dropout: Dropout, len: usize) -> Case {
    Case {
        op: format!("dropout/{op}, p = {}", dropout.p()),
        shape: len.to_string(),
        layout: "-",
        backend: backend.name(),
        elements: len,
        build: Box::new(move || build(dropout, len)),
    }
}

/// A new key for every call. With one key for all, the branch predictor would learn where the
/// ties are.
fn keys() -> impl FnMut() -> Key {
    let mut step = 0;
    move || {
        step += 1;
        Key::new(1).fold_in(step)
    }
}

fn forward(dropout: Dropout, len: usize) -> Work {
    let mut key = keys();
    Work::new(len, move |[x, _], y| {
        dropout.forward(apart(x, y), key()).expect(VALID);
    })
}

/// The tensor runs empty, which nothing here depends on.
fn forward_in_place(dropout: Dropout, len: usize) -> Work {
    let mut key = keys();
    Work::new(len, move |_, y| {
        dropout.forward(in_place(y), key()).expect(VALID);
    })
}

fn backward(dropout: Dropout, len: usize) -> Work {
    let mut key = keys();
    Work::new(len, move |[_, dy], dx| {
        dropout.backward(apart(dy, dx), key()).expect(VALID);
    })
}

/// Scaled, that is; with [`Scaling::Inverted`] it would be a copy.
fn infer(dropout: Dropout, len: usize) -> Work {
    let dropout = dropout.scaling(Scaling::AtInference);
    Work::new(len, move |[x, _], y| {
        dropout.infer(apart(x, y)).expect(VALID);
    })
}

fn mask(dropout: Dropout, len: usize) -> Work {
    let mut key = keys();
    let mut mask = vec![0; len.div_ceil(8)];
    Work::new(len, move |_, _| {
        dropout.write_mask(len, key(), &mut mask).expect(VALID);
        black_box(&mask);
    })
}
