//! Who a container's processes are: numbers out of names. PURE: the image's `/etc/passwd` and
//! `/etc/group` come as text.

use crate::runtime::{MAX_ID, Rights};

/// Most supplementary groups: what the kernel takes (`NGROUPS_MAX`) is far beyond any use.
const MAX_GROUPS: usize = 1024;

/// Whether libcontainer sets other users and groups than it is told to, so that our executor must.
///
/// It calls the kernel by `setresuid`, `setresgid` and `setgroups`, which on 32-bit ARM are the calls
/// of 1995 and take numbers of 16 bits: user 65536 is root, 65535 leaves it root, and of two groups
/// the second is group 0. The C library would have called their successors (`setresuid32`).
pub const CUTS_IDS: bool = cfg!(target_arch = "arm");

/// A user in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self { uid: 0, gid: 0, groups: Vec::new(), home: "/".into() }
    }
}

/// Why a name does not become a number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Not in the image's passwd.
    #[error("user `{0}` is not in the image's /etc/passwd")]
    User(String),
    /// Not in the image's group.
    #[error("group `{0}` is not in the image's /etc/group")]
    Group(String),
    /// A number that no user or group has.
    #[error("id {0} is not between 0 and {MAX_ID}")]
    Range(u32),
    /// More groups than a process can have for us.
    #[error("{0} supplementary groups exceed {MAX_GROUPS}")]
    TooManyGroups(usize),
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or("/") })
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = fields.next()?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// The user of a container: what its pod says, else what its image says.
///
/// A user without an account is fine if it is a number. The groups that the image's `/etc/group`
/// lists for an account are added to those of the pod.
pub fn resolve(
    rights: &Rights,
    image_user: &str,
    passwd: &str,
    group: &str,
) -> Result<Identity, UserError> {
    let (image_user, image_group) = match image_user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (image_user, None),
    };
    let (uid, account) = match (rights.user, image_user) {
        (Some(uid), _) => (uid, by_uid(passwd, uid)),
        (None, "") => (0, by_uid(passwd, 0)),
        (None, name) => by_name_or_number(passwd, name)?,
    };
    let of_image = rights.user.is_none();
    let gid = match (rights.group, image_group) {
        (Some(gid), _) => gid,
        (None, Some(name)) if of_image => group_number(group, name)?,
        _ => account.as_ref().map_or(0, |account| account.gid),
    };
    let mut all = rights.supplemental_groups.clone();
    if let Some(account) = &account {
        let member = |one: &Group<'_>| one.members.split(',').any(|name| name == account.name);
        all.extend(groups(group).filter(member).map(|one| one.gid));
    }
    all.sort_unstable();
    all.dedup();
    if all.len() > MAX_GROUPS {
        return Err(UserError::TooManyGroups(all.len()));
    }
    if let Some(id) = [uid, gid].into_iter().chain(all.iter().copied()).find(|id| *id > MAX_ID) {
        return Err(UserError::Range(id));
    }
    let home = account.map(|account| account.home).filter(|home| home.starts_with('/'));
    Ok(Identity { uid, gid, groups: all, home: home.unwrap_or("/").to_owned() })
}

fn by_uid(passwd: &str, uid: u32) -> Option<Account<'_>> {
    accounts(passwd).find(|account| account.uid == uid)
}

/// What can be read as a number is one, whatever accounts the image has: `runAsNonRoot` believes it.
fn by_name_or_number<'a>(
    passwd: &'a str,
    name: &str,
) -> Result<(u32, Option<Account<'a>>), UserError> {
    if let Ok(uid) = name.parse() {
        return Ok((uid, by_uid(passwd, uid)));
    }
    let account = accounts(passwd).find(|account| account.name == name);
    let account = account.ok_or_else(|| UserError::User(readable(name)))?;
    Ok((account.uid, Some(account)))
}

fn group_number(group: &str, name: &str) -> Result<u32, UserError> {
    let named = || groups(group).find(|one| one.name == name).map(|one| one.gid);
    name.parse().ok().or_else(named).ok_or_else(|| UserError::Group(readable(name)))
}

fn readable(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
broken line
web:x:33:34:web:/srv:/bin/false
dup:x:33:99::/other:
noshell:x:7:7:::
";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlogs:x:40:web,root\nadm:x:41:root\nbad:x:x:web\n";

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Identity {
        Identity { uid, gid, groups: groups.into(), home: home.into() }
    }

    fn image(user: &str) -> Result<Identity, UserError> {
        resolve(&Rights::default(), user, PASSWD, GROUP)
    }

    #[test]
    fn the_image_names_its_user_in_every_way() {
        assert_eq!(image(""), Ok(identity(0, 0, &[40, 41], "/root")));
        assert_eq!(image("web"), Ok(identity(33, 34, &[40], "/srv")));
        assert_eq!(image("33"), Ok(identity(33, 34, &[40], "/srv")));
        assert_eq!(image("web:adm"), Ok(identity(33, 41, &[40], "/srv")));
        assert_eq!(image("1000"), Ok(identity(1000, 0, &[], "/")));
        assert_eq!(image("1000:1001"), Ok(identity(1000, 1001, &[], "/")));
        assert_eq!(image("noshell:"), Ok(identity(7, 7, &[], "/")));
    }

    #[test]
    fn the_pod_overrides_the_image() {
        let rights =
            Rights { user: Some(33), supplemental_groups: vec![40, 5, 5], ..Rights::default() };
        let resolved = resolve(&rights, "nobody:adm", PASSWD, GROUP);
        assert_eq!(resolved, Ok(identity(33, 34, &[5, 40], "/srv")));
        let rights = Rights { user: Some(5000), group: Some(6), ..Rights::default() };
        assert_eq!(resolve(&rights, "", "", ""), Ok(identity(5000, 6, &[], "/")));
    }

    #[test]
    fn a_number_is_no_name_and_no_image_makes_root_of_it() {
        let passwd =
            "1000:x:0:0::/root:/bin/sh\nmany:x:4294967295:0::/:\nwell:x:5:4294967295::/:\n";
        let group = "1000:x:0:\nall:x:4294967295:member\n";
        let image = |user: &str| resolve(&Rights::default(), user, passwd, group);
        assert_eq!(image("1000"), Ok(identity(1000, 0, &[], "/")));
        assert_eq!(image("5:1000"), Ok(identity(5, 1000, &[], "/")));
        for user in ["4294967295", "2147483648", "many", "well", "7:4294967295", "7:all"] {
            assert!(matches!(image(user), Err(UserError::Range(_))), "{user}: {:?}", image(user));
        }
        let rights = Rights { user: Some(u32::MAX), ..Rights::default() };
        assert_eq!(resolve(&rights, "", "", ""), Err(UserError::Range(u32::MAX)));
        let rights = Rights { supplemental_groups: vec![1 << 31], ..Rights::default() };
        assert_eq!(resolve(&rights, "", "", ""), Err(UserError::Range(1 << 31)));
    }

    #[test]
    fn who_is_not_there_is_named() {
        assert_eq!(image("nobody"), Err(UserError::User("nobody".into())));
        assert_eq!(image("web:nogroup"), Err(UserError::Group("nogroup".into())));
        assert_eq!(image("-1"), Err(UserError::User("-1".into())));
        assert_eq!(image("a\nb"), Err(UserError::User("a\\nb".into())));
    }
}
