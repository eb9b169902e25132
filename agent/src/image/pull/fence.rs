//! What the pull process may touch, as the kernel enforces it where it has landlock: the store, what
//! the request names, and what it takes to find a registry. Nothing is executed.
//!
//! It is a second wall. Where the kernel has none, everything works as well, and what must hold in any
//! case is done by whoever opens a file. It needs Linux 5.19: before, no name could move from one
//! directory to another behind such a wall, and every layer does.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::frame::{Job, Request};

/// The newest kernel whose rights were looked at when this was written; a newer one may have more,
/// and those are not taken away.
const KNOWN: ABI = ABI::V6;

/// Where a C library looks for addresses of names.
const NAMES: [&str; 6] = [
    RESOLVER,
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
];
/// Which name servers are asked; what looks after the network likes to replace it.
const RESOLVER: &str = "/etc/resolv.conf";
/// By which damage is remembered for as long as containers may run.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Links in a directory of archives that are looked at.
const MAX_LINKS: usize = 1024;

/// What may be done to a file, or to all below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// Read it.
    Read,
    /// Make a file in it, in place of another.
    Leave,
    /// All but execute it, or use a device in it.
    Keep,
}

/// A path, links followed, and what may be done there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule(PathBuf, May);

/// What a request needs.
pub(super) fn rules(request: &Request) -> Vec<Rule> {
    let read = |path: &Path| Rule(path.to_owned(), May::Read);
    let mut rules = vec![Rule(request.store.clone(), May::Keep), read(Path::new(BOOT_ID))];
    match &request.job {
        Job::Pull { .. } => {
            rules.extend(request.registries.files().map(read));
            rules.extend(NAMES.iter().map(|path| read(Path::new(path))));
            rules.extend(resolver_directory().as_deref().map(read));
        }
        Job::Import { path, .. } => {
            let path = Path::new(path);
            rules.push(read(path));
            // People link to what they do not want to copy.
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let links =
                entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
            rules.extend(links.take(MAX_LINKS).map(|entry| read(&entry.path())));
        }
        Job::Export { path, .. } => {
            rules.extend(path.parent().map(|parent| Rule(parent.to_owned(), May::Leave)));
        }
        Job::Verify => {}
    }
    rules
}

/// Whether a request leads to the network.
pub(super) const fn talks(request: &Request) -> bool {
    matches!(request.job, Job::Pull { .. })
}

/// Where the list of name servers lies, if it has a directory of its own: a new one made there in the
/// middle of a download is to be found.
fn resolver_directory() -> Option<PathBuf> {
    let target = fs::canonicalize(RESOLVER).ok()?;
    let parent = target.parent()?;
    // `/etc` and `/run` hold other things.
    (parent.components().count() > 2).then(|| parent.to_owned())
}

/// Lets this thread, and those that it starts, do nothing else any more. False where the kernel has no
/// such wall.
pub(super) fn enforce(rules: &[Rule], talks: bool) -> Result<bool, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(KNOWN))?;
    if !talks {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let mut ruleset = ruleset.create()?;
    for Rule(path, may) in rules {
        // What is not there needs no right; but the store must have one.
        let opened = match PathFd::new(path) {
            Ok(opened) => opened,
            Err(_) if *may == May::Keep => return Ok(false),
            Err(_) => continue,
        };
        let rights = rights(*may, path.is_dir());
        ruleset = ruleset.add_rule(PathBeneath::new(opened, rights))?;
    }
    Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

fn rights(may: May, is_directory: bool) -> BitFlags<AccessFs> {
    match may {
        May::Read if is_directory => AccessFs::ReadFile | AccessFs::ReadDir,
        May::Read => AccessFs::ReadFile.into(),
        May::Leave => {
            let make = AccessFs::MakeReg | AccessFs::RemoveFile;
            make | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::ReadDir
        }
        May::Keep => {
            let foreign = AccessFs::Execute | AccessFs::IoctlDev | AccessFs::MakeSock;
            AccessFs::from_all(KNOWN) & !foreign
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Result};
    use std::net::TcpListener;
    use std::process::Command;

    use mote_registry::{Host, Identity, PullSecrets, Settings};

    use super::*;

    fn request(store: &Path, job: Job) -> Request {
        let identity = Identity { cert: "/own/cert".into(), key: "/own/key".into() };
        let host = Host { ca: Some("/own/ca".into()), identity: Some(identity), ..Host::default() };
        let credential_files = vec!["/own/config.json".into()];
        let registries = Settings { hosts: vec![host], credential_files, ..Settings::default() };
        let store = store.to_owned();
        Request { parent: 1, store, cgroup: None, reserve: 0, registries, job }
    }

    #[test]
    fn a_job_gets_what_it_needs() {
        let of = |job| rules(&request(Path::new("/store"), job));
        let has = |rules: &[Rule], path: &str, may| rules.contains(&Rule(path.into(), may));
        let pull = of(Job::Pull { reference: "a".into(), secrets: PullSecrets::default() });
        for path in ["/own/cert", "/own/key", "/own/ca", "/own/config.json", "/etc/hosts"] {
            assert!(has(&pull, path, May::Read), "{path}");
        }
        let certificates = "/etc/ssl/certs/ca-certificates.crt";
        assert!(has(&pull, certificates, May::Read) && has(&pull, "/store", May::Keep));
        let writable = |rules: &[Rule]| rules.iter().filter(|rule| rule.1 != May::Read).count();
        assert_eq!(writable(&pull), 1, "the store alone");
        let export = of(Job::Export { reference: "a".into(), path: "/media/usb/a.tar".into() });
        assert!(has(&export, "/media/usb", May::Leave) && export.len() == 3);
        assert_eq!(of(Job::Verify).len(), 2);
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/elsewhere.tar", directory.path().join("link")).unwrap();
        let path = directory.path().as_os_str().to_owned();
        let import = of(Job::Import { path, keeps_names: false });
        assert!(import.contains(&Rule(directory.path().to_owned(), May::Read)));
        assert!(import.contains(&Rule(directory.path().join("link"), May::Read)));
        assert_eq!((import.len(), writable(&import)), (4, 1));
    }

    /// What is done behind the wall, by a thread that ends with it.
    fn behind(rules: Vec<Rule>, talks: bool, act: impl FnOnce() + Send + 'static) -> bool {
        let thread = std::thread::spawn(move || {
            let enforced = enforce(&rules, talks).unwrap_or(false);
            if enforced {
                act();
            }
            enforced
        });
        thread.join().unwrap()
    }

    fn is_denied<T>(result: Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn behind_the_wall_there_is_the_store_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (store, outside) = (directory.path().join("store"), directory.path().join("outside"));
        for path in ["store/tmp", "store/layers", "outside"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        fs::write(outside.join("ca"), "certificate").unwrap();
        let job = Job::Pull { reference: "a".into(), secrets: PullSecrets::default() };
        let mut request = request(&store, job);
        request.registries.ca = Some(outside.join("ca"));
        let enforced = behind(rules(&request), true, move || {
            assert!(is_denied(fs::read("/etc/shadow")) && is_denied(fs::read("/etc/passwd")));
            assert!(is_denied(fs::read_dir("/etc")) && is_denied(fs::read_dir(&outside)));
            assert!(is_denied(fs::write(outside.join("x"), "x")));
            assert!(is_denied(fs::write(outside.join("ca"), "x")));
            assert!(is_denied(fs::remove_file(outside.join("ca"))));
            assert!(is_denied(fs::create_dir(outside.join("d"))));
            assert!(is_denied(Command::new("/bin/true").status()));
            assert_eq!(fs::read(outside.join("ca")).unwrap(), b"certificate");
            assert!(fs::read(RESOLVER).is_ok() || !Path::new(RESOLVER).exists());
            // All that unpacking does, from one directory to another as well.
            let tmp = store.join("tmp/layer");
            fs::create_dir(&tmp).unwrap();
            fs::write(tmp.join("file"), "x").unwrap();
            fs::write(tmp.join("file"), "y").unwrap();
            fs::hard_link(tmp.join("file"), store.join("layers/link")).unwrap();
            std::os::unix::fs::symlink("/etc/shadow", tmp.join("symlink")).unwrap();
            assert!(is_denied(fs::read(tmp.join("symlink"))));
            fs::rename(&tmp, store.join("layers/layer")).unwrap();
            assert_eq!(fs::read(store.join("layers/layer/file")).unwrap(), b"y");
            fs::remove_dir_all(store.join("layers/layer")).unwrap();
            // Since Linux 6.7.
            assert!(is_denied(TcpListener::bind("127.0.0.1:0")) || !has_network_rules());
        });
        println!("landlock is {}", if enforced { "enforced" } else { "not to be had" });
        assert_eq!(enforced, has_landlock(), "where the kernel has it, it must hold");
    }

    #[test]
    fn an_archive_is_left_where_it_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let (store, stick) = (directory.path().join("store"), directory.path().join("stick"));
        fs::create_dir(&store).unwrap();
        fs::create_dir(&stick).unwrap();
        fs::write(stick.join("a.tar"), "old").unwrap();
        let job = Job::Export { reference: "a".into(), path: stick.join("a.tar") };
        let request = request(&store, job);
        behind(rules(&request), talks(&request), move || {
            fs::write(stick.join("new"), "new").unwrap();
            fs::rename(stick.join("new"), stick.join("a.tar")).unwrap();
            fs::File::open(&stick).unwrap().sync_all().unwrap();
            assert!(is_denied(fs::read(stick.join("a.tar"))), "nobody asked what is there");
            let address = ("127.0.0.1", 9);
            assert!(is_denied(std::net::TcpStream::connect(address)) || !has_network_rules());
        });
    }

    fn strict() -> Ruleset {
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
    }

    fn has_landlock() -> bool {
        strict().handle_access(AccessFs::Refer).is_ok()
    }

    fn has_network_rules() -> bool {
        strict().handle_access(AccessNet::BindTcp).is_ok()
    }
}
