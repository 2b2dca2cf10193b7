//! The time series of a run: its gauges, counters, rows and CSV file.
//!
//! A row has the peak of each gauge (memory, descriptors, segments) since the previous row, the
//! counters since the start, and the latency quantiles since the previous row. A missing value is
//! empty.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use ringwal::wal::segment::list_segments;

use crate::output::exit::Failure;
use crate::util::process::{descriptors, resident_kib};

/// The gauges at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    pub(crate) resident_kib: Option<u64>,
    pub(crate) descriptors: Option<u64>,
    pub(crate) segments: u64,
}

impl Gauges {
    /// Reads the gauges of this process plus those of a writer process.
    pub(crate) fn read(store: &Path, writer: Option<u32>) -> Gauges {
        let add = |one: Option<u64>, other: Option<u64>| Some(one? + other.unwrap_or(0));
        let of_writer = writer.map(|pid| pid.to_string());
        let of_writer = of_writer.as_deref();
        Gauges {
            resident_kib: add(resident_kib("self"), of_writer.and_then(resident_kib)),
            descriptors: add(descriptors("self"), of_writer.and_then(descriptors)),
            // A store that cannot be listed fails where it is used.
            segments: list_segments(store).map_or(0, |segments| segments.len() as u64),
        }
    }

    /// The maximum of each gauge.
    pub(crate) fn max(self, other: Gauges) -> Gauges {
        Gauges {
            resident_kib: self.resident_kib.max(other.resident_kib),
            descriptors: self.descriptors.max(other.descriptors),
            segments: self.segments.max(other.segments),
        }
    }
}

/// The latencies of one kind of call.
#[derive(Debug)]
pub(crate) struct CallLatencies(Histogram<u64>);

impl CallLatencies {
    pub(crate) fn new() -> CallLatencies {
        // The valid range is 0 to 5.
        CallLatencies(Histogram::new(3).expect("three significant digits are valid"))
    }

    pub(crate) fn note(&mut self, nanos: u64) {
        // The histogram resizes itself, so recording cannot fail.
        let _ = self.0.record(nanos);
    }

    /// Returns the median and the 99th percentile in microseconds, `None` without calls, and
    /// resets.
    fn take(&mut self) -> [Option<f64>; 2] {
        let at = |quantile| {
            let nanos = || self.0.value_at_quantile(quantile) as f64;
            (!self.0.is_empty()).then(|| nanos() / 1e3)
        };
        let taken = [at(0.5), at(0.99)];
        self.0.reset();
        taken
    }
}

/// The counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
    pub(crate) gets: u64,
    pub(crate) fsyncs: u64,
    pub(crate) rotations: u64,
    pub(crate) compactions: u64,
    pub(crate) written_bytes: u64,
    pub(crate) restarts: u64,
    pub(crate) kills: u64,
}

/// A row of the time series.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) elapsed: Duration,
    pub(crate) gauges: Gauges,
    pub(crate) keys: u64,
    pub(crate) counts: Counts,
    put_micros: [Option<f64>; 2],
    fsync_micros: [Option<f64>; 2],
}

/// The columns in order.
pub(crate) const COLUMNS: [&str; 17] = [
    "elapsed_s",
    "resident_kib",
    "descriptors",
    "segments",
    "live_keys",
    "puts",
    "deletes",
    "rotations",
    "compactions",
    "written_bytes",
    "put_p50_us",
    "put_p99_us",
    "fsync_p50_us",
    "fsync_p99_us",
    "gets",
    "restarts",
    "kills",
];

impl Row {
    /// The values of the columns in order.
    pub(crate) fn values(&self) -> [Option<f64>; COLUMNS.len()] {
        let Row { gauges, counts, .. } = self;
        let some = |number: u64| Some(number as f64);
        [
            Some(self.elapsed.as_secs_f64()),
            gauges.resident_kib.and_then(some),
            gauges.descriptors.and_then(some),
            some(gauges.segments),
            some(self.keys),
            some(counts.puts),
            some(counts.deletes),
            some(counts.rotations),
            some(counts.compactions),
            some(counts.written_bytes),
            self.put_micros[0],
            self.put_micros[1],
            self.fsync_micros[0],
            self.fsync_micros[1],
            some(counts.gets),
            some(counts.restarts),
            some(counts.kills),
        ]
    }

    fn line(&self) -> String {
        let mut line = String::new();
        for (name, value) in COLUMNS.iter().zip(self.values()) {
            let digits = usize::from(name.ends_with("_us") || name.ends_with("_s"));
            if !line.is_empty() {
                line.push(',');
            }
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = write!(line, "{value:.digits$}");
            }
        }
        line.push('\n');
        line
    }

    /// The row as a progress line.
    pub(crate) fn progress(&self) -> String {
        let Row { gauges, counts, .. } = self;
        let shown = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
        let micros = |[half, most]: [Option<f64>; 2]| match (half, most) {
            (Some(half), Some(most)) => format!("{half:.0}/{most:.0} us"),
            _ => "none".to_owned(),
        };
        format!(
            "{:>6.0} s  {} puts, {} deletes, {} gets; {} keys, {} segments; {} KiB, {} \
             descriptors; {} compactions, {} restarts, {} kills; put p50/p99 {}, fsync {}",
            self.elapsed.as_secs_f64(),
            counts.puts,
            counts.deletes,
            counts.gets,
            self.keys,
            gauges.segments,
            shown(gauges.resident_kib),
            shown(gauges.descriptors),
            counts.compactions,
            counts.restarts,
            counts.kills,
            micros(self.put_micros),
            micros(self.fsync_micros),
        )
    }
}

/// The time series of a run.
pub(crate) struct TimeSeries {
    path: PathBuf,
    file: File,
    pub(crate) rows: Vec<Row>,
    peak: Gauges,
    pub(crate) puts: CallLatencies,
    pub(crate) fsyncs: CallLatencies,
}

impl TimeSeries {
    /// Creates the CSV file.
    pub(crate) fn create(path: PathBuf) -> io::Result<TimeSeries> {
        let mut file = File::create(&path)?;
        file.write_all(format!("{}\n", COLUMNS.join(",")).as_bytes())?;
        let (puts, fsyncs) = (CallLatencies::new(), CallLatencies::new());
        Ok(TimeSeries { path, file, rows: Vec::new(), peak: Gauges::default(), puts, fsyncs })
    }

    pub(crate) fn note(&mut self, gauges: Gauges) {
        self.peak = self.peak.max(gauges);
    }

    /// Writes the current row.
    pub(crate) fn add_row(
        &mut self,
        elapsed: Duration,
        keys: u64,
        counts: Counts,
    ) -> Result<&Row, Failure> {
        let row = Row {
            elapsed,
            gauges: std::mem::take(&mut self.peak),
            keys,
            counts,
            put_micros: self.puts.take(),
            fsync_micros: self.fsyncs.take(),
        };
        let written = self.file.write_all(row.line().as_bytes());
        written.map_err(|error| Failure::Raw(self.path.clone(), error))?;
        self.rows.push(row);
        let added = self.rows.last();
        Ok(added.expect("a row was pushed just above"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(secs: u64, resident_kib: u64, segments: u64, compactions: u64) -> Row {
        let gauges = Gauges { resident_kib: Some(resident_kib), descriptors: Some(9), segments };
        let counts = Counts { puts: secs * 10, compactions, ..Counts::default() };
        let elapsed = Duration::from_secs(secs);
        let put_micros = [Some(1.25), Some(2.0)];
        Row { elapsed, gauges, keys: 3, counts, put_micros, fsync_micros: [None, None] }
    }

    #[test]
    fn a_row_has_a_value_for_each_column_or_leaves_it_empty() {
        let line = row(60, 2048, 4, 1).line();
        assert_eq!(line, "60.0,2048,9,4,3,600,0,0,1,0,1.2,2.0,,,0,0,0\n");
        assert_eq!(line.matches(',').count() + 1, COLUMNS.len());
    }

    #[test]
    fn a_row_has_the_greatest_since_the_one_before_and_quantiles_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut series = TimeSeries::create(dir.path().join("rows")).unwrap();
        let gauges = |segments| Gauges { segments, ..Gauges::default() };
        series.note(gauges(5));
        series.note(gauges(3));
        series.puts.note(2000);
        let row = series.add_row(Duration::ZERO, 0, Counts::default()).unwrap();
        assert_eq!(row.gauges.segments, 5);
        assert!(row.put_micros[0].is_some_and(|micros| (micros - 2.0).abs() < 0.01));
        series.note(gauges(2));
        let row = series.add_row(Duration::ZERO, 0, Counts::default()).unwrap();
        assert_eq!((row.gauges.segments, row.put_micros), (2, [None, None]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_and_descriptors_of_this_process_are_known_here() {
        let before = Gauges::read(Path::new("."), None);
        let file = File::open("/proc/self/status").unwrap();
        let after = Gauges::read(Path::new("."), Some(std::process::id()));
        assert!(before.resident_kib.is_some_and(|kib| kib > 0));
        assert!(after.resident_kib > before.resident_kib && after.descriptors > Some(1));
        drop(file);
    }
}
