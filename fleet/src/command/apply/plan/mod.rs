//! What has to be published so that a scope has an object. Pure.

use mote_protocol::extension::Extensions;
use mote_protocol::name::{Kind, NodeName, ObjectKey, Uid};
use mote_protocol::object::{ContentHash, Intent, Object, Pod, Revision, max_body};
use mote_protocol::topic::Scope;

use crate::content::Content;
use crate::failure::ServerError;
use crate::manifest::update;
use crate::view::node::Node;
use crate::view::{Fleet, Told};

/// What becomes of the object, in kubectl's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It was not there.
    Created,
    /// It changes in place.
    Configured,
    /// It ends, and another takes its name.
    Replaced,
    /// It is what was asked already.
    Unchanged,
}

impl Verb {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One object for one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub key: ObjectKey,
    /// Whom it is for.
    pub scope: Scope,
    /// What to publish, or what is there already.
    pub object: Object,
    /// What becomes of the object.
    pub verb: Verb,
}

/// What is given from outside.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// A uid that nobody has.
    pub uid: Uid,
    /// Whether a pod is ended, and data that is immutable and differs.
    pub force: bool,
}

/// Decides what to publish.
pub fn plan(
    fleet: &Fleet,
    key: &ObjectKey,
    scope: &Scope,
    content: &Content,
    given: Given,
) -> anyhow::Result<Plan> {
    if key.kind == Kind::Pod {
        check_schemas(fleet, scope)?;
    }
    let existing = fleet.object(key, scope);
    // What this version cannot read cannot be compared with: it is replaced as a whole.
    let old = existing.and_then(|object| Content::of(key.kind, &object.intent)?.ok());
    // What no node took may become anything: nothing of it runs.
    let untaken = is_untaken(fleet, key, scope);
    let binding = old.as_ref().filter(|_| !untaken);
    let allowed = binding.map_or(Ok(()), |old| update::check(old, content));
    // A pod starts anew when it is forced to; for data that says nothing unless it is in the way.
    let replaces = given.force && old.is_some() && (key.kind == Kind::Pod || allowed.is_err());
    let mut content = content.clone();
    content.meta_mut().created = match &old {
        Some(old) if !replaces => old.meta().created,
        _ => i64::try_from(given.now_ms / 1000).unwrap_or(i64::MAX),
    };
    let intent = content.to_intent()?;
    check_size(key.kind, &intent)?;
    let hash = hash(&intent)?;
    let settled = |object: &&Object| {
        let missed = is_missed(fleet, key, scope, given.now_ms);
        !missed && !is_refused(fleet, key, scope, object)
    };
    let same = existing.filter(|object| object.intent == intent && !replaces);
    if let Some(object) = same.filter(settled) {
        let (key, scope, object) = (key.clone(), scope.clone(), object.clone());
        return Ok(Plan { key, scope, object, verb: Verb::Unchanged });
    }
    let verb = match (&old, existing) {
        (Some(_), _) if replaces => Verb::Replaced,
        (Some(_), _) => {
            let (kind, name) = (key.kind.kubernetes(), key.name.to_string());
            allowed.map_err(|problems| ServerError::Immutable { kind, name, problems })?;
            if untaken { Verb::Created } else { Verb::Configured }
        }
        (None, Some(Object { intent: Intent::Delete { .. }, .. })) => Verb::Created,
        // The broker forgot the spec, but the node has the object; or this version cannot read it.
        (None, None) if !exists(fleet, key, scope) => Verb::Created,
        (None, _) => Verb::Configured,
    };
    let uid = match (verb, existing) {
        (Verb::Configured, existing) => existing.and_then(|object| object.uid),
        // What was asked for in vain is asked for again: where it is after all, it goes on.
        (Verb::Created, Some(object)) if old.is_some() => object.uid,
        (Verb::Created, None) => None,
        // A node that never heard of the end in between must still end the old object.
        _ => Some(given.uid),
    };
    let number = next_revision(fleet, key, scope, given.now_ms);
    let revision = Revision { number, hash };
    let object = Object { revision, uid, intent, extensions: Extensions::default() };
    Ok(Plan { key: key.clone(), scope: scope.clone(), object, verb })
}

/// Whether a scope has an object of that name, as far as anybody knows. What a node has of another
/// scope is not there.
pub fn exists(fleet: &Fleet, key: &ObjectKey, scope: &Scope) -> bool {
    match fleet.desired.get(&(key.clone(), scope.clone())) {
        Some(Ok(object)) => matches!(object.intent, Intent::Apply { .. }),
        // A newer version may have asked for it.
        Some(Err(_)) => true,
        None => matches!(scope, Scope::Node(node) if fleet.is_forgotten(key, node)),
    }
}

/// A node would refuse what is longer than its kind allows.
pub fn check_size(kind: Kind, intent: &Intent) -> anyhow::Result<()> {
    let (Intent::Apply { body, .. }, max) = (intent, max_body(kind)) else { return Ok(()) };
    let len = body.len();
    anyhow::ensure!(
        len <= max,
        "the {kind} has {len} bytes, more than the {max} that a node takes"
    );
    Ok(())
}

/// A node that cannot read what this version writes is told before anything is sent.
fn check_schemas(fleet: &Fleet, scope: &Scope) -> anyhow::Result<()> {
    for name in fleet.reached(scope) {
        let birth = fleet.nodes.get(name).and_then(|node| node.birth.as_ref());
        let Some((oldest, newest)) = birth.map(|birth| birth.pod_schemas) else { continue };
        anyhow::ensure!(
            newest == 0 || (oldest..=newest).contains(&Pod::SCHEMA),
            "node {name} reads pods of schema {oldest} to {newest}, this mote writes {}: \
             use the version of mote that belongs to its agent",
            Pod::SCHEMA
        );
    }
    Ok(())
}

/// First eight bytes of the SHA-256 of an intent.
pub fn hash(intent: &Intent) -> anyhow::Result<ContentHash> {
    let digest = ring::digest::digest(&ring::digest::SHA256, &intent.to_hashed_bytes()?);
    let first = digest.as_ref().first_chunk().expect("a SHA-256 has 32 bytes");
    Ok(ContentHash(*first))
}

/// A revision that is greater than all that were seen of a name, and than what a clock gives.
pub fn next_revision(fleet: &Fleet, key: &ObjectKey, scope: &Scope, now_ms: u64) -> u64 {
    let asked = fleet.object(key, scope).map_or(0, |object| object.revision.number);
    let told = fleet.reached(scope).filter_map(|node| fleet.told(key, node));
    let highest = told.map(Told::highest).fold(asked, u64::max);
    now_ms.max(highest.saturating_add(1))
}

/// Whether some node that is there says nothing of what was asked of many. It may have had something
/// nearer of that name, which kept this out and is gone, so that only what is said anew brings it
/// back; or it has not answered yet. Saying it anew does no harm.
fn is_missed(fleet: &Fleet, key: &ObjectKey, scope: &Scope, now_ms: u64) -> bool {
    let now_s = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let member = |node: &Node| match scope {
        Scope::Group(group) => node.is_in(group) == Some(true),
        Scope::All | Scope::Node(_) => true,
    };
    let online = |name: &&NodeName| {
        fleet.nodes.get(*name).is_some_and(|node| node.is_online(now_s) && member(node))
    };
    let silent = |name: &NodeName| {
        !fleet.statuses.contains_key(&(key.clone(), name.clone()))
            && fleet.nearer(key, scope, name).is_none()
    };
    !matches!(scope, Scope::Node(_)) && fleet.reached(scope).filter(online).any(silent)
}

/// Whether some node does not want it, or tried it in vain: its reason may be gone by now, and nodes judge
/// only what is said anew. What is nearer keeps it out for as long as that is there.
fn is_refused(fleet: &Fleet, key: &ObjectKey, scope: &Scope, object: &Object) -> bool {
    let mut refusals = told_of(fleet, key, scope).filter_map(Told::refusal);
    refusals.any(|refusal| refusal.seen == object.revision && !refusal.is_delay())
}

/// Whether nodes answered, and none of them ever had it: an API server would not have let it in.
fn is_untaken(fleet: &Fleet, key: &ObjectKey, scope: &Scope) -> bool {
    let mut told = told_of(fleet, key, scope).peekable();
    told.peek().is_some() && told.all(|told| told.accepted() == Revision::default())
}

/// What nodes say of what is asked in a scope, and not in a nearer one.
fn told_of<'f>(
    fleet: &'f Fleet,
    key: &ObjectKey,
    scope: &'f Scope,
) -> impl Iterator<Item = &'f Told> {
    let nodes = fleet.reached(scope).filter(|node| fleet.nearer(key, scope, node).is_none());
    nodes.filter_map(|node| fleet.told(key, node))
}

#[cfg(test)]
mod tests;
