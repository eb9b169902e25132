//! The one writer of the store.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mote_registry::digest::Digest;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::record::short_names;
use super::{DIRECTORIES, LayerRecord, NameRecord, Store, StoreError, contents, files};
use crate::image::unpack::Sums;

/// The right to change the store. One process at a time has it, and the kernel takes it back when
/// that process ends in whatever way.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    /// Numbers what is made in `tmp/`.
    next: AtomicU64,
    /// Bytes of the file system that stay free.
    reserve: u64,
    _lock: File,
}

/// A directory for a layer that is not finished. Dropped, it is gone.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    fd: OwnedFd,
}

impl Writer {
    /// Waits until nobody else writes.
    pub fn lock(store: &Store) -> Result<Self, StoreError> {
        let file = Self::lock_file(store)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| StoreError::at("lock", store.root())(errno.into()))?;
        let writer = Self::new(store, file);
        writer.settle()?;
        Ok(writer)
    }

    /// Makes last what somebody put into its place who was killed before that lasted: whoever finds it
    /// there builds on it now.
    fn settle(&self) -> Result<(), StoreError> {
        let settle = |name: &&str| files::sync_directory(&self.store.root().join(name));
        DIRECTORIES.iter().try_for_each(settle)
    }

    /// `None` if somebody else writes.
    pub fn try_lock(store: &Store) -> Result<Option<Self>, StoreError> {
        let file = Self::lock_file(store)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self::new(store, file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(StoreError::at("lock", store.root())(errno.into())),
        }
    }

    fn lock_file(store: &Store) -> Result<File, StoreError> {
        let path = store.root().join("lock");
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::at("open", &path))
    }

    fn new(store: &Store, lock: File) -> Self {
        Self { store: store.clone(), next: AtomicU64::new(0), reserve: 0, _lock: lock }
    }

    /// The same, that leaves so many bytes of the file system free.
    #[must_use]
    pub fn keeping_free(self, reserve: u64) -> Self {
        Self { reserve, ..self }
    }

    /// What is written to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps a manifest or configuration whose digest has been checked.
    pub fn put_document(&self, digest: &Digest, data: &[u8]) -> Result<(), StoreError> {
        if self.store.document(digest)?.is_some() {
            return Ok(());
        }
        files::write(&self.store.document_path(digest), &self.fresh("document"), data)
    }

    /// Keeps what a name stands for. Documents and layers must be there already.
    pub fn put_name(&self, record: &NameRecord) -> Result<(), StoreError> {
        let path = self.store.name_path(&record.key());
        if Store::read_name(&path)?.as_ref() == Some(record) {
            return Ok(());
        }
        self.put_json(&path, record)
    }

    /// Makes a place to unpack a layer into.
    pub fn stage(&self) -> Result<Staging, StoreError> {
        let path = self.fresh("layer");
        let action = "create";
        DirBuilder::new().mode(0o755).create(&path).map_err(StoreError::at(action, &path))?;
        // A layer that says nothing of its root gets an ordinary one, whatever our umask is.
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).map_err(StoreError::at(action, &path))?;
        let fd = File::open(&path).map_err(StoreError::at("open", &path))?.into();
        Ok(Staging { path, fd })
    }

    /// Makes a verified layer last and known.
    pub fn commit(
        &self,
        staging: Staging,
        mut layer: LayerRecord,
        sums: &Sums,
    ) -> Result<LayerRecord, StoreError> {
        let listed = self.fresh("contents");
        let written = files::create(&listed)
            .and_then(|list| contents::list(staging.fd.as_fd(), sums, list, self.reserve));
        layer.taken = match written {
            Ok(taken) => taken,
            Err(error) => {
                let _ = fs::remove_file(&listed);
                return Err(StoreError::at("list", &staging.path)(error));
            }
        };
        // One call for the whole file system: a layer has thousands of files.
        rustix::fs::syncfs(&staging.fd)
            .map_err(|errno| StoreError::at("sync", &staging.path)(errno.into()))?;
        let free = short_names(&layer.diff_id)
            .find(|name| self.store.layer_path(name).symlink_metadata().is_err());
        layer.directory = free.ok_or_else(|| {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            StoreError::at("name layer", &staging.path)(error)
        })?;
        let path = self.store.layer_path(&layer.directory);
        fs::rename(&staging.path, &path).map_err(StoreError::at("rename", &path))?;
        drop(staging);
        files::sync_parent(&path)?;
        let list = self.store.contents_path(&layer.diff_id);
        fs::rename(&listed, &list).map_err(StoreError::at("rename", &list))?;
        files::sync_parent(&list)?;
        self.put_json(&self.store.record_path(&layer.diff_id), &layer)?;
        Ok(layer)
    }

    fn put_json(&self, path: &Path, record: &impl serde::Serialize) -> Result<(), StoreError> {
        let data = serde_json::to_vec(record)
            .map_err(|error| StoreError::at("encode", path)(error.into()))?;
        files::write(path, &self.fresh("record"), &data)
    }

    /// A name in `tmp/` that is not in use: something may lie there that cannot be removed.
    fn fresh(&self, what: &str) -> PathBuf {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.store.tmp().join(format!("{what}-{number}"));
            if path.symlink_metadata().is_err() {
                return path;
            }
        }
    }
}

impl Staging {
    /// The directory to unpack into.
    pub fn directory(&self) -> Result<OwnedFd, StoreError> {
        self.fd.try_clone().map_err(StoreError::at("open", &self.path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a commit there is nothing by this name. A failure is healed by the next `tidy`.
        let _ = files::remove(&self.path);
    }
}
