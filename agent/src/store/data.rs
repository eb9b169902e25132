//! `ConfigMap`s and Secrets: kept like pods, read again whenever a pod needs them, since a megabyte
//! of settings has no place in the memory of an agent that needs two.
//!
//! What a Secret's file holds is sealed ([`super::device`]); its envelope is not, so that damage is
//! told from another board's key.

use std::io;

use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::limits::{MAX_DATA, MAX_DATA_KEYS};
use mote_protocol::name::{Kind, ObjectKey, Uid};
use mote_protocol::object::{BodyError, ConfigMap, Intent, Object, Secret, check_key};

use super::admission::refuse;
use super::device::{self, DeviceKey, KEY_LEN};
use super::seal::{SealError, seal, unseal};
use super::source::Source;
use super::stored::{Stored, StoredLife};
use super::{Admission, DEVICE_KEY, Store, spec_file};
use crate::pod::contents::Entries;
use crate::pod::fault::Fault;
use crate::ports::Disk;
use crate::world::World;

/// A `ConfigMap` or Secret, read and checked.
pub(super) struct Checked {
    entries: Entries,
    immutable: bool,
    /// Fields that this version ignores.
    ignored: Vec<String>,
}

/// What an object takes over from the one of its name that is there.
pub(super) struct Heir {
    /// That one, where it can be read.
    pub(super) before: Option<Stored>,
    /// It is the same, changed.
    pub(super) same: bool,
    pub(super) uid: Uid,
    /// When it was accepted first.
    pub(super) accepted_unix_ms: i64,
}

impl<W: World> Store<W> {
    /// Takes in a `ConfigMap` or Secret that won.
    pub(super) async fn keep(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        object: &Object,
        payload: &[u8],
    ) -> io::Result<Admission> {
        let seen = object.revision;
        let checked = match check(key.kind, &object.intent) {
            Ok(checked) => checked,
            Err(fault) => return Ok(refuse(seen, fault.reason, &fault.field, &fault.message)),
        };
        let Heir { before, same, uid, accepted_unix_ms } = self.heir(key, object).await;
        if let Some(before) = before.as_ref().filter(|_| same)
            && let Some(field) = self.forbidden(key, before, &checked)
        {
            let message = "field is immutable when `immutable` is set";
            return Ok(refuse(seen, "Forbidden", field, message));
        }
        let frame = self.hide(key, payload).await?;
        let scope_text = scope.to_string();
        let current = StoredLife { uid, accepted_unix_ms, scope: scope_text, frame, ending: None };
        let stored = Stored::new(current, None);
        self.write(scope, key, seen, before, stored).await?;
        Ok(Admission::Kept { revision: seen, ignored: checked.ignored })
    }

    /// What an object that comes takes over from the one of its name.
    pub(super) async fn heir(&self, key: &ObjectKey, object: &Object) -> Heir {
        let held = self.entries.get(key).map(|entry| entry.held.uid);
        let before = match held {
            // One that cannot be read cannot be compared with, and need not be kept.
            Some(_) => self.read(key).await.ok(),
            None => None,
        };
        let uid = object.uid.or(held).unwrap_or_else(|| self.edges.new_uid());
        let same = held == Some(uid);
        let kept = before.as_ref().filter(|_| same).map(|before| before.current.accepted_unix_ms);
        let accepted_unix_ms = kept.unwrap_or_else(|| self.edges.unix_ms());
        Heir { before, same, uid, accepted_unix_ms }
    }

    /// Forgets one whose tombstone won. Pods keep the files that they have.
    pub(super) async fn drop_data(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        object: &Object,
    ) -> io::Result<Admission> {
        if let Some(held) = self.entries.get(key).map(|entry| entry.held.clone())
            && held.scope != *scope
        {
            // What was said to the other scope must not come back either.
            self.remember(&held.scope, key, held.revision).await?;
        }
        self.remember(scope, key, object.revision).await?;
        self.edges.disk.remove(&spec_file(key)).await?;
        self.entries.remove(key);
        self.unsure.remove(key);
        self.repaired(key).await;
        Ok(Admission::Dropped)
    }

    /// What one holds now; none where the node has no such object.
    pub async fn read_data(&self, key: &ObjectKey) -> io::Result<Option<Entries>> {
        if !self.entries.contains_key(key) {
            return Ok(None);
        }
        let stored = self.read(key).await?;
        let object = self.object(key, &stored.current).map_err(io::Error::other)?;
        let checked = check(key.kind, &object.intent);
        checked
            .map(|checked| Some(checked.entries))
            .map_err(|fault| io::Error::other(fault.message))
    }

    /// The first field that may not change of one that says so.
    fn forbidden(&self, key: &ObjectKey, before: &Stored, next: &Checked) -> Option<&'static str> {
        // One that cannot be read cannot be compared with.
        let before = self.object(key, &before.current).ok()?;
        let before = check(key.kind, &before.intent).ok()?;
        if !before.immutable {
            return None;
        }
        if !next.immutable {
            return Some("immutable");
        }
        let (old, new) = (&before.entries, &next.entries);
        let binary = (old.binary != new.binary).then_some("binaryData");
        (old.data != new.data).then_some("data").or(binary)
    }

    /// A payload as it stands in the file.
    async fn hide(&mut self, key: &ObjectKey, payload: &[u8]) -> io::Result<Vec<u8>> {
        if key.kind != Kind::Secret {
            return Ok(payload.to_vec());
        }
        let device = self.device_key().await?;
        let sealed = device.seal(&spec_file(key), payload, &self.edges.random);
        sealed.ok_or_else(|| io::Error::other("it cannot be sealed"))
    }

    /// The device's key; it is made when the first secret comes.
    async fn device_key(&mut self) -> io::Result<DeviceKey> {
        if let Some(key) = &self.device.key {
            return Ok(key.clone());
        }
        let found = match self.edges.disk.read(DEVICE_KEY).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => match unseal(&file?) {
                Ok(file) => Some(file),
                // Who overwrites a newer agent's file loses every secret.
                Err(error @ SealError::Version { .. }) => return Err(io::Error::other(error)),
                Err(_) => None,
            },
        };
        let file = match found {
            Some(file) => file,
            None => self.new_device_key().await?,
        };
        let key = DeviceKey::new(&file, &self.device.board);
        let key = key.ok_or_else(|| io::Error::other("the device's key cannot be made"))?;
        self.device.key = Some(key.clone());
        Ok(key)
    }

    async fn new_device_key(&self) -> io::Result<[u8; KEY_LEN]> {
        let file = device::new_file(&self.edges.random);
        let sealed = seal(&file).map_err(io::Error::other)?;
        self.edges.disk.write(DEVICE_KEY, &sealed).await?;
        Ok(file)
    }

    /// The object in a file.
    pub(super) fn object(&self, key: &ObjectKey, life: &StoredLife) -> Result<Object, String> {
        object(key, life, self.device.key.as_ref())
    }
}

/// The object in a file, which this board may not be able to read.
pub(super) fn object(
    key: &ObjectKey,
    life: &StoredLife,
    device: Option<&DeviceKey>,
) -> Result<Object, String> {
    let opened;
    let payload = if key.kind == Kind::Secret {
        let device = device.ok_or("the device's key cannot be read")?;
        opened = device.open(&spec_file(key), &life.frame).map_err(|error| error.to_string())?;
        &opened
    } else {
        &life.frame
    };
    frame::decode(payload).map_err(|error| error.to_string())
}

pub(super) fn check(kind: Kind, intent: &Intent) -> Result<Checked, Fault> {
    let Intent::Apply { schema, body } = intent else { return Err(nothing()) };
    let (entries, immutable, extensions) = match kind {
        Kind::ConfigMap => {
            let map = ConfigMap::decode(*schema, body).map_err(|error| malformed(&error))?;
            let bytes = |(key, text): (String, String)| (key, text.into_bytes());
            let data = map.data.into_iter().map(bytes).collect();
            let entries = Entries { data, binary: map.binary_data, ..Entries::default() };
            (entries, map.immutable, map.extensions)
        }
        Kind::Secret => {
            let secret = Secret::decode(*schema, body).map_err(|error| malformed(&error))?;
            let (data, secret_type) = (secret.data, secret.secret_type);
            let entries = Entries { data, secret_type, ..Entries::default() };
            (entries, secret.immutable, secret.extensions)
        }
        Kind::Pod | Kind::Service => return Err(nothing()),
    };
    check_entries(&entries)?;
    let ignored = ignored(&extensions)?;
    Ok(Checked { entries, immutable, ignored })
}

pub(super) fn nothing() -> Fault {
    Fault::invalid("", "the object asks for nothing")
}

pub(super) fn malformed(error: &BodyError) -> Fault {
    Fault { reason: error.reason(), field: String::new(), message: error.to_string() }
}

/// Fields that this version ignores; an error for one that it must not.
pub(super) fn ignored(extensions: &Extensions) -> Result<Vec<String>, Fault> {
    let unknown = extensions.unknown(&[]).map_err(|error| Fault {
        reason: "UnknownExtension",
        message: error.to_string(),
        field: error.name,
    })?;
    Ok(unknown.map(str::to_owned).collect())
}

/// Keys become names of files.
fn check_entries(entries: &Entries) -> Result<(), Fault> {
    let lists = [("data", &entries.data), ("binaryData", &entries.binary)];
    for (list, map) in lists {
        for key in map.keys() {
            let field = || format!("{list}[{key}]");
            check_key(key).map_err(|error| Fault::invalid(field(), error.to_string()))?;
            if list == "binaryData" && entries.data.contains_key(key) {
                return Err(Fault::invalid(field(), "the key is in `data` as well"));
            }
        }
    }
    let values = || entries.data.values().chain(entries.binary.values());
    if values().count() > MAX_DATA_KEYS {
        let rule = format!("must have at most {MAX_DATA_KEYS} keys");
        return Err(Fault::invalid("data", rule));
    }
    if entries.bytes() > MAX_DATA {
        let rule = format!("may not be more than {MAX_DATA} bytes");
        return Err(Fault::invalid("data", rule));
    }
    Ok(())
}
