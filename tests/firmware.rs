//! README.md's examples for firmware. What is between the two marks is in README, word for word.

// README begins
use evenkeel::{Affine, Error, GroupNorm, Layout, Moments, Standardize, in_place};

/// Sensor readings in turn: temperature, humidity, temperature, … What Python printed.
const TRAINED: [Moments; 2] = [
    Moments::from_parts(6, 20.75, 3.9349999999999987),
    Moments::from_parts(6, 0.4233333333333333, 0.00433333333333333),
];

/// Brings readings to the scale that the network was trained with.
fn scale_as_trained(readings: &mut [f32]) -> Result<(), Error> {
    let layout = Layout::dense(readings.len() / 2, 2)?;
    Standardize::new(layout).apply(in_place(readings), &TRAINED)
}

/// Gives a window of one sensor mean 0 and variance 1, by its own statistics.
fn normalize_window(window: &mut [f32]) -> Result<(), Error> {
    let layout = Layout::channels_first(1, 1, window.len())?;
    GroupNorm::new(layout, 1).forward(in_place(window), Affine::NONE, None)
}
// README ends

#[test]
fn readme_has_these_examples() {
    let (_, rest) = include_str!("firmware.rs").split_once("// README begins\n").expect("begins");
    let (examples, _) = rest.split_once("// README ends\n").expect("ends");
    assert!(include_str!("../README.md").contains(examples));
}

#[test]
fn moments_from_numpy_scale_as_numpy_does() -> Result<(), Error> {
    // The first of the six readings that Python had, and a reading of means.
    let mut readings = [20.1, 0.41, 20.75, 0.423_333_34];
    scale_as_trained(&mut readings)?;
    let expected = [-0.802_632, -0.496_139, 0.0, 0.0];
    for (found, expected) in readings.iter().zip(expected) {
        assert!((found - expected).abs() < 2e-6, "{readings:?}");
    }
    // An odd reading is one value too few.
    assert!(scale_as_trained(&mut [0.0; 5]).is_err());
    Ok(())
}

#[test]
fn moments_from_numpy_are_those_of_the_data() {
    let data = [[20.1, 20.4, 19.8, 21.0, 22.3, 20.9], [0.41, 0.43, 0.40, 0.39, 0.47, 0.44_f64]];
    for (values, trained) in data.iter().zip(TRAINED) {
        let moments: Moments = values.iter().collect();
        assert_eq!(moments.count(), trained.count());
        assert!((moments.mean() / trained.mean() - 1.0).abs() < 1e-13);
        assert!((moments.m2() / trained.m2() - 1.0).abs() < 1e-13);
    }
}

#[test]
fn a_window_is_normalized_by_its_own_statistics() -> Result<(), Error> {
    let mut window = [1013.0, 1012.0, 1014.0, 1015.0, 1011.0];
    normalize_window(&mut window)?;
    // Deviations 0, −1, 1, 2, −2, of variance 2.
    for (found, deviation) in window.iter().zip([0.0, -1.0, 1.0, 2.0, -2.0]) {
        assert!((found - deviation / 2f32.sqrt()).abs() < 1e-5, "{window:?}");
    }
    Ok(())
}

/// An operation's line of README's table: flash and stack of the worst order, instructions of both.
fn table_line(operation: &str, row: &str) -> String {
    let budgets = include_str!("../firmware/budgets.txt").lines().filter(|l| !l.starts_with('#'));
    let columns = budgets.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let find = |order: &str| columns.clone().find(|columns| columns[0] == format!("{row}{order}"));
    let rows: Vec<Vec<&str>> =
        ["_first", "_last", "_any", ""].into_iter().filter_map(find).collect();
    let most = |column: usize| {
        let bytes = rows.iter().map(|columns| columns[column].parse::<u32>().expect("bytes"));
        bytes.max().expect("budgets.txt has the row")
    };
    let instructions = |order: usize| rows.get(order).map_or("–", |columns| columns[4]);
    let (flash, stack) = (most(2), most(3));
    format!("| `{operation}` | {flash} | {stack} | {} | {} |\n", instructions(0), instructions(1))
}

#[test]
fn readme_has_the_numbers_of_the_budgets() {
    let operations = [
        ("BatchNorm::infer", "batch_norm_infer"),
        ("BatchNorm::train", "batch_norm_train"),
        ("BatchNorm::backward", "batch_norm_backward"),
        ("BatchNorm::fold", "batch_norm_fold"),
        ("GroupNorm::forward", "group_norm_forward"),
        ("GroupNorm::backward", "group_norm_backward"),
        ("InstanceNorm::forward", "instance_norm_forward"),
        ("LayerNorm::forward", "layer_norm_forward"),
        ("LayerNorm::backward", "layer_norm_backward"),
        ("RmsNorm::forward", "rms_norm_forward"),
        ("RmsNorm::backward", "rms_norm_backward"),
        ("Standardize::fit", "standardize_fit"),
        ("Standardize::apply", "standardize_apply"),
        ("Dropout::forward", "dropout_forward"),
        ("AlphaDropout::forward", "alpha_dropout_forward"),
        ("FeatureDropout::forward", "feature_dropout_forward"),
        ("FeatureAlphaDropout::forward", "feature_alpha_dropout_forward"),
        ("SeluAlphaDropout::forward", "selu_alpha_dropout_forward"),
        ("SeluAlphaDropout::backward", "selu_alpha_dropout_backward"),
        ("StreamDropout::forward", "stream_dropout_triton"),
        ("Selu::forward", "selu_forward"),
        ("Selu::backward", "selu_backward"),
        ("DropConnect::forward", "drop_connect_forward"),
        ("DropConnect::backward", "drop_connect_backward"),
        ("GaussianDropout::forward", "gaussian_dropout_forward"),
        ("Fill::uniform", "fill_uniform"),
        ("Fill::normal", "fill_normal"),
        ("Moments::of", "moments_of"),
        ("Moments::push", "moments_push"),
    ];
    let table: String = operations.iter().map(|(name, row)| table_line(name, row)).collect();
    assert!(include_str!("../README.md").contains(&table), "README.md's table should be\n{table}");
}
