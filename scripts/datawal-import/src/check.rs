//! Whether an import has what the crate datawal reads.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ringwal::datawal::{Imported, import, import_up_to_damage};
use ringwal::{Error, datawal, kv};

use crate::Broken;

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    whole: u64,
    torn: u64,
    damaged: u64,
    files: u64,
    records: u64,
    bytes_left: u64,
    keys: u64,
    kv: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { whole, torn, damaged, files, records, bytes_left, keys, kv } = self;
        write!(
            f,
            "{} directories with {files} files: {whole} whole, {torn} with a torn tail, {damaged} \
             refused by both\n{records} records and {keys} keys with their values are the same, \
             {kv} directories also as a kv::DataWal; {bytes_left} bytes were left behind and told",
            whole + torn + damaged
        )
    }
}

/// A record, without where it lies.
type Said = (u8, Vec<u8>, Vec<u8>);

/// What the crate datawal reads from a directory.
struct Theirs {
    /// Up to the damage, if there is any.
    records: Vec<Said>,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    report: Option<theirs::RecoveryReport>,
}

/// Imports `old` and compares; `scratch` is for the new directories.
pub(crate) fn check(old: &Path, scratch: &Path, totals: &mut Totals) -> Result<(), Broken> {
    let theirs = read_copy(old, &scratch.join("copy"))?;
    let before = snapshot(old)?;
    let new = scratch.join("new");
    refused_while_open(old, scratch)?;
    let imported = match (import(old, &new), &theirs.report) {
        (Ok(imported), Some(report)) => {
            same("bytes left behind", bytes_left(&imported), report.tail_bytes_discarded)?;
            same("files", imported.files, u64::from(report.files_scanned))?;
            match report.tail_truncated {
                0 => totals.whole += 1,
                _ => totals.torn += 1,
            }
            imported
        }
        (Err(Error::Import { .. }), None) => {
            same("what is left of a refusal", has_partial(scratch)? || new.exists(), false)?;
            totals.damaged += 1;
            import_up_to_damage(old, &new).map_err(|error| format!("up to the damage: {error}"))?
        }
        (Ok(_), None) => return Err("it was imported, and datawal refuses it".to_owned()),
        (Err(error), _) => return Err(format!("import: {error}")),
    };
    let all = before.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "dwal"));
    let bytes: u64 = all.map(|(_, (bytes, _))| bytes.len() as u64).sum();
    let taken: u64 = theirs
        .records
        .iter()
        .map(|(_, key, payload)| 28 + (key.len() + payload.len()) as u64)
        .sum();
    same("all bytes, moved or told", taken + bytes_left(&imported), bytes)?;
    same("the source", &snapshot(old)?, &before)?;
    compare(&new, &theirs, &imported, totals)?;
    totals.files += imported.files;
    totals.bytes_left += bytes_left(&imported);
    Ok(())
}

/// Every record, key and value of the new directory.
fn compare(
    new: &Path,
    theirs: &Theirs,
    imported: &Imported,
    totals: &mut Totals,
) -> Result<(), Broken> {
    let failed = |error| format!("the new directory: {error:#}");
    let mut store = datawal::DataWal::open(new).map_err(failed)?;
    let mut records = Vec::new();
    for record in store.log().scan_iter().map_err(failed)? {
        let record = record.map_err(failed)?;
        records.push((record.record_type.as_byte(), record.key, record.payload));
    }
    same("records", &records, &theirs.records)?;
    same("the count of records", imported.records, records.len() as u64)?;
    let items: BTreeMap<_, _> = store.items().map_err(failed)?.into_iter().collect();
    same("keys and values", &items, &theirs.items)?;
    drop(store);
    match (kv::DataWal::open(new), imported.records_not_for_kv) {
        (Ok(store), 0) => {
            let items = store.items().map_err(|error| failed(error.into()))?;
            same("keys and values of kv", &items.into_iter().collect(), &theirs.items)?;
            totals.kv += 1;
        }
        (Err(Error::NotALog { .. }), 1..) => {}
        (Ok(_), not_for_kv) => return Err(format!("kv opened it, and has not all: {not_for_kv}")),
        (Err(error), _) => return Err(format!("kv: {error}")),
    }
    totals.records += records.len() as u64;
    totals.keys += items.len() as u64;
    Ok(())
}

/// What datawal reads from a copy: it changes what it opens.
fn read_copy(old: &Path, copy: &Path) -> Result<Theirs, Broken> {
    copy_files(old, copy)?;
    let failed = |error| format!("datawal: {error:#}");
    let (mut records, mut items) = (Vec::new(), BTreeMap::new());
    for record in
        theirs::RecordLogReader::open(copy).map_err(failed)?.scan_iter().map_err(failed)?
    {
        // The end of what it would take.
        let Ok(record) = record else { break };
        let theirs::Record { record_type, key, payload, .. } = record;
        match record_type {
            theirs::RecordType::Raw => {}
            theirs::RecordType::Put => drop(items.insert(key.clone(), payload.clone())),
            theirs::RecordType::Delete => drop(items.remove(&key)),
        }
        records.push((record_type.as_byte(), key, payload));
    }
    let Ok(mut store) = theirs::DataWal::open(copy) else {
        return Ok(Theirs { records, items, report: None });
    };
    let report = Some(store.log().recovery_report().map_err(failed)?);
    // As it says itself, not as this does.
    let items = store.items().map_err(failed)?.into_iter().collect();
    Ok(Theirs { records, items, report })
}

fn has_partial(scratch: &Path) -> Result<bool, Broken> {
    let is_partial = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".partial");
    match fs::read_dir(scratch) {
        Ok(mut found) => Ok(found.any(|entry| entry.is_ok_and(|it| is_partial(it.file_name())))),
        Err(error) => Err(format!("{}: {error}", scratch.display())),
    }
}

/// A directory that a program of datawal has open is refused.
fn refused_while_open(old: &Path, scratch: &Path) -> Result<(), Broken> {
    let (copy, new) = (scratch.join("open"), scratch.join("of-open"));
    copy_files(old, &copy)?;
    let lock = theirs::lock::DirLock::acquire(&copy).map_err(|error| format!("{error:#}"))?;
    let refused = import(&copy, &new);
    drop(lock);
    match refused {
        Err(Error::Locked { .. }) if !new.exists() => Ok(()),
        other => Err(format!("it is open, and an import says: {other:?}")),
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Broken> {
    let failed = |error| format!("copy {}: {error}", from.display());
    fs::create_dir(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed)?;
    }
    Ok(())
}

type Snapshot = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

/// Every file with its bytes and the time of its last change.
fn snapshot(dir: &Path) -> Result<Snapshot, Broken> {
    let read = || -> std::io::Result<Snapshot> {
        let mut files = Snapshot::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let state = (fs::read(&path)?, fs::metadata(&path)?.modified()?);
            files.insert(path, state);
        }
        Ok(files)
    };
    read().map_err(|error| format!("{}: {error}", dir.display()))
}

fn bytes_left(imported: &Imported) -> u64 {
    imported.left_behind.iter().map(|part| part.bytes).sum()
}

fn same<T: PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Broken> {
    if found == expected {
        return Ok(());
    }
    const SHOWN_MAX: usize = 500;
    let shown = |value: T| format!("{value:?}").chars().take(SHOWN_MAX).collect::<String>();
    Err(format!("{what}: {}\nexpected: {}", shown(found), shown(expected)))
}
