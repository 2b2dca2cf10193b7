//! The file system that records what happens to a directory. Nothing of it is cached: every read
//! and write comes here.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::files::{Operation, Tree};
use crate::rng::Rng;
use crate::world::{BLOCK, Recorder, dawdle};

/// The kernel asks each time.
const AT_ONCE: Duration = Duration::ZERO;

/// A directory that is served and recorded.
pub(super) struct Directory {
    pub(super) recorder: Arc<Recorder<Operation>>,
    pub(super) tree: Mutex<Tree>,
    pub(super) rng: Mutex<Rng>,
}

impl Directory {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(tree: &Tree, ino: INodeNo) -> FileAttr {
        let is_dir = ino == INodeNo::ROOT;
        let bytes = tree.files.get(&ino.0).map_or(0, |content| content.bytes);
        FileAttr {
            ino,
            size: bytes,
            blocks: bytes.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_dir { FileType::Directory } else { FileType::RegularFile },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        }
    }

    /// Does and notes an operation.
    fn apply(&self, tree: &mut Tree, operation: Operation) {
        tree.apply(&operation);
        self.recorder.note(operation);
    }
}

const DIRECT: FopenFlags =
    FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);

impl Filesystem for Directory {
    fn lookup(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let tree = self.tree();
        match name.to_str().and_then(|name| tree.names.get(name)) {
            Some(&file) => {
                let attributes = Directory::attributes(&tree, INodeNo(file));
                reply.entry(&AT_ONCE, &attributes, Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&AT_ONCE, &Directory::attributes(&self.tree(), ino));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree();
        if let Some(bytes) = size {
            self.apply(&mut tree, Operation::SetBytes { file: ino.0, bytes });
        }
        reply.attr(&AT_ONCE, &Directory::attributes(&tree, ino));
    }

    fn create(
        &self,
        _: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let Some(name) = name.to_str() else { return reply.error(Errno::EINVAL) };
        let mut tree = self.tree();
        let file = tree.next;
        self.apply(&mut tree, Operation::Create { name: name.to_owned(), file });
        let attributes = Directory::attributes(&tree, INodeNo(file));
        reply.created(&AT_ONCE, &attributes, Generation(0), FileHandle(0), DIRECT);
    }

    fn unlink(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut tree = self.tree();
        match name.to_str().filter(|name| tree.names.contains_key(*name)) {
            Some(name) => {
                self.apply(&mut tree, Operation::Remove { name: name.to_owned() });
                reply.ok();
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn rename(
        &self,
        _: &Request,
        _parent: INodeNo,
        from: &OsStr,
        _new_parent: INodeNo,
        to: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (Some(from), Some(to)) = (from.to_str(), to.to_str()) else {
            return reply.error(Errno::EINVAL);
        };
        let mut tree = self.tree();
        let (from, to) = (from.to_owned(), to.to_owned());
        self.apply(&mut tree, Operation::Rename { from, to });
        reply.ok();
    }

    fn open(&self, _: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), DIRECT);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let tree = self.tree();
        let Some(content) = tree.files.get(&ino.0) else { return reply.error(Errno::ENOENT) };
        let end = offset.saturating_add(size.into()).min(content.bytes);
        let mut data = vec![0; end.saturating_sub(offset) as usize];
        content.blocks.read(offset, &mut data);
        reply.data(&data);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // As many do, this file system ignores that a write asks to be durable by itself: the
        // kernel sends no sync after it.
        dawdle(&self.rng);
        let mut tree = self.tree();
        self.apply(&mut tree, Operation::Write { file: ino.0, offset, data: data.to_vec() });
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let mut tree = self.tree();
        self.apply(&mut tree, Operation::Sync { file: ino.0 });
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let mut tree = self.tree();
        self.apply(&mut tree, Operation::SyncDirectory);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        _ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let tree = self.tree();
        let entries = tree.names.iter().skip(offset as usize);
        for ((name, &file), next) in entries.zip(offset + 1..) {
            if reply.add(INodeNo(file), next, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}
