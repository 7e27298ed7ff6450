//! No operation allocates, on any backend, whether it succeeds or not.

mod common {
    pub(crate) mod data;
    pub(crate) use ops::oracle;
}

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;
use std::hint::black_box;

use common::data::{Rng, layout};
use common::oracle::Shape;
use evenkeel::{
    Affine, Backend, BatchNorm, Constant, Dropout, Error, Given, Gradients, GroupNorm, Keep, Key,
    Layout, Moments, Philox, Running, Saved, Scaling, Standardize, Statistics, Weight, apart,
    in_place,
};
use rand_core::Rng as _;

thread_local! {
    /// Of this thread only: the test harness has threads of its own.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    ALLOCATIONS.with(|n| n.set(n.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        count();
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` is the system's.
        unsafe { System.dealloc(pointer, memory) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and `alloc` is the system's.
        unsafe { System.realloc(pointer, memory, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `call` and asserts that it neither took nor gave back memory.
#[track_caller]
fn quietly<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let before = ALLOCATIONS.with(Cell::get);
    let result = black_box(call());
    let after = ALLOCATIONS.with(Cell::get);
    assert!(before == after, "{what} allocated: {} calls", after - before);
    result
}

/// All memory that the operations of one case need.
struct Buffers {
    backend: Backend,
    layout: Layout,
    x: Vec<f32>,
    dy: Vec<f32>,
    y: Vec<f32>,
    parameters: Vec<f32>,
    outputs: [Vec<f32>; 4],
    groups: [Vec<f32>; 2],
    weight: Vec<f32>,
    moments: Vec<Moments>,
    mask: Vec<u8>,
}

impl Buffers {
    fn new(backend: Backend, shape: Shape, deviation: f64) -> Self {
        let mut rng = Rng::new(1);
        let (len, channels) = (shape.len(), shape.channels);
        Self {
            backend,
            layout: layout(shape),
            x: rng.normals(len, 0.0, deviation),
            dy: rng.normals(len, 0.0, 1.0),
            y: vec![0.0; len],
            parameters: rng.uniforms(channels, 0.5, 1.5),
            outputs: std::array::from_fn(|_| vec![0.0; channels]),
            groups: std::array::from_fn(|_| vec![0.0; shape.batch * channels]),
            weight: vec![1.0; 6 * channels],
            moments: vec![Moments::new(); channels],
            mask: vec![0; len.div_ceil(8)],
        }
    }

    fn norm(&self) -> BatchNorm {
        BatchNorm::new(self.layout).backend(self.backend)
    }

    fn train(&mut self) -> Result<(), Error> {
        let norm = self.norm();
        let [mean, var, saved_mean, rstd] = &mut self.outputs;
        let p = Some(&self.parameters[..]);
        quietly("train", || {
            let saved = Saved { mean: saved_mean, rstd };
            norm.train(
                apart(&self.x, &mut self.y),
                Affine { gamma: p, beta: p },
                Keep { running: Some(Running { mean, var }), saved: Some(saved) },
            )
        })?;
        quietly("train_in_place", || {
            let saved = Saved { mean: saved_mean, rstd };
            norm.train(
                in_place(&mut self.y),
                Affine { gamma: p, beta: p },
                Keep { running: Some(Running { mean, var }), saved: Some(saved) },
            )
        })
    }

    fn infer(&mut self) -> Result<(), Error> {
        let (norm, p) = (self.norm(), &self.parameters[..]);
        let moments = &mut self.moments;
        quietly("infer", || {
            norm.infer(
                apart(&self.x, &mut self.y),
                Affine::new(p, p),
                Given::Running { mean: p, var: p },
            )
        })?;
        quietly("infer_in_place", || {
            norm.infer(in_place(&mut self.y), Affine::NONE, Given::Running { mean: p, var: p })
        })?;
        quietly("collect", || norm.collect(&self.x, moments))?;
        quietly("infer_population", || {
            norm.infer(apart(&self.x, &mut self.y), Affine::new(p, p), Given::Population(moments))
        })?;
        quietly("infer_population_in_place", || {
            norm.infer(
                in_place(&mut self.y),
                Affine { gamma: Some(p), beta: None },
                Given::Population(moments),
            )
        })
    }

    fn backward(&mut self) -> Result<(), Error> {
        let (norm, p) = (self.norm(), &self.parameters[..]);
        let [dgamma, dbeta, ..] = &mut self.outputs;
        let y = &mut self.y;
        quietly("backward", || {
            let gradients = Gradients { x: Some(y), gamma: Some(dgamma), beta: Some(dbeta) };
            norm.backward(&self.dy, &self.x, Some(p), Statistics { mean: p, rstd: p }, gradients)
        })?;
        quietly("backward_inference", || {
            let gradients = Gradients { x: Some(y), gamma: Some(dgamma), beta: Some(dbeta) };
            norm.backward(&self.dy, &self.x, Some(p), Given::Running { mean: p, var: p }, gradients)
        })
    }

    fn fold(&mut self) -> Result<(), Error> {
        let (norm, p, weight) = (self.norm(), &self.parameters[..], &mut self.weight);
        let bias = &mut self.outputs[0];
        quietly("fold", || {
            norm.fold(
                Affine::new(p, p),
                Given::Running { mean: p, var: p },
                Weight::OutputFirst(weight),
                bias,
            )
        })?;
        quietly("fold_transposed", || {
            norm.fold(
                Affine::new(p, p),
                Given::Running { mean: p, var: p },
                Weight::Transposed { weight, groups: 1, kernel: 3 },
                bias,
            )
        })
    }

    fn group_norm(&mut self, groups: usize) -> Result<(), Error> {
        let norm = GroupNorm::new(self.layout, groups).backend(self.backend);
        let p = Some(&self.parameters[..]);
        let rows = self.layout.batch() * groups;
        let [mean, rstd] = self.groups.each_mut().map(|v| &mut v[..rows]);
        quietly("group norm", || {
            norm.forward(
                apart(&self.x, &mut self.y),
                Affine { gamma: p, beta: p },
                Some(Saved { mean, rstd }),
            )
        })?;
        quietly("group norm in place", || {
            norm.forward(in_place(&mut self.y), Affine { gamma: p, beta: p }, None)
        })
    }

    fn standardize(&mut self) -> Result<(), Error> {
        let op = Standardize::new(self.layout).backend(self.backend);
        let moments = &mut self.moments;
        quietly("fit", || op.fit(&self.x, moments))?;
        quietly("apply", || op.apply(apart(&self.x, &mut self.y), moments))?;
        let op = quietly("constant", || op.constant(Constant::Center));
        quietly("apply_in_place", || op.apply(in_place(&mut self.y), moments))
    }

    fn dropout(&mut self, p: f64) -> Result<(), Error> {
        let (x, y, len) = (&self.x[..], &mut self.y[..], self.x.len());
        let key = quietly("key", || Key::new(3).fold_in(7));
        for scaling in [Scaling::Inverted, Scaling::AtInference] {
            let op = quietly("new", || Dropout::new(p))?;
            let op = op.scaling(scaling).offset(5).backend(self.backend);
            quietly("forward", || op.forward(apart(x, y), key))?;
            quietly("forward_in_place", || op.forward(in_place(y), key))?;
            quietly("backward", || op.backward(apart(x, y), key))?;
            quietly("backward_in_place", || op.backward(in_place(y), key))?;
            quietly("infer", || op.infer(apart(x, y)))?;
            quietly("infer_in_place", || op.infer(in_place(y)))?;
            quietly("keep", || op.keep(key, 11));
            quietly("write_mask", || op.write_mask(len, key, &mut self.mask))?;
        }
        Ok(())
    }

    fn moments(&self) {
        let mut whole = quietly("Moments::of", || Moments::of(&self.x));
        quietly("merge", || whole.merge(&self.moments[0]));
        quietly("extend", || whole.extend(self.x.iter().copied()));
        quietly("variance", || whole.sample_variance());
    }

    fn philox(&mut self) {
        let key = quietly("from_rng", || Key::from_rng(&mut Philox::new(Key::new(1))));
        let mut philox = quietly("Philox::new", || Philox::new(key));
        quietly("words", || (philox.next_u32(), philox.next_u64()));
        quietly("fill_bytes", || philox.fill_bytes(&mut self.mask));
        quietly("set_word_pos", || philox.set_word_pos(12));
        quietly("set_stream", || philox.set_stream(3)).expect("below 2^62");
        quietly("philox4x32", || evenkeel::philox::philox4x32([1, 2, 3, 4], [5, 6]));
    }

    /// The last argument of each is too short.
    fn errors(&mut self) {
        let (norm, p) = (self.norm(), &self.parameters[..]);
        let short = &mut self.y[1..];
        let refused =
            quietly("train", || norm.train(apart(&self.x, short), Affine::NONE, Keep::NOTHING));
        assert!(refused.is_err());
        let refused = quietly("infer", || {
            norm.infer(apart(&self.x, short), Affine::NONE, Given::Running { mean: p, var: p })
        });
        assert!(refused.is_err());
        let op = GroupNorm::new(self.layout, 0);
        let refused =
            quietly("group norm", || op.forward(apart(&self.x, short), Affine::NONE, None));
        assert!(refused.is_err());
        assert!(quietly("new", || Dropout::new(2.0)).is_err());
        let op = Dropout::new(0.5).expect("a probability");
        assert!(quietly("forward", || op.forward(apart(&self.x, short), Key::new(1))).is_err());
    }

    fn all(&mut self) -> Result<(), Error> {
        self.train()?;
        self.infer()?;
        self.backward()?;
        self.fold()?;
        self.group_norm(1)?;
        self.group_norm(self.layout.channels())?;
        self.standardize()?;
        for p in [0.0, 0.25, 0.3, 1.0] {
            self.dropout(p)?;
        }
        self.moments();
        self.philox();
        self.errors();
        Ok(())
    }
}

#[test]
fn nothing_allocates() {
    let shapes = [
        Shape::dense(70, 37),
        Shape::first(3, 5, 49),
        Shape::first(2, 3, 2500),
        Shape::last(3, 49, 37),
        Shape::last(2, 700, 3),
        Shape::last(1, 900, 1),
        Shape::first(1, 1, 1),
    ];
    // The allocator is in place at all.
    let before = ALLOCATIONS.with(Cell::get);
    drop(black_box(vec![1_u8; 100]));
    assert!(ALLOCATIONS.with(Cell::get) >= before + 2);
    quietly("detect", Backend::detect);
    quietly("available", || Backend::available().count());
    for backend in Backend::available() {
        for shape in shapes {
            // The second is beyond f32's squares: the rescue must not allocate either.
            for deviation in [1.0, 1e25] {
                Buffers::new(backend, shape, deviation).all().unwrap();
            }
        }
    }
}
