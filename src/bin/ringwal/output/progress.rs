//! A progress bar on standard error; hidden unless that is a terminal.

use std::fmt;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::output::stream::{stderr_is_terminal, stdout_is_terminal};

/// The progress of the records.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Progress toward `total` records, if known. With `acks` on the same terminal there is no bar:
    /// the lines show the progress, and a bar would break them.
    pub(crate) fn new(total: Option<u64>, acks: bool) -> Progress {
        if !stderr_is_terminal() || (acks && stdout_is_terminal()) {
            return Progress(None);
        }
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{bar:30} {pos}/{len} records, {rate} records/s, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {pos} records, {rate} records/s"),
        };
        // A template that does not parse only changes how the bar looks.
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A figure that cannot be formatted is not worth a failure.
            let _ = write!(out, "{:.0}", state.per_sec());
        });
        Progress(Some(bar.with_style(style)))
    }

    /// Progress toward `total` measurements.
    pub(crate) fn of_measurements(total: u64) -> Progress {
        if !stderr_is_terminal() {
            return Progress(None);
        }
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} measured, {eta} left");
        // A template that does not parse only changes how the bar looks.
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style);
        bar.tick();
        Progress(Some(bar))
    }

    /// Adds records or measurements.
    pub(crate) fn add(&self, records: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(records);
        }
    }

    /// Removes the bar, so that the next output starts at the beginning of the line.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
