//! A progress bar on standard error, for people: nothing is shown when it is not a terminal.

use std::fmt;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::output::stream::{stderr_is_terminal, stdout_is_terminal};

/// How far the records are.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Of `total` records, if that is known. With `acks` on the same terminal there is no bar: the
    /// lines show the progress, and a bar would cut them up.
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
        // A template that does not parse costs the look of the bar, nothing else.
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // What cannot be shown is not worth a failure.
            let _ = write!(out, "{:.0}", state.per_sec());
        });
        Progress(Some(bar.with_style(style)))
    }

    /// Of so many measurements of logs.
    pub(crate) fn of_measurements(total: u64) -> Progress {
        if !stderr_is_terminal() {
            return Progress(None);
        }
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} measured, {eta} left");
        // A template that does not parse costs the look of the bar, nothing else.
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style);
        bar.tick();
        Progress(Some(bar))
    }

    /// So many records, or measurements, more.
    pub(crate) fn add(&self, records: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(records);
        }
    }

    /// Removes the bar, so that what is printed next begins at the line's start.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
