//! A block device with a real file system on it.
//!
//! The device is a loop device over a file that this process serves; the loop driver turns flushes
//! of the device into syncs of that file. A power cut keeps what was written before the last
//! flush, and of everything later any part: whole writes, or sectors of them. A sector has 512
//! bytes under ext4 and 4 KiB under the others, which do not survive less.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};

use crate::model::Broken;
use crate::mounts::{Mount, run};
use crate::rng::Rng;
use crate::workload::Witness;
use crate::world::{BLOCK, Blocks, Fate, Recorder, Recording, World, dawdle};

/// What happens to the device.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Write { offset: u64, data: Vec<u8> },
    Flush,
}

/// A file system, by name.
#[derive(Debug)]
pub(crate) struct Image {
    kind: String,
    bytes: u64,
    scratch: PathBuf,
    sector: usize,
    served: PathBuf,
    mounted: PathBuf,
}

impl Image {
    pub(crate) fn new(kind: &str, scratch: &Path) -> Result<Image, Broken> {
        // The least that each of them can be, and a little more. The journal of ext4 has whole
        // blocks; the others ask of a device that it writes a block as a whole.
        let (megabytes, sector) = match kind {
            "ext4" => (48, 512),
            "xfs" => (320, BLOCK),
            "btrfs" => (128, BLOCK),
            _ => return Err(format!("no such kind of disk: {kind}")),
        };
        let (served, mounted) = (scratch.join("served"), scratch.join("mounted"));
        for dir in [&served, &mounted] {
            fs::create_dir_all(dir).map_err(|error| error.to_string())?;
        }
        let (kind, scratch) = (kind.to_owned(), scratch.to_path_buf());
        Ok(Image { kind, bytes: megabytes << 20, scratch, sector, served, mounted })
    }

    /// Writes the disk to a file.
    fn lay_out(&self, disk: &Blocks, name: &str) -> Result<PathBuf, Broken> {
        let path = self.scratch.join(name);
        let write = || {
            let mut file = File::create(&path)?;
            file.set_len(self.bytes)?;
            for (offset, block) in disk.iter() {
                file.seek(SeekFrom::Start(offset))?;
                file.write_all(block)?;
            }
            Ok(())
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl World for Image {
    type Operation = Operation;
    type Disk = Blocks;
    /// What the file system had not written yet is unknown here.
    const GOES_ON: bool = false;

    fn fresh(&self) -> Result<Blocks, Broken> {
        let path = self.scratch.join("fresh");
        let make = || {
            let file = File::create(&path)?;
            file.set_len(self.bytes)
        };
        make().map_err(|error| format!("{}: {error}", path.display()))?;
        let path_text = path.to_str().unwrap_or_default();
        match self.kind.as_str() {
            "ext4" => run("mkfs.ext4", &["-qF", "-b", "4096", path_text])?,
            "xfs" => run("mkfs.xfs", &["-qf", "-s", "size=4096", path_text])?,
            _ => run("mkfs.btrfs", &["-qf", path_text])?,
        };
        let read = || {
            let mut disk = Blocks::default();
            let file = File::open(&path)?;
            let mut block = [0; BLOCK];
            for offset in (0..self.bytes).step_by(BLOCK) {
                file.read_exact_at(&mut block, offset)?;
                disk.write(offset, &block);
            }
            fs::remove_file(&path)?;
            Ok(disk)
        };
        read().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
    }

    fn record(
        &self,
        disk: &Blocks,
        before: Recording<Operation>,
        seed: u64,
        live: &dyn Fn(&Path, &dyn Witness),
    ) -> Result<Recording<Operation>, Broken> {
        let recorder = Recorder::new(before);
        let device = Device {
            recorder: Arc::clone(&recorder),
            content: Mutex::new(disk.clone()),
            bytes: self.bytes,
            rng: Mutex::new(Rng::new(seed)),
        };
        let mut config = fuser::Config::default();
        config.n_threads = Some(4);
        let session = fuser::spawn_mount(device, &self.served, &config);
        let session =
            session.map_err(|error| format!("mount {}: {error}", self.served.display()))?;
        let outcome = Mount::new(&self.kind, &self.served.join(NAME), &self.mounted).map(|mount| {
            live(&self.mounted.join("log"), &*recorder);
            drop(mount);
        });
        let ended = session.umount_and_join().map_err(|error| format!("umount: {error}"));
        outcome.and(ended)?;
        Ok(recorder.take())
    }

    fn cut(&self, disk: &Blocks, operations: &[Operation], seed: u64) -> Blocks {
        let mut rng = Rng::new(seed);
        let sectors = Fate { sector: self.sector, garbage: false };
        let mut disk = disk.clone();
        let flushed =
            operations.iter().rposition(|operation| matches!(operation, Operation::Flush));
        for (operation, index) in operations.iter().zip(0..) {
            let Operation::Write { offset, data } = operation else { continue };
            if flushed.is_some_and(|flushed| index < flushed) {
                disk.write(*offset, data);
                continue;
            }
            // No file system survives half a super block, and that of ext4 is here.
            let block = Fate { sector: BLOCK, ..sectors };
            let fate = if *offset < BLOCK as u64 { block } else { sectors };
            for (start, part) in fate.survivors(data, &mut rng) {
                disk.write(offset + start as u64, &part);
            }
        }
        disk
    }

    fn with(
        &self,
        disk: &Blocks,
        look: &mut dyn FnMut(&Path) -> Result<(), Broken>,
    ) -> Result<Result<(), Broken>, Broken> {
        let path = self.lay_out(disk, "cut")?;
        let mount = match Mount::new(&self.kind, &path, &self.mounted) {
            Ok(mount) => mount,
            Err(error) => return Ok(Err(format!("the file system is lost: {error}"))),
        };
        let outcome = look(&self.mounted.join("log"));
        drop(mount);
        Ok(outcome)
    }

    fn keep(&self, disk: &Blocks) -> Result<PathBuf, Broken> {
        self.lay_out(disk, &format!("{}-found", self.kind))
    }
}

const NAME: &str = "disk";
const FILE: INodeNo = INodeNo(2);
const NEVER: Duration = Duration::from_secs(1 << 30);

/// The file under the loop device.
struct Device {
    recorder: Arc<Recorder<Operation>>,
    content: Mutex<Blocks>,
    bytes: u64,
    rng: Mutex<Rng>,
}

impl Device {
    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let is_file = ino == FILE;
        FileAttr {
            ino,
            size: if is_file { self.bytes } else { 0 },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        }
    }
}

impl Filesystem for Device {
    fn lookup(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == NAME {
            true => reply.entry(&NEVER, &self.attributes(FILE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&NEVER, &self.attributes(ino));
    }

    fn open(&self, _: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        _ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let end = offset.saturating_add(size.into()).min(self.bytes);
        let mut data = vec![0; end.saturating_sub(offset) as usize];
        self.content.lock().unwrap_or_else(PoisonError::into_inner).read(offset, &mut data);
        reply.data(&data);
    }

    fn write(
        &self,
        _: &Request,
        _ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        dawdle(&self.rng);
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        content.write(offset, data);
        self.recorder.note(Operation::Write { offset, data: data.to_vec() });
        drop(content);
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        self.recorder.note(Operation::Flush);
        drop(content);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
