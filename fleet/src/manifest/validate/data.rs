//! What `ConfigMap` and Secret hold.

use std::collections::BTreeMap;

use mote_protocol::limits::{MAX_DATA, MAX_DATA_KEYS};
use mote_protocol::object::{ConfigMap, Secret, check_key};
use serde_json::Value;

use crate::kubernetes::data::REDACTED;
use crate::kubernetes::findings::{Findings, Problem};
use crate::kubernetes::path::Path;

/// The account that a token's secret belongs to.
const SERVICE_ACCOUNT: &str = "kubernetes.io/service-account.name";

pub(super) fn config_map(map: &ConfigMap, root: Path<'_>, findings: &mut Findings) {
    let (data, binary) = (root.field("data"), root.field("binaryData"));
    for key in map.data.keys() {
        check(key, data, findings);
        if map.binary_data.contains_key(key) {
            findings.invalid_text(data.key(key), key, "duplicate of key present in binaryData");
        }
    }
    for key in map.binary_data.keys() {
        check(key, binary, findings);
        if map.data.contains_key(key) {
            findings.invalid_text(binary.key(key), key, "duplicate of key present in data");
        }
    }
    let bytes = sum(map.data.values().map(String::len)) + sum_of(&map.binary_data);
    // What is about the whole object has no path, which kubectl writes so.
    bounds(map.data.len() + map.binary_data.len(), bytes, data, Path::root("[]"), findings);
}

pub(super) fn secret(secret: &Secret, root: Path<'_>, findings: &mut Findings) {
    let at = root.field("data");
    for key in secret.data.keys() {
        check(key, at, findings);
    }
    bounds(secret.data.len(), sum_of(&secret.data), at, at, findings);
    for key in missing(secret) {
        findings.required(at.key(key));
    }
    let accounts = &secret.meta.annotations;
    match secret.secret_type.as_str() {
        "kubernetes.io/dockercfg" => registries(secret, ".dockercfg", at, findings),
        "kubernetes.io/dockerconfigjson" => registries(secret, ".dockerconfigjson", at, findings),
        "kubernetes.io/service-account-token"
            if accounts.get(SERVICE_ACCOUNT).is_none_or(String::is_empty) =>
        {
            let metadata = root.field("metadata");
            findings.required(metadata.field("annotations").key(SERVICE_ACCOUNT));
        }
        _ => {}
    }
}

/// Keys that a secret of its type must have and this one has not.
fn missing(secret: &Secret) -> Vec<&'static str> {
    let lacks = |key: &&str| !secret.data.contains_key(*key);
    let all = |keys: [&'static str; 2]| keys.into_iter().filter(lacks).collect::<Vec<_>>();
    match secret.secret_type.as_str() {
        "kubernetes.io/tls" => all(["tls.crt", "tls.key"]),
        "kubernetes.io/basic-auth" => match all(["username", "password"]) {
            both if both.len() == 2 => both,
            // One of them is enough.
            _ => Vec::new(),
        },
        "kubernetes.io/ssh-auth" if secret.data.get("ssh-privatekey").is_none_or(Vec::is_empty) => {
            vec!["ssh-privatekey"]
        }
        _ => Vec::new(),
    }
}

fn check(key: &str, at: Path<'_>, findings: &mut Findings) {
    if let Err(error) = check_key(key) {
        findings.invalid_text(at.key(key), key, error.to_string());
    }
}

fn bounds(keys: usize, bytes: usize, data: Path<'_>, whole: Path<'_>, findings: &mut Findings) {
    if keys > MAX_DATA_KEYS {
        findings.error(data, Problem::TooMany { len: keys, max: MAX_DATA_KEYS });
    }
    if bytes > MAX_DATA {
        findings.error(whole, Problem::TooLong { max: MAX_DATA });
    }
}

fn sum(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.fold(0, usize::saturating_add)
}

fn sum_of(data: &BTreeMap<String, Vec<u8>>) -> usize {
    sum(data.values().map(Vec::len))
}

/// Checks the credentials of registries: the older form has them at its top, the newer in `auths`.
fn registries(secret: &Secret, key: &'static str, at: Path<'_>, findings: &mut Findings) {
    let Some(bytes) = secret.data.get(key) else {
        findings.required(at.key(key));
        return;
    };
    let detail = match serde_json::from_slice::<Value>(bytes) {
        Err(error) => error.to_string(),
        Ok(Value::Object(map))
            if key == ".dockercfg" || map.get("auths").is_some_and(Value::is_object) =>
        {
            return;
        }
        Ok(Value::Object(_)) => "must have an object `auths`".into(),
        Ok(_) => "must be an object".into(),
    };
    findings.invalid(at.key(key), REDACTED, detail);
}

#[cfg(test)]
mod tests {
    use crate::manifest::document::split;
    use crate::manifest::source::Source;
    use crate::manifest::{ManifestError, read};

    /// What is wrong with an object of a kind.
    fn errors_of(kind: &str, body: &str) -> Vec<String> {
        let text = format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: web}}\n{body}\n");
        let source = Source { name: "x.yaml".into(), text };
        match read(&split(&source).expect("yaml")[0]) {
            Ok(_) => Vec::new(),
            Err(ManifestError::Invalid { errors, .. }) => {
                errors.iter().map(ToString::to_string).collect()
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A kind, what it holds, and how its errors begin.
    #[rustfmt::skip]
    const CASES: &[(&str, &str, &[&str])] = &[
        ("ConfigMap", "", &[]),
        ("ConfigMap", "data: {a.conf: x, B_1: ''}\nbinaryData: {c: AAE=}\nimmutable: true", &[]),
        ("ConfigMap", "data: {a/b: x}", &["data[a/b]: Invalid value: \"a/b\": a valid config key must consist of"]),
        ("ConfigMap", "binaryData: {..a: AA==}", &["binaryData[..a]: Invalid value: \"..a\": must not be '.' or begin with '..'"]),
        ("ConfigMap", "data: {a: x}\nbinaryData: {a: AA==}", &[
            "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            "binaryData[a]: Invalid value: \"a\": duplicate of key present in data",
        ]),
        ("ConfigMap", "data: {a: 5}", &["data[a]: Invalid value: 5: must be a string: write it in quotes"]),
        ("ConfigMap", "data: [a]", &["data: Invalid value: [\"a\"]: must be an object"]),
        ("ConfigMap", "binaryData: {a: 'x!'}", &["binaryData[a]: Invalid value: \"x!\": illegal base64 data at input byte 1"]),
        ("ConfigMap", "immutable: 1", &["immutable: Invalid value: 1: must be true or false"]),
        ("Secret", "", &[]),
        ("Secret", "type: example.com/mine\nstringData: {a: b}", &[]),
        ("Secret", "stringData: {a/b: x}", &["data[a/b]: Invalid value: \"a/b\""]),
        ("Secret", "type: kubernetes.io/tls\nstringData: {tls.crt: x}", &["data[tls.key]: Required value"]),
        ("Secret", "type: kubernetes.io/tls\nstringData: {tls.crt: '', tls.key: ''}", &[]),
        ("Secret", "type: kubernetes.io/basic-auth", &["data[username]: Required value", "data[password]: Required value"]),
        ("Secret", "type: kubernetes.io/basic-auth\nstringData: {password: x}", &[]),
        ("Secret", "type: kubernetes.io/ssh-auth\nstringData: {ssh-privatekey: ''}", &["data[ssh-privatekey]: Required value"]),
        ("Secret", "type: kubernetes.io/service-account-token", &["metadata.annotations[kubernetes.io/service-account.name]: Required value"]),
        ("Secret", "type: kubernetes.io/dockercfg", &["data[.dockercfg]: Required value"]),
        ("Secret", "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: '{}'}", &[]),
        ("Secret", "type: kubernetes.io/dockerconfigjson", &["data[.dockerconfigjson]: Required value"]),
        ("Secret", "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: 'hunter2'}", &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": expected value at line 1 column 1"]),
        ("Secret", "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: '{}'}", &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": must have an object `auths`"]),
        ("Secret", "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: '{\"auths\":{}}'}", &[]),
    ];

    #[test]
    fn what_an_api_server_refuses_is_refused_in_its_words() {
        for (kind, body, expected) in CASES {
            let found = errors_of(kind, body);
            assert_eq!(found.len(), expected.len(), "{kind} {body}: {found:?}");
            for (found, expected) in found.iter().zip(*expected) {
                assert!(found.starts_with(expected), "{found}\n{expected}");
            }
        }
    }

    #[test]
    fn data_has_bounds() {
        let big = "x".repeat(512 * 1024);
        let two = format!("a: {big}, b: {big}");
        assert_eq!(errors_of("ConfigMap", &format!("data: {{{two}}}")), Vec::<String>::new());
        let too_long = "Too long: may not be more than 1048576 bytes";
        let over = errors_of("ConfigMap", &format!("data: {{{two}, c: x}}"));
        assert_eq!(over, [format!("[]: {too_long}")]);
        let over = errors_of("Secret", &format!("stringData: {{{two}, c: x}}"));
        assert_eq!(over, [format!("data: {too_long}")]);
        let keys: Vec<_> = (0..1025).map(|key| format!("k{key}: ''")).collect();
        let many = errors_of("ConfigMap", &format!("data: {{{}}}", keys.join(", ")));
        assert_eq!(many, ["data: Too many: 1025: must have at most 1024 items"]);
    }
}
