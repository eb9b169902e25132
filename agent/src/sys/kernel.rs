//! Which kernel runs.

/// `MAJOR.MINOR`. That of a kernel that does not say is `0.0`, older than all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// That of the kernel that runs.
    pub fn running() -> Self {
        Self::of_release(&rustix::system::uname().release().to_string_lossy())
    }

    /// The version that a release (`6.1.0-21-arm64`) begins with.
    pub fn of_release(release: &str) -> Self {
        let mut parts = release.split(|character: char| !character.is_ascii_digit());
        let mut number = || parts.next()?.parse().ok();
        number().and_then(|major| Some(Self(major, number()?))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(KernelVersion::of_release("6.12.47+rpt-rpi-v8"), KernelVersion(6, 12));
        assert_eq!(KernelVersion::of_release("10.0"), KernelVersion(10, 0));
        for other in ["", "6", "six.one", "99999999999.1"] {
            assert_eq!(KernelVersion::of_release(other), KernelVersion::default(), "{other}");
        }
        assert!(KernelVersion(6, 4) < KernelVersion(6, 12));
    }
}
