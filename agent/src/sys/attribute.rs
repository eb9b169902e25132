//! A file of sysfs or of a cgroup that tells when its value changes (`sysfs_notify`, `cgroup_file_notify`).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::event::register;

/// One that is watched.
#[derive(Debug)]
pub struct Attribute {
    fd: AsyncFd<OwnedFd>,
}

impl Attribute {
    /// Watches it. Files that tell nothing are an error.
    pub fn watch(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: register(File::open(path)?.into(), Interest::PRIORITY)? })
    }

    /// Waits until it may have another value. Cancel-safe.
    pub async fn next(&self) -> io::Result<()> {
        // What was read is what it may differ from.
        let mut value = [0; 64];
        rustix::io::pread(self.fd.get_ref(), &mut value, 0)?;
        self.fd.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_tells_nothing_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let refused = Attribute::watch(file.path()).expect_err("no such file tells");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
