//! The process's CPU time, the device's flushes, and background load on the processors.
//!
//! 1. A figure that is unavailable is `None`, never 0.
//! 2. The device's figures cover the whole device, including other programs' writes, so they are an
//!    upper bound on what a log did.
//! 3. The CPU time excludes the background load.

pub(crate) mod cache_drop;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::output::exit::Failure;

/// The block device below a directory, if it can be determined.
#[derive(Debug)]
pub(crate) struct Device {
    /// Its name, or why it is unknown.
    pub(crate) name: Result<String, String>,
    /// `write back` or `write through`, as the kernel reports it.
    pub(crate) write_cache: Option<String>,
    /// Whether the device supports forced writes (FUA), which are not counted as flushes.
    pub(crate) forced_writes: bool,
    stat: Option<PathBuf>,
}

impl Device {
    /// The device of the file system that `dir` is on.
    pub(crate) fn below(dir: &Path) -> Device {
        match find(dir) {
            Ok((name, path)) => {
                let queue = |entry| fs::read_to_string(path.join("queue").join(entry)).ok();
                Device {
                    name: Ok(name),
                    write_cache: queue("write_cache").map(|text| text.trim().to_owned()),
                    forced_writes: queue("fua").is_some_and(|text| text.trim() == "1"),
                    stat: Some(path.join("stat")),
                }
            }
            Err(reason) => {
                Device { name: Err(reason), write_cache: None, forced_writes: false, stat: None }
            }
        }
    }

    /// Whether every durable write needs a flush that the device counts.
    pub(crate) fn counts_every_flush(&self) -> bool {
        self.write_cache.as_deref() == Some("write back") && !self.forced_writes
    }

    fn figures(&self) -> Option<Figures> {
        parse_stat(&fs::read_to_string(self.stat.as_ref()?).ok()?)
    }
}

#[cfg(target_os = "linux")]
fn find(dir: &Path) -> Result<(String, PathBuf), String> {
    use std::os::unix::fs::MetadataExt;

    let dev = fs::metadata(dir).map_err(|error| error.to_string())?.dev();
    let major = ((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff);
    let minor = (dev & 0xff) | ((dev >> 12) & 0xffff_ff00);
    let path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))
        .map_err(|_| "the file system is not on a single block device".to_owned())?;
    let whole = match path.parent() {
        Some(parent) if path.join("partition").exists() => parent.to_path_buf(),
        _ => path,
    };
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stacked = fs::read_dir(whole.join("slaves")).is_ok_and(|mut below| below.next().is_some());
    if stacked {
        return Err(format!("{name} is stacked on other devices and does not count flushes"));
    }
    Ok((name, whole))
}

#[cfg(not(target_os = "linux"))]
fn find(_dir: &Path) -> Result<(String, PathBuf), String> {
    Err("it is known on Linux only".to_owned())
}

/// The counters of a device since it was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Figures {
    flushes: u64,
    written_bytes: u64,
}

/// A line of `/sys/block/*/stat`: 7 is the sectors written, 16 the flushes (Linux 5.5 or newer).
fn parse_stat(text: &str) -> Option<Figures> {
    const SECTOR_BYTES: u64 = 512;
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
    let sectors = fields.nth(6)??;
    let flushes = fields.nth(8)??;
    Some(Figures { flushes, written_bytes: sectors * SECTOR_BYTES })
}

/// A moment and the counters at it.
#[derive(Debug)]
pub(crate) struct Mark {
    at: Instant,
    cpu: Option<Duration>,
    device: Option<Figures>,
}

/// The difference between a mark and now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Option<Duration>,
    pub(crate) flushes: Option<u64>,
    pub(crate) device_bytes: Option<u64>,
}

impl Mark {
    pub(crate) fn now(device: &Device) -> Mark {
        let (cpu, device) = (cpu_time(), device.figures());
        Mark { at: Instant::now(), cpu, device }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// The counters since the mark, for a measurement that ended after `elapsed`. They are read one
    /// after the other, so they may cover a little more, never less.
    pub(crate) fn spent(&self, device: &Device, elapsed: Duration) -> Spent {
        let (device, cpu) = (device.figures(), cpu_time());
        let since = |figure: fn(&Figures) -> u64| {
            let (then, now) = (self.device.as_ref()?, device.as_ref()?);
            Some(figure(now).saturating_sub(figure(then)))
        };
        Spent {
            elapsed,
            cpu: self.cpu.and_then(|then| cpu?.checked_sub(then)),
            flushes: since(|figures| figures.flushes),
            device_bytes: since(|figures| figures.written_bytes),
        }
    }
}

/// The CPU time of all live threads, except for the background load.
///
/// The kernel keeps it per thread in nanoseconds; the total of the process has a resolution of 10
/// ms.
fn cpu_time() -> Option<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?.path();
        let read = |entry| fs::read_to_string(task.join(entry));
        // The time of a thread that ended is lost; none ends during a measurement.
        let (Ok(name), Ok(figures)) = (read("comm"), read("schedstat")) else { continue };
        if name.trim_end() != BACKGROUND_THREAD {
            nanos += figures.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
        }
    }
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// The name of a background thread; the kernel keeps 15 bytes of it.
const BACKGROUND_THREAD: &str = "bench-hog";

/// Threads that keep processors busy until this is dropped.
#[derive(Debug)]
pub(crate) struct BackgroundLoad {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BackgroundLoad {
    pub(crate) fn start(count: u32) -> Result<BackgroundLoad, Failure> {
        let mut background =
            BackgroundLoad { stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for _ in 0..count {
            let stop = background.stop.clone();
            let thread = std::thread::Builder::new().name(BACKGROUND_THREAD.into());
            let thread = thread.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            background.threads.push(thread.map_err(|error| Failure::Setup("busy thread", error))?);
        }
        Ok(background)
    }
}

impl Drop for BackgroundLoad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The loop cannot panic.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_the_sixteenth_field() {
        let line = " 10 20 30 40 50 60 70 80 0 100 110 1 2 3 4 160 170\n";
        let figures = Figures { flushes: 160, written_bytes: 70 * 512 };
        assert_eq!(parse_stat(line), Some(figures));
        for older in ["", "1 2 3", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"] {
            assert_eq!(parse_stat(older), None, "{older}");
        }
    }

    #[test]
    fn a_figure_that_cannot_be_had_is_not_zero() {
        let device = Device::below(Path::new("/proc"));
        assert!(device.name.is_err(), "{device:?}");
        let spent = Mark::now(&device).spent(&device, Duration::ZERO);
        assert_eq!((spent.flushes, spent.device_bytes), (None, None));
        assert!(!device.counts_every_flush());
    }
}
