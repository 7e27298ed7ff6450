//! GroupNorm forward.

use evenkeel::{Backend, GroupNorm, Layout, Saved, apart, in_place};

use crate::data::{KINDS, Kind, Source};
use crate::guarded::Guarded;
use crate::reference::batch_norm::Affine;
use crate::reference::group_norm::{Forward, forward};
use crate::shapes;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) layout: Layout,
    pub(crate) groups: usize,
    pub(crate) kind: Kind,
    pub(crate) turn: usize,
}

impl Case {
    pub(crate) fn check(&self) {
        let mut source = Source::new(self.turn);
        let x = source.fill(self.kind, &self.layout);
        self.check_values(&x, source);
    }

    fn check_values(&self, x: &[f32], mut source: Source) {
        let channels = self.layout.channels();
        self.check_with(x, &source.normals(channels), &source.normals(channels));
    }

    fn check_with(&self, x: &[f32], gamma: &[f32], beta: &[f32]) {
        let affine = Affine {
            gamma: (self.turn % 3 != 1).then_some(gamma),
            beta: (self.turn % 4 != 1).then_some(beta),
        };
        let eps = [1e-5, 0.0][self.turn % 2];
        let expected = forward(&self.layout, self.groups, eps, x, affine);
        for backend in Backend::available() {
            let op = GroupNorm::new(self.layout, self.groups).eps(eps).backend(backend);
            self.check_call(op, x, affine, &expected, backend);
        }
    }

    fn check_call(
        &self,
        op: GroupNorm,
        x: &[f32],
        affine: Affine<'_>,
        expected: &Forward,
        backend: Backend,
    ) {
        let context = (backend.name(), self);
        let (from, to) = (self.turn % 16, self.turn / 16 % 16);
        let groups = self.layout.batch() * self.groups;
        let mut mean = Guarded::new(&vec![-7.0; groups], from);
        let mut rstd = Guarded::new(&vec![-7.0; groups], to);
        let mut x = Guarded::new(x, from);
        let mut y = Guarded::output(x.values().len(), to);
        let saved = Some(Saved { mean: mean.inside(), rstd: rstd.inside() });
        op.forward(
            apart(x.values(), y.inside()),
            evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
            saved,
        )
        .expect("a correct call");
        op.forward(
            in_place(x.inside()),
            evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
            None,
        )
        .expect("a correct call");
        y.assert(&expected.y, "y of forward", &context);
        x.assert(&expected.y, "y of forward_in_place", &context);
        if !self.layout.is_empty() {
            mean.assert(&expected.saved_mean, "saved mean", &context);
            rstd.assert(&expected.saved_rstd, "saved rstd", &context);
        }
    }
}

fn divisors(channels: usize) -> Vec<usize> {
    (1..=channels).filter(|groups| channels.is_multiple_of(*groups)).collect()
}

#[test]
fn every_shape() {
    let mut turn = 0;
    for layout in shapes::all() {
        for groups in divisors(layout.channels()) {
            let kind = [Kind::Normal, Kind::Mean(1e6), Kind::Scale(1e-20)][turn % 3];
            Case { layout, groups, kind, turn }.check();
            turn += 1;
        }
    }
}

#[test]
fn every_kind_of_data() {
    let mut turn = 0;
    let more = [(2, 6, 70), (1, 20, 130), (2, 12, 9), (1, 35, 200), (3, 8, 257)];
    let more = more.into_iter().flat_map(|(n, c, s)| shapes::layouts(n, c, s));
    for layout in shapes::few().into_iter().chain(more) {
        let divisors = divisors(layout.channels());
        for kind in KINDS {
            let groups = divisors[turn % divisors.len()];
            Case { layout, groups, kind, turn }.check();
            Case { layout, groups: 1, kind, turn: turn + 1 }.check();
            turn += 3;
        }
    }
}

#[test]
fn every_alignment() {
    for (batch, channels, spatial) in [(2, 1, 40), (2, 4, 19), (3, 21, 1), (2, 18, 3)] {
        for layout in shapes::layouts(batch, channels, spatial) {
            let divisors = divisors(layout.channels());
            for turn in 0..256 {
                let groups = divisors[turn % divisors.len()];
                Case { layout, groups, kind: Kind::Normal, turn }.check();
            }
        }
    }
    for layout in shapes::full_blocks() {
        for turn in shapes::ALIGNMENTS {
            Case { layout, groups: 1, kind: Kind::Normal, turn }.check();
        }
    }
}

/// γ and β of any bits.
#[test]
fn odd_parameters() {
    let mut turn = 0;
    for layout in shapes::few() {
        for kind in [Kind::Normal, Kind::AnyFinite, Kind::Scale(1e15), Kind::Scale(1e-15)] {
            let channels = layout.channels();
            for groups in divisors(channels) {
                let mut source = Source::new(turn);
                let x = source.fill(kind, &layout);
                let [gamma, beta] = [(); 2].map(|()| source.odd_parameters(channels));
                Case { layout, groups, kind, turn }.check_with(&x, &gamma, &beta);
                turn += 1;
            }
        }
    }
}

/// A channel whose own variance leaves the limits of section 5 makes its group wide, whatever the
/// variance of the group is.
#[test]
fn one_wide_channel() {
    let layout = Layout::channels_last(1, 130, 20).expect("a small layout");
    for (turn, constant) in [3e19, 1e-20, 1e-40].into_iter().enumerate() {
        for scale in [1.0, 0.0, 1e15] {
            let mut source = Source::new(turn);
            let mut x = source.fill(Kind::Normal, &layout);
            for (i, value) in x.iter_mut().enumerate() {
                *value *= scale;
                // Constant in each of the blocks of 64 rows.
                if i % 20 == 7 {
                    *value = if i < 64 * 20 { constant } else { -constant };
                }
            }
            for groups in [1, 2, 4, 10] {
                let kind = Kind::SomeConstants(constant);
                Case { layout, groups, kind, turn }.check_values(&x, Source::new(turn));
            }
        }
    }
}
