//! The records of a pax extended header: `LENGTH KEY=VALUE` and a line break, by length.
//!
//! Values are bytes and may hold line breaks (attributes do), so nothing here splits at them.

use std::collections::BTreeMap;

use super::error::ArchiveError;

/// The records this node acts on. Later ones replace earlier ones, as the standard says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub linkpath: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    /// Attributes that an image may have. Others are not even looked at.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// One of GNU's formats of sparse files, in which the content is not the file's.
    pub sparse: bool,
}

/// Where container tools put extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Most attributes of one entry. Real ones have one or two, and all have to fit one block of most
/// file systems.
const MAX_XATTRS: usize = 64;

/// Parses all records of a header.
pub(super) fn records(mut data: &[u8]) -> Result<Records, ArchiveError> {
    let mut records = Records::default();
    while !data.is_empty() {
        let (key, value, rest) = record(data).ok_or(ArchiveError::Extended)?;
        records.take(key, value)?;
        data = rest;
    }
    Ok(records)
}

/// Splits off the first record: key, value, rest.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(data.get(..space)?)?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((body.get(..equals)?, body.get(equals + 1..)?, rest))
}

impl Records {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        // An empty value takes a record back.
        let text = || (!value.is_empty()).then(|| value.to_vec());
        let number = |what| match value {
            [] => Ok(None),
            digits => decimal(digits).map(Some).ok_or(ArchiveError::Field(what)),
        };
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.linkpath = text(),
            b"size" => self.size = number("size")?,
            b"uid" => self.uid = number("owner")?,
            b"gid" => self.gid = number("group")?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value).ok_or(ArchiveError::Field("time"))?),
            _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR).filter(|name| is_allowed(name)) {
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                    if self.xattrs.len() > MAX_XATTRS {
                        return Err(ArchiveError::TooManyAttributes(MAX_XATTRS));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Attributes that belong to an image. Security labels are the node's own to give, and `trusted`
/// ones would be instructions to overlayfs.
fn is_allowed(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.")
        && !name.starts_with(b"user.overlay.")
        && !name.starts_with(b"user.fuseoverlayfs.");
    user || name == b"security.capability" || name.starts_with(b"system.posix_acl_")
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `-12.5` is half a second after second -13.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    match (negative, nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(pairs: &[(&str, &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        for (key, value) in pairs {
            let body = key.len() + value.len() + 3;
            let length = (body..body + 9).find(|n| n.to_string().len() + body == *n).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        data
    }

    #[test]
    fn values_may_hold_line_breaks_and_equals_signs() {
        let data = header(&[
            ("path", b"a\nb=c"),
            ("SCHILY.xattr.user.x", b"1\n30 path=evil\n"),
            ("size", b"12"),
            ("mtime", b"1.25"),
        ]);
        let parsed = records(&data).unwrap();
        assert_eq!(parsed.path.unwrap(), b"a\nb=c");
        let xattrs: Vec<_> = parsed.xattrs.into_iter().collect();
        assert_eq!(xattrs, [(b"user.x".to_vec(), b"1\n30 path=evil\n".to_vec())]);
        assert_eq!((parsed.size, parsed.mtime), (Some(12), Some((1, 250_000_000))));
    }

    #[test]
    fn attributes_are_few_and_cost_no_time() {
        let many = |count: usize, name: &dyn Fn(usize) -> String| {
            let keys: Vec<_> = (0..count).map(|n| format!("SCHILY.xattr.{}", name(n))).collect();
            let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), &b"x"[..])).collect();
            records(&header(&pairs))
        };
        assert_eq!(many(MAX_XATTRS, &|n| format!("user.{n}")).unwrap().xattrs.len(), MAX_XATTRS);
        let error = many(MAX_XATTRS + 1, &|n| format!("user.{n}")).unwrap_err();
        assert!(matches!(error, ArchiveError::TooManyAttributes(MAX_XATTRS)), "{error}");
        // What is not taken is not remembered, and what comes again is not sought for.
        let other = many(50_000, &|n| format!("trusted.{n}")).unwrap();
        assert_eq!(other.xattrs.len(), 0);
        assert_eq!(many(50_000, &|n| format!("user.{}", n % 2)).unwrap().xattrs.len(), 2);
    }

    #[test]
    fn times_before_1970_count_backwards() {
        assert_eq!(time(b"-12.5"), Some((-13, 500_000_000)));
        assert_eq!(time(b"-12"), Some((-12, 0)));
        assert_eq!(time(b"-9223372036854775808.1"), None);
        assert_eq!(time(b"1.x"), None);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for data in [
            &b"99 path=a\n"[..],
            b"0 a=b\n",
            b"9 path=a",
            b"x a=b\n",
            b"10 pathxxx\n",
            b"+9 pat=a\n",
        ] {
            assert!(records(data).is_err(), "{data:?}");
        }
    }
}
