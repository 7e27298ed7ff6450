//! The learning curves as a picture.

use std::error::Error;
use std::fs::{OpenOptions, create_dir_all, remove_file};
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use crate::data::TEST;
use crate::experiment::ByForm;
use crate::network::Form;
use crate::training::{Run, percent};

const SIZE: (u32, u32) = (900, 560);
/// Tell-apart colours of Okabe and Ito, also for readers who are colour-blind.
const COLOURS: ByForm<RGBColor> = [
    RGBColor(0, 0, 0),
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// Makes the folder and tries to open the file in it, so that a folder that can't be written to is
/// reported before the training and not after it. An older picture stays, and a new one doesn't
/// appear yet.
pub(crate) fn prepare(folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join("curves.svg");
    let attempt = || {
        create_dir_all(folder)?;
        let existed = path.try_exists()?;
        OpenOptions::new().create(true).append(true).open(&path)?;
        if existed { Ok(()) } else { remove_file(&path) }
    };
    attempt().map_err(|error: io::Error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Draws test accuracy against steps for each form, the mean over seeds.
pub(crate) fn draw(seeds: &[ByForm<Run>]) -> Result<String, String> {
    let curves = Form::ALL.map(|form| mean_curve(seeds, form as usize));
    let mut caption = String::from("Handwritten digits: right answers on the test images");
    if seeds.len() > 1 {
        caption += &format!(", mean over {} seeds", seeds.len());
    }
    let mut svg = String::new();
    draw_curves(&caption, &curves, &mut svg).map_err(|error| format!("the picture: {error}"))?;
    Ok(svg)
}

/// A point of a curve: step, % of test images right.
type Place = (f64, f64);

/// The mean of a form's curves. All runs look at the test set after the same steps.
fn mean_curve(seeds: &[ByForm<Run>], form: usize) -> Vec<Place> {
    let Some(first) = seeds.first() else { return Vec::new() };
    let point = |i: usize| {
        let correct: usize = seeds.iter().map(|runs| runs[form].curve[i].correct).sum();
        (real(first[form].curve[i].step), percent(correct, TEST * seeds.len()))
    };
    (0..first[form].curve.len()).map(point).collect()
}

fn draw_curves(
    caption: &str,
    curves: &ByForm<Vec<Place>>,
    svg: &mut String,
) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let floor = floor(curves);
    let curves = curves.each_ref().map(|curve| above(curve, floor));
    let steps = || curves.iter().flatten().flatten().map(|place| place.0);
    let last = steps().fold(10.0, f64::max);
    let first = steps().fold(last / 2.0, f64::min);
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(56)
        // The forms differ most in the first steps: a logarithmic axis gives those the room.
        .build_cartesian_2d((first..last).log_scale(), floor..100.0)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc("test images right, %")
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 16))
        .x_labels(20)
        .x_label_formatter(&step_label)
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .light_line_style(WHITE)
        .draw()?;

    for ((form, pieces), colour) in Form::ALL.iter().zip(curves).zip(COLOURS) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(pieces.into_iter().map(|piece| PathElement::new(piece, style)))?
            .label(form.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .label_font(("sans-serif", 14))
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// The pieces of a curve that are not below the picture, cut off exactly at its lower edge.
fn above(curve: &[Place], floor: f64) -> Vec<Vec<Place>> {
    let inside = |place: Place| place.1 >= floor;
    let mut pieces = Vec::new();
    let mut piece: Vec<Place> =
        curve.first().copied().filter(|&at| inside(at)).into_iter().collect();
    for (&from, &to) in curve.iter().zip(curve.iter().skip(1)) {
        if inside(from) != inside(to) {
            piece.push(crossing(from, to, floor));
        }
        if inside(to) {
            piece.push(to);
        } else {
            pieces.push(take(&mut piece));
        }
    }
    pieces.push(piece);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Where the line between two places crosses a height, on the logarithmic axis of steps.
fn crossing((x0, y0): Place, (x1, y1): Place, y: f64) -> Place {
    (x0 * (x1 / x0).powf((y - y0) / (y1 - y0)), y)
}

/// Labels 10, 20, 50, 100 and so on: the others would overlap.
fn step_label(step: &f64) -> String {
    let digits = format!("{step:.0}");
    let labelled = digits.starts_with(['1', '2', '5']);
    if labelled { digits } else { String::new() }
}

/// The lower end of the vertical axis: near the interesting part, unless a form ends below it.
fn floor(curves: &ByForm<Vec<Place>>) -> f64 {
    let last = curves.iter().filter_map(|curve| curve.last()).map(|point| point.1);
    if last.fold(100.0, f64::min) > 85.0 { 80.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn real(step: u64) -> f64 {
    step as f64
}
