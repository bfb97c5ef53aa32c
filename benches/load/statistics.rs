//! Medians and percentiles.

/// A middle and its extremes.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// # Panics
    /// Without a value.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        Self { median: percentile(&values, 50.0), min: values[0], max: values[values.len() - 1] }
    }

    /// `median (min - max)`.
    pub fn show(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} - {:.digits$})", self.median, self.min, self.max)
    }
}

/// The least of the ascending `values` that `percent` of them do not exceed.
///
/// # Panics
/// Without a value.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}
