//! The protocol between a parent and the process that owns a log: lines of words.
//!
//! | request | answer, in this order |
//! |---|---|
//! | `begin RUN SIZE` | nothing |
//! | `append RECORDS` | records, seconds, seconds of CPU time |
//! | `usage` | resident KiB, descriptors, files; the strategy |
//! | `keep RECORDS` | nothing |
//! | `reopen` | records, bytes of files, segments; seconds to open, of recovery, to the first and \
//! to the last record |
//!
//! An answer begins with `ok`. A failure is `failed CODE EVIDENCE MESSAGE` and ends the process. An
//! unavailable figure is `-`.

use std::fmt;
use std::str::FromStr;

use crate::output::exit::Failure;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Create a log for records of this size, with the noise of this run.
    Begin { run: u64, size: usize },
    /// Append this many records, truncating on the way.
    Append(u64),
    /// Report the resource usage of the process.
    Usage,
    /// Truncate to this many records.
    Keep(u64),
    /// Close the log, reopen it and compare all records.
    Reopen,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Begin { run, size } => write!(f, "begin {run} {size}"),
            Request::Append(records) => write!(f, "append {records}"),
            Request::Usage => write!(f, "usage"),
            Request::Keep(records) => write!(f, "keep {records}"),
            Request::Reopen => write!(f, "reopen"),
        }
    }
}

impl FromStr for Request {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Request, Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let found = match words[..] {
            ["begin", run, size] => run.parse().ok().zip(size.parse().ok()),
            ["append", records] => return number(line, records).map(Request::Append),
            ["usage"] => return Ok(Request::Usage),
            ["keep", records] => return number(line, records).map(Request::Keep),
            ["reopen"] => return Ok(Request::Reopen),
            _ => None,
        };
        found.map(|(run, size)| Request::Begin { run, size }).ok_or_else(|| unexpected(line))
    }
}

/// The cost of appending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Appended {
    pub(crate) records: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: Option<f64>,
}

/// The resource usage of the process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) resident_kib: Option<u64>,
    pub(crate) descriptors: Option<u64>,
    /// Files in the directory of the log.
    pub(crate) files: u64,
    pub(crate) strategy: String,
}

/// The cost of opening with a cold cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Opened {
    /// Live records, all of them compared.
    pub(crate) records: u64,
    /// The size of all segments.
    pub(crate) file_bytes: u64,
    pub(crate) segments: u64,
    /// Seconds until the log was open.
    pub(crate) opened: f64,
    /// Seconds of recovery, as the log reports.
    pub(crate) recovered: f64,
    /// Seconds until the first record was read.
    pub(crate) first: f64,
    /// Seconds until all records were read and compared.
    pub(crate) last: f64,
}

impl fmt::Display for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.records, self.seconds, Known(self.cpu_seconds))
    }
}

impl FromStr for Appended {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Appended, Failure> {
        let [records, seconds, cpu] = words(line)?;
        let cpu_seconds = known(line, cpu)?;
        let (records, seconds) = (number(line, records)?, number(line, seconds)?);
        Ok(Appended { records, seconds, cpu_seconds })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resident, descriptors) = (Known(self.resident_kib), Known(self.descriptors));
        write!(f, "{resident} {descriptors} {} {}", self.files, self.strategy)
    }
}

impl FromStr for Usage {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Usage, Failure> {
        let [resident, descriptors, files, strategy] = words(line)?;
        Ok(Usage {
            resident_kib: known(line, resident)?,
            descriptors: known(line, descriptors)?,
            files: number(line, files)?,
            strategy: strategy.to_owned(),
        })
    }
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Opened { records, file_bytes, segments, opened, recovered, first, last } = self;
        write!(f, "{records} {file_bytes} {segments} {opened} {recovered} {first} {last}")
    }
}

impl FromStr for Opened {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Opened, Failure> {
        let [records, file_bytes, segments, opened, recovered, first, last] = words(line)?;
        Ok(Opened {
            records: number(line, records)?,
            file_bytes: number(line, file_bytes)?,
            segments: number(line, segments)?,
            opened: number(line, opened)?,
            recovered: number(line, recovered)?,
            first: number(line, first)?,
            last: number(line, last)?,
        })
    }
}

/// A figure, or a dash if it is unavailable.
struct Known<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(figure) => figure.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// The answer as one line.
pub(crate) fn answer(result: Result<String, &Failure>) -> String {
    match result {
        Ok(answer) => format!("ok {answer}"),
        Err(failure) => {
            // Keep the message on one line.
            let message = failure.to_string().replace('\n', " ");
            format!("failed {} {} {message}", failure.code(), failure.is_evidence())
        }
    }
}

/// Parses an answer.
pub(crate) fn answered(line: &str) -> Result<&str, Failure> {
    let line = line.trim_end();
    if let Some(answer) = line.strip_prefix("ok") {
        return Ok(answer);
    }
    let mut words = line.splitn(4, ' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("failed"), Some(code), Some(is_evidence), Some(message)) => Err(Failure::Passed {
            code: number(line, code)?,
            is_evidence: number(line, is_evidence)?,
            message: message.to_owned(),
        }),
        _ => Err(unexpected(line)),
    }
}

fn words<const N: usize>(line: &str) -> Result<[&str; N], Failure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.try_into().map_err(|_| unexpected(line))
}

fn number<T: FromStr>(line: &str, word: &str) -> Result<T, Failure> {
    word.parse().map_err(|_| unexpected(line))
}

fn known<T: FromStr>(line: &str, word: &str) -> Result<Option<T>, Failure> {
    if word == "-" { Ok(None) } else { number(line, word).map(Some) }
}

fn unexpected(line: &str) -> Failure {
    Failure::Invariant(format!(
        "unexpected line between the process of a log and its parent: {line:?}"
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn opened(records: u64, opened: f64) -> Opened {
        let (recovered, first, last) = (opened / 2.0, opened + 1.0, opened + 2.0);
        Opened { records, file_bytes: records * 8, segments: 3, opened, recovered, first, last }
    }

    #[track_caller]
    fn assert_comes_through<T>(said: T)
    where
        T: fmt::Display + FromStr<Err = Failure> + PartialEq + fmt::Debug,
    {
        let line = answer(Ok(said.to_string()));
        assert_eq!(answered(&line).unwrap().parse::<T>().unwrap(), said);
    }

    #[test]
    fn requests_and_answers_come_through_as_they_were() {
        let begin = Request::Begin { run: 3, size: 100 };
        for ask in [begin, Request::Append(9), Request::Usage, Request::Keep(8), Request::Reopen] {
            assert_comes_through(ask);
        }
        for cpu_seconds in [None, Some(0.1 + 0.2)] {
            assert_comes_through(Appended { records: 7, seconds: 1e-9, cpu_seconds });
        }
        let strategy = "write-then-sync".to_owned();
        let (resident_kib, descriptors) = (None, Some(5));
        assert_comes_through(Usage { resident_kib, descriptors, files: 2, strategy });
        assert_comes_through(opened(5, 0.3));
    }

    #[test]
    fn a_failure_keeps_its_message_its_code_and_whether_it_is_evidence() {
        let failures = [
            (Failure::Mismatch("record 3\nis lost".to_owned()), 1, true, "record 3 is lost"),
            (Failure::Request("no".to_owned()), 2, false, "no"),
        ];
        for (failure, code, is_evidence, message) in failures {
            let passed = answered(&answer(Err(&failure))).unwrap_err();
            assert_eq!((passed.code(), passed.is_evidence()), (code, is_evidence));
            assert!(passed.to_string().ends_with(message), "{passed}");
        }
    }

    #[test]
    fn what_nobody_says_is_refused() {
        for line in ["", "begin 1", "begin 1 x", "append", "append -1", "usage 1", "stop"] {
            assert!(line.parse::<Request>().is_err(), "{line}");
        }
        for line in ["", "failed", "failed 1 maybe x", "fine"] {
            assert!(matches!(answered(line), Err(Failure::Invariant(_))), "{line}");
        }
        assert!("1 2".parse::<Opened>().is_err() && "1 x -".parse::<Appended>().is_err());
    }
}
