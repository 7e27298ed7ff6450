//! No operation allocates, on any backend, whether it succeeds or not.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;
use std::hint::black_box;

use evenkeel::{Activation, Backend, Dropout, Key, Layout, Moments, Philox};
use ops::draw::{How, Kind, ORDINARY, draw};
use ops::{Array, Case, Fused, Role, Source, Subject, for_every_subject};
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

/// Every call of a subject: apart, in place, decorated, refused.
fn calls<S: Subject>(backend: Backend, layout: Layout, x: Kind) {
    for turn in 0..4 {
        let mut source = Source::new(turn);
        let dropout = Dropout::new(0.4).expect("a probability").backend(backend);
        // Decorated and not.
        let fused = match turn % 2 {
            0 => {
                let activation = [Activation::Relu, Activation::Selu][usize::from(turn == 2)];
                Fused { activation: Some(activation), dropout: Some((dropout, Key::new(1))) }
            }
            _ => Fused::default(),
        };
        let case = Case { layout, options: S::options(&layout, &mut source), fused };
        let how = How { x, present: if turn < 2 { u32::MAX } else { 0 }, ..ORDINARY };
        let mut arrays = draw::<S>(&case, &how, &mut source);
        let result = quietly(S::NAME, || S::call(&case, backend, arrays.args()));
        result.expect("a correct call");

        if S::SLOTS.iter().any(|slot| slot.role == Role::Result) {
            *arrays.at_mut(0) = Array::Absent;
            let result = quietly(S::NAME, || S::call(&case, backend, arrays.args()));
            result.expect("a correct call in place");
        }
        refused::<S>(backend, &case, &how);
    }
}

/// The last slice is too long.
fn refused<S: Subject>(backend: Backend, case: &Case<S::Options>, how: &How) {
    let mut arrays = draw::<S>(case, how, &mut Source::new(1));
    let checked = |i: &usize| S::SLOTS[*i].checked && !arrays.at(*i).is_absent();
    if let Some(last) = (0..S::SLOTS.len()).rev().find(checked) {
        *arrays.at_mut(last) = arrays.at(last).resized(arrays.at(last).len() + 1);
        assert!(quietly(S::NAME, || S::call(case, backend, arrays.args())).is_err());
    }
}

fn every_call(backend: Backend, layout: Layout, x: Kind) {
    macro_rules! all {
        ($($name:ident: $subject:ty,)*) => {
            $(calls::<$subject>(backend, layout, x);)*
        };
    }
    for_every_subject!(all);
}

/// What is no operation on tensors.
fn the_rest(x: &[f32]) {
    let mut whole = quietly("Moments::of", || Moments::of(x));
    quietly("merge", || whole.merge(&Moments::of(x)));
    quietly("extend", || whole.extend(x.iter().copied()));
    quietly("variance", || whole.sample_variance());

    let key = quietly("from_rng", || Key::from_rng(&mut Philox::new(Key::new(1))));
    let key = quietly("fold_in", || key.fold_in(7));
    let (mut philox, mut bytes) = (quietly("Philox::new", || Philox::new(key)), [0; 70]);
    quietly("words", || (philox.next_u32(), philox.next_u64()));
    quietly("fill_bytes", || philox.fill_bytes(&mut bytes));
    quietly("set_word_pos", || philox.set_word_pos(12));
    quietly("set_stream", || philox.set_stream(3)).expect("below 2^62");
    quietly("philox4x32", || evenkeel::philox::philox4x32([1, 2, 3, 4], [5, 6]));
    quietly("keep", || Dropout::new(0.3).expect("a probability").keep(key, 11));
    assert!(quietly("new", || Dropout::new(2.0)).is_err());
}

#[test]
fn nothing_allocates() {
    let layouts = [
        Layout::dense(70, 37),
        Layout::channels_first(3, 5, 49),
        Layout::channels_first(2, 3, 2500),
        Layout::channels_last(3, 49, 37),
        Layout::channels_last(2, 700, 3),
        Layout::channels_last(1, 900, 1),
        Layout::channels_first(1, 1, 1),
    ];
    // The allocator is in place at all.
    let before = ALLOCATIONS.with(Cell::get);
    drop(black_box(vec![1_u8; 100]));
    assert!(ALLOCATIONS.with(Cell::get) >= before + 2);
    quietly("detect", Backend::detect);
    quietly("available", || Backend::available().count());
    for backend in Backend::available() {
        for layout in layouts.map(|layout| layout.expect("a small layout")) {
            // The second is beyond f32's squares: the rescue must not allocate either.
            for x in [Kind::Normal, Kind::Scale(1e25)] {
                every_call(backend, layout, x);
                the_rest(&Source::new(1).fill(x, &layout));
            }
        }
    }
}
