//! The blocking plane of a simulated disk.

use std::path::Path;

use super::SimDisk;
use super::fault::{Call, SimFault};
use super::inode::{Change, Inode};
use super::state::DiskState;
use crate::error::{Error, Result};
use crate::io::file_worker::Shorten;
use crate::io::{Access, LockGuard, Storage, StorageFile};

impl Storage for SimDisk {
    fn dir(&self) -> &Path {
        &self.dir
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.call("list", "", Call::Open)?.names.keys().cloned().collect())
    }

    fn open(&self, name: &str, access: Access) -> Result<Box<dyn StorageFile>> {
        let op = if access == Access::Create { "create" } else { "open" };
        let mut state = match self.call(op, name, Call::Open) {
            Ok(state) => state,
            Err(mut failed) => {
                if failed.is(SimFault::PowerCut) && access == Access::Create {
                    let inode = new_inode(&mut failed.state);
                    failed.state.rename_perhaps(vec![(name.to_owned(), Some(inode))]);
                }
                return Err(failed.error);
            }
        };
        let inode = match (access, state.names.get(name).copied()) {
            (Access::Create, Some(_)) => {
                let source = std::io::ErrorKind::AlreadyExists.into();
                return Err(Error::io(op, self.dir.join(name), source));
            }
            (Access::Create, None) => {
                let inode = new_inode(&mut state);
                state.rename_all(vec![(name.to_owned(), Some(inode))]);
                inode
            }
            (_, Some(inode)) => inode,
            (_, None) => return Err(self.missing(op, name)),
        };
        Ok(Box::new(SimFile { disk: self.clone(), name: name.to_owned(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let changes = |state: &DiskState| {
            let inode = state.names.get(from).copied()?;
            Some(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))])
        };
        self.change_names("rename", from, changes)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let changes = |state: &DiskState| {
            state.names.contains_key(name).then(|| vec![(name.to_owned(), None)])
        };
        self.change_names("remove", name, changes)
    }

    fn sync_dir(&self) -> Result<()> {
        self.call("sync directory", "", Call::Other)?.sync_names();
        Ok(())
    }

    fn sync_parent(&self) -> Result<()> {
        self.call("sync the directory above", "", Call::Open)?.is_kept = true;
        Ok(())
    }

    fn lock(&self, name: &str) -> Result<Box<dyn LockGuard>> {
        let mut state = self.call("lock", name, Call::Open)?;
        if !state.names.contains_key(name) {
            let inode = new_inode(&mut state);
            state.rename_all(vec![(name.to_owned(), Some(inode))]);
        }
        let inode = state.names.get(name).copied();
        let inode = inode.ok_or_else(|| self.missing("lock", name))?;
        self.lock_inode(&mut state, inode, name)
    }
}

impl SimDisk {
    fn lock_inode(
        &self,
        state: &mut DiskState,
        inode: usize,
        name: &str,
    ) -> Result<Box<dyn LockGuard>> {
        if !state.locked.insert(inode) {
            return Err(Error::Locked { path: self.dir.join(name), pid: None });
        }
        Ok(Box::new(SimLock { disk: self.clone(), inode }))
    }

    fn change_names(
        &self,
        op: &'static str,
        name: &str,
        changes: impl Fn(&DiskState) -> Option<Vec<(String, Option<usize>)>>,
    ) -> Result<()> {
        match self.call(op, name, Call::Other) {
            Ok(mut state) => {
                let changes = changes(&state).ok_or_else(|| self.missing(op, name))?;
                state.rename_all(changes);
                Ok(())
            }
            Err(mut failed) => {
                if let (true, Some(changes)) =
                    (failed.is(SimFault::PowerCut), changes(&failed.state))
                {
                    failed.state.rename_perhaps(changes);
                }
                Err(failed.error)
            }
        }
    }
}

fn new_inode(state: &mut DiskState) -> usize {
    state.inodes.push(Inode::default());
    state.inodes.len() - 1
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    inode: usize,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.inode);
    }
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) name: String,
    pub(super) inode: usize,
}

impl Shorten for SimFile {
    fn shorten(&self, bytes: u64) -> Result<()> {
        self.set_bytes(bytes).and_then(|()| self.sync())
    }
}

impl SimFile {
    fn change(&self, op: &'static str, change: Change, end: usize) -> Result<()> {
        let is_write = matches!(change, Change::Write { .. });
        match self.disk.call(op, &self.name, if is_write { Call::Write } else { Call::Other }) {
            Ok(mut state) => {
                self.disk.check_room(&state, self.inode, end, &self.name)?;
                let now = state.tick();
                state.inodes[self.inode].change(now, now, change);
                Ok(())
            }
            Err(mut failed) => {
                let is_short = failed.is(SimFault::ShortWrite);
                let state = &mut *failed.state;
                let id = state.tick();
                if let Some(inode) = state.inodes.get_mut(self.inode) {
                    inode.begin(id, change, !is_short);
                    if is_short {
                        let keep = state.dice.below(inode.bytes_of(id).max(1));
                        inode.shorten(id, keep, id);
                    }
                }
                Err(failed.error)
            }
        }
    }
}

impl StorageFile for SimFile {
    fn bytes(&self) -> Result<u64> {
        let state = self.disk.call("stat", &self.name, Call::Other)?;
        Ok(state.inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let offset = offset as usize;
        let left = |state: &DiskState| match state.inodes.get(self.inode) {
            Some(inode) => inode.seen.len().saturating_sub(offset).min(buf.len()),
            None => 0,
        };
        let is_empty = left(&self.disk.state()) == 0;
        let call = if is_empty { Call::Other } else { Call::Read };
        let (mut state, struck) = match self.disk.call("read", &self.name, call) {
            Ok(state) => (state, None),
            Err(failed) => match failed.struck.filter(|struck| struck.fault.is_of_read()) {
                None => return Err(failed.error),
                read => (failed.state, read),
            },
        };
        let len = left(&state);
        let once =
            struck.and_then(|struck| state.misread(self.inode, offset..offset + len, struck));
        state.inodes[self.inode].read(offset, &mut buf[..len], once);
        *state.bytes_read.entry(self.name.clone()).or_default() += len as u64;
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let end = offset as usize + data.len();
        self.change("write", Change::write(offset as usize, data.to_vec()), end)
    }

    fn write_zeros(&self, from: u64, to: u64) -> Result<()> {
        let zeros = vec![0; to.saturating_sub(from) as usize];
        self.change("write zeros", Change::write(from as usize, zeros), to as usize)
    }

    fn reserve(&self, bytes: u64) -> Result<bool> {
        self.change("reserve", Change::Length(bytes as usize), bytes as usize)?;
        Ok(true)
    }

    fn set_bytes(&self, bytes: u64) -> Result<()> {
        self.change("cut", Change::Length(bytes as usize), 0)
    }

    fn lock(&self) -> Result<Option<Box<dyn LockGuard>>> {
        let mut state = self.disk.call("lock", &self.name, Call::Open)?;
        self.disk.lock_inode(&mut state, self.inode, &self.name).map(Some)
    }

    fn sync(&self) -> Result<()> {
        match self.disk.call("sync", &self.name, Call::Other) {
            Ok(mut state) => {
                state.inodes[self.inode].sync(|_| true);
                Ok(())
            }
            Err(mut failed) => {
                if let Some(inode) = failed.state.inodes.get_mut(self.inode) {
                    inode.fail_sync(|_| true);
                }
                Err(failed.error)
            }
        }
    }

    fn drop_cache(&self) {
        let mut state = self.disk.state();
        let DiskState { inodes, dice, .. } = &mut *state;
        if let Some(inode) = inodes.get_mut(self.inode) {
            inode.drop_cache(dice);
        }
    }
}
