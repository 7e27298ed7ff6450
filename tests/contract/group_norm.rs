//! What only GroupNorm has to answer for.

use evenkeel::Layout;
use ops::draw::{KINDS, Kind, draw};
use ops::group_norm::{Forward, Options};
use ops::{Case, Source, Subject};

use crate::judge::{case, check, check_against, how};
use crate::shapes;

fn divisors(channels: usize) -> impl Iterator<Item = usize> {
    (1..=channels).filter(move |groups| channels.is_multiple_of(*groups))
}

/// A case with this number of groups.
fn grouped(layout: Layout, groups: usize, turn: usize) -> Case<Options> {
    let case = case::<Forward>(layout, turn);
    Case { options: Options { groups, ..case.options }, ..case }
}

#[test]
fn every_number_of_groups() {
    let mut turn = 0;
    for layout in shapes::all() {
        for groups in divisors(layout.channels()) {
            let kind = [Kind::Normal, Kind::Mean(1e6), Kind::Scale(1e-20)][turn % 3];
            check::<Forward>(&grouped(layout, groups, turn), &how(kind, turn), turn);
            turn += 1;
        }
    }
}

/// Groups that begin anywhere in a vector, of every kind of data.
#[test]
fn one_group_and_many() {
    let more = [(2, 6, 70), (1, 20, 130), (2, 12, 9), (1, 35, 200), (3, 8, 257)];
    let layouts = more.into_iter().flat_map(|(n, c, s)| shapes::layouts(n, c, s));
    for (turn, layout) in layouts.enumerate() {
        let divisors: Vec<usize> = divisors(layout.channels()).collect();
        for (i, kind) in KINDS.into_iter().enumerate() {
            let turn = turn + 3 * i;
            for groups in [1, divisors[turn % divisors.len()]] {
                check::<Forward>(&grouped(layout, groups, turn), &how(kind, turn), turn);
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
        for (scale, groups) in
            [1.0, 0.0, 1e15].into_iter().flat_map(|s| [1, 2, 4, 10].map(|g| (s, g)))
        {
            let (case, how) = (grouped(layout, groups, turn), how(Kind::Normal, turn));
            let mut arrays = draw::<Forward>(&case, &how, &mut Source::new(turn));
            let mut x = arrays.f32("x").to_vec();
            for (i, value) in x.iter_mut().enumerate() {
                *value *= scale;
                // Constant in each of the blocks of 64 rows.
                if i % 20 == 7 {
                    *value = if i < 64 * 20 { constant } else { -constant };
                }
            }
            arrays.write("x", x);
            let mut expected = arrays.clone();
            Forward::reference(&case, &mut expected);
            check_against::<Forward>(&case, &arrays, &expected, &how, turn);
        }
    }
}
