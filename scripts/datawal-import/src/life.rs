//! What a directory of the crate datawal goes through before it is imported.

use std::fs;
use std::path::{Path, PathBuf};

use theirs::{DataWal, RecordLog, RecordType};

use crate::Broken;
use crate::rng::Rng;

const SESSIONS_MAX: u64 = 4;
const CALLS_MAX: u64 = 60;
/// Few, so that they are overwritten and deleted.
const KEYS: u64 = 20;

/// Writes a directory in a few sessions, with what a crash or a failing disk may do after each.
pub(crate) fn live(dir: &Path, rng: &mut Rng) -> Result<(), Broken> {
    for _ in 0..rng.between(1, SESSIONS_MAX) {
        let session = match rng.below(3) {
            0 => write_records(dir, rng),
            _ => write_keys(dir, rng),
        };
        if let Err(error) = session {
            // It refuses what an earlier session has left: that is a directory to import as well.
            return match fs::metadata(dir) {
                Ok(_) => Ok(()),
                Err(_) => Err(format!("datawal: {error:#}")),
            };
        }
        let damaged = match rng.below(12) {
            0..3 => tear(dir, rng),
            3 => append_part(dir, rng),
            4 => flip(dir, rng, true),
            5 if rng.percent(50) => flip(dir, rng, false),
            _ => Ok(()),
        };
        damaged.map_err(|error| format!("damage: {error}"))?;
    }
    Ok(())
}

type Session = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn write_keys(dir: &Path, rng: &mut Rng) -> Session {
    let mut store = DataWal::open(dir)?;
    for _ in 0..rng.below(CALLS_MAX) {
        match rng.below(100) {
            0..70 => store.put(&key(rng), &payload(rng))?,
            70..90 => store.delete(&key(rng))?,
            90..97 => store.fsync()?,
            97..99 => {
                drop(store);
                RecordLog::open(dir)?.rotate()?;
                store = DataWal::open(dir)?;
            }
            _ => {
                // As their soak swaps a directory for its compact copy.
                let sibling = dir.with_extension("compact");
                store.compact_to(&sibling)?;
                drop(store);
                fs::remove_dir_all(dir)?;
                fs::rename(&sibling, dir)?;
                store = DataWal::open(dir)?;
            }
        }
    }
    Ok(())
}

fn write_records(dir: &Path, rng: &mut Rng) -> Session {
    let mut log = RecordLog::open(dir)?;
    let types = [RecordType::Raw, RecordType::Put, RecordType::Delete];
    for _ in 0..rng.below(CALLS_MAX) {
        match rng.below(100) {
            0..30 => drop(log.append(&payload(rng))?),
            30..80 => drop(log.append_record(rng.pick(&types), &key(rng), &payload(rng))?),
            80..93 => log.rotate()?,
            _ => log.fsync()?,
        }
    }
    Ok(log.close()?)
}

fn key(rng: &mut Rng) -> Vec<u8> {
    match rng.below(200) {
        0 => Vec::new(),
        1 => vec![b'l'; theirs::MAX_KEY_LEN as usize],
        _ => format!("key-{}", rng.below(KEYS)).into_bytes(),
    }
}

fn payload(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(100) {
        0 => rng.below(3 << 20),
        1..10 => 0,
        10..20 => rng.below(70 << 10),
        _ => rng.below(200),
    };
    // Some have what a record begins with.
    let mut bytes: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
    if rng.percent(5) && bytes.len() >= 4 {
        bytes[..4].copy_from_slice(b"DWAL");
    }
    bytes
}

// What befalls the files.

fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "dwal"))
        .collect();
    files.sort();
    Ok(files)
}

/// The last file ends anywhere.
fn tear(dir: &Path, rng: &mut Rng) -> std::io::Result<()> {
    let Some(last) = files(dir)?.pop() else { return Ok(()) };
    let file = fs::File::options().write(true).open(last)?;
    let len = file.metadata()?.len();
    // Mostly in its last records.
    let lost = if rng.percent(80) { rng.below(200) } else { rng.below(len + 1) };
    file.set_len(len.saturating_sub(lost))
}

/// The last write was cut off: a part of a record lies at the end.
fn append_part(dir: &Path, rng: &mut Rng) -> std::io::Result<()> {
    let Some(last) = files(dir)?.pop() else { return Ok(()) };
    let payload = payload(rng);
    let record = theirs::format::encode_record(RecordType::Put, 1 << 40, b"torn", &payload)
        .map_err(std::io::Error::other)?;
    let part = &record[..rng.between(1, record.len() as u64 - 1) as usize];
    let mut bytes = fs::read(&last)?;
    bytes.extend_from_slice(part);
    fs::write(last, bytes)
}

/// A bit is another one, in the last file or in any.
fn flip(dir: &Path, rng: &mut Rng, in_last: bool) -> std::io::Result<()> {
    let files = files(dir)?;
    let at = if in_last { files.len() as u64 - 1 } else { rng.below(files.len() as u64) };
    let path = &files[at as usize];
    let mut bytes = fs::read(path)?;
    if !bytes.is_empty() {
        let bit = rng.below(bytes.len() as u64 * 8) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    fs::write(path, bytes)
}
