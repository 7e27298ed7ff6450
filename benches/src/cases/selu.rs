//! SELU: forward and backward.

use evenkeel::{Backend, Selu, apart, in_place};

use super::{Case, Work};

const VALID: &str = "lengths agree";

/// Makes one of the calls ready to run.
type Build = fn(Selu, usize) -> Work;

/// Forward and backward: an array that a cache of 512 KiB holds together with the output, and one that
/// no cache holds. Forward in place in the first size.
pub fn cases(backend: Backend) -> Vec<Case> {
    let mut cases = Vec::new();
    let ops: [(&str, Build); 2] = [("forward", forward), ("backward", backward)];
    for (op, build) in ops {
        for len in [1 << 15, 32 * 64 * 56 * 56] {
            cases.push(case(backend, op, build, len));
        }
    }
    cases.push(case(backend, "forward_in_place", forward_in_place, 1 << 15));
    cases
}

fn case(backend: Backend, op: &str, build: Build, len: usize) -> Case {
    let selu = Selu::new().backend(backend);
    Case {
        op: format!("selu/{op}"),
        shape: len.to_string(),
        layout: "-",
        backend: backend.name(),
        elements: len,
        build: Box::new(move || build(selu, len)),
    }
}

fn forward(selu: Selu, len: usize) -> Work {
    Work::new(len, move |[x, _], y| {
        selu.forward(apart(x, y)).expect(VALID);
    })
}

/// The tensor comes to the fixed points of SELU, which nothing here depends on.
fn forward_in_place(selu: Selu, len: usize) -> Work {
    Work::new(len, move |_, y| {
        selu.forward(in_place(y)).expect(VALID);
    })
}

fn backward(selu: Selu, len: usize) -> Work {
    Work::new(len, move |[x, dy], dx| {
        selu.backward(apart(dy, dx), x).expect(VALID);
    })
}
